//! A process that writes to a log until it is killed, and notes what was
//! acknowledged to it. It is this test binary, started again.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nemcon_core::id::Lsn;
use nemcon_wal::{Durability, Log, LogEvent, Options, SledLog};

use crate::support::{PATIENCE, Sink, record, value};

const DIR: &str = "NEMCON_WAL_TEST_DIR";
const NOTES: &str = "NEMCON_WAL_TEST_NOTES";
const FLUSH_ONLY: &str = "NEMCON_WAL_TEST_FLUSH_ONLY";

/// How long the record with this LSN is: mostly small, sometimes more than a
/// page, rarely so large that sled puts it into a file of its own.
pub(crate) fn record_bytes(lsn: u64) -> usize {
    match lsn % 97 {
        13 | 57 => 9_000,
        71 if lsn.is_multiple_of(3) => 150_000,
        n => 50 + n as usize,
    }
}

/// Not a test of its own: what the started process runs.
#[test]
fn writer_process() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let notes = std::env::var_os(NOTES).expect("a file for the notes");
    let notes = fs::OpenOptions::new().append(true).open(notes).unwrap();
    let durability = match std::env::var_os(FLUSH_ONLY) {
        Some(_) => Durability::FlushOnly,
        None => Durability::Synced,
    };
    write_until_killed(Path::new(&dir), notes, durability);
}

/// Appends batches of changing size, a few in flight, a checkpoint now and then.
fn write_until_killed(dir: &Path, mut notes: File, durability: Durability) {
    let (events, received) = std::sync::mpsc::channel();
    let notify = Box::new(move |event| {
        if let LogEvent::Durable(Lsn(lsn)) = event {
            // One write, so that a kill leaves whole lines. On another file
            // system than the log: this is what the client has seen.
            notes.write_all(format!("{lsn}\n").as_bytes()).unwrap();
        }
        events.send(event).unwrap();
    });
    let options = Options {
        durability,
        ..Options::default()
    };
    let (mut log, opened) = SledLog::open(dir, options, &mut Sink::default(), notify).unwrap();
    let (mut next, mut durable) = (opened.next_lsn.0, 0);
    let mut in_flight = VecDeque::new();
    for batch in 0.. {
        let count = [1, 1, 2, 5, 30][batch % 5];
        let records = (next..next + count).map(|lsn| (Lsn(lsn), record(lsn, record_bytes(lsn))));
        log.append(records.collect());
        next += count;
        if batch % 40 == 39 {
            log.begin_checkpoint();
            let key = format!("key {}", batch % 400);
            log.write_back(vec![value(&key, &[3; 2_000], next - 1)]);
            log.close_checkpoint();
        }
        log.flush();
        in_flight.push_back(next - 1);
        let awaited = if in_flight.len() > 3 {
            in_flight.pop_front()
        } else {
            None
        };
        while awaited.is_some_and(|lsn| durable < lsn) {
            match received.recv_timeout(PATIENCE).unwrap() {
                LogEvent::Durable(lsn) => durable = lsn.0,
                LogEvent::Failed(error) => panic!("{error}"),
                LogEvent::Flushed { .. }
                | LogEvent::CheckpointClosed { .. }
                | LogEvent::CaughtUp
                | LogEvent::Room(_) => {}
            }
        }
    }
}

/// A writing process, and what it has noted.
pub(crate) struct Writer {
    child: Child,
    notes: PathBuf,
}

impl Writer {
    /// Starts one on the log in `dir`; `notes` must outlive whatever happens to
    /// the log.
    pub(crate) fn start(dir: &Path, notes: &Path, durability: Durability) -> Self {
        File::create(notes).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "writer_process::writer_process", "--nocapture"])
            .env(DIR, dir)
            .env(NOTES, notes)
            .stdout(Stdio::null());
        if durability == Durability::FlushOnly {
            command.env(FLUSH_ONLY, "1");
        }
        Self {
            child: command.spawn().unwrap(),
            notes: notes.to_owned(),
        }
    }

    /// Waits until so much has been acknowledged.
    pub(crate) fn wait_acknowledged(&mut self, lsn: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.acknowledged() < lsn {
            assert!(Instant::now() < deadline, "too slow");
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "the writer has ended"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The last record that was acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        let notes = fs::read_to_string(&self.notes).unwrap();
        notes
            .lines()
            .map(|line| line.parse().unwrap())
            .max()
            .unwrap_or(0)
    }

    /// Stops it where it stands, as a crash of the whole machine would. Returns
    /// once none of its threads runs any more.
    pub(crate) fn freeze(&self) {
        let pid = self.child.id();
        let status = Command::new("kill")
            .args(["-STOP", &pid.to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        let deadline = Instant::now() + PATIENCE;
        while !all_stopped(pid) {
            assert!(Instant::now() < deadline, "it does not stop");
            std::thread::yield_now();
        }
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the kernel shows every thread of a process as stopped.
fn all_stopped(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.flatten().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}
