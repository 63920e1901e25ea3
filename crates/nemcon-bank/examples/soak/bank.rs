//! A bank whose coordinator decides at once.
//!
//! Of 100 transactions 98 are prepared and committed, and 2 are decided here
//! alone. Each moves money between two of 100,000 accounts.
//!
//! A bank keeps the last 100 movements of every account, so 100,000 accounts that
//! are used a hundred times each hold ten million movements: more than any limit
//! here, and no trace of the transactions but what customers want to read. Hence,
//! as with real accounts, most of the money moves on few of them: 1,000 are the
//! target of 49 movements in 50. With `--even` all are used alike.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nemcon_core::id::{
    AttemptId, CoordinatorId, Epoch, ParticipantId, ParticipantName, Position, RequestId, Sequence,
    TransactionId,
};
use nemcon_core::message::{
    Alone, Answer, CommitOnePhase, Frame, Header, Operation, OperationsHash, Peer, Prepare, Task,
    ToParticipant, Vote, Work,
};
use nemcon_core::participant::event::{Effect, Event};
use nemcon_core::participant::{Participant, Settings};
use nemcon_core::time::Span;
use nemcon_ledger::account::Contra;
use nemcon_ledger::{Action, ActionResult, Ledger};
use nemcon_node::clock::Clock;
use nemcon_node::driver::Perform;
use tokio::sync::Notify;
use uuid::Uuid;

use super::Failure;
use super::measure::{Passed, Reopened, Watch, peak_bytes};
use super::stage::{Chance, open, play};

const ACCOUNTS: u64 = 100_000;

/// Accounts on which most of the money moves.
const BUSY: u64 = 1_000;

/// Accounts opened by one transaction.
const OPENED_AT_ONCE: u64 = 1_000;

/// Transactions in flight.
const IN_FLIGHT: u64 = 256;

const ADDRESS: &str = "http://127.0.0.1:7000";

fn machine() -> Result<Participant<Ledger>, Failure> {
    let settings = Settings::new(ParticipantName::new("bank-a")?, participant(), 1);
    Ok(Participant::new(settings, Ledger::new()))
}

const fn participant() -> ParticipantId {
    ParticipantId::new(Uuid::from_u128(0xba))
}

const fn coordinator() -> CoordinatorId {
    CoordinatorId::new(Uuid::from_u128(0xc0))
}

fn account(number: u64) -> String {
    format!("{number:010}")
}

/// Plays the coordinator.
struct Player {
    clock: Clock,
    chance: Chance,
    even: bool,
    opened: u64,
    begun: u64,
    records: u64,
    /// Attempts without an end, and the accounts they move money on. The lowest
    /// is the floor.
    open: BTreeMap<Sequence, [u64; 2]>,
    /// Those accounts: no other attempt touches them, so that none waits.
    touched: BTreeSet<u64>,
    sequence: Sequence,
    ended: Arc<AtomicU64>,
    over: Arc<Notify>,
}

type Tell = Event<Action>;

impl Player {
    /// The next attempt, while there are any: first accounts, then transfers.
    fn next(&mut self) -> Result<Option<Tell>, Failure> {
        if self.opened < ACCOUNTS {
            return self.open_accounts().map(Some);
        }
        if self.begun == self.records {
            return Ok(None);
        }
        self.begun += 1;
        let (from, to) = (self.draw(), self.draw());
        let amount = 1 + i64::try_from(self.chance.below(100))?;
        let (contra, reference) = (Contra::Clearing, "");
        let actions = vec![
            Action::withdraw(&account(from), amount, "CZK", reference, contra)?,
            Action::deposit(&account(to), amount, "CZK", reference, contra)?,
        ];
        Ok(Some(self.attempt([from, to], actions)))
    }

    fn open_accounts(&mut self) -> Result<Tell, Failure> {
        let numbers = self.opened..(self.opened + OPENED_AT_ONCE).min(ACCOUNTS);
        self.opened = numbers.end;
        let open = |number| {
            let owner = format!("Customer {number}");
            Action::open(&account(number), &owner, "CZK", 1_000_000, -1_000_000_000)
        };
        let actions = numbers.map(open).collect::<Result<_, _>>()?;
        // None of the accounts has any other attempt yet.
        Ok(self.attempt([ACCOUNTS, ACCOUNTS], actions))
    }

    /// An account that nothing in flight touches.
    fn draw(&mut self) -> u64 {
        loop {
            let any = self.even || self.chance.below(50) == 0;
            let number = self.chance.below(if any { ACCOUNTS } else { BUSY });
            if self.touched.insert(number) {
                return number;
            }
        }
    }

    fn attempt(&mut self, accounts: [u64; 2], actions: Vec<Action>) -> Tell {
        self.sequence = self.sequence.next();
        self.open.insert(self.sequence, accounts);
        let chance = u128::from(self.chance.draw()) << 64 | u128::from(self.chance.draw());
        let transaction = TransactionId::from_parts(self.clock.now(), chance);
        let task = Task {
            attempt: attempt(self.sequence),
            transaction,
            age: transaction,
            remaining: Span::from_secs(10),
            lock_wait: Span::from_secs(5),
            coordinator_address: String::from(ADDRESS),
        };
        let operation = |action| Operation {
            action: Ok(action),
            read_only: false,
            inputs: Vec::new(),
        };
        let work = Work::OneShot(actions.into_iter().map(operation).collect());
        if self.sequence.0.is_multiple_of(50) {
            return self.frame(ToParticipant::CommitOnePhase(CommitOnePhase {
                task,
                hash: OperationsHash([7; 32]),
                work,
            }));
        }
        self.frame(ToParticipant::Prepare(Prepare {
            task,
            work,
            peers: peers(),
            read_only: false,
        }))
    }

    fn frame(&self, message: ToParticipant<Action>) -> Tell {
        let first = self.open.first_key_value().map(|(sequence, _)| *sequence);
        Event::FrameReceived {
            request: RequestId(self.sequence.0),
            frame: Frame {
                header: Header {
                    coordinator: coordinator(),
                    participant: participant(),
                    epoch: Epoch(1),
                    floor: position(first.unwrap_or(self.sequence.next())),
                },
                message,
            },
        }
    }

    fn hear(&mut self, answer: Answer<ActionResult>, back: &mut Vec<Tell>) -> Result<(), Failure> {
        match answer {
            Answer::Voted {
                attempt,
                vote: Vote::Yes(_),
                ..
            } => back.push(self.frame(ToParticipant::Commit(attempt))),
            Answer::Acknowledged { attempt, .. }
            | Answer::DecidedAlone {
                attempt,
                alone: Alone::Committed(_),
            } => {
                let accounts = self.open.remove(&attempt.position.sequence);
                for number in accounts.into_iter().flatten() {
                    self.touched.remove(&number);
                }
                // What opens accounts is no transfer.
                if accounts.is_some_and(|[from, _]| from < ACCOUNTS) {
                    self.ended.fetch_add(1, Ordering::Relaxed);
                }
                if self.opened < ACCOUNTS || self.begun > 0 {
                    back.extend(self.next()?);
                } else if self.open.is_empty() {
                    // All accounts are there: now the load.
                    for _ in 0..IN_FLIGHT {
                        back.extend(self.next()?);
                    }
                }
                if self.open.is_empty() {
                    self.over.notify_one();
                }
            }
            other => return Err(format!("unexpected: {other:?}").into()),
        }
        Ok(())
    }
}

const fn position(sequence: Sequence) -> Position {
    Position {
        epoch: Epoch(1),
        sequence,
    }
}

const fn attempt(sequence: Sequence) -> AttemptId {
    AttemptId {
        coordinator: coordinator(),
        position: position(sequence),
    }
}

fn peers() -> Vec<Peer> {
    let names = ["bank-a", "bank-b"].map(ParticipantName::new);
    let peer = |name| Peer {
        name,
        address: String::from(ADDRESS),
    };
    names.into_iter().flatten().map(peer).collect()
}

impl Perform<Participant<Ledger>> for Player {
    fn perform(&mut self, effect: Effect<ActionResult>, back: &mut Vec<Tell>) {
        let heard = match effect {
            Effect::Answer { answer, .. } => self.hear(answer, back),
            Effect::ReportDamage { .. } | Effect::Alarm(_) => {
                Err(format!("unexpected: {effect:?}").into())
            }
            // The decision is on its way.
            Effect::Ask { .. } | Effect::Reply { .. } | Effect::Drained => Ok(()),
        };
        if let Err(error) = heard {
            eprintln!("{error}");
            self.over.notify_one();
        }
    }

    fn ended(&mut self) {}
}

/// Passes `records` transfers through a bank in `dir`.
pub(crate) async fn run(dir: &Path, records: u64, even: bool) -> Result<Passed, Failure> {
    let watch = Watch::start(dir);
    let over = Arc::new(Notify::new());
    let mut player = Player {
        clock: Clock::start(),
        chance: Chance(5),
        even,
        opened: 0,
        begun: 0,
        records,
        open: BTreeMap::new(),
        touched: BTreeSet::new(),
        sequence: Sequence(0),
        ended: Arc::clone(&watch.ended),
        over: Arc::clone(&over),
    };
    let first = player.next()?.into_iter().collect();
    play(open(dir, machine()?, player)?, first, over).await?;
    let passed = watch.stop()?;
    if passed.transactions < records {
        return Err(format!("only {} transactions ended", passed.transactions).into());
    }
    Ok(passed)
}

/// Says nothing.
struct Mute;

impl Perform<Participant<Ledger>> for Mute {
    fn perform(&mut self, _: Effect<ActionResult>, _: &mut Vec<Tell>) {}

    fn ended(&mut self) {}
}

/// Opens what is in `dir`, until it serves.
pub(crate) async fn reopen(dir: &Path, started: Instant) -> Result<Reopened, Failure> {
    let mut driver = open(dir, machine()?, Mute)?;
    driver.start().await?;
    let ms = u64::try_from(started.elapsed().as_millis())?;
    let live = driver.machine().resource().accounts().len() as u64;
    let peak_bytes = peak_bytes()?;
    driver.finish().await?.close()?;
    Ok(Reopened {
        ms,
        peak_bytes,
        live,
    })
}
