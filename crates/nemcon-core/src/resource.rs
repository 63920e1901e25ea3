//! What a participant guards.

use alloc::vec::Vec;
use core::fmt::Debug;

use crate::codec::CorruptLog;
use crate::id::TransactionId;
use crate::lock::{LockKey, Mode};
use crate::reason::Refusal;
use crate::time::Millis;

/// Data under transactions: how actions lock, run and take effect.
///
/// The participant machine owns the resource and calls it between its own
/// steps, so an implementation needs no locks of its own and must not wait.
///
/// Contract:
/// - `execute` changes nothing but its `redo`; it sees committed data with the
///   redo on top, so that a transaction sees its own writes.
/// - All that `execute` reads or writes is covered by the locks that `locks`
///   named, but for sums that commute (an account without limit, say), which
///   must not influence the result.
/// - `apply` cannot fail: whatever could make it fail is refused by `execute`.
/// - Equal inputs give equal outputs: no clock, no chance, no hash order.
pub trait Resource {
    /// An operation, decoded and checked.
    type Action: Clone + Debug;
    /// What a transaction will change here: grows as its actions run.
    type Redo: Clone + Debug + Default;
    /// What an action answers.
    type Result: Clone + Debug;

    /// Whether the action may change anything. Under a `read_only` mark such an
    /// action is refused.
    fn writes(&self, action: &Self::Action) -> bool;

    /// Names every lock the action needs, given the data as they are. It is
    /// asked again when all have been granted, until it names nothing new: an
    /// action on "all accounts" first names the lock on their list, then those
    /// on the accounts.
    fn locks(&self, action: &Self::Action, want: &mut dyn FnMut(LockKey, Mode));

    /// The key that clients lock when they lock something by its name.
    ///
    /// # Errors
    /// A [`Refusal`] if there is no lock of that name, and can be none.
    fn named(&self, name: &str) -> Result<LockKey, Refusal>;

    /// Runs the action.
    ///
    /// # Errors
    /// A [`Refusal`]: the business says no, and the transaction aborts.
    fn execute(
        &self,
        now: Millis,
        transaction: TransactionId,
        action: &Self::Action,
        redo: &mut Self::Redo,
    ) -> Result<Self::Result, Refusal>;

    /// Makes the redo part of the data. Before it changes a key it asks `touch`,
    /// and leaves the key alone when told `false`: then the stored value is as
    /// new already (a replay after a restart).
    fn apply(&mut self, redo: &Self::Redo, touch: &mut dyn FnMut(&[u8]) -> bool);

    /// The value of a key that `apply` has touched; `None` if it is gone.
    fn stored(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// Takes back what [`Resource::stored`] gave.
    ///
    /// # Errors
    /// [`CorruptLog`] if it is no key or value of this resource.
    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptLog>;

    /// Bytes of a redo, for the log.
    fn encode_redo(&self, redo: &Self::Redo) -> Vec<u8>;

    /// Reads what [`Resource::encode_redo`] wrote.
    ///
    /// # Errors
    /// [`CorruptLog`] for anything else.
    fn decode_redo(&self, bytes: &[u8]) -> Result<Self::Redo, CorruptLog>;

    /// Bytes of a result, for the log.
    fn encode_result(&self, result: &Self::Result) -> Vec<u8>;

    /// Reads what [`Resource::encode_result`] wrote.
    ///
    /// # Errors
    /// [`CorruptLog`] for anything else.
    fn decode_result(&self, bytes: &[u8]) -> Result<Self::Result, CorruptLog>;
}
