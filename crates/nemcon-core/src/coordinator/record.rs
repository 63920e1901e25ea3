//! What a coordinator writes down.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::id::{
    CoordinatorId, Epoch, LogPosition, ParticipantId, ParticipantName, Position, SagaId,
    TransactionId,
};
use crate::message::{OperationsHash, Outcome};
use crate::reason::Refusal;
use crate::saga::{Fact, Kept};
use crate::time::Millis;

/// A fact in a coordinator's log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Record {
    /// The coordinator started. Forced before it says anything in this epoch.
    #[n(0)]
    Started {
        /// Minted with the data directory, the same in every record.
        #[n(0)]
        identity: CoordinatorId,
        /// One more than at the start before.
        #[n(1)]
        epoch: Epoch,
        /// When.
        #[n(2)]
        at: Millis,
    },
    /// The decision to commit: the point of no return.
    #[n(1)]
    Decided(#[n(0)] Decided),
    /// Every voter has acknowledged.
    #[n(2)]
    Ended {
        /// Which attempt of ours.
        #[n(0)]
        attempt: Position,
        /// When.
        #[n(1)]
        at: Millis,
    },
    /// The client is going to be told that it aborted.
    #[n(3)]
    Aborted(#[n(0)] Aborted),
    /// Outcomes up to this time in their ids are no longer remembered.
    #[n(4)]
    Forgotten {
        /// The highest time among the forgotten ids.
        #[n(0)]
        through: Millis,
    },
    /// Ids above this time have not been sent to a participant to decide alone.
    #[n(5)]
    AloneHorizon {
        /// The time.
        #[n(0)]
        until: Millis,
    },
    /// A participant made itself known, or its address changed.
    #[n(6)]
    Registered {
        /// Its name.
        #[n(0)]
        name: ParticipantName,
        /// Its data directory.
        #[n(1)]
        id: ParticipantId,
        /// Its URL.
        #[n(2)]
        address: String,
        /// How its present boot began, if it said so.
        #[n(3)]
        began: Option<LogPosition>,
        /// The last that it is known to have promised, in a checkpoint.
        #[n(4)]
        promised: Option<LogPosition>,
        /// Which restoration from a backup its data directory is of, if it is of one.
        #[n(5)]
        restored: Option<u64>,
    },
    /// A participant was removed.
    #[n(7)]
    Removed {
        /// Its name.
        #[n(0)]
        name: ParticipantName,
    },
    /// A participant did something else than what was decided.
    #[n(8)]
    Damaged(#[n(0)] Damaged),
    /// Somebody has seen to the damage.
    #[n(9)]
    DamageAcknowledged {
        /// Which attempt of ours.
        #[n(0)]
        attempt: Position,
        /// At which participant.
        #[n(1)]
        participant: ParticipantName,
    },
    /// The data directory was restored from a backup; all records before this one
    /// are the backup's.
    #[n(10)]
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
        /// An epoch which that life cannot have come beyond.
        #[n(3)]
        epoch: Epoch,
        /// The last epoch that the backup knew of. The restoration leaves that to
        /// the records before; a checkpoint says it.
        #[n(4)]
        before: Option<Epoch>,
    },
    /// A fact about a saga.
    #[n(11)]
    Saga {
        /// Which.
        #[n(0)]
        saga: SagaId,
        /// What.
        #[n(1)]
        fact: Box<Fact>,
    },
    /// Sagas up to this time in their ids are no longer remembered: a checkpoint's.
    #[n(12)]
    SagasForgotten {
        /// The highest time among the forgotten ids.
        #[n(0)]
        through: Millis,
    },
}

/// The decision to commit an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Decided {
    /// Which attempt of ours.
    #[n(0)]
    pub attempt: Position,
    /// The client's transaction.
    #[n(1)]
    pub transaction: TransactionId,
    /// Fingerprint of its operations.
    #[n(2)]
    pub hash: OperationsHash,
    /// Who voted yes: commits, acknowledgements and `Ended` concern these.
    #[n(3)]
    pub voters: Vec<ParticipantName>,
    /// When the transaction began.
    #[n(4)]
    pub begun_at: Millis,
    /// When the decision was made.
    #[n(5)]
    pub at: Millis,
    /// How far the log of each voter had come with its vote, if one said so.
    #[n(6)]
    pub promised: Option<Vec<LogPosition>>,
    /// Of a saga's step: the results that others use.
    #[n(7)]
    pub results: Option<Vec<Kept>>,
}

/// The end of a transaction that aborted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Aborted {
    /// Its last attempt.
    #[n(0)]
    pub attempt: Position,
    /// The client's transaction.
    #[n(1)]
    pub transaction: TransactionId,
    /// Fingerprint of its operations.
    #[n(2)]
    pub hash: OperationsHash,
    /// Why.
    #[n(3)]
    pub cause: Cause,
    /// When the transaction began.
    #[n(4)]
    pub begun_at: Millis,
    /// When it was decided.
    #[n(5)]
    pub at: Millis,
}

/// Why a transaction aborted, and who said no.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Cause {
    /// Why.
    #[n(0)]
    pub refusal: Refusal,
    /// The participant that said no, if one did.
    #[n(1)]
    pub participant: Option<ParticipantName>,
}

/// A participant did something else than what was decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Damaged {
    /// Which attempt of ours.
    #[n(0)]
    pub attempt: Position,
    /// The client's transaction, if it is still known.
    #[n(1)]
    pub transaction: Option<TransactionId>,
    /// Where.
    #[n(2)]
    pub participant: ParticipantName,
    /// What was done there by hand; `None`: it had lost the attempt.
    #[n(3)]
    pub by_hand: Option<Outcome>,
    /// What was decided.
    #[n(4)]
    pub decided: Outcome,
    /// The operator's reason, or what the participant said.
    #[n(5)]
    pub reason: String,
    /// When it was recorded.
    #[n(6)]
    pub at: Millis,
}
