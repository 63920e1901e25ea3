//! How patient a client is.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// The limits of a client; each can be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a request is sent again and again, and a transaction run again
    /// and again, before the caller is told. A call that is under way then is
    /// still waited for: to cut it off would make its outcome unknown.
    pub give_up_after: Duration,
    /// Longest time for one call that runs no transaction.
    pub call_timeout: Duration,
    /// A call that runs a transaction may take the time of the transaction and
    /// so much more.
    pub answer_grace: Duration,
    /// Pause before the first repeat; each further one is up to twice as long.
    pub pause_first: Duration,
    /// Longest pause.
    pub pause_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            give_up_after: Duration::from_secs(30),
            call_timeout: Duration::from_secs(5),
            answer_grace: Duration::from_secs(1),
            pause_first: Duration::from_millis(50),
            pause_max: Duration::from_secs(2),
        }
    }
}

/// Longer than this nobody waits. Stands for what no clock can hold.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Settings {
    /// When to give up what begins now.
    pub(crate) fn give_up_at(&self) -> Instant {
        Instant::now() + self.give_up_after.min(FOR_EVER)
    }
}

/// Pauses between repeats: twice as long each time up to a cap, and never quite
/// the same, so that clients that failed together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            next: settings.pause_first.min(settings.pause_max),
            max: settings.pause_max,
        }
    }

    /// The next pause: between half of what is due and all of it.
    pub(crate) fn pause(&mut self) -> Duration {
        let due = self.next;
        self.next = due.saturating_mul(2).min(self.max);
        due.mul_f64(0.5 + chance() / 2.0)
    }
}

/// A number from 0 to 1. The last 32 bits of a random UUID are all random.
fn chance() -> f64 {
    f64::from(Uuid::new_v4().as_u128() as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_cap_and_differ() {
        let settings = Settings::default();
        let mut backoff = Backoff::new(&settings);
        let mut due = settings.pause_first;
        for _ in 0..20 {
            let pause = backoff.pause();
            assert!(pause >= due / 2 && pause <= due, "{pause:?} of {due:?}");
            due = (due * 2).min(settings.pause_max);
        }
        assert_eq!(due, settings.pause_max);
        let mut pauses: Vec<_> = (0..20).map(|_| backoff.pause()).collect();
        pauses.dedup();
        assert!(pauses.len() > 1, "chance has a part in it");
    }
}
