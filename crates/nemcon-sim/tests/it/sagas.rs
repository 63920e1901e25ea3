//! Every injection at every step of random graphs.
//!
//! `SAGA_GRAPHS=10000 cargo test --release -p nemcon-sim sagas` takes that many.

use std::collections::BTreeMap;

use nemcon_core::planted::Planted;
use nemcon_sim::sagas::{Ending, plans, run};

/// How many graphs are taken if nothing else is said: some seconds.
const GRAPHS: u64 = 40;

fn graphs() -> u64 {
    let wanted = std::env::var("SAGA_GRAPHS").ok();
    wanted.map_or(GRAPHS, |it| it.parse().expect("SAGA_GRAPHS: want a number"))
}

#[test]
fn each_saga_ends_and_the_sum_of_its_effects_is_right() {
    let mut endings: BTreeMap<Ending, u64> = BTreeMap::new();
    let mut runs = 0;
    for seed in 0..graphs() {
        for plan in plans(seed) {
            match run(&plan, Planted::none()) {
                Ok(ending) => *endings.entry(ending).or_default() += 1,
                Err(broken) => panic!("{plan:?}: {broken}"),
            }
            runs += 1;
        }
    }
    println!("{runs} runs: {endings:?}");
    for ending in [
        Ending::Completed,
        Ending::Compensated,
        Ending::CompletedByHand,
        Ending::CompensatedByHand,
    ] {
        assert!(endings.contains_key(&ending), "none was {ending:?}");
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_mistakes_are_caught() {
    use nemcon_core::planted::Bug;
    let mut escaped = Vec::new();
    for bug in Bug::ALL.iter().copied().filter(|bug| bug.is_of_sagas()) {
        let mut all = (0..60).flat_map(plans);
        match all.find_map(|plan| Some((plan, run(&plan, Planted::bug(bug)).err()?))) {
            Some((plan, broken)) => println!("{bug}: {broken} ({plan:?})"),
            None => escaped.push(bug),
        }
    }
    assert_eq!(escaped, [], "nobody has noticed these");
}
