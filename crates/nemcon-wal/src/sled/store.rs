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
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::sled::{IVec, Tree};

use super::database::{Database, SyncError, refused};
use super::directory::Directory;
use super::guard::{EngineError, Guarded, guarded};
use super::{Options, directory, space, upgrade};
use crate::error::{LogError, OpenError};
use crate::extent::Extent;
use crate::mark::Mark;
use crate::store::{Entry, Store};

/// Beyond this a value may get a file of its own (sled: a quarter of its 512 KiB
/// segment). Half of it, since a key and a header come with it.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Tree nodes that sled is made to clean in the log's database for each page that
/// is removed. Each costs some 20 µs. With none a busy bank's log took 55 MB after
/// 0.8 million transactions and went on growing; with one 27 MB after that, and after
/// 4 million; with three 7 MB, at a seventh less transactions a second.
const CLEANED_FOR_EACH_PAGE: usize = 1;

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

/// The tree in which a log of format 1 has its data, beside the pages.
pub(super) const VALUES: &str = "data";

/// The tree, in the data's database, that says how far the data is complete.
const EXTENT: &str = "extent";

/// Its only key.
const EXTENT_KEY: &[u8] = b"extent";

pub(crate) struct SledStore {
    pages: Database,
    log: Tree,
    values: Database,
    data: Tree,
    extent: Tree,
    /// Writes to the data since it was last synced.
    unsynced_writes: usize,
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
        let (pages, values) = (directory::pages(at), directory::values(at));
        directory.check_databases(at)?;
        let pages = Database::open(&pages, &dir, options)?;
        if directory.has_one_database() {
            // Else the file `format` is from before an upgrade, and what is about to
            // be discarded is the data.
            if !pages.has_tree(VALUES) {
                let path = dir.join("format");
                return Err(OpenError::StaleFormat { path });
            }
            upgrade::discard(&values)?;
        }
        let log = pages.tree("log", &dir)?;
        let values = Database::open(&values, &dir, options)?;
        let (data, extent) = (values.tree(VALUES, &dir)?, values.tree(EXTENT, &dir)?);
        directory::sync(&dir)?;
        let mut store = Self {
            pages,
            log,
            values,
            data,
            extent,
            // What is found may be from a process that was killed before it synced.
            unsynced_writes: 1,
            uncleaned: 0,
            directory,
        };
        if store.directory.has_one_database() {
            let old = store.pages.tree(VALUES, &dir)?;
            upgrade::move_values(&old, &mut store)?;
        }
        Ok(store)
    }

    /// The format has been written: lets go of what only an older one needs.
    pub(crate) fn forget_older_format(&mut self) -> Result<(), LogError> {
        if self.pages.has_tree(VALUES) {
            let dropped = self.pages.drop_tree(VALUES);
            dropped.map_err(self.engine_failed("removing values of format 1"))?;
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

    /// All of a tree, while sled lets go of what has been read: see [`LOOKS_MAX`].
    fn read_and_let_go<'a>(
        &'a self,
        tree: &'a Tree,
    ) -> impl DoubleEndedIterator<Item = Entry<IVec>> + use<'a> {
        let refused = |error| refused(&self.directory.path, &error);
        Guarded::new(tree).map(move |entry| {
            let (key, value) = entry.map_err(refused)?;
            guarded(|| look_at(tree, &key, value.len())).map_err(refused)?;
            Ok((key, value))
        })
    }
}

impl Store for SledStore {
    type Bytes = IVec;

    fn place(&self) -> &Path {
        &self.directory.path
    }

    fn write_page(&mut self, page: u64, bytes: Vec<u8>) -> Result<(), LogError> {
        let length = bytes.len();
        let key = page.to_be_bytes();
        guarded(|| {
            self.log.insert(key, bytes)?;
            look_at(&self.log, &key, length)
        })
        .map_err(self.engine_failed("writing a page"))?;
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
        let count = pages.clone().count();
        guarded(|| {
            for page in pages {
                self.log.remove(page.to_be_bytes())?;
            }
            self.log.first()
        })
        .map_err(self.engine_failed("removing old pages"))?;
        let cleaned = self.pages.clean(count * CLEANED_FOR_EACH_PAGE);
        cleaned.map_err(self.engine_failed("cleaning"))?;
        let nodes = self.uncleaned.min(count * CLEANED_BESIDE_EACH_PAGE);
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

    fn pages(&self) -> impl DoubleEndedIterator<Item = Entry<IVec>> {
        self.read_and_let_go(&self.log)
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
        self.read_and_let_go(&self.data)
    }
}

/// Looks at a value of that many bytes: see [`LOOKS_MAX`].
fn look_at(tree: &Tree, key: &[u8], bytes: usize) -> ::sled::Result<()> {
    let looks = 1 + bytes / 1_024;
    for _ in 0..looks.min(LOOKS_MAX) {
        tree.get(key)?;
    }
    Ok(())
}
