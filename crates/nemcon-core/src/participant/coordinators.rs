//! What a participant knows of each coordinator: epochs and floors.
//!
//! Together they give order without memory for ever: whatever is unknown and
//! lies below the floor, or in an epoch that has ended, is old and is refused;
//! so what is finished may be forgotten below the floor. Age and count would not
//! do: a message can be delayed for longer than any number one might choose.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::hash::{Hash, Hasher};

use crate::fingerprint::{all, missing};
use crate::id::{AttemptId, CoordinatorId, Epoch, Lsn, Position};
use crate::message::Header;

/// One coordinator.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) epoch: Epoch,
    /// Where the record of that epoch stands: no answer leaves before it is
    /// durable.
    pub(super) epoch_lsn: Lsn,
    /// The highest floor seen. Unknown work is compared with this one, not with
    /// that of the frame at hand, which may be an old one.
    pub(super) floor: Position,
    /// The floor in the log. Below it attempts are forgotten once it is durable.
    pub(super) logged_floor: Position,
    pub(super) logged_lsn: Lsn,
    /// Attempts that finished since the floor was last logged.
    finished: usize,
    /// Where it says it answers questions; newer than what a prepare said.
    pub(super) address: Option<String>,
}

/// All coordinators this participant has heard of.
#[derive(Clone, Debug, Default)]
pub(super) struct Coordinators(BTreeMap<CoordinatorId, Known>);

/// What a header says about its sender's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The epoch is the one we know.
    Current,
    /// A new one: record it before anything is answered.
    Newer,
    /// It has ended.
    Stale {
        /// The one we know.
        known: Epoch,
    },
}

impl Coordinators {
    /// Compares a header with what is known, and takes in its floor.
    pub(super) fn see(&mut self, header: &Header) -> Seen {
        let known = self.0.entry(header.coordinator).or_default();
        if header.epoch < known.epoch {
            return Seen::Stale { known: known.epoch };
        }
        // A floor can lie in no epoch that has not begun.
        if header.floor.epoch <= header.epoch {
            known.floor = known.floor.max(header.floor);
        }
        if header.epoch > known.epoch {
            Seen::Newer
        } else {
            Seen::Current
        }
    }

    /// Hashes what next steps depend on. Of what has finished counts only how far
    /// it is from a batch that is worth logging a floor.
    pub(super) fn fingerprint<H: Hasher>(&self, durable: Lsn, batch: usize, into: &mut H) {
        all(self.0.iter(), into, |(id, known), into| {
            let Known {
                epoch,
                epoch_lsn,
                floor,
                logged_floor,
                logged_lsn,
                finished,
                address,
            } = known;
            (id, epoch, missing(*epoch_lsn, durable)).hash(into);
            (floor, logged_floor, missing(*logged_lsn, durable)).hash(into);
            (batch.saturating_sub(*finished), address).hash(into);
        });
    }

    pub(super) fn get(&self, coordinator: CoordinatorId) -> Option<&Known> {
        self.0.get(&coordinator)
    }

    pub(super) fn entry(&mut self, coordinator: CoordinatorId) -> &mut Known {
        self.0.entry(coordinator).or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (CoordinatorId, &Known)> {
        self.0.iter().map(|(id, known)| (*id, known))
    }

    /// Notes an epoch from the log or newly recorded at `lsn`.
    pub(super) fn enter_epoch(&mut self, coordinator: CoordinatorId, epoch: Epoch, lsn: Lsn) {
        let known = self.entry(coordinator);
        if epoch > known.epoch {
            known.epoch = epoch;
            known.epoch_lsn = lsn;
        }
    }

    /// Notes a floor from the log or newly recorded at `lsn`.
    pub(super) fn log_floor(&mut self, coordinator: CoordinatorId, floor: Position, lsn: Lsn) {
        let known = self.entry(coordinator);
        known.floor = known.floor.max(floor);
        if floor >= known.logged_floor {
            known.logged_floor = floor;
            known.logged_lsn = lsn;
            known.finished = 0;
        }
    }

    /// Counts a finished attempt.
    pub(super) fn count_finished(&mut self, attempt: AttemptId) {
        self.entry(attempt.coordinator).finished += 1;
    }

    /// The floor to log now, if `batch` attempts have finished since the last
    /// one, so that forgetting is worth a record.
    pub(super) fn floor_to_log(
        &self,
        coordinator: CoordinatorId,
        batch: usize,
    ) -> Option<Position> {
        let known = self.0.get(&coordinator)?;
        let worth = known.finished >= batch && known.floor > known.logged_floor;
        worth.then_some(known.floor)
    }

    /// Whether the coordinator has said that it has no business below there.
    pub(super) fn is_below_floor(&self, attempt: AttemptId) -> bool {
        self.get(attempt.coordinator)
            .is_some_and(|known| attempt.position < known.floor)
    }

    /// Whether the attempt's epoch has ended.
    pub(super) fn is_stale(&self, attempt: AttemptId) -> bool {
        self.get(attempt.coordinator)
            .is_some_and(|known| attempt.position.epoch < known.epoch)
    }
}
