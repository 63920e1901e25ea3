//! Deadlines, kept apart from protocol state.
//!
//! A machine arms a timer under a key and later takes what has expired. Whether
//! an expired timer still means anything is for the machine to judge from its
//! state, so a timer that fires late, early or twice can do no harm, and a
//! model checker may fire any armed one.

use alloc::collections::{BTreeMap, BinaryHeap};
use core::cmp::Reverse;

use crate::time::{Millis, Span};

/// Settings that count no more are thrown out when there are more than so many, and
/// more than [`OUTDATED_TIMES`] as many as those that count. To find them each of
/// either kind has to be looked up.
const OUTDATED_KEPT: usize = 512;

/// See [`OUTDATED_KEPT`].
const OUTDATED_TIMES: usize = 4;

/// Armed timers, at most one for each key.
///
/// Nearly every timer is taken back before it is due, so taking back is what must
/// be cheap: the setting stays in the queue, and is passed over later.
///
/// Invariant: the first of the queue, if there is one, counts.
#[derive(Clone, Debug)]
pub struct Timers<K: Ord> {
    armed: BTreeMap<K, Millis>,
    /// When what is due, the earliest first. A setting counts if `armed` has it.
    queue: BinaryHeap<Reverse<(Millis, K)>>,
}

impl<K: Ord> Default for Timers<K> {
    fn default() -> Self {
        Self {
            armed: BTreeMap::new(),
            queue: BinaryHeap::new(),
        }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Arms the timer `key` for `at`, in place of any earlier setting.
    pub fn arm(&mut self, key: K, at: Millis) {
        let old = self.armed.insert(key.clone(), at);
        if old == Some(at) {
            return;
        }
        self.queue.push(Reverse((at, key)));
        if let Some(old) = old {
            self.tidy(old);
        }
    }

    /// Takes the timer back; nothing happens if it is not armed.
    pub fn disarm(&mut self, key: &K) {
        if let Some(at) = self.armed.remove(key) {
            self.tidy(at);
        }
    }

    /// A setting for that time counts no more.
    fn tidy(&mut self, outdated: Millis) {
        if self.next() == Some(outdated) {
            self.pass_over_outdated();
        }
        let counting = self.armed.len();
        let outdated_max = OUTDATED_KEPT.max(OUTDATED_TIMES * counting);
        if self.queue.len() > counting + outdated_max {
            let armed = &self.armed;
            self.queue
                .retain(|Reverse((at, key))| armed.get(key) == Some(at));
        }
    }

    /// Restores the invariant.
    fn pass_over_outdated(&mut self) {
        while let Some(Reverse((at, key))) = self.queue.peek()
            && self.armed.get(key) != Some(at)
        {
            self.queue.pop();
        }
    }

    /// How many are armed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.armed.len()
    }

    /// Whether none is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }

    /// All armed timers, in the order of their keys.
    pub fn armed(&self) -> impl Iterator<Item = &K> {
        self.armed.keys()
    }

    /// Whether the timer is armed.
    #[must_use]
    pub fn is_armed(&self, key: &K) -> bool {
        self.armed.contains_key(key)
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next(&self) -> Option<Millis> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the first timer that is due at `now`, if any; of those that are due at
    /// the same time, the one with the least key.
    pub fn pop_due(&mut self, now: Millis) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, key)) = self.queue.pop()?;
        self.armed.remove(&key);
        self.pass_over_outdated();
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
    use proptest::collection;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn they_are_the_list_they_stand_for(
            steps in collection::vec((0..4_u8, 0..6_u8, 0..50_u64), 0..400),
        ) {
            let (mut timers, mut list) = (Timers::default(), BTreeMap::new());
            for (what, key, at) in steps {
                match what {
                    0 | 1 => {
                        timers.arm(key, Millis(at));
                        list.insert(key, Millis(at));
                    }
                    2 => {
                        timers.disarm(&key);
                        list.remove(&key);
                    }
                    _ => {
                        let first = list.iter().map(|(key, at)| (*at, *key)).min();
                        let due = first.filter(|(due, _)| *due <= Millis(at));
                        prop_assert_eq!(timers.pop_due(Millis(at)), due.map(|(_, key)| key));
                        due.map(|(_, key)| list.remove(&key));
                    }
                }
                prop_assert_eq!(timers.next(), list.values().min().copied());
                prop_assert!(timers.armed().eq(list.keys()));
            }
        }
    }

    #[test]
    fn what_was_taken_back_takes_no_room_for_long() {
        let mut timers = Timers::default();
        timers.arm(0, Millis(1));
        for key in 1..100_000 {
            timers.arm(key, Millis(10_000));
            timers.disarm(&key);
        }
        assert!(
            timers.queue.len() <= OUTDATED_KEPT + 4,
            "{}",
            timers.queue.len()
        );
        assert_eq!(timers.next(), Some(Millis(1)));
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
