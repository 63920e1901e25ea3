//! A tree, read ahead by a thread of its own.
//!
//! At a start there are two things to do with each value: sled finds and decodes it,
//! and the node takes it in. With a processor for each a start takes three quarters of
//! the time or less; `docs/log.md` has figures.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::vec;

use ::sled::Tree;

use super::guard::{EngineError, Entry, Guarded, guarded};
use super::store::look_at;

/// Entries that are handed over together: so many that handing over costs nothing.
const PIECE_ENTRIES: usize = 256;

/// Bytes after which a piece ends with fewer.
const PIECE_BYTES: usize = 64 << 10;

/// Pieces that wait to be taken, at most.
const PIECES_WAITING: usize = 2;

/// All entries of a tree in the order of their keys, while sled lets go of what has been
/// read. An error is the last entry.
pub(super) struct Ahead {
    pieces: Option<Receiver<Vec<Entry>>>,
    piece: vec::IntoIter<Entry>,
    /// Until its end was seen.
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    pub(super) fn new(tree: &Tree) -> Self {
        let (sender, pieces) = sync_channel(PIECES_WAITING);
        let tree = tree.clone();
        let thread = thread::Builder::new()
            .name("nemcon-log-read".to_owned())
            .spawn(move || read(&tree, &sender));
        match thread {
            Ok(thread) => Self {
                pieces: Some(pieces),
                piece: Vec::new().into_iter(),
                thread: Some(thread),
            },
            Err(source) => Self {
                pieces: None,
                piece: vec![Err(EngineError::Error(::sled::Error::Io(source)))].into_iter(),
                thread: None,
            },
        }
    }

    /// Waits for the thread to be gone, and the tree that it holds with it.
    fn join(&mut self) -> thread::Result<()> {
        self.pieces = None;
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Iterator for Ahead {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.piece.next() {
                return Some(entry);
            }
            match self.pieces.as_ref()?.recv() {
                Ok(piece) => self.piece = piece.into_iter(),
                Err(_) => {
                    // What sled panics over has become an entry. Anything else would
                    // look like the end of the tree.
                    if let Err(panic) = self.join() {
                        resume_unwind(panic);
                    }
                }
            }
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Whoever stops early has a reason of its own.
        drop(self.join());
    }
}

/// Reads to the end, the first error, or until nobody takes it any more.
fn read(tree: &Tree, pieces: &SyncSender<Vec<Entry>>) {
    let mut entries = Guarded::new(tree).map(|entry| {
        let (key, value) = entry?;
        guarded(|| look_at(tree, &key, value.len()))?;
        Ok((key, value))
    });
    loop {
        let (mut piece, mut bytes, mut ended) = (Vec::with_capacity(PIECE_ENTRIES), 0, false);
        while !ended && piece.len() < PIECE_ENTRIES && bytes < PIECE_BYTES {
            let Some(entry) = entries.next() else {
                ended = true;
                break;
            };
            match &entry {
                Ok((key, value)) => bytes += key.len() + value.len(),
                Err(_) => ended = true,
            }
            piece.push(entry);
        }
        if pieces.send(piece).is_err() || ended {
            return;
        }
    }
}
