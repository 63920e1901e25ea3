//! What the participants of the world keep: the bank's real ledger, and lists.

mod bank;
mod lists;

use nemcon_core::resource::Resource;

pub(crate) use bank::OPENING_MINOR;
pub use lists::Lists;

use crate::plan::{Data, Shape, Step};

/// What a client learns from one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing of interest.
    Nothing,
    /// A whole list.
    List(Vec<u64>),
    /// The balance of an account after the operation.
    Balance(i64),
    /// The balances of all accounts of a bank, by key.
    Balances(Vec<(u8, i64)>),
}

/// Data that a world can be about.
pub trait Subject: Resource + Sized {
    /// Which it is.
    const DATA: Data;

    /// No data yet.
    fn empty() -> Self;

    /// What comes before all else at each participant, in one transaction of its
    /// own; none if it is empty.
    fn opening(at: usize, shape: &Shape) -> Vec<Step>;

    /// The action of a step. `value` is like no other.
    fn action(step: Step, value: u64) -> Self::Action;

    /// How a key is named to lock it.
    fn lock_name(key: u8) -> String;

    /// What the client of a step learns.
    fn seen(step: Step, result: Self::Result) -> Seen;

    /// All there is, by key.
    fn contents(&self) -> Vec<(u8, Seen)>;

    /// What must hold of the data of one participant at any time.
    ///
    /// # Errors
    /// What does not, in words.
    fn sound(&self) -> Result<(), String>;

    /// What must hold of the data of all, when nothing is in flight.
    ///
    /// # Errors
    /// What does not, in words.
    fn settled(all: &[&Self]) -> Result<(), String>;
}
