//! The coordinator as it can be looked at.

use alloc::vec::Vec;

use super::event::{BranchView, Ending, State, View};
use super::memory::Remembered;
use super::transaction::{Phase, Transaction};
use super::{Coordinator, Settings};
use crate::id::{CoordinatorId, Epoch, ParticipantName, TransactionId};
use crate::message::Outcome;

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
            Some(self.view_remembered(transaction, remembered))
        })
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

    fn view_remembered(&self, transaction: TransactionId, remembered: &Remembered) -> View {
        let cause = match &remembered.ending {
            Ending::Committed(_) => None,
            Ending::Aborted(cause) => Some(cause.clone()),
        };
        View {
            transaction,
            attempt: self.attempt_id(remembered.attempt),
            state: ended_state(&remembered.ending),
            outcome: Some(remembered.ending.outcome()),
            cause,
            history: remembered.history.clone(),
            branches: remembered.branches.clone(),
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
            .filter(|(_, it)| wanted(ended_state(&it.ending)))
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
                    views.extend(next.map(|(id, it)| self.view_remembered(id, it)));
                }
            }
        }
        (views, false)
    }
}

fn state_of(txn: &Transaction) -> State {
    txn.history.state().unwrap_or(State::Init)
}

const fn ended_state(ending: &Ending) -> State {
    match ending {
        Ending::Committed(_) => State::Committed,
        Ending::Aborted(_) => State::Aborted,
    }
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
        };
    txn.branches.iter().map(view).collect()
}
