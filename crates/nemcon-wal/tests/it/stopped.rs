//! Logs on sled that are written and stopped, to be looked at or tampered with.

use std::fs;
use std::path::Path;

use nemcon_core::id::Lsn;
use nemcon_wal::{Log, LogEvent, OpenError, Opened, Options, SledLog};

use crate::support::{PATIENCE, Sink, deaf, events, records, value, wait_durable};

/// How many records [`write_log`] writes.
pub(crate) const RECORDS: u64 = 3_000;

/// Writes a log of [`RECORDS`] records, stopped cleanly.
pub(crate) fn write_log(dir: &Path) {
    append(dir, 1, RECORDS);
}

pub(crate) fn append(dir: &Path, first: u64, count: u64) {
    let (notify, events) = events();
    let (log, _) = SledLog::open(dir, Options::default(), &mut Sink::default(), notify).unwrap();
    let mut log = Box::new(log);
    for chunk in 0..count / 100 {
        log.append(records(first + chunk * 100, 100, 100));
        log.flush();
        wait_durable(&events, Lsn(first + chunk * 100 + 99));
    }
    log.close().unwrap();
}

pub(crate) fn reopen(dir: &Path) -> Result<(Opened, Sink), OpenError> {
    let mut sink = Sink::default();
    let (_, opened) = SledLog::open(dir, Options::default(), &mut sink, deaf())?;
    Ok((opened, sink))
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Appends a record, closes a checkpoint over it with a value, and stops.
pub(crate) fn checkpoint(dir: &Path, lsn: u64) {
    let (notify, events) = events();
    let (log, _) = SledLog::open(dir, Options::default(), &mut Sink::default(), notify).unwrap();
    let mut log = Box::new(log);
    log.append(records(lsn, 1, 100));
    log.begin_checkpoint();
    log.write_back(vec![value("alice", b"100", lsn)]);
    log.close_checkpoint();
    while !matches!(
        events.recv_timeout(PATIENCE).unwrap(),
        LogEvent::CheckpointClosed { .. }
    ) {}
    log.close().unwrap();
}
