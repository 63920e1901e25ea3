//! A disk that is slow, or fails at one step: the log stops at once, and all it
//! has said stays true.

use std::path::Path;
use std::time::{Duration, Instant};

use nemcon_core::id::Lsn;
use nemcon_wal::faults::{Failure, Faults, Step};
use nemcon_wal::{Log, LogEvent, OpenError, Options, SledLog};

use crate::support::{PATIENCE, Sink, deaf, events, record, records, value, wait_durable};

const BATCHES: u64 = 40;
const RECORDS: u64 = 20;
const RECORD_BYTES: usize = 100;

/// What came of writing to a log.
struct Written {
    /// The last record that was said to be durable.
    durable: u64,
    /// Whether the log failed, or was not even opened.
    failed: bool,
}

/// Writes batches with a checkpoint now and then, until the log fails.
fn write(dir: &Path, faults: &Faults) -> Written {
    let options = Options {
        // The mark is synced with every flush, so that this can fail too.
        mark_sync_every: Duration::ZERO,
        faults: faults.clone(),
        ..Options::default()
    };
    let (notify, events) = events();
    let (mut log, _) = match SledLog::open(dir, options, &mut Sink::default(), notify) {
        Ok(opened) => opened,
        Err(OpenError::Write(_)) => {
            return Written {
                durable: 0,
                failed: true,
            };
        }
        Err(error) => panic!("{error}"),
    };
    let mut durable = 0;
    for batch in 0..BATCHES {
        let first = 1 + batch * RECORDS;
        let last = first + RECORDS - 1;
        log.append(records(first, RECORDS, RECORD_BYTES));
        if batch % 8 == 7 {
            log.begin_checkpoint();
            log.write_back(vec![value(&format!("key {batch}"), b"value", last)]);
            log.close_checkpoint();
        }
        log.flush();
        while durable < last {
            match events.recv_timeout(PATIENCE).unwrap() {
                LogEvent::Durable(lsn) => durable = lsn.0,
                LogEvent::Failed(_) => {
                    // Whatever is asked of it from now on, it says nothing.
                    log.append(records(last + 1, RECORDS, RECORD_BYTES));
                    log.flush();
                    drop(log);
                    assert!(events.recv().is_err(), "it has spoken again");
                    return Written {
                        durable,
                        failed: true,
                    };
                }
                LogEvent::Flushed { .. }
                | LogEvent::CheckpointClosed { .. }
                | LogEvent::CaughtUp
                | LogEvent::Room(_) => {}
            }
        }
    }
    let closed = Box::new(log).close();
    Written {
        durable,
        failed: closed.is_err(),
    }
}

#[test]
fn whatever_fails_all_that_was_said_is_kept_and_nothing_is_tried_again() {
    for step in [
        Step::WritePage,
        Step::RemovePages,
        Step::WriteValue,
        Step::WriteExtent,
        Step::SyncValues,
        Step::Sync,
        Step::WriteMark,
        Step::SyncMark,
    ] {
        for (after, done) in [(0, false), (0, true), (1, false), (3, true), (4, false)] {
            let temp = tempfile::tempdir().unwrap();
            let what = format!("{step:?} after {after}, done: {done}");
            let faults = Faults::default();
            faults.fail(Failure { step, after, done });
            let Written { durable, failed } = write(temp.path(), &faults);
            assert!(failed && faults.has_failed(), "{what}: it came to nothing");
            assert_eq!(faults.steps_since_failure(), 0, "{what}: tried again");
            let mut sink = Sink::default();
            let (_, opened) =
                SledLog::open(temp.path(), Options::default(), &mut sink, deaf()).unwrap();
            assert!(
                opened.next_lsn > Lsn(durable),
                "{what}: {opened:?}, {durable}"
            );
            for (lsn, bytes) in sink.records {
                assert_eq!(bytes, record(lsn.0, RECORD_BYTES), "{what}");
            }
        }
    }
}

#[test]
fn a_slow_flush_is_slow_for_everybody_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let options = Options::default();
    let faults = options.faults.clone();
    let (notify, events) = events();
    let (mut log, _) = SledLog::open(temp.path(), options, &mut Sink::default(), notify).unwrap();
    let delay = Duration::from_millis(30);
    faults.slow_flushes(delay);
    let began = Instant::now();
    log.append(records(1, 1, 100));
    log.flush();
    // These come while the first flush is under way, and share the second.
    for lsn in 2..=100 {
        log.append(records(lsn, 1, 100));
        log.flush();
    }
    wait_durable(&events, Lsn(100));
    let took = began.elapsed();
    assert!(took >= delay, "{took:?}");
    assert!(
        took < delay * 10,
        "{took:?}: a hundred flushes, not two or three"
    );
}
