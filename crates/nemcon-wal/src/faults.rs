//! A disk that is slow, or fails once: a layer between a log and its store, for
//! tests and benchmarks.
//!
//! It lies under every log, [`crate::MemLog`] and the one on sled, and does
//! nothing until it is told to. Whoever holds a clone of a log's [`Faults`] can
//! tell it while the log is in use.
//!
//! ```
//! use nemcon_wal::faults::{Failure, Faults, Step};
//! use std::time::Duration;
//! let faults = Faults::default(); // goes into the log's options
//! faults.slow_flushes(Duration::from_millis(5));
//! faults.fail(Failure { step: Step::Sync, after: 100, done: true });
//! ```

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{LogError, OpenError};
use crate::extent::Extent;
use crate::mark::Mark;
use crate::store::{Entry, Store};

/// Something that a log does to its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It writes a page of records.
    WritePage,
    /// It removes old pages.
    RemovePages,
    /// It writes or removes a value.
    WriteValue,
    /// It makes pages durable.
    Sync,
    /// It says beside the values how far they are complete.
    WriteExtent,
    /// It makes values durable.
    SyncValues,
    /// It writes the high-water mark.
    WriteMark,
    /// It makes the mark durable.
    SyncMark,
}

/// One failure to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What fails.
    pub step: Step,
    /// How many of these succeed before.
    pub after: u64,
    /// It is done all the same, and only reported as failed: as when the answer
    /// of a disk is lost.
    pub done: bool,
}

/// What is wrong with a log's disk. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    flush_delay: Duration,
    to_come: Option<Failure>,
    has_failed: bool,
    /// Steps that were taken after the failure.
    steps_since: u64,
}

/// What happens to one step.
enum Fate {
    Succeeds,
    /// And is not done.
    Fails,
    /// And is done.
    FailsDone,
}

impl Faults {
    /// From now on each flush takes so much longer. The log's thread sleeps that
    /// long, so a log in memory makes its caller sleep.
    pub fn slow_flushes(&self, by: Duration) {
        self.state().flush_delay = by;
    }

    /// Lets one step fail, once. A log stops at its first failure.
    pub fn fail(&self, failure: Failure) {
        self.state().to_come = Some(failure);
    }

    /// Whether the failure has come.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.state().has_failed
    }

    /// How many steps were taken after the failure. None should be: what is
    /// tried again after a failed sync may be reported as done and be lost.
    #[must_use]
    pub fn steps_since_failure(&self) -> u64 {
        self.state().steps_since
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self, step: Step) -> Fate {
        let mut state = self.state();
        state.steps_since += u64::from(state.has_failed);
        match &mut state.to_come {
            Some(failure) if failure.step == step && failure.after > 0 => failure.after -= 1,
            Some(failure) if failure.step == step => {
                let done = failure.done;
                state.to_come = None;
                state.has_failed = true;
                return if done { Fate::FailsDone } else { Fate::Fails };
            }
            _ => {}
        }
        Fate::Succeeds
    }
}

/// A store with such a disk.
#[derive(Debug)]
pub(crate) struct Faulty<S> {
    pub(crate) store: S,
    pub(crate) faults: Faults,
}

impl<S: Store> Faulty<S> {
    fn take<T>(
        &mut self,
        step: Step,
        doing: &'static str,
        call: impl FnOnce(&mut S) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let fate = self.faults.fate(step);
        if !matches!(fate, Fate::Fails) {
            let done = call(&mut self.store)?;
            if matches!(fate, Fate::Succeeds) {
                return Ok(done);
            }
        }
        Err(LogError::Write {
            place: self.store.place().to_owned(),
            doing,
            source: Arc::new(io::Error::other("made to fail")),
        })
    }
}

impl<S: Store> Store for Faulty<S> {
    type Bytes = S::Bytes;

    fn place(&self) -> &Path {
        self.store.place()
    }

    fn write_page(&mut self, page: u64, bytes: Vec<u8>) -> Result<(), LogError> {
        self.take(Step::WritePage, "writing a page", |store| {
            store.write_page(page, bytes)
        })
    }

    fn remove_pages(&mut self, pages: Range<u64>) -> Result<(), LogError> {
        self.take(Step::RemovePages, "removing old pages", |store| {
            store.remove_pages(pages)
        })
    }

    fn write_value(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<(), LogError> {
        self.take(Step::WriteValue, "writing a value", |store| {
            store.write_value(key, value)
        })
    }

    fn write_extent(&mut self, extent: Extent) -> Result<(), LogError> {
        let doing = "writing how far the data is complete";
        self.take(Step::WriteExtent, doing, |store| store.write_extent(extent))
    }

    fn sync_values(&mut self) -> Result<(), LogError> {
        let delay = self.faults.state().flush_delay;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        self.take(Step::SyncValues, "a flush of the data", Store::sync_values)
    }

    fn sync(&mut self) -> Result<Duration, LogError> {
        let delay = self.faults.state().flush_delay;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let took = self.take(Step::Sync, "a flush", Store::sync)?;
        Ok(took + delay)
    }

    fn free_bytes(&self) -> Result<u64, LogError> {
        self.store.free_bytes()
    }

    fn write_mark(&mut self, mark: Mark) -> Result<(), LogError> {
        self.take(Step::WriteMark, "writing the high-water mark", |store| {
            store.write_mark(mark)
        })
    }

    fn sync_mark(&mut self) -> Result<(), LogError> {
        self.take(
            Step::SyncMark,
            "syncing the high-water mark",
            Store::sync_mark,
        )
    }

    fn read_mark(&self) -> Result<Mark, OpenError> {
        self.store.read_mark()
    }

    fn read_extent(&self) -> Result<Option<Extent>, OpenError> {
        self.store.read_extent()
    }

    fn pages_from(&self, first: u64) -> impl DoubleEndedIterator<Item = Entry<Self::Bytes>> {
        self.store.pages_from(first)
    }

    fn values_after(&self, after: Option<&[u8]>) -> impl Iterator<Item = Entry<Self::Bytes>> {
        self.store.values_after(after)
    }

    fn page(&self, page: u64) -> Result<Vec<u8>, OpenError> {
        self.store.page(page)
    }

    fn values(&self) -> impl Iterator<Item = Entry<Self::Bytes>> {
        self.store.values()
    }
}
