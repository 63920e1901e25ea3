//! What an onlooker who sees everything has seen: what was said, and what is on
//! the disks. Checkers compare it with what the machines hold.

use std::collections::{BTreeMap, BTreeSet};

use nemcon_core::coordinator::record::Record as CoordinatorRecord;
use nemcon_core::id::{AttemptId, CoordinatorId, Epoch, ParticipantName, TransactionId};
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::message::Outcome;
use nemcon_core::participant::record::{AloneEnding, Record as ParticipantRecord};

use super::border::{identity, place_of};

/// The locks that a prepared attempt keeps.
pub(crate) type Locks = Vec<(LockKey, Mode)>;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Everyone who was asked to vote on an attempt.
    pub(crate) asked: BTreeMap<AttemptId, BTreeSet<ParticipantName>>,
    /// Those whose yes or read-only has left them.
    pub(crate) in_favour: BTreeMap<AttemptId, BTreeSet<ParticipantName>>,
    /// By participant: what it has said yes to.
    pub(crate) promised: Vec<BTreeSet<AttemptId>>,
    /// By participant: what its durable records of promises name.
    pub(crate) locks: Vec<BTreeMap<AttemptId, Locks>>,
    /// Durable decisions to commit.
    pub(crate) decided: BTreeMap<AttemptId, TransactionId>,
    /// Of which transaction an attempt is, as far as records say so.
    pub(crate) transactions: BTreeMap<AttemptId, TransactionId>,
    /// Durable commits of participants: which attempt, where.
    pub(crate) commits: BTreeSet<(AttemptId, usize)>,
    /// By participant and coordinator: the newest epoch it has on record.
    pub(crate) epochs: BTreeMap<(usize, CoordinatorId), Epoch>,
    /// What clients were told, in order.
    pub(crate) answers: Vec<(TransactionId, Outcome)>,
    /// Durable decisions by hand, by participant.
    pub(crate) by_hand: BTreeMap<(usize, AttemptId), Outcome>,
    /// Damage in participants' logs.
    pub(crate) damage_here: BTreeSet<(usize, AttemptId)>,
    /// Damage in coordinators' logs, by participant.
    pub(crate) damage_there: BTreeSet<(usize, AttemptId)>,
    /// Damage of the kind that a participant had lost what it promised.
    pub(crate) lost: BTreeSet<(usize, AttemptId)>,
    /// Alarms other than of damage, in words.
    pub(crate) alarms: Vec<String>,
}

impl Facts {
    pub(crate) fn new(participants: usize) -> Self {
        Self {
            promised: vec![BTreeSet::new(); participants],
            locks: vec![BTreeMap::new(); participants],
            ..Self::default()
        }
    }

    /// What was carried out: transaction, attempt, participant. Of which transaction
    /// a commit is, its promise says, or the decision: a checkpoint may have taken
    /// the place of one of them before it was seen.
    pub(crate) fn applied(&self) -> impl Iterator<Item = (TransactionId, AttemptId, usize)> + '_ {
        self.commits.iter().filter_map(|(attempt, at)| {
            let promised = self.transactions.get(attempt);
            let transaction = promised.or_else(|| self.decided.get(attempt))?;
            Some((*transaction, *attempt, *at))
        })
    }

    /// A record of a coordinator is durable.
    pub(crate) fn coordinator_logged(&mut self, at: usize, record: &CoordinatorRecord) {
        let attempt = |position| AttemptId {
            coordinator: identity(at),
            position,
        };
        match record {
            CoordinatorRecord::Decided(decided) => {
                self.decided
                    .insert(attempt(decided.attempt), decided.transaction);
            }
            CoordinatorRecord::Damaged(damaged) => {
                let key = (place_of(&damaged.participant), attempt(damaged.attempt));
                self.damage_there.insert(key);
            }
            CoordinatorRecord::Started { .. }
            | CoordinatorRecord::Ended { .. }
            | CoordinatorRecord::Aborted(_)
            | CoordinatorRecord::Forgotten { .. }
            | CoordinatorRecord::AloneHorizon { .. }
            | CoordinatorRecord::Registered { .. }
            | CoordinatorRecord::Removed { .. }
            | CoordinatorRecord::DamageAcknowledged { .. }
            | CoordinatorRecord::Restored { .. }
            | CoordinatorRecord::Saga { .. }
            | CoordinatorRecord::SagasForgotten { .. } => {}
        }
    }

    /// A record of a participant is durable.
    pub(crate) fn participant_logged(&mut self, at: usize, record: &ParticipantRecord) {
        match record {
            ParticipantRecord::Prepared(prepared) => {
                let (attempt, transaction) = (prepared.attempt, prepared.transaction);
                self.transactions.insert(attempt, transaction);
                if let Some(locks) = self.locks.get_mut(at) {
                    locks.insert(attempt, prepared.locks.clone());
                }
            }
            ParticipantRecord::Committed { attempt, .. } => {
                self.commits.insert((*attempt, at));
            }
            // A checkpoint repeats it without its redo.
            ParticipantRecord::DecidedAlone(decided)
                if matches!(decided.ending, AloneEnding::Committed(_)) =>
            {
                self.transactions
                    .insert(decided.attempt, decided.transaction);
                self.commits.insert((decided.attempt, at));
            }
            ParticipantRecord::ResolvedByHand(resolved) => {
                self.by_hand
                    .insert((at, resolved.attempt), resolved.outcome);
            }
            ParticipantRecord::Damaged(damaged) => {
                self.damage_here.insert((at, damaged.attempt));
                // A checkpoint may have dropped the record of the decision by hand
                // before it was seen.
                if let Some(by_hand) = damaged.by_hand {
                    self.by_hand.insert((at, damaged.attempt), by_hand);
                }
                if damaged.by_hand.is_none() {
                    self.lost.insert((at, damaged.attempt));
                }
            }
            ParticipantRecord::EpochSeen { coordinator, epoch } => {
                let newest = self.epochs.entry((at, *coordinator)).or_default();
                *newest = (*newest).max(*epoch);
            }
            ParticipantRecord::Started { .. }
            | ParticipantRecord::FloorRaised { .. }
            | ParticipantRecord::Aborted { .. }
            | ParticipantRecord::Refused { .. }
            | ParticipantRecord::DecidedAlone(_)
            | ParticipantRecord::Forgotten { .. }
            | ParticipantRecord::DamageAcknowledged { .. }
            | ParticipantRecord::Restored { .. }
            | ParticipantRecord::Readmitted { .. } => {}
        }
    }
}
