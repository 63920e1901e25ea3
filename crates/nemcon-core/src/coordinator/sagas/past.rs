//! Sagas that have ended, and which of them is forgotten first.

use alloc::collections::BTreeSet;

use crate::id::SagaId;
use crate::time::{Millis, Span};

/// How long a saga that ended is spared from being forgotten for its number.
const JUST_ENDED: Span = Span::from_secs(60);

/// The sagas that have ended. They are forgotten lowest id first, and not in the order
/// in which they ended: ids up to that of the last one forgotten are refused, so one
/// whose client's clock was ahead must not go before its time.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// All, lowest id first.
    all: BTreeSet<SagaId>,
    /// Those that may have ended only just now, first end first.
    just_ended: BTreeSet<(Millis, SagaId)>,
    /// The others.
    rested: BTreeSet<SagaId>,
    /// Bytes that all hold.
    bytes: usize,
}

/// How much of the past is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) count_max: usize,
    pub(super) bytes_max: usize,
}

impl Past {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The one with the lowest id.
    pub(super) fn first(&self) -> Option<SagaId> {
        self.all.first().copied()
    }

    pub(super) fn insert(&mut self, id: SagaId, at: Millis, bytes: usize) {
        self.all.insert(id);
        self.just_ended.insert((at, id));
        self.bytes += bytes;
    }

    pub(super) fn remove(&mut self, id: SagaId, at: Millis, bytes: usize) {
        if self.all.remove(&id) {
            self.just_ended.remove(&(at, id));
            self.rested.remove(&id);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// Which one is too much, if any. Those that have only just ended are spared,
    /// however long they took, so that whoever waits for one sees how; but not if they
    /// alone are twice too much.
    pub(super) fn too_much(&mut self, now: Millis, bounds: Bounds) -> Option<SagaId> {
        let exceeds = |times: usize| {
            self.all.len() > bounds.count_max.saturating_mul(times)
                || self.bytes > bounds.bytes_max.saturating_mul(times)
        };
        if exceeds(2) {
            return self.first();
        }
        if !exceeds(1) {
            return None;
        }
        while let Some((at, id)) = self.just_ended.first().copied()
            && now.since(at) > JUST_ENDED
        {
            self.just_ended.pop_first();
            self.rested.insert(id);
        }
        self.rested.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        count_max: 2,
        bytes_max: 100,
    };

    fn id(minted_at: u64) -> SagaId {
        SagaId::from_parts(Millis(minted_at), 0)
    }

    /// Sagas minted at one time and ended at another.
    fn past(ended: &[(u64, u64)]) -> Past {
        let mut past = Past::default();
        for &(minted_at, at) in ended {
            past.insert(id(minted_at), Millis(at), 1);
        }
        past
    }

    #[test]
    fn those_that_have_just_ended_are_spared_unless_they_are_twice_too_much() {
        let mut past = past(&[(1, 70_000), (2, 5_000), (3, 6_000)]);
        assert_eq!(past.too_much(Millis(65_000), BOUNDS), None);
        // The lowest id has only just ended.
        assert_eq!(past.too_much(Millis(65_001), BOUNDS), Some(id(2)));
        past.remove(id(2), Millis(5_000), 1);
        assert_eq!(past.too_much(Millis(80_000), BOUNDS), None);
        for minted_at in 4..=6 {
            past.insert(id(minted_at), Millis(80_000), 1);
        }
        assert_eq!(past.too_much(Millis(80_000), BOUNDS), Some(id(1)));
    }

    #[test]
    fn a_high_id_that_ended_first_is_not_forgotten_first() {
        let mut past = past(&[(9_000_000, 1), (2, 10), (3, 20)]);
        assert_eq!(past.too_much(Millis(100_000), BOUNDS), Some(id(2)));
    }

    #[test]
    fn bytes_count_as_well() {
        let mut past = past(&[(1, 1)]);
        past.insert(id(2), Millis(2), 100);
        assert_eq!(past.too_much(Millis(100_000), BOUNDS), Some(id(1)));
        past.remove(id(1), Millis(1), 1);
        assert_eq!(past.too_much(Millis(100_000), BOUNDS), None);
        assert_eq!(past.len(), 1);
    }
}
