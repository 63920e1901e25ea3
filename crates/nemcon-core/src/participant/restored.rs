//! A participant whose data directory was restored from a backup.
//!
//! It has forgotten what it promised, did and refused after the backup. So it
//! keeps the promises it knows of, asks about them and answers its peers, but a
//! coordinator is heard only after that one has taken the restored directory as
//! it is, which a person has to allow there. And an unknown transaction id that
//! the lost life can have decided alone is never decided again.

use alloc::collections::BTreeSet;
use alloc::format;

use super::record::Record;
use super::{Output, Participant};
use crate::id::{Boot, CoordinatorId};
use crate::limits;
use crate::reason::{Reason, Refusal};
use crate::resource::Resource;
use crate::time::Millis;

/// The newest restoration.
#[derive(Clone, Debug, Hash)]
pub(super) struct Restoration {
    id: u64,
    at: Millis,
    lost_at: Millis,
    boot: Boot,
    /// Coordinators that take it as it is.
    readmitted: BTreeSet<CoordinatorId>,
}

impl<R: Resource> Participant<R> {
    /// Which restoration from a backup the data directory is of, if it is of one.
    #[must_use]
    pub fn restored(&self) -> Option<u64> {
        self.restored.as_ref().map(|restored| restored.id)
    }

    pub(super) fn replay_restored(&mut self, id: u64, at: Millis, lost_at: Millis, boot: Boot) {
        if self.restored() == Some(id) {
            return;
        }
        self.boot = self.boot.max(boot);
        self.alone.set_forgotten(lost_at + limits::ID_AHEAD_MAX);
        self.restored = Some(Restoration {
            id,
            at,
            lost_at,
            boot,
            readmitted: BTreeSet::new(),
        });
    }

    pub(super) fn replay_readmitted(&mut self, coordinator: CoordinatorId) {
        if let Some(restored) = &mut self.restored {
            restored.readmitted.insert(coordinator);
        }
    }

    /// A coordinator has taken our registration, and so the directory as it is.
    pub(super) fn registered(&mut self, coordinator: CoordinatorId, out: &mut Output<R>) {
        if let Some(restored) = &mut self.restored
            && restored.readmitted.insert(coordinator)
        {
            // Not waited for: if it is lost, the next registration says so again.
            out.persist(Record::Readmitted { coordinator });
        }
    }

    /// Why a coordinator is not heard, if it is not.
    pub(super) fn refusal_of_stranger(&self, coordinator: CoordinatorId) -> Option<Refusal> {
        let restored = self.restored.as_ref()?;
        if restored.readmitted.contains(&coordinator) {
            return None;
        }
        let name = &self.settings.name;
        let why = format!(
            "participant {name} was restored from a backup, and coordinator {coordinator} has not \
             taken it as it is: nemcon participants remove {name} --give-up REASON, there, then \
             start it again"
        );
        Some(Refusal::new(Reason::PARTICIPANT_SET_BACK, why))
    }

    /// What a checkpoint keeps of it.
    pub(super) fn restored_records(&self) -> impl Iterator<Item = Record> {
        let restored = self.restored.iter();
        restored.flat_map(|restored| {
            let record = Record::Restored {
                id: restored.id,
                at: restored.at,
                lost_at: restored.lost_at,
                boot: restored.boot,
            };
            let readmitted = restored.readmitted.iter();
            let readmitted = readmitted.map(|coordinator| Record::Readmitted {
                coordinator: *coordinator,
            });
            core::iter::once(record).chain(readmitted)
        })
    }
}
