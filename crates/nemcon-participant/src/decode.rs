//! The border between the bytes of others and the actions of a resource.

use nemcon_core::message::Payload;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::resource::Resource;

/// Turns payloads into a resource's actions, and its results into payloads.
pub trait Decode<R: Resource>: Send + Sync + 'static {
    /// Reads and checks an action: whatever can be seen to be wrong without the
    /// data is refused here.
    ///
    /// # Errors
    /// A [`Refusal`], mostly [`invalid_action`]. It becomes a no vote, so the
    /// transaction aborts with this reason.
    fn action(&self, payload: Payload) -> Result<R::Action, Refusal>;

    /// Writes a result.
    fn result(&self, result: R::Result) -> Payload;
}

/// The refusal of an action that makes no sense; `what` names the field, its
/// value and what is allowed.
#[must_use]
pub fn invalid_action(what: impl Into<String>) -> Refusal {
    Refusal::new(Reason::INVALID_ACTION, what)
}
