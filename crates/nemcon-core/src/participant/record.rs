//! What a participant writes down.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::id::{AttemptId, Boot, CoordinatorId, Epoch, ParticipantId, Position, TransactionId};
use crate::lock::{LockKey, Mode};
use crate::message::{OperationsHash, Outcome, Peer};
use crate::reason::Refusal;
use crate::time::Millis;

/// A fact in a participant's log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Record {
    /// The participant started. Forced before it answers anything in this boot.
    #[n(0)]
    Started {
        /// Minted with the data directory, the same in every record.
        #[n(0)]
        id: ParticipantId,
        /// One more than at the start before.
        #[n(1)]
        boot: Boot,
        /// When.
        #[n(2)]
        at: Millis,
    },
    /// A coordinator's epoch. Forced before its first question or work in it is
    /// answered.
    #[n(1)]
    EpochSeen {
        /// Whose.
        #[n(0)]
        coordinator: CoordinatorId,
        /// Which.
        #[n(1)]
        epoch: Epoch,
    },
    /// A coordinator's floor. Durable before finished attempts below it are
    /// forgotten.
    #[n(2)]
    FloorRaised {
        /// Whose.
        #[n(0)]
        coordinator: CoordinatorId,
        /// Where it is.
        #[n(1)]
        floor: Position,
    },
    /// The promise to commit if told so.
    #[n(3)]
    Prepared(#[n(0)] Prepared),
    /// A prepared attempt committed.
    #[n(4)]
    Committed {
        /// Which.
        #[n(0)]
        attempt: AttemptId,
        /// When.
        #[n(1)]
        at: Millis,
    },
    /// A prepared attempt aborted.
    #[n(5)]
    Aborted {
        /// Which.
        #[n(0)]
        attempt: AttemptId,
        /// When.
        #[n(1)]
        at: Millis,
    },
    /// A peer was going to be told that the attempt aborts: it will never be
    /// prepared here.
    #[n(6)]
    Refused {
        /// Which.
        #[n(0)]
        attempt: AttemptId,
        /// When.
        #[n(1)]
        at: Millis,
    },
    /// Decided alone.
    #[n(7)]
    DecidedAlone(#[n(0)] DecidedAlone),
    /// Transactions decided alone, up to this time in their ids, are no longer
    /// remembered.
    #[n(8)]
    Forgotten {
        /// The highest time among the forgotten ids.
        #[n(0)]
        through: Millis,
    },
    /// An operator decided.
    #[n(9)]
    ResolvedByHand(#[n(0)] ResolvedByHand),
    /// What was decided is not what was done here.
    #[n(10)]
    Damaged(#[n(0)] Damaged),
    /// Somebody has seen to the damage.
    #[n(11)]
    DamageAcknowledged {
        /// About which attempt.
        #[n(0)]
        attempt: AttemptId,
    },
    /// The data directory was restored from a backup; all records before this one
    /// are the backup's.
    #[n(12)]
    Restored {
        /// A number that another restoration would not have.
        #[n(0)]
        id: u64,
        /// When it was restored.
        #[n(1)]
        at: Millis,
        /// When the life after the backup was lost, at the latest.
        #[n(2)]
        lost_at: Millis,
        /// A boot number which that life cannot have come beyond.
        #[n(3)]
        boot: Boot,
    },
    /// A coordinator takes the restored directory as it is.
    #[n(13)]
    Readmitted {
        /// Which.
        #[n(0)]
        coordinator: CoordinatorId,
    },
}

/// The promise to commit if told so, and all that is needed to keep it after a
/// restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Prepared {
    /// Which attempt.
    #[n(0)]
    pub attempt: AttemptId,
    /// Of which transaction.
    #[n(1)]
    pub transaction: TransactionId,
    /// Its age.
    #[n(2)]
    pub age: TransactionId,
    /// Whom to ask.
    #[n(3)]
    pub coordinator_address: String,
    /// Whom else to ask.
    #[n(4)]
    pub peers: Vec<Peer>,
    /// The locks it keeps.
    #[n(5)]
    pub locks: Vec<(LockKey, Mode)>,
    /// What to apply, in the resource's own encoding.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub redo: Vec<u8>,
    /// When it began here.
    #[n(7)]
    pub begun_at: Millis,
    /// When the vote was given.
    #[n(8)]
    pub at: Millis,
}

/// What a participant decided alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct DecidedAlone {
    /// Which attempt.
    #[n(0)]
    pub attempt: AttemptId,
    /// Of which transaction.
    #[n(1)]
    pub transaction: TransactionId,
    /// Fingerprint of its operations.
    #[n(2)]
    pub hash: OperationsHash,
    /// What came of it.
    #[n(3)]
    pub ending: AloneEnding,
    /// What to apply; empty when it aborted, and when a checkpoint repeats what
    /// was applied long ago.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub redo: Vec<u8>,
    /// When.
    #[n(5)]
    pub at: Millis,
}

/// How a transaction decided alone ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum AloneEnding {
    /// Done; results in the resource's own encoding.
    #[n(0)]
    Committed(#[n(0)] Vec<minicbor::bytes::ByteVec>),
    /// Refused, and why.
    #[n(1)]
    Aborted(#[n(0)] Refusal),
}

/// An operator's decision about an attempt in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct ResolvedByHand {
    /// Which attempt.
    #[n(0)]
    pub attempt: AttemptId,
    /// What to do.
    #[n(1)]
    pub outcome: Outcome,
    /// The operator's reason.
    #[n(2)]
    pub reason: String,
    /// When.
    #[n(3)]
    pub at: Millis,
}

/// What was decided is not what was done here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Damaged {
    /// Which attempt.
    #[n(0)]
    pub attempt: AttemptId,
    /// Of which transaction, if that is known.
    #[n(1)]
    pub transaction: Option<TransactionId>,
    /// What was done here by hand; `None`: the attempt was not known.
    #[n(2)]
    pub by_hand: Option<Outcome>,
    /// What was decided.
    #[n(3)]
    pub decided: Outcome,
    /// The operator's reason.
    #[n(4)]
    pub reason: String,
    /// When it was recorded.
    #[n(5)]
    pub at: Millis,
}
