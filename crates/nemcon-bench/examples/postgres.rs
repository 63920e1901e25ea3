//! What a careful user of PostgreSQL would write by hand to move money between two
//! servers: two-phase commit with a coordinator in the client.
//!
//! ```text
//!   BEGIN; UPDATE; PREPARE TRANSACTION   at both, in parallel
//!   the decision, appended to a file and synced (many at once, where many wait)
//!   COMMIT PREPARED                      at both, in parallel
//! ```
//!
//! It is measured with the same load and the same clock as `nemcon bench`, and
//! prints a row of the same form. What it leaves out, and nemcon does: recovery of
//! prepared transactions after a crash, retries, deadlocks across servers (each of
//! them waits for `lock_timeout`). So it is what PostgreSQL can do at best.
//!
//! Run by `scripts/bench-peers.sh`. An example and not a program that is shipped.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use nemcon_bench::{Chance, Effect, Fate, Load, Meter, Row, Spans, Subject, Try, measure};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};

/// Decisions that wait for the file: more than can be in flight.
const DECISIONS_QUEUED_MAX: usize = 4_096;

/// Most decisions that one sync takes along.
const DECISIONS_BATCH_MAX: usize = 1_024;

/// Codes of PostgreSQL for "somebody else has it": lock_timeout, and a deadlock
/// within one server.
const LOCK_NOT_AVAILABLE: &str = "55P03";
const DEADLOCK_DETECTED: &str = "40P01";

/// What every account starts with, in cents, and the most that is moved at once.
const OPENING_MINOR: i64 = 100_000_000;
const AMOUNT_MINOR_MAX: i64 = 100;

#[derive(Debug, Parser)]
#[command(about = "Transfers between two PostgreSQL servers by two-phase commit")]
struct Arguments {
    /// How to connect to a server; two of them
    #[arg(long, value_name = "STRING", required = true, num_args = 1)]
    server: Vec<String>,
    /// Accounts at each server
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    accounts: u32,
    /// How many transactions to have in flight; so many connections to each server
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=512))]
    in_flight: u16,
    /// Seconds of warm-up
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    warm_up: u32,
    /// Seconds that count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// File that decisions are appended to
    #[arg(long)]
    decisions: PathBuf,
}

/// A connection that has its statement ready.
struct Connection {
    client: Client,
    update: Statement,
}

/// Two servers, and who decides.
struct Servers {
    accounts: u32,
    /// Pairs of connections that nobody uses now.
    idle: Mutex<Vec<[Connection; 2]>>,
    decisions: Decisions,
    next: AtomicU64,
    /// Makes the names of this run's transactions unlike those of another.
    run: u32,
}

/// The file of decisions, on a thread of its own.
struct Decisions(mpsc::Sender<(String, oneshot::Sender<io::Result<()>>)>);

impl Decisions {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::options().create(true).append(true).open(path)?;
        let (send, mut queue) =
            mpsc::channel::<(String, oneshot::Sender<io::Result<()>>)>(DECISIONS_QUEUED_MAX);
        std::thread::spawn(move || {
            let mut batch = Vec::new();
            while queue.blocking_recv_many(&mut batch, DECISIONS_BATCH_MAX) > 0 {
                let lines: String = batch.iter().map(|(line, _)| line.as_str()).collect();
                let synced = file
                    .write_all(lines.as_bytes())
                    .and_then(|()| file.sync_data());
                for (_, told) in batch.drain(..) {
                    let result = synced.as_ref().copied();
                    // Whoever has gone needs no answer.
                    let _ = told.send(result.map_err(|error| io::Error::from(error.kind())));
                }
            }
        });
        Ok(Self(send))
    }

    async fn commit(&self, name: &str) -> io::Result<()> {
        let gone = || io::Error::other("the thread that decides has ended");
        let (tell, told) = oneshot::channel();
        let line = format!("{name}\n");
        self.0.send((line, tell)).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

impl Connection {
    /// First half: everything up to the promise, sent at once, since none of it
    /// waits for an answer to what comes before.
    async fn prepare(&self, id: i64, amount: i64, name: &str) -> Result<(), tokio_postgres::Error> {
        let prepare = format!("PREPARE TRANSACTION '{name}'");
        let begin = self.client.batch_execute("BEGIN");
        let values: [&(dyn ToSql + Sync); 2] = [&amount, &id];
        let update = self.client.execute(&self.update, &values);
        let (begun, updated) = tokio::join!(begin, update);
        begun?;
        updated?;
        self.client.batch_execute(&prepare).await
    }

    async fn end(&self, how: &str, name: &str) -> Result<(), tokio_postgres::Error> {
        self.client
            .batch_execute(&format!("{how} PREPARED '{name}'"))
            .await
    }

    /// Undoes whatever became of the first half.
    async fn give_up(&self, prepared: bool, name: &str) -> Result<(), tokio_postgres::Error> {
        if prepared {
            self.end("ROLLBACK", name).await
        } else {
            self.client.batch_execute("ROLLBACK").await
        }
    }
}

impl Servers {
    async fn transfer(
        &self,
        pair: &[Connection; 2],
        chance: &mut Chance,
    ) -> Result<Fate, Box<dyn Error + Send + Sync>> {
        let name = format!(
            "t{}-{}",
            self.run,
            self.next.fetch_add(1, Ordering::Relaxed)
        );
        let amount = chance.between(1, AMOUNT_MINOR_MAX);
        let mut account = || i64::from(chance.below(self.accounts));
        let [one, other] = pair;
        let (first, second) = tokio::join!(
            one.prepare(account(), -amount, &name),
            other.prepare(account(), amount, &name)
        );
        if let Some(refused) = first.as_ref().err().or(second.as_ref().err()) {
            let code = refused.code().map(|code| code.code().to_owned());
            let known = code.filter(|it| it == LOCK_NOT_AVAILABLE || it == DEADLOCK_DETECTED);
            let Some(code) = known else {
                return Err(first.and(second).err().map_or("?".into(), Into::into));
            };
            one.give_up(first.is_ok(), &name).await?;
            other.give_up(second.is_ok(), &name).await?;
            return Ok(Fate::Conflict(code));
        }
        self.decisions.commit(&name).await?;
        let (first, second) = tokio::join!(one.end("COMMIT", &name), other.end("COMMIT", &name));
        first?;
        second?;
        Ok(Fate::Committed)
    }
}

impl Subject for Servers {
    type Error = Box<dyn Error + Send + Sync>;

    async fn attempt(&self, chance: &mut Chance) -> Result<Try, Self::Error> {
        let pair = self.idle.lock().await.pop();
        let pair = pair.ok_or("there is a pair of connections for each that is in flight")?;
        let fate = self.transfer(&pair, chance).await?;
        self.idle.lock().await.push(pair);
        Ok(Try {
            kind: "transfer",
            fate,
            effect: Effect::of(0),
        })
    }
}

async fn connect(server: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(server, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A table with an account in each row. One statement at a time: `VACUUM` wants no
/// transaction around it.
async fn fill(client: &Client, accounts: u32) -> Result<(), tokio_postgres::Error> {
    let insert = format!(
        "INSERT INTO account SELECT n, {OPENING_MINOR} FROM generate_series(0, {accounts} - 1) n"
    );
    for statement in [
        "DROP TABLE IF EXISTS account",
        "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)",
        &insert,
        "VACUUM ANALYZE account",
        "CHECKPOINT",
    ] {
        client.batch_execute(statement).await?;
    }
    Ok(())
}

async fn sum(client: &Client) -> Result<i64, tokio_postgres::Error> {
    let row = client
        .query_one("SELECT sum(balance)::bigint FROM account", &[])
        .await?;
    row.try_get(0)
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    let [first, second] = arguments.server.as_slice() else {
        return Err("want --server twice".into());
    };
    let (one, other) = (connect(first).await?, connect(second).await?);
    for client in [&one, &other] {
        fill(client, arguments.accounts).await?;
    }
    let mut idle = Vec::new();
    for _ in 0..arguments.in_flight {
        let mut pair = Vec::new();
        for server in [first, second] {
            let client = connect(server).await?;
            // As long as nemcon's banks wait for a lock.
            client.batch_execute("SET lock_timeout = '5s'").await?;
            let update = "UPDATE account SET balance = balance + $1 WHERE id = $2";
            let update = client.prepare(update).await?;
            pair.push(Connection { client, update });
        }
        idle.extend(<[Connection; 2]>::try_from(pair).ok());
    }
    let servers = Arc::new(Servers {
        accounts: arguments.accounts,
        idle: Mutex::new(idle),
        decisions: Decisions::open(&arguments.decisions)?,
        next: AtomicU64::new(0),
        run: std::process::id(),
    });
    let load = Load::InFlight(arguments.in_flight);
    let seconds = |count: u32| Duration::from_secs(count.into());
    let spans = Spans {
        warm_up: seconds(arguments.warm_up),
        measured: seconds(arguments.seconds),
    };
    let measured = measure(&servers, load, spans, 1, &Meter::default()).await?;
    let total = sum(&one).await? + sum(&other).await?;
    let opened = 2 * i64::from(arguments.accounts) * OPENING_MINOR;
    if total != opened {
        return Err(format!("the sum of all accounts was {opened} and is {total}").into());
    }
    let row = Row::new(load, "sql", None, &[measured]);
    let text = serde_json::to_string(&row)?;
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments = Arguments::parse();
    // One thread, as the client of nemcon has.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(&arguments))
}
