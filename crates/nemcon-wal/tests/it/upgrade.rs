//! Logs of older formats: they are read, and upgraded at the first start.

use std::fs::{self, OpenOptions};
use std::path::Path;

use nemcon_core::id::Lsn;
use nemcon_wal::{Log, OpenError, Options, Reader, SledLog};

use crate::image::{Mounted, template};
use crate::stopped::{RECORDS, checkpoint, reopen, write_log};
use crate::support::{Sink, events, records, value, wait_durable};

/// Makes of a log what a program of an older format has left: pages under their numbers,
/// and, in format 1, one database for both.
fn downgrade(dir: &Path, format: u64) {
    let open = |name: &str| sled::Config::new().path(dir.join(name)).open().unwrap();
    let (pages, data) = (open("sled"), open("data"));
    let numbered = pages.open_tree("log").unwrap();
    for entry in pages.open_tree("ring").unwrap().iter() {
        let (_, page) = entry.unwrap();
        if !page.is_empty() {
            numbered.insert(&page[8..16], page.to_vec()).unwrap();
        }
    }
    pages.drop_tree("ring").unwrap();
    if format == 1 {
        let values = pages.open_tree("data").unwrap();
        for entry in data.open_tree("data").unwrap().iter() {
            let (key, value) = entry.unwrap();
            values.insert(key, value).unwrap();
        }
    }
    for database in [&pages, &data] {
        database.remove("identity").unwrap();
        database.flush().unwrap();
    }
    drop((numbered, pages, data));
    if format == 1 {
        fs::remove_dir_all(dir.join("data")).unwrap();
    }
    fs::write(dir.join("format"), format!("nemcon-log {format}\n")).unwrap();
}

/// A log of an older format with a closed checkpoint, and a value that is newer.
fn write_older_log(dir: &Path, format: u64) {
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
    downgrade(dir, format);
}

/// What a start finds in such a log.
fn assert_whole(sink: &Sink) {
    let keys: Vec<_> = sink.values.keys().map(Vec::as_slice).collect();
    assert_eq!(keys, [b"alice".as_slice(), b"bob"]);
    assert_eq!(sink.records, records(RECORDS + 2, 1, 100));
}

fn format_of(dir: &Path) -> String {
    fs::read_to_string(dir.join("format")).unwrap()
}

#[test]
fn a_log_of_an_older_format_is_read_and_upgraded() {
    for format in [1, 2] {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        write_older_log(dir, format);
        // It can be looked at, and stays as it is.
        let scratch = tempfile::tempdir().unwrap();
        let mut sink = Sink::default();
        let reader = Reader::open(dir, scratch.path()).unwrap();
        reader.check(&mut sink).unwrap();
        assert_whole(&sink);
        drop(reader);
        assert_eq!(dir.join("data").exists(), format > 1);
        assert_eq!(format_of(dir), format!("nemcon-log {format}\n"));

        for _ in 0..2 {
            assert_whole(&reopen(dir).unwrap().1);
            assert_eq!(format_of(dir), "nemcon-log 3\n");
        }
        let pages = sled::Config::new().path(dir.join("sled")).open().unwrap();
        let mut trees = pages.tree_names();
        trees.retain(|name| !name.starts_with(b"__sled"));
        assert_eq!(trees, ["ring"], "{format}");
    }
}

/// Before the format is written all is copied anew; after it the old trees are only in
/// the way.
#[test]
fn an_upgrade_that_was_cut_short_is_begun_again_or_ended() {
    for format in [1, 2] {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        write_older_log(dir, format);
        let pages = sled::Config::new().path(dir.join("sled")).open().unwrap();
        let half = pages.open_tree("ring").unwrap();
        for slot in 0..3_u64 {
            half.insert(slot.to_be_bytes(), vec![slot as u8; 50])
                .unwrap();
        }
        pages.flush().unwrap();
        drop((half, pages));
        if format == 1 {
            fs::create_dir(dir.join("data")).unwrap();
            fs::write(dir.join("data/conf"), "half").unwrap();
        }
        assert_whole(&reopen(dir).unwrap().1);
        // The format is written, and an old tree is still there.
        let pages = sled::Config::new().path(dir.join("sled")).open().unwrap();
        let old = pages.open_tree("log").unwrap();
        old.insert(1_u64.to_be_bytes(), "old").unwrap();
        pages.flush().unwrap();
        drop((old, pages));
        assert_whole(&reopen(dir).unwrap().1);
        let pages = sled::Config::new().path(dir.join("sled")).open().unwrap();
        assert!(!pages.tree_names().iter().any(|name| name == b"log"));
    }
}

/// As when the file `format` is put back from a copy made before the upgrade.
#[test]
fn a_format_from_before_the_upgrade_takes_nothing_away() {
    for format in [1, 2] {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        write_older_log(dir, format);
        assert_whole(&reopen(dir).unwrap().1);
        fs::write(dir.join("format"), format!("nemcon-log {format}\n")).unwrap();
        let error = reopen(dir).unwrap_err();
        assert!(matches!(error, OpenError::StaleFormat { .. }), "{error}");
        assert!(error.to_string().contains(&format!("format {format}")));
        fs::write(dir.join("format"), "nemcon-log 3\n").unwrap();
        assert_whole(&reopen(dir).unwrap().1);
    }
}

#[test]
fn damage_to_a_log_of_an_older_format_is_no_upgrade() {
    for format in [1, 2] {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        write_older_log(dir, format);
        let db = OpenOptions::new()
            .write(true)
            .open(dir.join("sled/db"))
            .unwrap();
        db.set_len(600_000).unwrap();
        drop(db);
        assert!(reopen(dir).is_err());
        assert_eq!(format_of(dir), format!("nemcon-log {format}\n"));
    }
}

#[test]
fn without_room_for_the_upgrade_nothing_is_changed() {
    let temp = tempfile::tempdir().unwrap();
    let Some(image) = template(temp.path()) else {
        return;
    };
    let mounted = Mounted::new(&image, &temp.path().join("at")).unwrap();
    let dir = mounted.at.join("log");
    write_older_log(&dir, 2);
    let filler = mounted.at.join("filler");
    let free = nemcon_wal::free_bytes(&dir).unwrap();
    let taken = free - (200 << 10);
    fs::write(&filler, vec![7; usize::try_from(taken).unwrap()]).unwrap();
    let error = reopen(&dir).unwrap_err();
    let OpenError::NoRoomToUpgrade { needed, free, .. } = error else {
        panic!("{error}");
    };
    assert!(free <= 200 << 10, "{free}");
    assert!(needed > free, "{needed}");
    assert_eq!(format_of(&dir), "nemcon-log 2\n");
    fs::remove_file(&filler).unwrap();
    assert_whole(&reopen(&dir).unwrap().1);
    assert_eq!(format_of(&dir), "nemcon-log 3\n");
}
