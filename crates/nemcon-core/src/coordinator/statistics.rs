//! Figures of a coordinator: counts, and times of the last transactions.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::event::Ending;
use super::transaction::{Phase, Stamps};
use super::{Coordinator, Output};
use crate::id::{CoordinatorId, Epoch};
use crate::message::Outcome;
use crate::observation::Observation;
use crate::reason::Reason;
use crate::time::{Elapsed, Millis, Span, Tick};

/// How many transactions the window covers where nothing else is set.
pub const WINDOW_DEFAULT: usize = 1_000;

/// The largest window: about 2 MB in one answer, of the 4 MB that a client takes.
pub const WINDOW_MAX: usize = 20_000;

/// A transaction that has ended. A duration is `None` where it was not measured:
/// the transaction did not go through that phase, or we restarted meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// What became of it.
    pub outcome: Outcome,
    /// Why it aborted, if it did.
    pub reason: Option<Reason>,
    /// From the first request for a vote to the last vote, or to the abort if that
    /// came before. With one participant: to its decision.
    pub prepare: Option<Elapsed>,
    /// From the last vote to the last acknowledgement, where a commit phase followed:
    /// not if it only read, or its only participant decided.
    pub commit: Option<Elapsed>,
    /// From the client's request, or the beginning of an interactive transaction, to
    /// the durable outcome, when the client is answered.
    pub decision: Option<Elapsed>,
    /// From the same to the end: the last acknowledgement, or the durable abort.
    pub total: Option<Elapsed>,
    /// When it ended.
    pub at: Millis,
}

impl Sample {
    /// Of a transaction that ends now. `has_commit_phase`: somebody had promised, so a
    /// commit was told and acknowledged.
    pub(super) fn of(
        now: Millis,
        stamps: &Stamps,
        ending: &Ending,
        has_commit_phase: bool,
        tick: Tick,
    ) -> Self {
        let outcome = ending.outcome();
        let Stamps {
            begun,
            asked,
            voted,
            decided,
        } = *stamps;
        let reason = match ending {
            Ending::Committed(_) => None,
            Ending::Aborted(cause) => Some(cause.refusal.reason.clone()),
        };
        let had_commit_phase = has_commit_phase && outcome == Outcome::Committed;
        Self {
            outcome,
            reason,
            prepare: asked.map(|asked| voted.unwrap_or(tick).since(asked)),
            commit: voted
                .filter(|_| had_commit_phase)
                .map(|voted| tick.since(voted)),
            decision: begun.map(|begun| decided.unwrap_or(tick).since(begun)),
            total: begun.map(|begun| tick.since(begun)),
            at: now,
        }
    }
}

/// The last transactions.
#[derive(Clone, Debug)]
pub struct Window {
    samples: VecDeque<Sample>,
    size: usize,
}

impl Window {
    /// An empty window for so many, at least one.
    #[must_use]
    pub const fn new(size: usize) -> Self {
        Self {
            samples: VecDeque::new(),
            size: if size == 0 { 1 } else { size },
        }
    }

    /// Takes in a finished transaction, and lets go of the oldest when full.
    pub fn push(&mut self, sample: Sample) {
        if self.samples.len() >= self.size {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The samples, oldest first.
    #[must_use]
    pub const fn samples(&self) -> &VecDeque<Sample> {
        &self.samples
    }
}

/// How many transactions aborted for one reason; `None` stands for all reasons that
/// are not the protocol's own, where those are counted together.
pub type ReasonCount = (Option<Reason>, u64);

/// Figures as they are handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Who.
    pub coordinator: CoordinatorId,
    /// Its epoch.
    pub epoch: Epoch,
    /// When it began to serve; since then it counts.
    pub started_at: Millis,
    /// Committed since the start.
    pub committed: u64,
    /// Aborted since the start.
    pub aborted: u64,
    /// Of these, how many for which reason, in the order of the words.
    pub aborted_by: Vec<ReasonCount>,
    /// Deadlocks across participants, found and broken since the start.
    pub deadlocks: u64,
    /// Running now.
    pub running: u64,
    /// Decided, not acknowledged by everyone.
    pub in_doubt: u64,
    /// How long the longest of these has been so.
    pub in_doubt_oldest: Span,
    /// Remembered outcomes.
    pub remembered: u64,
    /// The last transactions, summed up.
    pub window: WindowSummary,
    /// The last transactions themselves, oldest first, if they were asked for.
    pub samples: Vec<Sample>,
}

/// The last transactions, summed up. A phase that none of them went through has
/// no percentiles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowSummary {
    /// How many there can be.
    pub size: u32,
    /// How many there are.
    pub transactions: u32,
    /// How many of them committed.
    pub committed: u32,
    /// Why the others aborted, the most frequent first.
    pub aborted_by: Vec<ReasonCount>,
    /// Of [`Sample::prepare`].
    pub prepare: Option<Percentiles>,
    /// Of [`Sample::commit`].
    pub commit: Option<Percentiles>,
    /// Of [`Sample::decision`].
    pub decision: Option<Percentiles>,
    /// Of [`Sample::total`].
    pub total: Option<Percentiles>,
}

impl WindowSummary {
    /// Sums up a window. Sorts it four times, so it is for whoever asks, not for each
    /// transaction.
    #[must_use]
    pub fn of(window: &Window) -> Self {
        let samples = &window.samples;
        let mut reasons: BTreeMap<&Reason, u64> = BTreeMap::new();
        for reason in samples.iter().filter_map(|sample| sample.reason.as_ref()) {
            *reasons.entry(reason).or_default() += 1;
        }
        let mut aborted_by: Vec<ReasonCount> = reasons
            .into_iter()
            .map(|(reason, count)| (Some(reason.clone()), count))
            .collect();
        aborted_by.sort_by_key(|(_, count)| Reverse(*count));
        let committed = samples
            .iter()
            .filter(|sample| sample.outcome == Outcome::Committed);
        let spread = |duration: fn(&Sample) -> Option<Elapsed>| {
            Percentiles::of(samples.iter().filter_map(duration))
        };
        Self {
            size: window.size as u32,
            transactions: samples.len() as u32,
            committed: committed.count() as u32,
            aborted_by,
            prepare: spread(|sample| sample.prepare),
            commit: spread(|sample| sample.commit),
            decision: spread(|sample| sample.decision),
            total: spread(|sample| sample.total),
        }
    }
}

/// How a length of time was spread, by the nearest rank: each percentile was really
/// measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// The arithmetic mean, to the microsecond.
    pub average: Elapsed,
    /// Half of them took at most this.
    pub p50: Elapsed,
    /// Nine in ten took at most this.
    pub p90: Elapsed,
    /// All but one in twenty took at most this.
    pub p95: Elapsed,
    /// All but one in a hundred took at most this.
    pub p99: Elapsed,
    /// The longest.
    pub max: Elapsed,
}

impl Percentiles {
    /// Of these durations; `None` if there are none.
    #[must_use]
    pub fn of(durations: impl IntoIterator<Item = Elapsed>) -> Option<Self> {
        let mut durations: Vec<Elapsed> = durations.into_iter().collect();
        durations.sort_unstable();
        let max = *durations.last()?;
        let count = durations.len();
        let sum: u128 = durations.iter().map(|it| u128::from(it.0)).sum();
        // Not more than the longest, so it fits.
        let average = ((sum + count as u128 / 2) / count as u128) as u64;
        let rank = |percent: usize| durations[(count * percent).div_ceil(100) - 1];
        Some(Self {
            average: Elapsed(average),
            p50: rank(50),
            p90: rank(90),
            p95: rank(95),
            p99: rank(99),
            max,
        })
    }
}

impl Coordinator {
    /// Counts a transaction that has ended.
    pub(super) fn count(&mut self, sample: Sample, out: &mut Output) {
        match &sample.reason {
            None => self.committed += 1,
            Some(reason) => {
                self.aborted += 1;
                let word = reason.known().unwrap_or(Reason::OTHER);
                *self.aborted_by.entry(word).or_default() += 1;
            }
        }
        out.observe(Observation::TransactionEnded(sample.clone()));
        self.window.push(sample);
    }

    /// How many transactions are decided and not acknowledged by everyone, and how
    /// long the longest has been so. Looks at all that run.
    #[must_use]
    pub fn unacknowledged(&self, now: Millis) -> (u64, Span) {
        let committing = self
            .transactions
            .values()
            .filter(|txn| matches!(txn.phase, Phase::Committing));
        committing.fold((0, Span(0)), |(count, oldest), txn| {
            let since = txn.history.since().unwrap_or(now);
            (count + 1, oldest.max(now.since(since)))
        })
    }

    /// How many damages nobody has seen to.
    #[must_use]
    pub fn open_damages(&self) -> usize {
        let open = |key: &&_| !self.mended.contains(*key);
        self.damage.keys().filter(open).count()
    }

    pub(super) fn statistics(&self, now: Millis, samples_max: usize) -> Statistics {
        let (in_doubt, in_doubt_oldest) = self.unacknowledged(now);
        let by = |(word, count): (&&'static str, &u64)| {
            let reason = (*word != Reason::OTHER).then(|| Reason::business(word));
            (reason, *count)
        };
        let samples = self.window.samples();
        let skipped = samples.len().saturating_sub(samples_max);
        Statistics {
            coordinator: self.identity,
            epoch: self.epoch,
            started_at: self.started_at,
            committed: self.committed,
            aborted: self.aborted,
            aborted_by: self.aborted_by.iter().map(by).collect(),
            deadlocks: self.deadlocks,
            running: self.transactions.len() as u64,
            in_doubt,
            in_doubt_oldest,
            remembered: self.memory.len() as u64,
            window: WindowSummary::of(&self.window),
            samples: samples.iter().skip(skipped).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let spread = Percentiles::of((1..=200).rev().map(Elapsed)).unwrap();
        let Percentiles {
            p50,
            p90,
            p95,
            p99,
            max,
            ..
        } = spread;
        let expected = [100, 180, 190, 198, 200].map(Elapsed);
        assert_eq!([p50, p90, p95, p99, max], expected);
        assert_eq!(spread.average, Elapsed(101), "100.5, rounded");
    }

    #[test]
    fn one_value_is_every_percentile_and_none_has_none() {
        let lone = Percentiles::of([Elapsed(7)]).unwrap();
        assert_eq!(
            (lone.p50, lone.p99, lone.max),
            (Elapsed(7), Elapsed(7), Elapsed(7))
        );
        assert_eq!(Percentiles::of([]), None);
    }

    fn sample(reason: Option<Reason>, total: u64) -> Sample {
        let outcome = reason
            .as_ref()
            .map_or(Outcome::Committed, |_| Outcome::Aborted);
        Sample {
            outcome,
            reason,
            prepare: Some(Elapsed(2)),
            commit: (outcome == Outcome::Committed).then_some(Elapsed(5)),
            decision: Some(Elapsed(3)),
            total: Some(Elapsed(total)),
            at: Millis(0),
        }
    }

    #[test]
    fn a_window_counts_what_committed_and_why_the_rest_did_not() {
        let mut window = Window::new(4);
        let funds = Reason::business("NO_FUNDS");
        for (reason, total) in [
            (Some(Reason::LOCK_TIMEOUT), 99),
            (None, 8),
            (Some(Reason::DEADLOCK), 4),
            (Some(funds.clone()), 4),
            (Some(funds.clone()), 4),
        ] {
            window.push(sample(reason, total));
        }
        let summary = WindowSummary::of(&window);
        assert_eq!((summary.size, summary.transactions), (4, 4));
        assert_eq!(summary.committed, 1);
        let expected = [(Some(funds), 2), (Some(Reason::DEADLOCK), 1)];
        assert_eq!(summary.aborted_by, expected);
        assert_eq!(summary.commit.unwrap().max, Elapsed(5));
        assert_eq!(summary.total.unwrap().max, Elapsed(8), "the first has left");
        let empty = WindowSummary::of(&Window::new(0));
        assert_eq!((empty.size, empty.transactions), (1, 0));
        assert_eq!(empty.prepare, None);
    }
}
