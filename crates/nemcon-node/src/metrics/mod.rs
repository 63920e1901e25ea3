//! What a node measures, for Prometheus.
//!
//! ```text
//!   machine ── observations ──▶ driver ──▶ counters, histograms ─┐
//!   log ────── "flushed" ────────────────▶ histograms ───────────┼──▶ GET /metrics
//!   machine ◀─ "where do you stand?" ── at each scrape ── gauges ┘
//! ```
//!
//! - One registry for each node, nothing global: many nodes live in one process.
//! - No label says which node it is: the scraper knows whom it asks.
//! - Labels have an end. Outcomes are two; reasons are the protocol's words and one
//!   for all others; participants are those that are registered, up to
//!   [`PARTICIPANTS_SHOWN_MAX`]. No id is a label.
//! - Gauges are not kept up to date. They are computed by the driver between two
//!   turns when somebody asks, so they cost nothing otherwise, and are of one moment.

pub(crate) mod http;
mod standing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nemcon_core::id::{Lsn, ParticipantName};
use nemcon_core::message::Outcome;
use nemcon_core::observation::Observation;
use nemcon_core::reason::Reason;
use nemcon_core::time::{Elapsed, Millis, Span};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::http::Scraper;
use self::standing::Standing;
use crate::maintenance::NodeKind;
use crate::settings::Settings;

/// Upper bounds of the buckets of every histogram of seconds: from what one flush of
/// a fast disk takes to the default deadline of a transaction.
pub const SECONDS: [f64; 17] = [
    50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3,
    1.0, 2.5, 5.0, 10.0,
];

/// Upper bounds of the buckets for the records of one flush.
pub const RECORDS: [f64; 11] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0,
];

/// Of how many participants it is told whether they are reached. Who registers
/// more has more than a dashboard can show.
pub const PARTICIPANTS_SHOWN_MAX: usize = 1_000;

/// Scrapes that the driver has not come to yet. Those beyond wait where they are.
pub(crate) const SCRAPES_MAX: usize = 4;

/// The label of transactions that had no reason to abort. In lower case, as the one
/// for foreign words is, so that no reason can be taken for it.
const NO_REASON: &str = "none";

/// Where a machine stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Transactions or attempts in doubt.
    pub in_doubt: u64,
    /// How long the longest of these has been so.
    pub in_doubt_oldest: Span,
    /// Heuristic damage that nobody has seen to.
    pub damage: usize,
    /// What only this kind of node has.
    pub own: OwnFigures,
}

/// What only one kind of node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnFigures {
    /// A coordinator.
    Coordinator {
        /// Transactions without an end.
        running: usize,
        /// Outcomes.
        remembered: usize,
        /// Sagas, by the word for their state.
        sagas: Vec<(&'static str, usize)>,
        /// The participants, and whether each is reached.
        participants: Vec<(ParticipantName, bool)>,
    },
    /// A participant.
    Participant {
        /// Attempts that wait for a lock.
        lock_waiters: usize,
    },
}

impl Default for OwnFigures {
    fn default() -> Self {
        Self::Participant { lock_waiters: 0 }
    }
}

/// How far the log is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogPlace {
    /// The last record appended.
    pub(crate) end: Lsn,
    /// The last record that is durable.
    pub(crate) durable: Lsn,
}

/// Somebody who asks the driver for figures.
pub(crate) type Scrape = oneshot::Sender<(LogPlace, Figures)>;

/// A driver's ties to what is measured.
#[derive(Debug)]
pub struct Meter<M> {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) scrapes: mpsc::Receiver<Scrape>,
    pub(crate) figures: fn(&M, Millis) -> Figures,
}

/// The metrics of one node.
#[derive(Debug)]
pub struct Metrics {
    /// What is counted as it happens.
    counted: Registry,
    /// Where the node stands: shown only when the machine was asked.
    standing: Standing,
    ready: IntGauge,
    flush_seconds: Histogram,
    batch_records: Histogram,
    deadlocks: IntCounter,
    own: Own,
    data_dir: PathBuf,
}

/// What only one kind of node counts.
#[derive(Debug)]
enum Own {
    Coordinator(Transactions),
    Participant { lock_wait_seconds: Histogram },
}

#[derive(Debug)]
struct Transactions {
    ended: IntCounterVec,
    /// Of these, the one that is counted most.
    committed: IntCounter,
    prepare_seconds: Histogram,
    commit_seconds: Histogram,
    transaction_seconds: Histogram,
}

impl Metrics {
    /// Metrics of a node that starts now.
    ///
    /// # Errors
    /// If two of them have one name: a bug.
    pub(crate) fn new(
        kind: NodeKind,
        name: &str,
        settings: &Settings,
    ) -> Result<Self, prometheus::Error> {
        let counted = Registry::new();
        let deadlocks = match kind {
            NodeKind::Coordinator => "Deadlocks across participants, found here and broken",
            NodeKind::Participant => "Deadlocks among transactions that waited here, broken",
        };
        let metrics = Self {
            standing: Standing::new(kind)?,
            ready: entered(&counted, IntGauge::new("nemcon_ready", READY)?)?,
            flush_seconds: seconds(&counted, "nemcon_wal_flush_seconds", FLUSH)?,
            batch_records: entered(&counted, {
                let opts = HistogramOpts::new("nemcon_wal_batch_records", BATCH);
                Histogram::with_opts(opts.buckets(RECORDS.to_vec()))?
            })?,
            deadlocks: entered(
                &counted,
                IntCounter::new("nemcon_deadlocks_total", deadlocks)?,
            )?,
            own: Own::new(kind, &counted)?,
            data_dir: settings.data_dir.clone(),
            counted,
        };
        metrics.enter_build(kind, name)?;
        let started = IntGauge::new("nemcon_start_time_seconds", STARTED)?;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        started.set(whole(since_epoch.unwrap_or_default().as_secs()));
        entered(&metrics.counted, started)?;
        let wanted = IntGauge::new("nemcon_disk_free_bytes_min", DISK_WANTED)?;
        wanted.set(whole(settings.limits.free_bytes_min));
        entered(&metrics.counted, wanted)?;
        Ok(metrics)
    }

    fn enter_build(&self, kind: NodeKind, name: &str) -> Result<(), prometheus::Error> {
        let opts = Opts::new("nemcon_build_info", BUILD);
        let build = IntGaugeVec::new(opts, &["kind", "name", "version"])?;
        build
            .with_label_values(&[kind.word(), name, env!("CARGO_PKG_VERSION")])
            .set(1);
        entered(&self.counted, build).map(drop)
    }

    /// Takes in what a machine has observed.
    pub(crate) fn observed(&self, observation: &Observation) {
        match (observation, &self.own) {
            (Observation::TransactionEnded(sample), Own::Coordinator(transactions)) => {
                match (sample.outcome, &sample.reason) {
                    (Outcome::Committed, _) => transactions.committed.inc(),
                    (Outcome::Aborted, reason) => {
                        let word = reason.as_ref().and_then(Reason::known);
                        let labels = ["aborted", word.unwrap_or(Reason::OTHER)];
                        transactions.ended.with_label_values(&labels).inc();
                    }
                }
                let Transactions {
                    prepare_seconds,
                    commit_seconds,
                    transaction_seconds,
                    ..
                } = transactions;
                observe(prepare_seconds, sample.prepare);
                observe(commit_seconds, sample.commit);
                observe(transaction_seconds, sample.decision);
            }
            (Observation::WaitEnded { waited }, Own::Participant { lock_wait_seconds }) => {
                observe(lock_wait_seconds, Some(*waited));
            }
            (Observation::DeadlockBroken, _) => self.deadlocks.inc(),
            // Each kind of machine observes what is its own.
            (Observation::TransactionEnded(_), Own::Participant { .. })
            | (Observation::WaitEnded { .. }, Own::Coordinator(_)) => {}
        }
    }

    /// Takes in one flush of the log. Called on the log's thread.
    pub(crate) fn flushed(&self, records: u64, took: Duration) {
        self.flush_seconds.observe(took.as_secs_f64());
        self.batch_records.observe(records as f64);
    }

    /// Everything as text. `now`: where the node stands, if its machine could be
    /// asked; without it, what only the machine knows is left out, since a zero would
    /// be a claim.
    ///
    /// # Errors
    /// A bug in what is measured.
    pub(crate) fn text(
        &self,
        ready: bool,
        now: Option<&(LogPlace, Figures)>,
    ) -> Result<String, prometheus::Error> {
        self.ready.set(ready.into());
        let mut families: Vec<MetricFamily> = self.counted.gather();
        let free = nemcon_wal::free_bytes(Path::new(&self.data_dir)).ok();
        families.extend(self.standing.gather(free, now));
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

impl Own {
    fn new(kind: NodeKind, registry: &Registry) -> Result<Self, prometheus::Error> {
        match kind {
            NodeKind::Coordinator => {
                let opts = Opts::new("nemcon_transactions_total", ENDED);
                let ended = entered(registry, IntCounterVec::new(opts, &["outcome", "reason"])?)?;
                // They are there from the start, so that their first is an increase.
                ended.with_label_values(&["aborted", Reason::OTHER]);
                Ok(Self::Coordinator(Transactions {
                    committed: ended.with_label_values(&["committed", NO_REASON]),
                    ended,
                    prepare_seconds: seconds(registry, "nemcon_prepare_seconds", PREPARE)?,
                    commit_seconds: seconds(registry, "nemcon_commit_seconds", COMMIT)?,
                    transaction_seconds: seconds(registry, "nemcon_transaction_seconds", DECISION)?,
                }))
            }
            NodeKind::Participant => Ok(Self::Participant {
                lock_wait_seconds: seconds(registry, "nemcon_lock_wait_seconds", LOCK_WAIT)?,
            }),
        }
    }
}

const READY: &str = "Whether the node serves: 1 or 0, as /readyz and the health service say";
const FLUSH: &str = "How long a flush of the log took, from the pages to the end of the sync";
const BATCH: &str = "Records that one flush of the log made durable";
const STARTED: &str = "When the node was started, in seconds since 1970";
const DISK_WANTED: &str = "Bytes below which nothing new begins";
const BUILD: &str = "Always 1; the labels say what runs";
const ENDED: &str = "Transactions that have ended, by outcome and reason";
const PREPARE: &str = "From the first request for a vote to the last vote, or to the abort";
const COMMIT: &str = "From the last vote to the last acknowledgement of a commit";
const DECISION: &str = "From the request to the durable outcome, when the client is answered";
const LOCK_WAIT: &str = "How long a wait for a lock was, whether it brought the lock or not";

fn observe(histogram: &Histogram, elapsed: Option<Elapsed>) {
    if let Some(elapsed) = elapsed {
        histogram.observe(elapsed.as_secs());
    }
}

fn seconds(registry: &Registry, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    let opts = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
    entered(registry, Histogram::with_opts(opts)?)
}

/// Enters a metric into a registry; both stay the same one.
fn entered<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Gauges are signed; what we count stays far below that.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
