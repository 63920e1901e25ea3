//! One sled database: what it takes to make it durable, and to keep it small.
//!
//! `Db::flush` alone is not durable: it calls `sync_file_range`, which commits
//! neither the file's metadata nor the device's cache. So each sync is
//!
//! 1. `flush`: sled hands everything to the operating system;
//! 2. a sync of values that sled has put into files of their own, which it
//!    never syncs itself;
//! 3. `sync_data` on sled's main file.
//!
//! Values are removed key by key with `Tree::remove`: removing by `Batch` leaks disk
//! and memory. Even so sled has to be made to clean its file: see
//! [`Database::clean`].

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ::sled::{Db, Tree};
use uuid::Uuid;

use super::directory;
use super::guard::{EngineError, guarded};
use super::{Durability, Options};
use crate::error::OpenError;

/// Writes to a tree node after which sled rewrites it as a whole.
const WRITES_UNTIL_REWRITTEN: usize = 10;

/// The key, in the tree that has no name, that says of which log a database is.
const IDENTITY: &[u8] = b"identity";

/// How long sled may hold on to a database that was closed.
const LET_GO_MAX: Duration = Duration::from_secs(5);

/// How often that is looked at.
const LET_GO_STEP: Duration = Duration::from_millis(2);

/// Why a database was not made durable.
#[derive(Debug)]
pub(super) enum SyncError {
    /// sled's part failed.
    Engine(EngineError),
    /// Our part failed, doing this.
    Io(&'static str, io::Error),
}

pub(super) struct Database {
    db: Db,
    /// sled's main file, for `sync_data`.
    main: File,
    large: LargeValues,
    /// Counts writes of the spare key; see [`Database::clean`].
    spare: u64,
    durability: Durability,
}

impl Database {
    /// Opens the database at `path`, or makes one there, and makes its files
    /// durable. `dir` is the log's directory, for messages.
    pub(super) fn open(path: &Path, dir: &Path, options: &Options) -> Result<Self, OpenError> {
        remove_half_snapshots(path)?;
        let config = ::sled::Config::new()
            .path(path)
            .cache_capacity(options.cache_bytes)
            .use_compression(false)
            .flush_every_ms(None);
        let db = open_patiently(&config).map_err(|error| refused(dir, &error))?;
        // sled has made files, renamed them and never synced the directory.
        guarded(|| db.flush()).map_err(|error| refused(dir, &error))?;
        directory::sync_all(path)?;
        let main = path.join("db");
        let main = File::open(&main).map_err(directory::failed("open", &main))?;
        Ok(Self {
            db,
            main,
            large: LargeValues {
                dir: path.join("blobs"),
                synced: BTreeSet::new(),
            },
            spare: 0,
            durability: options.durability,
        })
    }

    /// A tree of it, made if there is none.
    pub(super) fn tree(&self, name: &str, dir: &Path) -> Result<Tree, OpenError> {
        guarded(|| self.db.open_tree(name)).map_err(|error| refused(dir, &error))
    }

    /// Whether it has a tree of that name.
    pub(super) fn has_tree(&self, name: &str) -> bool {
        self.db.tree_names().iter().any(|it| it == name.as_bytes())
    }

    /// Drops a tree with all that is in it.
    pub(super) fn drop_tree(&self, name: &str) -> Result<(), EngineError> {
        guarded(|| self.db.drop_tree(name)).map(drop)
    }

    /// Of which log it is; `None` if that was never said.
    pub(super) fn identity(&self) -> Result<Option<Uuid>, EngineError> {
        let found = guarded(|| self.db.get(IDENTITY))?;
        Ok(found.and_then(|bytes| Uuid::from_slice(&bytes).ok()))
    }

    /// Says of which log it is.
    pub(super) fn set_identity(&mut self, log: Uuid) -> Result<(), EngineError> {
        guarded(|| self.db.insert(IDENTITY, log.as_bytes())).map(drop)
    }

    /// Makes everything in it durable.
    pub(super) fn sync(&mut self) -> Result<(), SyncError> {
        guarded(|| self.db.flush()).map_err(SyncError::Engine)?;
        if self.durability == Durability::Synced {
            let large = self.large.sync();
            large.map_err(|error| SyncError::Io("syncing a large value", error))?;
            let main = self.main.sync_data();
            main.map_err(|error| SyncError::Io("a sync", error))?;
        }
        Ok(())
    }

    /// Makes sled clean its file by so many tree nodes.
    ///
    /// sled reuses a segment when everything alive in it has moved elsewhere. It
    /// moves one tree node whenever it rewrites another, or from a thread of its
    /// own that flushes as well, which we do not run: nobody else is to sync. Our
    /// writes alone cause too few rewrites. So a spare key, in a tree that is used
    /// for nothing else, is written until its node is rewritten. Each time with
    /// another value: the same again is no write.
    pub(super) fn clean(&mut self, nodes: usize) -> Result<(), EngineError> {
        guarded(|| {
            for _ in 0..nodes * WRITES_UNTIL_REWRITTEN {
                self.spare += 1;
                self.db.insert(b"spare", &self.spare.to_be_bytes())?;
            }
            Ok(())
        })
    }
}

/// Files in which sled keeps what exceeds 128 KiB: one large value, or a tree
/// node of several. Each is written once, never changed, never synced by sled.
#[derive(Debug)]
struct LargeValues {
    dir: PathBuf,
    /// Names that were there, and synced, the last time.
    synced: BTreeSet<OsString>,
}

impl LargeValues {
    /// Syncs the files that are new. The directory is empty in normal use, and
    /// listing it takes a few microseconds.
    fn sync(&mut self) -> io::Result<()> {
        let mut there = BTreeSet::new();
        let mut any_new = false;
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            if !self.synced.contains(&name) {
                any_new |= sync_if_there(&self.dir.join(&name))?;
            }
            there.insert(name);
        }
        if any_new {
            File::open(&self.dir)?.sync_all()?;
        }
        self.synced = there;
        Ok(())
    }
}

/// sled may remove what it has replaced at any time.
fn sync_if_there(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        opened => opened?.sync_data().map(|()| true),
    }
}

/// Removes snapshots that were never finished.
///
/// sled writes a snapshot at every open, under another name until it is whole.
/// If that is cut short, by a kill or a full disk, sled takes the rest for a
/// snapshot all the same, finds it damaged, and opens no more. What it was to
/// replace is still there.
fn remove_half_snapshots(path: &Path) -> Result<(), OpenError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(directory::failed("list", path))?,
    };
    for entry in entries {
        let name = entry.map_err(directory::failed("list", path))?.file_name();
        if name.to_string_lossy().ends_with(".generating") {
            let half = path.join(name);
            tracing::debug!(path = %half.display(), "removing a snapshot that was never finished");
            fs::remove_file(&half).map_err(directory::failed("remove", &half))?;
        }
    }
    Ok(())
}

/// Opens a database; waits for sled to let go of it first.
///
/// A background task of sled's may hold on to the file, and its lock, for a
/// moment after the database was dropped. The directory's own lock is ours, so
/// it can only be a log that this very process has just closed.
fn open_patiently(config: &::sled::Config) -> Result<Db, EngineError> {
    let deadline = Instant::now() + LET_GO_MAX;
    loop {
        match guarded(|| config.open()) {
            Err(error) if is_locked(&error) && Instant::now() < deadline => {
                thread::sleep(LET_GO_STEP);
            }
            other => return other,
        }
    }
}

/// sled has no error of its own for a lock that is held.
fn is_locked(error: &EngineError) -> bool {
    matches!(error, EngineError::Error(::sled::Error::Io(source))
        if source.to_string().contains("could not acquire lock"))
}

/// What sled says about a database it cannot read, in our words.
pub(super) fn refused(dir: &Path, error: &EngineError) -> OpenError {
    match error {
        locked if is_locked(locked) => OpenError::InUse {
            dir: dir.to_owned(),
        },
        EngineError::Error(::sled::Error::Io(source)) if source.raw_os_error().is_some() => {
            OpenError::Io {
                doing: "open the database in",
                path: dir.to_owned(),
                source: io::Error::new(source.kind(), source.to_string()),
            }
        }
        other => OpenError::Damaged {
            dir: dir.to_owned(),
            what: other.what(),
        },
    }
}
