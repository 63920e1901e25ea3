//! A file system of a test's own, in an image file. It takes root and loop mounts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::PATIENCE;

/// Bytes of the file system.
pub(crate) const IMAGE_BYTES: u64 = 64 << 20;

/// An image file, mounted as long as this lives.
pub(crate) struct Mounted {
    pub(crate) at: PathBuf,
}

impl Mounted {
    pub(crate) fn new(image: &Path, at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let mounted = Self { at: at.to_owned() };
        // A journal commit of its own every 5 s would hide a missing sync.
        run(
            "mount",
            &["-t", "ext4", "-o", "loop,commit=300", path(image), path(at)],
        )?;
        Ok(mounted)
    }
}

impl Drop for Mounted {
    /// Unmounts, as soon as nobody uses it any more: sled lets go of its files a
    /// little after it was dropped.
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(why) = run("umount", &[path(&self.at)]) {
            // Where `new` has failed there is nothing to unmount.
            if why.contains("not mounted") || Instant::now() > deadline {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are plain")
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

/// Makes an image with an empty file system.
fn make_image(image: &Path) -> Result<(), String> {
    fs::File::create(image)
        .and_then(|file| file.set_len(IMAGE_BYTES))
        .map_err(|error| error.to_string())?;
    run("mkfs.ext4", &["-q", "-F", path(image)])
}

/// Why this machine cannot run the test, if so.
fn obstacle(template: &Path, at: &Path) -> Result<(), String> {
    make_image(template)?;
    Mounted::new(template, at).map(drop)
}

/// An image to copy for each try; none, with a loud reason, where this machine
/// cannot mount one.
pub(crate) fn template(temp: &Path) -> Option<PathBuf> {
    let template = temp.join("template");
    match obstacle(&template, &temp.join("try")) {
        Ok(()) => Some(template),
        Err(why) => {
            eprintln!("SKIPPED, no file system was made: {why} (needs root and loop mounts)");
            None
        }
    }
}
