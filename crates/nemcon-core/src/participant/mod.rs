//! The participant: guards a resource, votes, and keeps its word.
//!
//! ```text
//!            Prepare                    Commit
//!   ACTIVE ───────────▶ PREPARED ───────────────▶ COMMITTED
//!      │  locks, run,      │ in doubt: asks
//!      │  log, vote yes    │ Abort
//!      ▼                   ▼
//!   ABORTED ◀──────────────┘
//! ```
//!
//! Rules it lives by:
//!
//! - Everything is keyed by attempt; two attempts are never mixed, even if they
//!   try the same transaction.
//! - *Appended counts as voted.* Once a `Prepared` or `DecidedAlone` record is
//!   appended, no timer, no peer's question and no newer epoch ends the attempt.
//! - A prepared attempt keeps its locks through any number of restarts, and asks
//!   until somebody who knows tells it the outcome.
//! - Knowing the outcome means having heard it from the coordinator or a peer, or
//!   having a `Refused` record. Nothing else is ever told to a peer.
//! - A coordinator's newer epoch is forced before anything of it is answered, and
//!   ends that coordinator's unprepared work at once.
//! - Data changes when its record is appended, in the order of the log, so that
//!   "as new as record n" means the same for every key.
//!
//! Where to look: `frames` takes a coordinator's messages, `pieces` those of
//! interactive work, `work` takes locks and runs actions, `waits` knows who waits
//! for whom and breaks deadlocks, `ending` ends attempts, `doubt` asks and answers
//! about outcomes, `replay` is the log's side, `restored` what holds after a
//! restoration.

mod alone;
mod attempt;
mod coordinators;
mod doubt;
mod ending;
pub mod event;
mod fingerprint;
mod frames;
mod pieces;
pub mod record;
mod replay;
mod restored;
mod stored;
pub mod view;
mod waits;
mod work;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use attempt::Attempt;
use coordinators::Coordinators;
use event::{Effect, Event, Reply};
use record::{Damaged, Record};
pub use replay::Cursor;
use restored::Restoration;

use crate::codec::CorruptLog;
use crate::id::{AttemptId, Boot, CoordinatorId, Lsn, ParticipantId, ParticipantName, RequestId};
use crate::lock;
use crate::machine::{Machine, Room, Stored, Wake};
use crate::message::Answer;
use crate::observation::Observation;
use crate::output;
use crate::planted::{Bug, Planted};
use crate::resource::Resource;
use crate::time::{Millis, Span, Tick};
use crate::timers::{Jitter, Timers};

/// What can be set about a participant.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name it is registered under.
    pub name: ParticipantName,
    /// Its identity if the log has none yet.
    pub fresh_id: ParticipantId,
    /// Seed of the jitter.
    pub seed: u64,
    /// First wait before a question about an attempt in doubt. Default 100 ms.
    pub ask_first: Span,
    /// Longest wait between two such questions. Default 5 s.
    pub ask_max: Span,
    /// How long past its deadline unprepared work is kept for its coordinator.
    /// Default 5 s.
    pub lease_grace: Span,
    /// How many locks there may be, and how many may wait.
    pub locks: lock::Limits,
    /// When unprepared work has kept somebody waiting for so long, its coordinator is
    /// asked whether it is still wanted. Default 1 s; `None`: never.
    pub suspect_after: Option<Span>,
    /// How long transactions decided alone are remembered. Default 1 h.
    pub remember_for: Span,
    /// How many of them are remembered. Default 1,000,000.
    pub remember_max: usize,
    /// How many attempts must have finished before a floor is logged so that
    /// they can be forgotten. Default 64.
    pub forget_batch: usize,
    /// A mistake to make; none but in a proof.
    pub planted: Planted,
}

impl Settings {
    /// The defaults.
    #[must_use]
    pub const fn new(name: ParticipantName, fresh_id: ParticipantId, seed: u64) -> Self {
        Self {
            name,
            fresh_id,
            seed,
            ask_first: Span(100),
            ask_max: Span::from_secs(5),
            lease_grace: Span::from_secs(5),
            locks: lock::Limits::new(),
            suspect_after: Some(Span::from_secs(1)),
            remember_for: Span::from_secs(3_600),
            remember_max: 1_000_000,
            forget_batch: 64,
            planted: Planted::none(),
        }
    }
}

/// What a timer is for. Whether it still matters is judged when it fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The wait for a lock has lasted too long.
    LockWait(AttemptId),
    /// The coordinator of unprepared work has been silent too long.
    Lease(AttemptId),
    /// Ask about an attempt in doubt.
    Ask(AttemptId),
    /// Tell the coordinator of damage again.
    Report(AttemptId),
    /// Unprepared work keeps others waiting: ask whether it is still wanted.
    Suspect(AttemptId),
}

/// Shorthand for the outputs of a participant over `R`.
pub type Output<R> = output::Output<Record, Effect<<R as Resource>::Result>>;

/// The participant machine over a resource.
#[derive(Clone, Debug)]
pub struct Participant<R: Resource> {
    settings: Settings,
    id: ParticipantId,
    boot: Boot,
    /// Where the log ended when this boot began.
    began_at: Lsn,
    resource: R,
    coordinators: Coordinators,
    attempts: BTreeMap<AttemptId, Box<Attempt<R>>>,
    locks: lock::Table<AttemptId>,
    /// Locks that are let go once the record is durable, in the order of the log.
    unlocks: VecDeque<(Lsn, AttemptId)>,
    /// Attempts whose wait for a lock is over, to be gone on with in this step.
    runnable: VecDeque<AttemptId>,
    /// Since when those wait who wait for a lock.
    waits: BTreeMap<AttemptId, Tick>,
    /// Since when those had waited whose wait has ended in this step.
    ended_waits: Vec<Tick>,
    alone: alone::Memory,
    damage: BTreeMap<AttemptId, Damage>,
    /// The data directory was restored from a backup.
    restored: Option<Restoration>,
    /// Keys whose stored value is out of date, and the record that made it so.
    changed: BTreeMap<Vec<u8>, Lsn>,
    /// Of these, what the write-back under way has still to take.
    round: Option<BTreeMap<Vec<u8>, Lsn>>,
    /// During replay: how new the stored values are.
    stored: BTreeMap<Vec<u8>, Lsn>,
    durable: Lsn,
    timers: Timers<Timer>,
    jitter: Jitter,
    room: Room,
    drain: Drain,
}

/// Whether the node is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Drain {
    No,
    Asked,
    Done,
}

/// A recorded damage and whether the coordinator has it too.
#[derive(Clone, Debug)]
struct Damage {
    record: Damaged,
    /// Tries to tell the coordinator; `None` once it knows.
    reports: Option<u32>,
    /// Somebody has seen to it. It is kept all the same: the coordinator may not
    /// know yet, and the attempt is never to be prepared here.
    mended: bool,
}

impl<R: Resource> Participant<R> {
    /// A participant that has not read its log yet.
    #[must_use]
    pub fn new(settings: Settings, resource: R) -> Self {
        Self {
            id: settings.fresh_id,
            boot: Boot(0),
            began_at: Lsn(0),
            resource,
            coordinators: Coordinators::default(),
            attempts: BTreeMap::new(),
            locks: lock::Table::new(Boot(0), settings.locks, settings.planted),
            unlocks: VecDeque::new(),
            runnable: VecDeque::new(),
            waits: BTreeMap::new(),
            ended_waits: Vec::new(),
            alone: alone::Memory::default(),
            damage: BTreeMap::new(),
            restored: None,
            changed: BTreeMap::new(),
            round: None,
            stored: BTreeMap::new(),
            durable: Lsn(0),
            timers: Timers::default(),
            jitter: Jitter::new(settings.seed),
            room: Room::Enough,
            drain: Drain::No,
            settings,
        }
    }

    fn timer_fired(&mut self, now: Millis, timer: Timer, out: &mut Output<R>) {
        match timer {
            Timer::LockWait(attempt) => self.lock_wait_expired(now, attempt, out),
            Timer::Lease(attempt) => self.lease_expired(now, attempt, out),
            Timer::Ask(attempt) => self.ask(now, attempt, out),
            Timer::Report(attempt) => self.report_damage(now, attempt, out),
            Timer::Suspect(attempt) => self.suspect(now, attempt, out),
        }
    }

    fn woken(&mut self, now: Millis, wake: Wake, out: &mut Output<R>) {
        match wake {
            Wake::Durable(lsn) => {
                self.durable = self.durable.max(lsn);
                self.unlock_durable(now);
                self.forget_below_durable_floors();
            }
            Wake::Room(room) => self.room = room,
            Wake::DeadlinePassed => {
                while let Some(timer) = self.timers.pop_due(now) {
                    self.timer_fired(now, timer, out);
                }
            }
        }
    }

    /// All armed timers, in a fixed order.
    pub fn armed(&self) -> impl Iterator<Item = &Timer> {
        self.timers.armed()
    }

    /// Fires one armed timer, due or not, as a step of its own: for a model
    /// checker, which tries every order. Nothing happens if it is not armed.
    pub fn fire(&mut self, now: Millis, timer: &Timer, out: &mut Output<R>) {
        if self.timers.is_armed(timer) {
            self.timers.disarm(timer);
            self.timer_fired(now, *timer, out);
            self.go_on(now, out);
        }
    }

    /// The end of every step: goes on with whoever was granted a lock, and tells of the
    /// waits that are over.
    fn go_on(&mut self, now: Millis, out: &mut Output<R>) {
        while let Some(attempt) = self.runnable.pop_front() {
            self.ended_waits.extend(self.waits.remove(&attempt));
            self.advance(now, attempt, out);
        }
        for since in self.ended_waits.drain(..) {
            let waited = out.tick().since(since);
            out.observe(Observation::WaitEnded { waited });
        }
        if self.drain == Drain::Asked && !self.has_active_work() {
            out.after.push(Effect::Drained);
            self.drain = Drain::Done;
        }
    }

    /// Lets go of the locks whose reason to be kept is durable now.
    fn unlock_durable(&mut self, now: Millis) {
        while let Some((lsn, attempt)) = self.unlocks.front().copied() {
            if lsn > self.durable {
                return;
            }
            self.unlocks.pop_front();
            self.release_locks(now, attempt);
        }
    }

    /// Lets go of all locks of an attempt; who waited for them goes on later in
    /// this step.
    fn release_locks(&mut self, now: Millis, attempt: AttemptId) {
        self.ended_waits.extend(self.waits.remove(&attempt));
        self.timers.disarm(&Timer::LockWait(attempt));
        self.runnable.extend(self.locks.release(now, attempt));
    }

    /// Answers a coordinator, but not before its epoch is durable.
    fn answer(
        &self,
        lane: Lane,
        coordinator: CoordinatorId,
        request: RequestId,
        answer: Answer<R::Result>,
        out: &mut Output<R>,
    ) {
        let epoch_lsn = self
            .coordinators
            .get(coordinator)
            .map_or(Lsn(0), |known| known.epoch_lsn);
        let forced = !self.settings.planted.has(Bug::SeenEpochNotForced);
        let lane = if epoch_lsn > self.durable && forced {
            Lane::After
        } else {
            lane
        };
        let effect = Effect::Answer { request, answer };
        match lane {
            Lane::Now => out.now.push(effect),
            Lane::After => out.after.push(effect),
            Lane::Later => out.later.push(effect),
        }
    }
}

fn reply<R: Resource>(request: RequestId, reply: Reply<R::Result>) -> Effect<R::Result> {
    Effect::Reply { request, reply }
}

/// The lane an answer leaves by; see [`output::Output`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Now,
    After,
    Later,
}

impl<R: Resource> Machine for Participant<R> {
    type Event = Event<R::Action>;
    type Effect = Effect<R::Result>;
    type Record = Record;
    type Cursor = Cursor;

    fn step(&mut self, now: Millis, event: Self::Event, out: &mut Output<R>) {
        match event {
            Event::Wake(wake) => self.woken(now, wake, out),
            Event::FrameReceived { request, frame } => {
                self.frame_received(now, request, frame, out);
            }
            Event::VerdictHeard {
                attempt,
                from,
                verdict,
            } => {
                self.verdict_heard(now, attempt, &from, verdict, out);
            }
            Event::PeerAsked { request, attempt } => self.peer_asked(now, request, attempt, out),
            Event::PeekRequested { request, action } => self.peek(now, request, &action, out),
            Event::ResolveRequested {
                request,
                attempt,
                outcome,
                reason,
            } => {
                self.resolve_by_hand(now, request, attempt, outcome, reason, out);
            }
            // What is listed may be appended and not yet durable.
            Event::InDoubtAsked { request } => {
                out.after
                    .push(reply::<R>(request, Reply::InDoubt(self.in_doubt())));
            }
            Event::DamageAsked { request } => {
                out.after
                    .push(reply::<R>(request, Reply::Damage(self.recorded_damage())));
            }
            Event::DamageAcknowledged { request, attempt } => {
                self.acknowledge_damage(request, attempt, out);
            }
            Event::DamageReportAnswered { attempt, result } => {
                self.damage_report_answered(now, attempt, result);
            }
            Event::Registered { coordinator } => self.registered(coordinator, out),
            Event::LocksAsked {
                request,
                after,
                max,
            } => self.locks_asked(now, request, after.as_ref(), max, out),
            Event::DrainRequested => self.drain = Drain::Asked,
        }
        self.go_on(now, out);
    }

    fn load(&mut self, stored: Stored) -> Result<(), CorruptLog> {
        self.load_value(&stored)
    }

    fn replay(&mut self, lsn: Lsn, record: Record) -> Result<(), CorruptLog> {
        self.replay_record(lsn, record)
    }

    fn recovered(&mut self, now: Millis, out: &mut Output<R>) {
        self.begin_boot(now, out);
    }

    fn live_records(&self, cursor: &mut Cursor, max: usize) -> Vec<Record> {
        self.live_records_from(cursor, max)
    }

    fn take_changed(&mut self, max: usize) -> Vec<Stored> {
        self.take_changed_values(max)
    }

    fn next_deadline(&self) -> Option<Millis> {
        self.timers.next()
    }
}
