//! A seed gives the whole run, bit for bit.

use nemcon_core::planted::Planted;
use nemcon_sim::plan::{Plan, Wishes};
use nemcon_sim::run;

#[test]
fn two_runs_of_one_seed_have_the_same_event_log() {
    let mut hashes = Vec::new();
    for seed in 0..60 {
        let plan = Plan::draw(seed, &Wishes::default());
        assert_eq!(plan, Plan::draw(seed, &Wishes::default()));
        let first = run(&plan, Planted::none(), 0);
        // Telling the story changes nothing of it.
        let second = run(&plan, Planted::none(), u64::MAX);
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.events, second.events, "seed {seed}");
        assert_eq!(first.coverage, second.coverage, "seed {seed}");
        assert!(first.story.is_empty() && !second.story.is_empty());
        hashes.push(first.hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 60, "different seeds are different runs");
}

#[test]
fn a_plan_comes_back_from_its_file_as_it_was() {
    for seed in 0..20 {
        let plan = Plan::draw(seed, &Wishes::default());
        let text = serde_json::to_string(&plan).expect("a plan is plain data");
        let back: Plan = serde_json::from_str(&text).expect("and comes back");
        assert_eq!(plan, back);
    }
}
