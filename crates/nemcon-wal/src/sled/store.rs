//! The store on sled: what it takes to make sled durable.
//!
//! `Db::flush` alone is not: it calls `sync_file_range`, which commits neither
//! the file's metadata nor the device's cache. So each sync is
//!
//! 1. `flush`: sled hands everything to the operating system;
//! 2. a sync of values that sled has put into files of their own, which it
//!    never syncs itself;
//! 3. `sync_data` on sled's main file.
//!
//! `Tree::remove` key by key and `first` afterwards is the only way of removing
//! that gives back disk and memory; removing by `Batch` leaks both. Even so sled
//! has to be made to clean its file: see `SledStore::clean`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ::sled::{Db, IVec, Tree};

use super::directory::{self, Directory};
use super::guard::{EngineError, Guarded, guarded};
use super::{Durability, Options, space};
use crate::error::{LogError, OpenError};
use crate::mark::Mark;
use crate::store::{Entry, Store};

/// Beyond this a value may get a file of its own (sled: a quarter of its 512 KiB
/// segment). Half of it, since a key and a header come with it.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Tree nodes that sled is made to clean for each page that is removed. Each costs
/// some 20 µs. More made the file of a busy bank no smaller than twice what it may
/// be: the cleaning itself writes too.
const CLEANED_FOR_EACH_PAGE: usize = 3;

/// Writes to a tree node after which sled rewrites it as a whole.
const WRITES_UNTIL_REWRITTEN: usize = 10;

/// How long sled may hold on to a database that was closed.
const LET_GO_MAX: Duration = Duration::from_secs(5);

/// How often that is looked at.
const LET_GO_STEP: Duration = Duration::from_millis(2);

pub(crate) struct SledStore {
    db: Db,
    log: Tree,
    data: Tree,
    /// sled's main file, for `sync_data`.
    main: File,
    large: LargeValues,
    /// Counts writes of the spare key; see [`SledStore::clean`].
    spare: u64,
    durability: Durability,
    pub(crate) directory: Directory,
}

impl SledStore {
    /// Opens the database in a directory that is ours.
    pub(crate) fn open(directory: Directory, options: &Options) -> Result<Self, OpenError> {
        Self::open_at(&directory.sled(), directory, options)
    }

    /// Opens a database that may be elsewhere: a copy.
    pub(crate) fn open_at(
        path: &Path,
        directory: Directory,
        options: &Options,
    ) -> Result<Self, OpenError> {
        remove_half_snapshots(path)?;
        let config = ::sled::Config::new()
            .path(path)
            .cache_capacity(options.cache_bytes)
            .use_compression(false)
            .flush_every_ms(None);
        let (db, log, data) =
            open_patiently(&config).map_err(|error| refused(&directory.path, &error))?;
        // sled has made files, renamed them and never synced the directory.
        guarded(|| db.flush()).map_err(|error| refused(&directory.path, &error))?;
        directory::sync_all(path)?;
        directory::sync(&directory.path)?;
        let main = path.join("db");
        let main = File::open(&main).map_err(directory::failed("open", &main))?;
        let large = LargeValues {
            dir: path.join("blobs"),
            synced: BTreeSet::new(),
        };
        Ok(Self {
            db,
            log,
            data,
            main,
            large,
            spare: 0,
            durability: options.durability,
            directory,
        })
    }

    fn engine_failed(&self, doing: &'static str) -> impl FnOnce(EngineError) -> LogError {
        let place = self.directory.path.clone();
        move |error| match error {
            EngineError::Error(::sled::Error::Io(source)) => LogError::Write {
                place,
                doing,
                source: Arc::new(source),
            },
            other => LogError::Engine {
                place,
                doing,
                what: other.what(),
            },
        }
    }

    fn write_failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> LogError {
        let place = self.directory.path.clone();
        move |source| LogError::Write {
            place,
            doing,
            source: Arc::new(source),
        }
    }

    /// Makes sled clean its file by so many tree nodes.
    ///
    /// sled reuses a segment when everything alive in it has moved elsewhere. It
    /// moves one tree node whenever it rewrites another, or from a thread of its
    /// own that flushes as well, which we do not run: nobody else is to sync. Our
    /// writes alone cause too few rewrites. So a spare key, in a tree that is used
    /// for nothing else, is written until its node is rewritten. Each time with
    /// another value: the same again is no write.
    ///
    /// ⚠ This does for the chunks of a coordinator, not for the accounts of a bank:
    /// `docs/log.md` says why.
    fn clean(&mut self, nodes: usize) -> Result<(), EngineError> {
        guarded(|| {
            for _ in 0..nodes * WRITES_UNTIL_REWRITTEN {
                self.spare += 1;
                self.db.insert(b"spare", &self.spare.to_be_bytes())?;
            }
            Ok(())
        })
    }

    fn read<'a>(&'a self, tree: &Tree) -> impl DoubleEndedIterator<Item = Entry<IVec>> + use<'a> {
        Guarded::new(tree).map(|entry| entry.map_err(|error| refused(&self.directory.path, &error)))
    }
}

impl Store for SledStore {
    type Bytes = IVec;

    fn place(&self) -> &Path {
        &self.directory.path
    }

    fn write_page(&mut self, page: u64, bytes: Vec<u8>) -> Result<(), LogError> {
        let large = bytes.len() > INLINE_BYTES_MAX;
        guarded(|| self.log.insert(page.to_be_bytes(), bytes))
            .map_err(self.engine_failed("writing a page"))?;
        // A value in a file of its own reaches the disk in no order with the
        // rest. Without a sync here a power cut could keep the pages behind it
        // and lose this one, and the log would be refused for a gap in what
        // nobody was promised.
        if large {
            self.sync()?;
        }
        Ok(())
    }

    fn remove_pages(&mut self, pages: Range<u64>) -> Result<(), LogError> {
        let count = pages.clone().count();
        guarded(|| {
            for page in pages {
                self.log.remove(page.to_be_bytes())?;
            }
            self.log.first()
        })
        .map_err(self.engine_failed("removing old pages"))?;
        self.clean(count * CLEANED_FOR_EACH_PAGE)
            .map_err(self.engine_failed("cleaning"))
    }

    fn write_value(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<(), LogError> {
        guarded(|| match value {
            Some(bytes) => self.data.insert(key, bytes),
            None => self.data.remove(key),
        })
        .map_err(self.engine_failed("writing a value"))?;
        Ok(())
    }

    fn sync(&mut self) -> Result<Duration, LogError> {
        let begun = Instant::now();
        guarded(|| self.db.flush()).map_err(self.engine_failed("a flush"))?;
        if self.durability == Durability::Synced {
            self.large
                .sync()
                .map_err(self.write_failed("syncing a large value"))?;
            self.main.sync_data().map_err(self.write_failed("a sync"))?;
        }
        Ok(begun.elapsed())
    }

    fn free_bytes(&self) -> Result<u64, LogError> {
        space::free_bytes(&self.directory.path)
            .map_err(self.write_failed("looking how much room is left"))
    }

    fn write_mark(&mut self, mark: Mark) -> Result<(), LogError> {
        let at = mark.offset() as u64;
        self.directory
            .mark
            .write_all_at(&mark.to_bytes(), at)
            .map_err(self.write_failed("writing the high-water mark"))
    }

    fn sync_mark(&mut self) -> Result<(), LogError> {
        self.directory
            .mark
            .sync_data()
            .map_err(self.write_failed("syncing the high-water mark"))
    }

    fn read_mark(&self) -> Result<Mark, OpenError> {
        self.directory.read_mark()
    }

    fn pages(&self) -> impl DoubleEndedIterator<Item = Entry<IVec>> {
        self.read(&self.log)
    }

    fn values_after(&self, after: Option<&[u8]>) -> impl Iterator<Item = Entry<IVec>> {
        let entries = Guarded::after(&self.data, after);
        entries.map(|entry| entry.map_err(|error| refused(&self.directory.path, &error)))
    }

    fn page(&self, page: u64) -> Result<Vec<u8>, OpenError> {
        let found = guarded(|| self.log.get(page.to_be_bytes()));
        let found = found.map_err(|error| refused(&self.directory.path, &error))?;
        found
            .map(|bytes| bytes.to_vec())
            .ok_or_else(|| OpenError::MissingPage {
                dir: self.directory.path.clone(),
                expected: page,
                found: 0,
            })
    }

    fn values(&self) -> impl Iterator<Item = Entry<IVec>> {
        self.read(&self.data)
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

/// Opens the database and its trees; waits for sled to let go of it first.
///
/// A background task of sled's may hold on to the file, and its lock, for a
/// moment after the database was dropped. The directory's own lock is ours, so
/// it can only be a log that this very process has just closed.
fn open_patiently(config: &::sled::Config) -> Result<(Db, Tree, Tree), EngineError> {
    let deadline = Instant::now() + LET_GO_MAX;
    loop {
        let opened = guarded(|| {
            let db = config.open()?;
            let (log, data) = (db.open_tree("log")?, db.open_tree("data")?);
            Ok((db, log, data))
        });
        match opened {
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
fn refused(dir: &Path, error: &EngineError) -> OpenError {
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
