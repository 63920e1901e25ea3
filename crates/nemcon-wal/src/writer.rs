//! What is written when: the order that makes the log's promises true.
//!
//! One flush is: end the open page, write the pages, sync, write the mark, say
//! `Durable`. Everything else is built from it. A value is written back after a
//! flush of all that was appended before it; a checkpoint is closed by a flush, a
//! sync of the values with a statement how far they are complete, a page that says
//! so, another flush, and only then old pages go. So an ordinary flush never waits
//! for the values.

use nemcon_core::id::Lsn;
use nemcon_core::machine::{Room, Stored};

use crate::backup::source::{Backup, Next, Wanted};
use crate::backup::{BackupError, End};
use crate::error::{Chain, LogError};
use crate::extent::Extent;
use crate::mark::Mark;
use crate::page::Packer;
use crate::recover::Recovered;
use crate::store::Store;
use crate::{LogEvent, Notify, RECORD_BYTES_MAX, value};

/// How pages are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a page that holds more than one record.
    ///
    /// 5 KiB by default. sled rewrites a tree node of up to 17 values at once and
    /// puts it into a file of its own when it exceeds 128 KiB; seventeen pages of
    /// 7 KiB just stay below. And it keeps a node in each of 256 places of its
    /// cache, whatever its limit: a busy bank takes 3 MB less of memory with 5 KiB
    /// than with 7, and hardly more of the processor.
    pub page_bytes_max: usize,
    /// Bytes of full pages that wait in memory while nobody asks for a flush;
    /// beyond, they are given to the store, still not durable. 64 KiB.
    pub unflushed_bytes_max: usize,
    /// Old pages removed in one go between two batches. With each some of the data is
    /// cleaned, which takes up to 60 µs; a flush waits for at most this many. 32.
    pub removed_pages_max: u64,
    /// Bytes that have to be free on the log's file system for new work to begin.
    /// 64 MiB: more than all that can be running needs in order to end.
    pub free_bytes_min: u64,
    /// Bytes of one piece of a backup, roughly, for which a flush waits. 128 KiB: a
    /// millisecond at most.
    pub backup_piece_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            page_bytes_max: 5 << 10,
            unflushed_bytes_max: 64 << 10,
            removed_pages_max: 32,
            free_bytes_min: 64 << 20,
            backup_piece_bytes: 128 << 10,
        }
    }
}

/// A call of [`crate::Log`], queued.
#[derive(Debug)]
pub(crate) enum Command {
    Append(Vec<(Lsn, Vec<u8>)>),
    Flush,
    BeginCheckpoint,
    WriteBack(Vec<Stored>),
    CloseCheckpoint,
    CatchUp,
    BackUp(Wanted),
}

/// Old pages that are on their way out.
#[derive(Debug)]
struct Removal {
    /// The first page that stays.
    first_page: u64,
    removed: u64,
}

/// Executes commands on a store.
pub(crate) struct Writer<S> {
    store: S,
    limits: Limits,
    notify: Notify,
    packer: Packer,
    mark: Mark,
    /// The oldest page there is.
    oldest_page: u64,
    /// Something was written that has not been synced.
    unsynced: bool,
    mark_unsynced: bool,
    /// Figures since the last sync.
    records: u64,
    bytes: u64,
    /// Where replay would start if the checkpoint under way were closed.
    checkpoint: Option<Extent>,
    removal: Option<Removal>,
    /// While there is one, no checkpoint is closed: so what it copies stays.
    backup: Option<Backup>,
    /// A checkpoint is to be closed once the backup has ended.
    close_deferred: bool,
    room: Room,
}

impl<S: Store> Writer<S> {
    /// Takes over a store that was just recovered.
    ///
    /// What recovery has read may be known to the operating system only (the
    /// process before us died between write and sync), and the node is about to
    /// act on it. So all of it is made durable first, mark included.
    pub(crate) fn start(
        mut store: S,
        limits: Limits,
        recovered: &Recovered,
        notify: Notify,
    ) -> Result<Self, LogError> {
        store.sync_values()?;
        if recovered.oldest_page < recovered.first_page {
            // The process before us had not come so far, or had no need to.
            store.remove_pages(recovered.oldest_page..recovered.first_page)?;
        }
        store.sync()?;
        let mark = Mark {
            counter: recovered.mark_counter + 1,
            lsn: recovered.last_lsn,
            page: recovered.last_page,
            clean: false,
        };
        store.write_mark(mark)?;
        store.sync_mark()?;
        Ok(Self {
            store,
            limits,
            notify,
            packer: Packer::new(
                limits.page_bytes_max,
                recovered.last_page + 1,
                recovered.last_lsn.next(),
            ),
            mark,
            oldest_page: recovered.first_page,
            unsynced: false,
            mark_unsynced: false,
            records: 0,
            bytes: 0,
            checkpoint: None,
            removal: None,
            backup: None,
            close_deferred: false,
            room: Room::Enough,
        })
    }

    /// Executes commands in order. However many flushes they ask for, one at
    /// the end answers them all.
    pub(crate) fn execute(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<(), LogError> {
        let mut flush = false;
        for command in commands {
            match command {
                Command::Append(records) => self.append(records)?,
                Command::Flush => flush = true,
                Command::BeginCheckpoint => {
                    self.packer.end_page();
                    self.checkpoint = Some(Extent {
                        page: self.packer.next_page(),
                        lsn: self.packer.next_lsn(),
                    });
                    // One that was begun before is forgotten.
                    self.close_deferred = false;
                }
                Command::WriteBack(values) => self.write_back(values)?,
                Command::CloseCheckpoint if self.backup.is_some() && self.checkpoint.is_some() => {
                    self.close_deferred = true;
                }
                Command::CloseCheckpoint => self.close_checkpoint()?,
                Command::CatchUp => (self.notify)(LogEvent::CaughtUp),
                Command::BackUp(wanted) => self.begin_backup(wanted),
            }
        }
        if flush { self.flush() } else { Ok(()) }
    }

    /// Whether old pages are waiting to be removed.
    pub(crate) const fn is_removing(&self) -> bool {
        self.removal.is_some()
    }

    /// Begins a backup, which pins everything from its first page on.
    fn begin_backup(&mut self, Wanted(mut sink): Wanted) {
        if self.backup.is_some() {
            return sink.put(Err(BackupError::UnderWay));
        }
        if self.is_short_of_room() {
            return sink.put(Err(BackupError::NoRoom));
        }
        self.backup = Some(Backup::begin(
            sink,
            self.first_needed_page(),
            self.limits.backup_piece_bytes,
        ));
    }

    /// The first page that replay needs, or an older one. While no checkpoint is
    /// closed, none from there on is removed.
    fn first_needed_page(&self) -> u64 {
        let removal = self.removal.as_ref();
        removal.map_or(self.oldest_page, |removal| removal.first_page)
    }

    /// Hands over the next piece of a backup under way.
    pub(crate) fn back_up_some(&mut self) -> Result<(), LogError> {
        let Some(backup) = &mut self.backup else {
            return Ok(());
        };
        match backup.go_on(&self.store) {
            Next::Wait => Ok(()),
            Next::Flush => {
                self.flush()?;
                let end = End {
                    lsn: self.mark.lsn,
                    page: self.mark.page,
                };
                let first_page = self.first_needed_page();
                if let Some(backup) = &mut self.backup {
                    backup.flushed(first_page, end);
                }
                Ok(())
            }
            Next::Drop => self.unpin(),
        }
    }

    /// Gives a backup under way up.
    pub(crate) fn give_up_backup(&mut self, why: BackupError) -> Result<(), LogError> {
        match self.backup.take() {
            Some(backup) => {
                tracing::warn!(error = %Chain(&why), "a backup was given up");
                backup.give_up(why);
                self.unpin()
            }
            None => Ok(()),
        }
    }

    /// The backup has ended: what has waited for that is done.
    fn unpin(&mut self) -> Result<(), LogError> {
        self.backup = None;
        if std::mem::take(&mut self.close_deferred) {
            self.close_checkpoint()?;
        }
        Ok(())
    }

    /// How many pieces of the backup under way were taken; none without one.
    #[cfg(feature = "sled")]
    pub(crate) fn backed_up(&self) -> Option<u64> {
        self.backup.as_ref().map(|backup| backup.taken)
    }

    /// Whether [`Writer::back_up_some`] would do anything now.
    pub(crate) fn can_back_up(&self) -> bool {
        self.backup.as_ref().is_some_and(Backup::is_ready)
    }

    /// Removes the next few old pages; says so when the last is gone.
    pub(crate) fn remove_some(&mut self) -> Result<(), LogError> {
        let Some(removal) = &mut self.removal else {
            return Ok(());
        };
        let until = removal
            .first_page
            .min(self.oldest_page + self.limits.removed_pages_max);
        if self.oldest_page < until {
            self.store.remove_pages(self.oldest_page..until)?;
            self.unsynced = true;
            removal.removed += until - self.oldest_page;
            self.oldest_page = until;
        }
        if until == removal.first_page {
            let (first_page, removed_pages) = (removal.first_page, removal.removed);
            self.removal = None;
            (self.notify)(LogEvent::CheckpointClosed {
                first_page,
                removed_pages,
            });
        }
        Ok(())
    }

    /// Looks how much room is left, and tells if that is news. To be called a few
    /// times a second while something is written or the room is short.
    pub(crate) fn look_at_room(&mut self) -> Result<(), LogError> {
        let (free, least) = (self.store.free_bytes()?, self.limits.free_bytes_min);
        // A little more is wanted to be content again, lest it go to and fro.
        let wanted = least + least / 8;
        let is_short = match self.room {
            Room::Enough => free < least,
            Room::Short { .. } => free < wanted,
        };
        let room = if is_short {
            Room::Short { free, wanted }
        } else {
            Room::Enough
        };
        if room != self.room {
            self.room = room;
            (self.notify)(LogEvent::Room(room));
        }
        if self.is_short_of_room() {
            self.give_up_backup(BackupError::NoRoom)?;
        }
        Ok(())
    }

    /// Whether there is so little room that nothing new begins.
    pub(crate) fn is_short_of_room(&self) -> bool {
        self.room != Room::Enough
    }

    /// Whether the mark has been written since it was last synced.
    pub(crate) const fn mark_is_unsynced(&self) -> bool {
        self.mark_unsynced
    }

    /// Makes the mark durable. To be called once a second.
    pub(crate) fn sync_mark(&mut self) -> Result<(), LogError> {
        self.mark_unsynced = false;
        self.store.sync_mark()
    }

    /// Flushes all and marks the log clean.
    pub(crate) fn stop(&mut self) -> Result<(), LogError> {
        self.close_deferred = false;
        self.give_up_backup(BackupError::Stopped)?;
        self.flush()?;
        // The log has every change of them; but a directory that was stopped
        // cleanly is copied by hand.
        self.store.sync_values()?;
        self.write_mark(true)?;
        self.sync_mark()
    }

    /// Tells whoever listens that it is over.
    pub(crate) fn fail(&mut self, error: LogError) {
        (self.notify)(LogEvent::Failed(error));
    }

    pub(crate) const fn store(&self) -> &S {
        &self.store
    }

    pub(crate) const fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    pub(crate) fn into_store(self) -> S {
        self.store
    }

    /// The last record that is durable.
    pub(crate) const fn durable(&self) -> Lsn {
        self.mark.lsn
    }

    fn appended(&self) -> Lsn {
        Lsn(self.packer.next_lsn().0 - 1)
    }

    fn append(&mut self, records: Vec<(Lsn, Vec<u8>)>) -> Result<(), LogError> {
        for (lsn, bytes) in records {
            let expected = self.packer.next_lsn();
            if lsn != expected {
                return Err(LogError::OutOfOrder {
                    expected,
                    found: lsn,
                });
            }
            if bytes.len() > RECORD_BYTES_MAX {
                return Err(LogError::RecordTooLong {
                    lsn,
                    bytes: bytes.len(),
                });
            }
            self.packer.push(&bytes);
            self.records += 1;
            if self.packer.full_bytes() > self.limits.unflushed_bytes_max {
                self.write_full_pages()?;
            }
        }
        Ok(())
    }

    fn write_full_pages(&mut self) -> Result<(), LogError> {
        for page in self.packer.take_full() {
            self.bytes += page.bytes.len() as u64;
            self.unsynced = true;
            self.store.write_page(page.number, page.bytes)?;
        }
        Ok(())
    }

    /// The heart of the log. The order of these lines is the promise.
    fn flush(&mut self) -> Result<(), LogError> {
        self.packer.end_page();
        self.write_full_pages()?;
        if self.unsynced {
            let took = self.store.sync()?;
            self.unsynced = false;
            self.write_mark(false)?;
            let (records, bytes) = (self.records, self.bytes);
            (self.records, self.bytes) = (0, 0);
            (self.notify)(LogEvent::Flushed {
                records,
                bytes,
                took,
            });
        }
        (self.notify)(LogEvent::Durable(self.mark.lsn));
        Ok(())
    }

    /// Says in the mark what the last sync has made durable.
    fn write_mark(&mut self, clean: bool) -> Result<(), LogError> {
        self.mark = Mark {
            counter: self.mark.counter + 1,
            lsn: self.appended(),
            page: self.packer.next_page() - 1,
            clean,
        };
        self.mark_unsynced = true;
        self.store.write_mark(self.mark)
    }

    fn write_back(&mut self, values: Vec<Stored>) -> Result<(), LogError> {
        let appended = self.appended();
        let newest = values
            .iter()
            .map(|stored| stored.lsn)
            .max()
            .unwrap_or_default();
        if newest > appended {
            return Err(LogError::WriteBackAhead {
                lsn: newest,
                appended,
            });
        }
        if appended > self.durable() {
            self.flush()?;
        }
        for Stored { key, value, lsn } in values {
            let bytes = value.map(|value| value::to_bytes(&key, lsn, &value));
            self.store.write_value(&key, bytes)?;
        }
        Ok(())
    }

    fn close_checkpoint(&mut self) -> Result<(), LogError> {
        let extent = self.checkpoint.take().ok_or(LogError::NoCheckpoint)?;
        // One removal at a time, so that each close has its own answer.
        while self.is_removing() {
            self.remove_some()?;
        }
        // The live records and values first: the page that relies on them must
        // never be found without them.
        self.flush()?;
        self.store.write_extent(extent)?;
        self.store.sync_values()?;
        let first_page = extent.page;
        self.packer.close_checkpoint(first_page);
        self.flush()?;
        self.removal = Some(Removal {
            first_page,
            removed: 0,
        });
        Ok(())
    }
}
