//! The log on sled, while all goes well.

use std::fs;
use std::path::Path;
use std::sync::mpsc::Receiver;

use nemcon_core::id::Lsn;
use nemcon_wal::mark::Mark;
use nemcon_wal::{Log, LogError, LogEvent, OpenError, Opened, Options, SledLog};

use crate::support::{PATIENCE, Sink, deaf, events, record, records, value, wait_durable};

fn open(dir: &Path) -> (Box<SledLog>, Opened, Sink, Receiver<LogEvent>) {
    let (notify, events) = events();
    let mut sink = Sink::default();
    let (log, opened) = SledLog::open(dir, Options::default(), &mut sink, notify).unwrap();
    (Box::new(log), opened, sink, events)
}

fn large_values(dir: &Path) -> usize {
    fs::read_dir(dir.join("sled/blobs")).unwrap().count()
}

#[test]
fn records_and_values_come_back_after_a_clean_stop() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data/log");
    let (mut log, opened, _, events) = open(&dir);
    assert!(opened.fresh);
    assert_eq!(opened.next_lsn, Lsn(1));
    log.append(records(1, 1000, 100));
    log.flush();
    wait_durable(&events, Lsn(1000));
    log.write_back(vec![value("alice", b"100", 1000), value("bob", b"7", 3)]);
    log.close().unwrap();

    let (log, opened, sink, _) = open(&dir);
    assert!(opened.clean && !opened.fresh);
    assert_eq!(
        (opened.next_lsn, opened.records, opened.values),
        (Lsn(1001), 1000, 2)
    );
    assert_eq!(sink.records, records(1, 1000, 100));
    assert_eq!(sink.values[&b"alice"[..]], (Lsn(1000), b"100".to_vec()));
    drop(log);
}

#[test]
fn a_log_that_was_only_dropped_is_whole_but_not_clean() {
    let temp = tempfile::tempdir().unwrap();
    let (mut log, _, _, events) = open(temp.path());
    log.append(records(1, 5, 10));
    log.flush();
    wait_durable(&events, Lsn(5));
    drop(log);
    let (_, opened, sink, _) = open(temp.path());
    assert!(!opened.clean);
    assert_eq!(sink.records, records(1, 5, 10));
}

#[test]
fn the_mark_says_what_is_durable_before_the_log_does() {
    let temp = tempfile::tempdir().unwrap();
    let (mut log, _, _, events) = open(temp.path());
    for lsn in 1..=20 {
        log.append(records(lsn, 1, 50));
        log.flush();
        wait_durable(&events, Lsn(lsn));
        let mark = Mark::read(&fs::read(temp.path().join("mark")).unwrap()).unwrap();
        assert_eq!((mark.lsn, mark.clean), (Lsn(lsn), false));
    }
    log.close().unwrap();
    let mark = Mark::read(&fs::read(temp.path().join("mark")).unwrap()).unwrap();
    assert_eq!((mark.lsn, mark.clean), (Lsn(20), true));
}

#[test]
fn a_checkpoint_removes_what_it_replaces() {
    let temp = tempfile::tempdir().unwrap();
    let (mut log, _, _, events) = open(temp.path());
    log.append(records(1, 20_000, 100));
    log.flush();
    wait_durable(&events, Lsn(20_000));
    log.begin_checkpoint();
    log.append(records(20_001, 10, 100));
    log.write_back(
        (0..500)
            .map(|n| value(&format!("key {n}"), &[7; 50], 20_000))
            .collect(),
    );
    log.close_checkpoint();
    let removed = loop {
        match events.recv_timeout(PATIENCE).unwrap() {
            LogEvent::CheckpointClosed { removed_pages, .. } => break removed_pages,
            LogEvent::Failed(error) => panic!("{error}"),
            _ => {}
        }
    };
    assert!(removed > 300, "{removed}");
    // Life goes on behind it.
    log.append(records(20_011, 5, 100));
    log.close().unwrap();

    let (_, opened, sink, _) = open(temp.path());
    assert!(opened.pages <= 3, "{opened:?}");
    assert_eq!(sink.values.len(), 500);
    assert_eq!(sink.records, records(20_001, 15, 100));
}

#[test]
fn a_removal_that_was_cut_short_is_harmless() {
    let temp = tempfile::tempdir().unwrap();
    let (mut log, _, _, events) = open(temp.path());
    log.append(records(1, 20_000, 100));
    log.begin_checkpoint();
    log.close_checkpoint();
    log.append(records(20_001, 1, 100));
    log.flush();
    wait_durable(&events, Lsn(20_001));
    // Most likely while pages are being removed.
    drop(log);
    let (mut log, opened, sink, events) = open(temp.path());
    assert_eq!(sink.records, records(20_001, 1, 100), "{opened:?}");
    log.begin_checkpoint();
    log.close_checkpoint();
    log.flush();
    wait_durable(&events, Lsn(20_001));
    log.close().unwrap();
}

#[test]
fn full_pages_stay_in_the_main_file() {
    let temp = tempfile::tempdir().unwrap();
    let (mut log, _, _, events) = open(temp.path());
    for batch in 0..100 {
        log.append(records(batch * 100 + 1, 100, 500));
        log.flush();
        wait_durable(&events, Lsn(batch * 100 + 100));
        assert_eq!(large_values(temp.path()), 0);
    }
}

#[test]
fn large_records_and_values_come_back() {
    let temp = tempfile::tempdir().unwrap();
    let (mut log, _, _, events) = open(temp.path());
    let mut sizes = Vec::new();
    for (lsn, len) in (1..).zip([10, 9_000, 200_000, 10, 3 << 20, 100_000, 10]) {
        log.append(vec![(Lsn(lsn), record(lsn, len))]);
        sizes.push(len);
    }
    log.flush();
    wait_durable(&events, Lsn(7));
    log.write_back(vec![value("large", &[1; 300_000], 5)]);
    log.flush();
    log.close().unwrap();
    assert!(large_values(temp.path()) > 0);

    let (_, _, sink, _) = open(temp.path());
    let expected: Vec<_> = (1..)
        .zip(sizes)
        .map(|(lsn, len)| (Lsn(lsn), record(lsn, len)))
        .collect();
    assert!(sink.records == expected);
    assert_eq!(sink.values[&b"large"[..]].1.len(), 300_000);
}

#[test]
fn a_full_queue_makes_the_caller_wait_and_loses_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let options = Options {
        queue_bytes_max: 2_000,
        ..Options::default()
    };
    let (notify, events) = events();
    let (mut log, _) = SledLog::open(temp.path(), options, &mut Sink::default(), notify).unwrap();
    for lsn in 1..=2_000 {
        log.append(records(lsn, 1, 100));
    }
    log.flush();
    wait_durable(&events, Lsn(2_000));
}

#[test]
fn two_logs_cannot_share_a_directory() {
    let temp = tempfile::tempdir().unwrap();
    let (log, ..) = open(temp.path());
    let again = SledLog::open(
        temp.path(),
        Options::default(),
        &mut Sink::default(),
        deaf(),
    );
    let error = again.err().expect("refused");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    drop(log);
    open(temp.path());
}

#[test]
fn a_failed_log_says_so_once_and_ignores_the_rest() {
    let temp = tempfile::tempdir().unwrap();
    let (mut log, _, _, events) = open(temp.path());
    log.append(records(1, 1, 10));
    log.write_back(vec![value("alice", b"1", 2)]);
    let failed = events.recv_timeout(PATIENCE).unwrap();
    assert!(
        matches!(
            failed,
            LogEvent::Failed(LogError::WriteBackAhead { lsn: Lsn(2), .. })
        ),
        "{failed:?}"
    );
    log.append(records(2, 1, 10));
    log.flush();
    assert!(matches!(log.close(), Err(LogError::WriteBackAhead { .. })));
    assert!(events.recv_timeout(PATIENCE).is_err(), "nothing follows");
}
