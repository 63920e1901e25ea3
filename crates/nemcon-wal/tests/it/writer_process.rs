//! A process that writes to a log until it is killed, and notes what was
//! acknowledged to it. It is this test binary, started again.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nemcon_core::id::Lsn;
use nemcon_core::machine::Stored;
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

/// How many keys the data has. Each record changes one.
pub(crate) const KEYS: u64 = 3_000;

/// Values written back at once.
const PIECE: usize = 512;

fn key_of(lsn: u64) -> String {
    format!("key {}", lsn % KEYS)
}

/// What a record makes of its key: 1 to 4 KB.
fn value_of(lsn: u64) -> Vec<u8> {
    record(lsn, 1_000 + (lsn % KEYS * 37 % 3_000) as usize)
}

/// Whether what a start was given is the state after record `last`, all of it.
pub(crate) fn check(sink: &Sink, last: u64) -> Result<(), String> {
    let mut state = BTreeMap::new();
    for (key, (lsn, bytes)) in &sink.values {
        let key = String::from_utf8_lossy(key).into_owned();
        if key != key_of(lsn.0) || *bytes != value_of(lsn.0) {
            return Err(format!("{key} is not as record {lsn} has left it"));
        }
        state.insert(key, lsn.0);
    }
    for (lsn, bytes) in &sink.records {
        if *bytes != record(lsn.0, record_bytes(lsn.0)) {
            return Err(format!("record {lsn} is another"));
        }
        state
            .entry(key_of(lsn.0))
            .and_modify(|newest| *newest = lsn.0.max(*newest))
            .or_insert(lsn.0);
    }
    let expected: BTreeMap<_, _> = (last.saturating_sub(KEYS) + 1..=last)
        .map(|lsn| (key_of(lsn), lsn))
        .collect();
    let Some((key, lsn)) = expected
        .iter()
        .find(|(key, lsn)| state.get(*key) != Some(*lsn))
    else {
        return Ok(());
    };
    let found = state.get(key);
    Err(format!(
        "{key} was changed by record {lsn} and is as of {found:?}"
    ))
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

/// A log, and what has changed in the data since the last checkpoint.
struct Writing {
    log: SledLog,
    next: u64,
    changed: BTreeMap<String, u64>,
}

impl Writing {
    fn append(&mut self, count: u64) {
        let lsns = self.next..self.next + count;
        let records = lsns.clone();
        let records = records.map(|lsn| (Lsn(lsn), record(lsn, record_bytes(lsn))));
        self.log.append(records.collect());
        self.changed.extend(lsns.map(|lsn| (key_of(lsn), lsn)));
        self.next += count;
    }

    fn checkpoint(&mut self) {
        self.log.begin_checkpoint();
        let changed: Vec<Stored> = std::mem::take(&mut self.changed)
            .into_iter()
            .map(|(key, lsn)| value(&key, &value_of(lsn), lsn))
            .collect();
        for piece in changed.chunks(PIECE) {
            self.log.write_back(piece.to_vec());
        }
        self.log.close_checkpoint();
    }
}

/// Appends batches of changing size, a few in flight, a checkpoint now and then.
/// In a new log each key gets a value first.
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
    let mut sink = Sink::default();
    let (log, opened) = SledLog::open(dir, options, &mut sink, notify).unwrap();
    let replayed = sink.records.iter().map(|(lsn, _)| (key_of(lsn.0), lsn.0));
    let mut writing = Writing {
        log,
        next: opened.next_lsn.0,
        changed: replayed.collect(),
    };
    if opened.fresh {
        writing.append(KEYS);
        writing.checkpoint();
    }
    let mut durable = 0;
    let mut in_flight = VecDeque::new();
    for batch in 0.. {
        writing.append([1, 1, 2, 5, 30][batch % 5]);
        if batch % 40 == 39 {
            writing.checkpoint();
        }
        writing.log.flush();
        in_flight.push_back(writing.next - 1);
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
