//! A log in memory that can crash, lose and fail: for the simulator and tests.
//!
//! It runs the same writer and the same recovery as the real log over a store
//! that keeps apart what is on the "disk" and what was written since the last
//! sync. Nothing happens by itself: calls queue up until [`MemLog::step`], so a
//! schedule decides what a crash catches.
//!
//! ```
//! use nemcon_core::id::Lsn;
//! use nemcon_wal::mem::{Crash, Image, MemLog};
//! use nemcon_wal::Log;
//! # struct Nothing;
//! # impl nemcon_wal::Recovery for Nothing {
//! #     fn stored(&mut self, _: nemcon_core::machine::Stored) -> Result<(), nemcon_core::codec::CorruptLog> { Ok(()) }
//! #     fn record(&mut self, _: Lsn, _: &[u8]) -> Result<(), nemcon_core::codec::CorruptLog> { Ok(()) }
//! # }
//! let (mut log, _) = MemLog::open(Image::default(), &mut Nothing, Box::new(|_| ()))?;
//! log.append(vec![(Lsn(1), b"prepared".to_vec())]);
//! log.flush();
//! log.step();
//! log.append(vec![(Lsn(2), b"committed".to_vec())]);
//! log.step(); // taken, but nobody has asked for a flush
//! let image = log.crash(Crash::default());
//! let (_, opened) = MemLog::open(image, &mut Nothing, Box::new(|_| ()))?;
//! assert_eq!(opened.next_lsn, Lsn(2));
//! # Ok::<(), nemcon_wal::OpenError>(())
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use nemcon_core::id::Lsn;
use nemcon_core::machine::Stored;

use crate::backup::source::Wanted;
use crate::backup::{End, Piece, Sink};
use crate::error::{LogError, OpenError};
use crate::extent::Extent;
use crate::faults::{Failure, Faults, Faulty, Step};
use crate::mark::{MARK_BYTES, Mark, SLOT_BYTES};
use crate::recover::{self, Opened, recover};
use crate::store::{Entry, Store};
use crate::writer::{Command, Limits, Writer};
use crate::{Log, Notify, Recovery};

/// What a disk holds: pages, values, how far these are complete, and the mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pages: BTreeMap<u64, Vec<u8>>,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    extent: Option<Extent>,
    mark: Vec<u8>,
}

impl Default for Image {
    /// An empty disk.
    fn default() -> Self {
        Self {
            pages: BTreeMap::new(),
            values: BTreeMap::new(),
            extent: None,
            mark: Mark::blank(),
        }
    }
}

impl Image {
    /// The numbers of the pages it holds, in order.
    pub fn page_numbers(&self) -> impl Iterator<Item = u64> {
        self.pages.keys().copied()
    }

    /// The bytes of a page, to look at or to damage.
    pub fn page_mut(&mut self, page: u64) -> Option<&mut Vec<u8>> {
        self.pages.get_mut(&page)
    }

    /// Takes a page away.
    pub fn remove_page(&mut self, page: u64) -> Option<Vec<u8>> {
        self.pages.remove(&page)
    }

    /// The stored bytes of a value, to look at or to damage.
    pub fn value_mut(&mut self, key: &[u8]) -> Option<&mut Vec<u8>> {
        self.values.get_mut(key)
    }

    /// Puts the data of another disk, all of it, in the place of this one's: as when
    /// a directory was put back in part.
    pub fn exchange_data(&mut self, other: &Self) {
        self.values.clone_from(&other.values);
        self.extent = other.extent;
    }

    /// The mark's bytes, to look at or to damage.
    pub fn mark_mut(&mut self) -> &mut [u8] {
        &mut self.mark
    }

    fn perform(&mut self, write: Write) {
        match write {
            Write::Page(page, bytes) => drop(self.pages.insert(page, bytes)),
            Write::RemovePage(page) => drop(self.pages.remove(&page)),
            Write::Value(key, Some(bytes)) => drop(self.values.insert(key, bytes)),
            Write::Value(key, None) => drop(self.values.remove(&key)),
            Write::Extent(extent) => self.extent = Some(extent),
        }
    }
}

/// What a crash leaves of what was not durable. The default leaves nothing.
///
/// A write that was cut in two counts as not written: the store under the log
/// sums its own writes and drops a torn one, as sled does. Damage to what was
/// whole is another matter; see [`Image::page_mut`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crash {
    /// How many of the writes and removals of pages since the last sync reached
    /// the disk, in order. More than there are means all, here and below.
    pub pages_kept: usize,
    /// How many of the changes of values since theirs did.
    pub values_kept: usize,
    /// The mark is the newest written, not the newest synced: true when only the
    /// process died, and by luck after a power cut.
    pub mark_kept: bool,
}

impl Crash {
    /// The process was killed: the operating system keeps what it was given,
    /// which is the mark and so many of the writes since the last sync.
    #[must_use]
    pub const fn process(pages_kept: usize, values_kept: usize) -> Self {
        Self {
            pages_kept,
            values_kept,
            mark_kept: true,
        }
    }

    /// The power was cut: the mark falls back to its last sync.
    #[must_use]
    pub const fn power_cut(pages_kept: usize, values_kept: usize) -> Self {
        Self {
            pages_kept,
            values_kept,
            mark_kept: false,
        }
    }
}

/// One write to the store.
#[derive(Clone, Debug)]
enum Write {
    Page(u64, Vec<u8>),
    RemovePage(u64),
    Value(Vec<u8>, Option<Vec<u8>>),
    Extent(Extent),
}

impl Write {
    /// Whether it goes to the data, not to the log.
    const fn is_of_data(&self) -> bool {
        matches!(self, Self::Value(..) | Self::Extent(_))
    }
}

/// Keeps what is on the disk apart from what is only written.
#[derive(Debug)]
struct MemStore {
    disk: Image,
    /// Since the last sync, in order.
    unsynced: Vec<Write>,
    mark: Vec<u8>,
    free_bytes: u64,
}

impl MemStore {
    fn new(disk: Image) -> Self {
        Self {
            mark: disk.mark.clone(),
            disk,
            unsynced: Vec::new(),
            free_bytes: u64::MAX,
        }
    }

    /// The disk as it would be if all writes reached it now.
    fn now(&self) -> Image {
        let mut now = self.disk.clone();
        for write in &self.unsynced {
            now.perform(write.clone());
        }
        now
    }

    /// Performs the writes to one side, in their order.
    fn sync_side(&mut self, data: bool) {
        let (synced, rest) = std::mem::take(&mut self.unsynced)
            .into_iter()
            .partition(|write| write.is_of_data() == data);
        self.unsynced = rest;
        let synced: Vec<Write> = synced;
        for write in synced {
            self.disk.perform(write);
        }
    }
}

impl Store for MemStore {
    type Bytes = Vec<u8>;

    fn place(&self) -> &Path {
        Path::new("(memory)")
    }

    fn write_page(&mut self, page: u64, bytes: Vec<u8>) -> Result<(), LogError> {
        self.unsynced.push(Write::Page(page, bytes));
        Ok(())
    }

    fn remove_pages(&mut self, pages: Range<u64>) -> Result<(), LogError> {
        self.unsynced.extend(pages.map(Write::RemovePage));
        Ok(())
    }

    fn write_value(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<(), LogError> {
        self.unsynced.push(Write::Value(key.to_vec(), value));
        Ok(())
    }

    fn write_extent(&mut self, extent: Extent) -> Result<(), LogError> {
        self.unsynced.push(Write::Extent(extent));
        Ok(())
    }

    fn sync_values(&mut self) -> Result<(), LogError> {
        self.sync_side(true);
        Ok(())
    }

    fn sync(&mut self) -> Result<Duration, LogError> {
        self.sync_side(false);
        Ok(Duration::ZERO)
    }

    fn free_bytes(&self) -> Result<u64, LogError> {
        Ok(self.free_bytes)
    }

    fn write_mark(&mut self, mark: Mark) -> Result<(), LogError> {
        let at = mark.offset();
        self.mark[at..at + SLOT_BYTES].copy_from_slice(&mark.to_bytes());
        Ok(())
    }

    fn sync_mark(&mut self) -> Result<(), LogError> {
        self.disk.mark.copy_from_slice(&self.mark);
        Ok(())
    }

    fn read_mark(&self) -> Result<Mark, OpenError> {
        Mark::read(&self.mark).ok_or_else(|| OpenError::NoMark {
            path: "(memory)".into(),
        })
    }

    fn read_extent(&self) -> Result<Option<Extent>, OpenError> {
        Ok(self.disk.extent)
    }

    fn pages_from(&self, first: u64) -> impl DoubleEndedIterator<Item = Entry<Vec<u8>>> {
        let key = |page: &u64| page.to_be_bytes().to_vec();
        self.disk
            .pages
            .range(first..)
            .map(move |(page, bytes)| Ok((key(page), bytes.clone())))
    }

    /// What is written and not synced is seen as well, as in the real store.
    fn values_after(&self, after: Option<&[u8]>) -> impl Iterator<Item = Entry<Vec<u8>>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let now = self.now();
        let from = after.map_or(Unbounded, |key| Excluded(key.to_vec()));
        let values: Vec<_> = now.values.range((from, Unbounded)).collect();
        let copied = values
            .into_iter()
            .map(|(key, bytes)| Ok((key.clone(), bytes.clone())));
        copied.collect::<Vec<_>>().into_iter()
    }

    fn page(&self, page: u64) -> Result<Vec<u8>, OpenError> {
        let mut now = self.now();
        now.pages
            .remove(&page)
            .ok_or_else(|| OpenError::MissingPage {
                dir: self.place().to_owned(),
                expected: page,
                found: 0,
            })
    }

    fn values(&self) -> impl Iterator<Item = Entry<Vec<u8>>> {
        self.disk
            .values
            .iter()
            .map(|(key, bytes)| Ok((key.clone(), bytes.clone())))
    }
}

/// The log in memory.
pub struct MemLog {
    writer: Writer<Faulty<MemStore>>,
    faults: Faults,
    queue: VecDeque<Command>,
    failed: Option<LogError>,
}

impl MemLog {
    /// Opens what a disk holds, with default limits.
    ///
    /// # Errors
    /// [`OpenError`], for the same reasons as the real log.
    pub fn open(
        image: Image,
        recovery: &mut dyn Recovery,
        notify: Notify,
    ) -> Result<(Self, Opened), OpenError> {
        Self::open_with(image, Limits::default(), recovery, notify)
    }

    /// Opens what a disk holds. Small limits make a short schedule meet many
    /// pages.
    ///
    /// # Errors
    /// [`OpenError`], for the same reasons as the real log.
    pub fn open_with(
        mut image: Image,
        limits: Limits,
        recovery: &mut dyn Recovery,
        notify: Notify,
    ) -> Result<(Self, Opened), OpenError> {
        image.mark.resize(MARK_BYTES, 0);
        let store = MemStore::new(image);
        let recovered = recover(&store, recovery)?;
        let faults = Faults::default();
        let store = Faulty {
            store,
            faults: faults.clone(),
        };
        let writer = Writer::start(store, limits, &recovered, notify)?;
        let log = Self {
            writer,
            faults,
            queue: VecDeque::new(),
            failed: None,
        };
        Ok((log, recovered.opened(recovered.is_empty())))
    }

    /// Does all that is queued, as the real log's thread would in one go: one
    /// sync and one `Durable` however many flushes were asked for. Then removes
    /// a few old pages, if a checkpoint has left any.
    pub fn step(&mut self) {
        let queued = self.queue.len();
        self.step_first(queued);
    }

    /// Does the first `calls` queued calls only.
    pub fn step_first(&mut self, calls: usize) {
        if self.failed.is_some() {
            self.queue.clear();
            return;
        }
        let commands: Vec<_> = self.queue.drain(..calls.min(self.queue.len())).collect();
        let done = self
            .writer
            .execute(commands)
            .and_then(|()| self.writer.remove_some())
            .and_then(|()| self.writer.back_up_some())
            .and_then(|()| self.writer.look_at_room());
        if let Err(error) = done {
            self.queue.clear();
            self.failed = Some(error.clone());
            self.writer.fail(error);
        }
    }

    /// Whether [`MemLog::step`] would do anything.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.failed.is_none()
            && (!self.queue.is_empty() || self.writer.is_removing() || self.writer.can_back_up())
    }

    /// Calls that wait for [`MemLog::step`].
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Writes since the last sync: what a [`Crash`] can keep or lose.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.writer.store().store.unsynced.len()
    }

    /// The last record that is durable.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.writer.durable()
    }

    /// Asks for a backup: its pieces are handed over in [`MemLog::step`], one at a
    /// time.
    pub fn back_up(&mut self, sink: Box<dyn Sink>) {
        self.queue.push_back(Command::BackUp(Wanted(sink)));
    }

    /// A disk with what a backup has brought, as a restoration would write it.
    #[must_use]
    pub fn restored(pieces: impl IntoIterator<Item = Piece>) -> Image {
        let mut image = Image::default();
        for piece in pieces {
            match piece {
                Piece::Begun { .. } => {}
                Piece::Values(values) => image.values.extend(values),
                Piece::Pages(pages) => image.pages.extend(pages),
                Piece::Ended(End { lsn, page }) => {
                    let mark = Mark {
                        counter: 1,
                        lsn,
                        page,
                        clean: true,
                    };
                    let at = mark.offset();
                    image.mark[at..at + SLOT_BYTES].copy_from_slice(&mark.to_bytes());
                }
            }
        }
        let mut store = MemStore::new(image);
        store.disk.extent = recover::extent_of_log(&store).ok().flatten();
        store.disk
    }

    /// What made the log stop, if anything has.
    #[must_use]
    pub const fn failed(&self) -> Option<&LogError> {
        self.failed.as_ref()
    }

    /// The once-a-second sync of the mark, for a schedule that has a clock.
    pub fn sync_mark(&mut self) {
        if self.failed.is_none()
            && self.writer.mark_is_unsynced()
            && let Err(error) = self.writer.sync_mark()
        {
            self.failed = Some(error.clone());
            self.writer.fail(error);
        }
    }

    /// Makes the next sync fail, and the log with it.
    pub fn fail_next_flush(&mut self) {
        self.fail_flush_after(0);
    }

    /// Makes a sync fail, and the log with it, after so many that succeed. One
    /// call may need several: closing a checkpoint takes two.
    pub fn fail_flush_after(&mut self, syncs: u64) {
        self.faults.fail(Failure {
            step: Step::Sync,
            after: syncs,
            done: false,
        });
    }

    /// What is wrong with the disk, to be changed at any time.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Says how much room the disk has left. At first there is no end to it.
    pub const fn set_free_bytes(&mut self, bytes: u64) {
        self.writer.store_mut().store.free_bytes = bytes;
    }

    /// Crashes: the queue is gone, and of what was written but not synced only
    /// what `crash` keeps is on the disk.
    #[must_use]
    pub fn crash(self, crash: Crash) -> Image {
        let MemStore {
            mut disk,
            unsynced,
            mark,
            ..
        } = self.writer.into_store().store;
        let (values, pages): (Vec<_>, Vec<_>) = unsynced.into_iter().partition(Write::is_of_data);
        let pages = pages.into_iter().take(crash.pages_kept);
        for write in pages.chain(values.into_iter().take(crash.values_kept)) {
            disk.perform(write);
        }
        if crash.mark_kept {
            disk.mark = mark;
        }
        disk
    }

    /// Stops cleanly, if nothing fails, and hands over the disk. After a failure
    /// the disk is what a [`Crash`] of the default kind leaves.
    pub fn stop(mut self) -> (Image, Result<(), LogError>) {
        self.step();
        let stopped = match self.failed.take() {
            Some(error) => Err(error),
            None => self.writer.stop(),
        };
        (self.crash(Crash::default()), stopped)
    }
}

impl Log for MemLog {
    fn append(&mut self, records: Vec<(Lsn, Vec<u8>)>) {
        self.queue.push_back(Command::Append(records));
    }

    fn flush(&mut self) {
        self.queue.push_back(Command::Flush);
    }

    fn begin_checkpoint(&mut self) {
        self.queue.push_back(Command::BeginCheckpoint);
    }

    fn write_back(&mut self, values: Vec<Stored>) {
        self.queue.push_back(Command::WriteBack(values));
    }

    fn close_checkpoint(&mut self) {
        self.queue.push_back(Command::CloseCheckpoint);
    }

    fn catch_up(&mut self) {
        self.queue.push_back(Command::CatchUp);
    }

    fn close(self: Box<Self>) -> Result<(), LogError> {
        self.stop().1
    }
}
