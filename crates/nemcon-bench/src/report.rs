//! What a bench has found, in a form that other programs can rest on.
//!
//! The format is described in `docs/performance.md`. Fields are added and never
//! renamed; a change that a reader must know of gets another [`FORMAT`].

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::books::Books;
use crate::load::{Load, Measured};
use crate::setting::Setting;
pub use crate::tally::Fates;
use crate::tally::histogram;

/// Which form a report has.
pub const FORMAT: &str = "nemcon-bench/2";

/// Digits of a latency in the histogram of a report: buckets at most 1 % wide.
const HISTOGRAM_DIGITS: u8 = 2;

/// A whole bench.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: &'static str,
    /// Which transactions.
    pub workload: &'static str,
    /// How accounts were chosen.
    pub skew: &'static str,
    /// Accounts or customers at each bank.
    pub accounts: u32,
    /// How many banks.
    pub banks: usize,
    /// How many coordinators they had, each of which got as many transactions.
    pub coordinators: usize,
    /// Before each window.
    pub warm_up_seconds: f64,
    /// Each window.
    pub window_seconds: f64,
    /// How many windows each row had.
    pub rounds: u16,
    /// What chance began with.
    pub seed: u64,
    /// Where and with what.
    pub setting: Setting,
    /// One for each load.
    pub rows: Vec<Row>,
    /// Whether the money is all there.
    pub books: Books,
}

/// One load.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// How one-shot transactions travelled: `unary` or `stream`.
    pub transport: &'static str,
    /// How many were kept in flight, in a closed load.
    pub in_flight: Option<u16>,
    /// How many were to begin in a second, in an open load.
    pub rate: Option<u32>,
    /// Participants of each transaction, where that was a choice.
    pub participants: Option<u8>,
    /// As what the job was run, `saga` or `transaction`, where that was a choice.
    pub manner: Option<&'static str>,
    /// Medians of all rounds, each figure for itself.
    pub median: Figures,
    /// The lowest and the highest rate of commits of any round.
    pub per_second_range: (f64, f64),
    /// All tries of all windows.
    pub fates: Fates,
    /// Transactions of an open load that never began: it was too much.
    pub not_started: u64,
    /// Tries by kind of transaction.
    pub kinds: BTreeMap<&'static str, Fates>,
    /// Why tries did not commit.
    pub reasons: BTreeMap<String, u64>,
    /// Each round by itself.
    pub rounds: Vec<Figures>,
    /// Latencies of all that committed: pairs of a latency in microseconds, the
    /// upper end of a bucket, and how many were in it. In ascending order.
    pub histogram_us: Vec<(u64, u64)>,
}

/// The figures of one round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Commits.
    pub per_second: f64,
    /// Half of those that committed took at most so long; none: none committed.
    pub p50_ms: Option<f64>,
    /// 99 of 100.
    pub p99_ms: Option<f64>,
    /// 999 of 1,000.
    pub p999_ms: Option<f64>,
    /// Processor time of all nodes for a commit; none: not known.
    pub nodes_cpu_us: Option<f64>,
    /// Of the client.
    pub client_cpu_us: Option<f64>,
    /// Memory of all nodes at the end of the window, in millions of bytes; none: not
    /// known.
    pub nodes_memory_mb: Option<f64>,
    /// Transactions that all rounds before had committed, their warm-ups included: so
    /// many may be remembered.
    pub committed_before: f64,
}

impl Figures {
    /// Of one round.
    fn of(measured: &Measured) -> Self {
        let latency = &measured.tally.latency_us;
        let millis = |quantile| {
            let micros = latency.value_at_quantile(quantile);
            (!latency.is_empty()).then(|| rounded(micros as f64 / 1_000.0))
        };
        let committed = measured.tally.fates.committed;
        let each = |seconds: f64| rounded(seconds * 1e6 / committed as f64);
        let cpu = measured.cpu.filter(|_| committed > 0);
        Self {
            per_second: rounded(committed as f64 / measured.window.as_secs_f64()),
            p50_ms: millis(0.5),
            p99_ms: millis(0.99),
            p999_ms: millis(0.999),
            nodes_cpu_us: cpu.map(|cpu| each(cpu.nodes_seconds)),
            client_cpu_us: cpu.map(|cpu| each(cpu.client_seconds)),
            nodes_memory_mb: measured
                .memory_bytes
                .map(|bytes| rounded(bytes as f64 / 1e6)),
            committed_before: measured.committed_before as f64,
        }
    }

    /// Each figure's median. They need not be of the same round.
    fn median(rounds: &[Self]) -> Self {
        let some = |figure: fn(&Self) -> Option<f64>| median(rounds.iter().filter_map(figure));
        Self {
            per_second: median(rounds.iter().map(|it| it.per_second)).unwrap_or_default(),
            p50_ms: some(|it| it.p50_ms),
            p99_ms: some(|it| it.p99_ms),
            p999_ms: some(|it| it.p999_ms),
            nodes_cpu_us: some(|it| it.nodes_cpu_us),
            client_cpu_us: some(|it| it.client_cpu_us),
            nodes_memory_mb: some(|it| it.nodes_memory_mb),
            committed_before: median(rounds.iter().map(|it| it.committed_before))
                .unwrap_or_default(),
        }
    }
}

impl Row {
    /// Puts the rounds of a load together.
    #[must_use]
    pub fn new(
        load: Load,
        transport: &'static str,
        participants: Option<u8>,
        measured: &[Measured],
    ) -> Self {
        let rounds: Vec<Figures> = measured.iter().map(Figures::of).collect();
        let rates = rounds.iter().map(|round| round.per_second);
        let lowest = rates.clone().fold(f64::INFINITY, f64::min);
        let mut row = Self {
            transport,
            in_flight: match load {
                Load::InFlight(count) => Some(count),
                Load::Rate(_) => None,
            },
            rate: match load {
                Load::Rate(rate) => Some(rate),
                Load::InFlight(_) => None,
            },
            participants,
            manner: None,
            median: Figures::median(&rounds),
            per_second_range: (lowest.min(f64::MAX), rates.fold(0.0, f64::max)),
            fates: Fates::default(),
            not_started: measured.iter().map(|it| it.not_started).sum(),
            kinds: BTreeMap::new(),
            reasons: BTreeMap::new(),
            rounds,
            histogram_us: Vec::new(),
        };
        let mut all = histogram(HISTOGRAM_DIGITS);
        for Measured { tally, .. } in measured {
            row.fates.add(&tally.fates);
            for (kind, fates) in &tally.kinds {
                row.kinds.entry(kind).or_default().add(fates);
            }
            for (reason, count) in &tally.reasons {
                *row.reasons.entry(reason.clone()).or_default() += count;
            }
            for bucket in tally.latency_us.iter_recorded() {
                all.saturating_record_n(bucket.value_iterated_to(), bucket.count_at_value());
            }
        }
        row.histogram_us = buckets(&all);
        row
    }
}

/// Those buckets that hold anything.
fn buckets(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let recorded = histogram.iter_recorded();
    recorded
        .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
        .collect()
}

/// The middle one, or the mean of the two in the middle.
fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(rounded(f64::midpoint(lower, upper)))
}

/// To three places: more would be noise.
fn rounded(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cpu::Cpu;
    use crate::fate::{Effect, Fate, Try};
    use crate::tally::Tally;

    fn measured(latencies_ms: &[u64]) -> Measured {
        let mut tally = Tally::new();
        for ms in latencies_ms {
            let tried = Try {
                kind: "transfer",
                fate: Fate::Committed,
                effect: Effect::default(),
            };
            tally.take(&tried, Some(Duration::from_millis(*ms)));
        }
        Measured {
            tally,
            not_started: 0,
            window: Duration::from_secs(2),
            cpu: Some(Cpu {
                client_seconds: 0.1,
                nodes_seconds: 0.4,
            }),
            memory_bytes: Some(3_500_000),
            committed_before: 100,
        }
    }

    #[test]
    fn a_row_has_the_medians_of_its_rounds_and_all_of_their_latencies() {
        let rounds = [
            measured(&[1, 2, 3, 4]),
            measured(&[2; 8]),
            measured(&[3; 2]),
        ];
        let row = Row::new(Load::InFlight(4), "stream", None, &rounds);
        assert_eq!((row.in_flight, row.rate), (Some(4), None));
        assert_eq!(row.median.per_second, 2.0);
        assert_eq!(row.per_second_range, (1.0, 4.0));
        let p50 = row.median.p50_ms.unwrap();
        assert!((p50 - 2.0).abs() < 0.01, "{p50}");
        assert_eq!(row.median.nodes_cpu_us, Some(100_000.0));
        assert_eq!(row.median.client_cpu_us, Some(25_000.0));
        assert_eq!(row.median.nodes_memory_mb, Some(3.5));
        assert_eq!(row.median.committed_before, 100.0);
        assert_eq!(row.fates.committed, 14);
        let counted: u64 = row.histogram_us.iter().map(|(_, count)| count).sum();
        assert_eq!(counted, 14);
        assert!(row.histogram_us.is_sorted());
        assert!(
            (1_000..=1_010).contains(&row.histogram_us[0].0),
            "{:?}",
            row.histogram_us
        );
    }

    #[test]
    fn a_round_without_commits_has_no_latency() {
        let row = Row::new(Load::Rate(100), "unary", Some(3), &[measured(&[])]);
        let nothing = Figures {
            nodes_memory_mb: Some(3.5),
            committed_before: 100.0,
            ..Figures::default()
        };
        assert_eq!(row.median, nothing);
        assert_eq!((row.rate, row.participants), (Some(100), Some(3)));
        assert!(row.histogram_us.is_empty());
    }

    #[test]
    fn the_median_of_two_is_between_them() {
        assert_eq!(median([3.0, 1.0].into_iter()), Some(2.0));
        assert_eq!(median([3.0, 1.0, 9.0].into_iter()), Some(3.0));
        assert_eq!(median(std::iter::empty()), None);
    }
}
