//! The lock table against a simple model, under random requests.

use std::collections::BTreeMap;

use nemcon_core::id::Boot;
use nemcon_core::lock::{Grant, LockKey, Mode, Table};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Move {
    Request { owner: u8, key: u8, mode: Mode },
    Release { owner: u8 },
}

fn moves() -> impl Strategy<Value = Move> {
    let mode = prop_oneof![Just(Mode::Shared), Just(Mode::Exclusive)];
    prop_oneof![
        3 => (0..6_u8, 0..3_u8, mode)
            .prop_map(|(owner, key, mode)| Move::Request { owner, key, mode }),
        1 => (0..6_u8).prop_map(|owner| Move::Release { owner }),
    ]
}

/// One key: who holds it, and who waits in which order.
#[derive(Clone, Debug, Default)]
struct Queue {
    holders: BTreeMap<u8, Mode>,
    waiting: Vec<(u8, Mode)>,
}

impl Queue {
    fn compatible(&self, owner: u8, mode: Mode) -> bool {
        let others = self.holders.iter().filter(|(holder, _)| **holder != owner);
        others.clone().count() == 0
            || (mode == Mode::Shared && others.into_iter().all(|(_, m)| *m == Mode::Shared))
    }

    fn serve(&mut self, granted: &mut Vec<u8>) {
        while let Some((owner, mode)) = self.waiting.first().copied() {
            if !self.compatible(owner, mode) {
                return;
            }
            self.waiting.remove(0);
            self.holders.insert(owner, mode);
            granted.push(owner);
        }
    }
}

#[derive(Default)]
struct Model(BTreeMap<u8, Queue>);

impl Model {
    fn waits(&self, owner: u8) -> bool {
        self.0
            .values()
            .any(|queue| queue.waiting.iter().any(|(waiter, _)| *waiter == owner))
    }

    /// Whether it was granted.
    fn request(&mut self, owner: u8, key: u8, mode: Mode) -> bool {
        let queue = self.0.entry(key).or_default();
        if queue.holders.get(&owner).is_some_and(|held| *held >= mode) {
            return true;
        }
        if queue.waiting.iter().any(|(waiter, _)| *waiter == owner) {
            return false;
        }
        let upgrade = queue.holders.contains_key(&owner);
        if (upgrade || queue.waiting.is_empty()) && queue.compatible(owner, mode) {
            queue.holders.insert(owner, mode);
            return true;
        }
        let ahead = queue
            .waiting
            .iter()
            .take_while(|(w, _)| queue.holders.contains_key(w))
            .count();
        let at = if upgrade { ahead } else { queue.waiting.len() };
        queue.waiting.insert(at, (owner, mode));
        false
    }

    fn release(&mut self, owner: u8) -> Vec<u8> {
        let mut granted = Vec::new();
        for queue in self.0.values_mut() {
            queue.waiting.retain(|(waiter, _)| *waiter != owner);
            queue.holders.remove(&owner);
            queue.serve(&mut granted);
        }
        granted.sort_unstable();
        granted
    }
}

fn key(key: u8) -> LockKey {
    LockKey::from([key])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_as_the_model(schedule in prop::collection::vec(moves(), 1..80)) {
        let mut table = Table::new(Boot(1));
        let mut model = Model::default();
        let mut last = 0;
        for step in schedule {
            match step {
                // An owner waits for one key at a time.
                Move::Request { owner, .. } if model.waits(owner) => {}
                Move::Request { owner, key: k, mode } => {
                    let held = table.holds(owner, &key(k), mode);
                    let grant = table.request(owner, &key(k), mode);
                    let granted = model.request(owner, k, mode);
                    prop_assert_eq!(matches!(grant, Grant::Granted(_)), granted);
                    if let Grant::Granted(token) = grant && !held {
                        prop_assert!(token.counter > last, "tokens grow");
                        last = token.counter;
                    }
                }
                Move::Release { owner } => {
                    let mut granted = table.release(owner);
                    granted.sort_unstable();
                    last += granted.len() as u64;
                    prop_assert_eq!(granted, model.release(owner));
                }
            }
            for (k, queue) in &model.0 {
                let holders: Vec<u8> = table.holders_of(&key(*k)).collect();
                prop_assert_eq!(holders, queue.holders.keys().copied().collect::<Vec<_>>());
                for (owner, mode) in &queue.holders {
                    prop_assert!(table.holds(*owner, &key(*k), *mode));
                }
                for (owner, mode) in &queue.waiting {
                    prop_assert_eq!(table.awaited_by(*owner), Some(&key(*k)));
                    let edges = table.edges(*owner);
                    let alone = queue.holders.keys().all(|holder| holder == owner);
                    prop_assert!(!edges.is_empty() || alone, "{owner} waits {mode:?} for nobody");
                }
            }
            let waiting: usize = model.0.values().map(|queue| queue.waiting.len()).sum();
            prop_assert_eq!(table.waiters(), waiting);
        }
    }
}
