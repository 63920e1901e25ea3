//! From an older format to this one, at the first start.
//!
//! ```text
//!   format 1    sled/ {log, data}
//!   format 2    sled/ {log}                data/ {all}
//!               sled/ {log, …, ring: …}    data/ {…}     until `format` says 3, what is
//!                                                        new is made anew at each start
//!   format 3    sled/ {log, …, ring: all}  data/ {all}   complete and durable
//!   format 3    sled/ {ring: all}          data/ {all}   the old trees are dropped
//! ```
//!
//! So nothing of the old format is touched before the new one is there as a whole,
//! and a start that is cut short at any place is begun again by the next.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use ::sled::Tree;

use super::database::{Database, refused};
use super::directory::{self, ONE_DATABASE};
use super::guard::Guarded;
use super::space;
use super::store::{NUMBERED, RING, SledStore, VALUES};
use crate::error::OpenError;
use crate::recover;
use crate::store::Store;

/// Refuses a file system on which there is no room for what is about to be written,
/// before anything is. `old` is the database that is moved.
pub(super) fn check_room(old: &Path, dir: &Path) -> Result<(), OpenError> {
    // What is moved is at most all of it, and what sled needs besides it has there too.
    let needed = directory::bytes(old)?;
    let free = space::free_bytes(old).map_err(directory::failed("look for room in", old))?;
    if free >= needed {
        return Ok(());
    }
    Err(OpenError::NoRoomToUpgrade {
        dir: dir.to_owned(),
        needed,
        free,
    })
}

/// Removes what an upgrade that was cut short may have left.
pub(super) fn discard(
    format: u64,
    pages: &Database,
    values: &Path,
    dir: &Path,
) -> Result<(), OpenError> {
    // Else the file `format` is from before an upgrade, and what is about to be
    // discarded is all there is.
    let has_data = format > ONE_DATABASE || pages.has_tree(VALUES);
    if !has_data || !pages.has_tree(NUMBERED) {
        let path = dir.join("format");
        return Err(OpenError::StaleFormat {
            path,
            found: format,
        });
    }
    if pages.has_tree(RING) {
        let dropped = pages.drop_tree(RING);
        dropped.map_err(|error| refused(dir, &error))?;
    }
    if format > ONE_DATABASE {
        return Ok(());
    }
    match fs::remove_dir_all(values) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(directory::failed("remove", values)),
    }
}

/// Copies all pages, as they are stored, from under their numbers into slots. They are
/// durable when this returns.
pub(super) fn move_pages(
    format: u64,
    numbered: &Tree,
    store: &mut SledStore,
) -> Result<(), OpenError> {
    let dir = store.directory.path.clone();
    tracing::info!(dir = %dir.display(), format, "the log has an older format: it is upgraded");
    for entry in Guarded::new(numbered) {
        let (key, bytes) = entry.map_err(|error| refused(&dir, &error))?;
        let page = recover::page_number(store, &key)?;
        store.write_page(page, bytes.to_vec())?;
    }
    store.sync()?;
    Ok(())
}

/// Copies all values, as they are stored, out of the tree they had in format 1, and
/// says how far they are complete: that is what the newest closed checkpoint in this
/// log has relied on. All of it is durable when this returns.
pub(super) fn move_values(old: &Tree, store: &mut SledStore) -> Result<(), OpenError> {
    let dir = store.directory.path.clone();
    for entry in Guarded::new(old) {
        let (key, value) = entry.map_err(|error| refused(&dir, &error))?;
        store.write_value(&key, Some(value.to_vec()))?;
    }
    if let Some(extent) = recover::extent_of_log(store)? {
        store.write_extent(extent)?;
    }
    Ok(store.sync_values()?)
}
