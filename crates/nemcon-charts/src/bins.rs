//! What a heap of times comes to: bins of a histogram, and percentiles.

use crate::axis::{Axis, VALUE_MAX};

/// Bins of a histogram.
pub const BINS: usize = 30;

/// Times, in order, without those that are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Times {
    sorted_ms: Vec<f64>,
    /// What was left out: below zero, or no number.
    pub(crate) left_out: usize,
}

impl Times {
    pub(crate) fn new(values_ms: &[f64]) -> Self {
        let mut sorted_ms: Vec<f64> = values_ms
            .iter()
            .copied()
            .filter(|value| value.is_finite() && *value >= 0.0)
            // A zero with a sign is a zero, and the order below is total.
            .map(|value| value.abs().min(VALUE_MAX))
            .collect();
        sorted_ms.sort_unstable_by(f64::total_cmp);
        Self {
            left_out: values_ms.len() - sorted_ms.len(),
            sorted_ms,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.sorted_ms.len()
    }

    /// The smallest and the greatest, in milliseconds.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        Some((*self.sorted_ms.first()?, *self.sorted_ms.last()?))
    }

    /// See [`Percentiles`].
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        Some(Percentiles {
            p50: self.rank(50)?,
            p95: self.rank(95)?,
            p99: self.rank(99)?,
        })
    }

    fn rank(&self, percent: usize) -> Option<f64> {
        let rank = (self.len().checked_mul(percent)?).div_ceil(100);
        self.sorted_ms.get(rank.max(1) - 1).copied()
    }

    /// See [`Histogram`].
    pub(crate) fn histogram(&self, ticks_max: usize) -> Option<Histogram> {
        let (low, high) = self.range()?;
        // Among times that span decades, one of zero is none of the scale's; the
        // smallest that is takes its place.
        let positive = self.sorted_ms.iter().find(|it| **it > 0.0);
        let axis = Axis::times(
            if low > 0.0 { low } else { self.floor(positive) },
            high,
            ticks_max,
        );
        let mut counts = [0; BINS];
        for value in &self.sorted_ms {
            let part = (axis.position(*value) - axis.from) / (axis.to - axis.from);
            let bin = ((part * BINS as f64) as usize).min(BINS - 1);
            counts[bin] += 1;
        }
        Some(Histogram { axis, counts })
    }

    /// Where an axis begins whose lowest value is zero.
    fn floor(&self, positive: Option<&f64>) -> f64 {
        match (positive, self.range()) {
            (Some(least), Some((_, high))) if Axis::times(*least, high, 1).logarithmic => *least,
            _ => 0.0,
        }
    }
}

/// Times that so many percent did not exceed, in milliseconds: each is one that
/// was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// One in twenty took longer.
    pub p95: f64,
    /// One in a hundred took longer.
    pub p99: f64,
}

impl Percentiles {
    /// Of times in milliseconds; `None` if there are none. What is no time is left
    /// out.
    #[must_use]
    pub fn of(values_ms: &[f64]) -> Option<Self> {
        Times::new(values_ms).percentiles()
    }
}

/// How many times fall into each of [`BINS`] bins of one width on their axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// From the smallest to the greatest.
    pub axis: Axis,
    /// From left to right.
    pub counts: [usize; BINS],
}

impl Histogram {
    /// Of times in milliseconds; `None` if there are none. What is no time is left
    /// out.
    #[must_use]
    pub fn of(values_ms: &[f64]) -> Option<Self> {
        Times::new(values_ms).histogram(8)
    }

    /// The edges of a bin, as positions.
    pub(crate) fn edges(&self, bin: usize) -> (f64, f64) {
        let edge = |number: usize| {
            let part = number as f64 / BINS as f64;
            self.axis.from + (self.axis.to - self.axis.from) * part
        };
        (edge(bin), edge(bin + 1))
    }

    /// The fullest bin.
    pub(crate) fn most(&self) -> usize {
        self.counts.iter().copied().max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let found = Percentiles::of(&values).unwrap();
        assert_eq!((found.p50, found.p95, found.p99), (50.0, 95.0, 99.0));
        let one = Percentiles::of(&[7.0]).unwrap();
        assert_eq!((one.p50, one.p95, one.p99), (7.0, 7.0, 7.0));
        assert_eq!(Percentiles::of(&[]), None);
        assert_eq!(Percentiles::of(&[f64::NAN, -1.0, f64::INFINITY]), None);
    }

    #[test]
    fn bins_are_of_one_width() {
        let values: Vec<f64> = (0..300).map(|it| 10.0 + f64::from(it) / 10.0).collect();
        let bins = Histogram::of(&values).unwrap();
        assert!(
            bins.counts.iter().all(|count| (9..=11).contains(count)),
            "{bins:?}"
        );
    }

    #[test]
    fn a_zero_does_not_stretch_decades() {
        let bins = Histogram::of(&[0.0, 0.5, 1.0, 500.0]).unwrap();
        assert!(bins.axis.logarithmic);
        assert_eq!(bins.axis.from, 0.5_f64.log10());
        assert_eq!(bins.counts[0], 2);
        assert!(!Histogram::of(&[0.0, 1.0, 2.0]).unwrap().axis.logarithmic);
        assert_eq!(
            Histogram::of(&[0.0]).unwrap().counts.iter().sum::<usize>(),
            1
        );
    }

    proptest! {
        #[test]
        fn every_time_is_in_one_bin(values in prop::collection::vec(any::<f64>(), 0..200)) {
            let times = values.iter().filter(|it| it.is_finite() && **it >= 0.0).count();
            let counted = Histogram::of(&values).map_or(0, |it| it.counts.iter().sum());
            prop_assert_eq!(counted, times);
        }

        #[test]
        fn percentiles_are_in_order(values in prop::collection::vec(0.0..1e6, 1..200)) {
            let found = Percentiles::of(&values).unwrap();
            prop_assert!(found.p50 <= found.p95 && found.p95 <= found.p99);
            prop_assert!(values.contains(&found.p50) && values.contains(&found.p99));
            let below = values.iter().filter(|it| **it <= found.p95).count();
            prop_assert!(below * 100 >= values.len() * 95);
        }
    }
}
