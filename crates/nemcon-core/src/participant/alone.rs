//! The memory of transactions this participant decided alone.
//!
//! A one-phase commit leaves no record at the coordinator, so the promise that a
//! transaction id never runs twice is kept here: for as long as a client may ask,
//! and durably.

use alloc::collections::BTreeMap;
use core::hash::{Hash, Hasher};

use crate::fingerprint::{all, missing};
use crate::id::{AttemptId, Lsn, TransactionId};
use crate::message::{Alone, OperationsHash, Trace};
use crate::time::{Millis, Span};

/// One transaction decided alone.
#[derive(Clone, Debug)]
pub(super) struct Entry<T> {
    pub(super) attempt: AttemptId,
    pub(super) hash: OperationsHash,
    pub(super) alone: Alone<T>,
    /// Its record. Nothing is said of it before that is durable.
    pub(super) lsn: Lsn,
    pub(super) at: Millis,
}

/// Remembered transactions, lowest id (and so lowest time) first.
#[derive(Clone, Debug)]
pub(super) struct Memory<T> {
    entries: BTreeMap<TransactionId, Entry<T>>,
    /// Ids up to this time may have been forgotten.
    forgotten: Millis,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            forgotten: Millis(0),
        }
    }
}

impl<T: Hash> Memory<T> {
    /// Hashes what next steps depend on.
    pub(super) fn fingerprint<H: Hasher>(&self, durable: Lsn, into: &mut H) {
        let Self { entries, forgotten } = self;
        all(entries.iter(), into, |(transaction, entry), into| {
            let Entry {
                attempt,
                hash,
                alone,
                lsn,
                at: _,
            } = entry;
            (transaction, attempt, hash, alone).hash(into);
            missing(*lsn, durable).hash(into);
        });
        forgotten.hash(into);
    }
}

impl<T: Clone> Memory<T> {
    pub(super) fn get(&self, transaction: TransactionId) -> Option<&Entry<T>> {
        self.entries.get(&transaction)
    }

    pub(super) fn insert(&mut self, transaction: TransactionId, entry: Entry<T>) {
        self.entries.insert(transaction, entry);
    }

    pub(super) fn entries_after(
        &self,
        after: Option<TransactionId>,
    ) -> impl Iterator<Item = (TransactionId, &Entry<T>)> {
        use core::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.entries
            .range((from, Unbounded))
            .map(|(id, entry)| (*id, entry))
    }

    pub(super) const fn forgotten(&self) -> Millis {
        self.forgotten
    }

    pub(super) fn set_forgotten(&mut self, through: Millis) {
        self.forgotten = self.forgotten.max(through);
    }

    /// Whether an unknown id may be one that was forgotten.
    pub(super) fn may_have_forgotten(&self, transaction: TransactionId) -> bool {
        self.forgotten.0 > 0 && transaction.minted_at() <= self.forgotten
    }

    /// What a coordinator that asks is told, and the record that must be durable
    /// first.
    pub(super) fn trace(&self, transaction: TransactionId) -> (Trace<T>, Lsn) {
        match self.entries.get(&transaction) {
            Some(entry) => (
                Trace::Decided {
                    hash: entry.hash,
                    alone: entry.alone.clone(),
                },
                entry.lsn,
            ),
            None if self.may_have_forgotten(transaction) => (Trace::Forgotten, Lsn(0)),
            None => (Trace::None, Lsn(0)),
        }
    }

    /// Forgets, lowest id first, what is beyond `max` or older than `age`.
    ///
    /// The watermark needs no record here: the log has the forgotten until a
    /// checkpoint leaves them out, and a checkpoint writes the watermark both
    /// before and after what is still remembered.
    pub(super) fn forget(&mut self, now: Millis, max: usize, age: Span) {
        while let Some(first) = self.entries.first_entry() {
            let old = now.since(first.get().at) > age;
            let transaction = *first.key();
            if !old && self.entries.len() <= max {
                return;
            }
            self.entries.pop_first();
            self.set_forgotten(transaction.minted_at());
        }
    }
}
