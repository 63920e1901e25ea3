//! Logs on sled that lost something or were tampered with: refused with a
//! reason, never opened short, never a panic.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nemcon_core::id::Lsn;
use nemcon_wal::{Log, LogEvent, OpenError, Opened, Options, Reader, SledLog};

use crate::support::{PATIENCE, Sink, deaf, events, records, value, wait_durable};

const RECORDS: u64 = 3_000;

/// Writes a log of [`RECORDS`] records, stopped cleanly.
fn write_log(dir: &Path) {
    append(dir, 1, RECORDS);
}

fn append(dir: &Path, first: u64, count: u64) {
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

fn reopen(dir: &Path) -> Result<(Opened, Sink), OpenError> {
    let mut sink = Sink::default();
    let (_, opened) = SledLog::open(dir, Options::default(), &mut sink, deaf())?;
    Ok((opened, sink))
}

fn copy(from: &Path, to: &Path) {
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

#[test]
fn a_database_set_back_to_an_earlier_time_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    write_log(&dir);
    let earlier = temp.path().join("earlier");
    copy(&dir.join("sled"), &earlier);
    append(&dir, RECORDS + 1, 100);
    fs::remove_dir_all(dir.join("sled")).unwrap();
    copy(&earlier, &dir.join("sled"));
    let error = reopen(&dir).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::LostTail {
                expected: Lsn(3_100),
                found: Lsn(3_000),
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains(&dir.display().to_string()),
        "{error}"
    );
}

#[test]
fn a_deleted_database_is_refused() {
    for database in ["sled", "data"] {
        let temp = tempfile::tempdir().unwrap();
        write_log(temp.path());
        let database = temp.path().join(database);
        fs::remove_dir_all(&database).unwrap();
        let error = reopen(temp.path()).unwrap_err();
        assert!(
            matches!(&error, OpenError::NoDatabase { path } if *path == database),
            "{error}"
        );
        // An empty one in its place is no better.
        fs::create_dir(&database).unwrap();
        assert!(reopen(temp.path()).is_err());
    }
}

/// Appends a record, closes a checkpoint over it with a value, and stops.
fn checkpoint(dir: &Path, lsn: u64) {
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

#[test]
fn data_set_back_to_before_the_checkpoint_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    write_log(&dir);
    checkpoint(&dir, RECORDS + 1);
    let earlier = temp.path().join("earlier");
    copy(&dir.join("data"), &earlier);
    append(&dir, RECORDS + 2, 100);
    let put_back = || {
        fs::remove_dir_all(dir.join("data")).unwrap();
        copy(&earlier, &dir.join("data"));
    };
    // The log has all that came since.
    put_back();
    reopen(&dir).unwrap();
    checkpoint(&dir, RECORDS + 102);
    put_back();
    let error = reopen(&dir).unwrap_err();
    assert!(matches!(error, OpenError::StaleData { .. }), "{error}");
}

/// Makes of a log what a program of format 1 has left: one database for both.
fn downgrade(dir: &Path) {
    let open = |name: &str| sled::Config::new().path(dir.join(name)).open().unwrap();
    let (pages, data) = (open("sled"), open("data"));
    let (from, to) = (
        data.open_tree("data").unwrap(),
        pages.open_tree("data").unwrap(),
    );
    for entry in from.iter() {
        let (key, value) = entry.unwrap();
        to.insert(key, value).unwrap();
    }
    pages.flush().unwrap();
    drop((from, to, pages, data));
    fs::remove_dir_all(dir.join("data")).unwrap();
    fs::write(dir.join("format"), "nemcon-log 1\n").unwrap();
}

/// A log of format 1 with a closed checkpoint, and a value that is newer.
fn write_older_log(dir: &Path) {
    write_log(dir);
    checkpoint(dir, RECORDS + 1);
    let (notify, events) = events();
    let (log, _) = SledLog::open(dir, Options::default(), &mut Sink::default(), notify).unwrap();
    let mut log = Box::new(log);
    log.append(records(RECORDS + 2, 1, 100));
    log.write_back(vec![value("bob", b"7", RECORDS + 2)]);
    log.flush();
    wait_durable(&events, Lsn(RECORDS + 2));
    log.close().unwrap();
    downgrade(dir);
}

/// What a start finds in such a log.
fn assert_whole(sink: &Sink) {
    let keys: Vec<_> = sink.values.keys().map(Vec::as_slice).collect();
    assert_eq!(keys, [b"alice".as_slice(), b"bob"]);
    assert_eq!(sink.records, records(RECORDS + 2, 1, 100));
}

#[test]
fn a_log_of_format_1_is_read_and_upgraded() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    write_older_log(dir);
    // It can be looked at, and stays as it is.
    let scratch = tempfile::tempdir().unwrap();
    let mut sink = Sink::default();
    let reader = Reader::open(dir, scratch.path()).unwrap();
    reader.check(&mut sink).unwrap();
    assert_whole(&sink);
    drop(reader);
    assert!(!dir.join("data").exists());
    assert_eq!(
        fs::read_to_string(dir.join("format")).unwrap(),
        "nemcon-log 1\n"
    );

    for _ in 0..2 {
        assert_whole(&reopen(dir).unwrap().1);
        assert_eq!(
            fs::read_to_string(dir.join("format")).unwrap(),
            "nemcon-log 2\n"
        );
    }
    let pages = sled::Config::new().path(dir.join("sled")).open().unwrap();
    assert!(!pages.tree_names().iter().any(|name| name == b"data"));
}

/// Before the format is written the values are copied anew; after it the old ones are
/// only in the way.
#[test]
fn an_upgrade_that_was_cut_short_is_begun_again_or_ended() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    write_older_log(dir);
    let old = temp.path().join("old");
    copy(&dir.join("sled"), &old);
    fs::create_dir(dir.join("data")).unwrap();
    fs::write(dir.join("data/conf"), "half").unwrap();
    assert_whole(&reopen(dir).unwrap().1);
    // The format is written, and the old tree is still there.
    fs::remove_dir_all(dir.join("sled")).unwrap();
    copy(&old, &dir.join("sled"));
    assert_whole(&reopen(dir).unwrap().1);
}

/// As when the file `format` is put back from a copy made before the upgrade.
#[test]
fn a_format_from_before_the_upgrade_takes_no_data_away() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    write_older_log(dir);
    assert_whole(&reopen(dir).unwrap().1);
    fs::write(dir.join("format"), "nemcon-log 1\n").unwrap();
    let error = reopen(dir).unwrap_err();
    assert!(matches!(error, OpenError::StaleFormat { .. }), "{error}");
    fs::write(dir.join("format"), "nemcon-log 2\n").unwrap();
    assert_whole(&reopen(dir).unwrap().1);
}

#[test]
fn damage_to_a_log_of_format_1_is_no_upgrade() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    write_older_log(dir);
    let db = OpenOptions::new()
        .write(true)
        .open(dir.join("sled/db"))
        .unwrap();
    db.set_len(600_000).unwrap();
    drop(db);
    assert!(reopen(dir).is_err());
    assert_eq!(
        fs::read_to_string(dir.join("format")).unwrap(),
        "nemcon-log 1\n"
    );
}

#[test]
fn a_truncated_database_is_refused_wherever_it_was_cut() {
    let temp = tempfile::tempdir().unwrap();
    let whole = temp.path().join("whole");
    write_log(&whole);
    let len = fs::metadata(whole.join("sled/db")).unwrap().len();
    for eighth in 0..8 {
        let dir = temp.path().join(format!("cut-{eighth}"));
        copy(&whole, &dir);
        let db = OpenOptions::new()
            .write(true)
            .open(dir.join("sled/db"))
            .unwrap();
        // The last records end somewhere within the file, whose last segment
        // may be empty: cut in front of them.
        db.set_len((len / 2) * eighth / 8).unwrap();
        let error = reopen(&dir).unwrap_err();
        assert!(
            matches!(
                error,
                OpenError::LostTail { .. } | OpenError::Damaged { .. }
            ),
            "cut to {eighth}/16: {error}"
        );
    }
}

#[test]
fn flipped_bytes_are_refused_or_harmless_but_never_believed() {
    let temp = tempfile::tempdir().unwrap();
    let whole = temp.path().join("whole");
    write_log(&whole);
    let len = fs::metadata(whole.join("sled/db")).unwrap().len();
    let mut refused = 0;
    for round in 0..24 {
        let dir = temp.path().join(format!("hit-{round}"));
        copy(&whole, &dir);
        let db = OpenOptions::new()
            .read(true)
            .write(true)
            .open(dir.join("sled/db"))
            .unwrap();
        let at = len * round / 24 + 1_000 + round;
        let mut bytes = [0; 16];
        db.read_exact_at(&mut bytes, at.min(len - 16)).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
        db.write_all_at(&bytes, at.min(len - 16)).unwrap();
        match reopen(&dir) {
            Err(_) => refused += 1,
            // It hit a part of the file that is not in use.
            Ok((_, sink)) => assert_eq!(sink.records, records(1, RECORDS, 100)),
        }
    }
    assert!(refused > 0, "nothing was hit");
}

#[test]
fn a_newer_format_is_refused_and_an_unknown_one_too() {
    let temp = tempfile::tempdir().unwrap();
    write_log(temp.path());
    let format = temp.path().join("format");
    assert_eq!(fs::read_to_string(&format).unwrap(), "nemcon-log 2\n");
    fs::write(&format, "nemcon-log 3\n").unwrap();
    let error = reopen(temp.path()).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::NewerFormat {
                found: 3,
                known: 2,
                ..
            }
        ),
        "{error}"
    );
    fs::write(&format, "something else").unwrap();
    let error = reopen(temp.path()).unwrap_err();
    assert!(matches!(error, OpenError::UnknownFormat { .. }), "{error}");
    fs::remove_file(&format).unwrap();
    let error = reopen(temp.path()).unwrap_err();
    assert!(matches!(error, OpenError::UnknownFormat { .. }), "{error}");
}

#[test]
fn a_missing_or_unreadable_mark_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    write_log(temp.path());
    let mark = temp.path().join("mark");
    fs::write(&mark, "short").unwrap();
    assert!(matches!(
        reopen(temp.path()).unwrap_err(),
        OpenError::NoMark { .. }
    ));
    fs::remove_file(&mark).unwrap();
    assert!(matches!(
        reopen(temp.path()).unwrap_err(),
        OpenError::NoMark { .. }
    ));
}

#[test]
fn a_creation_that_was_cut_short_is_begun_again() {
    let temp = tempfile::tempdir().unwrap();
    drop(reopen(temp.path()).unwrap());
    fs::remove_file(temp.path().join("format")).unwrap();
    let (opened, _) = reopen(temp.path()).unwrap();
    assert!(opened.fresh);
    assert!(temp.path().join("format").exists());
}

/// sled takes it for one that is whole, and would never open again.
#[test]
fn a_snapshot_that_was_never_finished_is_no_damage() {
    let temp = tempfile::tempdir().unwrap();
    write_log(temp.path());
    for half in ["snap.7FFFFFFFFFFFFFFF.generating", "snap.0.generating"] {
        fs::write(temp.path().join("sled").join(half), "half").unwrap();
        fs::write(temp.path().join("data").join(half), "half").unwrap();
    }
    let (_, sink) = reopen(temp.path()).unwrap();
    assert_eq!(sink.records, records(1, RECORDS, 100));
}
