//! The participant as it can be looked at, by operators and by invariants.

use alloc::vec::Vec;

use super::attempt::{Attempt, Finished, Phase};
use super::event::{InDoubt, State};
use super::record::Damaged;
use super::{Participant, Settings};
use crate::id::{AttemptId, Boot, CoordinatorId, LogPosition, ParticipantId, TransactionId};
use crate::lock;
use crate::message::Outcome;
use crate::resource::Resource;
use crate::time::{Millis, Span};

/// An attempt as invariants see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptView {
    /// Which.
    pub attempt: AttemptId,
    /// Of which transaction; not remembered for old ones after a restart.
    pub transaction: TransactionId,
    /// Where it is.
    pub standing: Standing,
}

/// Where an attempt is, as far as others can rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Unprepared: may still end by itself.
    Active,
    /// Voted read-only and holds its locks.
    Holding,
    /// Promised.
    Prepared,
    /// Over, with an outcome that was heard, or decided alone.
    Ended(Outcome),
    /// Over by itself: aborted here, whatever else.
    Declined,
    /// Over for a reader: no outcome is known here.
    Read,
    /// An operator's outcome; the real one is not known yet.
    ByHand(Outcome),
}

impl<R: Resource> Participant<R> {
    /// What was set.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The identity of its data directory.
    #[must_use]
    pub const fn id(&self) -> ParticipantId {
        self.id
    }

    /// How often it has started.
    #[must_use]
    pub const fn boot(&self) -> Boot {
        self.boot
    }

    /// A number that another start would not have.
    pub(super) const fn life(&self) -> u32 {
        (self.settings.seed >> 32) as u32 ^ self.settings.seed as u32
    }

    /// How this boot began.
    #[must_use]
    pub const fn began(&self) -> LogPosition {
        LogPosition {
            boot: self.boot,
            lsn: self.began_at,
            life: self.life(),
        }
    }

    /// The data it guards.
    #[must_use]
    pub const fn resource(&self) -> &R {
        &self.resource
    }

    /// Its locks.
    #[must_use]
    pub const fn locks(&self) -> &lock::Table<AttemptId> {
        &self.locks
    }

    /// Everything it knows of attempts.
    pub fn attempts(&self) -> impl Iterator<Item = AttemptView> + '_ {
        self.attempts.iter().map(|(id, attempt)| AttemptView {
            attempt: *id,
            transaction: attempt.transaction,
            standing: self.standing(attempt),
        })
    }

    /// How many attempts are prepared and without an outcome.
    #[must_use]
    pub fn prepared(&self) -> usize {
        self.attempts
            .values()
            .filter(|attempt| attempt.is_prepared())
            .count()
    }

    fn standing(&self, attempt: &Attempt<R>) -> Standing {
        match &attempt.phase {
            Phase::Active(_) => Standing::Active,
            Phase::Holding { .. } => Standing::Holding,
            Phase::Prepared(_) => Standing::Prepared,
            Phase::Finished(finished) => match finished {
                Finished::Heard(outcome) => Standing::Ended(*outcome),
                Finished::Declined { .. } => Standing::Declined,
                Finished::Refused => Standing::Ended(Outcome::Aborted),
                Finished::Read(_) => Standing::Read,
                Finished::ReadAlone(_) => Standing::Ended(Outcome::Committed),
                Finished::DecidedAlone => match attempt.history.state() {
                    Some(State::Committed) => Standing::Ended(Outcome::Committed),
                    Some(State::Active | State::Prepared | State::Aborted) | None => {
                        Standing::Ended(Outcome::Aborted)
                    }
                },
                Finished::ByHand(by_hand) => Standing::ByHand(by_hand.outcome),
            },
        }
    }

    /// Whether the attempt's coordinator has said that it is past it.
    #[must_use]
    pub fn is_past(&self, attempt: AttemptId) -> bool {
        self.coordinators.is_below_floor(attempt)
    }

    /// Whether the attempt still has a reason to hold locks: it is not over, or
    /// the record that ends it is not durable yet.
    #[must_use]
    pub fn keeps_locks(&self, id: AttemptId) -> bool {
        let live = self
            .attempts
            .get(&id)
            .is_some_and(|attempt| !attempt.is_finished());
        live || self.unlocks.iter().any(|(_, waiting)| *waiting == id)
    }

    pub(super) fn attempts_of(
        &self,
        coordinator: CoordinatorId,
    ) -> impl Iterator<Item = (AttemptId, &Attempt<R>)> {
        let from = AttemptId {
            coordinator,
            position: Default::default(),
        };
        let of = self.attempts.range(from..);
        of.take_while(move |(id, _)| id.coordinator == coordinator)
            .map(|(id, attempt)| (*id, &**attempt))
    }

    /// How many attempts are prepared here without a known outcome, and how long the
    /// longest has been so. Looks at all attempts that are remembered.
    #[must_use]
    pub fn undecided(&self, now: Millis) -> (u64, Span) {
        let prepared = self
            .attempts
            .values()
            .filter(|attempt| matches!(attempt.phase, Phase::Prepared(_)));
        prepared.fold((0, Span(0)), |(count, oldest), attempt| {
            let since = attempt.history.since().unwrap_or(now);
            (count + 1, oldest.max(now.since(since)))
        })
    }

    /// How many damages nobody has seen to.
    #[must_use]
    pub fn open_damages(&self) -> usize {
        self.damage.values().filter(|damage| !damage.mended).count()
    }

    pub(super) fn in_doubt(&self) -> Vec<InDoubt> {
        self.attempts
            .iter()
            .filter_map(|(id, attempt)| self.doubt(*id, attempt))
            .collect()
    }

    fn doubt(&self, id: AttemptId, attempt: &Attempt<R>) -> Option<InDoubt> {
        let Phase::Prepared(promise) = &attempt.phase else {
            return None;
        };
        let prepared = attempt
            .history
            .iter()
            .find(|(state, _)| *state == State::Prepared);
        Some(InDoubt {
            attempt: id,
            transaction: attempt.transaction,
            history: attempt.history.clone(),
            prepared_at: prepared.map_or(Millis(0), |(_, at)| at),
            coordinator_address: promise.asking.coordinator_address.clone(),
            peers: promise.asking.peers.clone(),
            questions: promise.asking.questions,
            locks: self
                .locks
                .held_by(id)
                .map(|(key, mode)| (key.clone(), mode))
                .collect(),
        })
    }

    pub(super) fn recorded_damage(&self) -> Vec<Damaged> {
        let open = self.damage.values().filter(|damage| !damage.mended);
        open.map(|damage| damage.record.clone()).collect()
    }
}

impl<R: Resource> Attempt<R> {
    /// Whether the real decision is still asked for.
    pub(super) const fn is_asking(&self) -> bool {
        matches!(
            self.phase,
            Phase::Prepared(_) | Phase::Finished(Finished::ByHand(_))
        )
    }
}
