//! From format 1, one database for pages and values, to format 2.
//!
//! ```text
//!   format 1    sled/ {log, data}
//!               sled/ {log, data}   data/ {…}       until `format` says 2, this is made
//!                                                   anew at each start
//!   format 2    sled/ {log, data}   data/ {all}     complete and durable
//!   format 2    sled/ {log}         data/ {all}     the old tree is dropped
//! ```
//!
//! So nothing of the old format is touched before the new one is there as a whole,
//! and a start that is cut short at any place is begun again by the next.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use ::sled::Tree;

use super::database::refused;
use super::directory;
use super::guard::Guarded;
use super::store::SledStore;
use crate::error::OpenError;
use crate::recover;
use crate::store::Store;

/// Removes what an upgrade that was cut short may have left.
pub(super) fn discard(values: &Path) -> Result<(), OpenError> {
    match fs::remove_dir_all(values) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(directory::failed("remove", values)),
    }
}

/// Copies all values, as they are stored, out of the tree they had in format 1, and
/// says how far they are complete: that is what the newest closed checkpoint in this
/// log has relied on. All of it is durable when this returns.
pub(super) fn move_values(old: &Tree, store: &mut SledStore) -> Result<(), OpenError> {
    let dir = store.directory.path.clone();
    tracing::info!(dir = %dir.display(), "the log has format 1: its data gets a database of its own");
    for entry in Guarded::new(old) {
        let (key, value) = entry.map_err(|error| refused(&dir, &error))?;
        store.write_value(&key, Some(value.to_vec()))?;
    }
    if let Some(extent) = recover::extent_of_log(store)? {
        store.write_extent(extent)?;
    }
    Ok(store.sync_values()?)
}
