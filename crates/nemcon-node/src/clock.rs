//! The time that machines are told.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nemcon_core::time::{Millis, Tick};

/// The wall clock as it was when the node started, carried on by a clock that
/// never runs back. An operator who sets the time changes nothing in a running
/// node; the new time counts from its next start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    at_start: Millis,
    started: Instant,
}

impl Clock {
    /// Reads the wall clock, once. A time before 1970 counts as 1970.
    #[must_use]
    pub fn start() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            at_start: Millis(whole_millis(since_epoch)),
            started: Instant::now(),
        }
    }

    /// The time now, rounded down.
    #[must_use]
    pub fn now(&self) -> Millis {
        Millis(self.at_start.0 + whole_millis(self.started.elapsed()))
    }

    /// The time now, and the same moment to the microsecond, from one look at the
    /// clock.
    #[must_use]
    pub fn read(&self) -> (Millis, Tick) {
        let since_start = self.started.elapsed();
        let micros = u64::try_from(since_start.as_micros()).unwrap_or(u64::MAX);
        let now = Millis(self.at_start.0 + whole_millis(since_start));
        (now, Tick::from_micros(micros))
    }

    /// How long to sleep until `at`; zero if it has passed. Since [`Clock::now`]
    /// rounds down, whoever sleeps so long does not wake too early.
    #[must_use]
    pub fn until(&self, at: Millis) -> Duration {
        Duration::from_millis(at.since(self.now()).0)
    }
}

/// 64 bits of milliseconds last 584 million years.
fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nemcon_core::time::Span;

    #[test]
    fn the_clock_starts_at_the_wall_clock_and_goes_on() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(
            first > Millis(1_600_000_000_000),
            "later than 2020: {first}"
        );
        assert!(clock.now() >= first);
        assert!(clock.until(first + Span::from_secs(60)) > Duration::from_secs(50));
        assert_eq!(clock.until(first - Span(1)), Duration::ZERO);
    }
}
