//! The write-ahead log: what a node has promised, kept so that no crash takes
//! it back.
//!
//! A node's machine hands over *records* with dense LSNs, and now and then
//! *values* of its data. The log packs records into pages, makes pages durable,
//! and says so once per batch with [`LogEvent::Durable`]. Only then may a
//! promise leave the node.
//!
//! ```text
//!  append, flush,      ┌────────┐   pages, values    ┌──────────────┐
//!  write_back, … ────▶ │ writer │ ─────────────────▶ │ store        │
//!                      │        │   sync             │  pages       │
//!  LogEvent ◀───────── │        │ ─────────────────▶ │  values      │
//!                      └────────┘   mark             │  mark        │
//!                                                    └──────────────┘
//! ```
//!
//! The writer (paging, order of syncs, checkpoints) and the recovery (what is
//! checked before a node may start) are one piece of code over two stores:
//!
//! - `SledLog` (feature `sled`, on by default): one plain thread that owns two
//!   sled databases, with a real sync after each flush;
//! - [`mem::MemLog`]: a store in memory that crashes, loses and fails on
//!   demand, so that a simulator drives the true framing and the true order.
//!
//! # Invariants
//! - Records are durable in LSN order: what survives a crash is a prefix.
//! - `Durable(lsn)` is said only after everything up to `lsn` was synced, and
//!   after the high-water mark says so too.
//! - A value is written back only when the record that last changed it is
//!   durable.
//! - A checkpoint is closed only when all values it relies on are durable, and
//!   a statement beside them says how far they are complete.
//! - Pages are removed only when a checkpoint that replaces them is durable.
//! - A failed write or sync is never tried again: the log stops, and the node
//!   with it. Recovery is the only way back.
//! - While a backup is under way no checkpoint is closed, so no page goes that it
//!   needs.
//! - A log that is not whole is refused at open, with the reason and the way
//!   out; nothing is guessed or cut off.
//!
//! `docs/log.md` has the format byte by byte and the argument for each of these.

use nemcon_core::codec::CorruptLog;
use nemcon_core::id::Lsn;
use nemcon_core::machine::{Room, Stored};
use std::time::Duration;

pub mod backup;
pub mod checkpoint;
pub mod error;
mod extent;
pub mod faults;
pub mod frame;
pub mod mark;
pub mod mem;
pub mod page;
mod recover;
#[cfg(feature = "sled")]
mod sled;
mod store;
pub mod value;
mod writer;

pub use error::{Chain, LogError, OpenError};
pub use faults::Faults;
pub use mem::MemLog;
pub use recover::Opened;
#[cfg(feature = "sled")]
pub use sled::{
    BALLAST_BYTES, Backups, Durability, Options, Reader, SledLog, free_ballast, free_bytes,
    panics_are_caught,
};
pub use writer::Limits;

/// Bytes of the longest record. A message is smaller than this by default, so
/// a longer record is a bug of ours and stops the log.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// Where a node's promises are kept.
///
/// Calls only queue work; answers come as [`LogEvent`]s, in order. After a
/// [`LogEvent::Failed`] all further calls are ignored: the node must stop.
pub trait Log: Send {
    /// Queues records, with dense LSNs, in order. Not forced by itself: they
    /// wait for a flush that somebody asks for.
    fn append(&mut self, records: Vec<(Lsn, Vec<u8>)>);

    /// Asks that everything queued so far become durable; answered by
    /// [`LogEvent::Durable`]. Several asked for in quick succession may share
    /// one answer.
    fn flush(&mut self);

    /// A checkpoint begins: once it is closed, replay starts at the page that
    /// is written next. A checkpoint that was begun and not closed is forgotten.
    fn begin_checkpoint(&mut self);

    /// Values to write to the data tree, after everything appended so far has
    /// become durable. A value whose LSN was never appended fails the log.
    fn write_back(&mut self, values: Vec<Stored>);

    /// Everything live has been appended and written back since
    /// [`Log::begin_checkpoint`]: makes it all durable, closes the checkpoint
    /// and removes older pages in small pieces between batches. Answered by
    /// [`LogEvent::CheckpointClosed`] when they are gone. Fails the log if no
    /// checkpoint was begun.
    fn close_checkpoint(&mut self);

    /// Asks to be told when everything queued so far has been taken in, durable or
    /// not: [`LogEvent::CaughtUp`]. For whoever has much to hand over and nobody to
    /// wait for it: it need not all stand in the queue at once.
    fn catch_up(&mut self);

    /// Stops cleanly: flushes all, marks the log clean, waits until that is
    /// durable. Removal of old pages is left to the next start.
    ///
    /// # Errors
    /// What stopped the log, now or before.
    fn close(self: Box<Self>) -> Result<(), LogError>;
}

impl Log for Box<dyn Log> {
    fn append(&mut self, records: Vec<(Lsn, Vec<u8>)>) {
        (**self).append(records);
    }

    fn flush(&mut self) {
        (**self).flush();
    }

    fn begin_checkpoint(&mut self) {
        (**self).begin_checkpoint();
    }

    fn write_back(&mut self, values: Vec<Stored>) {
        (**self).write_back(values);
    }

    fn close_checkpoint(&mut self) {
        (**self).close_checkpoint();
    }

    fn catch_up(&mut self) {
        (**self).catch_up();
    }

    fn close(self: Box<Self>) -> Result<(), LogError> {
        (*self).close()
    }
}

/// What the log tells the node.
#[derive(Clone, Debug)]
pub enum LogEvent {
    /// Figures of one flush, for metrics. Comes just before the `Durable` of the
    /// same flush and needs no wake-up of its own.
    Flushed {
        /// Records it made durable.
        records: u64,
        /// Bytes of the pages they stand in.
        bytes: u64,
        /// From handing the pages to the store until they were synced.
        took: Duration,
    },
    /// Everything up to and including this record is durable. Once per flush.
    Durable(Lsn),
    /// How much room the log has: when that has changed, and again and again
    /// while it is short.
    Room(Room),
    /// The checkpoint is durable and the pages before it are gone.
    CheckpointClosed {
        /// Where replay starts from now on.
        first_page: u64,
        /// How many pages were removed.
        removed_pages: u64,
    },
    /// All that had been queued by the last [`Log::catch_up`] has been taken in.
    CaughtUp,
    /// The log has stopped for good; nothing follows. What was not said to be
    /// durable may or may not be: only recovery can tell.
    Failed(LogError),
}

/// Takes the log's events, on the log's own thread.
///
/// It must return at once and never wait for whoever calls the [`Log`]: a full
/// queue makes that caller wait for the log.
pub type Notify = Box<dyn FnMut(LogEvent) + Send>;

/// Takes what was durable before the restart: every stored value first, in key
/// order, then the records from the newest closed checkpoint on, in LSN order.
pub trait Recovery {
    /// A value of the data tree; never a removal.
    ///
    /// # Errors
    /// [`CorruptLog`] refuses the whole log.
    fn stored(&mut self, stored: Stored) -> Result<(), CorruptLog>;

    /// A record of the log.
    ///
    /// # Errors
    /// [`CorruptLog`] refuses the whole log.
    fn record(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), CorruptLog>;
}
