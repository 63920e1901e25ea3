//! What is counted and timed while a load runs.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use crate::fate::{Effect, Fate, Try};

/// Digits of a latency that are kept: one in a thousand is closer than two runs
/// ever are.
const DIGITS: u8 = 3;

/// Longest latency that is told from longer ones. A transaction may take five
/// minutes, and no longer.
const LATENCY_US_MAX: u64 = 600_000_000;

/// How many tries ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Fates {
    /// They happened.
    pub committed: u64,
    /// The business said no.
    pub refused: u64,
    /// Somebody else held the data for too long.
    pub conflicts: u64,
    /// They gave way in a deadlock.
    pub deadlock_victims: u64,
    /// They did not happen, for another reason.
    pub failed: u64,
    /// They may have happened.
    pub unknown: u64,
}

impl Fates {
    /// Counts one.
    fn count(&mut self, fate: &Fate) {
        *match fate {
            Fate::Committed => &mut self.committed,
            Fate::Refused(_) => &mut self.refused,
            Fate::Conflict(_) => &mut self.conflicts,
            Fate::Victim => &mut self.deadlock_victims,
            Fate::Failed(_) => &mut self.failed,
            Fate::Unknown => &mut self.unknown,
        } += 1;
    }

    /// Adds others, of another round or row.
    pub fn add(&mut self, other: &Self) {
        self.committed += other.committed;
        self.refused += other.refused;
        self.conflicts += other.conflicts;
        self.deadlock_victims += other.deadlock_victims;
        self.failed += other.failed;
        self.unknown += other.unknown;
    }
}

/// The time in which is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

impl Window {
    pub(crate) fn has(&self, at: Instant) -> bool {
        (self.from..self.until).contains(&at)
    }
}

/// Counts of one round of one row.
#[derive(Clone, Debug)]
pub struct Tally {
    /// All tries of the window.
    pub fates: Fates,
    /// The same, by kind of transaction.
    pub kinds: BTreeMap<&'static str, Fates>,
    /// Why tries did not commit, in the words of those who said no.
    pub reasons: BTreeMap<String, u64>,
    /// How long those that committed took, in microseconds.
    pub latency_us: Histogram<u64>,
    /// What all tries have done to the sum of all accounts, also those before and
    /// after the window.
    pub moved_low_minor: i128,
    /// The same: at most.
    pub moved_high_minor: i128,
    /// Tries whose outcome is not known, in the window or not.
    pub unknown_at_all: u64,
    /// Tries that committed, in the window or not.
    pub committed_at_all: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            fates: Fates::default(),
            kinds: BTreeMap::new(),
            reasons: BTreeMap::new(),
            latency_us: histogram(DIGITS),
            moved_low_minor: 0,
            moved_high_minor: 0,
            unknown_at_all: 0,
            committed_at_all: 0,
        }
    }

    /// Takes in a try that has ended; its latency, if it counts.
    pub(crate) fn take(&mut self, tried: &Try, counts: Option<Duration>) {
        let Effect {
            low_minor,
            high_minor,
        } = tried.done();
        self.moved_low_minor += i128::from(low_minor);
        self.moved_high_minor += i128::from(high_minor);
        self.unknown_at_all += u64::from(tried.fate == Fate::Unknown);
        self.committed_at_all += u64::from(tried.fate == Fate::Committed);
        let Some(latency) = counts else {
            return;
        };
        self.fates.count(&tried.fate);
        self.kinds.entry(tried.kind).or_default().count(&tried.fate);
        match &tried.fate {
            Fate::Committed => {
                let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
                self.latency_us.saturating_record(micros.max(1));
            }
            Fate::Refused(why) | Fate::Conflict(why) | Fate::Failed(why) => {
                *self.reasons.entry(why.clone()).or_default() += 1;
            }
            Fate::Victim | Fate::Unknown => {}
        }
    }
}

/// An empty histogram of latencies in microseconds.
pub(crate) fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, digits)
        .expect("the bounds and up to five digits are what a histogram takes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(fate: Fate, minor: i64) -> Try {
        Try {
            kind: "transfer",
            fate,
            effect: Effect::of(minor),
        }
    }

    #[test]
    fn the_warm_up_moves_money_and_counts_for_nothing_else() {
        let mut tally = Tally::new();
        tally.take(&tried(Fate::Committed, 130), None);
        tally.take(
            &tried(Fate::Committed, -500),
            Some(Duration::from_millis(2)),
        );
        tally.take(
            &tried(Fate::Conflict("LOCK_TIMEOUT".into()), -500),
            Some(Duration::from_secs(5)),
        );
        assert_eq!(
            (tally.moved_low_minor, tally.moved_high_minor),
            (-370, -370)
        );
        assert_eq!((tally.fates.committed, tally.fates.conflicts), (1, 1));
        assert_eq!(tally.latency_us.len(), 1);
        assert!(tally.latency_us.equivalent(tally.latency_us.max(), 2_000));
        assert_eq!(tally.reasons["LOCK_TIMEOUT"], 1);
        assert_eq!(tally.kinds["transfer"], tally.fates);
    }

    #[test]
    fn what_is_not_known_widens_what_may_have_moved() {
        let mut tally = Tally::new();
        tally.take(&tried(Fate::Unknown, -500), None);
        assert_eq!((tally.moved_low_minor, tally.moved_high_minor), (-500, 0));
        assert_eq!((tally.unknown_at_all, tally.fates.unknown), (1, 0));
    }
}
