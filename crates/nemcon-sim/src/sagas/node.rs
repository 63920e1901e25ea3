//! A machine with a disk.

use std::collections::BTreeMap;

use nemcon_core::codec::Codec;
use nemcon_core::id::Lsn;
use nemcon_core::machine::{Machine, Stored, Wake};
use nemcon_core::output::Output;
use nemcon_core::parking::Parking;
use nemcon_core::time::Millis;

pub(super) struct Node<M: Machine> {
    pub(super) machine: M,
    records: Vec<(Lsn, Vec<u8>)>,
    data: BTreeMap<Vec<u8>, (Lsn, Vec<u8>)>,
    durable: Lsn,
    out: Output<M::Record, M::Effect>,
    parking: Parking<M::Effect>,
    flush_asked: bool,
    /// Every record that has not been lost, but for what checkpoints repeat.
    pub(super) history: Vec<(Lsn, M::Record)>,
}

impl<M: Machine> Node<M>
where
    M::Record: Clone,
{
    pub(super) fn new(machine: M) -> Self {
        Self {
            machine,
            records: Vec::new(),
            data: BTreeMap::new(),
            durable: Lsn(0),
            out: Output::starting_at(Lsn(1)),
            parking: Parking::default(),
            flush_asked: false,
            history: Vec::new(),
        }
    }

    /// Starts another machine on what is on the disk.
    pub(super) fn start(&mut self, now: Millis, mut machine: M) -> Vec<M::Effect> {
        let mut last = Lsn(0);
        for (key, (lsn, value)) in &self.data {
            last = last.max(*lsn);
            let (key, value) = (key.clone(), Some(value.clone()));
            let lsn = *lsn;
            machine
                .load(Stored { key, value, lsn })
                .expect("a stored value");
        }
        for (lsn, bytes) in &self.records {
            let record = M::Record::from_bytes(bytes).expect("a record");
            machine.replay(*lsn, record).expect("a legal record");
            last = last.max(*lsn);
        }
        self.out = Output::starting_at(last.next());
        self.parking = Parking::default();
        machine.recovered(now, &mut self.out);
        self.machine = machine;
        let mut effects = self.settle(now);
        effects.extend(self.flush(now));
        effects
    }

    pub(super) fn step(&mut self, now: Millis, event: M::Event) -> Vec<M::Effect> {
        self.machine.step(now, event, &mut self.out);
        self.settle(now)
    }

    fn settle(&mut self, now: Millis) -> Vec<M::Effect> {
        for (lsn, record) in self.out.take_records() {
            self.records.push((lsn, record.to_bytes()));
            self.history.push((lsn, record));
        }
        let mut effects: Vec<M::Effect> = self.out.now.drain(..).collect();
        self.parking.park(now, &mut self.out);
        self.flush_asked |= self.parking.flush_is_due(now);
        while let Some(effect) = self.parking.pop_ripe(self.durable) {
            effects.push(effect);
        }
        effects
    }

    pub(super) const fn wants_flush(&self) -> bool {
        self.flush_asked
    }

    pub(super) const fn durable(&self) -> Lsn {
        self.durable
    }

    pub(super) fn flush(&mut self, now: Millis) -> Vec<M::Effect> {
        self.flush_asked = false;
        self.durable = self.out.appended();
        self.step(now, Wake::Durable(self.durable).into())
    }

    /// Loses of what was not flushed all but the first `kept` records.
    pub(super) fn crash(&mut self, kept: usize) {
        let durable = self.durable;
        let flushed = self
            .records
            .iter()
            .filter(|(lsn, _)| *lsn <= durable)
            .count();
        self.records.truncate(flushed + kept);
        if let Some((last, _)) = self.records.last() {
            self.durable = durable.max(*last);
        }
        let last = self.durable;
        self.history.retain(|(lsn, _)| *lsn <= last);
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let machine = self.machine.next_deadline();
        let parked = self.parking.next_deadline();
        machine.into_iter().chain(parked).min()
    }

    /// A whole checkpoint between two steps.
    pub(super) fn checkpoint(&mut self, now: Millis) -> Vec<M::Effect> {
        let first = self.out.appended().next();
        let mut cursor = M::Cursor::default();
        let known = self.history.len();
        loop {
            let piece = self.machine.live_records(&mut cursor, 3);
            if piece.is_empty() {
                break;
            }
            for record in piece {
                self.out.persist(record);
            }
        }
        let mut effects = self.settle(now);
        // The checker has seen all of it.
        self.history.truncate(known);
        effects.extend(self.flush(now));
        loop {
            let changed = self.machine.take_changed(10);
            if changed.is_empty() {
                break;
            }
            for stored in changed {
                match stored.value {
                    Some(value) => self.data.insert(stored.key, (stored.lsn, value)),
                    None => self.data.remove(&stored.key),
                };
            }
        }
        self.records.retain(|(lsn, _)| *lsn >= first);
        effects
    }
}
