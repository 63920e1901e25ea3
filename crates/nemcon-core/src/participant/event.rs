//! What a participant is told, and what it asks for.

use alloc::string::String;
use alloc::vec::Vec;

use super::record::Damaged;
use crate::history::History;
use crate::id::{AttemptId, CoordinatorId, RequestId, TransactionId};
use crate::lock::{LockKey, Mode, Queue};
use crate::machine::Wake;
use crate::message::{Answer, Failure, Frame, Outcome, Party, Peer, Verdict};
use crate::reason::Refusal;
use crate::time::Millis;

/// Who was asked about an attempt in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Its coordinator.
    Coordinator,
    /// Another participant of it.
    Peer(Peer),
}

/// What can happen to a participant.
#[derive(Clone, Debug)]
pub enum Event<A> {
    /// The log or the clock.
    Wake(Wake),
    /// A coordinator speaks.
    FrameReceived {
        /// Who waits for the answer.
        request: RequestId,
        /// What it says.
        frame: Frame<A>,
    },
    /// An answer to a question of ours, or its failure.
    VerdictHeard {
        /// About what.
        attempt: AttemptId,
        /// From whom.
        from: Source,
        /// What.
        verdict: Result<Verdict, Failure>,
    },
    /// A peer in doubt asks.
    PeerAsked {
        /// Who waits.
        request: RequestId,
        /// About what.
        attempt: AttemptId,
    },
    /// Read without locks: what is committed, and what would be if all prepared
    /// attempts committed.
    PeekRequested {
        /// Who waits.
        request: RequestId,
        /// The reading action.
        action: A,
    },
    /// An operator decides about an attempt in doubt.
    ResolveRequested {
        /// Who waits.
        request: RequestId,
        /// Which attempt.
        attempt: AttemptId,
        /// What to do.
        outcome: Outcome,
        /// Why.
        reason: String,
    },
    /// Somebody asks what is in doubt.
    InDoubtAsked {
        /// Who waits.
        request: RequestId,
    },
    /// Somebody asks for the recorded damage.
    DamageAsked {
        /// Who waits.
        request: RequestId,
    },
    /// An operator has seen to a damage.
    DamageAcknowledged {
        /// Who waits.
        request: RequestId,
        /// About what.
        attempt: AttemptId,
    },
    /// The coordinator has recorded the damage it was told of, or could not be
    /// reached.
    DamageReportAnswered {
        /// About what.
        attempt: AttemptId,
        /// Whether it has.
        result: Result<(), Failure>,
    },
    /// A coordinator has taken our registration.
    Registered {
        /// Which.
        coordinator: CoordinatorId,
    },
    /// Somebody asks for the locks.
    LocksAsked {
        /// Who waits.
        request: RequestId,
        /// Only those of keys behind this one.
        after: Option<LockKey>,
        /// At most so many keys.
        max: usize,
    },
    /// The node is stopping: no new work.
    DrainRequested,
}

impl<A> From<Wake> for Event<A> {
    fn from(wake: Wake) -> Self {
        Self::Wake(wake)
    }
}

/// What a participant asks for.
#[derive(Clone, Debug)]
pub enum Effect<R> {
    /// Answer a coordinator.
    Answer {
        /// Who waits.
        request: RequestId,
        /// What.
        answer: Answer<R>,
    },
    /// Answer somebody else.
    Reply {
        /// Who waits.
        request: RequestId,
        /// What.
        reply: Reply<R>,
    },
    /// Ask what became of an attempt.
    Ask {
        /// About what.
        attempt: AttemptId,
        /// Whom.
        whom: Source,
        /// Where.
        address: String,
    },
    /// Tell the coordinator what was done by hand.
    ReportDamage {
        /// About what.
        attempt: AttemptId,
        /// What was done by hand.
        by_hand: Outcome,
        /// The operator's reason.
        reason: String,
        /// Where the coordinator is.
        address: String,
    },
    /// The operator should know.
    Alarm(Alarm),
    /// Asked to drain, and nothing unprepared is left.
    Drained,
}

/// Something is wrong that only people can mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// What was decided is not what was done here.
    HeuristicDamage(Damaged),
    /// A coordinator broke the protocol.
    ProtocolViolated {
        /// About what.
        attempt: AttemptId,
        /// How.
        what: String,
    },
}

/// An answer to somebody other than a coordinator.
#[derive(Clone, Debug)]
pub enum Reply<R> {
    /// To a peer.
    Verdict(Verdict),
    /// To a peek.
    Peeked {
        /// What is committed.
        committed: Result<R, Refusal>,
        /// What would be if all that is prepared committed; `None`: the same.
        pending: Option<Result<R, Refusal>>,
    },
    /// To "what is in doubt".
    InDoubt(Vec<InDoubt>),
    /// To "what damage is recorded".
    Damage(Vec<Damaged>),
    /// To "what is locked": keys in their order.
    Locks {
        /// The time of our clock, by which it is said since when.
        at: Millis,
        /// The page.
        queues: Vec<Queue<Party>>,
        /// There are more.
        more: bool,
    },
    /// It is done.
    Done,
    /// It is refused.
    Refused(Refusal),
}

/// States of an attempt at a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Working, waiting for locks, or holding what it read.
    Active,
    /// Promised.
    Prepared,
    /// Done.
    Committed,
    /// Undone.
    Aborted,
}

/// An attempt in doubt, as it can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDoubt {
    /// Which.
    pub attempt: AttemptId,
    /// Of which transaction.
    pub transaction: TransactionId,
    /// When it entered which state.
    pub history: History<State>,
    /// When it was prepared.
    pub prepared_at: Millis,
    /// Whom it asks.
    pub coordinator_address: String,
    /// Whom else it asks.
    pub peers: Vec<Peer>,
    /// How often it has asked in vain.
    pub questions: u32,
    /// The locks it keeps.
    pub locks: Vec<(LockKey, Mode)>,
}
