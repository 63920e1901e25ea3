//! What is written when: the order that makes the log's promises true.
//!
//! One flush is: end the open page, write the pages, sync, write the mark, say
//! `Durable`. Everything else is built from it. A value is written back after a
//! flush of all that was appended before it; a checkpoint is closed by a flush
//! (which covers the values too: they are in the same store), a page that says
//! so, another flush, and only then old pages go.

use nemcon_core::id::Lsn;
use nemcon_core::machine::Stored;

use crate::error::LogError;
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
    /// 7 KiB by default. sled rewrites a tree node of up to 17 values at once
    /// and puts it into a file of its own when it exceeds 128 KiB; seventeen
    /// pages of 7 KiB just stay below.
    pub page_bytes_max: usize,
    /// Bytes of full pages that wait in memory while nobody asks for a flush;
    /// beyond, they are given to the store, still not durable. 64 KiB.
    pub unflushed_bytes_max: usize,
    /// Old pages removed in one go between two batches. Each costs about 10 µs;
    /// a flush waits for at most this many. 32.
    pub removed_pages_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            page_bytes_max: 7 << 10,
            unflushed_bytes_max: 64 << 10,
            removed_pages_max: 32,
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
    checkpoint: Option<u64>,
    removal: Option<Removal>,
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
            oldest_page: recovered.oldest_page,
            unsynced: false,
            mark_unsynced: false,
            records: 0,
            bytes: 0,
            checkpoint: None,
            removal: None,
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
                    self.checkpoint = Some(self.packer.next_page());
                }
                Command::WriteBack(values) => self.write_back(values)?,
                Command::CloseCheckpoint => self.close_checkpoint()?,
            }
        }
        if flush { self.flush() } else { Ok(()) }
    }

    /// Whether old pages are waiting to be removed.
    pub(crate) const fn is_removing(&self) -> bool {
        self.removal.is_some()
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
        self.flush()?;
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
            self.unsynced = true;
            self.store.write_value(&key, bytes)?;
        }
        Ok(())
    }

    fn close_checkpoint(&mut self) -> Result<(), LogError> {
        let first_page = self.checkpoint.take().ok_or(LogError::NoCheckpoint)?;
        // One removal at a time, so that each close has its own answer.
        while self.is_removing() {
            self.remove_some()?;
        }
        // The live records and values first: the page that relies on them must
        // never be found without them.
        self.flush()?;
        self.packer.close_checkpoint(first_page);
        self.flush()?;
        self.removal = Some(Removal {
            first_page,
            removed: 0,
        });
        Ok(())
    }
}
