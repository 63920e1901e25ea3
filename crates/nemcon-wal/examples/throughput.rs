//! Durable records per second with 1, 64 and 1,024 writers, each of whom waits
//! for its record before it sends the next.
//!
//! ```text
//! cargo run --release -p nemcon-wal --example throughput -- [DIRECTORY]
//! ```
//!
//! The directory decides what is measured: it should be on the disk in
//! question, not on a file system in memory.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nemcon_core::codec::CorruptLog;
use nemcon_core::id::Lsn;
use nemcon_core::machine::Stored;
use nemcon_wal::{Log, LogEvent, Options, Recovery, SledLog};

const RECORD_BYTES: usize = 100;
const MEASURED: Duration = Duration::from_secs(3);

struct Ignore;

impl Recovery for Ignore {
    fn stored(&mut self, _: Stored) -> Result<(), CorruptLog> {
        Ok(())
    }

    fn record(&mut self, _: Lsn, _: &[u8]) -> Result<(), CorruptLog> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parent = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    for writers in [1, 64, 1_024] {
        let dir = parent.join(format!("nemcon-throughput-{}", std::process::id()));
        let line = measure(&dir, writers);
        std::fs::remove_dir_all(&dir)?;
        writeln!(std::io::stdout(), "{}", line?)?;
    }
    Ok(())
}

/// As a node's driver would: whoever was answered sends again, all at once.
fn measure(dir: &std::path::Path, writers: u64) -> Result<String, Box<dyn std::error::Error>> {
    let (events, received) = channel();
    let notify = Box::new(move |event| drop(events.send(event)));
    let (log, _) = SledLog::open(dir, Options::default(), &mut Ignore, notify)?;
    let mut log = Box::new(log);
    let (mut appended, mut durable, mut flushes) = (0, 0, 0u64);
    let begun = Instant::now();
    while begun.elapsed() < MEASURED {
        let until = durable + writers;
        if until > appended {
            let lsns = appended + 1..=until;
            log.append(lsns.map(|lsn| (Lsn(lsn), vec![7; RECORD_BYTES])).collect());
            appended = until;
            log.flush();
        }
        match received.recv()? {
            LogEvent::Durable(lsn) => durable = lsn.0,
            LogEvent::Flushed { .. } => flushes += 1,
            LogEvent::Failed(error) => return Err(error.into()),
            LogEvent::CheckpointClosed { .. } => {}
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    log.close()?;
    Ok(format!(
        "{writers:>5} writers: {:>8.0} records/s, {:>6.0} flushes/s, {:>6.1} records/flush",
        durable as f64 / seconds,
        flushes as f64 / seconds,
        durable as f64 / flushes.max(1) as f64,
    ))
}
