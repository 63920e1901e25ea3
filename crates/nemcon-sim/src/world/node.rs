//! A node of the world: the real machine over the real log in memory, driven as
//! the nodes' driver does it, but for the threads.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use nemcon_core::codec::{Codec, CorruptLog};
use nemcon_core::id::Lsn;
use nemcon_core::machine::{Machine, Stored, Wake};
use nemcon_core::output::Output;
use nemcon_core::parking::Parking;
use nemcon_core::time::Millis;
use nemcon_wal::checkpoint::{Checkpoints, Due, Pieces, append};
use nemcon_wal::faults::{Failure, Step};
use nemcon_wal::mem::{Crash, Image, MemLog};
use nemcon_wal::{Limits, Log, LogEvent, OpenError, Recovery};

use super::clock::LocalClock;
use super::observe::{Observed, Row};
use crate::plan::{Moment, Remains};

/// Microseconds of simulated time.
pub(crate) type Micros = u64;

/// How often the high-water mark is synced.
const MARK_SYNC: Micros = 1_000_000;

/// Free bytes that are too few to begin anything.
const SHORT_BYTES: u64 = 1 << 20;

/// What a node is made with, in all its lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Make {
    pub(crate) page_bytes: usize,
    pub(crate) due: Due,
    pub(crate) pieces: Pieces,
}

/// A node, up or down.
pub(crate) struct Node<M: Machine> {
    make: Make,
    /// What is on its disk while it is down.
    image: Image,
    pub(crate) up: Option<Up<M>>,
    /// Records up to here were handed over as durable.
    noted: Lsn,
    /// Counts its starts.
    pub(crate) life: u32,
    pub(crate) clock: LocalClock,
    /// It stands still until then.
    pub(crate) paused_until: Micros,
    /// What its flushes take besides.
    pub(crate) flush_takes: Micros,
    pub(crate) full: bool,
    pub(crate) dies: Option<Death>,
    pub(crate) down_until: Micros,
}

/// A death to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death {
    pub(crate) moment: Moment,
    pub(crate) remains: Remains,
    pub(crate) down: Micros,
}

/// A node that is up.
pub(crate) struct Up<M: Machine> {
    pub(crate) machine: M,
    log: MemLog,
    news: Arc<Mutex<Vec<LogEvent>>>,
    out: Output<M::Record, M::Effect>,
    parking: Parking<M::Effect>,
    checkpoints: Checkpoints<M::Cursor>,
    durable: Lsn,
    /// Appended, and not yet handed over as durable.
    unnoted: VecDeque<(Lsn, M::Record)>,
    /// Recovery is over and durable; until then it takes no requests.
    pub(crate) serving: bool,
    inbox: Vec<M::Event>,
    pub(crate) turn_at: Option<Micros>,
    pub(crate) disk_at: Option<Micros>,
    mark_synced_at: Micros,
}

/// What a turn has brought about.
pub(crate) struct Turn<M: Machine> {
    /// What leaves now, in order.
    pub(crate) effects: Vec<M::Effect>,
    /// What has become durable, in order.
    pub(crate) records: Vec<(Lsn, M::Record)>,
    /// Transitions that were made.
    pub(crate) rows: Vec<Row>,
    /// The node is to die now.
    pub(crate) dies: Option<Death>,
    /// It has begun to serve.
    pub(crate) serves: bool,
}

impl<M: Machine> Default for Turn<M> {
    fn default() -> Self {
        Self {
            effects: Vec::new(),
            records: Vec::new(),
            rows: Vec::new(),
            dies: None,
            serves: false,
        }
    }
}

/// Reads a log back into a machine.
struct Replay<M: Machine> {
    machine: M,
    /// Records up to here are known.
    noted: Lsn,
    new: VecDeque<(Lsn, M::Record)>,
    records: u64,
    bytes: u64,
}

impl<M: Observed> Recovery for Replay<M> {
    fn stored(&mut self, stored: Stored) -> Result<(), CorruptLog> {
        self.machine.load(stored)
    }

    fn record(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), CorruptLog> {
        self.records += 1;
        self.bytes += bytes.len() as u64;
        let record = M::Record::from_bytes(bytes)?;
        if lsn > self.noted {
            self.new.push_back((lsn, record.clone()));
        }
        self.machine.replay(lsn, record)
    }
}

impl<M: Observed> Node<M> {
    pub(crate) fn new(make: Make) -> Self {
        Self {
            make,
            image: Image::default(),
            up: None,
            noted: Lsn(0),
            life: 0,
            clock: LocalClock::default(),
            paused_until: 0,
            flush_takes: 0,
            full: false,
            dies: None,
            down_until: 0,
        }
    }

    /// Starts a machine on what is on the disk.
    pub(crate) fn start(&mut self, now: Micros, machine: M) -> Result<Turn<M>, OpenError> {
        let news = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&news);
        let notify = Box::new(move |event| lock(&heard).push(event));
        let limits = Limits {
            page_bytes_max: self.make.page_bytes,
            ..Limits::default()
        };
        let mut replay = Replay {
            machine,
            noted: self.noted,
            new: VecDeque::new(),
            records: 0,
            bytes: 0,
        };
        let image = mem::take(&mut self.image);
        let (mut log, opened) = MemLog::open_with(image, limits, &mut replay, notify)?;
        if self.full {
            log.set_free_bytes(SHORT_BYTES);
        }
        let mut checkpoints = Checkpoints::new(self.make.due, self.make.pieces);
        checkpoints.appended(replay.records, replay.bytes);
        let mut up = Up {
            machine: replay.machine,
            log,
            news,
            out: Output::starting_at(opened.next_lsn),
            parking: Parking::default(),
            checkpoints,
            durable: Lsn(opened.next_lsn.0 - 1),
            unnoted: replay.new,
            serving: false,
            inbox: Vec::new(),
            turn_at: None,
            disk_at: None,
            mark_synced_at: now,
        };
        self.life += 1;
        let mut turn = Turn::default();
        up.machine.recovered(self.clock.at(now), &mut up.out);
        up.settle(self.clock.at(now), &mut self.dies, &mut turn);
        up.note(&mut self.noted, &mut turn);
        up.log.flush();
        self.up = Some(up);
        Ok(turn)
    }

    /// Takes an event, to be stepped at the next turn.
    pub(crate) fn tell(&mut self, event: M::Event) {
        if let Some(up) = &mut self.up {
            up.inbox.push(event);
        }
    }

    /// Whether a turn that was scheduled for now is still the next; it is not if
    /// another came before, or if the node stands still.
    pub(crate) fn takes_its_turn(&mut self, now: Micros) -> bool {
        let paused = self.paused_until > now;
        let Some(up) = self.up.as_mut().filter(|up| up.turn_at == Some(now)) else {
            return false;
        };
        up.turn_at = None;
        !paused
    }

    /// One turn of the driver.
    pub(crate) fn turn(&mut self, now: Micros) -> Turn<M> {
        let mut turn = Turn::default();
        let clock = self.clock.at(now);
        let Some(up) = &mut self.up else {
            return turn;
        };
        up.turn_at = None;
        let mut events = Vec::new();
        if up.hear(&mut events) {
            // A failed log ends the node at once, without another word.
            turn.dies = Some(self.dies.unwrap_or(Death {
                moment: Moment::Now,
                remains: Remains {
                    power_cut: false,
                    pages: 0,
                    values: 0,
                    queued: 0,
                },
                down: 0,
            }));
            return turn;
        }
        events.append(&mut up.inbox);
        if up.machine.next_deadline().is_some_and(|at| at <= clock) {
            events.push(Wake::DeadlinePassed.into());
        }
        for event in events {
            up.step(clock, event, &mut turn.rows);
        }
        up.settle(clock, &mut self.dies, &mut turn);
        up.note(&mut self.noted, &mut turn);
        if turn.dies.is_none() {
            if !up.serving && up.durable >= up.out.appended() {
                up.serving = true;
                turn.serves = true;
            } else if !up.serving {
                up.log.flush();
            }
            up.checkpoints
                .advance(&mut up.machine, &mut up.out, &mut up.log);
        }
        turn
    }

    /// The disk does what is queued.
    pub(crate) fn disk(&mut self, now: Micros) {
        if let Some(up) = &mut self.up {
            up.disk_at = None;
            up.log.step();
            if now - up.mark_synced_at >= MARK_SYNC {
                up.mark_synced_at = now;
                up.log.sync_mark();
            }
        }
    }

    /// Loses everything but the disk.
    pub(crate) fn die(&mut self, remains: Remains) {
        self.dies = None;
        let Some(up) = self.up.take() else {
            return;
        };
        let mut log = up.log;
        log.step_first(remains.queued.min(log.queued()));
        self.image = log.crash(Crash {
            pages_kept: remains.pages,
            values_kept: remains.values,
            mark_kept: !remains.power_cut,
        });
    }

    /// Closes the log of a node that has nothing left to do.
    pub(crate) fn stop(&mut self) {
        self.dies = None;
        if let Some(up) = self.up.take() {
            // A log that fails as it is closed leaves what a crash leaves.
            self.image = up.log.stop().0;
        }
    }

    /// A step of the disk is going to fail.
    pub(crate) fn fail_disk(&mut self, after: u64, write: bool, done: bool) {
        if let Some(up) = &mut self.up {
            let step = if write { Step::WritePage } else { Step::Sync };
            up.log.faults().fail(Failure { step, after, done });
        }
    }

    /// The disk fills up, or has room again.
    pub(crate) fn set_full(&mut self, full: bool) {
        self.full = full;
        if let Some(up) = &mut self.up {
            up.log
                .set_free_bytes(if full { SHORT_BYTES } else { u64::MAX });
        }
    }

    /// When it wants a turn without being told anything.
    pub(crate) fn next_deadline(&self, now: Micros) -> Option<Micros> {
        let up = self.up.as_ref()?;
        if up.has_news() || !up.inbox.is_empty() || up.checkpoints.is_waiting_for_its_turn() {
            return Some(now);
        }
        let machine = up.machine.next_deadline();
        let deadline = machine.into_iter().chain(up.parking.next_deadline()).min();
        deadline.map(|at| self.clock.when(at).max(now))
    }

    /// Whether the disk has something to do.
    pub(crate) fn disk_has_work(&self) -> bool {
        self.up.as_ref().is_some_and(|up| up.log.has_work())
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.up.as_ref().is_some_and(|up| up.serving)
    }

    pub(crate) fn machine(&self) -> Option<&M> {
        self.up.as_ref().map(|up| &up.machine)
    }
}

impl<M: Observed> Up<M> {
    fn has_news(&self) -> bool {
        !lock(&self.news).is_empty()
    }

    /// Takes in what the log has said. True if it has failed.
    fn hear(&mut self, events: &mut Vec<M::Event>) -> bool {
        let mut durable = self.durable;
        for news in lock(&self.news).drain(..) {
            match news {
                LogEvent::Durable(lsn) => durable = durable.max(lsn),
                LogEvent::Room(room) => events.push(Wake::Room(room).into()),
                LogEvent::CheckpointClosed { .. } => self.checkpoints.closed(),
                LogEvent::CaughtUp => self.checkpoints.caught_up(),
                LogEvent::Failed(_) => return true,
                LogEvent::Flushed { .. } => {}
            }
        }
        if durable > self.durable {
            self.durable = durable;
            events.push(Wake::Durable(durable).into());
        }
        false
    }

    /// Hands over what has become durable.
    fn note(&mut self, noted: &mut Lsn, turn: &mut Turn<M>) {
        while let Some((lsn, _)) = self.unnoted.front()
            && *lsn <= self.durable
            && let Some((lsn, record)) = self.unnoted.pop_front()
        {
            *noted = lsn;
            turn.records.push((lsn, record));
        }
    }

    fn step(&mut self, now: Millis, event: M::Event, rows: &mut Vec<Row>) {
        let what = self.machine.name_of(&event);
        let before = self.machine.standings();
        self.machine.step(now, event, &mut self.out);
        self.machine.rows(what, &before, rows);
    }

    /// What follows every batch of steps.
    fn settle(&mut self, now: Millis, dies: &mut Option<Death>, turn: &mut Turn<M>) {
        let records = self.out.records();
        if let Some(death) = dies
            && let Moment::AfterRecords(left) = &mut death.moment
        {
            if let Some(kept) = (*left as usize).checked_sub(records.len()) {
                *left = kept as u32;
            } else {
                // It dies between two records: the first few are with the log,
                // and nothing has been said.
                let few = *left as usize;
                let mut records = self.out.take_records();
                records.truncate(few);
                let bytes = |(lsn, record): (Lsn, M::Record)| (lsn, record.to_bytes());
                self.log.append(records.into_iter().map(bytes).collect());
                self.log.flush();
                turn.dies = Some(*death);
                return;
            }
        }
        self.unnoted.extend(self.out.records().iter().cloned());
        let (records, bytes) = append(&mut self.out, &mut self.log);
        self.checkpoints.appended(records, bytes);
        turn.effects.append(&mut self.out.now);
        self.parking.park(now, &mut self.out);
        if self.parking.flush_is_due(now) {
            self.log.flush();
        }
        while let Some(effect) = self.parking.pop_ripe(self.durable) {
            turn.effects.push(effect);
        }
        if let Some(death) = dies {
            match &mut death.moment {
                Moment::AfterMessages(left) if (*left as usize) < turn.effects.len() => {
                    turn.effects.truncate(*left as usize);
                    turn.dies = Some(*death);
                }
                Moment::AfterMessages(left) => *left -= turn.effects.len() as u32,
                Moment::Now | Moment::AfterRecords(_) => {}
            }
        }
    }
}

fn lock(news: &Mutex<Vec<LogEvent>>) -> std::sync::MutexGuard<'_, Vec<LogEvent>> {
    news.lock().unwrap_or_else(PoisonError::into_inner)
}
