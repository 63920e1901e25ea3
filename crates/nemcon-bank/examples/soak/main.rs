//! Years of use in minutes: passes millions of transactions through a node's
//! machine, log and driver, and watches what they leave behind.
//!
//! ```text
//!                 ┌──────────────── as in a node ────────────────┐
//!   a player ──▶  │ driver ──▶ machine ──▶ log on sled           │
//!            ◀──  │   └─ effects, each when its lane allows it   │
//!                 └──────────────────────────────────────────────┘
//! ```
//!
//! Everything is real but the network: the player is the other side, and answers
//! at once. So the log sees what it would see of a node under as much load as it
//! can take. Then a process of its own opens what is left, as after a stop.
//!
//! Usage: `soak bank|coordinator [--records N] [--dir DIRECTORY] [--even]`
//!
//! - `--records`: how many transactions pass; 5,000,000 unless given.
//! - `--dir`: where the data directory is made; a temporary one unless given.
//! - `--even`: all accounts are used alike; see `bank.rs` for what that costs.
//!
//! Ends with 1 if the node took more room or time than it may.

mod bank;
mod coordinator;
mod measure;
mod stage;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use measure::{Limits, Report};

/// The allocator of both nodes' programs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What the whole program fails with.
type Failure = Box<dyn Error + Send + Sync>;

/// What is asked for on the command line.
struct Wish {
    side: Side,
    records: u64,
    dir: Option<PathBuf>,
    even: bool,
    /// Only open what is there: how the program calls itself.
    reopen: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Bank,
    Coordinator,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Bank => "bank",
            Self::Coordinator => "coordinator",
        }
    }
}

fn wish() -> Result<Wish, Failure> {
    let mut words = std::env::args().skip(1);
    let side = match words.next().as_deref() {
        Some("bank") => Side::Bank,
        Some("coordinator") => Side::Coordinator,
        _ => {
            return Err(
                "usage: soak bank|coordinator [--records N] [--dir DIRECTORY] [--even]".into(),
            );
        }
    };
    let mut wish = Wish {
        side,
        records: 5_000_000,
        dir: None,
        even: false,
        reopen: false,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--records" => wish.records = value()?.parse()?,
            "--dir" => wish.dir = Some(value()?.into()),
            "--even" => wish.even = true,
            "--reopen" => wish.reopen = true,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(wish)
}

pub(crate) fn main() -> ExitCode {
    let started = Instant::now();
    let kept = wish().and_then(|wish| soak(&wish, started));
    match kept {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the node kept within its limits.
fn soak(wish: &Wish, started: Instant) -> Result<bool, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if wish.reopen {
        let dir = wish.dir.as_deref().ok_or("--reopen wants --dir")?;
        let found = runtime.block_on(async {
            match wish.side {
                Side::Bank => bank::reopen(dir, started).await,
                Side::Coordinator => coordinator::reopen(dir, started).await,
            }
        })?;
        measure::say(&found.to_line())?;
        return Ok(true);
    }
    let temporary = tempfile::tempdir()?;
    let dir = wish
        .dir
        .as_deref()
        .unwrap_or(temporary.path())
        .join(wish.side.name());
    let passed = runtime.block_on(async {
        match wish.side {
            Side::Bank => bank::run(&dir, wish.records, wish.even).await,
            Side::Coordinator => coordinator::run(&dir, wish.records).await,
        }
    })?;
    let report = Report {
        name: wish.side.name(),
        passed,
        peak_bytes: measure::peak_bytes()?,
        reopened: reopen(wish.side, &dir)?,
    };
    let limits = match wish.side {
        Side::Bank => Limits::default(),
        // It has a million outcomes to read.
        Side::Coordinator => Limits {
            reopen_ms: 500,
            ..Limits::default()
        },
    };
    report.print(&limits)
}

/// Opens what is left in a fresh process, with the files in the page cache.
fn reopen(side: Side, dir: &Path) -> Result<measure::Reopened, Failure> {
    let output = Command::new(std::env::current_exe()?)
        .args([side.name(), "--reopen", "--dir"])
        .arg(dir)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    measure::Reopened::from_line(&String::from_utf8(output.stdout)?)
}
