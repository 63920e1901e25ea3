//! Keeps effects back until the log has caught up with what they promise.
//!
//! Shared by the nodes and the simulator, so that "nothing is said before it is
//! durable" is one piece of code.

use alloc::collections::VecDeque;

use crate::id::Lsn;
use crate::output::Output;
use crate::time::{Millis, Span};

/// How long an effect in the `later` lane waits for somebody else's flush.
pub const LATER_MAX: Span = Span(10);

/// How long a record that nobody waits for stays unflushed. It holds no promise;
/// the bound keeps what a crash forgets (an `Ended`, say) short.
pub const IDLE_MAX: Span = Span::from_secs(1);

/// Parked effects in the order they were asked for.
#[derive(Clone, Debug)]
pub struct Parking<E> {
    parked: VecDeque<(Lsn, E)>,
    /// Flush so far at once.
    wanted: Lsn,
    /// Flush so far, but only at that time.
    by: Option<(Millis, Lsn)>,
    /// What the log has been asked to flush, or has made durable unasked.
    asked: Lsn,
}

impl<E> Default for Parking<E> {
    fn default() -> Self {
        Self {
            parked: VecDeque::new(),
            wanted: Lsn(0),
            by: None,
            asked: Lsn(0),
        }
    }
}

impl<E> Parking<E> {
    /// Parks the `after` and `later` effects of a batch behind everything that
    /// has been appended. The batch's records must have been handed to the log.
    pub fn park<R>(&mut self, now: Millis, out: &mut Output<R, E>) {
        let appended = out.appended();
        if !out.after.is_empty() {
            self.wanted = appended;
        }
        if appended > self.asked {
            let wait = if out.later.is_empty() {
                IDLE_MAX
            } else {
                LATER_MAX
            };
            let by = now + wait;
            let due = self.by.map_or(by, |(due, _)| due.min(by));
            self.by = Some((due, appended));
        }
        let promises = out.after.drain(..).chain(out.later.drain(..));
        self.parked
            .extend(promises.map(|effect| (appended, effect)));
    }

    /// Whether the log is to be asked for a flush at `now`. Answers yes once for
    /// each stretch of the log.
    pub fn flush_is_due(&mut self, now: Millis) -> bool {
        let overdue = self
            .by
            .filter(|(due, _)| *due <= now)
            .map_or(Lsn(0), |(_, lsn)| lsn);
        let wanted = self.wanted.max(overdue);
        if wanted <= self.asked {
            return false;
        }
        // A flush takes everything appended, so what waited for later rides along.
        self.asked = self.by.map_or(wanted, |(_, lsn)| lsn.max(wanted));
        self.by = None;
        true
    }

    /// When [`Parking::flush_is_due`] will say yes without being given more.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        self.by.map(|(due, _)| due)
    }

    /// Takes the next effect that may leave now that the log is durable up to
    /// `durable`.
    pub fn pop_ripe(&mut self, durable: Lsn) -> Option<E> {
        if self.parked.front()?.0 > durable {
            return None;
        }
        self.parked.pop_front().map(|(_, effect)| effect)
    }

    /// The waiting effects in their order, each with the record it waits for.
    pub fn iter(&self) -> impl Iterator<Item = (Lsn, &E)> {
        self.parked.iter().map(|(lsn, effect)| (*lsn, effect))
    }

    /// How many effects are waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parked.len()
    }

    /// Whether none is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> Output<&'static str, &'static str> {
        Output::starting_at(Lsn(1))
    }

    #[test]
    fn an_awaited_promise_asks_for_its_flush_once_and_leaves_after_it() {
        let (mut parking, mut out) = (Parking::default(), output());
        out.persist("prepared");
        out.after.push("yes");
        parking.park(Millis(0), &mut out);
        assert!(parking.flush_is_due(Millis(0)));
        assert!(!parking.flush_is_due(Millis(99)), "asked already");
        assert!(parking.iter().eq([(Lsn(1), &"yes")]));
        assert_eq!(parking.pop_ripe(Lsn(0)), None);
        assert_eq!(parking.pop_ripe(Lsn(1)), Some("yes"));
    }

    #[test]
    fn a_later_promise_rides_on_the_next_flush_or_asks_in_the_end() {
        let (mut parking, mut out) = (Parking::default(), output());
        out.persist("committed");
        out.later.push("acknowledged");
        parking.park(Millis(0), &mut out);
        assert!(!parking.flush_is_due(Millis(9)));
        assert_eq!(parking.next_deadline(), Some(Millis(10)));
        assert!(parking.flush_is_due(Millis(10)));

        out.persist("committed");
        out.later.push("acknowledged");
        parking.park(Millis(20), &mut out);
        out.persist("prepared");
        out.after.push("yes");
        parking.park(Millis(21), &mut out);
        assert!(parking.flush_is_due(Millis(21)));
        assert_eq!(parking.next_deadline(), None, "it rode along");
    }

    #[test]
    fn a_promise_about_what_is_durable_already_leaves_at_once() {
        let (mut parking, mut out) = (Parking::default(), output());
        out.persist("prepared");
        out.after.push("yes");
        parking.park(Millis(0), &mut out);
        assert!(parking.flush_is_due(Millis(0)));
        assert_eq!(parking.pop_ripe(Lsn(1)), Some("yes"));
        out.after.push("yes again");
        parking.park(Millis(5), &mut out);
        assert!(!parking.flush_is_due(Millis(5)));
        assert_eq!(parking.pop_ripe(Lsn(1)), Some("yes again"));
    }
}
