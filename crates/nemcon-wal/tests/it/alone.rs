//! What a participant decided alone, over this log: crashes between any two writes,
//! checkpoints in pieces, repeats under new attempts, ids out of order. Whatever was
//! told stays as it was told until it may be forgotten, and no id runs twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Receiver;

use nemcon_core::codec::{Codec, CorruptLog};
use nemcon_core::id::{
    AttemptId, CoordinatorId, Epoch, Lsn, ParticipantId, ParticipantName, Position, RequestId,
    Sequence, TransactionId,
};
use nemcon_core::machine::{Machine, Stored, Wake};
use nemcon_core::message::{
    Alone, Answer, CommitOnePhase, Frame, Header, Operation, OperationsHash, Task, ToParticipant,
    Trace, Work,
};
use nemcon_core::parking::Parking;
use nemcon_core::participant::event::{Effect, Event};
use nemcon_core::participant::record::Record;
use nemcon_core::participant::{Cursor, Output, Participant, Settings};
use nemcon_core::reason::Reason;
use nemcon_core::time::{Millis, Span};
use nemcon_ledger::account::Contra;
use nemcon_ledger::{Action, ActionResult, Ledger};
use nemcon_wal::mem::{Crash, Image, MemLog};
use nemcon_wal::{Limits, Log, LogEvent, Recovery};
use proptest::prelude::*;
use uuid::Uuid;

use crate::support::events;

/// Far enough from zero for ids from before.
const BEGINNING: Millis = Millis(1_000_000_000);

const ACCOUNTS: u64 = 3;

/// Attempts below the newest that a late message may still be about.
const STILL_OPEN: u64 = 12;

const COORDINATOR: CoordinatorId = CoordinatorId::new(Uuid::from_u128(0xc0));
const PARTICIPANT: ParticipantId = ParticipantId::new(Uuid::from_u128(0xba));

type Machinery = Participant<Ledger>;
type Told = Alone<ActionResult>;

fn machine(remember_max: usize) -> Machinery {
    let name = ParticipantName::new("bank-a").unwrap();
    let mut settings = Settings::new(name, PARTICIPANT, 1);
    settings.remember_max = remember_max;
    Participant::new(settings, Ledger::new())
}

struct Replay(Machinery);

impl Recovery for Replay {
    fn stored(&mut self, stored: Stored) -> Result<(), CorruptLog> {
        self.0.load(stored)
    }

    fn record(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), CorruptLog> {
        self.0.replay(lsn, Record::from_bytes(bytes)?)
    }
}

/// How far a checkpoint has come.
enum Phase {
    Idle,
    Copying(Cursor),
    WritingBack,
    Closing,
}

/// One life of a node: driver, machine and log without a thread or a network.
struct Life {
    machine: Machinery,
    log: MemLog,
    events: Receiver<LogEvent>,
    out: Output<Ledger>,
    parking: Parking<Effect<ActionResult>>,
    durable: Lsn,
    phase: Phase,
}

/// What the outside knows.
struct World {
    now: Millis,
    remember_max: usize,
    life: Option<Life>,
    sequence: u64,
    requests: u64,
    /// Every id that was ever sent, with the latest attempt at it.
    sent: BTreeMap<TransactionId, AttemptId>,
    attempts: BTreeMap<AttemptId, TransactionId>,
    told: BTreeMap<TransactionId, Told>,
    /// What was found out about an id by the last question.
    traced: Option<Trace<ActionResult>>,
    /// Told and since forgotten.
    forgotten: BTreeSet<TransactionId>,
}

impl World {
    fn new(remember_max: usize) -> Self {
        let mut world = Self {
            now: BEGINNING,
            remember_max,
            life: None,
            sequence: 0,
            requests: 0,
            sent: BTreeMap::new(),
            attempts: BTreeMap::new(),
            told: BTreeMap::new(),
            traced: None,
            forgotten: BTreeSet::new(),
        };
        world.start(Image::default());
        world.send(TransactionId::from_parts(BEGINNING, 0));
        world.settle();
        world
    }

    fn start(&mut self, image: Image) {
        // Small pages, so that there are many.
        let limits = Limits {
            page_bytes_max: 600,
            unflushed_bytes_max: 1_200,
            removed_pages_max: 4,
            ..Limits::default()
        };
        let mut replay = Replay(machine(self.remember_max));
        let (notify, events) = events();
        let (log, opened) = MemLog::open_with(image, limits, &mut replay, notify).unwrap();
        let mut life = Life {
            machine: replay.0,
            log,
            events,
            out: Output::<Ledger>::starting_at(opened.next_lsn),
            parking: Parking::default(),
            durable: Lsn(opened.next_lsn.0 - 1),
            phase: Phase::Idle,
        };
        life.machine.recovered(self.now, &mut life.out);
        self.life = Some(life);
        self.turn();
        self.settle();
    }

    fn life(&mut self) -> &mut Life {
        self.life.as_mut().unwrap()
    }

    fn step(&mut self, event: Event<Action>) {
        let now = self.now;
        let life = self.life();
        life.machine.step(now, event, &mut life.out);
        self.turn();
    }

    /// The end of each turn of the driver.
    fn turn(&mut self) {
        let now = self.now;
        let life = self.life();
        life.append();
        let mut effects: Vec<_> = life.out.now.drain(..).collect();
        life.parking.park(now, &mut life.out);
        if life.parking.flush_is_due(now) {
            life.log.flush();
        }
        effects.extend(core::iter::from_fn(|| life.parking.pop_ripe(life.durable)));
        for effect in effects {
            match effect {
                Effect::Answer { answer, .. } => self.hear(answer),
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }

    fn hear(&mut self, answer: Answer<ActionResult>) {
        match answer {
            Answer::DecidedAlone { attempt, alone } => {
                let transaction = self.attempts[&attempt];
                let before = self.told.entry(transaction).or_insert(alone.clone());
                assert_eq!(*before, alone, "{transaction} was told otherwise");
            }
            Answer::Traced { trace, .. } => self.traced = Some(trace),
            Answer::Refused { refusal, .. } => {
                let expected = [
                    Reason::OUTCOME_FORGOTTEN,
                    Reason::BELOW_FLOOR,
                    Reason::ATTEMPT_ENDED,
                ];
                assert!(expected.contains(&refusal.reason), "{refusal}");
            }
            other => panic!("nobody asked for {other:?}"),
        }
    }

    fn frame(&mut self, message: ToParticipant<Action>) {
        self.requests += 1;
        let floor = position(self.sequence.saturating_sub(STILL_OPEN).max(1));
        self.step(Event::FrameReceived {
            request: RequestId(self.requests),
            frame: Frame {
                header: Header {
                    coordinator: COORDINATOR,
                    participant: PARTICIPANT,
                    epoch: Epoch(1),
                    floor,
                },
                message,
            },
        });
    }

    /// A client sends a transaction, perhaps not for the first time: then the
    /// coordinator takes a new attempt.
    fn send(&mut self, transaction: TransactionId) {
        self.sequence += 1;
        let attempt = AttemptId {
            coordinator: COORDINATOR,
            position: position(self.sequence),
        };
        self.sent.insert(transaction, attempt);
        self.attempts.insert(attempt, transaction);
        self.deliver(attempt);
    }

    /// The message of an attempt arrives, perhaps once more.
    fn deliver(&mut self, attempt: AttemptId) {
        let transaction = self.attempts[&attempt];
        let operation = |action| Operation {
            action: Ok(action),
            read_only: false,
            inputs: Vec::new(),
        };
        let task = Task {
            attempt,
            transaction,
            age: transaction,
            remaining: Span::from_secs(10),
            lock_wait: Span::from_secs(5),
            coordinator_address: String::from("http://127.0.0.1:1"),
        };
        self.frame(ToParticipant::CommitOnePhase(CommitOnePhase {
            task,
            hash: hash(transaction),
            work: Work::OneShot(actions(transaction).into_iter().map(operation).collect()),
        }));
    }

    /// Lets the log do its next calls, and tells the machine.
    fn work(&mut self, calls: usize) {
        let life = self.life();
        life.log.step_first(calls);
        let heard: Vec<_> = life.events.try_iter().collect();
        for event in heard {
            match event {
                LogEvent::Durable(lsn) if lsn > self.life().durable => {
                    self.life().durable = lsn;
                    self.step(Wake::Durable(lsn).into());
                }
                LogEvent::CheckpointClosed { .. } => self.life().phase = Phase::Idle,
                LogEvent::Failed(error) => panic!("{error}"),
                LogEvent::Durable(_)
                | LogEvent::Flushed { .. }
                | LogEvent::CaughtUp
                | LogEvent::Room(_) => {}
            }
        }
    }

    /// Until the log has nothing to do, and all that was appended is durable.
    fn settle(&mut self) {
        loop {
            let life = self.life();
            if life.durable < life.out.appended() {
                life.log.flush();
            }
            if !life.log.has_work() {
                return;
            }
            let queued = life.log.queued();
            self.work(queued);
        }
    }

    fn checkpoint(&mut self) {
        loop {
            self.settle();
            self.life().advance(16);
            if matches!(self.life().phase, Phase::Closing) {
                break;
            }
        }
        self.settle();
    }

    fn crash(&mut self, crash: Crash) {
        let life = self.life.take().unwrap();
        self.start(life.log.crash(crash));
    }

    /// What was told is still so, or may be forgotten, and that only if enough newer
    /// ids were sent.
    fn check(&mut self) {
        let newest: BTreeSet<_> = self
            .sent
            .keys()
            .rev()
            .take(self.remember_max)
            .copied()
            .collect();
        for (transaction, told) in self.told.clone() {
            self.traced = None;
            self.frame(ToParticipant::Inquire(transaction));
            // What it answers may have to wait for a flush.
            if self.traced.is_none() {
                self.settle();
            }
            match self.traced.take() {
                Some(Trace::Decided { hash: found, alone }) => {
                    assert_eq!(found, hash(transaction));
                    assert_eq!(alone, told, "{transaction}");
                }
                Some(Trace::Forgotten) => {
                    assert!(!newest.contains(&transaction), "{transaction}: too early");
                    self.forgotten.insert(transaction);
                }
                Some(Trace::None) => panic!("{transaction} is unknown, and may run again"),
                None => panic!("no answer"),
            }
        }
        self.check_money();
    }

    /// Each deposit was told another balance, and none is missing.
    fn check_money(&mut self) {
        let mut balances = BTreeSet::new();
        for (transaction, told) in &self.told {
            let Alone::Committed(results) = told else {
                continue;
            };
            if let [ActionResult::Account(account)] = results.as_slice() {
                let balance = (account.name.to_string(), account.header.balance_minor);
                assert!(balances.insert(balance), "{transaction} was done twice");
            }
        }
        // What was done and never told counts too, but no more than what was sent.
        let first = TransactionId::from_parts(BEGINNING, 0);
        let deposits = |it: &&TransactionId| **it != first && !is_refused(**it);
        let deposits = self.sent.keys().filter(deposits).count();
        let held = self.life().machine.resource().accounts();
        let held: i64 = held.map(|(_, account)| account.header.balance_minor).sum();
        let (held, told) = (usize::try_from(held).unwrap(), balances.len());
        assert!(told <= held, "{told} deposits were told, {held} are there");
        assert!(held <= deposits, "{held} are there");
    }
}

impl Life {
    fn append(&mut self) {
        let records = self.out.take_records();
        if !records.is_empty() {
            let bytes = |(lsn, record): (Lsn, Record)| (lsn, record.to_bytes());
            self.log.append(records.into_iter().map(bytes).collect());
        }
    }

    /// The next piece of a checkpoint, as the driver makes it.
    fn advance(&mut self, max: usize) {
        match &mut self.phase {
            Phase::Idle => {
                self.log.begin_checkpoint();
                self.phase = Phase::Copying(Cursor::default());
            }
            Phase::Copying(cursor) => {
                let piece = self.machine.live_records(cursor, max);
                if piece.is_empty() {
                    self.phase = Phase::WritingBack;
                }
                for record in piece {
                    self.out.persist(record);
                }
                self.append();
            }
            Phase::WritingBack => {
                let piece = self.machine.take_changed(max);
                if piece.is_empty() {
                    self.log.close_checkpoint();
                    self.phase = Phase::Closing;
                } else {
                    self.log.write_back(piece);
                }
            }
            Phase::Closing => {}
        }
    }
}

const fn position(sequence: u64) -> Position {
    Position {
        epoch: Epoch(1),
        sequence: Sequence(sequence),
    }
}

fn rest(transaction: TransactionId) -> u64 {
    u64::from(transaction.uuid().as_bytes()[15])
}

fn hash(transaction: TransactionId) -> OperationsHash {
    OperationsHash([rest(transaction) as u8; 32])
}

/// One in five asks for money that is not there.
fn is_refused(transaction: TransactionId) -> bool {
    rest(transaction) % 5 == 4
}

/// The first opens the accounts; each of the others brings one of them a unit.
fn actions(transaction: TransactionId) -> Vec<Action> {
    let name = |number| format!("a{number}");
    if transaction == TransactionId::from_parts(BEGINNING, 0) {
        let open = |number| Action::open(&name(number), "", "CZK", 0, 0).unwrap();
        return (0..ACCOUNTS).map(open).collect();
    }
    let account = name(rest(transaction) % ACCOUNTS);
    let action = if is_refused(transaction) {
        Action::withdraw(&account, 1_000_000, "CZK", "", Contra::Cash)
    } else {
        Action::deposit(&account, 1, "CZK", "", Contra::Cash)
    };
    vec![action.unwrap()]
}

#[derive(Clone, Debug)]
enum Act {
    /// Transactions with ids of about now.
    Run {
        count: usize,
        spread: u64,
    },
    Work {
        calls: usize,
    },
    Checkpoint {
        max: usize,
    },
    /// A client asks again.
    Again(prop::sample::Index),
    /// A message comes once more, perhaps long after it was sent.
    Echo(prop::sample::Index),
    Wait(u64),
    Crash {
        pages: prop::sample::Index,
        values: prop::sample::Index,
        mark_kept: bool,
    },
    Stop,
}

fn act() -> impl Strategy<Value = Act> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (1..60_usize, prop_oneof![Just(0), 1..5_000_u64])
            .prop_map(|(count, spread)| Act::Run { count, spread }),
        10 => (1..9_usize).prop_map(|calls| Act::Work { calls }),
        16 => (1..9_usize).prop_map(|max| Act::Checkpoint { max }),
        3 => index().prop_map(Act::Again),
        3 => index().prop_map(Act::Echo),
        2 => (1..20_000_u64).prop_map(Act::Wait),
        3 => (index(), index(), any::<bool>())
            .prop_map(|(pages, values, mark_kept)| Act::Crash { pages, values, mark_kept }),
        1 => Just(Act::Stop),
    ]
}

fn play(world: &mut World, act: &Act, chance: &mut u128) {
    match act {
        Act::Run { count, spread } => {
            for _ in 0..*count {
                *chance = chance.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let late = (*chance >> 40) as u64 % (spread + 1);
                let minted = Millis(world.now.0 - late);
                world.send(TransactionId::from_parts(minted, *chance >> 7));
            }
        }
        Act::Work { calls } => world.work(*calls),
        Act::Checkpoint { max } => world.life().advance(*max),
        Act::Again(which) => {
            let at = which.index(world.sent.len());
            let transaction = *world.sent.keys().nth(at).unwrap();
            world.send(transaction);
        }
        Act::Echo(which) => {
            let at = which.index(world.attempts.len());
            let attempt = *world.attempts.keys().nth(at).unwrap();
            world.deliver(attempt);
        }
        Act::Wait(span) => {
            world.now = world.now + Span(*span);
            world.turn();
        }
        Act::Crash {
            pages,
            values,
            mark_kept,
        } => {
            let unsynced = world.life().log.unsynced();
            world.crash(Crash {
                pages_kept: pages.index(unsynced + 1),
                values_kept: values.index(unsynced + 1),
                mark_kept: *mark_kept,
            });
        }
        Act::Stop => {
            let life = world.life.take().unwrap();
            let (image, stopped) = life.log.stop();
            stopped.unwrap();
            world.start(image);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_was_told_stays_so_and_no_id_runs_twice(
        remember_max in prop_oneof![1..8_usize, 30..300_usize, Just(100_000)],
        acts in prop::collection::vec(act(), 20..120),
    ) {
        let (mut world, mut chance) = (World::new(remember_max), 1);
        for act in &acts {
            play(&mut world, act, &mut chance);
            world.check();
        }
        world.settle();
        world.checkpoint();
        world.checkpoint();
        world.crash(Crash::default());
        world.check();
        for transaction in world.sent.keys().copied().collect::<Vec<_>>() {
            world.send(transaction);
        }
        world.settle();
        world.check();
    }
}

/// A node with decisions of all kinds, and a checkpoint that has come so far that the
/// log has done `writes` calls of it; whether the checkpoint is closed.
fn in_a_checkpoint(writes: usize) -> (World, bool) {
    let (mut world, mut chance) = (World::new(60), 7);
    let run = Act::Run {
        count: 50,
        spread: 800,
    };
    // The first two are in chunks then; the third makes the first be forgotten.
    for round in 0..3 {
        play(&mut world, &run, &mut chance);
        world.settle();
        if round < 2 {
            world.checkpoint();
        }
        world.now = world.now + Span(1_000);
    }
    world.check();
    assert!(world.forgotten.len() > 60, "{}", world.forgotten.len());
    let mut left = writes;
    loop {
        world.life().advance(1);
        while left > 0 && world.life().log.has_work() {
            world.work(1);
            left -= 1;
        }
        if matches!(world.life().phase, Phase::Idle) {
            return (world, true);
        }
        if left == 0 {
            return (world, false);
        }
    }
}

#[test]
fn a_crash_between_any_two_writes_of_a_checkpoint_forgets_nothing() {
    let (mut crashes, mut writes) = (0, 0);
    loop {
        let (mut world, closed) = in_a_checkpoint(writes);
        let unsynced = world.life().log.unsynced();
        for kept in 0..=unsynced {
            let (mut world, _) = in_a_checkpoint(writes);
            world.crash(Crash::process(kept, kept));
            world.check();
            // And what it writes from now on is no worse.
            world.checkpoint();
            world.checkpoint();
            world.crash(Crash::default());
            world.check();
            crashes += 1;
        }
        if closed {
            break;
        }
        writes += 1;
    }
    assert!(crashes > 50, "{crashes}");
}

/// What a checkpoint repeats of what was decided alone does not grow with it.
#[test]
fn a_checkpoint_repeats_only_attempts_that_may_still_be_heard_of() {
    let (mut world, mut chance) = (World::new(100_000), 3);
    let run = Act::Run {
        count: 50,
        spread: 0,
    };
    for _ in 0..10 {
        play(&mut world, &run, &mut chance);
        world.settle();
    }
    let mut cursor = Cursor::default();
    let records = world.life().machine.live_records(&mut cursor, 10_000);
    // A floor is logged after 64 that have ended, and acted on when it is durable.
    let most = usize::try_from(STILL_OPEN).unwrap() + 64 + 2 * 50;
    assert!(records.len() < most, "{} records", records.len());
    assert_eq!(world.told.len(), 501);
}
