//! What a coordinator is told, and what it asks for.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::record::{Cause, Damaged};
use super::statistics::Statistics;
use crate::history::History;
use crate::id::{
    AttemptId, Boot, CoordinatorId, Epoch, LogPosition, ParticipantId, ParticipantName, RequestId,
    SagaId, TransactionId,
};
use crate::lock::{LockKey, Token};
use crate::machine::Wake;
use crate::message::{
    Answer, Call, Failure, Frame, LockRequest, Operation, OperationsHash, Outcome, Payload,
    Verdict, WaitsReport,
};
use crate::reason::Refusal;
use crate::saga::{self, Graph, Resolution, StepName};
use crate::time::{Millis, Span};

/// A transaction as the client asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The client's id.
    pub transaction: TransactionId,
    /// The id of its first try, which gives it its age.
    pub age: TransactionId,
    /// How long it may take; `None` for the default.
    pub timeout: Option<Span>,
    /// The coordinator an earlier try of the same request went to.
    pub first_sent_to: Option<CoordinatorId>,
}

/// An operation and where it goes.
pub type AddressedOperation = (ParticipantName, Operation<Payload>);

/// A lock and where it is taken.
pub type AddressedLock = (ParticipantName, LockRequest);

/// A saga as the client asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartSaga {
    /// The client's id.
    pub saga: SagaId,
    /// What is to be done, checked.
    pub graph: Graph,
    /// Fingerprint of that: SHA-256 of the definition's bytes, as
    /// [`Codec`](crate::codec::Codec) has them.
    pub hash: OperationsHash,
    /// The coordinator an earlier try of the same request went to.
    pub first_sent_to: Option<CoordinatorId>,
}

/// What can happen to a coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The log or the clock.
    Wake(Wake),
    /// A client asks for a one-shot transaction.
    RunRequested {
        /// Who waits.
        request: RequestId,
        /// Its circumstances.
        begin: Begin,
        /// Fingerprint of the operations.
        hash: OperationsHash,
        /// What to do.
        operations: Vec<AddressedOperation>,
    },
    /// A client begins an interactive transaction.
    BeginRequested {
        /// Who waits.
        request: RequestId,
        /// Its circumstances.
        begin: Begin,
    },
    /// A client adds work to an interactive transaction.
    ExecuteRequested {
        /// Who waits.
        request: RequestId,
        /// Which transaction.
        transaction: TransactionId,
        /// The epoch in which it begun, as [`Reply::Begun`] says. In a later one a
        /// late repeat of its beginning may have opened it anew, and empty.
        epoch: Epoch,
        /// Numbers the client's pieces from 1: a repeat is answered from memory.
        number: u32,
        /// What to do.
        operations: Vec<AddressedOperation>,
    },
    /// A client locks something for an interactive transaction.
    LocksRequested {
        /// Who waits.
        request: RequestId,
        /// Which transaction.
        transaction: TransactionId,
        /// The epoch in which it began.
        epoch: Epoch,
        /// Numbers the client's pieces from 1, together with those of work.
        number: u32,
        /// What to lock.
        locks: Vec<AddressedLock>,
    },
    /// A client asks for the commit of an interactive transaction.
    CommitRequested {
        /// Who waits.
        request: RequestId,
        /// Which transaction.
        transaction: TransactionId,
        /// The epoch in which it begun.
        epoch: Epoch,
    },
    /// Somebody asks for an abort.
    AbortRequested {
        /// Who waits.
        request: RequestId,
        /// Which transaction.
        transaction: TransactionId,
        /// For people.
        why: String,
    },
    /// Somebody asks what is known of a transaction.
    TransactionAsked {
        /// Who waits.
        request: RequestId,
        /// Which transaction.
        transaction: TransactionId,
    },
    /// Somebody asks for a list.
    TransactionsAsked {
        /// Who waits.
        request: RequestId,
        /// Only these states; empty: all.
        states: Vec<State>,
        /// Only ids below this one.
        below: Option<TransactionId>,
        /// At most so many.
        max: usize,
    },
    /// A participant answered.
    Answered {
        /// Which.
        from: ParticipantName,
        /// What.
        answer: Answer<Payload>,
    },
    /// A call brought no answer.
    CallFailed {
        /// To whom.
        to: ParticipantName,
        /// Which call.
        call: Call,
        /// What is known of its fate.
        failure: Failure,
    },
    /// A participant in doubt asks.
    VerdictAsked {
        /// Who waits.
        request: RequestId,
        /// About what.
        attempt: AttemptId,
    },
    /// A participant decided by hand against the decision, or lost an attempt.
    DamageReported {
        /// Who waits.
        request: RequestId,
        /// Where.
        participant: ParticipantName,
        /// About what.
        attempt: AttemptId,
        /// What was done by hand.
        by_hand: Outcome,
        /// The operator's reason.
        reason: String,
    },
    /// A participant makes itself known.
    RegisterRequested {
        /// Who waits.
        request: RequestId,
        /// Its name.
        name: ParticipantName,
        /// Its data directory.
        id: ParticipantId,
        /// Its URL.
        address: String,
        /// How its present boot began, if it says so.
        began: Option<LogPosition>,
        /// Which restoration from a backup its data directory is of, if it is of
        /// one.
        restored: Option<u64>,
    },
    /// An operator removes a participant.
    RemoveRequested {
        /// Who waits.
        request: RequestId,
        /// Its name.
        name: ParticipantName,
        /// Why what it has not acknowledged is given up, if it is: recorded as
        /// damage.
        give_up: Option<String>,
    },
    /// Somebody asks for the participants.
    ParticipantsAsked {
        /// Who waits.
        request: RequestId,
    },
    /// Somebody asks what is decided and not acknowledged.
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
        /// Where.
        participant: ParticipantName,
    },
    /// Somebody asks who waits for whom, at all participants.
    WaitsAsked {
        /// Who waits.
        request: RequestId,
    },
    /// Somebody asks for figures.
    StatisticsAsked {
        /// Who waits.
        request: RequestId,
    },
    /// A client starts a saga.
    SagaStartRequested {
        /// Who waits: for the start, not for the end.
        request: RequestId,
        /// What.
        start: Box<StartSaga>,
    },
    /// A client takes a saga back.
    SagaCancelRequested {
        /// Who waits.
        request: RequestId,
        /// Which saga.
        saga: SagaId,
        /// For people.
        why: String,
    },
    /// An operator lets a saga that is stuck go on: each stuck step is tried again.
    SagaResumeRequested {
        /// Who waits.
        request: RequestId,
        /// Which saga.
        saga: SagaId,
        /// Who does it, as they say.
        who: String,
        /// Why.
        why: String,
    },
    /// An operator settles a step of a saga that is stuck.
    SagaStepResolved {
        /// Who waits.
        request: RequestId,
        /// Which saga.
        saga: SagaId,
        /// Which step.
        step: StepName,
        /// What it counts as.
        resolution: Resolution,
        /// Who does it, as they say.
        who: String,
        /// Why.
        why: String,
    },
    /// Somebody asks what is known of a saga.
    SagaAsked {
        /// Who waits.
        request: RequestId,
        /// Which saga.
        saga: SagaId,
    },
    /// Somebody asks for a list of sagas.
    SagasAsked {
        /// Who waits.
        request: RequestId,
        /// Only these states; empty: all.
        states: Vec<saga::State>,
        /// Only ids below this one.
        below: Option<SagaId>,
        /// At most so many.
        max: usize,
    },
    /// The node is stopping: no new transactions.
    DrainRequested,
}

impl From<Wake> for Event {
    fn from(wake: Wake) -> Self {
        Self::Wake(wake)
    }
}

/// What a coordinator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a message; its answer or failure comes back as an event.
    Send {
        /// To whom.
        to: ParticipantName,
        /// What.
        frame: Frame<Payload>,
    },
    /// Answer somebody who waits.
    Reply {
        /// Whom.
        request: RequestId,
        /// What.
        reply: Reply,
    },
    /// From now on this participant is reached there.
    Link {
        /// Its name.
        name: ParticipantName,
        /// Its URL.
        address: String,
    },
    /// This participant is gone.
    Unlink {
        /// Its name.
        name: ParticipantName,
    },
    /// A transaction changed its state; for those who watch.
    Changed(View),
    /// Something about a saga has changed; for those who watch, who ask for more.
    SagaChanged {
        /// Which.
        saga: SagaId,
        /// Where it is now.
        state: saga::State,
    },
    /// The operator should know.
    Alarm(Alarm),
    /// Asked to drain, and nothing is running any more.
    Drained,
}

/// Something is wrong that only people can mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A participant did something else than what was decided.
    HeuristicDamage(Damaged),
    /// A participant broke the protocol.
    ProtocolViolated {
        /// Which.
        participant: ParticipantName,
        /// How.
        what: String,
    },
    /// A saga waits for people. Said again after each start.
    SagaStuck {
        /// Which.
        saga: SagaId,
        /// The first of its steps that is stuck, if one is.
        step: Option<StepName>,
        /// Why.
        refusal: Refusal,
    },
}

/// An answer to somebody who waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To run, commit and abort: the outcome.
    Finished(Report),
    /// To begin.
    Begun {
        /// Our epoch: all that follows in this transaction names it.
        epoch: Epoch,
    },
    /// To execute: the results.
    Executed(Vec<Payload>),
    /// To a request for locks: a token for each.
    LocksAcquired(Vec<Token>),
    /// Refused, or not known: no outcome.
    Refused(Refusal),
    /// To "what is known of this transaction".
    Transaction(View),
    /// To a list of transactions, highest id first.
    Transactions {
        /// The page.
        views: Vec<View>,
        /// There are more.
        more: bool,
    },
    /// To a participant in doubt.
    Verdict(Verdict),
    /// To a registration.
    Registered {
        /// Who we are.
        coordinator: CoordinatorId,
        /// Our epoch.
        epoch: Epoch,
    },
    /// To "who is registered".
    Participants(Vec<ParticipantView>),
    /// To "what is in doubt".
    InDoubt(Vec<View>),
    /// To "what damage is recorded".
    Damage(Vec<Damaged>),
    /// To "who waits for whom".
    Waits(WaitsView),
    /// To a request for figures.
    Statistics(Statistics),
    /// To all that is about one saga.
    Saga(saga::View),
    /// To a list of sagas, highest id first.
    Sagas {
        /// The page.
        views: Vec<saga::View>,
        /// There are more.
        more: bool,
    },
    /// It is done.
    Done,
}

/// An outcome as a client is told it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// Of which transaction.
    pub transaction: TransactionId,
    /// What became of it.
    pub ending: Ending,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Everywhere; results in the order of the operations, unless a restart has
    /// lost them.
    Committed(Option<Vec<Payload>>),
    /// Nowhere, and why.
    Aborted(Cause),
}

impl Ending {
    /// The outcome without its particulars.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Committed(_) => Outcome::Committed,
            Self::Aborted(_) => Outcome::Aborted,
        }
    }
}

/// States of a transaction at its coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Begun; its commit has not been asked for.
    Init,
    /// Votes are awaited.
    Preparing,
    /// All votes are in; the decision is not yet durable.
    Prepared,
    /// Decided; acknowledgements are awaited.
    Committing,
    /// All have acknowledged.
    Committed,
    /// Decided against; the record is not yet durable.
    Aborting,
    /// Aborted.
    Aborted,
}

/// How a participant voted, without the particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoteKind {
    /// Yes.
    Yes,
    /// No.
    No,
    /// It only read.
    ReadOnly,
}

/// A transaction as it can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its id.
    pub transaction: TransactionId,
    /// Its present or last attempt.
    pub attempt: AttemptId,
    /// Where it is.
    pub state: State,
    /// What became of it; `None` while that is not known.
    pub outcome: Option<Outcome>,
    /// Why it aborted.
    pub cause: Option<Cause>,
    /// When it entered which state, as far as that is remembered.
    pub history: History<State>,
    /// Its participants, as far as they are remembered.
    pub branches: Vec<BranchView>,
    /// When it is aborted if not decided by then.
    pub deadline: Option<Millis>,
    /// The answer of one participant decides, and it is awaited.
    pub decided_by_participant: bool,
}

/// Who waits for whom, as far as it could be learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitsView {
    /// What each participant says.
    pub reports: Vec<(ParticipantName, WaitsReport)>,
    /// Participants that did not answer: what is waited for there is missing.
    pub silent: Vec<ParticipantName>,
}

/// One participant's part, as it can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchView {
    /// Whose.
    pub participant: ParticipantName,
    /// Its vote, as far as it is in.
    pub vote: Option<VoteKind>,
    /// It has acknowledged.
    pub acknowledged: bool,
    /// What it was seen to wait for, while it has not answered.
    pub waiting: Option<WaitingView>,
}

/// A wait for a lock, as it can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingView {
    /// For which key.
    pub key: LockKey,
    /// How long it had waited when it was seen.
    pub waited: Span,
    /// For which transactions; not more than ten of them.
    pub blockers: Vec<TransactionId>,
}

/// A participant, as it can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantView {
    /// Its name.
    pub name: ParticipantName,
    /// Its data directory.
    pub id: ParticipantId,
    /// Its URL.
    pub address: String,
    /// It answered the last call.
    pub reachable: bool,
    /// Attempts with unfinished business there.
    pub unfinished: u64,
    /// Its boot number, as far as it was heard.
    pub boot: Option<Boot>,
}
