//! The machine itself dies: only what reached the disk is left.
//!
//! The log stands on an ext4 file system inside an image file. A process writes
//! to it and notes, elsewhere, what was acknowledged. Then it is frozen and the
//! image file is copied. What the process has only handed to the operating
//! system lies in the page cache of the mounted file system, and is not in the
//! image: the copy is the disk of a machine that lost power at that moment. It
//! is mounted (ext4 replays its journal) and the log opened there.
//!
//! Two things keep this honest. The journal's own commits every five seconds are
//! put off, so that metadata reaches the disk only if somebody syncs. And the
//! same is done with the sync left out: if nothing were lost then, the test
//! could not see a loss at all, and fails.
//!
//! What it does not model: a disk that acknowledges a write before it has it
//! and ignores the flush command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nemcon_wal::{Durability, Options, SledLog};

use crate::support::{PATIENCE, Sink, deaf, record};
use crate::writer_process::{Writer, record_bytes};

const ROUNDS: u64 = 10;

/// An image file, mounted as long as this lives.
struct Mounted {
    at: PathBuf,
}

impl Mounted {
    fn new(image: &Path, at: &Path) -> Result<Self, String> {
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
        .and_then(|file| file.set_len(64 << 20))
        .map_err(|error| error.to_string())?;
    run("mkfs.ext4", &["-q", "-F", path(image)])
}

/// Copies the image as it is at one moment: until two looks at it are equal,
/// for the kernel may be writing to it.
fn copy_at_once(image: &Path, copy: &Path) {
    let mut before = fs::read(image).unwrap();
    loop {
        let after = fs::read(image).unwrap();
        if before == after {
            return fs::write(copy, after).unwrap();
        }
        before = after;
    }
}

/// Writes, loses power, opens what is left. `Err` says what was lost.
fn lose_power(round: u64, template: &Path, durability: Durability) -> Result<(), String> {
    let temp = tempfile::tempdir().unwrap();
    let (image, copy) = (temp.path().join("image"), temp.path().join("copy"));
    fs::copy(template, &image).unwrap();
    let acknowledged = {
        let live = Mounted::new(&image, &temp.path().join("live")).unwrap();
        let mut writer =
            Writer::start(&live.at.join("log"), &temp.path().join("notes"), durability);
        writer.wait_acknowledged(150 + round * 61);
        writer.freeze();
        copy_at_once(&image, &copy);
        let acknowledged = writer.acknowledged();
        writer.kill();
        acknowledged
    };
    let left = open_copy(&copy, &temp.path().join("after"))?;
    if left < acknowledged {
        return Err(format!(
            "{left} of {acknowledged} acknowledged records are left"
        ));
    }
    Ok(())
}

/// Opens the log in a copied image; returns its last LSN.
fn open_copy(copy: &Path, at: &Path) -> Result<u64, String> {
    let mounted = Mounted::new(copy, at).unwrap();
    let mut sink = Sink::default();
    let opened = SledLog::open(
        &mounted.at.join("log"),
        Options::default(),
        &mut sink,
        deaf(),
    );
    let (_log, opened) = opened.map_err(|error| format!("refused: {error}"))?;
    for (lsn, bytes) in sink.records {
        assert_eq!(bytes, record(lsn.0, record_bytes(lsn.0)), "record {lsn}");
    }
    Ok(opened.next_lsn.0 - 1)
}

/// Why this machine cannot run the test, if so.
fn obstacle(template: &Path, at: &Path) -> Result<(), String> {
    make_image(template)?;
    Mounted::new(template, at).map(drop)
}

/// An image to copy for each try; none, with a loud reason, where this machine
/// cannot mount one.
fn template(temp: &Path) -> Option<PathBuf> {
    let template = temp.join("template");
    match obstacle(&template, &temp.join("try")) {
        Ok(()) => Some(template),
        Err(why) => {
            eprintln!("SKIPPED, no power was cut: {why} (needs root and loop mounts)");
            None
        }
    }
}

fn crash_often(durability: Durability) -> Option<Vec<String>> {
    let temp = tempfile::tempdir().unwrap();
    let template = template(temp.path())?;
    let lost: Vec<_> = (0..ROUNDS)
        .filter_map(|round| lose_power(round, &template, durability).err())
        .collect();
    eprintln!(
        "{durability:?}: {} of {ROUNDS} power cuts lost something: {lost:#?}",
        lost.len()
    );
    Some(lost)
}

#[test]
fn a_power_cut_leaves_all_that_was_acknowledged() {
    if let Some(lost) = crash_often(Durability::Synced) {
        assert!(lost.is_empty(), "{lost:#?}");
    }
}

#[test]
fn without_the_sync_a_power_cut_loses_acknowledged_records() {
    if let Some(lost) = crash_often(Durability::FlushOnly) {
        assert!(!lost.is_empty(), "a loss would go unnoticed");
    }
}

/// A killed process leaves records with the operating system that nobody has
/// synced. Once a start has read them, the node acts on them.
#[test]
fn a_power_cut_leaves_all_that_a_start_has_read() {
    let temp = tempfile::tempdir().unwrap();
    let Some(image) = template(temp.path()) else {
        return;
    };
    let live = Mounted::new(&image, &temp.path().join("live")).unwrap();
    let dir = live.at.join("log");
    let mut last = 0;
    for round in 0..5 {
        let notes = temp.path().join("notes");
        let mut writer = Writer::start(&dir, &notes, Durability::FlushOnly);
        writer.wait_acknowledged(last + 100);
        writer.kill();
        let (log, opened) =
            SledLog::open(&dir, Options::default(), &mut Sink::default(), deaf()).unwrap();
        last = opened.next_lsn.0 - 1;
        let copy = temp.path().join("copy");
        copy_at_once(&image, &copy);
        let left = open_copy(&copy, &temp.path().join("after")).unwrap();
        assert_eq!(left, last, "round {round}");
        drop(log);
    }
}
