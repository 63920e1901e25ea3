//! Finished transactions in the order of their ids, packed tightly.
//!
//! There may be a million of them, nearly all of which come in the order of their
//! ids. A `BTreeMap` filled in order is little more than half full; here a full
//! leaf is left behind nearly full.

use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Bound;

use crate::id::{Epoch, Position, Sequence, TransactionId};
use crate::message::{OperationsHash, Outcome};
use crate::time::Millis;

/// Entries of a leaf at most. Large against the number of transactions in flight:
/// those end in another order than that of their ids, and it is they that open
/// gaps.
const LEAF_MAX: usize = 512;

/// How many entries stay in a leaf that is split: most, for what comes next is
/// nearly always above them; not all, for a few will still come between them.
const LEAF_KEPT: usize = LEAF_MAX - LEAF_MAX / 8;

/// Where an outcome is kept besides memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// Nowhere: it only read, or a participant remembers it.
    None,
    /// In the log, until the next write-back.
    Log,
    /// In this chunk of the stored data.
    Chunk(u32),
}

/// The first half of a fingerprint: 128 bits tell operations apart as surely as
/// 256 do, unless a client takes 2^64 tries at fooling itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ShortHash(pub(super) [u8; 16]);

impl From<OperationsHash> for ShortHash {
    fn from(OperationsHash(hash): OperationsHash) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&hash[..16]);
        Self(half)
    }
}

/// What is remembered of a transaction to the last: 64 bytes, so that a million
/// take 64 MB.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) transaction: TransactionId,
    pub(super) hash: ShortHash,
    sequence: Sequence,
    /// When it ended.
    pub(super) at: Millis,
    /// 4 billion restarts are enough for everyone.
    epoch: u32,
    /// Milliseconds from the decision to the end, and from the beginning to the
    /// decision; for people, so more than 49 days may become 49 days.
    ended_after: u32,
    decided_after: u32,
    /// The chunk, or one of the two values that are none; the highest bit is the
    /// outcome.
    home: u32,
}

/// As [`Kept::home`]: it aborted.
const ABORTED: u32 = 1 << 31;

/// As [`Kept::home`]: in the log.
const IN_LOG: u32 = ABORTED - 1;

/// The highest number of a chunk; the lowest is 1.
pub(super) const CHUNK_MAX: u32 = IN_LOG - 1;

/// When a transaction went which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) begun: Millis,
    pub(super) decided: Millis,
    pub(super) ended: Millis,
}

impl Kept {
    pub(super) fn new(
        transaction: TransactionId,
        hash: ShortHash,
        attempt: Position,
        times: Times,
        outcome: Outcome,
    ) -> Self {
        let short = |span: crate::time::Span| u32::try_from(span.0).unwrap_or(u32::MAX);
        Self {
            transaction,
            hash,
            sequence: attempt.sequence,
            at: times.ended,
            epoch: u32::try_from(attempt.epoch.0).unwrap_or(u32::MAX),
            ended_after: short(times.ended.since(times.decided)),
            decided_after: short(times.decided.since(times.begun)),
            home: match outcome {
                Outcome::Committed => 0,
                Outcome::Aborted => ABORTED,
            },
        }
    }

    pub(super) fn attempt(&self) -> Position {
        Position {
            epoch: Epoch(u64::from(self.epoch)),
            sequence: self.sequence,
        }
    }

    pub(super) const fn outcome(&self) -> Outcome {
        if self.home & ABORTED == 0 {
            Outcome::Committed
        } else {
            Outcome::Aborted
        }
    }

    pub(super) fn times(&self) -> Times {
        let decided = Millis(self.at.0.saturating_sub(u64::from(self.ended_after)));
        Times {
            begun: Millis(decided.0.saturating_sub(u64::from(self.decided_after))),
            decided,
            ended: self.at,
        }
    }

    pub(super) const fn home(&self) -> Home {
        match self.home & !ABORTED {
            0 => Home::None,
            IN_LOG => Home::Log,
            chunk => Home::Chunk(chunk),
        }
    }

    pub(super) const fn set_home(&mut self, home: Home) {
        let number = match home {
            Home::None => 0,
            Home::Log => IN_LOG,
            Home::Chunk(chunk) => {
                debug_assert!(chunk >= 1 && chunk <= CHUNK_MAX, "not a chunk's number");
                chunk
            }
        };
        self.home = self.home & ABORTED | number;
    }
}

/// The shelf.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    /// Leaves under the lowest id in them when they were made; none is empty, and
    /// each ends before the next one's key.
    leaves: BTreeMap<TransactionId, VecDeque<Kept>>,
    len: usize,
}

impl Shelf {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, transaction: TransactionId) -> Option<&Kept> {
        let (_, leaf) = self.leaves.range(..=transaction).next_back()?;
        leaf.get(place(leaf, transaction).ok()?)
    }

    pub(super) fn get_mut(&mut self, transaction: TransactionId) -> Option<&mut Kept> {
        let (_, leaf) = self.leaves.range_mut(..=transaction).next_back()?;
        let at = place(leaf, transaction).ok()?;
        leaf.get_mut(at)
    }

    /// Takes in a transaction; false if it is there already.
    pub(super) fn insert(&mut self, kept: Kept) -> bool {
        let transaction = kept.transaction;
        // The usual place, without a search.
        if let Some(mut last) = self.leaves.last_entry()
            && last.get().len() < LEAF_MAX
            && last
                .get()
                .back()
                .is_some_and(|last| last.transaction < transaction)
        {
            last.get_mut().push_back(kept);
            self.len += 1;
            return true;
        }
        let Some((_, leaf)) = self.leaves.range_mut(..=transaction).next_back() else {
            self.insert_first(kept);
            self.len += 1;
            return true;
        };
        let Err(at) = place(leaf, transaction) else {
            return false;
        };
        self.len += 1;
        if leaf.len() < LEAF_MAX {
            leaf.insert(at, kept);
            return true;
        }
        let mut upper = leaf.split_off(LEAF_KEPT);
        if at > LEAF_KEPT {
            upper.insert(at - LEAF_KEPT, kept);
        } else {
            leaf.insert(at, kept);
        }
        if let Some(first) = upper.front() {
            self.leaves.insert(first.transaction, upper);
        }
        true
    }

    /// Takes in a transaction below all leaves.
    fn insert_first(&mut self, kept: Kept) {
        let transaction = kept.transaction;
        let room = self
            .leaves
            .first_entry()
            .filter(|first| first.get().len() < LEAF_MAX);
        let mut leaf = room.map(|first| first.remove()).unwrap_or_default();
        leaf.push_front(kept);
        self.leaves.insert(transaction, leaf);
    }

    pub(super) fn first(&self) -> Option<&Kept> {
        self.leaves.first_key_value()?.1.front()
    }

    pub(super) fn pop_first(&mut self) -> Option<Kept> {
        let mut leaf = self.leaves.first_entry()?;
        let first = leaf.get_mut().pop_front()?;
        if leaf.get().is_empty() {
            leaf.remove();
        }
        self.len -= 1;
        Some(first)
    }

    /// All, lowest id first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.leaves.values().flatten()
    }

    /// From the highest id down, below `below`.
    pub(super) fn newest_below(&self, below: Option<TransactionId>) -> impl Iterator<Item = &Kept> {
        let to = below.map_or(Bound::Unbounded, Bound::Excluded);
        let leaves = self.leaves.range((Bound::Unbounded, to)).rev();
        let leaves = leaves.flat_map(|(_, leaf)| leaf.iter().rev());
        leaves.skip_while(move |kept| below.is_some_and(|below| kept.transaction >= below))
    }
}

fn place(leaf: &VecDeque<Kept>, transaction: TransactionId) -> Result<usize, usize> {
    leaf.binary_search_by_key(&transaction, |kept| kept.transaction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn kept(at: u64) -> Kept {
        let (hash, attempt) = (ShortHash([0; 16]), Position::default());
        let times = Times {
            begun: Millis(0),
            decided: Millis(0),
            ended: Millis(at),
        };
        let id = TransactionId::from_parts(Millis(at), 0);
        Kept::new(id, hash, attempt, times, Outcome::Committed)
    }

    fn times_in(shelf: &Shelf) -> Vec<u64> {
        shelf.iter().map(|kept| kept.at.0).collect()
    }

    #[test]
    fn an_entry_is_no_larger_than_it_says() {
        assert_eq!(size_of::<Kept>(), 64);
    }

    #[test]
    fn what_comes_nearly_in_order_lies_tightly() {
        let mut shelf = Shelf::default();
        // As with 300 in flight, which end in another order.
        for block in 0..400_u64 {
            for at in (0..300).rev() {
                assert!(shelf.insert(kept(block * 300 + at * 7 % 300)));
            }
        }
        let room: usize = shelf.leaves.values().map(VecDeque::capacity).sum();
        assert_eq!(shelf.len(), 120_000);
        assert!(room < 135_000, "room for {room}");
    }

    proptest! {
        #[test]
        fn it_is_an_ordered_set(
            steps in prop::collection::vec((0_u64..3_000, 0_u8..8), 0..3_000),
            below in 0_u64..3_000,
        ) {
            let (mut shelf, mut model) = (Shelf::default(), BTreeSet::new());
            for (at, what) in steps {
                if what == 0 {
                    prop_assert_eq!(shelf.first().map(|kept| kept.at.0), model.first().copied());
                    prop_assert_eq!(shelf.pop_first().map(|kept| kept.at.0), model.pop_first());
                } else {
                    prop_assert_eq!(shelf.insert(kept(at)), model.insert(at));
                }
                prop_assert_eq!(shelf.len(), model.len());
                let id = TransactionId::from_parts(Millis(at), 0);
                prop_assert_eq!(shelf.get(id).is_some(), model.contains(&at));
                prop_assert_eq!(shelf.get_mut(id).is_some(), model.contains(&at));
            }
            prop_assert_eq!(times_in(&shelf), model.iter().copied().collect::<Vec<_>>());
            let bound = TransactionId::from_parts(Millis(below), 0);
            let down = shelf.newest_below(Some(bound)).map(|kept| kept.at.0).collect::<Vec<_>>();
            prop_assert_eq!(down, model.range(..below).rev().copied().collect::<Vec<_>>());
        }
    }
}
