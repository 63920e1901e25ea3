//! Finished transactions in the order of their ids, packed tightly.
//!
//! There may be a million of them, nearly all of which come in the order of their
//! ids. A `BTreeMap` filled in order is little more than half full; here a full
//! leaf is left behind nearly full.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;
use core::ops::Bound;

use crate::id::TransactionId;

/// Entries of a leaf at most. Large against the number of transactions in flight:
/// those end in another order than that of their ids, and it is they that open
/// gaps.
const LEAF_MAX: usize = 512;

/// How many entries stay in a leaf that is split: most, for what comes next is
/// nearly always above them; not all, for a few will still come between them.
const LEAF_KEPT: usize = LEAF_MAX - LEAF_MAX / 8;

/// Leaves from which entries are taken out, at most, to take in several: where one
/// ends, those in flight belong into two.
const LEAVES_TAKEN_FROM: usize = 2;

/// What a shelf can hold.
pub(crate) trait Shelved {
    /// Which transaction it is about.
    fn transaction(&self) -> TransactionId;
}

/// The shelf.
#[derive(Clone, Debug)]
pub(crate) struct Shelf<T> {
    /// Leaves under the lowest id in them when they were made; none is empty, and
    /// each ends before the next one's key.
    leaves: BTreeMap<TransactionId, VecDeque<T>>,
    len: usize,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            leaves: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<T: Shelved> Shelf<T> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, transaction: TransactionId) -> Option<&T> {
        let (_, leaf) = self.leaves.range(..=transaction).next_back()?;
        leaf.get(place(leaf, transaction).ok()?)
    }

    pub(crate) fn get_mut(&mut self, transaction: TransactionId) -> Option<&mut T> {
        let (_, leaf) = self.leaves.range_mut(..=transaction).next_back()?;
        let at = place(leaf, transaction).ok()?;
        leaf.get_mut(at)
    }

    /// Takes in a transaction; false if it is there already.
    pub(crate) fn insert(&mut self, kept: T) -> bool {
        let transaction = kept.transaction();
        let (leaf, is_last) = match self.leaves.last_entry() {
            // The usual one, without a search.
            Some(last) if *last.key() <= transaction => (last.into_mut(), true),
            _ => match self.leaves.range_mut(..=transaction).next_back() {
                Some((_, leaf)) => (leaf, false),
                None => {
                    self.insert_first(kept);
                    self.len += 1;
                    return true;
                }
            },
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
        if is_last {
            give_all_room(&mut upper);
        }
        if at > LEAF_KEPT {
            upper.insert(at - LEAF_KEPT, kept);
        } else {
            leaf.insert(at, kept);
        }
        if let Some(first) = upper.front() {
            self.leaves.insert(first.transaction(), upper);
        }
        true
    }

    /// Takes in several, in any order; returns how many were not there before. For many
    /// that are near each other, and near the end, this is much cheaper than one at a
    /// time.
    pub(crate) fn extend(&mut self, mut more: Vec<T>) -> u32 {
        more.sort_unstable_by_key(Shelved::transaction);
        more.dedup_by_key(|kept| kept.transaction());
        let mut more = more.into_iter().peekable();
        let Some(lowest) = more.peek().map(Shelved::transaction) else {
            return 0;
        };
        let mut new = 0;
        let (above, is_all) = self.take_from(lowest);
        if !is_all && let Some(first) = above.front().map(Shelved::transaction) {
            while let Some(next) = more.next_if(|next| next.transaction() < first) {
                new += u32::from(self.insert(next));
            }
        }
        // From here on each is above all that are left.
        let mut end = self.leaves.pop_last();
        let mut append = |kept: T| {
            self.len += 1;
            let (key, leaf) = end.get_or_insert_with(|| (kept.transaction(), VecDeque::new()));
            if leaf.len() == LEAF_MAX {
                let mut upper = leaf.split_off(LEAF_KEPT);
                give_all_room(&mut upper);
                let first = upper
                    .front()
                    .map_or(kept.transaction(), Shelved::transaction);
                self.leaves.insert(*key, mem::replace(leaf, upper));
                *key = first;
            }
            leaf.push_back(kept);
        };
        for kept in above {
            while let Some(next) = more.next_if(|next| next.transaction() < kept.transaction()) {
                append(next);
                new += 1;
            }
            // Is there already.
            more.next_if(|next| next.transaction() == kept.transaction());
            append(kept);
        }
        for next in more {
            append(next);
            new += 1;
        }
        self.leaves.extend(end);
        new
    }

    /// Takes out what is not below `lowest`, from the last leaves; says whether that is
    /// all of it.
    fn take_from(&mut self, lowest: TransactionId) -> (VecDeque<T>, bool) {
        let mut taken = VecDeque::new();
        for _ in 0..LEAVES_TAKEN_FROM {
            let Some(mut last) = self.leaves.last_entry() else {
                return (taken, true);
            };
            let reached = *last.key() <= lowest;
            let leaf = last.get_mut();
            let at = leaf.partition_point(|kept| kept.transaction() < lowest);
            let mut upper = leaf.split_off(at);
            if leaf.is_empty() {
                last.remove();
            }
            self.len -= upper.len();
            upper.append(&mut taken);
            taken = upper;
            if reached {
                return (taken, true);
            }
        }
        (taken, false)
    }

    /// Takes in a transaction below all leaves.
    fn insert_first(&mut self, kept: T) {
        let transaction = kept.transaction();
        let room = self
            .leaves
            .first_entry()
            .filter(|first| first.get().len() < LEAF_MAX);
        let mut leaf = room.map(|first| first.remove()).unwrap_or_default();
        leaf.push_front(kept);
        self.leaves.insert(transaction, leaf);
    }

    pub(crate) fn first(&self) -> Option<&T> {
        self.leaves.first_key_value()?.1.front()
    }

    pub(crate) fn pop_first(&mut self) -> Option<T> {
        let mut leaf = self.leaves.first_entry()?;
        let first = leaf.get_mut().pop_front()?;
        if leaf.get().is_empty() {
            leaf.remove();
        }
        self.len -= 1;
        Some(first)
    }

    /// All, lowest id first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.leaves.values().flatten()
    }

    /// From the highest id down, below `below`.
    pub(crate) fn newest_below(&self, below: Option<TransactionId>) -> impl Iterator<Item = &T> {
        let to = below.map_or(Bound::Unbounded, Bound::Excluded);
        let leaves = self.leaves.range((Bound::Unbounded, to)).rev();
        let leaves = leaves.flat_map(|(_, leaf)| leaf.iter().rev());
        leaves.skip_while(move |kept| below.is_some_and(|below| kept.transaction() >= below))
    }
}

/// The last leaf is going to be full: better than to let it grow in steps.
fn give_all_room<T>(leaf: &mut VecDeque<T>) {
    leaf.reserve_exact(LEAF_MAX - leaf.len());
}

fn place<T: Shelved>(leaf: &VecDeque<T>, transaction: TransactionId) -> Result<usize, usize> {
    // The usual place, without a search.
    if leaf
        .back()
        .is_none_or(|last| last.transaction() < transaction)
    {
        return Err(leaf.len());
    }
    leaf.binary_search_by_key(&transaction, |kept| kept.transaction())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    use crate::time::Millis;

    #[derive(Clone, Copy, Debug)]
    struct At(u64);

    impl Shelved for At {
        fn transaction(&self) -> TransactionId {
            TransactionId::from_parts(Millis(self.0), 0)
        }
    }

    fn times_in(shelf: &Shelf<At>) -> Vec<u64> {
        shelf.iter().map(|kept| kept.0).collect()
    }

    #[test]
    fn what_comes_nearly_in_order_lies_tightly() {
        let mut shelf = Shelf::default();
        // As with 300 in flight, which end in another order.
        for block in 0..400_u64 {
            for at in (0..300).rev() {
                assert!(shelf.insert(At(block * 300 + at * 7 % 300)));
            }
        }
        let room: usize = shelf.leaves.values().map(VecDeque::capacity).sum();
        assert_eq!(shelf.len(), 120_000);
        assert!(room < 135_000, "room for {room}");
    }

    proptest! {
        #[test]
        fn it_is_an_ordered_set(
            steps in prop::collection::vec((0_u64..3_000, 0_u8..9), 0..3_000),
            below in 0_u64..3_000,
        ) {
            let (mut shelf, mut model) = (Shelf::<At>::default(), BTreeSet::new());
            for (at, what) in steps {
                if what == 0 {
                    prop_assert_eq!(shelf.first().map(|kept| kept.0), model.first().copied());
                    prop_assert_eq!(shelf.pop_first().map(|kept| kept.0), model.pop_first());
                } else if what == 1 {
                    let more = (0..60).map(|step| at + step * 37 % 90);
                    let new = more.clone().filter(|it| model.insert(*it)).count();
                    prop_assert_eq!(shelf.extend(more.map(At).collect()), new as u32);
                } else {
                    prop_assert_eq!(shelf.insert(At(at)), model.insert(at));
                }
                prop_assert_eq!(shelf.len(), model.len());
                let id = TransactionId::from_parts(Millis(at), 0);
                prop_assert_eq!(shelf.get(id).is_some(), model.contains(&at));
                prop_assert_eq!(shelf.get_mut(id).is_some(), model.contains(&at));
            }
            prop_assert_eq!(times_in(&shelf), model.iter().copied().collect::<Vec<_>>());
            let bound = TransactionId::from_parts(Millis(below), 0);
            let down = shelf.newest_below(Some(bound)).map(|kept| kept.0).collect::<Vec<_>>();
            prop_assert_eq!(down, model.range(..below).rev().copied().collect::<Vec<_>>());
        }
    }
}
