//! Logs on sled that lost something or were tampered with: refused with a
//! reason, never opened short, never a panic.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use nemcon_core::id::Lsn;
use nemcon_wal::OpenError;

use crate::stopped::{RECORDS, append, checkpoint, copy, reopen, write_log};
use crate::support::records;

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

/// Both have the same records at the same places, so only their identity tells them
/// apart.
#[test]
fn the_data_of_another_log_is_refused_though_it_looks_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let (one, other) = (temp.path().join("one"), temp.path().join("other"));
    write_log(&one);
    write_log(&other);
    for database in ["data", "sled"] {
        let kept = temp.path().join("kept");
        copy(&one.join(database), &kept);
        fs::remove_dir_all(one.join(database)).unwrap();
        copy(&other.join(database), &one.join(database));
        let error = reopen(&one).unwrap_err();
        assert!(matches!(error, OpenError::MixedDatabases { .. }), "{error}");
        fs::remove_dir_all(one.join(database)).unwrap();
        copy(&kept, &one.join(database));
        fs::remove_dir_all(kept).unwrap();
        reopen(&one).unwrap();
    }
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
    assert_eq!(fs::read_to_string(&format).unwrap(), "nemcon-log 3\n");
    fs::write(&format, "nemcon-log 4\n").unwrap();
    let error = reopen(temp.path()).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::NewerFormat {
                found: 4,
                known: 3,
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
