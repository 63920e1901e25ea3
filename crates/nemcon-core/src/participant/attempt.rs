//! An attempt as a participant sees it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::event::State;
use crate::history::History;
use crate::id::{AttemptId, RequestId, TransactionId};
use crate::lock::{LockKey, Mode, Token};
use crate::message::{Call, Operation, OperationsHash, Outcome, Peer, Task};
use crate::reason::Refusal;
use crate::resource::Resource;
use crate::time::Millis;

/// One attempt: what it is for, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Attempt<R: Resource> {
    pub(super) transaction: TransactionId,
    pub(super) history: History<State>,
    pub(super) phase: Phase<R>,
}

/// Where an attempt is, with what it needs there. Finer than
/// [`State`](super::event::State): the protocol's state is the history's last.
#[derive(Clone, Debug)]
pub(super) enum Phase<R: Resource> {
    /// Working or waiting for locks. Ends by itself if it must.
    Active(Active<R>),
    /// Voted read-only, and keeps its locks until it is released.
    Holding {
        results: Vec<R::Result>,
        /// The transaction's first try: others may wait for it.
        age: TransactionId,
    },
    /// The `Prepared` record is appended: only the decision ends it.
    Prepared(Promise<R>),
    /// Over; remembered for duplicates and peers until it lies below a durable
    /// floor.
    Finished(Finished<R>),
}

/// Work in hand.
#[derive(Clone, Debug)]
pub(super) struct Active<R: Resource> {
    pub(super) task: Task,
    pub(super) deadline: Millis,
    /// What is done once the operations in hand have run.
    pub(super) intent: Intent,
    /// Who waits for that: the first call and its duplicates.
    pub(super) requests: Vec<RequestId>,
    pub(super) operations: Vec<Operation<R::Action>>,
    /// Locks that were asked for by name, in the order of the request.
    pub(super) wanted: Vec<(LockKey, Mode)>,
    pub(super) redo: R::Redo,
    /// Something has run that may have written.
    pub(super) wrote: bool,
    /// How many pieces were answered.
    pub(super) pieces: u32,
    /// What the last of them brought. Of those before it the coordinator has counted
    /// the answers: no repeat of them matters any more.
    pub(super) last: Option<Piece<R>>,
}

/// What a piece of an interactive attempt brought.
#[derive(Clone, Debug)]
pub(super) enum Piece<R: Resource> {
    /// The results of operations.
    Results(Vec<R::Result>),
    /// The tokens of locks.
    Tokens(Vec<Token>),
}

/// What is done once the operations in hand have run.
#[derive(Clone, Debug)]
pub(super) enum Intent {
    /// Nothing is in hand: an interactive attempt between two pieces.
    Rest,
    /// Answer a piece of an interactive attempt.
    Piece,
    /// The same, of one that only takes locks.
    Locks,
    /// Vote.
    Vote {
        peers: Vec<Peer>,
        read_only: bool,
        one_shot: bool,
        /// No earlier boot can have voted on it: see [`Finished::Declined`].
        first: bool,
    },
    /// Decide.
    Decide { hash: OperationsHash },
}

impl Intent {
    /// The call that asks for this, of that attempt: as the piece of that number, if
    /// it is a piece.
    pub(super) const fn call(&self, id: AttemptId, number: u32) -> Call {
        match self {
            Self::Rest | Self::Piece => Call::Execute(id, number),
            Self::Locks => Call::AcquireLocks(id, number),
            Self::Vote { .. } => Call::Prepare(id),
            Self::Decide { .. } => Call::CommitOnePhase(id),
        }
    }
}

/// What a prepared attempt has promised, and how it asks for the outcome.
#[derive(Clone, Debug)]
pub(super) struct Promise<R: Resource> {
    pub(super) age: TransactionId,
    pub(super) redo: R::Redo,
    /// `None` after a restart.
    pub(super) results: Option<Vec<R::Result>>,
    pub(super) asking: Asking,
}

/// Whom to ask about an attempt in doubt, and how often that was in vain.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) coordinator_address: String,
    pub(super) peers: Vec<Peer>,
    pub(super) questions: u32,
    /// The coordinator's failures in a row; from the second on, peers are asked.
    pub(super) failures: u32,
}

/// How an attempt ended, and how far that is known to others.
#[derive(Clone, Debug)]
pub(super) enum Finished<R: Resource> {
    /// As the coordinator or a peer said.
    Heard(Outcome),
    /// By itself; nothing is written down, so after a restart it may be unknown.
    ///
    /// `unvoted`: no boot of ours can have voted in its favour. A reader votes
    /// and forgets, and a late message may bring the attempt to life again in a
    /// boot that knows nothing of that vote; what such a trace ends in proves
    /// nothing to a peer.
    Declined { refusal: Refusal, unvoted: bool },
    /// By itself, and written down: a peer was told that it aborts.
    Refused,
    /// It voted read-only and let go. What became of it is not known here.
    Read(Vec<R::Result>),
    /// It decided alone: only read, so nothing is written down.
    ReadAlone(Vec<R::Result>),
    /// It decided alone; the transaction's memory has the particulars.
    DecidedAlone,
    /// An operator decided; the real decision is still being asked for.
    ByHand(ByHand),
}

/// An operator's decision.
#[derive(Clone, Debug)]
pub(super) struct ByHand {
    pub(super) outcome: Outcome,
    pub(super) reason: String,
    pub(super) age: TransactionId,
    pub(super) asking: Asking,
}

impl<R: Resource> Attempt<R> {
    pub(super) fn new(
        transaction: TransactionId,
        state: State,
        at: Millis,
        phase: Phase<R>,
    ) -> Box<Self> {
        let mut history = History::default();
        history.enter(state, at);
        Box::new(Self {
            transaction,
            history,
            phase,
        })
    }

    pub(super) const fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished(_))
    }

    /// Whether the real decision is still to be heard.
    pub(super) fn asking_mut(&mut self) -> Option<&mut Asking> {
        match &mut self.phase {
            Phase::Prepared(promise) => Some(&mut promise.asking),
            Phase::Finished(Finished::ByHand(by_hand)) => Some(&mut by_hand.asking),
            Phase::Active(_) | Phase::Holding { .. } | Phase::Finished(_) => None,
        }
    }
}
