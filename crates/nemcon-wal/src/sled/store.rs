//! The store on sled: two databases, one for the log's pages, one for the data.
//!
//! They are apart because sled reuses its file a segment of 512 KiB at a time.
//! Pages die together, with the next checkpoint; accounts live for years. In one
//! file each segment has some of both, and is emptied by moving what lives into
//! segments full of pages, which are emptied next. `docs/log.md` has what that
//! took, and what it takes now.
//!
//! An ordinary flush syncs the pages alone. The data is synced when a checkpoint
//! is about to be closed: until then the log has every change of it.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ::sled::{IVec, Tree};
use uuid::Uuid;

use super::ahead::Ahead;
use super::database::{Database, SyncError, refused};
use super::directory::{Directory, ONE_DATABASE};
use super::guard::{EngineError, Guarded, guarded};
use super::ring::Ring;
use super::{Options, directory, space, upgrade};
use crate::error::{LogError, OpenError};
use crate::extent::Extent;
use crate::mark::Mark;
use crate::store::{Entry, Store};

/// Beyond this a value may get a file of its own (sled: a quarter of its 512 KiB
/// segment). Half of it, since a key and a header come with it.
pub(super) const INLINE_BYTES_MAX: usize = 64 << 10;

/// Pages for which one tree node is cleaned when they are removed. Slots that rest, and
/// what sled notes beside them, hold whole segments with little in them: without this a
/// log of 9 MB took 63 MB, and with twice as much of it as much as with this, 40 MB.
const PAGES_FOR_EACH_CLEANED: usize = 8;

/// Tree nodes that sled is made to clean in the data's database for each value that
/// was written.
const CLEANED_FOR_EACH_VALUE: usize = 2;

/// How many of those at most are cleaned together with each page that is removed: so
/// much does a flush wait for, whatever was written back.
const CLEANED_BESIDE_EACH_PAGE: usize = 3;

/// Writes to the data before it is synced: values, and tree nodes that are cleaned.
/// With each write sled copies what it knows of the tree node, and lets go of the
/// copies once its own threads have come to rest, which a sync waits for. With some
/// 20,000 small values in between a busy bank took 238 MB at most; so, 129 MB at
/// the same place.
const UNSYNCED_WRITES_MAX: usize = 1_024;

/// Looks at what has just been written, so that sled lets go of what was written
/// before.
///
/// sled notes each look at a tree node in one of 256 queues. Only when a queue has 64
/// does it compare what it holds with the limit of its cache. Nodes that are looked at
/// once, like all the data at a start, would stay by the tens of megabytes whatever the
/// limit. A look costs half a microsecond, and a node of small values is small: one look
/// for each KiB of a value will do.
const LOOKS_MAX: usize = 4;

/// Bytes of a value that count as one write.
const BYTES_OF_A_WRITE: usize = 8 << 10;

/// The tree of the pages' slots.
pub(super) const RING: &str = "ring";

/// The tree of the data, in a database of its own; in format 1, beside the pages.
pub(super) const VALUES: &str = "data";

/// The tree in which a log before format 3 has its pages, under their numbers.
pub(super) const NUMBERED: &str = "log";

/// The tree, in the data's database, that says how far the data is complete.
const EXTENT: &str = "extent";

/// Its only key.
const EXTENT_KEY: &[u8] = b"extent";

pub(crate) struct SledStore {
    pages: Database,
    ring: Ring,
    values: Database,
    data: Tree,
    extent: Tree,
    /// Writes to the data since it was last synced.
    unsynced_writes: usize,
    /// Pages that were removed since a tree node of theirs was last cleaned.
    uncleaned_pages: usize,
    /// Tree nodes of the data's database that are still to be cleaned.
    uncleaned: usize,
    pub(crate) directory: Directory,
}

impl SledStore {
    /// Opens the databases in a directory that is ours.
    pub(crate) fn open(directory: Directory, options: &Options) -> Result<Self, OpenError> {
        let path = directory.path.clone();
        Self::open_at(&path, directory, options)
    }

    /// Opens databases that may be elsewhere: in a copy of the directory.
    pub(crate) fn open_at(
        at: &Path,
        directory: Directory,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let dir = directory.path.clone();
        directory.check_databases(at)?;
        let older = directory.older_format();
        let Databases { pages, values } = match older {
            None => Databases::open_both(at, &dir, options)?,
            Some(format) => Databases::open_older(format, at, &dir, options)?,
        };
        let ring = Ring::open(pages.tree(RING, &dir)?, &dir)?;
        if directory.is_current() {
            check_identity(&pages, &values, &dir)?;
        }
        let (data, extent) = (values.tree(VALUES, &dir)?, values.tree(EXTENT, &dir)?);
        directory::sync(&dir)?;
        let mut store = Self {
            pages,
            ring,
            values,
            data,
            extent,
            // What is found may be from a process that was killed before it synced.
            unsynced_writes: 1,
            uncleaned_pages: 0,
            uncleaned: 0,
            directory,
        };
        if let Some(format) = older {
            let numbered = store.pages.tree(NUMBERED, &dir)?;
            upgrade::move_pages(format, &numbered, &mut store)?;
            if format == ONE_DATABASE {
                let old = store.pages.tree(VALUES, &dir)?;
                upgrade::move_values(&old, &mut store)?;
            }
        }
        Ok(store)
    }

    /// Everything is in place and durable: says so, if it was not said before, and lets
    /// go of what only an older format needs.
    pub(crate) fn declare_whole(&mut self) -> Result<(), OpenError> {
        if !self.directory.is_current() {
            let identity = Uuid::new_v4();
            for database in [&mut self.pages, &mut self.values] {
                let named = database.set_identity(identity);
                named.map_err(|error| refused(&self.directory.path, &error))?;
            }
            self.sync()?;
            self.unsynced_writes += 1;
            self.sync_values()?;
            self.directory.write_format()?;
        }
        for tree in [VALUES, NUMBERED] {
            if self.pages.has_tree(tree) {
                let dropped = self.pages.drop_tree(tree);
                dropped.map_err(self.engine_failed("removing what an older format has"))?;
            }
        }
        Ok(())
    }

    fn sync_values_if_many(&mut self) -> Result<(), LogError> {
        if self.unsynced_writes >= UNSYNCED_WRITES_MAX {
            self.sync_values()?;
        }
        Ok(())
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

    fn sync_failed(&self, doing: &'static str) -> impl FnOnce(SyncError) -> LogError {
        let (engine, place) = (self.engine_failed(doing), self.directory.path.clone());
        move |error| match error {
            SyncError::Engine(error) => engine(error),
            SyncError::Io(doing, source) => LogError::Write {
                place,
                doing,
                source: Arc::new(source),
            },
        }
    }
}

impl Store for SledStore {
    type Bytes = IVec;

    fn place(&self) -> &Path {
        &self.directory.path
    }

    fn write_page(&mut self, page: u64, bytes: Vec<u8>) -> Result<(), LogError> {
        let length = bytes.len();
        let written = self.ring.write(page, bytes);
        written.map_err(self.engine_failed("writing a page"))?;
        // A value in a file of its own reaches the disk in no order with the
        // rest. Without a sync here a power cut could keep the pages behind it
        // and lose this one, and the log would be refused for a gap in what
        // nobody was promised.
        if length > INLINE_BYTES_MAX {
            self.sync()?;
        }
        Ok(())
    }

    fn remove_pages(&mut self, pages: Range<u64>) -> Result<(), LogError> {
        let count = usize::try_from(pages.end - pages.start).unwrap_or(usize::MAX);
        let freed = self.ring.free(pages);
        freed.map_err(self.engine_failed("removing old pages"))?;
        self.uncleaned_pages += count;
        let nodes = self.uncleaned_pages / PAGES_FOR_EACH_CLEANED;
        self.uncleaned_pages %= PAGES_FOR_EACH_CLEANED;
        let cleaned = self.pages.clean(nodes);
        cleaned.map_err(self.engine_failed("cleaning"))?;
        let nodes = self
            .uncleaned
            .min(count.saturating_mul(CLEANED_BESIDE_EACH_PAGE));
        self.uncleaned -= nodes;
        let cleaned = self.values.clean(nodes);
        cleaned.map_err(self.engine_failed("cleaning the data"))?;
        self.unsynced_writes += nodes;
        self.sync_values_if_many()
    }

    fn write_value(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<(), LogError> {
        let bytes = value.as_ref().map_or(0, Vec::len);
        self.unsynced_writes += 1 + bytes / BYTES_OF_A_WRITE;
        self.uncleaned += CLEANED_FOR_EACH_VALUE;
        guarded(|| {
            match value {
                Some(bytes) => self.data.insert(key, bytes)?,
                None => self.data.remove(key)?,
            };
            look_at(&self.data, key, bytes)
        })
        .map_err(self.engine_failed("writing a value"))?;
        // As with pages: it may have, or share, a file that reaches the disk in no
        // order with the rest, and sled lets go of the one with the older value.
        if bytes > BYTES_OF_A_WRITE {
            return self.sync_values();
        }
        self.sync_values_if_many()
    }

    fn write_extent(&mut self, extent: Extent) -> Result<(), LogError> {
        self.unsynced_writes += 1;
        guarded(|| self.extent.insert(EXTENT_KEY, extent.to_bytes()))
            .map_err(self.engine_failed("writing how far the data is complete"))?;
        Ok(())
    }

    fn sync(&mut self) -> Result<Duration, LogError> {
        let begun = Instant::now();
        let synced = self.pages.sync();
        synced.map_err(self.sync_failed("a flush"))?;
        Ok(begun.elapsed())
    }

    fn sync_values(&mut self) -> Result<(), LogError> {
        if self.unsynced_writes == 0 {
            return Ok(());
        }
        self.unsynced_writes = 0;
        let synced = self.values.sync();
        synced.map_err(self.sync_failed("a flush of the data"))
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
        // sled moves values that have not changed into segments of which the disk
        // knows nothing before a sync, and uses their old ones again. So no more of
        // that than of the mark is ever left to a power cut.
        self.sync_values()?;
        self.directory
            .mark
            .sync_data()
            .map_err(self.write_failed("syncing the high-water mark"))
    }

    fn read_mark(&self) -> Result<Mark, OpenError> {
        self.directory.read_mark()
    }

    fn read_extent(&self) -> Result<Option<Extent>, OpenError> {
        let dir = &self.directory.path;
        let found =
            guarded(|| self.extent.get(EXTENT_KEY)).map_err(|error| refused(dir, &error))?;
        let read = |bytes: IVec| {
            Extent::read(&bytes).ok_or_else(|| OpenError::Damaged {
                dir: dir.clone(),
                what: "what says how far the data is complete cannot be read".to_owned(),
            })
        };
        found.map(read).transpose()
    }

    fn pages_from(&self, first: u64) -> impl DoubleEndedIterator<Item = Entry<IVec>> {
        self.ring.pages_from(first, &self.directory.path)
    }

    fn values_after(&self, after: Option<&[u8]>) -> impl Iterator<Item = Entry<IVec>> {
        let entries = Guarded::after(&self.data, after);
        entries.map(|entry| entry.map_err(|error| refused(&self.directory.path, &error)))
    }

    fn page(&self, page: u64) -> Result<Vec<u8>, OpenError> {
        let found = self.ring.page(page);
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
        let entries = Ahead::new(&self.data);
        entries.map(|entry| entry.map_err(|error| refused(&self.directory.path, &error)))
    }
}

/// Both databases of a log.
struct Databases {
    pages: Database,
    values: Database,
}

impl Databases {
    /// Opens both at once: after a crash, or many writes, sled reads whole files.
    fn open_both(at: &Path, dir: &Path, options: &Options) -> Result<Self, OpenError> {
        let (pages, values) = (directory::pages(at), directory::values(at));
        thread::scope(|scope| {
            let opening = thread::Builder::new()
                .name("nemcon-log-open".to_owned())
                .spawn_scoped(scope, || Database::open(&values, dir, options))
                .map_err(directory::failed("start a thread for the log in", dir))?;
            let pages = Database::open(&pages, dir, options);
            let values = opening.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok(Self {
                pages: pages?,
                values: values?,
            })
        })
    }

    /// Opens those of an older format, one after the other: what an upgrade that was
    /// cut short has left of the values is removed before they are opened.
    fn open_older(
        format: u64,
        at: &Path,
        dir: &Path,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let (pages, values) = (directory::pages(at), directory::values(at));
        upgrade::check_room(&pages, dir)?;
        let pages = Database::open(&pages, dir, options)?;
        upgrade::discard(format, &pages, &values, dir)?;
        let values = Database::open(&values, dir, options)?;
        Ok(Self { pages, values })
    }
}

/// Refuses databases that are not of one log.
fn check_identity(pages: &Database, values: &Database, dir: &Path) -> Result<(), OpenError> {
    let identity = |database: &Database, name: &str| {
        let found = database.identity().map_err(|error| refused(dir, &error))?;
        found.ok_or_else(|| OpenError::Damaged {
            dir: dir.to_owned(),
            what: format!("the database `{name}` has lost what it began with"),
        })
    };
    if identity(pages, "sled")? == identity(values, "data")? {
        return Ok(());
    }
    Err(OpenError::MixedDatabases {
        dir: dir.to_owned(),
    })
}

/// Looks at a value of that many bytes: see [`LOOKS_MAX`].
pub(super) fn look_at(tree: &Tree, key: &[u8], bytes: usize) -> ::sled::Result<()> {
    let looks = 1 + bytes / 1_024;
    for _ in 0..looks.min(LOOKS_MAX) {
        tree.get(key)?;
    }
    Ok(())
}
