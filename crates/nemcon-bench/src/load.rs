//! Putting a load on something, and timing it.
//!
//! - **Closed**: so many are in flight, and each that ends makes room for the next.
//!   What ends within the window counts, and its latency is the time that it took.
//!   A slow system is asked less, so latencies look better than a customer's.
//! - **Open**: so many begin in a second, whatever became of those before. What was
//!   *to begin* within the window counts, and its latency is counted from then: the
//!   time that it waited for its turn, here or there, is in it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::chance::Chance;
use crate::cpu::{Cpu, Meter};
use crate::fate::Try;
use crate::tally::{Tally, Window};

/// Most transactions in flight: more would only wait in the coordinator's queue.
pub const IN_FLIGHT_MAX: u16 = 4_096;

/// Highest rate, in transactions a second.
pub const RATE_MAX: u32 = 1_000_000;

/// How many an open load has in flight at most. The rest waits for its turn, and
/// the time that it waits is in its latency.
const OPEN_IN_FLIGHT_MAX: usize = 1_024;

/// How long an open load goes on beginning what was to begin before: an overload
/// must not make a run longer without end.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// Starts that the clock is ahead of whoever makes them. Few: it waits when they
/// are not taken, and loses no time by that.
const STARTS_QUEUED_MAX: usize = 64;

/// What a load is put on.
pub trait Subject: Send + Sync + 'static {
    /// Why going on is pointless.
    type Error: Send + 'static;

    /// Tries one transaction.
    ///
    /// # Errors
    /// Only what ends the whole run. That a transaction aborts is a [`Try`].
    fn attempt(&self, chance: &mut Chance)
    -> impl Future<Output = Result<Try, Self::Error>> + Send;
}

/// How hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// So many in flight.
    InFlight(u16),
    /// So many begin in a second.
    Rate(u32),
}

/// For how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    /// Before anything counts: connections, caches and logs find their pace.
    pub warm_up: Duration,
    /// The window.
    pub measured: Duration,
}

/// What one round of one row has shown.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Counts and times.
    pub tally: Tally,
    /// Transactions that were to begin in the window and never did.
    pub not_started: u64,
    /// How long the window was.
    pub window: Duration,
    /// The processor's time in the window, where it is known.
    pub cpu: Option<Cpu>,
    /// What memory the nodes took at the end of the window, where it is known.
    pub memory_bytes: Option<u64>,
    /// How many others were committed before it began: for whoever measures more than
    /// once to say.
    pub committed_before: u64,
}

/// Who writes into the tally.
#[derive(Clone)]
struct Recorder {
    tally: Arc<Mutex<Tally>>,
    window: Window,
}

impl Recorder {
    /// `counted_at` is the moment by which it belongs to the window or not.
    fn take(&self, tried: &Try, began: Instant, counted_at: Instant) {
        let counts = self.window.has(counted_at).then(|| began.elapsed());
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.take(tried, counts);
    }
}

/// Puts a load on a subject, and waits until all that it began has ended.
///
/// # Errors
/// The first that makes going on pointless. What was in flight is given up then.
pub async fn measure<S: Subject>(
    subject: &Arc<S>,
    load: Load,
    spans: Spans,
    seed: u64,
    meter: &Meter,
) -> Result<Measured, S::Error> {
    let from = Instant::now() + spans.warm_up;
    let until = from + spans.measured;
    let recorder = Recorder {
        tally: Arc::new(Mutex::new(Tally::new())),
        window: Window { from, until },
    };
    let chance = Chance::new(seed);
    let watch = watch(meter.clone(), from, until);
    let not_started = match load {
        Load::InFlight(count) => closed(subject, count, chance, &recorder).await.map(|()| 0),
        Load::Rate(rate) => open(subject, rate, spans, chance, &recorder).await,
    }?;
    // A watch that panicked has seen nothing.
    let (cpu, memory_bytes) = watch.await.unwrap_or_default();
    let tally = recorder.tally.lock();
    Ok(Measured {
        tally: tally.unwrap_or_else(PoisonError::into_inner).clone(),
        not_started,
        window: spans.measured,
        cpu,
        memory_bytes,
        committed_before: 0,
    })
}

/// Looks at the processor's time at both ends of the window, and at the memory at its
/// end.
fn watch(meter: Meter, from: Instant, until: Instant) -> JoinHandle<(Option<Cpu>, Option<u64>)> {
    tokio::spawn(async move {
        sleep_until(from).await;
        let before = meter.look();
        sleep_until(until).await;
        let cpu = meter.look().zip(before);
        let cpu = cpu.map(|(after, before)| after.since(before));
        (cpu, meter.memory_bytes())
    })
}

async fn closed<S: Subject>(
    subject: &Arc<S>,
    count: u16,
    mut chance: Chance,
    recorder: &Recorder,
) -> Result<(), S::Error> {
    let mut workers = JoinSet::new();
    for _ in 0..count.min(IN_FLIGHT_MAX) {
        let (subject, recorder) = (Arc::clone(subject), recorder.clone());
        let mut chance = chance.fork();
        workers.spawn(async move {
            while Instant::now() < recorder.window.until {
                let began = Instant::now();
                let tried = subject.attempt(&mut chance).await?;
                recorder.take(&tried, began, Instant::now());
            }
            Ok(())
        });
    }
    all(workers).await
}

/// Gives the number of those that never began.
async fn open<S: Subject>(
    subject: &Arc<S>,
    rate: u32,
    spans: Spans,
    mut chance: Chance,
    recorder: &Recorder,
) -> Result<u64, S::Error> {
    let clock = Clock {
        first: recorder.window.from - spans.warm_up,
        rate: rate.clamp(1, RATE_MAX),
        until: recorder.window.until,
    };
    let room = Arc::new(Semaphore::new(OPEN_IN_FLIGHT_MAX));
    let mut flying = JoinSet::new();
    let mut starts = clock.run();
    let mut begun_in_window = 0;
    let last_start = recorder.window.until + CATCH_UP_MAX;
    while let Ok(Some(due)) = timeout_at(last_start, starts.recv()).await {
        while let Some(ended) = flying.try_join_next() {
            joined(ended)?;
        }
        let permit = Arc::clone(&room).acquire_owned();
        let Ok(Ok(permit)) = timeout_at(last_start, permit).await else {
            break;
        };
        begun_in_window += u64::from(recorder.window.has(due));
        let (subject, recorder) = (Arc::clone(subject), recorder.clone());
        let mut chance = chance.fork();
        flying.spawn(async move {
            let tried = subject.attempt(&mut chance).await?;
            recorder.take(&tried, due, due);
            drop(permit);
            Ok(())
        });
    }
    all(flying).await?;
    Ok(clock
        .starts_within(recorder.window)
        .saturating_sub(begun_in_window))
}

/// Waits for all, or for the first that makes going on pointless.
async fn all<E: Send + 'static>(mut tasks: JoinSet<Result<(), E>>) -> Result<(), E> {
    while let Some(ended) = tasks.join_next().await {
        joined(ended)?;
    }
    Ok(())
}

fn joined<E>(ended: Result<Result<(), E>, tokio::task::JoinError>) -> Result<(), E> {
    match ended {
        Ok(ended) => ended,
        // A bug of a workload: the panic goes on where it can be seen.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nobody cancels a task.
            Err(_) => Ok(()),
        },
    }
}

/// Says when the next transaction is to begin.
#[derive(Clone, Copy, Debug)]
struct Clock {
    first: Instant,
    rate: u32,
    until: Instant,
}

impl Clock {
    /// When the n-th is to begin.
    fn due(&self, number: u64) -> Instant {
        let nanos = u128::from(number) * 1_000_000_000 / u128::from(self.rate);
        self.first + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many are to begin within a window.
    fn starts_within(&self, window: Window) -> u64 {
        let before = |end: Instant| {
            let nanos = end.saturating_duration_since(self.first).as_nanos();
            // The first at or after the end is not before it.
            (nanos * u128::from(self.rate)).div_ceil(1_000_000_000)
        };
        u64::try_from(before(window.until) - before(window.from)).unwrap_or(u64::MAX)
    }

    /// Starts to tell, on a thread of its own: the timers of a runtime have a grain
    /// of a millisecond, as much as a whole transaction takes.
    fn run(self) -> mpsc::Receiver<Instant> {
        let (tell, told) = mpsc::channel(STARTS_QUEUED_MAX);
        std::thread::spawn(move || {
            for number in 0.. {
                let due = self.due(number);
                if due >= self.until {
                    break;
                }
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                // Nobody listens any more: the run has ended early.
                if tell.blocking_send(due).is_err() {
                    break;
                }
            }
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering};

    use super::*;
    use crate::fate::{Effect, Fate};

    /// Takes so long, one after the other if it has one place only.
    struct Slow {
        takes: Duration,
        places: Semaphore,
        most: AtomicU16,
        now: AtomicU16,
    }

    impl Slow {
        fn new(takes: Duration, places: usize) -> Arc<Self> {
            Arc::new(Self {
                takes,
                places: Semaphore::new(places),
                most: AtomicU16::new(0),
                now: AtomicU16::new(0),
            })
        }
    }

    impl Subject for Slow {
        type Error = &'static str;

        async fn attempt(&self, _: &mut Chance) -> Result<Try, &'static str> {
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            let _place = self.places.acquire().await.map_err(|_| "closed")?;
            tokio::time::sleep(self.takes).await;
            self.now.fetch_sub(1, Ordering::Relaxed);
            Ok(Try {
                kind: "slow",
                fate: Fate::Committed,
                effect: Effect::default(),
            })
        }
    }

    const SPANS: Spans = Spans {
        warm_up: Duration::from_millis(100),
        measured: Duration::from_secs(1),
    };

    #[tokio::test(start_paused = true)]
    async fn a_closed_load_keeps_so_many_in_flight_and_leaves_the_warm_up_out() {
        let subject = Slow::new(Duration::from_millis(10), 100);
        let load = Load::InFlight(5);
        let measured = measure(&subject, load, SPANS, 1, &Meter::default())
            .await
            .unwrap();
        assert_eq!(subject.most.load(Ordering::Relaxed), 5);
        // A hundred each in a second, and not the ten of the warm-up.
        let committed = measured.tally.fates.committed;
        assert!((495..=500).contains(&committed), "{committed}");
        assert_eq!(subject.now.load(Ordering::Relaxed), 0, "all have ended");
    }

    /// In real time: the clock has a thread of its own.
    #[tokio::test]
    async fn an_open_load_counts_latency_from_the_intended_start() {
        // Twice as much as can be done, one after the other: the last one waits for
        // half of the time that all are begun in.
        let subject = Slow::new(Duration::from_millis(10), 1);
        let spans = Spans {
            warm_up: Duration::ZERO,
            measured: Duration::from_millis(500),
        };
        let load = Load::Rate(200);
        let measured = measure(&subject, load, spans, 1, &Meter::default())
            .await
            .unwrap();
        assert_eq!(measured.not_started, 0);
        assert_eq!(
            measured.tally.fates.committed, 100,
            "all that were to begin"
        );
        let longest = measured.tally.latency_us.max();
        assert!(longest >= 490_000, "{longest} µs: the queue is in it");
    }

    #[test]
    fn starts_are_even_and_counted_to_the_one() {
        let first = Instant::now();
        let clock = Clock {
            first,
            rate: 3,
            until: first + Duration::from_secs(2),
        };
        assert_eq!(clock.due(3) - first, Duration::from_secs(1));
        let second = |n| first + Duration::from_secs(n);
        let window = |from, until| Window { from, until };
        assert_eq!(clock.starts_within(window(first, second(1))), 3);
        assert_eq!(clock.starts_within(window(second(1), second(2))), 3);
        let half = first + Duration::from_millis(500);
        assert_eq!(clock.starts_within(window(first, half)), 2);
    }

    struct Gone;

    impl Subject for Gone {
        type Error = &'static str;

        async fn attempt(&self, _: &mut Chance) -> Result<Try, &'static str> {
            Err("nobody is there")
        }
    }

    #[tokio::test]
    async fn what_makes_going_on_pointless_ends_the_run() {
        for load in [Load::InFlight(3), Load::Rate(100)] {
            let ended = measure(&Arc::new(Gone), load, SPANS, 1, &Meter::default()).await;
            assert_eq!(ended.unwrap_err(), "nobody is there");
        }
    }
}
