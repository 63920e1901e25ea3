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
            state: txn.history.state().unwrap_or(State::Init),
            outcome,
            cause,
            history: txn.history.clone(),
            branches: branches(txn),
            deadline: running.then_some(txn.deadline),
            decided_by_participant: running && matches!(txn.phase, Phase::Alone),
        }
    }

    fn view_remembered(&self, transaction: TransactionId, remembered: &Remembered) -> View {
        let (state, cause) = match &remembered.ending {
            Ending::Committed(_) => (State::Committed, None),
            Ending::Aborted(cause) => (State::Aborted, Some(cause.clone())),
        };
        View {
            transaction,
            attempt: self.attempt_id(remembered.attempt),
            state,
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
        let mut running = self.transactions.range((Unbounded, to)).rev().peekable();
        let mut ended = self.memory.newest_below(below).peekable();
        let mut views = Vec::new();
        loop {
            let first = match (running.peek(), ended.peek()) {
                (Some((a, _)), Some((b, _))) if *a > b => true,
                (Some(_), None) => true,
                (None, None) => return (views, false),
                (_, Some(_)) => false,
            };
            let view = if first {
                running.next().map(|(id, txn)| self.view(*id, txn))
            } else {
                ended
                    .next()
                    .map(|(id, remembered)| self.view_remembered(id, remembered))
            };
            let Some(view) = view else {
                return (views, false);
            };
            if states.is_empty() || states.contains(&view.state) {
                if views.len() == max {
                    return (views, true);
                }
                views.push(view);
            }
        }
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
