//! Why a log stops, and why one is refused.
//!
//! A refusal names the directory, the place and the way out. None of them
//! repairs anything by itself: a log that was cut or mended by a guess could
//! take back a promise without anyone noticing.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nemcon_core::codec::CorruptLog;
use nemcon_core::id::Lsn;

use crate::page::PageError;

/// The end of every message about a log that has lost or damaged something.
const WAY_OUT: &str = "Nothing was repaired. Keep a copy of the directory; `nemcon wal verify` and \
    `nemcon wal dump` show what is in it. Then restore its newest backup; without one see \
    \"Refused, and the way out\" in docs/log.md";

/// Why a running log stopped. It does not start again; the node must stop too
/// and recover.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The disk or the operating system refused. Not tried again: what a failed
    /// sync has dropped, a second one would not bring back.
    #[error(
        "log in {}: {doing} failed; the node must stop and recover. {}",
        place.display(), look_for(source, place)
    )]
    Write {
        /// The log's directory.
        place: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The storage engine refused or broke down.
    #[error("log in {}: {doing} failed in the storage engine: {what}; the node must stop and recover", place.display())]
    Engine {
        /// The log's directory.
        place: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What it said, or its panic message.
        what: String,
    },
    /// Records were appended with a gap or twice: a bug of the caller.
    #[error("record {found} appended where {expected} had to follow; the node must stop")]
    OutOfOrder {
        /// The LSN that had to come.
        expected: Lsn,
        /// The LSN that came.
        found: Lsn,
    },
    /// A record longer than any can be: a bug of the caller.
    #[error(
        "record {lsn} has {bytes} bytes; at most {} are allowed",
        crate::RECORD_BYTES_MAX
    )]
    RecordTooLong {
        /// The record.
        lsn: Lsn,
        /// Its length.
        bytes: usize,
    },
    /// A value was to be written back whose record was never appended: a bug of
    /// the caller, which would let data outlive the decision behind it.
    #[error("value of record {lsn} to be written back, but the log ends at {appended}")]
    WriteBackAhead {
        /// The value's LSN.
        lsn: Lsn,
        /// The last record appended.
        appended: Lsn,
    },
    /// A checkpoint was closed that had not begun: a bug of the caller.
    #[error("a checkpoint was closed that had not begun")]
    NoCheckpoint,
    /// The log's thread is gone.
    #[error("log in {}: its thread has stopped", place.display())]
    Stopped {
        /// The log's directory.
        place: PathBuf,
    },
}

/// What to do about a write that failed.
fn look_for(source: &io::Error, place: &Path) -> String {
    if source.kind() == ErrorKind::StorageFull {
        full_disk(place)
    } else {
        "Look for a failing disk".to_owned()
    }
}

/// What to do about a full disk.
fn full_disk(dir: &Path) -> String {
    format!(
        "The disk is full: free some room on its file system, or let go of the ballast that is \
         kept for this with `nemcon wal repair {}`, then start the node again",
        dir.display()
    )
}

/// What to do with a directory that is no data directory but a backup of one.
fn is_a_backup(dir: &Path, unfinished: bool) -> String {
    let dir = dir.display();
    if unfinished {
        return format!(
            "{dir} is a backup that was never finished: no node starts on it, and it cannot be \
             restored. Take another one"
        );
    }
    format!(
        "{dir} is a backup, and no node starts on it: make a data directory of it with \
         `nemcon restore {dir} --to DIR`"
    )
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is no room to open it: that takes writing a little.
    #[error("the log in {} cannot be opened. {}", dir.display(), full_disk(dir))]
    DiskFull {
        /// The log's directory.
        dir: PathBuf,
        /// What was tried.
        source: Box<OpenError>,
    },
    /// The directory has no log in it.
    #[error(
        "there is no log in {}: want the data directory of a node, which has a file `format`",
        dir.display()
    )]
    NoLog {
        /// The directory.
        dir: PathBuf,
    },
    /// It is a backup.
    #[error("{}", is_a_backup(dir, *unfinished))]
    Backup {
        /// The directory.
        dir: PathBuf,
        /// It was never finished.
        unfinished: bool,
    },
    /// A backup was being restored to it, and that was cut short.
    #[error(
        "{} was being restored from a backup, and that was cut short: empty it and run `nemcon \
         restore` again",
        dir.display()
    )]
    HalfRestored {
        /// The directory.
        dir: PathBuf,
    },
    /// Another process, or another node in this one, has it open.
    #[error(
        "the log in {} is in use by another node; stop that one, or choose another data directory",
        dir.display()
    )]
    InUse {
        /// The log's directory.
        dir: PathBuf,
    },
    /// Written by a newer version of this program.
    #[error(
        "the log in {} has format version {found}; this program reads up to {known}. \
         Start the newer program again, or restore a backup from before the upgrade",
        dir.display()
    )]
    NewerFormat {
        /// The log's directory.
        dir: PathBuf,
        /// The version that was found.
        found: u64,
        /// The newest this program reads.
        known: u64,
    },
    /// The format file is missing beside a log, or says something else.
    #[error("{} does not name the format of this log (found {found:?}). {WAY_OUT}", path.display())]
    UnknownFormat {
        /// The format file.
        path: PathBuf,
        /// What stands in it; empty if there is none.
        found: String,
    },
    /// The storage engine cannot read its files; it may have panicked over them.
    #[error("the log in {} is damaged: {what}. {WAY_OUT}", dir.display())]
    Damaged {
        /// The log's directory.
        dir: PathBuf,
        /// What the engine said.
        what: String,
    },
    /// The high-water mark is missing or unreadable, so nobody can say whether
    /// the log is whole.
    #[error("the high-water mark {} is missing or unreadable. {WAY_OUT}", path.display())]
    NoMark {
        /// The mark's file.
        path: PathBuf,
    },
    /// The log ends before what was said to be durable.
    #[error(
        "the log in {} has lost its end: it stops at record {found} (page {found_page}), but record {expected} (page {expected_page}) was durable. {WAY_OUT}",
        dir.display()
    )]
    LostTail {
        /// The log's directory.
        dir: PathBuf,
        /// The last record that was durable.
        expected: Lsn,
        /// The last record that is there.
        found: Lsn,
        /// The last page that was durable.
        expected_page: u64,
        /// The last page that is there.
        found_page: u64,
    },
    /// A database is missing beside what says that there is a log.
    #[error("the database {} is missing. {WAY_OUT}", path.display())]
    NoDatabase {
        /// Where it has to be.
        path: PathBuf,
    },
    /// The format is older than the log: an upgrade has taken place since.
    #[error(
        "the file {} says format {found}, but what that format keeps in the database beside it was moved by an upgrade: the file is older than the rest. {WAY_OUT}",
        path.display()
    )]
    StaleFormat {
        /// The file.
        path: PathBuf,
        /// The format it says.
        found: u64,
    },
    /// The format is older, and there is no room to write what there is in the new one.
    #[error(
        "the log in {} has an older format, and its upgrade needs {needed} bytes of room, of which \
         {free} are free. Nothing was changed: make room on its file system, then start the node \
         again",
        dir.display()
    )]
    NoRoomToUpgrade {
        /// The log's directory.
        dir: PathBuf,
        /// Bytes that may be needed.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// One of the databases was put in the place of another.
    #[error(
        "the databases `sled` and `data` in {} are not of one log. {WAY_OUT}",
        dir.display()
    )]
    MixedDatabases {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The data is older than the log beside it can make up for.
    #[error(
        "the data in {} is older than its log: it is complete up to page {found}, but the log begins its replay at page {expected}. {WAY_OUT}",
        dir.display()
    )]
    StaleData {
        /// The log's directory.
        dir: PathBuf,
        /// Where the newest closed checkpoint lets replay start.
        expected: u64,
        /// The page before which the data has everything.
        found: u64,
    },
    /// The data belongs to another log.
    #[error(
        "the data in {} belongs to another log: it says that page {page} begins with record {found}, which begins with {expected}. {WAY_OUT}",
        dir.display()
    )]
    ForeignData {
        /// The log's directory.
        dir: PathBuf,
        /// The page that the data names.
        page: u64,
        /// The record with which the log has that page begin.
        expected: Lsn,
        /// The record with which the data says it does.
        found: Lsn,
    },
    /// A page is missing between others, or before the first.
    #[error("the log in {} lacks page {expected}; the next one there is {found}. {WAY_OUT}", dir.display())]
    MissingPage {
        /// The log's directory.
        dir: PathBuf,
        /// The page that had to come.
        expected: u64,
        /// The page that came.
        found: u64,
    },
    /// A page is there, but not as it was written.
    #[error("page {page} of the log in {} cannot be read. {WAY_OUT}", dir.display())]
    BadPage {
        /// The log's directory.
        dir: PathBuf,
        /// The page.
        page: u64,
        /// What is wrong with it.
        source: PageError,
    },
    /// A page's records do not follow those before it.
    #[error("page {page} of the log in {} begins with record {found}, but {expected} had to follow. {WAY_OUT}", dir.display())]
    NotDense {
        /// The log's directory.
        dir: PathBuf,
        /// The page.
        page: u64,
        /// The record that had to come.
        expected: Lsn,
        /// The record that came.
        found: Lsn,
    },
    /// A stored value fails its checksum or has an unknown version.
    #[error("the value of key {key} in {} cannot be read: {why}. {WAY_OUT}", dir.display())]
    BadValue {
        /// The log's directory.
        dir: PathBuf,
        /// The key, escaped.
        key: String,
        /// What is wrong with it.
        why: crate::value::ValueError,
    },
    /// The node's machine cannot take a stored value.
    #[error("the node cannot take the value of key {key} in {}. {WAY_OUT}", dir.display())]
    RefusedValue {
        /// The log's directory.
        dir: PathBuf,
        /// The key, escaped.
        key: String,
        /// The machine's reason.
        source: CorruptLog,
    },
    /// The node's machine cannot take a record.
    #[error("the node cannot take record {lsn} (page {page}) of the log in {}. {WAY_OUT}", dir.display())]
    RefusedRecord {
        /// The log's directory.
        dir: PathBuf,
        /// The page it stands in.
        page: u64,
        /// The record.
        lsn: Lsn,
        /// The machine's reason.
        source: CorruptLog,
    },
    /// What was recovered could not be made durable again.
    #[error("the log was read but cannot be written")]
    Write(#[from] LogError),
}

impl OpenError {
    /// The same, or what to do about it if the disk is full.
    #[cfg(feature = "sled")]
    pub(crate) fn or_full_disk(self, dir: &Path) -> Self {
        let kind = match &self {
            Self::Io { source, .. } => source.kind(),
            Self::Write(LogError::Write { source, .. }) => source.kind(),
            _ => return self,
        };
        if kind != ErrorKind::StorageFull {
            return self;
        }
        Self::DiskFull {
            dir: dir.to_owned(),
            source: Box::new(self),
        }
    }
}

/// An error with all that caused it, on one line.
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
