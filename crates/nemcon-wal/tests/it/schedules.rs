//! Random schedules of appends, flushes, write-backs, checkpoints, backups, failures
//! and crashes. After every crash the log must give back a state that some prefix
//! of the appended records leads to, and no shorter prefix than was said to be
//! durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard};

use nemcon_core::id::Lsn;
use nemcon_core::machine::Stored;
use nemcon_wal::backup::{self, BackupError, End, Piece, Takes};
use nemcon_wal::mem::{Crash, Image, MemLog};
use nemcon_wal::{Limits, Log, LogEvent};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{Sink, events};

/// Keys below are written back to the data tree, others are logged again by
/// each checkpoint.
const DATA_KEYS: u8 = 4;
const KEYS: u8 = 8;

#[derive(Clone, Debug)]
enum Act {
    /// Sets a key to so many bytes; none removes it.
    Set {
        key: u8,
        len: usize,
    },
    Flush,
    WriteBack,
    Checkpoint {
        close: bool,
    },
    Step {
        calls: usize,
    },
    SyncMark,
    FailFlush {
        after: u64,
    },
    /// Begins a backup, unless one is under way.
    BackUp,
    /// Whoever wants the backup takes so many pieces more.
    Take {
        pieces: usize,
    },
    Crash {
        pages: prop::sample::Index,
        values: prop::sample::Index,
        mark_kept: bool,
    },
    Stop,
}

fn act() -> impl Strategy<Value = Act> {
    let len = prop_oneof![Just(0), 1usize..40, 200usize..600];
    prop_oneof![
        12 => (0..KEYS, len).prop_map(|(key, len)| Act::Set { key, len }),
        6 => Just(Act::Flush),
        3 => Just(Act::WriteBack),
        2 => any::<bool>().prop_map(|close| Act::Checkpoint { close }),
        8 => (1usize..12).prop_map(|calls| Act::Step { calls }),
        2 => Just(Act::BackUp),
        5 => (1usize..12).prop_map(|pieces| Act::Take { pieces }),
        1 => Just(Act::SyncMark),
        2 => (0u64..4).prop_map(|after| Act::FailFlush { after }),
        3 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(pages, values, mark_kept)| Act::Crash { pages, values, mark_kept }),
        1 => Just(Act::Stop),
    ]
}

type State = BTreeMap<u8, Vec<u8>>;

fn apply(state: &mut State, record: &[u8]) {
    match record {
        [key] => drop(state.remove(key)),
        [key, value @ ..] => drop(state.insert(*key, value.to_vec())),
        [] => unreachable!("a record names a key"),
    }
}

/// How many backups came to their end, in all schedules.
static BACKUPS: AtomicU64 = AtomicU64::new(0);

/// What there is of a backup, and how many pieces are taken yet.
#[derive(Debug, Default)]
struct Tray {
    takes: usize,
    pieces: Vec<Piece>,
    over: Option<End>,
}

/// Takes a backup.
#[derive(Clone, Debug)]
struct Wanted {
    tray: Arc<Mutex<Tray>>,
    /// What was said to be durable when it was asked for.
    acknowledged: Lsn,
}

impl Wanted {
    fn tray(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().expect("no test has panicked with it")
    }
}

impl backup::Sink for Wanted {
    fn takes(&self) -> Takes {
        if self.tray().takes > 0 {
            Takes::Now
        } else {
            Takes::Later
        }
    }

    fn put(&mut self, piece: Result<Piece, BackupError>) {
        let mut tray = self.tray();
        tray.takes = tray.takes.saturating_sub(1);
        match piece {
            Ok(piece) => {
                if let Piece::Ended(end) = piece {
                    tray.over = Some(end);
                }
                tray.pieces.push(piece);
            }
            Err(why) => assert_eq!(why, BackupError::Stopped),
        }
    }
}

/// A node that does nothing but keep its word.
struct Node {
    log: MemLog,
    events: Receiver<LogEvent>,
    /// Every record ever appended and not lost, by LSN from 1.
    history: Vec<Vec<u8>>,
    state: State,
    /// The record that last changed each key.
    changed: BTreeMap<u8, Lsn>,
    dirty: BTreeSet<u8>,
    durable: Lsn,
    backup: Option<Wanted>,
}

impl Node {
    fn open(image: Image, history: Vec<Vec<u8>>, durable: Lsn) -> Self {
        let limits = Limits {
            page_bytes_max: 300,
            unflushed_bytes_max: 500,
            removed_pages_max: 2,
            free_bytes_min: 0,
            backup_piece_bytes: 1,
        };
        let (notify, events) = events();
        let mut sink = Sink::default();
        let (log, opened) = MemLog::open_with(image, limits, &mut sink, notify)
            .expect("a crash never makes a log unreadable");
        let mut node = Self {
            log,
            events,
            history,
            state: State::new(),
            changed: BTreeMap::new(),
            dirty: BTreeSet::new(),
            durable,
            backup: None,
        };
        node.recover(sink, opened.next_lsn);
        node
    }

    fn recover(&mut self, sink: Sink, next_lsn: Lsn) {
        assert!(
            next_lsn > self.durable,
            "{next_lsn} lost what was durable: {}",
            self.durable
        );
        assert!(
            next_lsn.0 as usize <= self.history.len() + 1,
            "records out of nowhere"
        );
        self.history.truncate(next_lsn.0 as usize - 1);
        for (key, (lsn, value)) in sink.values {
            self.state.insert(key[0], value);
            self.changed.insert(key[0], lsn);
        }
        for (lsn, record) in sink.records {
            assert_eq!(record, self.history[lsn.0 as usize - 1]);
            if self
                .changed
                .get(&record[0])
                .is_none_or(|changed| *changed < lsn)
            {
                apply(&mut self.state, &record);
                self.changed.insert(record[0], lsn);
                self.dirty.insert(record[0]);
            }
        }
        let mut expected = State::new();
        self.history
            .iter()
            .for_each(|record| apply(&mut expected, record));
        assert_eq!(self.state, expected, "not the state of any prefix");
    }

    fn append(&mut self, record: Vec<u8>) {
        let lsn = Lsn(self.history.len() as u64 + 1);
        apply(&mut self.state, &record);
        self.changed.insert(record[0], lsn);
        self.dirty.insert(record[0]);
        self.history.push(record.clone());
        self.log.append(vec![(lsn, record)]);
    }

    fn write_back(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        let stored = |key: &u8| Stored {
            key: vec![*key],
            value: self.state.get(key).cloned(),
            lsn: self.changed[key],
        };
        let values = dirty
            .iter()
            .filter(|key| **key < DATA_KEYS)
            .map(stored)
            .collect();
        self.log.write_back(values);
    }

    fn checkpoint(&mut self, close: bool) {
        self.log.begin_checkpoint();
        let live: Vec<_> = self
            .state
            .range(DATA_KEYS..)
            .map(|(k, v)| [&[*k], &v[..]].concat())
            .collect();
        live.into_iter().for_each(|record| self.append(record));
        self.write_back();
        if close {
            self.log.close_checkpoint();
        }
    }

    fn back_up(&mut self) {
        if self.backup.is_none() {
            let wanted = Wanted {
                tray: Arc::default(),
                acknowledged: self.durable,
            };
            self.log.back_up(Box::new(wanted.clone()));
            self.backup = Some(wanted);
        }
    }

    /// A backup that has ended gives exactly the state of its end, and that is no
    /// earlier than what was durable when it began.
    fn look_at_backup(&mut self) {
        let Some(wanted) = &self.backup else { return };
        let over = wanted.tray().over;
        if let Some(end) = over {
            assert!(end.lsn >= wanted.acknowledged, "{end:?}");
            let pieces = std::mem::take(&mut wanted.tray().pieces);
            let image = MemLog::restored(pieces);
            let restored = Self::open(image, self.history.clone(), end.lsn);
            assert_eq!(restored.history.len() as u64, end.lsn.0);
            BACKUPS.fetch_add(1, Ordering::Relaxed);
            self.backup = None;
        }
    }

    fn listen(&mut self) {
        for event in self.events.try_iter() {
            if let LogEvent::Durable(lsn) = event {
                assert!(lsn >= self.durable && lsn.0 as usize <= self.history.len());
                self.durable = lsn;
            }
        }
    }

    fn restart(mut self, how: impl FnOnce(MemLog) -> Image) -> Self {
        self.listen();
        let image = how(self.log);
        let durable = self.events.try_iter().filter_map(|event| match event {
            LogEvent::Durable(lsn) => Some(lsn),
            _ => None,
        });
        // A clean stop flushes and says so on its way out.
        self.durable = durable.last().unwrap_or(self.durable);
        Self::open(image, self.history, self.durable)
    }

    fn perform(mut self, act: Act) -> Self {
        match act {
            Act::Set { key, len } => {
                let fill = self.history.len() as u8;
                self.append([vec![key], vec![fill; len]].concat());
            }
            Act::Flush => self.log.flush(),
            Act::WriteBack => self.write_back(),
            Act::Checkpoint { close } => self.checkpoint(close),
            Act::Step { calls } => self.log.step_first(calls),
            Act::SyncMark => self.log.sync_mark(),
            Act::FailFlush { after } => self.log.fail_flush_after(after),
            Act::BackUp => self.back_up(),
            Act::Take { pieces } => {
                if let Some(wanted) = &self.backup {
                    wanted.tray().takes = pieces;
                }
                (0..=pieces).for_each(|_| self.log.step_first(0));
            }
            Act::Crash {
                pages,
                values,
                mark_kept,
            } => {
                let kept = |index: prop::sample::Index| index.index(self.log.unsynced() + 1);
                let (pages_kept, values_kept) = (kept(pages), kept(values));
                let crash = Crash {
                    pages_kept,
                    values_kept,
                    mark_kept,
                };
                return self.restart(|log| log.crash(crash));
            }
            Act::Stop => return self.restart(|log| log.stop().0),
        }
        self.listen();
        self.look_at_backup();
        self
    }
}

/// What schedules are checked for: see the beginning of this file.
fn hold(acts: Vec<Act>) {
    let mut node = Node::open(Image::default(), Vec::new(), Lsn(0));
    for act in acts {
        node = node.perform(act);
    }
    node.restart(|log| log.crash(Crash::default()));
}

#[test]
fn no_crash_takes_back_what_was_durable_and_a_backup_is_one_state() {
    let config = ProptestConfig {
        cases: 512,
        ..ProptestConfig::default()
    };
    let schedules = prop::collection::vec(act(), 1..120);
    let mut runner = TestRunner::new(config);
    let run = runner.run(&schedules, |acts| {
        hold(acts);
        Ok(())
    });
    if let Err(failed) = run {
        panic!("{failed}\n{runner}");
    }
    let backups = BACKUPS.load(Ordering::Relaxed);
    assert!(backups > 20, "only {backups} backups came to their end");
}
