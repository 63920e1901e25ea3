//! Machines as the world looks at them: which transitions they make.

use nemcon_core::coordinator::Coordinator;
use nemcon_core::coordinator::event::{Event as CoordinatorEvent, State};
use nemcon_core::id::{AttemptId, TransactionId};
use nemcon_core::machine::{Machine, Wake};
use nemcon_core::message::{Alone, Answer, Outcome, ToParticipant, Verdict, Vote};
use nemcon_core::participant::Participant;
use nemcon_core::participant::event::{Event as ParticipantEvent, Source};
use nemcon_core::participant::view::Standing;

use crate::subject::Subject;

/// A row of a machine's transition table, as far as it can be seen from outside:
/// machine, state before, event, state after.
pub type Row = (&'static str, &'static str, &'static str, &'static str);

/// Where something is that a machine does not know (yet, or any more).
const UNKNOWN: &str = "–";

/// A machine whose transitions can be seen.
pub(crate) trait Observed: Machine<Record: Clone> {
    /// What has a state.
    type Key: Ord + Copy;

    /// Everything that has a state, in order.
    fn standings(&self) -> Vec<(Self::Key, &'static str)>;

    /// A short name of an event, and what it is about, if about one thing.
    fn name_of(&self, event: &Self::Event) -> (&'static str, Option<Self::Key>);

    /// Where something is now that is no longer among the standings.
    fn standing_of(&self, key: Self::Key) -> &'static str;

    /// Which machine this is.
    const MACHINE: &'static str;

    /// Compares with what was before an event, and adds a row for each change;
    /// for what the event was about also where nothing has changed.
    fn rows(
        &self,
        (what, about): (&'static str, Option<Self::Key>),
        before: &[(Self::Key, &'static str)],
        rows: &mut Vec<Row>,
    ) {
        let after = self.standings();
        let (mut was, mut is) = (before.iter().peekable(), after.iter().peekable());
        let mut row = |key, from, to| {
            if from != to || Some(key) == about {
                rows.push((Self::MACHINE, from, what, to));
            }
        };
        let mut seen = false;
        loop {
            let key = match (was.peek(), is.peek()) {
                (Some((a, _)), Some((b, _))) => *a.min(b),
                (Some((key, _)), None) | (None, Some((key, _))) => *key,
                (None, None) => break,
            };
            let from = was.next_if(|(k, _)| *k == key).map(|(_, at)| *at);
            let to = is.next_if(|(k, _)| *k == key).map(|(_, at)| *at);
            seen |= Some(key) == about;
            let to = to.unwrap_or_else(|| self.standing_of(key));
            row(key, from.unwrap_or(UNKNOWN), to);
        }
        if let Some(key) = about.filter(|_| !seen) {
            let at = self.standing_of(key);
            row(key, at, at);
        }
    }
}

impl Observed for Coordinator {
    type Key = TransactionId;

    const MACHINE: &'static str = "coordinator";

    fn standings(&self) -> Vec<(TransactionId, &'static str)> {
        self.states()
            .map(|(transaction, state)| (transaction, state_name(state)))
            .collect()
    }

    fn name_of(&self, event: &CoordinatorEvent) -> (&'static str, Option<TransactionId>) {
        match event {
            CoordinatorEvent::Wake(wake) => (wake_name(*wake), None),
            CoordinatorEvent::RunRequested { begin, .. } => ("Run", Some(begin.transaction)),
            CoordinatorEvent::BeginRequested { begin, .. } => ("Begin", Some(begin.transaction)),
            CoordinatorEvent::ExecuteRequested { transaction, .. } => {
                ("Execute", Some(*transaction))
            }
            CoordinatorEvent::LocksRequested { transaction, .. } => ("Lock", Some(*transaction)),
            CoordinatorEvent::CommitRequested { transaction, .. } => ("Commit", Some(*transaction)),
            CoordinatorEvent::AbortRequested { transaction, .. } => ("Abort", Some(*transaction)),
            CoordinatorEvent::Answered { answer, .. } => {
                let attempt = attempt_of(answer);
                (answer_name(answer), attempt.and_then(|it| self.whose(it)))
            }
            CoordinatorEvent::CallFailed { call, .. } => {
                let attempt = call.attempt();
                ("call failed", attempt.and_then(|it| self.whose(it)))
            }
            CoordinatorEvent::TransactionAsked { transaction, .. } => {
                ("outcome asked", Some(*transaction))
            }
            CoordinatorEvent::VerdictAsked { attempt, .. } => {
                ("verdict asked", self.whose(*attempt))
            }
            CoordinatorEvent::TransactionsAsked { .. }
            | CoordinatorEvent::ParticipantsAsked { .. }
            | CoordinatorEvent::InDoubtAsked { .. }
            | CoordinatorEvent::DamageAsked { .. }
            | CoordinatorEvent::WaitsAsked { .. }
            | CoordinatorEvent::StatisticsAsked { .. } => ("list asked", None),
            CoordinatorEvent::DamageReported { .. } => ("damage reported", None),
            CoordinatorEvent::RegisterRequested { .. } => ("Register", None),
            CoordinatorEvent::RemoveRequested { .. } => ("Remove", None),
            CoordinatorEvent::DamageAcknowledged { .. } => ("damage acknowledged", None),
            CoordinatorEvent::SagaStartRequested { .. } => ("StartSaga", None),
            CoordinatorEvent::SagaCancelRequested { .. } => ("CancelSaga", None),
            CoordinatorEvent::SagaResumeRequested { .. } => ("ResumeSaga", None),
            CoordinatorEvent::SagaStepResolved { .. } => ("ResolveSagaStep", None),
            CoordinatorEvent::SagaAsked { .. } | CoordinatorEvent::SagasAsked { .. } => {
                ("saga asked", None)
            }
            CoordinatorEvent::DrainRequested => ("Drain", None),
        }
    }

    fn standing_of(&self, key: TransactionId) -> &'static str {
        self.look_up(key)
            .map_or(UNKNOWN, |view| state_name(view.state))
    }
}

const fn wake_name(wake: Wake) -> &'static str {
    match wake {
        Wake::Durable(_) => "durable",
        Wake::DeadlinePassed => "time",
        Wake::Room(_) => "room",
    }
}

const fn state_name(state: State) -> &'static str {
    match state {
        State::Init => "INIT",
        State::Preparing => "PREPARING",
        State::Prepared => "PREPARED",
        State::Committing => "COMMITTING",
        State::Committed => "COMMITTED",
        State::Aborting => "ABORTING",
        State::Aborted => "ABORTED",
    }
}

const fn answer_name<R>(answer: &Answer<R>) -> &'static str {
    match answer {
        Answer::Welcome { .. } => "welcome",
        Answer::Executed { results: Ok(_), .. } => "executed",
        Answer::Executed {
            results: Err(_), ..
        } => "not executed",
        Answer::LocksAcquired { tokens: Ok(_), .. } => "locks acquired",
        Answer::LocksAcquired { tokens: Err(_), .. } => "locks not acquired",
        Answer::Waits { .. } => "waits",
        Answer::WaitFailed { .. } => "wait failed",
        Answer::Voted {
            vote: Vote::Yes(_), ..
        } => "yes",
        Answer::Voted {
            vote: Vote::ReadOnly(_),
            ..
        } => "read-only",
        Answer::Voted {
            vote: Vote::No(_), ..
        } => "no",
        Answer::Acknowledged { damage: None, .. } => "acknowledged",
        Answer::Acknowledged {
            damage: Some(_), ..
        } => "acknowledged with damage",
        Answer::Released { boot: Some(_), .. } => "released",
        Answer::Released { boot: None, .. } => "released without proof",
        Answer::DecidedAlone {
            alone: Alone::Committed(_),
            ..
        } => "committed alone",
        Answer::DecidedAlone {
            alone: Alone::Aborted(_),
            ..
        } => "aborted alone",
        Answer::Traced { .. } => "traced",
        Answer::Refused { .. } => "refused",
    }
}

/// Which attempt an answer is about, if it is about one.
const fn attempt_of<R>(answer: &Answer<R>) -> Option<AttemptId> {
    match answer {
        Answer::Executed { attempt, .. }
        | Answer::LocksAcquired { attempt, .. }
        | Answer::Voted { attempt, .. }
        | Answer::Acknowledged { attempt, .. }
        | Answer::Released { attempt, .. }
        | Answer::DecidedAlone { attempt, .. } => Some(*attempt),
        Answer::Refused { call, .. } => call.attempt(),
        Answer::Welcome { .. }
        | Answer::Traced { .. }
        | Answer::Waits { .. }
        | Answer::WaitFailed { .. } => None,
    }
}

impl<S: Subject> Observed for Participant<S> {
    type Key = AttemptId;

    const MACHINE: &'static str = "participant";

    fn standings(&self) -> Vec<(AttemptId, &'static str)> {
        self.attempts()
            .map(|view| (view.attempt, standing_name(view.standing)))
            .collect()
    }

    fn name_of(&self, event: &ParticipantEvent<S::Action>) -> (&'static str, Option<AttemptId>) {
        match event {
            ParticipantEvent::Wake(wake) => (wake_name(*wake), None),
            ParticipantEvent::Registered { .. } => ("registered", None),
            ParticipantEvent::FrameReceived { frame, .. } => {
                let about = match &frame.message {
                    ToParticipant::FailWait(fail) => Some(fail.victim),
                    message => message.call().attempt(),
                };
                let name = match &frame.message {
                    ToParticipant::Hello(_) => "Hello",
                    ToParticipant::Execute(_) => "Execute",
                    ToParticipant::AcquireLocks(_) => "AcquireLocks",
                    ToParticipant::ReportWaits(_) => "ReportWaits",
                    ToParticipant::FailWait(_) => "FailWait",
                    ToParticipant::Prepare(_) => "Prepare",
                    ToParticipant::Commit(_) => "Commit",
                    ToParticipant::Abort(_) => "Abort",
                    ToParticipant::Release(_) => "Release",
                    ToParticipant::CommitOnePhase(_) => "CommitOnePhase",
                    ToParticipant::Inquire(_) => "Inquire",
                };
                (name, about)
            }
            ParticipantEvent::VerdictHeard {
                attempt,
                from,
                verdict,
            } => {
                let name = match (from, verdict) {
                    (Source::Coordinator, Ok(verdict)) => match verdict {
                        Verdict::Committed => "coordinator: committed",
                        Verdict::Aborted => "coordinator: aborted",
                        Verdict::Pending => "coordinator: pending",
                        Verdict::Unknown => "coordinator: unknown",
                        Verdict::WrongCoordinator => "coordinator: another",
                    },
                    (Source::Peer(_), Ok(verdict)) => match verdict {
                        Verdict::Committed => "peer: committed",
                        Verdict::Aborted => "peer: aborted",
                        Verdict::Pending => "peer: pending",
                        Verdict::Unknown => "peer: unknown",
                        Verdict::WrongCoordinator => "peer: another",
                    },
                    (Source::Coordinator, Err(_)) => "coordinator: no answer",
                    (Source::Peer(_), Err(_)) => "peer: no answer",
                };
                (name, Some(*attempt))
            }
            ParticipantEvent::PeerAsked { attempt, .. } => ("peer asks", Some(*attempt)),
            ParticipantEvent::PeekRequested { .. }
            | ParticipantEvent::InDoubtAsked { .. }
            | ParticipantEvent::LocksAsked { .. }
            | ParticipantEvent::DamageAsked { .. } => ("list asked", None),
            ParticipantEvent::ResolveRequested {
                attempt, outcome, ..
            } => match outcome {
                Outcome::Committed => ("commit by hand", Some(*attempt)),
                Outcome::Aborted => ("abort by hand", Some(*attempt)),
            },
            ParticipantEvent::DamageAcknowledged { .. } => ("damage acknowledged", None),
            ParticipantEvent::DamageReportAnswered { attempt, .. } => {
                ("damage report answered", Some(*attempt))
            }
            ParticipantEvent::DrainRequested => ("Drain", None),
        }
    }

    fn standing_of(&self, _: AttemptId) -> &'static str {
        UNKNOWN
    }
}

const fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "ACTIVE",
        Standing::Holding => "HOLDING",
        Standing::Prepared => "PREPARED",
        Standing::Ended(Outcome::Committed) => "COMMITTED",
        Standing::Ended(Outcome::Aborted) => "ABORTED",
        Standing::Declined => "ABORTED by itself",
        Standing::Read => "READ",
        Standing::ByHand(Outcome::Committed) => "COMMITTED by hand",
        Standing::ByHand(Outcome::Aborted) => "ABORTED by hand",
    }
}
