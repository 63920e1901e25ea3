//! What happens to a saga, as the log has it.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use minicbor::{Decode, Encode};

use super::definition::Definition;
use super::state::Snapshot;
use crate::coordinator::record::Cause;
use crate::id::TransactionId;
use crate::message::{OperationsHash, Payload};
use crate::time::Millis;

/// Which way a try goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Way {
    /// It does the step.
    #[n(0)]
    Forward,
    /// It takes the step's effect back.
    #[n(1)]
    Back,
}

/// How a saga ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Ended {
    /// All steps are done.
    #[n(0)]
    Completed,
    /// Nothing of it is left.
    #[n(1)]
    Compensated,
}

/// States of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum StepState {
    /// It has not begun.
    #[n(0)]
    Waiting,
    /// A try is under way.
    #[n(1)]
    Trying,
    /// A try has failed; the next one follows.
    #[n(2)]
    Pausing,
    /// It has taken effect.
    #[n(3)]
    Done,
    /// It has failed for good, without effect.
    #[n(4)]
    Failed,
    /// After a pivot: its tries are used up, and people are asked. Or its outcome
    /// is not known after a restoration from a backup.
    #[n(5)]
    Stuck,
    /// Its compensation is under way.
    #[n(6)]
    Compensating,
    /// Its compensation has failed; the next try follows.
    #[n(7)]
    CompensationPausing,
    /// Its effect is taken back.
    #[n(8)]
    Compensated,
    /// The tries of its compensation are used up, and people are asked. Or the
    /// outcome of one is not known after a restoration from a backup.
    #[n(9)]
    CompensationStuck,
}

impl StepState {
    /// Its name, as it is shown everywhere: `TRYING`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Trying => "TRYING",
            Self::Pausing => "PAUSING",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
            Self::Stuck => "STUCK",
            Self::Compensating => "COMPENSATING",
            Self::CompensationPausing => "COMPENSATION_PAUSING",
            Self::Compensated => "COMPENSATED",
            Self::CompensationStuck => "COMPENSATION_STUCK",
        }
    }
}

impl fmt::Display for StepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A result that others use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Kept {
    /// Of which of the step's operations, from 0.
    #[n(0)]
    pub operation: u32,
    /// The result, which nobody here reads.
    #[n(1)]
    pub value: Payload,
}

/// How people settle a step that is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Resolution {
    /// It counts as done: they have seen that it took effect, or have done it
    /// another way.
    #[n(0)]
    Done,
    /// It counts as compensated: they have seen that nothing of it is left.
    #[n(1)]
    Compensated,
    /// It is tried again, with all its tries anew.
    #[n(2)]
    Retry,
}

impl Resolution {
    /// The word for it: `done`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Compensated => "compensated",
            Self::Retry => "retry",
        }
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Something that people did to a saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Hand {
    /// Who, as they say.
    #[n(0)]
    pub who: String,
    /// Why, as they say.
    #[n(1)]
    pub why: String,
    /// When.
    #[n(2)]
    pub at: Millis,
    /// To which step; `None`: to all that were stuck, by resuming the saga.
    #[n(3)]
    pub step: Option<u32>,
    /// What. `None`: the saga was resumed.
    #[n(4)]
    pub resolution: Option<Resolution>,
}

/// A fact about a saga, in the coordinator's log. That a try committed is said by the
/// decision of its transaction, that it aborted mostly by the record of that.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Fact {
    /// A client asked for it.
    #[n(0)]
    Started {
        /// What it asked for.
        #[n(0)]
        definition: Definition,
        /// Fingerprint of that.
        #[n(1)]
        hash: OperationsHash,
        /// When.
        #[n(2)]
        at: Millis,
    },
    /// A try begins. Durable before any message of it leaves.
    #[n(1)]
    Tried {
        /// Of which step.
        #[n(0)]
        step: u32,
        /// Which way.
        #[n(1)]
        way: Way,
        /// The transaction that it is.
        #[n(2)]
        transaction: TransactionId,
        /// When.
        #[n(3)]
        at: Millis,
    },
    /// A try has failed of which no other record tells: it could not begin, or the
    /// coordinator restarted before it was decided.
    #[n(2)]
    Failed {
        /// Of which step.
        #[n(0)]
        step: u32,
        /// Which way.
        #[n(1)]
        way: Way,
        /// Why.
        #[n(2)]
        cause: Cause,
        /// When.
        #[n(3)]
        at: Millis,
    },
    /// From here on what was done is taken back.
    #[n(3)]
    Turned {
        /// Why.
        #[n(0)]
        cause: Cause,
        /// When.
        #[n(1)]
        at: Millis,
    },
    /// People did something to it.
    #[n(4)]
    ByHand(#[n(0)] Hand),
    /// It ended.
    #[n(5)]
    Ended {
        /// How.
        #[n(0)]
        ended: Ended,
        /// When.
        #[n(1)]
        at: Millis,
    },
    /// It is no longer remembered.
    #[n(6)]
    Forgotten,
    /// All that is known of it: a checkpoint's.
    #[n(7)]
    Kept(#[n(0)] Box<Snapshot>),
}
