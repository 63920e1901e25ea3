//! Calls into sled, with its panics turned into errors.
//!
//! sled 0.34 panics where it meets a file that cannot be what it wrote. A node
//! must say what is wrong and what to do instead. Before a panic gets here the
//! process's panic hook sees it; that hook belongs to the binary, which can ask
//! [`panics_are_caught`] whether it has anything to say.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Calls into sled on this thread, one within the other.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether a panic of this thread, now, is caught and becomes an error of the
/// log: for a panic hook, which then need not report it.
#[must_use]
pub fn panics_are_caught() -> bool {
    DEPTH.get() > 0
}

/// Counts a call, to its end by whatever way.
struct Call;

impl Call {
    fn begin() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// What went wrong inside of sled.
#[derive(Debug)]
pub(super) enum EngineError {
    /// It said so.
    Error(::sled::Error),
    /// It panicked, with this message.
    Panic(String),
}

impl EngineError {
    /// In words, for a message of ours.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Error(error) => error.to_string(),
            Self::Panic(message) => format!("sled panicked: {message}"),
        }
    }
}

/// Runs `call`; a panic becomes an error. The caller gives the database up after
/// any error, so no broken state is looked at.
pub(super) fn guarded<T>(call: impl FnOnce() -> ::sled::Result<T>) -> Result<T, EngineError> {
    let _call = Call::begin();
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(EngineError::Error),
        Err(payload) => Err(EngineError::Panic(panic_message(payload.as_ref()))),
    }
}

/// The text a panic was raised with.
pub(super) fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no message)".to_owned())
}

/// An iterator over a tree whose panics end it with an error.
pub(super) struct Guarded {
    entries: ::sled::Iter,
    broken: bool,
}

/// A key and its value.
pub(super) type Entry = Result<(::sled::IVec, ::sled::IVec), EngineError>;

impl Guarded {
    pub(super) fn new(tree: &::sled::Tree) -> Self {
        Self {
            entries: tree.iter(),
            broken: false,
        }
    }

    /// From behind a key on.
    pub(super) fn after(tree: &::sled::Tree, after: Option<&[u8]>) -> Self {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        Self {
            entries: tree.range::<&[u8], _>((from, Unbounded)),
            broken: false,
        }
    }

    fn step(
        &mut self,
        next: impl FnOnce(&mut ::sled::Iter) -> Option<::sled::Result<(::sled::IVec, ::sled::IVec)>>,
    ) -> Option<Entry> {
        if self.broken {
            return None;
        }
        let entry = guarded(|| next(&mut self.entries).transpose()).transpose();
        self.broken = matches!(entry, Some(Err(_)));
        entry
    }
}

impl Iterator for Guarded {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.step(Iterator::next)
    }
}

impl DoubleEndedIterator for Guarded {
    fn next_back(&mut self) -> Option<Entry> {
        self.step(DoubleEndedIterator::next_back)
    }
}
