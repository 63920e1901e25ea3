//! The coordinator as it can be looked at.

use alloc::vec::Vec;

use super::event::{BranchView, State, View, WaitingView};
use super::memory::Known;
use super::transaction::{Phase, Transaction};
use super::{Coordinator, Settings};
use crate::id::{AttemptId, CoordinatorId, Epoch, ParticipantName, TransactionId};
use crate::message::Outcome;

/// How much a coordinator holds, in numbers of things. Each is bounded: by the
/// settings, or by what runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Transactions without an end, those included whose commit is not
    /// acknowledged.
    pub running: usize,
    /// Their attempts.
    pub attempts: usize,
    /// Attempts that may yet send work to anyone.
    pub open: usize,
    /// Attempts with unfinished business, at all participants together.
    pub unfinished: usize,
    /// Timers.
    pub timers: usize,
    /// Outcomes.
    pub remembered: usize,
    /// Sagas that have not ended.
    pub sagas: usize,
}

impl Held {
    /// Of each number the greater.
    #[must_use]
    pub fn most(self, other: Self) -> Self {
        Self {
            running: self.running.max(other.running),
            attempts: self.attempts.max(other.attempts),
            open: self.open.max(other.open),
            unfinished: self.unfinished.max(other.unfinished),
            timers: self.timers.max(other.timers),
            remembered: self.remembered.max(other.remembered),
            sagas: self.sagas.max(other.sagas),
        }
    }
}

impl Coordinator {
    /// What was set.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its identity.
    #[must_use]
    pub const fn identity(&self) -> CoordinatorId {
        self.identity
    }

    /// How often it has started.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How much it holds in memory.
    #[must_use]
    pub fn held(&self) -> Held {
        let members = self.members.values();
        Held {
            running: self.transactions.len(),
            attempts: self.attempts.len(),
            open: self.open.len(),
            unfinished: members.map(|member| member.unfinished.len()).sum(),
            timers: self.timers.len(),
            remembered: self.memory.len(),
            sagas: self.sagas.running(),
        }
    }

    /// How many attempts have unfinished business at a participant.
    #[must_use]
    pub fn unfinished(&self, participant: &ParticipantName) -> usize {
        self.members
            .get(participant)
            .map_or(0, |member| member.unfinished.len())
    }

    /// Whether the transaction, if it is not known, may be one whose outcome was
    /// forgotten.
    #[must_use]
    pub fn may_have_forgotten(&self, transaction: TransactionId) -> bool {
        self.memory.may_have_forgotten(transaction)
    }

    /// One transaction, running or remembered.
    #[must_use]
    pub fn look_up(&self, transaction: TransactionId) -> Option<View> {
        let running = self.transactions.get(&transaction);
        running.map(|txn| self.view(transaction, txn)).or_else(|| {
            let remembered = self.memory.get(transaction)?;
            Some(self.view_remembered(transaction, &remembered))
        })
    }

    /// The running transaction of an attempt of ours.
    #[must_use]
    pub fn whose(&self, attempt: AttemptId) -> Option<TransactionId> {
        let ours = attempt.coordinator == self.identity;
        ours.then(|| self.attempts.get(&attempt.position).copied())?
    }

    /// What is running, or decided and not acknowledged, and where it is.
    pub fn states(&self) -> impl Iterator<Item = (TransactionId, State)> + '_ {
        self.transactions
            .iter()
            .map(|(id, txn)| (*id, state_of(txn)))
    }

    pub(super) fn view(&self, transaction: TransactionId, txn: &Transaction) -> View {
        let (outcome, cause) = match &txn.phase {
            Phase::Committing => (Some(Outcome::Committed), None),
            Phase::Aborting(cause) => {
                let durable = txn.history.state() == Some(State::Aborted);
                (durable.then_some(Outcome::Aborted), Some(cause.clone()))
            }
            Phase::Inquiring { .. }
            | Phase::Open(_)
            | Phase::Preparing
            | Phase::Releasing
            | Phase::Alone
            | Phase::Deciding => (outcome_of(txn.history.state()), None),
        };
        let running = outcome.is_none() && cause.is_none();
        View {
            transaction,
            attempt: self.attempt_id(txn.attempt),
            state: state_of(txn),
            outcome,
            cause,
            history: txn.history.clone(),
            branches: branches(txn),
            deadline: running.then_some(txn.deadline),
            decided_by_participant: running && matches!(txn.phase, Phase::Alone),
        }
    }

    fn view_remembered(&self, transaction: TransactionId, remembered: &Known<'_>) -> View {
        View {
            transaction,
            attempt: self.attempt_id(remembered.attempt()),
            state: remembered.state(),
            outcome: Some(remembered.outcome()),
            cause: remembered.cause(),
            history: remembered.history(),
            branches: remembered.branches(),
            deadline: None,
            decided_by_participant: false,
        }
    }

    /// A page of transactions, highest id first.
    pub(super) fn list(
        &self,
        states: &[State],
        below: Option<TransactionId>,
        max: usize,
    ) -> (Vec<View>, bool) {
        use core::ops::Bound::{Excluded, Unbounded};
        let to = below.map_or(Unbounded, Excluded);
        let wanted = |state: State| states.is_empty() || states.contains(&state);
        // A view is built only of what is shown: there may be a million outcomes.
        let mut running = self.transactions.range((Unbounded, to)).rev();
        let mut running = running
            .by_ref()
            .filter(|(_, txn)| wanted(state_of(txn)))
            .peekable();
        let mut ended = self.memory.newest_below(below);
        let mut ended = ended
            .by_ref()
            .filter(|(_, it)| wanted(it.state()))
            .peekable();
        let mut views = Vec::new();
        while running.peek().is_some() || ended.peek().is_some() {
            if views.len() == max {
                return (views, true);
            }
            let last_ended = ended.peek().map(|(id, _)| *id);
            match running.next_if(|(id, _)| last_ended.is_none_or(|ended| **id > ended)) {
                Some((id, txn)) => views.push(self.view(*id, txn)),
                None => {
                    let next = ended.next();
                    views.extend(next.map(|(id, it)| self.view_remembered(id, &it)));
                }
            }
        }
        (views, false)
    }
}

fn state_of(txn: &Transaction) -> State {
    txn.history.state().unwrap_or(State::Init)
}

/// The outcome a state stands for, where it stands for one.
const fn outcome_of(state: Option<State>) -> Option<Outcome> {
    match state {
        Some(State::Committing | State::Committed) => Some(Outcome::Committed),
        Some(State::Aborted) => Some(Outcome::Aborted),
        Some(State::Init | State::Preparing | State::Prepared | State::Aborting) | None => None,
    }
}

pub(super) fn branches(txn: &Transaction) -> Vec<BranchView> {
    let view =
        |(name, branch): (&crate::id::ParticipantName, &super::transaction::Branch)| BranchView {
            participant: name.clone(),
            vote: branch.vote,
            acknowledged: branch.acknowledged,
            waiting: waiting(txn, name, branch),
        };
    txn.branches.iter().map(view).collect()
}

/// What a branch waits for, if it has been seen waiting and not answered since.
fn waiting(
    txn: &Transaction,
    name: &ParticipantName,
    branch: &super::transaction::Branch,
) -> Option<WaitingView> {
    let unanswered = match &txn.phase {
        Phase::Open(piece) => piece.unanswered.contains(name),
        Phase::Preparing => branch.vote.is_none(),
        Phase::Inquiring { .. }
        | Phase::Releasing
        | Phase::Alone
        | Phase::Deciding
        | Phase::Committing
        | Phase::Aborting(_) => false,
    };
    let waiting = branch.waiting.as_ref().filter(|_| unanswered)?;
    Some(WaitingView {
        key: waiting.key.clone(),
        waited: waiting.waited,
        blockers: waiting.blockers.clone(),
    })
}
