//! A coordinator whose data directory was restored from a backup.
//!
//! Between the backup and its loss the earlier life may have decided anything.
//! So of what this log does not show nothing is said that could be wrong:
//!
//! - its epochs lie above all that the lost life can have used;
//! - an attempt of an older epoch that is not decided here is *unknown*, never
//!   aborted: presumed abort needs a log that has lost nothing;
//! - an unknown transaction id that the lost life can have seen never runs;
//! - the floor stays where the backup had it for a while, so that participants
//!   keep the outcomes that others of them are going to ask for.

use super::record::Record;
use super::{Coordinator, Timer};
use crate::id::{Epoch, Position, Sequence, TransactionId};
use crate::limits;
use crate::time::{Millis, Span};

/// How long after each start the floor is held back. Whoever is in doubt asks its
/// peers within a second; an hour is for those that are down, and is as long as
/// outcomes are remembered by default.
const FLOOR_HELD_FOR: Span = Span::from_secs(3_600);

/// After so many attempts the floor is let go in any case: each costs the
/// participants some hundred bytes until then.
const FLOOR_HELD_ATTEMPTS: Sequence = Sequence(100_000);

/// What is to be known of the restoration, the newest if there were several.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Restoration {
    /// Tells this restoration from others.
    id: u64,
    /// When the directory was restored.
    at: Millis,
    /// When the earlier life was lost, at the latest.
    lost_at: Millis,
    /// The last epoch that the lost life can have used.
    epoch: Epoch,
    /// The last epoch that the backup knew of.
    before: Epoch,
}

impl Restoration {
    /// Ids with a time up to this one may have been carried out by the lost life:
    /// it took none from further ahead.
    fn through(&self) -> Millis {
        self.lost_at + limits::ID_AHEAD_MAX
    }
}

impl Coordinator {
    /// Takes in the record, as `nemcon restore` wrote it or as a checkpoint
    /// repeats it: then it says what the last epoch before was. Whether it is news.
    pub(super) fn replay_restored(
        &mut self,
        mut restored: Restoration,
        before: Option<Epoch>,
    ) -> bool {
        if self.restored.is_some_and(|known| known.id == restored.id) {
            return false;
        }
        restored.before = before.unwrap_or(self.epoch);
        restored.epoch = restored.epoch.max(self.epoch);
        if let Some(earlier) = self.restored {
            restored.before = restored.before.min(earlier.before);
            restored.lost_at = restored.lost_at.max(earlier.lost_at);
        }
        self.epoch = restored.epoch;
        self.restored = Some(restored);
        true
    }

    /// What a checkpoint keeps of it.
    pub(super) fn restored_record(&self) -> Option<Record> {
        self.restored.map(|restored| Record::Restored {
            id: restored.id,
            at: restored.at,
            lost_at: restored.lost_at,
            epoch: restored.epoch,
            before: Some(restored.before),
        })
    }

    /// Begins to hold the floor back, if there is a reason to.
    pub(super) fn hold_floor(&mut self, now: Millis) {
        if let Some(restored) = self.restored {
            self.floor_held = Some(Position {
                epoch: restored.before,
                sequence: Sequence(0),
            });
            self.timers.arm(Timer::Floor, now + FLOOR_HELD_FOR);
        }
    }

    /// Where the floor is held back to, if it is.
    pub(super) fn floor_held(&self) -> Option<Position> {
        self.floor_held
            .filter(|_| self.sequence < FLOOR_HELD_ATTEMPTS)
    }

    /// Whether an attempt that is not known here may have been decided by the
    /// life that was lost.
    pub(super) fn may_be_lost(&self, attempt: Position) -> bool {
        self.restored
            .is_some_and(|restored| attempt.epoch <= restored.epoch)
    }

    /// Up to this time in their ids transactions may have been carried out
    /// without a trace here.
    pub(super) fn lost_through(&self) -> Option<Millis> {
        self.restored.as_ref().map(Restoration::through)
    }

    /// Whether an unknown id must not run, because the lost life may have run it.
    pub(super) fn may_have_lost(&self, transaction: TransactionId) -> bool {
        self.lost_through()
            .is_some_and(|through| transaction.minted_at() <= through)
    }
}

impl From<(u64, Millis, Millis, Epoch)> for Restoration {
    fn from((id, at, lost_at, epoch): (u64, Millis, Millis, Epoch)) -> Self {
        Self {
            id,
            at,
            lost_at,
            epoch,
            before: Epoch(0),
        }
    }
}
