//! The memory of transactions this participant decided alone.
//!
//! A one-phase commit leaves no record at the coordinator, so the promise that a
//! transaction id never runs twice is kept here: for as long as a client may ask,
//! and durably.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use super::record::AloneEnding;
use crate::fingerprint::{all, missing};
use crate::id::{AttemptId, Lsn, TransactionId};
use crate::message::OperationsHash;
use crate::reason::Refusal;
use crate::time::{Millis, Span};

/// Results of operations, each in the resource's own encoding behind its length (4,
/// big-endian). There may be a million of these, and as values of the resource they
/// would take more memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Results(Box<[u8]>);

impl Results {
    pub(super) fn new(results: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut bytes = Vec::new();
        for result in results {
            // No record is that long.
            let length = u32::try_from(result.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&result);
        }
        Self(bytes.into_boxed_slice())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        core::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (result, behind) = behind.split_at_checked(length)?;
            rest = behind;
            Some(result)
        })
    }
}

/// How one ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ending {
    Committed(Results),
    Aborted(Box<Refusal>),
}

/// One transaction decided alone.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) attempt: AttemptId,
    pub(super) hash: OperationsHash,
    pub(super) ending: Ending,
    /// Its record. Nothing is said of it before that is durable.
    pub(super) lsn: Lsn,
    pub(super) at: Millis,
}

/// Remembered transactions, lowest id (and so lowest time) first.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// Boxed: ids come in order, which leaves the nodes of the tree half empty.
    entries: BTreeMap<TransactionId, Box<Entry>>,
    /// Ids up to this time may have been forgotten.
    forgotten: Millis,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            forgotten: Millis(0),
        }
    }
}

impl Memory {
    /// Hashes what next steps depend on.
    pub(super) fn fingerprint<H: Hasher>(&self, durable: Lsn, into: &mut H) {
        let Self { entries, forgotten } = self;
        all(entries.iter(), into, |(transaction, entry), into| {
            let Entry {
                attempt,
                hash,
                ending,
                lsn,
                at: _,
            } = &**entry;
            (transaction, attempt, hash, ending).hash(into);
            missing(*lsn, durable).hash(into);
        });
        forgotten.hash(into);
    }
}

impl Memory {
    pub(super) fn get(&self, transaction: TransactionId) -> Option<&Entry> {
        self.entries.get(&transaction).map(Box::as_ref)
    }

    pub(super) fn insert(&mut self, transaction: TransactionId, entry: Entry) {
        self.entries.insert(transaction, Box::new(entry));
    }

    pub(super) fn entries_after(
        &self,
        after: Option<TransactionId>,
    ) -> impl Iterator<Item = (TransactionId, &Entry)> {
        use core::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.entries
            .range((from, Unbounded))
            .map(|(id, entry)| (*id, &**entry))
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

impl From<&Ending> for AloneEnding {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::Committed(results) => {
                let results = results.iter().map(|bytes| bytes.to_vec().into());
                Self::Committed(results.collect())
            }
            Ending::Aborted(refusal) => Self::Aborted((**refusal).clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn results_come_back_as_they_were() {
        for results in [
            vec![],
            vec![vec![]],
            vec![vec![1, 2, 3], vec![], vec![0; 300]],
        ] {
            let packed = Results::new(results.clone());
            assert_eq!(
                packed.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(),
                results
            );
        }
    }
}
