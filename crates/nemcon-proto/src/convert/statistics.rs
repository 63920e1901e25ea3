//! Figures of a coordinator.

use nemcon_core::coordinator::statistics::{
    Percentiles, ReasonCount, Sample, Statistics, WindowSummary,
};
use nemcon_core::id::Epoch;
use nemcon_core::message::Outcome;
use nemcon_core::reason::Reason;
use nemcon_core::time::{Elapsed, Span};

use super::error::{WireError, Within, counted};
use super::id::coordinator_id;
use super::outcome::definite;
use super::value::{time, timestamp};
use crate::v1;

impl From<Statistics> for v1::GetStatisticsResponse {
    fn from(statistics: Statistics) -> Self {
        Self {
            committed: statistics.committed,
            aborted: statistics.aborted,
            running: statistics.running,
            in_doubt: statistics.in_doubt,
            remembered: statistics.remembered,
            window: Some(statistics.window.into()),
            epoch: statistics.epoch.0,
            coordinator_id: statistics.coordinator.to_string(),
            started_at: Some(timestamp(statistics.started_at)),
            aborted_by_reason: to_counts(statistics.aborted_by),
            deadlocks: statistics.deadlocks,
            in_doubt_oldest_ms: statistics.in_doubt_oldest.0,
            samples: statistics.samples.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::GetStatisticsResponse> for Statistics {
    type Error = WireError;

    fn try_from(response: v1::GetStatisticsResponse) -> Result<Self, WireError> {
        let samples = response.samples.into_iter().map(Sample::try_from);
        let samples: Result<Vec<Sample>, WireError> = samples.collect();
        Ok(Self {
            coordinator: coordinator_id(&response.coordinator_id, "coordinator_id")?,
            epoch: Epoch(counted(response.epoch, "epoch")?),
            // A coordinator of an earlier version does not say.
            started_at: match response.started_at {
                Some(at) => time(Some(at), "started_at")?,
                None => Default::default(),
            },
            committed: response.committed,
            aborted: response.aborted,
            aborted_by: from_counts(response.aborted_by_reason),
            deadlocks: response.deadlocks,
            running: response.running,
            in_doubt: response.in_doubt,
            in_doubt_oldest: Span(response.in_doubt_oldest_ms),
            remembered: response.remembered,
            window: WindowSummary::try_from(response.window.unwrap_or_default())
                .within("window")?,
            samples: samples.within("samples")?,
        })
    }
}

impl From<WindowSummary> for v1::Window {
    fn from(window: WindowSummary) -> Self {
        Self {
            transactions: window.transactions,
            committed: window.committed,
            prepare: window.prepare.map(Into::into),
            commit: window.commit.map(Into::into),
            decision: window.decision.map(Into::into),
            size: window.size,
            aborted_by_reason: to_counts(window.aborted_by),
            total: window.total.map(Into::into),
        }
    }
}

impl TryFrom<v1::Window> for WindowSummary {
    type Error = WireError;

    fn try_from(window: v1::Window) -> Result<Self, WireError> {
        Ok(Self {
            size: window.size,
            transactions: window.transactions,
            committed: window.committed,
            aborted_by: from_counts(window.aborted_by_reason),
            prepare: percentiles(window.prepare, "prepare")?,
            commit: percentiles(window.commit, "commit")?,
            decision: percentiles(window.decision, "decision")?,
            total: percentiles(window.total, "total")?,
        })
    }
}

fn to_counts(counts: Vec<ReasonCount>) -> Vec<v1::ReasonCount> {
    let count = |(reason, transactions): ReasonCount| v1::ReasonCount {
        reason: match &reason {
            Some(reason) => reason.as_str().to_owned(),
            None => Reason::OTHER.to_owned(),
        },
        transactions,
    };
    counts.into_iter().map(count).collect()
}

fn from_counts(counts: Vec<v1::ReasonCount>) -> Vec<ReasonCount> {
    let count = |count: v1::ReasonCount| {
        let reason = (count.reason != Reason::OTHER).then(|| Reason::from_wire(&count.reason));
        (reason, count.transactions)
    };
    counts.into_iter().map(count).collect()
}

impl From<Sample> for v1::Sample {
    fn from(sample: Sample) -> Self {
        let us = |elapsed: Option<Elapsed>| elapsed.map(|Elapsed(us)| us);
        Self {
            outcome: v1::Outcome::from(sample.outcome).into(),
            reason: sample
                .reason
                .map(|reason| reason.as_str().to_owned())
                .unwrap_or_default(),
            prepare_us: us(sample.prepare),
            commit_us: us(sample.commit),
            decision_us: us(sample.decision),
            total_us: us(sample.total),
            ended_at: Some(timestamp(sample.at)),
        }
    }
}

impl TryFrom<v1::Sample> for Sample {
    type Error = WireError;

    fn try_from(sample: v1::Sample) -> Result<Self, WireError> {
        let outcome = definite(sample.outcome, "outcome")?;
        Ok(Self {
            outcome,
            reason: (outcome == Outcome::Aborted).then(|| Reason::from_wire(&sample.reason)),
            prepare: sample.prepare_us.map(Elapsed),
            commit: sample.commit_us.map(Elapsed),
            decision: sample.decision_us.map(Elapsed),
            total: sample.total_us.map(Elapsed),
            at: time(sample.ended_at, "ended_at")?,
        })
    }
}

impl From<Percentiles> for v1::Percentiles {
    fn from(percentiles: Percentiles) -> Self {
        Self {
            average: percentiles.average.as_millis(),
            p50: percentiles.p50.as_millis(),
            p90: percentiles.p90.as_millis(),
            p95: percentiles.p95.as_millis(),
            p99: percentiles.p99.as_millis(),
            max: percentiles.max.as_millis(),
        }
    }
}

/// Reads percentiles; finer parts than microseconds, which nobody measures, are
/// rounded.
fn percentiles(
    percentiles: Option<v1::Percentiles>,
    field: &str,
) -> Result<Option<Percentiles>, WireError> {
    let Some(read) = percentiles else {
        return Ok(None);
    };
    let elapsed = |ms: f64, field| {
        if ms.is_finite() && ms >= 0.0 {
            return Ok(Elapsed((ms * 1e3).round() as u64));
        }
        Err(WireError::new(field, ms, "milliseconds, 0 or more"))
    };
    let read = || {
        Ok(Percentiles {
            average: elapsed(read.average, "average")?,
            p50: elapsed(read.p50, "p50")?,
            p90: elapsed(read.p90, "p90")?,
            p95: elapsed(read.p95, "p95")?,
            p99: elapsed(read.p99, "p99")?,
            max: elapsed(read.max, "max")?,
        })
    };
    read().map(Some).within(field)
}

#[cfg(test)]
mod tests {
    use nemcon_core::time::Millis;

    use super::super::sample;
    use super::*;

    #[test]
    fn figures_go_there_and_back_and_nonsense_is_named() {
        let percentiles = Percentiles {
            average: Elapsed(2_504),
            p50: Elapsed(250),
            p90: Elapsed(4_001),
            p95: Elapsed(5_000),
            p99: Elapsed(9_999),
            max: Elapsed(11_000),
        };
        let aborted = Sample {
            outcome: Outcome::Aborted,
            reason: Some(Reason::business("NO_FUNDS")),
            prepare: Some(Elapsed(0)),
            commit: None,
            decision: Some(Elapsed(31)),
            total: Some(Elapsed(31)),
            at: Millis(1_700_000_000_123),
        };
        let committed = Sample {
            outcome: Outcome::Committed,
            reason: None,
            commit: Some(Elapsed(7)),
            ..aborted.clone()
        };
        let statistics = Statistics {
            coordinator: sample::coordinator(),
            epoch: Epoch(2),
            started_at: Millis(1_700_000_000_000),
            committed: 30,
            aborted: 4,
            aborted_by: vec![(Some(Reason::DEADLOCK), 3), (None, 1)],
            deadlocks: 2,
            running: 5,
            in_doubt: 6,
            in_doubt_oldest: Span(77),
            remembered: 34,
            window: WindowSummary {
                size: 100,
                transactions: 20,
                committed: 19,
                aborted_by: vec![(Some(Reason::business("NO_FUNDS")), 1)],
                prepare: Some(percentiles),
                commit: None,
                decision: Some(percentiles),
                total: None,
            },
            samples: vec![aborted, committed],
        };
        let there = v1::GetStatisticsResponse::from(statistics.clone());
        assert_eq!(Statistics::try_from(there.clone()), Ok(statistics));
        let mut odd = there;
        let window = odd.window.as_mut().unwrap();
        window.commit = Some(v1::Percentiles {
            p90: f64::NAN,
            ..Default::default()
        });
        let error = Statistics::try_from(odd).unwrap_err();
        assert_eq!(error.field, "window.commit.p90");
    }
}
