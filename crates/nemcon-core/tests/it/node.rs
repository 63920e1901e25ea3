//! A machine with a disk: the driver of the nodes, without threads.

use std::collections::BTreeMap;

use nemcon_core::codec::Codec;
use nemcon_core::id::Lsn;
use nemcon_core::machine::{Machine, Stored, Wake};
use nemcon_core::output::Output;
use nemcon_core::parking::Parking;
use nemcon_core::time::Millis;

/// What survives a crash, and what does not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    records: Vec<(Lsn, Vec<u8>)>,
    durable: Lsn,
    data: BTreeMap<Vec<u8>, (Lsn, Vec<u8>)>,
}

/// A checkpoint under way.
struct Checkpoint<C> {
    /// Replay may start there once it is closed.
    first: Lsn,
    cursor: C,
}

/// A machine, its disk, and what waits for the disk.
pub(crate) struct Node<M: Machine> {
    pub(crate) machine: Option<M>,
    disk: Disk,
    out: Output<M::Record, M::Effect>,
    parking: Parking<M::Effect>,
    flush_asked: bool,
    checkpoint: Option<Checkpoint<M::Cursor>>,
    /// Flushes that somebody waited for.
    pub(crate) forced: usize,
    /// Every record ever appended, in order.
    pub(crate) appended: Vec<(Lsn, M::Record)>,
}

impl<M: Machine> Node<M>
where
    M::Record: Clone,
{
    pub(crate) fn new() -> Self {
        Self {
            machine: None,
            disk: Disk::default(),
            out: Output::starting_at(Lsn(1)),
            parking: Parking::default(),
            flush_asked: false,
            checkpoint: None,
            forced: 0,
            appended: Vec::new(),
        }
    }

    /// Starts a machine on what is on the disk. Returns what it says once its
    /// first record is durable.
    pub(crate) fn start(&mut self, now: Millis, mut machine: M) -> Vec<M::Effect> {
        for (key, (lsn, value)) in &self.disk.data {
            let stored = Stored {
                key: key.clone(),
                value: Some(value.clone()),
                lsn: *lsn,
            };
            machine.load(stored).expect("a stored value");
        }
        let mut last = self
            .disk
            .data
            .values()
            .map(|(lsn, _)| *lsn)
            .max()
            .unwrap_or_default();
        for (lsn, bytes) in &self.disk.records {
            let record = M::Record::from_bytes(bytes).expect("a record");
            machine.replay(*lsn, record).expect("a legal record");
            last = last.max(*lsn);
        }
        self.out = Output::starting_at(last.next());
        self.parking = Parking::default();
        self.flush_asked = false;
        self.checkpoint = None;
        machine.recovered(now, &mut self.out);
        self.machine = Some(machine);
        let mut effects = self.settle(now);
        effects.extend(self.flush(now));
        effects
    }

    /// Takes one event. Returns what leaves at once.
    pub(crate) fn step(&mut self, now: Millis, event: M::Event) -> Vec<M::Effect> {
        let Some(machine) = &mut self.machine else {
            return Vec::new();
        };
        machine.step(now, event, &mut self.out);
        self.settle(now)
    }

    /// The end of every turn of the driver: append, let go, park.
    fn settle(&mut self, now: Millis) -> Vec<M::Effect> {
        for (lsn, record) in self.out.take_records() {
            self.disk.records.push((lsn, record.to_bytes()));
            self.appended.push((lsn, record));
        }
        let mut effects: Vec<M::Effect> = self.out.now.drain(..).collect();
        let waited_for = !self.out.after.is_empty();
        self.parking.park(now, &mut self.out);
        if self.parking.flush_is_due(now) {
            self.flush_asked = true;
            self.forced += usize::from(waited_for);
        }
        while let Some(effect) = self.parking.pop_ripe(self.disk.durable) {
            effects.push(effect);
        }
        effects
    }

    pub(crate) fn wants_flush(&self) -> bool {
        self.flush_asked && self.machine.is_some()
    }

    /// Makes everything appended durable. Returns what was waiting for it.
    pub(crate) fn flush(&mut self, now: Millis) -> Vec<M::Effect> {
        self.flush_asked = false;
        self.disk.durable = self.out.appended();
        self.step(now, Wake::Durable(self.disk.durable).into())
    }

    /// Loses the machine, and of the records beyond the last flush all but the
    /// first `kept`.
    pub(crate) fn crash(&mut self, kept: usize) {
        self.machine = None;
        let undurable = self
            .disk
            .records
            .iter()
            .take_while(|(lsn, _)| *lsn <= self.disk.durable);
        let keep = undurable.count() + kept;
        self.disk.records.truncate(keep);
        if let Some((last, _)) = self.disk.records.last() {
            self.disk.durable = *last;
        }
        let last = self.disk.durable;
        self.appended.retain(|(lsn, _)| *lsn <= last);
    }

    /// The last record that a crash would leave.
    pub(crate) fn durable(&self) -> Lsn {
        self.disk.durable
    }

    /// Whether a checkpoint has begun and not ended.
    pub(crate) fn is_in_checkpoint(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// A copy of what would survive a crash now.
    pub(crate) fn copy_of_disk(&self) -> Disk {
        let mut disk = self.disk.clone();
        disk.records.retain(|(lsn, _)| *lsn <= disk.durable);
        disk
    }

    /// Crashes, and has this disk from now on.
    pub(crate) fn set_back_to(&mut self, disk: Disk) {
        self.crash(0);
        self.disk = disk;
    }

    /// Crashes, and goes on with what a restoration from a backup makes of it: the
    /// backup, and a record behind it.
    pub(crate) fn restore(&mut self, mut backup: Disk, record: &M::Record) {
        let last = backup.records.last().map_or(Lsn(0), |(lsn, _)| *lsn);
        let newest = backup.data.values().map(|(lsn, _)| *lsn).max();
        let lsn = last.max(newest.unwrap_or_default()).next();
        backup.records.push((lsn, record.to_bytes()));
        backup.durable = lsn;
        self.set_back_to(backup);
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        let machine = self.machine.as_ref()?.next_deadline();
        machine
            .into_iter()
            .chain(self.parking.next_deadline())
            .min()
    }

    /// Does the next bit of a checkpoint, in the order the driver does: pieces,
    /// then values, then the old records go.
    pub(crate) fn checkpoint(&mut self, now: Millis, piece: usize) -> Vec<M::Effect> {
        let Some(machine) = &mut self.machine else {
            return Vec::new();
        };
        let first = self.out.appended().next();
        let under_way = self.checkpoint.get_or_insert_with(|| Checkpoint {
            first,
            cursor: M::Cursor::default(),
        });
        let records = machine.live_records(&mut under_way.cursor, piece);
        let first = under_way.first;
        if !records.is_empty() {
            for record in records {
                self.out.persist(record);
            }
            return self.settle(now);
        }
        let changed = machine.take_changed(piece);
        if changed.is_empty() {
            // Everything it relies on is durable before anything goes.
            let effects = self.flush(now);
            self.disk.records.retain(|(lsn, _)| *lsn >= first);
            self.checkpoint = None;
            return effects;
        }
        let effects = self.flush(now);
        for stored in changed {
            assert!(
                stored.lsn <= self.disk.durable,
                "written back before it is durable"
            );
            match stored.value {
                Some(value) => self.disk.data.insert(stored.key, (stored.lsn, value)),
                None => self.disk.data.remove(&stored.key),
            };
        }
        effects
    }
}
