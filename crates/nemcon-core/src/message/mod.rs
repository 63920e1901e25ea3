//! What coordinators and participants say to each other.
//!
//! Payloads are generic: the coordinator carries them as opaque [`Payload`]s,
//! the participant as its resource's actions and results.

mod border;

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::deadlock::Link;
use crate::id::{
    AttemptId, Boot, CoordinatorId, Epoch, Lsn, ParticipantId, ParticipantName, Position,
    TransactionId,
};
use crate::lock::{Mode, Queue, Token};
use crate::reason::Refusal;
use crate::time::{Millis, Span};

/// A typed value nobody on the way looks into: a `google.protobuf.Any`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Payload {
    /// Names the type, as in `Any`.
    #[n(0)]
    pub type_url: String,
    /// The encoded value.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub value: Vec<u8>,
}

/// Fingerprint of a transaction's operations (SHA-256, made by the shell): tells
/// a repeat from another transaction under the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct OperationsHash(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// Committed everywhere, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Outcome {
    /// Everywhere.
    #[n(0)]
    Committed,
    /// Nowhere.
    #[n(1)]
    Aborted,
}

/// A participant of a transaction and where to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Peer {
    /// Its name.
    #[n(0)]
    pub name: ParticipantName,
    /// Its URL.
    #[n(1)]
    pub address: String,
}

/// What every message from a coordinator carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Who speaks.
    pub coordinator: CoordinatorId,
    /// Who is meant. Addresses change hands, and whoever has taken over another's
    /// must neither acknowledge nor refuse in its place.
    pub participant: ParticipantId,
    /// Its present epoch.
    pub epoch: Epoch,
    /// Below it the coordinator has no unfinished business with this
    /// participant.
    pub floor: Position,
}

/// A message from a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame<A> {
    /// Who speaks, and how far it is.
    pub header: Header,
    /// What it says.
    pub message: ToParticipant<A>,
}

/// What a coordinator asks of a participant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ToParticipant<A> {
    /// "I am here, in this epoch": lets in-doubt attempts be asked about at once.
    Hello(Hello),
    /// Run part of an interactive transaction.
    Execute(Execute<A>),
    /// Lock keys for an interactive transaction.
    AcquireLocks(AcquireLocks),
    /// Vote.
    Prepare(Prepare<A>),
    /// The decision is commit.
    Commit(AttemptId),
    /// The decision is abort.
    Abort(AttemptId),
    /// All votes are in: a reader may let go of its locks.
    Release(AttemptId),
    /// Decide alone.
    CommitOnePhase(CommitOnePhase<A>),
    /// What became of this transaction, if you decided it alone?
    Inquire(TransactionId),
    /// Who waits for whom?
    ReportWaits(ReportWaits),
    /// This wait is part of a deadlock, and gives way.
    FailWait(FailWait),
}

/// A coordinator's greeting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// Where it answers questions.
    pub address: String,
}

/// One operation for one participant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation<A> {
    /// What to do; a refusal if the border could not make sense of it, which
    /// becomes a no vote.
    pub action: Result<A, Refusal>,
    /// The client says that it writes nothing; a write under it is a no vote.
    pub read_only: bool,
    /// Results of other operations that the action uses, as they travel. The border
    /// of a participant puts them into the action, so its machine sees none.
    pub inputs: Vec<Payload>,
}

/// What all work of an attempt carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// The attempt.
    pub attempt: AttemptId,
    /// The client's transaction.
    pub transaction: TransactionId,
    /// The transaction's first try: the greatest of these is the youngest.
    pub age: TransactionId,
    /// Time left until the deadline.
    pub remaining: Span,
    /// Longest wait for a lock.
    pub lock_wait: Span,
    /// Where the coordinator answers questions.
    pub coordinator_address: String,
}

/// A numbered piece of an interactive transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Execute<A> {
    /// The attempt and its circumstances.
    pub task: Task,
    /// Counts the pieces at this participant, from 1.
    pub number: u32,
    /// What to do.
    pub operations: Vec<Operation<A>>,
}

/// A key to be locked by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockRequest {
    /// What the participant calls it.
    pub name: String,
    /// How.
    pub mode: Mode,
}

/// A numbered piece of an interactive transaction that only takes locks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AcquireLocks {
    /// The attempt and its circumstances.
    pub task: Task,
    /// Counts the pieces at this participant, from 1, together with those of
    /// [`Execute`].
    pub number: u32,
    /// What to lock.
    pub locks: Vec<LockRequest>,
}

/// Asks who waits for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReportWaits {
    /// Names the question, so that no answer is taken for that to a later one. Not
    /// sent: an answer is to a call.
    pub look: u64,
    /// Only queues in which somebody has waited for so long.
    pub older: Span,
}

/// Ends a wait that is part of a deadlock, and with it the attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FailWait {
    /// Whose wait; it may be of any coordinator.
    pub victim: AttemptId,
    /// The boot that numbered it.
    pub boot: Boot,
    /// Its number. If the attempt does not wait any more, or for something else,
    /// nothing happens.
    pub wait: u64,
    /// The whole cycle, the victim first.
    pub cycle: Vec<Link>,
}

/// Somebody who holds or waits, as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Of which transaction.
    pub transaction: TransactionId,
    /// The transaction's first try: the greatest of these is the youngest.
    pub age: TransactionId,
}

/// Who waits for whom at one participant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WaitsReport {
    /// The boot that numbered the waits.
    pub boot: Boot,
    /// The time of the participant's clock, by which it says since when.
    pub at: Millis,
    /// The keys that are waited for.
    pub queues: Vec<Queue<Party>>,
    /// How many more there are, for which an answer has no room.
    pub left_out: usize,
}

/// Asks for a vote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prepare<A> {
    /// The attempt and its circumstances.
    pub task: Task,
    /// What is to be prepared.
    pub work: Work<A>,
    /// Everyone who is asked, this participant included.
    pub peers: Vec<Peer>,
    /// All operations of the whole transaction are marked `read_only`.
    pub read_only: bool,
}

/// The work a vote is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Work<A> {
    /// It comes with the question.
    OneShot(Vec<Operation<A>>),
    /// It was done before, in numbered pieces.
    Interactive {
        /// The boot number of the first answer that was counted.
        boot: Boot,
        /// How many pieces were answered.
        count: u32,
    },
}

/// Asks the only participant to decide alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommitOnePhase<A> {
    /// The attempt and its circumstances.
    pub task: Task,
    /// Tells a repeat from another transaction under the same id.
    pub hash: OperationsHash,
    /// What is to be done.
    pub work: Work<A>,
}

/// A vote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Vote<R> {
    /// A promise to commit if told so. Results are lost by a restart.
    Yes(Option<Vec<R>>),
    /// Nothing was written, nothing is promised.
    ReadOnly(Vec<R>),
    /// The transaction must abort.
    No(Refusal),
}

/// What became of a transaction that one participant decided alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Alone<R> {
    /// Done, with the operations' results.
    Committed(Vec<R>),
    /// Refused, and why.
    Aborted(Refusal),
}

impl<R> Alone<R> {
    /// The outcome without its particulars.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Committed(_) => Outcome::Committed,
            Self::Aborted(_) => Outcome::Aborted,
        }
    }
}

/// What a participant remembers of a transaction it decided alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trace<R> {
    /// Nothing; nor will it run an attempt of an older epoch than the question's.
    None,
    /// It has forgotten transactions of that time.
    Forgotten,
    /// It decided.
    Decided {
        /// The fingerprint it ran under.
        hash: OperationsHash,
        /// What came of it.
        alone: Alone<R>,
    },
}

/// A participant's answer to a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer<R> {
    /// To `Hello`.
    Welcome {
        /// The participant's boot number.
        boot: Boot,
    },
    /// To `Execute`.
    Executed {
        /// The attempt.
        attempt: AttemptId,
        /// The piece.
        number: u32,
        /// The boot number that holds the piece.
        boot: Boot,
        /// Results, or why the attempt cannot commit.
        results: Result<Vec<R>, Refusal>,
    },
    /// To `AcquireLocks`.
    LocksAcquired {
        /// The attempt.
        attempt: AttemptId,
        /// The piece.
        number: u32,
        /// The boot number that holds the piece.
        boot: Boot,
        /// A token for each lock, or why the attempt cannot commit.
        tokens: Result<Vec<Token>, Refusal>,
    },
    /// To `Prepare`.
    Voted {
        /// The attempt.
        attempt: AttemptId,
        /// The boot number that voted.
        boot: Boot,
        /// How far the participant's log had come with this vote; zero if it does
        /// not say.
        log_end: Lsn,
        /// The life that voted; see [`LogPosition`](crate::id::LogPosition).
        life: u32,
        /// The vote.
        vote: Vote<R>,
    },
    /// To `Commit` and `Abort`.
    Acknowledged {
        /// The attempt.
        attempt: AttemptId,
        /// The outcome that was set by hand here, if it was another one.
        damage: Option<Outcome>,
    },
    /// To `Release`.
    Released {
        /// The attempt.
        attempt: AttemptId,
        /// The boot number, if the locks were held from the vote until now.
        boot: Option<Boot>,
    },
    /// To `CommitOnePhase`.
    DecidedAlone {
        /// The attempt.
        attempt: AttemptId,
        /// What came of it.
        alone: Alone<R>,
    },
    /// To `Inquire`.
    Traced {
        /// The transaction.
        transaction: TransactionId,
        /// What is remembered of it.
        trace: Trace<R>,
    },
    /// To `ReportWaits`.
    Waits {
        /// Which question.
        look: u64,
        /// Who waits for whom.
        report: WaitsReport,
    },
    /// To `FailWait`.
    WaitFailed {
        /// Whose wait it was.
        victim: AttemptId,
        /// Whether that very wait still stood, and has ended.
        failed: bool,
    },
    /// To any of them: out of order.
    Refused {
        /// Which call was refused.
        call: Call,
        /// Why.
        refusal: Refusal,
    },
}

/// Answer to "what became of this attempt?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It committed.
    Committed,
    /// It aborted.
    Aborted,
    /// The coordinator has not decided yet.
    Pending,
    /// A peer that does not know; proves nothing.
    Unknown,
    /// The node asked is another coordinator.
    WrongCoordinator,
}

impl Verdict {
    /// The outcome, where the verdict is one.
    #[must_use]
    pub const fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Committed => Some(Outcome::Committed),
            Self::Aborted => Some(Outcome::Aborted),
            Self::Pending | Self::Unknown | Self::WrongCoordinator => None,
        }
    }
}

/// Why a call to a peer brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// It cannot have arrived, or the peer is not serving.
    Unreachable,
    /// It may have arrived.
    TimedOut,
}

/// Which call of a coordinator something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `Hello`.
    Hello,
    /// `Execute`, and which piece.
    Execute(AttemptId, u32),
    /// `AcquireLocks`, and which piece.
    AcquireLocks(AttemptId, u32),
    /// `Prepare`.
    Prepare(AttemptId),
    /// `Commit`.
    Commit(AttemptId),
    /// `Abort`.
    Abort(AttemptId),
    /// `Release`.
    Release(AttemptId),
    /// `CommitOnePhase`.
    CommitOnePhase(AttemptId),
    /// `Inquire`.
    Inquire(TransactionId),
    /// `ReportWaits`, and which question.
    ReportWaits(u64),
    /// `FailWait`, and whose.
    FailWait(AttemptId),
}

impl Call {
    /// The sender's attempt that it is about, if it is about one.
    #[must_use]
    pub const fn attempt(self) -> Option<AttemptId> {
        match self {
            Self::Execute(attempt, _)
            | Self::AcquireLocks(attempt, _)
            | Self::Prepare(attempt)
            | Self::Commit(attempt)
            | Self::Abort(attempt)
            | Self::Release(attempt)
            | Self::CommitOnePhase(attempt) => Some(attempt),
            Self::Hello | Self::Inquire(_) | Self::ReportWaits(_) | Self::FailWait(_) => None,
        }
    }
}

impl<A> ToParticipant<A> {
    /// Which call this is.
    #[must_use]
    pub const fn call(&self) -> Call {
        match self {
            Self::Hello(_) => Call::Hello,
            Self::Execute(execute) => Call::Execute(execute.task.attempt, execute.number),
            Self::AcquireLocks(acquire) => Call::AcquireLocks(acquire.task.attempt, acquire.number),
            Self::Prepare(prepare) => Call::Prepare(prepare.task.attempt),
            Self::Commit(attempt) => Call::Commit(*attempt),
            Self::Abort(attempt) => Call::Abort(*attempt),
            Self::Release(attempt) => Call::Release(*attempt),
            Self::CommitOnePhase(commit) => Call::CommitOnePhase(commit.task.attempt),
            Self::Inquire(transaction) => Call::Inquire(*transaction),
            Self::ReportWaits(ask) => Call::ReportWaits(ask.look),
            Self::FailWait(fail) => Call::FailWait(fail.victim),
        }
    }

    /// The circumstances, where the message carries work.
    #[must_use]
    pub const fn task(&self) -> Option<&Task> {
        match self {
            Self::Execute(execute) => Some(&execute.task),
            Self::AcquireLocks(acquire) => Some(&acquire.task),
            Self::Prepare(prepare) => Some(&prepare.task),
            Self::CommitOnePhase(commit) => Some(&commit.task),
            Self::Hello(_)
            | Self::Commit(_)
            | Self::Abort(_)
            | Self::Release(_)
            | Self::Inquire(_)
            | Self::ReportWaits(_)
            | Self::FailWait(_) => None,
        }
    }
}
