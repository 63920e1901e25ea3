//! A coordinator's remembered outcomes over this log: crashes between any two
//! writes, checkpoints in pieces, acknowledgements that come late, ids out of
//! order. Whatever was told stays as it was told until it may be forgotten, and
//! no id runs twice. Here is the world; `crashes` is what happens in it.

mod crashes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Receiver;

use nemcon_core::codec::{Codec, CorruptLog};
use nemcon_core::coordinator::event::{Begin, Effect, Ending, Event, Reply, View};
use nemcon_core::coordinator::record::{Aborted, Cause, Decided, Record};
use nemcon_core::coordinator::{Coordinator, Cursor, Output, Settings};
use nemcon_core::id::{
    AttemptId, Boot, CoordinatorId, Epoch, Lsn, ParticipantId, ParticipantName, Position,
    RequestId, Sequence, TransactionId,
};
use nemcon_core::machine::{Machine, Stored, Wake};
use nemcon_core::message::{
    Answer, Frame, Operation, OperationsHash, Outcome, Payload, ToParticipant, Trace, Verdict, Vote,
};
use nemcon_core::parking::Parking;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::time::{Millis, Span};
use nemcon_wal::mem::{Crash, Image, MemLog};
use nemcon_wal::{Limits, Log, LogEvent, Recovery};

use crate::support::{Sink, deaf, events};

const BANKS: [&str; 2] = ["bank-a", "bank-b"];

/// Far enough from zero for ids from before.
const BEGINNING: Millis = Millis(1_000_000_000);

/// What a payment is voted down with.
const NO: &str = "INSUFFICIENT_FUNDS";

fn bank(number: usize) -> ParticipantName {
    ParticipantName::new(BANKS[number]).unwrap()
}

fn settings(remember_max: usize) -> Settings {
    let identity = CoordinatorId::new(uuid(0xc0));
    let mut settings = Settings::new(String::from("c"), identity, 1);
    settings.remember_max = remember_max;
    settings.results_max = 10;
    settings
}

fn uuid(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number)
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
    machine: Coordinator,
    log: MemLog,
    events: Receiver<LogEvent>,
    out: Output,
    parking: Parking<Effect>,
    durable: Lsn,
    phase: Phase,
}

struct Replay {
    machine: Coordinator,
    values: usize,
}

impl Recovery for Replay {
    fn stored(&mut self, stored: Stored) -> Result<(), CorruptLog> {
        self.values += 1;
        self.machine.load(stored)
    }

    fn record(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), CorruptLog> {
        self.machine.replay(lsn, Record::from_bytes(bytes)?)
    }
}

/// What the outside knows: clients, participants, and whoever checks.
struct World {
    now: Millis,
    remember_max: usize,
    life: Option<Life>,
    /// Values found at the last start.
    values: usize,
    requests: u64,
    /// Every id that was ever sent, with what its operations hash to.
    sent: BTreeMap<TransactionId, OperationsHash>,
    attempts: BTreeMap<AttemptId, TransactionId>,
    /// What a client or a participant has heard.
    told: BTreeMap<TransactionId, Told>,
    /// Commits nobody has acknowledged yet.
    commits: Vec<(ParticipantName, AttemptId)>,
    forgotten: BTreeSet<TransactionId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    outcome: Outcome,
    /// Known from the first look on.
    attempt: Option<AttemptId>,
    cause: Option<Cause>,
}

impl World {
    /// A node that knows its two banks.
    fn new(remember_max: usize) -> Self {
        let mut world = Self::empty(remember_max);
        world.start(Image::default());
        for number in 0..BANKS.len() {
            world.step(Event::RegisterRequested {
                request: RequestId(0),
                name: bank(number),
                id: ParticipantId::new(uuid(number as u128)),
                address: String::from("p"),
                began: None,
                restored: None,
            });
        }
        world.settle();
        world
    }

    /// A node that has never started.
    fn empty(remember_max: usize) -> Self {
        Self {
            now: BEGINNING,
            remember_max,
            life: None,
            values: 0,
            requests: 0,
            sent: BTreeMap::new(),
            attempts: BTreeMap::new(),
            told: BTreeMap::new(),
            commits: Vec::new(),
            forgotten: BTreeSet::new(),
        }
    }

    fn start(&mut self, image: Image) {
        let mut replay = Replay {
            machine: Coordinator::new(settings(self.remember_max)),
            values: 0,
        };
        // Small pages, so that there are many.
        let limits = Limits {
            page_bytes_max: 600,
            unflushed_bytes_max: 1_200,
            removed_pages_max: 4,
            ..Limits::default()
        };
        let (notify, events) = events();
        let (log, opened) = MemLog::open_with(image, limits, &mut replay, notify).unwrap();
        self.values = replay.values;
        let mut life = Life {
            machine: replay.machine,
            log,
            events,
            out: Output::starting_at(opened.next_lsn),
            parking: Parking::default(),
            durable: Lsn(opened.next_lsn.0 - 1),
            phase: Phase::Idle,
        };
        life.machine.recovered(self.now, &mut life.out);
        life.append();
        self.life = Some(life);
        self.turn();
        // A node serves once its beginning is durable.
        self.settle();
    }

    fn life(&mut self) -> &mut Life {
        self.life.as_mut().unwrap()
    }

    fn step(&mut self, event: Event) {
        let now = self.now;
        let life = self.life();
        life.machine.step(now, event, &mut life.out);
        self.turn();
    }

    /// The end of each turn of the driver, until nothing comes back at once.
    fn turn(&mut self) {
        loop {
            let now = self.now;
            let life = self.life();
            life.append();
            let mut effects: Vec<_> = life.out.now.drain(..).collect();
            life.parking.park(now, &mut life.out);
            if life.parking.flush_is_due(now) {
                life.log.flush();
            }
            effects.extend(core::iter::from_fn(|| life.parking.pop_ripe(life.durable)));
            let back: Vec<Event> = effects
                .into_iter()
                .filter_map(|effect| self.perform(effect))
                .collect();
            if back.is_empty() {
                return;
            }
            for event in back {
                let now = self.now;
                let life = self.life();
                life.machine.step(now, event, &mut life.out);
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Send { to, frame } => self.deliver(to, frame),
            Effect::Reply {
                reply: Reply::Finished(report),
                ..
            } => {
                let cause = match &report.ending {
                    Ending::Committed(_) => None,
                    Ending::Aborted(cause) => Some(cause.clone()),
                };
                self.hear(report.transaction, report.ending.outcome(), cause);
                None
            }
            Effect::Reply {
                reply: Reply::Refused(refusal),
                ..
            } => {
                assert_eq!(refusal.reason, Reason::OUTCOME_FORGOTTEN, "{refusal}");
                None
            }
            Effect::Alarm(alarm) => panic!("{alarm:?}"),
            Effect::Reply { .. }
            | Effect::Link { .. }
            | Effect::Unlink { .. }
            | Effect::Changed(_)
            | Effect::SagaChanged { .. }
            | Effect::Drained => None,
        }
    }

    fn hear(&mut self, transaction: TransactionId, outcome: Outcome, cause: Option<Cause>) {
        let told = self.told.entry(transaction).or_insert_with(|| Told {
            outcome,
            attempt: None,
            cause: cause.clone(),
        });
        assert_eq!(told.outcome, outcome, "{transaction} was told otherwise");
        assert_eq!(told.cause, cause, "{transaction} had another cause");
    }

    /// Participants answer at once, but for commits.
    fn deliver(&mut self, to: ParticipantName, frame: Frame<Payload>) -> Option<Event> {
        let boot = Boot(1);
        let answer = match frame.message {
            ToParticipant::Hello(_) => Answer::Welcome { boot },
            ToParticipant::Prepare(prepare) => {
                let (attempt, transaction) = (prepare.task.attempt, prepare.task.transaction);
                assert!(
                    !self.told.contains_key(&transaction),
                    "{transaction} runs again after it has ended"
                );
                self.attempts.insert(attempt, transaction);
                Answer::Voted {
                    attempt,
                    boot,
                    log_end: Lsn(0),
                    life: 0,
                    vote: vote(transaction),
                }
            }
            ToParticipant::Commit(attempt) => {
                self.hear(self.attempts[&attempt], Outcome::Committed, None);
                self.commits.push((to, attempt));
                return None;
            }
            ToParticipant::Abort(attempt) => Answer::Acknowledged {
                attempt,
                damage: None,
            },
            ToParticipant::Inquire(transaction) => Answer::Traced {
                transaction,
                trace: Trace::None,
            },
            ToParticipant::Execute(_)
            | ToParticipant::AcquireLocks(_)
            | ToParticipant::ReportWaits(_)
            | ToParticipant::FailWait(_)
            | ToParticipant::Release(_)
            | ToParticipant::CommitOnePhase(_) => panic!("nobody asked for it"),
        };
        Some(Event::Answered { from: to, answer })
    }

    /// A client sends a payment, perhaps not for the first time.
    fn send(&mut self, transaction: TransactionId) {
        let hash = OperationsHash([transaction.uuid().as_bytes()[15]; 32]);
        self.sent.insert(transaction, hash);
        self.requests += 1;
        let operation = |number| {
            let payload = Payload {
                type_url: String::from("payment"),
                value: Vec::new(),
            };
            let operation = Operation {
                action: Ok(payload),
                read_only: false,
                inputs: Vec::new(),
            };
            (bank(number), operation)
        };
        self.step(Event::RunRequested {
            request: RequestId(self.requests),
            begin: Begin {
                transaction,
                age: transaction,
                timeout: None,
                first_sent_to: None,
            },
            hash,
            operations: (0..BANKS.len()).map(operation).collect(),
        });
    }

    fn acknowledge(&mut self, count: usize) {
        for (from, attempt) in self.commits.drain(..count).collect::<Vec<_>>() {
            let answer = Answer::Acknowledged {
                attempt,
                damage: None,
            };
            self.step(Event::Answered { from, answer });
        }
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

    /// A whole checkpoint with all that may still change, twice: the second
    /// removes what the first has found to be forgotten.
    fn checkpoint_all(&mut self) {
        for _ in 0..2 {
            loop {
                self.settle();
                self.life().advance(16);
                if matches!(self.life().phase, Phase::Closing) {
                    break;
                }
            }
            self.settle();
        }
    }

    fn crash(&mut self, crash: Crash) {
        let life = self.life.take().unwrap();
        // Nobody acknowledges what a coordinator that is gone has sent; it sends
        // it again.
        self.commits.clear();
        self.start(life.log.crash(crash));
    }

    fn view(&self, transaction: TransactionId) -> Option<View> {
        self.life.as_ref().unwrap().machine.look_up(transaction)
    }

    /// What was told is still so, or may be forgotten, and that only if enough
    /// newer ids were sent.
    fn check(&mut self) {
        let machine = &self.life.as_ref().unwrap().machine;
        let newest: BTreeSet<_> = self.sent.keys().rev().take(self.remember_max).collect();
        for (transaction, told) in &mut self.told {
            let Some(view) = machine.look_up(*transaction) else {
                assert!(
                    machine.may_have_forgotten(*transaction),
                    "{transaction} {told:?} is unknown, and may run again"
                );
                assert!(
                    !newest.contains(transaction),
                    "{transaction} was forgotten too early"
                );
                self.forgotten.insert(*transaction);
                continue;
            };
            assert_eq!(view.outcome, Some(told.outcome), "{transaction}");
            assert_eq!(view.cause, told.cause, "{transaction}");
            let attempt = *told.attempt.get_or_insert(view.attempt);
            assert_eq!(view.attempt, attempt, "{transaction}");
            if told.outcome == Outcome::Committed {
                assert_eq!(machine.verdict(attempt.position), Verdict::Committed);
            }
        }
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

/// One in five is voted down.
fn vote(transaction: TransactionId) -> Vote<Payload> {
    if transaction.uuid().as_bytes()[15].is_multiple_of(5) {
        Vote::No(Refusal::new(Reason::business(NO), "not enough on it"))
    } else {
        Vote::Yes(Some(Vec::new()))
    }
}
