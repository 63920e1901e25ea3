//! I13 (deadlocks): nobody gives way who was not in a deadlock, and no deadlock
//! outlives the time in which it must be found.
//!
//! The watch sees the tables of all participants at one moment, which no node can.

use std::collections::{BTreeMap, BTreeSet};

use nemcon_core::id::{AttemptId, Boot};
use nemcon_core::lock::Queue;

use super::Failure;

const INVARIANT: &str = "I13 (deadlocks)";

/// How long a deadlock may stand when nothing goes wrong, in microseconds: the first
/// look comes 20 ms after the wait began, or up to 160 ms later if nobody waited
/// before; a look takes a message and its answer, and there are two and a last
/// message. The slowest network of a plan takes 61 ms for a message, or for a frame that
/// a message may have to wait 20 ms for and some frames before it. Where several
/// deadlocks hang together, they are broken one after the other.
pub(crate) const STANDS_WITHIN: u64 = 3_000_000;

/// A wait: where, in which boot, its number.
pub(crate) type Wait = (usize, Boot, u64);

/// The waits at one participant.
pub(crate) struct Table {
    /// Which participant.
    pub(crate) at: usize,
    /// Its boot.
    pub(crate) boot: Boot,
    /// The keys that are waited for.
    pub(crate) queues: Vec<Queue<AttemptId>>,
}

/// What was seen of waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    /// The last wait of each attempt at each participant.
    last: BTreeMap<(usize, AttemptId), Wait>,
    /// Waits that were part of a deadlock at some time.
    ever: BTreeSet<Wait>,
    /// Those that are now, and since when.
    now: BTreeMap<Wait, u64>,
}

impl Watch {
    /// Looks at all tables.
    pub(crate) fn see(&mut self, now: u64, tables: &[Table]) {
        let mut standing = BTreeMap::new();
        for table in tables {
            for waiter in table.queues.iter().flat_map(|queue| &queue.waiters) {
                let wait = (table.at, table.boot, waiter.wait);
                self.last.insert((table.at, waiter.owner), wait);
            }
        }
        for wait in waits_in_cycles(tables.iter()) {
            self.ever.insert(wait);
            let since = self.now.get(&wait).copied().unwrap_or(now);
            standing.insert(wait, since);
        }
        self.now = standing;
    }

    /// A participant says that this attempt has given way to a deadlock that a
    /// coordinator has found.
    pub(crate) fn gave_way(&self, at: usize, victim: AttemptId) -> Result<(), Failure> {
        let wait = self.last.get(&(at, victim));
        if wait.is_some_and(|wait| self.ever.contains(wait)) {
            return Ok(());
        }
        let story = format!("{victim} gave way at p{at}, and its wait was never in a deadlock");
        Err(Failure::new(INVARIANT, story))
    }

    /// Whether there is a deadlock among those who wait at one participant: it has to
    /// see that itself, and at once.
    pub(crate) fn check_at_one(tables: &[Table]) -> Result<(), Failure> {
        for table in tables {
            let mut alone = Self::default();
            alone.see(0, core::slice::from_ref(table));
            if let Some((_, _, wait)) = alone.now.keys().next() {
                let story = format!("wait {wait} is in a deadlock that p{} has closed", table.at);
                return Err(Failure::new(INVARIANT, story));
            }
        }
        Ok(())
    }

    /// Whether any deadlock stands for too long, in a time in which nothing goes
    /// wrong that began at `calm_since`.
    pub(crate) fn check(&self, now: u64, calm_since: u64) -> Result<(), Failure> {
        let too_long = |since: &u64| now.saturating_sub((*since).max(calm_since)) > STANDS_WITHIN;
        let oldest = self.now.iter().find(|(_, since)| too_long(since));
        oldest.map_or(Ok(()), |((at, _, wait), since)| {
            let story = format!(
                "wait {wait} at p{at} has been in a deadlock for {} ms",
                (now - since) / 1_000
            );
            Err(Failure::new(INVARIANT, story))
        })
    }
}

/// The waits that are part of a cycle.
pub(crate) fn waits_in_cycles<'a>(tables: impl Iterator<Item = &'a Table>) -> Vec<Wait> {
    let mut edges: BTreeMap<AttemptId, BTreeSet<AttemptId>> = BTreeMap::new();
    let mut waits: Vec<(AttemptId, Wait)> = Vec::new();
    for table in tables {
        for queue in &table.queues {
            for (place, waiter) in queue.waiters.iter().enumerate() {
                waits.push((waiter.owner, (table.at, table.boot, waiter.wait)));
                let blockers = edges.entry(waiter.owner).or_default();
                blockers.extend(queue.blockers(place));
            }
        }
    }
    waits.retain(|(attempt, _)| reaches_itself(&edges, *attempt));
    waits.into_iter().map(|(_, wait)| wait).collect()
}

fn reaches_itself(edges: &BTreeMap<AttemptId, BTreeSet<AttemptId>>, from: AttemptId) -> bool {
    let mut seen = BTreeSet::new();
    let mut next: Vec<AttemptId> = edges.get(&from).into_iter().flatten().copied().collect();
    while let Some(attempt) = next.pop() {
        if attempt == from {
            return true;
        }
        if seen.insert(attempt) {
            next.extend(edges.get(&attempt).into_iter().flatten());
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use nemcon_core::lock::{Limits, LockKey, Mode, Table as Locks};
    use nemcon_core::planted::Planted;
    use nemcon_core::time::Millis;

    use super::super::stand_in::attempt;
    use super::*;

    fn write(locks: &mut Locks<AttemptId>, owner: u64, key: u8) {
        let key = LockKey::from([key]);
        let _ = locks.request(Millis(0), attempt(owner), &key, Mode::Exclusive);
    }

    fn table(at: usize, locks: &Locks<AttemptId>) -> Table {
        Table {
            at,
            boot: Boot(1),
            queues: locks.contended().collect(),
        }
    }

    fn locks() -> Locks<AttemptId> {
        Locks::new(Boot(1), Limits::new(), Planted::none())
    }

    #[test]
    fn who_waits_in_no_circle_must_not_give_way() {
        let mut here = locks();
        write(&mut here, 1, 0);
        write(&mut here, 2, 0);
        let mut watch = Watch::default();
        watch.see(0, &[table(0, &here)]);
        let failure = watch.gave_way(0, attempt(2)).unwrap_err();
        assert_eq!(failure.invariant, INVARIANT);
        assert!(
            watch.gave_way(1, attempt(2)).is_err(),
            "nor where it never waited"
        );
    }

    #[test]
    fn a_circle_at_one_participant_is_broken_at_once() {
        let mut here = locks();
        write(&mut here, 1, 0);
        write(&mut here, 2, 1);
        write(&mut here, 1, 1);
        assert_eq!(Watch::check_at_one(&[table(3, &here)]), Ok(()));
        write(&mut here, 2, 0);
        let failure = Watch::check_at_one(&[table(3, &here)]).unwrap_err();
        assert!(failure.story.contains("p3"), "{failure}");
    }

    #[test]
    fn a_circle_across_participants_is_seen_and_must_not_last() {
        let (mut here, mut there) = (locks(), locks());
        write(&mut here, 1, 0);
        write(&mut there, 2, 0);
        write(&mut here, 2, 0);
        write(&mut there, 1, 0);
        let tables = [table(0, &here), table(1, &there)];
        let mut watch = Watch::default();
        watch.see(1_000, &tables);
        assert_eq!(watch.gave_way(0, attempt(2)), Ok(()));
        let end = 1_000 + STANDS_WITHIN;
        watch.see(end, &tables);
        assert_eq!(watch.check(end, 0), Ok(()));
        assert!(watch.check(end + 1, 0).is_err());
        assert_eq!(watch.check(end + 1, 2_000), Ok(()), "the calm began later");
        assert_eq!(
            Watch::check_at_one(&tables),
            Ok(()),
            "neither sees it alone"
        );
        // Broken, it is forgotten; who was in it may still be said to have been.
        let _ = here.release(Millis(0), attempt(2));
        let _ = there.release(Millis(0), attempt(2));
        watch.see(end, &[table(0, &here), table(1, &there)]);
        assert_eq!(watch.check(end + 1, 0), Ok(()));
        assert_eq!(watch.gave_way(0, attempt(2)), Ok(()));
    }
}
