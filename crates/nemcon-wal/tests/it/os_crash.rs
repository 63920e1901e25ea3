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
//! The data has thousands of values of 1 to 4 KB, and some hundred of them change
//! between two checkpoints. What is left of it, with the records since, has to be the
//! state after the last record.
//!
//! What it does not model: a disk that acknowledges a write before it has it
//! and ignores the flush command.

use std::fs;
use std::path::Path;

use nemcon_wal::{Durability, Options, SledLog};

use crate::image::{Mounted, template};
use crate::support::{Sink, deaf};
use crate::writer_process::{KEYS, Writer, check};

const ROUNDS: u64 = 10;

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
        // The first cut comes while values are written for the first time.
        writer.wait_acknowledged(if round == 0 { 1 } else { KEYS } + round * 61);
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
    let last = opened.next_lsn.0 - 1;
    check(&sink, last)?;
    Ok(last)
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
