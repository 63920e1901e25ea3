//! From a folder back to a data directory.

use std::path::{Path, PathBuf};

use super::folder::{Folder, FolderError, Manifest};
use crate::error::{LogError, OpenError};
use crate::mark::Mark;
use crate::page::{Packer, Page};
use crate::recover::{extent_of_log, recover};
use crate::sled::directory::Directory;
use crate::sled::store::SledStore;
use crate::store::Store;
use crate::{Limits, Opened, Options, Recovery};

/// Bytes that are written between two syncs, so that the storage engine never
/// holds more of them in memory.
const SYNC_BYTES: usize = 16 << 20;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is something where the data directory is to be.
    #[error(
        "{} is not empty: name a directory that is new or empty, and keep what is left of the \
         lost one", .0.display()
    )]
    NotEmpty(PathBuf),
    /// What was restored is no log that a node would start on.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The data directory cannot be written.
    #[error(transparent)]
    Write(#[from] LogError),
}

/// A data directory that was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// What a start will find.
    pub opened: Opened,
}

/// Makes a data directory of a backup: checks the whole backup, writes it to `to`,
/// a new or empty directory, appends `last`, a record that says that the directory
/// was restored, and checks the result like a start, for which it hands it to
/// `recovery`.
///
/// Until all of that is done and durable no node starts on the directory.
///
/// # Errors
/// [`RestoreError`]; what is in `to` then is no data directory and says so.
pub fn restore(
    backup: &Path,
    to: &Path,
    last: &[u8],
    recovery: &mut dyn Recovery,
) -> Result<Restored, RestoreError> {
    let folder = Folder::open(backup)?;
    folder.check()?;
    let mut store = unpack(&folder, to, Some(last))?;
    let recovered = recover(&store, recovery)?;
    store.sync()?;
    store.sync_values()?;
    store.declare_whole()?;
    Ok(Restored {
        manifest: folder.manifest().clone(),
        opened: recovered.opened(false),
    })
}

/// Writes a backup to a directory, as a log that is not yet declared whole.
pub(crate) fn unpack(
    folder: &Folder,
    to: &Path,
    last: Option<&[u8]>,
) -> Result<SledStore, RestoreError> {
    let directory =
        Directory::take_empty(to)?.ok_or_else(|| RestoreError::NotEmpty(to.to_owned()))?;
    let mut store = SledStore::open(directory, &Options::default())?;
    let mut unsynced = 0;
    folder.for_each_value(|key, value| {
        unsynced += key.len() + value.len();
        store.write_value(&key, Some(value))?;
        sync_if(&mut store, &mut unsynced)
    })?;
    folder.for_each_page(|page, bytes| {
        unsynced += bytes.len();
        store.write_page(page, bytes)?;
        sync_if(&mut store, &mut unsynced)
    })?;
    // The pages end with more than the checkpoint in force, and the values are at
    // least as new as that.
    if let Some(extent) = extent_of_log(&store)? {
        store.write_extent(extent)?;
    }
    let end = folder.manifest().end;
    let mut mark = Mark {
        counter: 1,
        lsn: end.lsn,
        page: end.page,
        clean: true,
    };
    if let Some(last) = last {
        let mut packer = Packer::new(
            Limits::default().page_bytes_max,
            end.page + 1,
            end.lsn.next(),
        );
        packer.push(last);
        packer.end_page();
        for Page { number, bytes } in packer.take_full() {
            (mark.page, mark.lsn) = (number, end.lsn.next());
            store.write_page(number, bytes)?;
        }
    }
    store.sync_values()?;
    store.sync()?;
    store.write_mark(mark)?;
    store.sync_mark()?;
    Ok(store)
}

fn sync_if(store: &mut SledStore, unsynced: &mut usize) -> Result<(), RestoreError> {
    if *unsynced >= SYNC_BYTES {
        *unsynced = 0;
        store.sync_values()?;
        store.sync()?;
    }
    Ok(())
}
