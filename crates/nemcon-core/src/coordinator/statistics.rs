//! Figures of a coordinator: counts, and times of the last transactions.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::id::{CoordinatorId, Epoch};
use crate::message::Outcome;
use crate::time::Span;

/// How many transactions the window covers.
pub const WINDOW: usize = 1_000;

/// One finished transaction in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// What became of it.
    pub outcome: Outcome,
    /// From the request to the last vote.
    pub prepare: Span,
    /// From the last vote to the last acknowledgement, if it committed.
    pub commit: Option<Span>,
    /// From the request to the durable decision.
    pub decision: Span,
}

/// The last transactions.
#[derive(Clone, Debug, Default)]
pub struct Window(VecDeque<Sample>);

impl Window {
    /// Takes in a finished transaction, and lets go of the oldest when full.
    pub fn push(&mut self, sample: Sample) {
        if self.0.len() == WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// The samples, oldest first.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.0.iter().copied().collect()
    }
}

/// Figures as they are handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Who.
    pub coordinator: CoordinatorId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Committed since the start.
    pub committed: u64,
    /// Aborted since the start.
    pub aborted: u64,
    /// Running now.
    pub running: u64,
    /// Decided, not acknowledged by everyone.
    pub in_doubt: u64,
    /// Remembered outcomes.
    pub remembered: u64,
    /// The last transactions, at most [`WINDOW`].
    pub window: Vec<Sample>,
}

/// [`Statistics`] with the window summed up, for people and dashboards.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Who.
    pub coordinator: CoordinatorId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Committed since the start.
    pub committed: u64,
    /// Aborted since the start.
    pub aborted: u64,
    /// Running now.
    pub running: u64,
    /// Decided, not acknowledged by everyone.
    pub in_doubt: u64,
    /// Remembered outcomes.
    pub remembered: u64,
    /// The last transactions.
    pub window: WindowSummary,
}

/// The last transactions, summed up. A phase that none of them went through has
/// no percentiles.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WindowSummary {
    /// How many.
    pub transactions: u32,
    /// How many of them committed.
    pub committed: u32,
    /// Of [`Sample::prepare`].
    pub prepare: Option<Percentiles>,
    /// Of [`Sample::commit`].
    pub commit: Option<Percentiles>,
    /// Of [`Sample::decision`].
    pub decision: Option<Percentiles>,
}

impl Statistics {
    /// Sums up the window. Sorts it three times, so it is for whoever asks, not
    /// for each transaction.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            coordinator: self.coordinator,
            epoch: self.epoch,
            committed: self.committed,
            aborted: self.aborted,
            running: self.running,
            in_doubt: self.in_doubt,
            remembered: self.remembered,
            window: WindowSummary::of(&self.window),
        }
    }
}

impl WindowSummary {
    /// Sums up these samples; there are at most [`WINDOW`].
    #[must_use]
    pub fn of(samples: &[Sample]) -> Self {
        let committed = samples
            .iter()
            .filter(|s| s.outcome == Outcome::Committed)
            .count();
        Self {
            transactions: samples.len() as u32,
            committed: committed as u32,
            prepare: Percentiles::of(samples.iter().map(|s| s.prepare)),
            commit: Percentiles::of(samples.iter().filter_map(|s| s.commit)),
            decision: Percentiles::of(samples.iter().map(|s| s.decision)),
        }
    }
}

/// How a length of time was spread, by the nearest rank: each percentile is a
/// span that was really measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentiles {
    /// The arithmetic mean, in milliseconds.
    pub average_ms: f64,
    /// Half of them took at most this.
    pub p50: Span,
    /// Nine in ten took at most this.
    pub p90: Span,
    /// All but one in a hundred took at most this.
    pub p99: Span,
    /// The longest.
    pub max: Span,
}

impl Percentiles {
    /// Of these spans; `None` if there are none.
    #[must_use]
    pub fn of(spans: impl IntoIterator<Item = Span>) -> Option<Self> {
        let mut spans: Vec<Span> = spans.into_iter().collect();
        spans.sort_unstable();
        let max = *spans.last()?;
        let count = spans.len();
        let rank = |percent: usize| spans[(count * percent).div_ceil(100) - 1];
        let sum: f64 = spans.iter().map(|span| span.0 as f64).sum();
        Some(Self {
            average_ms: sum / count as f64,
            p50: rank(50),
            p90: rank(90),
            p99: rank(99),
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let spread = Percentiles::of((1..=200).rev().map(Span)).unwrap();
        let expected = (Span(100), Span(180), Span(198), Span(200));
        assert_eq!((spread.p50, spread.p90, spread.p99, spread.max), expected);
        assert!((spread.average_ms - 100.5).abs() < 1e-9);
    }

    #[test]
    fn one_value_is_every_percentile_and_none_has_none() {
        let lone = Percentiles::of([Span(7)]).unwrap();
        assert_eq!((lone.p50, lone.p99, lone.max), (Span(7), Span(7), Span(7)));
        assert_eq!(Percentiles::of([]), None);
    }

    #[test]
    fn a_window_counts_what_committed() {
        let sample = |outcome, commit| Sample {
            outcome,
            prepare: Span(2),
            commit,
            decision: Span(3),
        };
        let samples = [
            sample(Outcome::Committed, Some(Span(5))),
            sample(Outcome::Aborted, None),
        ];
        let summary = WindowSummary::of(&samples);
        assert_eq!((summary.transactions, summary.committed), (2, 1));
        assert_eq!(summary.commit.unwrap().max, Span(5));
        assert_eq!(WindowSummary::of(&[]), WindowSummary::default());
    }
}
