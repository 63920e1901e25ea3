//! Calls into sled, with its panics turned into errors.
//!
//! sled 0.34 panics where it meets a file that cannot be what it wrote. A node
//! must say what is wrong and what to do instead. The panic's own message is
//! still printed by the process's panic hook: that hook belongs to the binary.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

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

type Entry = Result<(::sled::IVec, ::sled::IVec), EngineError>;

impl Guarded {
    pub(super) fn new(tree: &::sled::Tree) -> Self {
        Self {
            entries: tree.iter(),
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
