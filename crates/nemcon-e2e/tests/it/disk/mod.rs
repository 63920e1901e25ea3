//! Disks that lie, fail, fill up, and lose what was not synced, under nodes that
//! are at work.

mod damage;
mod flush;
mod full;
mod old_copy;
mod power;

use std::fs;
use std::path::Path;

/// Copies a data directory, but for what holds nothing.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else if entry.file_name() != "ballast" {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Says loudly that a test has tested nothing, and why.
fn skipped(what: &str, why: &str) {
    eprintln!("SKIPPED: {what}: {why} (needs root, and mounts of its own)");
}
