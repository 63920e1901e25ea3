//! The coordinator: runs transactions across participants, by two-phase commit
//! with presumed abort.
//!
//! ```text
//!   INIT ──▶ PREPARING ──▶ PREPARED ──▶ COMMITTING ──▶ COMMITTED
//!     │          │   all votes   │  decision    │  all have
//!     │          │   are in      │  is durable  │  acknowledged
//!     ▼          ▼               ▼
//!   ABORTING ◀───┴───────────────┘ (only before the decision is appended)
//!     │  record is durable
//!     ▼
//!   ABORTED
//! ```
//!
//! Rules it lives by:
//!
//! - Deadline and abort requests are looked at before each vote is counted. Once
//!   the decision record is appended nothing aborts: the decision becomes durable
//!   or the node stops.
//! - A client is told an outcome when it is durable, "aborted" too.
//! - An attempt of ours that is neither running nor decided in the log has
//!   aborted; that needs no record.
//! - A transaction id runs at most once: it joins what is in flight, or gets the
//!   remembered outcome, or is refused because it may have been forgotten.
//! - Where only one participant is concerned it decides alone and remembers; we
//!   ask around before we run an id that may have been decided so before our
//!   last restart.
//! - What a branch needs next is derived from the transaction's phase, so that a
//!   lost message, a lost answer and a restart are mended by the same code.
//!
//! Where to look: `clients` takes requests, `answers` what participants say,
//! `deciding` counts votes and ends transactions, `calls` sends and repeats,
//! `members` knows the participants, `memory` remembers outcomes,
//! `interactive` adds work piece by piece, `looking` breaks deadlocks, `sagas` runs
//! transactions that belong together, `questions` answers everyone else, `replay` is
//! the log's side, `restored` what holds after a restoration.

mod answers;
mod calls;
mod clients;
mod deciding;
pub mod event;
mod fingerprint;
mod interactive;
mod looking;
mod members;
mod memory;
mod questions;
pub mod record;
mod replay;
mod restored;
mod sagas;
pub mod statistics;
mod transaction;
mod view;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use event::{Effect, Event, Reply};
use interactive::Asked;
use looking::Looking;
use members::Members;
use memory::Memory;
use record::{Damaged, Record};
pub use replay::Cursor;
use restored::Restoration;
use sagas::{ByHand, Sagas};
use statistics::Window;
use transaction::{Phase, Transaction};
pub use view::Held;

use crate::codec::CorruptLog;
use crate::id::{
    AttemptId, CoordinatorId, Epoch, Lsn, ParticipantName, Position, RequestId, SagaId, Sequence,
    TransactionId,
};
use crate::machine::{Machine, Room, Stored, Wake};
use crate::message::OperationsHash;
use crate::output;
use crate::planted::Planted;
use crate::reason::Refusal;
use crate::time::{Millis, Span};
use crate::timers::{Jitter, Timers};

/// What can be set about a coordinator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it answers questions; goes out with every prepare.
    pub address: String,
    /// Its identity if the log has none yet.
    pub fresh_identity: CoordinatorId,
    /// Seed of the jitter.
    pub seed: u64,
    /// Deadline of a transaction that names none. Default 10 s.
    pub timeout_default: Span,
    /// Longest wait for a lock at a participant. Default 5 s.
    pub lock_wait: Span,
    /// How long an answer is waited for. Default 1 s; a call that may wait for a
    /// lock gets the lock wait on top.
    pub call_timeout: Span,
    /// First wait before a call is repeated. Default 50 ms.
    pub retry_first: Span,
    /// Longest wait before a call is repeated. Default 2 s.
    pub retry_max: Span,
    /// How long outcomes are remembered. Default 1 h.
    pub remember_for: Span,
    /// How many outcomes are remembered. Default 1,000,000.
    pub remember_max: usize,
    /// Of how many of these the results are kept too. Default 10,000.
    pub results_max: usize,
    /// How many transactions may run at a time. Default 10,000.
    pub running_max: usize,
    /// How many of the last transactions the figures of a window cover. Default
    /// [`statistics::WINDOW_DEFAULT`].
    pub statistics_window: usize,
    /// How many sagas may run at a time. Default 20,000.
    pub sagas_max: usize,
    /// How many bytes the definitions and results of those may take, about. Default
    /// 256 MiB.
    pub saga_bytes_max: usize,
    /// How many tries of their steps may be under way at a time; others wait for
    /// their turn. Default 5,000, half of what may run, so that sagas leave room to
    /// clients.
    pub saga_tries_max: usize,
    /// How long sagas that ended are remembered. Default 24 h.
    pub remember_sagas_for: Span,
    /// How many sagas that ended are remembered. Default 10,000: a checkpoint repeats
    /// each, at some hundred bytes.
    pub remember_sagas_max: usize,
    /// How many bytes those may take, about. Default 64 MiB: most take a kilobyte or
    /// two, and one of a thousand steps some hundred.
    pub remember_saga_bytes_max: usize,
    /// When a call that may wait for a lock has been out for so long, we look for
    /// deadlocks; waits that are younger are not looked at. Default 20 ms; `None`:
    /// never.
    pub look_after: Option<Span>,
    /// A mistake to make; none but in a proof.
    pub planted: Planted,
}

impl Settings {
    /// The defaults.
    #[must_use]
    pub const fn new(address: String, fresh_identity: CoordinatorId, seed: u64) -> Self {
        Self {
            address,
            fresh_identity,
            seed,
            timeout_default: Span::from_secs(10),
            lock_wait: Span::from_secs(5),
            call_timeout: Span::from_secs(1),
            retry_first: Span(50),
            retry_max: Span::from_secs(2),
            remember_for: Span::from_secs(3_600),
            remember_max: 1_000_000,
            results_max: 10_000,
            running_max: 10_000,
            statistics_window: statistics::WINDOW_DEFAULT,
            sagas_max: 20_000,
            saga_bytes_max: 256 << 20,
            saga_tries_max: 5_000,
            remember_sagas_for: Span::from_secs(24 * 3_600),
            remember_sagas_max: 10_000,
            remember_saga_bytes_max: 64 << 20,
            look_after: Some(Span(20)),
            planted: Planted::none(),
        }
    }
}

/// What a timer is for. Whether it still matters is judged when it fires.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A transaction's time is up.
    Deadline(TransactionId),
    /// A call brought no answer so far: repeat it.
    Repeat(TransactionId, ParticipantName),
    /// See whether an unreachable participant is back.
    Probe(ParticipantName),
    /// The floor has been held back long enough.
    Floor,
    /// Look for deadlocks, or go on with a look that takes too long.
    Look,
    /// The pause of a saga's step is over: this number of its steps.
    SagaStep(SagaId, u32),
    /// A saga's time is up.
    SagaLimit(SagaId),
    /// A saga that ended has been remembered for long enough.
    ForgetSagas,
}

/// Shorthand for a coordinator's outputs.
pub type Output = output::Output<Record, Effect>;

/// How far ahead ids are declared as possibly sent out to be decided alone, so
/// that the declaration costs no flush of its own.
const HORIZON_STEP: Span = Span::from_secs(10);

/// Below this time in an id, it may have been sent to a participant to decide
/// alone.
#[derive(Clone, Copy, Debug, Default)]
struct Horizon {
    /// As it was when we recovered: at or below it, we must ask around.
    recovered: Millis,
    /// As it is on disk.
    durable: Millis,
    /// As it is in the log.
    logged: Millis,
    logged_lsn: Lsn,
}

/// The coordinator machine.
#[derive(Clone, Debug)]
pub struct Coordinator {
    settings: Settings,
    identity: CoordinatorId,
    epoch: Epoch,
    sequence: Sequence,
    /// Running transactions, those included whose commit is not acknowledged.
    transactions: BTreeMap<TransactionId, Box<Transaction>>,
    /// Their attempts, but for those that abort.
    attempts: BTreeMap<Position, TransactionId>,
    /// Attempts that may yet send work to anyone: they hold every floor.
    open: BTreeSet<Position>,
    members: Members,
    memory: Memory,
    sagas: Sagas,
    /// Records that are awaited, in the order of the log: decisions and aborts.
    undurable: VecDeque<(Lsn, TransactionId)>,
    /// Ids that a participant was asked to decide alone in this epoch, without an
    /// answer that said what became of them.
    unanswered: BTreeMap<TransactionId, OperationsHash>,
    horizon: Horizon,
    /// The data directory was restored from a backup.
    restored: Option<Restoration>,
    /// Where every floor is held back to since then.
    floor_held: Option<Position>,
    /// All damage there ever was: what is reported twice is recorded once.
    damage: BTreeMap<(Position, ParticipantName), Damaged>,
    /// Of that, what somebody has seen to.
    mended: BTreeSet<(Position, ParticipantName)>,
    window: Window,
    committed: u64,
    aborted: u64,
    /// Of these, how many for which reason. The words are the protocol's, and one for
    /// all others, so there is an end to them.
    aborted_by: BTreeMap<&'static str, u64>,
    deadlocks: u64,
    started_at: Millis,
    durable: Lsn,
    timers: Timers<Timer>,
    jitter: Jitter,
    room: Room,
    drain: Drain,
    looking: Looking,
}

/// Whether the node is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Drain {
    No,
    Asked,
    Done,
}

impl Coordinator {
    /// A coordinator that has not read its log yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            identity: settings.fresh_identity,
            epoch: Epoch(0),
            sequence: Sequence(0),
            transactions: BTreeMap::new(),
            attempts: BTreeMap::new(),
            open: BTreeSet::new(),
            members: Members::default(),
            memory: Memory::default(),
            sagas: Sagas::default(),
            undurable: VecDeque::new(),
            unanswered: BTreeMap::new(),
            horizon: Horizon::default(),
            restored: None,
            floor_held: None,
            damage: BTreeMap::new(),
            mended: BTreeSet::new(),
            window: Window::new(settings.statistics_window),
            committed: 0,
            aborted: 0,
            aborted_by: BTreeMap::new(),
            deadlocks: 0,
            started_at: Millis(0),
            durable: Lsn(0),
            timers: Timers::default(),
            jitter: Jitter::new(settings.seed),
            room: Room::Enough,
            drain: Drain::No,
            looking: Looking::default(),
            settings,
        }
    }

    const fn attempt_id(&self, position: Position) -> AttemptId {
        AttemptId {
            coordinator: self.identity,
            position,
        }
    }

    fn next_position(&mut self) -> Position {
        self.sequence = self.sequence.next();
        Position {
            epoch: self.epoch,
            sequence: self.sequence,
        }
    }

    fn woken(&mut self, now: Millis, wake: Wake, out: &mut Output) {
        match wake {
            Wake::Durable(lsn) => self.became_durable(now, lsn, out),
            Wake::Room(room) => self.room = room,
            Wake::DeadlinePassed => {
                while let Some(timer) = self.timers.pop_due(now) {
                    self.timer_fired(now, timer, out);
                }
            }
        }
    }

    fn timer_fired(&mut self, now: Millis, timer: Timer, out: &mut Output) {
        match timer {
            Timer::Deadline(transaction) => self.deadline_passed(now, transaction, out),
            Timer::Repeat(transaction, participant) => {
                self.call(now, transaction, &participant, out);
            }
            Timer::Probe(participant) => self.probe(now, &participant, out),
            Timer::Floor => self.floor_held = None,
            Timer::Look => self.look_is_due(now, out),
            Timer::SagaStep(saga, step) => self.saga_step_is_due(saga, step),
            Timer::SagaLimit(saga) => self.saga_time_is_up(now, saga, out),
            Timer::ForgetSagas => self.forget_sagas(now, out),
        }
    }

    /// All armed timers, in a fixed order.
    pub fn armed(&self) -> impl Iterator<Item = &Timer> {
        self.timers.armed()
    }

    /// Fires one armed timer, due or not, as a step of its own: for a model
    /// checker, which tries every order. Nothing happens if it is not armed.
    pub fn fire(&mut self, now: Millis, timer: &Timer, out: &mut Output) {
        if self.timers.is_armed(timer) {
            self.timers.disarm(timer);
            self.timer_fired(now, timer.clone(), out);
            self.sagas_go_on(now, out);
            self.note_drained(out);
        }
    }

    fn note_drained(&mut self, out: &mut Output) {
        if self.drain == Drain::Asked && self.is_idle() {
            out.after.push(Effect::Drained);
            self.drain = Drain::Done;
        }
    }

    fn became_durable(&mut self, now: Millis, lsn: Lsn, out: &mut Output) {
        self.durable = self.durable.max(lsn);
        if self.horizon.logged_lsn <= self.durable {
            self.horizon.durable = self.horizon.logged;
        }
        while let Some((lsn, transaction)) = self.undurable.front().copied() {
            if lsn > self.durable {
                return;
            }
            self.undurable.pop_front();
            self.end_is_durable(now, transaction, lsn, out);
        }
    }

    /// Whether nothing is running that a stop would interrupt. What is decided
    /// is in the log and goes on after the next start.
    fn is_idle(&self) -> bool {
        self.transactions
            .values()
            .all(|txn| matches!(txn.phase, Phase::Committing))
    }
}

fn reply(request: RequestId, reply: Reply) -> Effect {
    Effect::Reply { request, reply }
}

fn refuse(request: RequestId, refusal: Refusal) -> Effect {
    reply(request, Reply::Refused(refusal))
}

impl Machine for Coordinator {
    type Event = Event;
    type Effect = Effect;
    type Record = Record;
    type Cursor = Cursor;

    fn step(&mut self, now: Millis, event: Event, out: &mut Output) {
        match event {
            Event::Wake(wake) => self.woken(now, wake, out),
            Event::RunRequested {
                request,
                begin,
                hash,
                operations,
            } => {
                self.run(now, request, begin, hash, operations, out);
            }
            Event::BeginRequested { request, begin } => self.begin(now, request, begin, out),
            Event::ExecuteRequested {
                request,
                transaction,
                epoch,
                number,
                operations,
            } => {
                if self.is_of_this_epoch(request, transaction, epoch, out) {
                    let asked = Asked::Operations(operations);
                    self.piece(now, request, transaction, number, asked, out);
                }
            }
            Event::LocksRequested {
                request,
                transaction,
                epoch,
                number,
                locks,
            } => {
                if self.is_of_this_epoch(request, transaction, epoch, out) {
                    let asked = Asked::Locks(locks);
                    self.piece(now, request, transaction, number, asked, out);
                }
            }
            Event::WaitsAsked { request } => self.waits_asked(now, request, out),
            Event::CommitRequested {
                request,
                transaction,
                epoch,
            } => {
                if self.is_of_this_epoch(request, transaction, epoch, out) {
                    self.commit(now, request, transaction, out);
                }
            }
            Event::AbortRequested {
                request,
                transaction,
                why,
            } => {
                self.abort_requested(now, request, transaction, why, out);
            }
            Event::Answered { from, answer } => self.answered(now, &from, answer, out),
            Event::CallFailed { to, call, failure } => {
                self.call_failed(now, &to, call, failure, out);
            }
            Event::RegisterRequested {
                request,
                name,
                id,
                address,
                began,
                restored,
            } => {
                let registration = members::Registration {
                    name,
                    id,
                    address,
                    life: members::Life { began, restored },
                };
                self.register(now, request, registration, out);
            }
            Event::RemoveRequested {
                request,
                name,
                give_up,
            } => self.remove(now, request, &name, give_up, out),
            Event::DamageReported {
                request,
                participant,
                attempt,
                by_hand,
                reason,
            } => {
                let report = questions::HandReport {
                    participant,
                    attempt,
                    by_hand,
                    reason,
                };
                self.damage_reported(now, request, report, out);
            }
            Event::DamageAcknowledged {
                request,
                attempt,
                participant,
            } => {
                self.acknowledge_damage(request, attempt, participant, out);
            }
            Event::DrainRequested => self.drain = Drain::Asked,
            Event::VerdictAsked { .. }
            | Event::TransactionAsked { .. }
            | Event::TransactionsAsked { .. }
            | Event::ParticipantsAsked { .. }
            | Event::InDoubtAsked { .. }
            | Event::DamageAsked { .. }
            | Event::StatisticsAsked { .. } => self.asked(now, event, out),
            Event::SagaStartRequested { request, start } => {
                self.start_saga(now, request, *start, out);
            }
            Event::SagaCancelRequested { request, saga, why } => {
                self.cancel_saga(now, request, saga, &why, out);
            }
            Event::SagaResumeRequested {
                request,
                saga,
                who,
                why,
            } => {
                let step = None;
                self.saga_by_hand(now, request, saga, ByHand { who, why, step }, out);
            }
            Event::SagaStepResolved {
                request,
                saga,
                step,
                resolution,
                who,
                why,
            } => {
                let step = Some((step, resolution));
                self.saga_by_hand(now, request, saga, ByHand { who, why, step }, out);
            }
            Event::SagaAsked { request, saga } => self.saga_asked(request, saga, out),
            Event::SagasAsked {
                request,
                states,
                below,
                max,
            } => self.sagas_asked(request, &states, below, max, out),
        }
        self.sagas_go_on(now, out);
        self.note_drained(out);
    }

    fn load(&mut self, stored: Stored) -> Result<(), CorruptLog> {
        self.memory.load(&stored)
    }

    fn replay(&mut self, lsn: Lsn, record: Record) -> Result<(), CorruptLog> {
        self.replay_record(lsn, record)
    }

    fn recovered(&mut self, now: Millis, out: &mut Output) {
        self.begin_epoch(now, out);
    }

    fn live_records(&self, cursor: &mut Cursor, max: usize) -> Vec<Record> {
        self.live_records_from(cursor, max)
    }

    fn take_changed(&mut self, max: usize) -> Vec<Stored> {
        self.memory.take_changed(max)
    }

    fn next_deadline(&self) -> Option<Millis> {
        self.timers.next()
    }
}
