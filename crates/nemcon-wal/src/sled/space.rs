//! Room on the disk: how much is left, and a ballast for when none is.
//!
//! sled cannot open a database without writing a little. So a node whose disk
//! is full could not even start again and end what it has begun, if nothing had
//! been put by: the ballast, a file that holds nothing and takes room. It is
//! made when a log is opened and there is room for it, and let go by an operator.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Bytes of the ballast: more than sled writes in order to open, and than a node
/// does in order to end what is running and make a checkpoint.
pub const BALLAST_BYTES: u64 = 8 << 20;

/// Bytes that are left free when a ballast is made.
const MARGIN_BYTES: u64 = 4 << 20;

/// Bytes that are free for this process on the file system of `path`.
///
/// # Errors
/// What the operating system says, for example that there is no such path.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(path)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Makes the ballast of the log in `dir`, if it has none and there is room.
/// Returns whether it has one now.
pub(super) fn make_ballast(dir: &Path) -> io::Result<bool> {
    let path = ballast(dir);
    if fs::metadata(&path).is_ok_and(|found| found.len() == BALLAST_BYTES) {
        return Ok(true);
    }
    if free_bytes(dir)? < BALLAST_BYTES + MARGIN_BYTES {
        return Ok(false);
    }
    match fill(&path) {
        // Somebody else was faster with the room.
        Err(error) if error.kind() == ErrorKind::StorageFull => {
            fs::remove_file(&path)?;
            Ok(false)
        }
        filled => filled.map(|()| true),
    }
}

/// Lets go of the ballast of the log in `dir`. Returns the bytes that this frees.
pub(super) fn free_ballast(dir: &Path) -> io::Result<u64> {
    let path = ballast(dir);
    match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        found => {
            let bytes = found?.len();
            fs::remove_file(&path)?;
            File::open(dir)?.sync_all()?;
            Ok(bytes)
        }
    }
}

fn ballast(dir: &Path) -> PathBuf {
    dir.join("ballast")
}

/// Not zeros, and no two blocks alike: some file systems keep such in no room.
fn fill(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(64 << 10);
    for _ in 0..BALLAST_BYTES / (64 << 10) {
        block.clear();
        while block.len() < 64 << 10 {
            // Marsaglia's xorshift with the shifts 13, 7, 17.
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            block.extend_from_slice(&word.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    file.sync_all()
}
