//! Deadlines, kept apart from protocol state.
//!
//! A machine arms a timer under a key and later takes what has expired. Whether
//! an expired timer still means anything is for the machine to judge from its
//! state, so a timer that fires late, early or twice can do no harm, and a
//! model checker may fire any armed one.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::time::{Millis, Span};

/// Armed timers, at most one for each key.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    by_time: BTreeSet<(Millis, K)>,
    by_key: BTreeMap<K, Millis>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            by_time: BTreeSet::new(),
            by_key: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Arms the timer `key` for `at`, in place of any earlier setting.
    pub fn arm(&mut self, key: K, at: Millis) {
        if let Some(old) = self.by_key.insert(key.clone(), at) {
            self.by_time.remove(&(old, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    /// Takes the timer back; nothing happens if it is not armed.
    pub fn disarm(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    /// How many are armed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// All armed timers, in the order of their keys.
    pub fn armed(&self) -> impl Iterator<Item = &K> {
        self.by_key.keys()
    }

    /// Whether the timer is armed.
    #[must_use]
    pub fn is_armed(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next(&self) -> Option<Millis> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due at `now`, if any.
    pub fn pop_due(&mut self, now: Millis) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

/// Chance for jitter, from a seed: splitmix64 (Steele, Lea, Flood 2014). Not for
/// secrets.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// Starts from a seed; the same seed gives the same sequence.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The wait before try number `tries + 1`: doubles from `first` up to `cap`,
    /// then is drawn from its upper half, so that many who failed together do
    /// not come back together.
    pub fn backoff(&mut self, first: Span, cap: Span, tries: u32) -> Span {
        let full = first
            .0
            .saturating_mul(1 << tries.min(20))
            .clamp(1, cap.0.max(1));
        Span(full - self.draw() % full.div_ceil(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_due_in_order_and_can_be_moved() {
        let mut timers = Timers::default();
        timers.arm("b", Millis(20));
        timers.arm("a", Millis(30));
        timers.arm("a", Millis(10));
        timers.arm("c", Millis(15));
        timers.disarm(&"c");
        assert!(timers.armed().eq(&["a", "b"]));
        assert!(timers.is_armed(&"b") && !timers.is_armed(&"c"));
        assert_eq!(timers.next(), Some(Millis(10)));
        assert_eq!(timers.pop_due(Millis(9)), None);
        assert_eq!(timers.pop_due(Millis(25)), Some("a"));
        assert_eq!(timers.pop_due(Millis(25)), Some("b"));
        assert_eq!(timers.pop_due(Millis(25)), None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn backoff_grows_to_its_cap_and_keeps_half_of_it() {
        let mut jitter = Jitter::new(7);
        for tries in 0..40 {
            let full = 100_u64.saturating_mul(1 << tries.min(20)).min(5_000);
            let wait = jitter.backoff(Span(100), Span(5_000), tries).0;
            assert!(
                wait <= full && wait >= full / 2,
                "try {tries}: {wait} of {full}"
            );
        }
    }
}
