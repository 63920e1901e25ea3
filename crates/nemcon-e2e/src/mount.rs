//! File systems of a test's own. They take root, and a kernel that lets it: so
//! whatever needs them says why it could not have them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// A node lets go of its files a little after it was killed.
const UNMOUNT_MAX: Duration = Duration::from_secs(30);

/// A file system, mounted as long as this lives.
#[derive(Debug)]
pub struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// A file system in memory of so many bytes, mounted at `at`.
    ///
    /// # Errors
    /// Why it cannot be mounted.
    pub fn in_memory(bytes: u64, at: &Path) -> Result<Self, String> {
        Self::mount(
            &["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"],
            at,
        )
    }

    /// The file system in an image file. Its journal is committed by itself only
    /// every 300 s: what is durable is what somebody has synced.
    ///
    /// # Errors
    /// Why it cannot be mounted.
    pub fn image(image: &Path, at: &Path) -> Result<Self, String> {
        Self::mount(&["-t", "ext4", "-o", "loop,commit=300", plain(image)], at)
    }

    fn mount(arguments: &[&str], at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        run(Command::new("mount").args(arguments).arg(at))?;
        Ok(Self { at: at.to_owned() })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let deadline = Instant::now() + UNMOUNT_MAX;
        while let Err(why) = run(Command::new("umount").arg(&self.at)) {
            if Instant::now() > deadline {
                // Panicking here would hide what went wrong before.
                eprintln!("{} stays mounted: {why}", self.at.display());
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Makes an image file of so many bytes with an empty ext4 file system.
///
/// # Errors
/// Why it cannot be made.
pub fn make_image(image: &Path, bytes: u64) -> Result<(), String> {
    let file = File::create(image).and_then(|file| file.set_len(bytes));
    file.map_err(|error| error.to_string())?;
    run(Command::new("mkfs.ext4").args(["-q", "-F", plain(image)]))
}

/// Copies an image as it is at one moment: until two looks at it are equal, for
/// the kernel may be writing to it.
///
/// # Errors
/// Why it cannot be copied.
pub fn copy_at_once(image: &Path, copy: &Path) -> io::Result<()> {
    let mut before = fs::read(image)?;
    loop {
        let after = fs::read(image)?;
        if before == after {
            return fs::write(copy, after);
        }
        before = after;
    }
}

fn plain(path: &Path) -> &str {
    match path.to_str() {
        Some(text) => text,
        None => panic!("{} is no plain text", path.display()),
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}", said.trim()))
}
