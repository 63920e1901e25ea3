//! Looking at a log without changing it.
//!
//! sled writes to what it opens: it cuts off a torn end, and makes a snapshot of
//! what it found. Somebody who examines a damaged log wants it to stay as it is.
//! So copies of the databases are opened, and the directory itself is only read.

use std::fs;
use std::path::Path;

use super::Options;
use super::directory::{self, Directory};
use super::store::SledStore;
use crate::backup::folder::{Folder, FolderError};
use crate::backup::{RestoreError, unpack};
use crate::error::OpenError;
use crate::frame::Frame;
use crate::mark::Mark;
use crate::page::{self, Header};
use crate::recover::{Opened, page_number, recover, replay_start};
use crate::store::Store;
use crate::{Recovery, value};

/// A log that is looked at. No node can open it meanwhile.
pub struct Reader {
    store: SledStore,
}

impl Reader {
    /// Copies the databases of the log in `dir`, or makes one of the backup there,
    /// in `scratch`, an empty directory
    /// that the caller removes in the end, and opens them there.
    ///
    /// # Errors
    /// [`OpenError`] if there is no log, a node has it open, or sled cannot read
    /// it.
    pub fn open(dir: &Path, scratch: &Path) -> Result<Self, OpenError> {
        match Folder::open(dir) {
            Ok(folder) => return Self::open_backup(&folder, scratch),
            // Whatever else it is, it is asked again as a log.
            Err(FolderError::NoBackup(_) | FolderError::Io { .. }) => {}
            Err(FolderError::Unfinished(dir)) => {
                let unfinished = true;
                return Err(OpenError::Backup { dir, unfinished });
            }
            Err(error) => return Err(damaged_backup(dir, &error)),
        }
        let directory = Directory::take_existing(dir)?;
        directory.check_databases(dir)?;
        for database in [directory::pages, directory::values] {
            if database(dir).exists() {
                copy(&database(dir), &database(scratch))?;
            }
        }
        let store = SledStore::open_at(scratch, directory, &Options::default())?;
        Ok(Self { store })
    }

    /// A log is made of a backup, in a directory below `scratch`.
    fn open_backup(folder: &Folder, scratch: &Path) -> Result<Self, OpenError> {
        let unpacked = unpack(folder, &scratch.join("backup"), None);
        let store = unpacked.map_err(|error| match error {
            RestoreError::Open(error) => error,
            RestoreError::Write(error) => error.into(),
            other => damaged_backup(scratch, &other),
        })?;
        Ok(Self { store })
    }

    /// Checks all that a start checks, and hands it to `recovery` like one.
    ///
    /// # Errors
    /// What a start would refuse it for.
    pub fn check(&self, recovery: &mut dyn Recovery) -> Result<Opened, OpenError> {
        let recovered = recover(&self.store, recovery)?;
        Ok(recovered.opened(recovered.is_empty()))
    }

    /// How far the log was said to be durable.
    ///
    /// # Errors
    /// [`OpenError`] if no slot of the mark can be read.
    pub fn mark(&self) -> Result<Mark, OpenError> {
        self.store.read_mark()
    }

    /// Goes through all pages that can be found from where replay starts on, in their
    /// order. What is wrong with one is told, and the next follows.
    ///
    /// # Errors
    /// [`OpenError`] where sled itself cannot go on.
    pub fn for_each_page(
        &self,
        mut see: impl FnMut(Result<(Header, Vec<Frame<'_>>), OpenError>),
    ) -> Result<(), OpenError> {
        // Without a checkpoint that can be read, whatever there is.
        let first = replay_start(&self.store).unwrap_or(0);
        for entry in self.store.pages_from(first) {
            let (key, bytes) = entry?;
            let found = page_number(&self.store, key.as_ref()).and_then(|page| {
                page::read(page, bytes.as_ref()).map_err(|source| OpenError::BadPage {
                    dir: self.store.place().to_owned(),
                    page,
                    source,
                })
            });
            see(found);
        }
        Ok(())
    }

    /// Goes through all values that can be found, in the order of their keys.
    ///
    /// # Errors
    /// [`OpenError`] where sled itself cannot go on.
    pub fn for_each_value(
        &self,
        mut see: impl FnMut(&[u8], Result<(nemcon_core::id::Lsn, &[u8]), value::ValueError>),
    ) -> Result<(), OpenError> {
        for entry in self.store.values() {
            let (key, bytes) = entry?;
            see(key.as_ref(), value::read(key.as_ref(), bytes.as_ref()));
        }
        Ok(())
    }
}

fn damaged_backup(dir: &Path, error: &dyn std::error::Error) -> OpenError {
    OpenError::Damaged {
        dir: dir.to_owned(),
        what: error.to_string(),
    }
}

/// Copies the files of one directory, and of those in it, to another.
fn copy(from: &Path, to: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(to).map_err(directory::failed("create", to))?;
    for entry in fs::read_dir(from).map_err(directory::failed("list", from))? {
        let entry = entry.map_err(directory::failed("list", from))?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            fs::copy(&path, &to).map_err(directory::failed("copy", &path))?;
        }
    }
    Ok(())
}
