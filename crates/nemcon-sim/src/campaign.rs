//! Many seeds, on all cores.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nemcon_core::planted::Planted;

use crate::checkers::Failure;
use crate::coverage::Coverage;
use crate::plan::{Plan, Wishes};

/// Seeds that one thread takes at a time: enough that nobody waits for the counter.
const SHARE: u64 = 16;

/// What to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The first seed.
    pub first: u64,
    /// The seed after the last.
    pub end: u64,
    /// What plans are to be like.
    pub wishes: Wishes,
    /// Which mistake the machines make.
    pub planted: Planted,
    /// How many threads.
    pub threads: usize,
    /// No seed is begun after so long.
    pub time_limit: Option<Duration>,
    /// No seed is begun after so many failures.
    pub failures_max: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Result {
    /// Seeds that were run.
    pub seeds: u64,
    /// Events in them.
    pub events: u64,
    /// Transactions that clients began.
    pub orders: u64,
    /// Faults that plans had.
    pub faults: u64,
    /// Simulated time, in milliseconds.
    pub simulated_ms: u64,
    /// Real time.
    pub took: Duration,
    /// What was reached.
    pub coverage: Coverage,
    /// Seeds that failed, lowest first.
    pub failures: Vec<(u64, Failure)>,
}

impl Campaign {
    /// Runs it. `progress` is told now and then how many seeds are done.
    #[must_use]
    pub fn run(&self, progress: impl Fn(u64) + Sync) -> Result {
        let began = Instant::now();
        let next = AtomicU64::new(self.first);
        let (done, enough) = (AtomicU64::new(0), AtomicBool::new(false));
        let total = Mutex::new(Result::default());
        thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    while !enough.load(Ordering::Relaxed) {
                        let first = next.fetch_add(SHARE, Ordering::Relaxed);
                        if first >= self.end {
                            return;
                        }
                        let part = self.run_some(first, (first + SHARE).min(self.end));
                        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                        total.add(part);
                        let late = self.time_limit.is_some_and(|limit| began.elapsed() > limit);
                        if late || total.failures.len() >= self.failures_max {
                            enough.store(true, Ordering::Relaxed);
                        }
                        progress(done.fetch_add(SHARE, Ordering::Relaxed) + SHARE);
                    }
                });
            }
        });
        let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
        total.failures.sort_by_key(|(seed, _)| *seed);
        total.took = began.elapsed();
        total
    }

    fn run_some(&self, first: u64, end: u64) -> Result {
        let mut part = Result::default();
        for seed in first..end {
            let plan = Plan::draw(seed, &self.wishes);
            let run = crate::run(&plan, self.planted, 0);
            part.seeds += 1;
            part.events += run.events;
            part.orders += plan.orders.len() as u64;
            part.faults += plan.faults.len() as u64;
            part.simulated_ms += run.simulated_ms;
            part.coverage.add(&run.coverage);
            if let Some(failure) = run.failure {
                part.failures.push((seed, failure));
            }
        }
        part
    }
}

impl Result {
    fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.orders += other.orders;
        self.faults += other.faults;
        self.simulated_ms += other.simulated_ms;
        self.coverage.add(&other.coverage);
        self.failures.extend(other.failures);
    }
}
