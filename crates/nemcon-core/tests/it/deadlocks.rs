//! The search for deadlocks, against a plain one, and in the cases that detectors are
//! known to get wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nemcon_core::deadlock::{Deadlock, Graph};
use nemcon_core::id::Boot;
use nemcon_core::lock::{Limits, LockKey, Mode, Queue, Table};
use nemcon_core::planted::Planted;
use nemcon_core::time::Millis;
use proptest::prelude::*;

const NOW: Millis = Millis(1_000);

/// A table of locks and what was asked of it.
struct Locks(Table<u32>);

impl Locks {
    fn new() -> Self {
        Self(Table::new(Boot(1), Limits::new(), Planted::none()))
    }

    fn ask(&mut self, owner: u32, key: u8, mode: Mode) {
        let _ = self.0.request(NOW, owner, &LockKey::from([key]), mode);
    }

    fn write(&mut self, owner: u32, key: u8) {
        self.ask(owner, key, Mode::Exclusive);
    }

    fn read(&mut self, owner: u32, key: u8) {
        self.ask(owner, key, Mode::Shared);
    }

    fn graph(&self) -> Graph<u32> {
        graph(&self.0.contended().collect::<Vec<_>>())
    }

    /// The deadlocks where the greatest number is the youngest.
    fn deadlocks(&self) -> Vec<Vec<u32>> {
        cycles(self.graph().deadlocks(|owner| owner))
    }
}

fn graph(queues: &[Queue<u32>]) -> Graph<u32> {
    let mut graph = Graph::default();
    for queue in queues {
        graph.add(queue, |_| true);
    }
    graph
}

fn cycles(deadlocks: Vec<Deadlock<u32>>) -> Vec<Vec<u32>> {
    deadlocks.into_iter().map(|it| it.cycle).collect()
}

#[test]
fn two_that_wait_for_each_other() {
    let mut locks = Locks::new();
    locks.write(1, 0);
    locks.write(2, 1);
    locks.write(1, 1);
    assert_eq!(locks.deadlocks(), Vec::<Vec<u32>>::new());
    locks.write(2, 0);
    assert_eq!(locks.deadlocks(), [[2, 1]]);
}

#[test]
fn two_readers_that_both_want_to_write() {
    let mut locks = Locks::new();
    locks.read(1, 0);
    locks.read(2, 0);
    locks.write(1, 0);
    assert_eq!(locks.deadlocks(), Vec::<Vec<u32>>::new());
    locks.write(2, 0);
    assert_eq!(locks.deadlocks(), [[2, 1]]);
}

/// Many wait for one and one for many: nobody waits in a circle.
#[test]
fn waits_that_converge_are_no_cycle() {
    let mut locks = Locks::new();
    for reader in 1..=5 {
        locks.read(reader, 0);
    }
    locks.write(10, 0);
    for (waiter, held) in (1..=3).zip(1..) {
        locks.write(20, held);
        locks.write(waiter, held);
    }
    assert_eq!(locks.deadlocks(), Vec::<Vec<u32>>::new());
}

/// 3 stands between 1 and 2 in a queue. It is in a circle of waits too, by its place,
/// and giving way would help nobody.
#[test]
fn a_bystander_in_the_queue_is_left_alone() {
    let mut locks = Locks::new();
    locks.write(1, 0);
    locks.write(2, 1);
    locks.write(9, 0);
    locks.write(2, 0);
    locks.write(1, 1);
    assert_eq!(locks.deadlocks(), [[2, 1]]);
}

/// One table cannot see it, and neither can the other.
#[test]
fn a_cycle_across_two_tables() {
    let (mut here, mut there) = (Locks::new(), Locks::new());
    here.write(1, 0);
    there.write(2, 0);
    here.write(2, 0);
    there.write(1, 0);
    assert_eq!(here.deadlocks(), Vec::<Vec<u32>>::new());
    assert_eq!(there.deadlocks(), Vec::<Vec<u32>>::new());
    let queues: Vec<Queue<u32>> = here.0.contended().chain(there.0.contended()).collect();
    // An owner may wait in several queues at a time; no edge takes another's place.
    let found = graph(&queues).deadlocks(|owner| owner);
    assert_eq!(cycles(found), [[2, 1]]);
}

/// Two cycles that share the youngest need one victim.
#[test]
fn one_victim_is_enough_where_it_breaks_two_cycles() {
    let mut locks = Locks::new();
    locks.write(1, 1);
    locks.write(2, 2);
    locks.read(9, 3);
    locks.write(1, 3);
    locks.write(9, 1);
    assert_eq!(locks.deadlocks(), [[9, 1]]);
    let mut more = Locks::new();
    more.write(9, 2);
    more.write(2, 3);
    more.write(2, 2);
    more.write(9, 3);
    let queues: Vec<Queue<u32>> = locks.0.contended().chain(more.0.contended()).collect();
    let found = cycles(graph(&queues).deadlocks(|owner| owner));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0][0], 9);
}

#[test]
fn age_decides_and_not_the_name() {
    let mut locks = Locks::new();
    locks.write(1, 0);
    locks.write(2, 1);
    locks.write(1, 1);
    locks.write(2, 0);
    let age = |owner: u32| if owner == 1 { 100 } else { 50 };
    assert_eq!(cycles(locks.graph().deadlocks(age)), [[1, 2]]);
}

/// Queues of which nothing is expected: several parties, several modes, everyone in any
/// number of them.
fn queues() -> impl Strategy<Value = Vec<Queue<u32>>> {
    let request = (0..8_u32, 0..5_u8, prop::bool::ANY);
    let table = prop::collection::vec(request, 1..40).prop_map(|requests| {
        let mut locks = Locks::new();
        for (owner, key, write) in requests {
            if locks.0.awaited_by(owner).is_none() {
                locks.ask(
                    owner,
                    key,
                    if write { Mode::Exclusive } else { Mode::Shared },
                );
            }
        }
        locks.0.contended().collect::<Vec<_>>()
    });
    prop::collection::vec(table, 1..4).prop_map(|tables| tables.concat())
}

/// Who waits for whom, as the rule says it.
fn edges(queues: &[Queue<u32>]) -> BTreeMap<u32, BTreeSet<u32>> {
    let mut edges: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for queue in queues {
        for (place, waiter) in queue.waiters.iter().enumerate() {
            edges
                .entry(waiter.owner)
                .or_default()
                .extend(queue.blockers(place));
        }
    }
    edges
}

/// Whether anybody is in a cycle: takes away whoever waits for nobody, until nobody is
/// left or nobody can be taken away.
fn is_deadlocked(mut edges: BTreeMap<u32, BTreeSet<u32>>) -> bool {
    loop {
        let waiting: BTreeSet<u32> = edges.keys().copied().collect();
        for blockers in edges.values_mut() {
            blockers.retain(|blocker| waiting.contains(blocker));
        }
        let before = edges.len();
        edges.retain(|_, blockers| !blockers.is_empty());
        if edges.len() == before {
            return !edges.is_empty();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn the_search_does_as_the_plain_one(queues in queues()) {
        let mut edges = edges(&queues);
        let found = graph(&queues).deadlocks(|owner| owner);
        prop_assert_eq!(!found.is_empty(), is_deadlocked(edges.clone()));
        for deadlock in &found {
            for (waiter, blocker) in deadlock.links() {
                prop_assert!(edges[&waiter].contains(&blocker), "{waiter} waits for {blocker}");
            }
            // No link can be done without: whoever is in it waits for one of the others.
            for (waiter, blocker) in deadlock.links() {
                let others = deadlock.cycle.iter();
                let waits_for: Vec<&u32> =
                    others.filter(|it| edges[&waiter].contains(it)).collect();
                prop_assert_eq!(waits_for, [&blocker]);
            }
            let victim = deadlock.victim().unwrap();
            prop_assert_eq!(Some(&victim), deadlock.cycle.iter().max());
        }
        let mut victims: Vec<u32> = found.iter().filter_map(Deadlock::victim).collect();
        for victim in &victims {
            edges.remove(victim);
        }
        prop_assert!(!is_deadlocked(edges.clone()), "the victims are enough");
        victims.sort_unstable();
        victims.dedup();
        prop_assert_eq!(victims.len(), found.len(), "nobody gives way twice");
    }
}

/// The bound that has been promised, in a build without optimisation: 10 waiters in each
/// of 2,200 queues make 100,000 edges.
#[test]
fn a_hundred_thousand_edges_take_less_than_fifty_milliseconds() {
    let mut graph = Graph::default();
    let mut owner = 0_u32;
    for key in 0_u32..2_200 {
        let mut table = Table::new(Boot(1), Limits::new(), Planted::none());
        let name = LockKey::from(key.to_be_bytes());
        for _ in 0..10 {
            let _ = table.request(NOW, owner, &name, Mode::Exclusive);
            owner += 1;
        }
        // Each queue's last holds what the next queue's first waits for.
        let _ = table.request(NOW, owner + 9, &name, Mode::Exclusive);
        graph.add(&table.queue(&name).unwrap(), |_| true);
    }
    assert!(graph.edges() >= 100_000, "{} edges", graph.edges());
    let began = Instant::now();
    assert_eq!(graph.deadlocks(|owner| owner).len(), 0);
    let took = began.elapsed();
    let limit = if cfg!(debug_assertions) { 500 } else { 50 };
    assert!(took < Duration::from_millis(limit), "{took:?}");
    println!("{} edges in {took:?}", graph.edges());
}
