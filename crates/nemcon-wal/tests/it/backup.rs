//! Backup and restoration of a log on sled that is in use.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use nemcon_core::id::Lsn;
use nemcon_wal::backup::folder::{Folder, FolderError, FolderWriter, Origin};
use nemcon_wal::backup::{BackupError, End, Piece, PinLimits, RestoreError, Sink, Takes, restore};
use nemcon_wal::{Limits, Log, LogEvent, OpenError, Options, Reader, SledLog};

use crate::support::{self, PATIENCE, deaf, events, record, records, value, wait_durable};

type Handed = Result<Piece, BackupError>;

/// Hands pieces on through a channel, and counts on its bound like a node does.
struct Channel {
    sender: SyncSender<Handed>,
    full: bool,
}

impl Sink for Channel {
    fn takes(&self) -> Takes {
        if self.full { Takes::Later } else { Takes::Now }
    }

    fn put(&mut self, piece: Handed) {
        match self.sender.try_send(piece) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => self.full = true,
        }
    }
}

fn begin(log: &SledLog, bound: usize) -> Receiver<Handed> {
    let (sender, pieces) = sync_channel(bound);
    let full = false;
    log.backups().begin(Box::new(Channel { sender, full }));
    pieces
}

fn next(pieces: &Receiver<Handed>) -> Handed {
    pieces.recv_timeout(PATIENCE).expect("a piece in time")
}

fn origin() -> Origin {
    Origin {
        kind: "participant".into(),
        ..Origin::default()
    }
}

/// Takes a whole backup into a folder.
fn back_up(log: &SledLog, dir: &Path, mut between: impl FnMut(usize)) -> End {
    let pieces = begin(log, 100_000);
    let mut writer = FolderWriter::create(dir, origin()).unwrap();
    for count in 0.. {
        let piece = next(&pieces).unwrap();
        writer.add(&piece).unwrap();
        between(count);
        if let Piece::Ended(end) = piece {
            writer.finish(7).unwrap();
            return end;
        }
    }
    unreachable!("every backup has an end")
}

fn open(dir: &Path, options: Options) -> (Box<SledLog>, Receiver<LogEvent>) {
    let (notify, events) = events();
    let mut sink = support::Sink::default();
    let (log, _) = SledLog::open(dir, options, &mut sink, notify).unwrap();
    (Box::new(log), events)
}

fn refused(dir: &Path) -> OpenError {
    let mut sink = support::Sink::default();
    let opened = SledLog::open(dir, Options::default(), &mut sink, deaf());
    opened.err().expect("refused")
}

fn small_pieces() -> Options {
    Options {
        limits: Limits {
            backup_piece_bytes: 1,
            ..Limits::default()
        },
        ..Options::default()
    }
}

#[test]
fn a_log_in_use_comes_back_as_it_was_at_the_end_of_the_backup() {
    let temp = tempfile::tempdir().unwrap();
    let (data, backup, restored) = (
        temp.path().join("data"),
        temp.path().join("backup"),
        temp.path().join("restored"),
    );
    let (mut log, events) = open(&data, small_pieces());
    log.append(records(1, 100, 100));
    log.flush();
    wait_durable(&events, Lsn(100));
    let values = (0..50).map(|at| value(&format!("key-{at:02}"), b"old", 100));
    log.write_back(values.collect());

    // It goes on working, and would like to close a checkpoint.
    let pieces = begin(&log, 100_000);
    let mut writer = FolderWriter::create(&backup, origin()).unwrap();
    let first = next(&pieces).unwrap();
    assert!(matches!(first, Piece::Begun { .. }));
    writer.add(&first).unwrap();
    log.begin_checkpoint();
    log.append(records(101, 20_000, 100));
    log.write_back(vec![value("key-49", b"new", 20_100)]);
    log.close_checkpoint();
    let end = loop {
        let piece = next(&pieces).unwrap();
        writer.add(&piece).unwrap();
        if let Piece::Ended(end) = piece {
            break end;
        }
    };
    let manifest = writer.finish(7).unwrap();
    assert_eq!(manifest.end, end);
    assert!(end.lsn >= Lsn(100), "{end:?}");
    // Now it may.
    loop {
        match events.recv_timeout(PATIENCE).unwrap() {
            LogEvent::CheckpointClosed { .. } => break,
            LogEvent::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
    log.close().unwrap();

    let mut sink = support::Sink::default();
    let last = record(end.lsn.0 + 1, 40);
    let found = restore(&backup, &restored, &last, &mut sink).unwrap();
    assert_eq!(found.opened.next_lsn, Lsn(end.lsn.0 + 2));
    for _ in 0..2 {
        let mut sink = support::Sink::default();
        let (log, opened) =
            SledLog::open(&restored, Options::default(), &mut sink, deaf()).unwrap();
        assert!(!opened.fresh);
        assert_eq!(opened.next_lsn, Lsn(end.lsn.0 + 2));
        assert_eq!(sink.values.len(), 50);
        assert_eq!(sink.records.len() as u64, end.lsn.0 + 1);
        assert_eq!(sink.records[..100], records(1, 100, 100));
        assert_eq!(sink.records.last().unwrap().1, last);
        Box::new(log).close().unwrap();
    }
}

#[test]
fn nobody_starts_on_a_backup_but_everybody_can_look_into_it() {
    let temp = tempfile::tempdir().unwrap();
    let backup = temp.path().join("backup");
    let (mut log, _events) = open(&temp.path().join("data"), Options::default());
    log.append(records(1, 10, 100));
    log.flush();
    let end = back_up(&log, &backup, |_| {});
    assert_eq!(end.lsn, Lsn(10));

    let error = refused(&backup);
    assert!(error.to_string().contains("nemcon restore"), "{error}");
    let scratch = temp.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let reader = Reader::open(&backup, &scratch).unwrap();
    let mut sink = support::Sink::default();
    let found = reader.check(&mut sink).unwrap();
    assert_eq!((found.next_lsn, sink.records.len()), (Lsn(11), 10));

    // Half of one is refused by all of them.
    let half = temp.path().join("half");
    drop(FolderWriter::create(&half, origin()).unwrap());
    let error = refused(&half);
    assert!(error.to_string().contains("never finished"), "{error}");
    let to = temp.path().join("to");
    let error = restore(&half, &to, b"x", &mut support::Sink::default()).unwrap_err();
    assert!(matches!(
        error,
        RestoreError::Folder(FolderError::Unfinished(_))
    ));
    assert!(!to.exists(), "nothing was begun");
}

#[test]
fn a_restoration_spares_what_is_there_and_one_cut_short_is_no_log() {
    let temp = tempfile::tempdir().unwrap();
    let (data, backup) = (temp.path().join("data"), temp.path().join("backup"));
    let (mut log, _events) = open(&data, Options::default());
    log.append(records(1, 10, 100));
    log.flush();
    back_up(&log, &backup, |_| {});
    log.close().unwrap();
    let again = restore(&backup, &data, b"x", &mut support::Sink::default());
    assert!(matches!(again, Err(RestoreError::NotEmpty(_))));

    // Cut short before the end: what is written last is not there.
    let to = temp.path().join("to");
    let last = record(11, 40);
    restore(&backup, &to, &last, &mut support::Sink::default()).unwrap();
    fs::write(to.join("format"), "nemcon-restore unfinished\n").unwrap();
    let error = refused(&to);
    assert!(matches!(error, OpenError::HalfRestored { .. }), "{error}");

    // Damage in the backup is found before anything is written.
    let bytes = fs::read(backup.join("pages")).unwrap();
    fs::write(backup.join("pages"), &bytes[..bytes.len() - 1]).unwrap();
    let to = temp.path().join("elsewhere");
    let error = restore(&backup, &to, b"x", &mut support::Sink::default()).unwrap_err();
    assert!(error.to_string().contains("cut off"), "{error}");
    assert!(!to.exists(), "nothing was begun");
    assert!(Folder::open(&backup).is_ok(), "only its sums tell");
}

#[test]
fn a_backup_that_nobody_takes_ends_and_the_log_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    for (pinned_max, stalled_max, why) in [
        (60_000, 20, BackupError::Stalled(Duration::from_millis(20))),
        (20, 60_000, BackupError::TooLong(Duration::from_millis(20))),
    ] {
        let options = Options {
            pin: PinLimits {
                pinned_max: Duration::from_millis(pinned_max),
                stalled_max: Duration::from_millis(stalled_max),
            },
            ..small_pieces()
        };
        let dir = temp.path().join(why.to_string().len().to_string());
        let (mut log, events) = open(&dir, options);
        log.append(records(1, 100, 100));
        log.flush();
        wait_durable(&events, Lsn(100));
        struct Never(SyncSender<BackupError>);
        impl Sink for Never {
            fn takes(&self) -> Takes {
                Takes::Later
            }
            fn put(&mut self, piece: Handed) {
                if let Err(why) = piece {
                    self.0.send(why).unwrap();
                }
            }
        }
        let (sender, ended) = sync_channel(2);
        log.backups().begin(Box::new(Never(sender.clone())));
        log.backups().begin(Box::new(Never(sender)));
        let second = ended.recv_timeout(PATIENCE).unwrap();
        assert_eq!(second, BackupError::UnderWay);
        log.begin_checkpoint();
        log.append(records(101, 100, 100));
        log.close_checkpoint();
        assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), why);
        loop {
            match events.recv_timeout(PATIENCE).unwrap() {
                LogEvent::CheckpointClosed { .. } => break,
                LogEvent::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
        log.close().unwrap();
    }
}
