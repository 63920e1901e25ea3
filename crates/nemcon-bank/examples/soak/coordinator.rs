//! A coordinator whose participants vote and acknowledge at once.
//!
//! Each transaction concerns two of them; of 100 about 3 are voted down. None is
//! left to one participant to decide: that leaves nothing in this log.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nemcon_core::coordinator::event::{Begin, Effect, Event, Reply};
use nemcon_core::coordinator::{Coordinator, Settings};
use nemcon_core::id::{
    Boot, CoordinatorId, LogPosition, Lsn, ParticipantId, ParticipantName, RequestId, TransactionId,
};
use nemcon_core::message::{
    Answer, Frame, Operation, OperationsHash, Payload, ToParticipant, Vote, Work,
};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_node::clock::Clock;
use nemcon_node::driver::Perform;
use tokio::sync::Notify;
use uuid::Uuid;

use super::Failure;
use super::measure::{Passed, Reopened, Watch, peak_bytes};
use super::stage::{Chance, open, play};

/// Transactions in flight.
const IN_FLIGHT: u64 = 512;

const BANKS: usize = 4;

fn machine() -> Coordinator {
    let identity = CoordinatorId::new(Uuid::from_u128(0xc0));
    let address = String::from("http://127.0.0.1:7000");
    Coordinator::new(Settings::new(address, identity, 1))
}

fn bank(number: usize) -> Result<ParticipantName, Failure> {
    Ok(ParticipantName::new(format!("bank-{number}"))?)
}

/// Plays clients and participants.
struct Player {
    clock: Clock,
    chance: Chance,
    banks: Vec<ParticipantName>,
    begun: u64,
    records: u64,
    ended: Arc<AtomicU64>,
    over: Arc<Notify>,
}

impl Player {
    /// The next client's request, while there are any.
    fn next(&mut self) -> Option<Event> {
        if self.begun == self.records {
            return None;
        }
        self.begun += 1;
        let chance = u128::from(self.chance.draw()) << 64 | u128::from(self.chance.draw());
        let transaction = TransactionId::from_parts(self.clock.now(), chance);
        let mut hash = [0; 32];
        for part in hash.chunks_exact_mut(8) {
            part.copy_from_slice(&self.chance.draw().to_be_bytes());
        }
        let from = self.begun as usize % BANKS;
        let to = (from + 1) % BANKS;
        let operation = |number: usize| {
            let name = self.banks.get(number)?.clone();
            let operation = Operation {
                action: Ok(payload("Withdraw", 40)),
                read_only: false,
                inputs: Vec::new(),
            };
            Some((name, operation))
        };
        Some(Event::RunRequested {
            request: RequestId(self.begun),
            begin: Begin {
                transaction,
                age: transaction,
                timeout: None,
                first_sent_to: None,
            },
            hash: OperationsHash(hash),
            operations: [from, to].into_iter().filter_map(operation).collect(),
        })
    }

    fn answer(&mut self, from: ParticipantName, frame: Frame<Payload>) -> Option<Event> {
        let boot = Boot(1);
        let answer = match frame.message {
            ToParticipant::Hello(_) => Answer::Welcome { boot },
            ToParticipant::Prepare(prepare) => Answer::Voted {
                attempt: prepare.task.attempt,
                boot,
                log_end: Lsn(1),
                life: 1,
                // Two are asked, so about 3 in 100 are voted down.
                vote: if self.chance.below(1_000) < 16 {
                    let why = "account 1234567 holds 10.00 CZK; 25.00 CZK cannot be taken from it";
                    Vote::No(Refusal::new(Reason::business("INSUFFICIENT_FUNDS"), why))
                } else {
                    Vote::Yes(Some(results(&prepare.work)))
                },
            },
            ToParticipant::Commit(attempt) | ToParticipant::Abort(attempt) => {
                Answer::Acknowledged {
                    attempt,
                    damage: None,
                }
            }
            ToParticipant::Execute(_)
            | ToParticipant::AcquireLocks(_)
            | ToParticipant::ReportWaits(_)
            | ToParticipant::FailWait(_)
            | ToParticipant::Release(_)
            | ToParticipant::CommitOnePhase(_)
            | ToParticipant::Inquire(_) => return None,
        };
        Some(Event::Answered { from, answer })
    }
}

fn payload(name: &str, bytes: usize) -> Payload {
    Payload {
        type_url: format!("type.googleapis.com/nemcon.bank.v1.{name}"),
        value: vec![7; bytes],
    }
}

fn results(work: &Work<Payload>) -> Vec<Payload> {
    match work {
        Work::OneShot(operations) => operations.iter().map(|_| payload("Account", 60)).collect(),
        Work::Interactive { .. } => Vec::new(),
    }
}

impl Perform<Coordinator> for Player {
    fn perform(&mut self, effect: Effect, back: &mut Vec<Event>) {
        match effect {
            Effect::Send { to, frame } => back.extend(self.answer(to, frame)),
            Effect::Reply {
                reply: Reply::Finished(_),
                ..
            } => {
                let ended = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
                back.extend(self.next());
                if ended == self.records {
                    self.over.notify_one();
                }
            }
            Effect::Reply {
                reply: Reply::Refused(refusal),
                ..
            } => {
                eprintln!("refused: {refusal}");
                self.over.notify_one();
            }
            Effect::Alarm(alarm) => eprintln!("alarm: {alarm:?}"),
            Effect::Reply { .. }
            | Effect::Link { .. }
            | Effect::Unlink { .. }
            | Effect::Changed(_)
            | Effect::SagaChanged { .. }
            | Effect::Drained => {}
        }
    }

    fn ended(&mut self) {}
}

/// Passes `records` transactions through a coordinator in `dir`.
pub(crate) async fn run(dir: &Path, records: u64) -> Result<Passed, Failure> {
    let watch = Watch::start(dir);
    let over = Arc::new(Notify::new());
    let mut player = Player {
        clock: Clock::start(),
        chance: Chance(5),
        banks: (0..BANKS).map(bank).collect::<Result<_, _>>()?,
        begun: 0,
        records,
        ended: Arc::clone(&watch.ended),
        over: Arc::clone(&over),
    };
    let register = |(number, name): (u128, &ParticipantName)| Event::RegisterRequested {
        request: RequestId(0),
        name: name.clone(),
        id: ParticipantId::new(Uuid::from_u128(number)),
        address: format!("http://{name}:7000"),
        began: Some(LogPosition {
            boot: Boot(1),
            lsn: Lsn(1),
            life: 1,
        }),
        restored: None,
    };
    let mut first: Vec<Event> = (0..).zip(&player.banks).map(register).collect();
    first.extend((0..IN_FLIGHT).map_while(|_| player.next()));
    play(open(dir, machine(), player)?, first, over).await?;
    let passed = watch.stop()?;
    if passed.transactions < records {
        return Err(format!("only {} transactions ended", passed.transactions).into());
    }
    Ok(passed)
}

/// Says nothing.
struct Mute;

impl Perform<Coordinator> for Mute {
    fn perform(&mut self, _: Effect, _: &mut Vec<Event>) {}

    fn ended(&mut self) {}
}

/// Opens what is in `dir`, until it serves.
pub(crate) async fn reopen(dir: &Path, started: Instant) -> Result<Reopened, Failure> {
    let mut driver = open(dir, machine(), Mute)?;
    driver.start().await?;
    let ms = u64::try_from(started.elapsed().as_millis())?;
    let live = driver.machine().held().remembered as u64;
    let peak_bytes = peak_bytes()?;
    driver.finish().await?.close()?;
    Ok(Reopened {
        ms,
        peak_bytes,
        live,
    })
}
