//! Room and time: what is measured, and what may come of it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Failure;

/// How often one looks at the data directory.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What a node may take.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Of its data directory, at any time, without the ballast.
    pub(crate) disk_bytes: u64,
    /// Of memory, resident, at most.
    pub(crate) memory_bytes: u64,
    /// From the start of the process until it serves, with the files in memory.
    pub(crate) reopen_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            disk_bytes: 150_000_000,
            memory_bytes: 150_000_000,
            reopen_ms: 1_000,
        }
    }
}

/// What came of a run.
#[derive(Clone, Copy)]
pub(crate) struct Passed {
    pub(crate) transactions: u64,
    pub(crate) took: Duration,
    pub(crate) disk_bytes: u64,
    pub(crate) disk_bytes_max: u64,
}

/// What a fresh process found.
#[derive(Clone, Copy)]
pub(crate) struct Reopened {
    pub(crate) ms: u64,
    pub(crate) peak_bytes: u64,
    /// What the node remembers or guards.
    pub(crate) live: u64,
}

impl Reopened {
    pub(crate) fn to_line(self) -> String {
        format!("{} {} {}", self.ms, self.peak_bytes, self.live)
    }

    pub(crate) fn from_line(line: &str) -> Result<Self, Failure> {
        let numbers: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        match numbers?.as_slice() {
            &[ms, peak_bytes, live] => Ok(Self {
                ms,
                peak_bytes,
                live,
            }),
            other => Err(format!("expected three numbers, not {other:?}").into()),
        }
    }
}

/// All of it.
pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) passed: Passed,
    pub(crate) peak_bytes: u64,
    pub(crate) reopened: Reopened,
}

impl Report {
    /// Prints the table; whether everything kept within its limits.
    pub(crate) fn print(&self, limits: &Limits) -> Result<bool, Failure> {
        let Self {
            name,
            passed,
            peak_bytes,
            reopened,
        } = self;
        let per_second = passed.transactions as f64 / passed.took.as_secs_f64();
        say(&format!("{name:<20} {:>13}", ""))?;
        say(&format!(
            "  {:<18} {:>13}",
            "transactions", passed.transactions
        ))?;
        say(&format!("  {:<18} {per_second:>13.0}", "per second"))?;
        say(&format!(
            "  {:<18} {:>13}",
            "live at the end", reopened.live
        ))?;
        let mut kept = true;
        for (what, found, limit, unit) in [
            (
                "disk, at the end",
                passed.disk_bytes,
                limits.disk_bytes,
                "B",
            ),
            (
                "disk, at most",
                passed.disk_bytes_max,
                limits.disk_bytes,
                "B",
            ),
            ("memory, at most", *peak_bytes, limits.memory_bytes, "B"),
            ("reopened in", reopened.ms, limits.reopen_ms, "ms"),
            (
                "memory, reopened",
                reopened.peak_bytes,
                limits.memory_bytes,
                "B",
            ),
        ] {
            let verdict = if found <= limit { "" } else { "  TOO MUCH" };
            kept &= found <= limit;
            say(&format!(
                "  {what:<18} {found:>13} {unit:<2}  of {limit:>11}{verdict}"
            ))?;
        }
        Ok(kept)
    }
}

/// A line for people, or for the process that called this one.
pub(crate) fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// The most memory this process has had, as Linux counts it.
pub(crate) fn peak_bytes() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or("no VmHWM in /proc/self/status")?.parse::<u64>()? * 1_024)
}

/// Bytes that a data directory takes on the disk, but for its ballast, which
/// only keeps them for others.
fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(it) if it.is_dir() => disk_bytes(&entry.path()),
        Ok(it) if entry.file_name() != "ballast" => it.blocks() * 512,
        // Files come and go.
        Ok(_) | Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

/// Watches a data directory from a thread of its own.
pub(crate) struct Watch {
    dir: PathBuf,
    started: Instant,
    /// Transactions that have ended; the player counts them here.
    pub(crate) ended: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    watcher: JoinHandle<u64>,
}

impl Watch {
    pub(crate) fn start(dir: &Path) -> Self {
        let (ended, over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let watcher = thread::spawn({
            let (dir, ended, over) = (dir.to_owned(), Arc::clone(&ended), Arc::clone(&over));
            move || {
                let (mut most, mut told) = (0, Instant::now());
                while !over.load(Ordering::Relaxed) {
                    thread::sleep(LOOK_EVERY);
                    let now = disk_bytes(&dir);
                    most = most.max(now);
                    if told.elapsed() >= TELL_EVERY {
                        told = Instant::now();
                        eprintln!(
                            "{:>9} transactions, disk {:>4} MB, memory at most {:>4} MB",
                            ended.load(Ordering::Relaxed),
                            now / 1_000_000,
                            peak_bytes().unwrap_or_default() / 1_000_000,
                        );
                    }
                }
                most
            }
        });
        Self {
            dir: dir.to_owned(),
            started: Instant::now(),
            ended,
            over,
            watcher,
        }
    }

    /// What there was to see. To be called once the log is closed.
    pub(crate) fn stop(self) -> Result<Passed, Failure> {
        let took = self.started.elapsed();
        self.over.store(true, Ordering::Relaxed);
        let most = self.watcher.join().map_err(|_| "the watcher panicked")?;
        let disk_bytes = disk_bytes(&self.dir);
        Ok(Passed {
            transactions: self.ended.load(Ordering::Relaxed),
            took,
            disk_bytes,
            disk_bytes_max: most.max(disk_bytes),
        })
    }
}
