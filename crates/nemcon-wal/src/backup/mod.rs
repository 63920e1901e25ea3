//! Backup of a log that is in use, and its way back.
//!
//! ```text
//!   the log's thread            a sink              a folder            restore
//!   values, piece by piece ──▶ (never waits) ──▶ values, pages ──▶ a data directory
//!   flush                          ▲               manifest          + one record
//!   pages up to the mark           └ who asks      format: last
//! ```
//!
//! Why what is copied piece by piece, while the node works, is one state: from its
//! beginning to its end a backup *pins* the log: no checkpoint is closed, so no page
//! is removed that replay from the one in force needs. Values are copied as they are met, so they are of different
//! times, but each is at least as new as the checkpoint that is in force, and
//! older than the end of the pages that are copied after them. Replay from that
//! checkpoint applies a record to a value only if it is newer. So it ends with
//! what the node had at the end of those pages, whatever each value began with.
//! What a node stores beside its log must therefore be such that each value is
//! judged by itself.
//!
//! A backup has to end: after a time, when nobody takes its pieces, and when the
//! room on the disk gets short, since a pinned log grows. Then the backup is given
//! up, never the node.

pub mod folder;
#[cfg(feature = "sled")]
mod restore;
pub(crate) mod source;

use std::time::Duration;

use nemcon_core::id::Lsn;

#[cfg(feature = "sled")]
pub(crate) use restore::unpack;
#[cfg(feature = "sled")]
pub use restore::{RestoreError, Restored, restore};

/// How long a backup may keep the log pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinLimits {
    /// From its beginning to its end. 30 min: at 10 MB/s enough for 18 GB, and
    /// short enough that what a forgotten one keeps on the disk is no surprise.
    pub pinned_max: Duration,
    /// While nobody takes a piece. 30 s.
    pub stalled_max: Duration,
}

impl Default for PinLimits {
    fn default() -> Self {
        Self {
            pinned_max: Duration::from_secs(1_800),
            stalled_max: Duration::from_secs(30),
        }
    }
}

/// A part of a backup. They come in this order: one beginning, values, pages, one
/// end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// It has begun.
    Begun {
        /// The first page there will be.
        first_page: u64,
    },
    /// Keys of the data, and their values as they are stored.
    Values(Vec<(Vec<u8>, Vec<u8>)>),
    /// Numbers of pages, and the pages as they are stored.
    Pages(Vec<(u64, Vec<u8>)>),
    /// It is complete.
    Ended(End),
}

/// Where a backup ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The last record.
    pub lsn: Lsn,
    /// The last page.
    pub page: u64,
}

/// Why there is no backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// Another one is under way.
    #[error("another backup of this node is under way; wait for its end")]
    UnderWay,
    /// The log of a node with little room must not grow.
    #[error("the disk of the node has too little room for a backup: make some and try again")]
    NoRoom,
    /// It took too long as a whole.
    #[error(
        "the backup took longer than {} s, for which at most the log is kept back for it",
        .0.as_secs()
    )]
    TooLong(Duration),
    /// Nobody took its pieces.
    #[error("for {} s nobody took what there was of the backup", .0.as_secs())]
    Stalled(Duration),
    /// The node stopped.
    #[error("the node stopped before the backup was complete")]
    Stopped,
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Unreadable(String),
}

/// Whether a sink takes another piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// At once.
    Now,
    /// Later: it is full.
    Later,
    /// Never again: whoever wanted the backup has gone.
    Never,
}

/// Takes a backup, on the log's own thread, and never waits.
pub trait Sink: Send {
    /// Whether it takes another piece.
    fn takes(&self) -> Takes;

    /// Takes a piece, or why there is none; after an error nothing follows.
    fn put(&mut self, piece: Result<Piece, BackupError>);
}
