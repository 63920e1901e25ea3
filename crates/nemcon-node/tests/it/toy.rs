//! A machine as small as can be: it counts, writes each count down, and answers
//! when that is durable.

use nemcon_core::codec::CorruptLog;
use nemcon_core::id::{Lsn, RequestId};
use nemcon_core::machine::{Machine, Room, Stored, Wake};
use nemcon_core::output::Output;
use nemcon_core::time::{Millis, Span};

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Wake(Wake),
    /// Count one up, and say so when it is durable.
    Add(RequestId),
    /// Count one up, and say so whenever that is durable.
    AddLazily(RequestId),
    /// Say at once what the count is, which promises nothing.
    Peek(RequestId),
    /// Wake me up.
    Arm,
    DrainRequested,
}

impl From<Wake> for Event {
    fn from(wake: Wake) -> Self {
        Self::Wake(wake)
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Say(RequestId, u64),
    Woken,
    Room(Room),
    Drained,
}

/// The counter.
#[derive(Debug, Default)]
pub(crate) struct Toy {
    pub(crate) count: u64,
    /// The record that made the count what it is.
    last: Lsn,
    changed: bool,
    /// What the machine has been told is durable.
    pub(crate) durable: Vec<Lsn>,
    deadline: Option<Millis>,
    /// Records that a checkpoint has to repeat.
    live: u64,
}

impl Machine for Toy {
    type Event = Event;
    type Effect = Effect;
    type Record = u64;
    type Cursor = u64;

    fn step(&mut self, now: Millis, event: Event, out: &mut Output<u64, Effect>) {
        match event {
            Event::Wake(Wake::Durable(lsn)) => self.durable.push(lsn),
            Event::Wake(Wake::Room(room)) => out.now.push(Effect::Room(room)),
            Event::Wake(Wake::DeadlinePassed) => {
                self.deadline = None;
                out.now.push(Effect::Woken);
            }
            Event::Add(request) => {
                self.add(out);
                out.after.push(Effect::Say(request, self.count));
            }
            Event::AddLazily(request) => {
                self.add(out);
                out.later.push(Effect::Say(request, self.count));
            }
            Event::Peek(request) => out.now.push(Effect::Say(request, self.count)),
            Event::Arm => self.deadline = Some(now + Span(1)),
            Event::DrainRequested => out.after.push(Effect::Drained),
        }
    }

    fn load(&mut self, stored: Stored) -> Result<(), CorruptLog> {
        let bytes = stored.value.unwrap_or_default();
        let bytes = bytes
            .try_into()
            .map_err(|_| CorruptLog::value(&stored.key, "no count"))?;
        self.count = u64::from_be_bytes(bytes);
        self.last = stored.lsn;
        Ok(())
    }

    fn replay(&mut self, lsn: Lsn, record: u64) -> Result<(), CorruptLog> {
        if lsn > self.last && record > 0 {
            self.count = self.count.max(record);
            self.last = lsn;
        }
        Ok(())
    }

    fn recovered(&mut self, _: Millis, out: &mut Output<u64, Effect>) {
        // Forces something, as every machine does at its start.
        out.persist(0);
    }

    fn live_records(&self, cursor: &mut u64, max: usize) -> Vec<u64> {
        let piece = (self.live - *cursor).min(max as u64);
        *cursor += piece;
        vec![self.count; usize::try_from(piece).unwrap()]
    }

    fn take_changed(&mut self, _: usize) -> Vec<Stored> {
        if !std::mem::take(&mut self.changed) {
            return Vec::new();
        }
        let value = Some(self.count.to_be_bytes().to_vec());
        vec![Stored {
            key: b"count".to_vec(),
            value,
            lsn: self.last,
        }]
    }

    fn next_deadline(&self) -> Option<Millis> {
        self.deadline
    }
}

impl Toy {
    /// A counter whose checkpoints have that many records.
    pub(crate) fn with_live_records(live: u64) -> Self {
        Self {
            live,
            ..Self::default()
        }
    }

    fn add(&mut self, out: &mut Output<u64, Effect>) {
        self.count += 1;
        self.last = out.persist(self.count);
        self.changed = true;
    }
}
