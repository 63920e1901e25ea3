//! The log in memory: its own promises, one by one.

use std::sync::{Arc, Mutex};

use nemcon_core::codec::CorruptLog;
use nemcon_core::id::Lsn;
use nemcon_core::machine::{Room, Stored};
use nemcon_wal::backup::{self, BackupError, Piece, Takes};
use nemcon_wal::mem::{Crash, Image, MemLog};
use nemcon_wal::{Limits, Log, LogError, LogEvent, OpenError, Recovery};

use crate::support::{Sink, deaf, events, records, value};

const SMALL: Limits = Limits {
    page_bytes_max: 200,
    unflushed_bytes_max: 400,
    removed_pages_max: 2,
    free_bytes_min: 1_000,
    backup_piece_bytes: 1,
};

fn open(image: Image) -> (MemLog, Sink) {
    let mut sink = Sink::default();
    let (log, opened) = MemLog::open_with(image, SMALL, &mut sink, deaf()).unwrap();
    assert_eq!(opened.records, sink.records.len() as u64);
    (log, sink)
}

fn refused(image: Image) -> OpenError {
    MemLog::open_with(image, SMALL, &mut Sink::default(), deaf())
        .err()
        .expect("refused")
}

/// A log of 20 records in several pages, stopped cleanly.
fn image_of_20() -> Image {
    let (mut log, _) = open(Image::default());
    log.append(records(1, 20, 40));
    log.flush();
    stop(log)
}

fn stop(log: MemLog) -> Image {
    let (image, stopped) = log.stop();
    stopped.unwrap();
    image
}

#[test]
fn what_was_not_flushed_is_gone_after_a_crash_and_the_rest_is_there() {
    let (mut log, _) = open(Image::default());
    log.append(records(1, 3, 10));
    log.flush();
    log.step();
    log.append(records(4, 3, 10));
    log.step();
    assert_eq!(log.durable(), Lsn(3));
    let (_, sink) = open(log.crash(Crash::default()));
    assert_eq!(sink.records, records(1, 3, 10));
}

#[test]
fn several_flushes_of_one_batch_share_one_sync_and_one_answer() {
    let (notify, events) = events();
    let mut sink = Sink::default();
    let (mut log, _) = MemLog::open(Image::default(), &mut sink, notify).unwrap();
    for lsn in 1..=3 {
        log.append(records(lsn, 1, 10));
        log.flush();
    }
    log.step();
    let events: Vec<_> = events.try_iter().collect();
    assert!(
        matches!(
            events[..],
            [
                LogEvent::Flushed { records: 3, .. },
                LogEvent::Durable(Lsn(3))
            ]
        ),
        "{events:?}"
    );
}

#[test]
fn many_records_without_a_flush_reach_the_store_but_are_not_durable() {
    let (mut log, _) = open(Image::default());
    log.append(records(1, 40, 40));
    log.step();
    assert!(log.unsynced() > 0);
    assert_eq!(log.durable(), Lsn(0));
    let unsynced = log.unsynced();
    let (_, sink) = open(log.crash(Crash::process(unsynced, 0)));
    assert!(!sink.records.is_empty(), "unasked is not unwelcome");
}

#[test]
fn a_value_is_written_back_only_after_its_record_is_durable() {
    let (notify, events) = events();
    let (mut log, _) = MemLog::open(Image::default(), &mut Sink::default(), notify).unwrap();
    log.append(records(1, 1, 10));
    log.write_back(vec![value("alice", b"100", 1)]);
    log.step();
    assert_eq!(log.durable(), Lsn(1), "the log went first");
    assert_eq!(
        log.unsynced(),
        1,
        "the value itself waits for the next sync"
    );
    log.write_back(vec![value("alice", b"90", 2)]);
    log.step();
    let last = events.try_iter().last();
    assert!(
        matches!(
            last,
            Some(LogEvent::Failed(LogError::WriteBackAhead {
                lsn: Lsn(2),
                appended: Lsn(1)
            }))
        ),
        "{last:?}"
    );
}

#[test]
fn a_checkpoint_drops_what_came_before_it() {
    let mut image = image_of_20();
    let pages_before = image.page_numbers().count() as u64;
    let (notify, events) = events();
    let (mut log, _) = MemLog::open_with(image, SMALL, &mut Sink::default(), notify).unwrap();
    log.begin_checkpoint();
    log.append(records(21, 1, 10));
    log.write_back(vec![value("alice", b"100", 20)]);
    log.close_checkpoint();
    while log.has_work() {
        log.step();
    }
    let closed = events.try_iter().last();
    assert!(
        matches!(closed, Some(LogEvent::CheckpointClosed { removed_pages, .. }) if removed_pages == pages_before),
        "{closed:?}"
    );
    image = stop(log);
    let (_, sink) = open(image);
    assert_eq!(sink.records, records(21, 1, 10));
    assert_eq!(sink.values[&b"alice"[..]], (Lsn(20), b"100".to_vec()));
}

#[test]
fn flushes_are_answered_while_old_pages_are_removed() {
    let (notify, events) = events();
    let (mut log, _) =
        MemLog::open_with(image_of_20(), SMALL, &mut Sink::default(), notify).unwrap();
    log.begin_checkpoint();
    log.close_checkpoint();
    log.step();
    log.append(records(21, 1, 10));
    log.flush();
    log.step();
    let so_far: Vec<_> = events.try_iter().collect();
    assert!(
        matches!(so_far.last(), Some(LogEvent::Durable(Lsn(21)))),
        "{so_far:?}"
    );
    assert!(log.has_work(), "the removal goes on");
    while log.has_work() {
        log.step();
    }
    assert!(matches!(
        events.try_iter().last(),
        Some(LogEvent::CheckpointClosed { .. })
    ));
}

#[test]
fn an_unclosed_checkpoint_counts_for_nothing() {
    let (mut log, _) = open(image_of_20());
    log.begin_checkpoint();
    log.append(records(21, 1, 10));
    log.flush();
    log.step();
    let (_, sink) = open(log.crash(Crash::default()));
    assert_eq!(sink.records.len(), 21);
}

#[test]
fn an_empty_checkpoint_leaves_one_page_and_the_next_lsn() {
    let (mut log, _) = open(image_of_20());
    log.begin_checkpoint();
    log.close_checkpoint();
    while log.has_work() {
        log.step();
    }
    let image = stop(log);
    assert_eq!(image.page_numbers().count(), 1);
    let (_, opened) = MemLog::open(image, &mut Sink::default(), deaf()).unwrap();
    assert_eq!((opened.next_lsn, opened.clean), (Lsn(21), true));
}

#[test]
fn a_failed_flush_ends_the_log() {
    let (notify, events) = events();
    let (mut log, _) = MemLog::open(Image::default(), &mut Sink::default(), notify).unwrap();
    log.append(records(1, 1, 10));
    log.flush();
    log.fail_next_flush();
    log.step();
    log.flush();
    log.step();
    let events: Vec<_> = events.try_iter().collect();
    assert!(
        matches!(events[..], [LogEvent::Failed(LogError::Write { .. })]),
        "{events:?}"
    );
    assert!(log.stop().1.is_err());
}

#[test]
fn misuse_ends_the_log() {
    let misuse = |act: fn(&mut MemLog)| {
        let (mut log, _) = open(Image::default());
        act(&mut log);
        log.step();
        log.failed().cloned().expect("failed")
    };
    let gap = misuse(|log| log.append(records(2, 1, 1)));
    assert!(matches!(
        gap,
        LogError::OutOfOrder {
            expected: Lsn(1),
            found: Lsn(2)
        }
    ));
    let unbegun = misuse(MemLog::close_checkpoint);
    assert!(matches!(unbegun, LogError::NoCheckpoint));
    let long = misuse(|log| {
        log.append(vec![(Lsn(1), vec![0; nemcon_wal::RECORD_BYTES_MAX + 1])]);
    });
    assert!(matches!(long, LogError::RecordTooLong { lsn: Lsn(1), .. }));
}

#[test]
fn a_boxed_log_is_a_log() {
    let (notify, events) = events();
    let (log, _) = MemLog::open(Image::default(), &mut Sink::default(), notify).unwrap();
    let mut boxed: Box<dyn Log> = Box::new(log);
    boxed.append(records(1, 2, 10));
    Box::new(boxed).close().unwrap();
    assert!(matches!(
        events.try_iter().last(),
        Some(LogEvent::Durable(Lsn(2)))
    ));
}

#[test]
fn a_lost_end_is_refused() {
    let mut image = image_of_20();
    let last = image.page_numbers().last().unwrap();
    image.remove_page(last);
    let error = refused(image);
    assert!(
        matches!(
            error,
            OpenError::LostTail {
                expected: Lsn(20),
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("docs/log.md"), "{error}");
}

#[test]
fn a_value_newer_than_the_log_betrays_a_lost_end_too() {
    let (mut log, _) = open(Image::default());
    log.append(records(1, 9, 40));
    log.write_back(vec![value("alice", b"100", 9)]);
    log.flush();
    log.step();
    let mut image = log.crash(Crash::power_cut(0, 1));
    let last = image.page_numbers().last().unwrap();
    image.remove_page(last);
    assert!(matches!(
        refused(image),
        OpenError::LostTail {
            expected: Lsn(9),
            ..
        }
    ));
}

/// A log with two closed checkpoints that wrote alice back, and how it was after
/// the first.
fn images_of_two_checkpoints() -> (Image, Image) {
    let checkpoint = |log: &mut MemLog, first: u64| {
        log.append(records(first, 9, 40));
        log.begin_checkpoint();
        log.append(records(first + 9, 1, 40));
        log.write_back(vec![value("alice", b"100", first)]);
        log.close_checkpoint();
        while log.has_work() {
            log.step();
        }
    };
    let (mut log, _) = open(Image::default());
    checkpoint(&mut log, 1);
    let first = stop(log);
    let (mut log, _) = open(first.clone());
    checkpoint(&mut log, 11);
    (first, stop(log))
}

#[test]
fn data_that_is_older_than_the_log_makes_up_for_is_refused() {
    let (first, mut second) = images_of_two_checkpoints();
    second.exchange_data(&first);
    let error = refused(second.clone());
    assert!(matches!(error, OpenError::StaleData { .. }), "{error}");
    second.exchange_data(&Image::default());
    let error = refused(second);
    assert!(
        matches!(error, OpenError::StaleData { found: 1, .. }),
        "{error}"
    );
}

/// The log makes up for all that has changed since the newest closed checkpoint.
#[test]
fn data_as_old_as_the_newest_checkpoint_is_enough() {
    let (_, second) = images_of_two_checkpoints();
    let (mut log, _) = open(second.clone());
    log.append(records(21, 1, 40));
    log.write_back(vec![value("bob", b"7", 21)]);
    let mut newer = stop(log);
    newer.exchange_data(&second);
    let (_, sink) = open(newer);
    assert!(!sink.values.contains_key(b"bob".as_slice()));
    assert_eq!(sink.records.last(), records(21, 1, 40).last());
}

#[test]
fn data_that_is_ahead_of_its_log_betrays_a_lost_end() {
    let (mut first, second) = images_of_two_checkpoints();
    first.exchange_data(&second);
    let error = refused(first);
    assert!(matches!(error, OpenError::LostTail { .. }), "{error}");
}

#[test]
fn data_of_another_log_is_refused() {
    let (first, mut second) = images_of_two_checkpoints();
    // Another log: longer records before, so that pages begin elsewhere.
    let (mut log, _) = open(Image::default());
    log.append(records(1, 3, 40));
    for _ in 0..3 {
        log.flush();
        log.step();
        log.begin_checkpoint();
        log.close_checkpoint();
        while log.has_work() {
            log.step();
        }
    }
    let mut other = stop(log);
    second.exchange_data(&other);
    let error = refused(second.clone());
    assert!(
        matches!(
            error,
            OpenError::ForeignData { .. } | OpenError::StaleData { .. }
        ),
        "{error}"
    );
    other.exchange_data(&first);
    let error = refused(other);
    assert!(
        matches!(
            error,
            OpenError::ForeignData { .. }
                | OpenError::StaleData { .. }
                | OpenError::LostTail { .. }
        ),
        "{error}"
    );
}

/// The statement beside the values is durable before the checkpoint is closed: cut
/// between, the older checkpoint is in force, over data that is newer.
#[test]
fn a_checkpoint_cut_short_behind_its_statement_leaves_the_one_before() {
    let (_, second) = images_of_two_checkpoints();
    let (mut log, _) = open(second);
    log.append(records(21, 9, 40));
    log.begin_checkpoint();
    log.write_back(vec![value("alice", b"200", 29)]);
    log.close_checkpoint();
    // One sync makes the records durable, the next would close it.
    log.fail_flush_after(1);
    log.step();
    assert!(log.failed().is_some());
    let (_, sink) = open(log.crash(Crash::power_cut(0, 0)));
    assert!(sink.records.iter().any(|(lsn, _)| *lsn == Lsn(29)));
    assert!(sink.values[b"alice".as_slice()].0 == Lsn(29));
}

#[test]
fn a_hole_is_refused() {
    let mut image = image_of_20();
    image.remove_page(2);
    assert!(matches!(
        refused(image),
        OpenError::MissingPage {
            expected: 2,
            found: 3,
            ..
        }
    ));
    let mut image = image_of_20();
    image.remove_page(1);
    assert!(matches!(
        refused(image),
        OpenError::MissingPage {
            expected: 1,
            found: 2,
            ..
        }
    ));
}

#[test]
fn a_damaged_page_or_value_or_mark_is_refused() {
    let mut image = image_of_20();
    image.page_mut(2).unwrap()[60] ^= 4;
    assert!(matches!(refused(image), OpenError::BadPage { page: 2, .. }));

    let mut image = image_of_20();
    image.mark_mut().fill(0);
    assert!(matches!(refused(image), OpenError::NoMark { .. }));

    let (mut log, _) = open(Image::default());
    log.append(records(1, 1, 10));
    log.write_back(vec![value("alice", b"100", 1)]);
    let mut image = stop(log);
    image.value_mut(b"alice").unwrap().push(0);
    let error = refused(image);
    assert!(
        matches!(&error, OpenError::BadValue { key, .. } if key == "alice"),
        "{error}"
    );
}

#[test]
fn what_the_machine_cannot_take_is_refused_with_its_place() {
    struct Picky;
    impl Recovery for Picky {
        fn stored(&mut self, _: Stored) -> Result<(), CorruptLog> {
            Ok(())
        }
        fn record(&mut self, lsn: Lsn, _: &[u8]) -> Result<(), CorruptLog> {
            if lsn < Lsn(7) {
                Ok(())
            } else {
                Err(CorruptLog::Version { found: 9 })
            }
        }
    }
    let error = MemLog::open_with(image_of_20(), SMALL, &mut Picky, deaf())
        .err()
        .expect("refused");
    assert!(
        matches!(error, OpenError::RefusedRecord { lsn: Lsn(7), page, .. } if page > 1),
        "{error}"
    );
}

#[test]
fn a_clean_stop_is_remembered_until_the_next_start() {
    let open_once = |image: Image| MemLog::open(image, &mut Sink::default(), deaf());
    let (log, opened) = open_once(Image::default()).unwrap();
    assert!(opened.fresh && !opened.clean);
    let (log, opened) = open_once(stop(log)).unwrap();
    assert!(opened.clean);
    let (_, opened) = open_once(log.crash(Crash::default())).unwrap();
    assert!(!opened.clean);
}

#[test]
fn little_room_is_told_and_enough_again_only_with_some_to_spare() {
    let (notify, told) = events();
    let mut sink = Sink::default();
    let (mut log, _) = MemLog::open_with(Image::default(), SMALL, &mut sink, notify).unwrap();
    let mut room = |bytes| {
        log.set_free_bytes(bytes);
        log.step();
        let rooms = told.try_iter().filter_map(|event| match event {
            LogEvent::Room(room) => Some(room),
            _ => None,
        });
        rooms.collect::<Vec<_>>()
    };
    let short = |free| {
        vec![Room::Short {
            free,
            wanted: 1_125,
        }]
    };
    assert_eq!(room(1_000), []);
    assert_eq!(room(999), short(999));
    assert_eq!(room(999), [], "that is no news");
    assert_eq!(room(1_100), short(1_100));
    assert_eq!(room(1_125), [Room::Enough]);
}

/// Takes what comes, for as long as it may.
#[derive(Clone, Debug, Default)]
struct Taker(Arc<Mutex<Vec<Result<Piece, BackupError>>>>);

impl backup::Sink for Taker {
    fn takes(&self) -> Takes {
        Takes::Now
    }

    fn put(&mut self, piece: Result<Piece, BackupError>) {
        self.0.lock().unwrap().push(piece);
    }
}

#[test]
fn a_backup_is_given_up_when_the_room_gets_short_and_the_log_goes_on() {
    let (mut log, _) = open(Image::default());
    log.append(records(1, 20, 40));
    log.flush();
    log.step();
    let taker = Taker::default();
    log.back_up(Box::new(taker.clone()));
    log.step();
    log.begin_checkpoint();
    log.close_checkpoint();
    log.set_free_bytes(SMALL.free_bytes_min - 1);
    log.step();
    let last = taker.0.lock().unwrap().pop();
    assert_eq!(last, Some(Err(BackupError::NoRoom)));
    // Nor does another one begin.
    log.back_up(Box::new(taker.clone()));
    log.step();
    let last = taker.0.lock().unwrap().pop();
    assert_eq!(last, Some(Err(BackupError::NoRoom)));
    while log.has_work() {
        log.step();
    }
    let pages: Vec<u64> = stop(log).page_numbers().collect();
    assert_eq!(pages.len(), 1, "the checkpoint was closed all the same");
}
