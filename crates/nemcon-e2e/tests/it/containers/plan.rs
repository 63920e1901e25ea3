//! Which cuts are made, and for how long: all of it from a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::compose::{COORDINATOR, NODES, Name};
use super::cut::{Cut, Direction, Kind};
use crate::orders::Chance;

/// How long a cut is held, in milliseconds: at least, and at most.
const HELD_MS: (u64, u64) = (200, 8_000);

/// In a long plan some cuts outlast the deadline of a transaction, 10 s.
const LONG_HELD_MS: (u64, u64) = (10_500, 14_000);

/// From so many cuts on a plan is long.
const LONG_PLAN: usize = 50;

/// Of so many rounds of a long plan, one is held that long.
const LONG_HELD_ONE_IN: u64 = 8;

/// Of so many rounds, one has two cuts.
const TWO_IN: u64 = 4;

/// Cuts that are made together, held, and healed.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// One, or two at different containers.
    pub(super) cuts: Vec<Cut>,
    pub(super) held: Duration,
}

/// A plan of so many cuts, each kind as often as any other: five cuts are one of
/// each.
pub(super) fn rounds(cuts: usize, chance: &mut Chance) -> Vec<Round> {
    let mut kinds: Vec<Kind> = Kind::ALL.into_iter().cycle().take(cuts).collect();
    chance.shuffle(&mut kinds);
    let mut kinds = kinds.into_iter();
    let mut rounds = Vec::new();
    while let Some(first) = kinds.next() {
        let second = if chance.below(TWO_IN) == 0 {
            kinds.next()
        } else {
            None
        };
        rounds.push(Round {
            cuts: aimed(first, second, chance),
            held: held(cuts, chance),
        });
    }
    rounds
}

/// Chooses who is cut off, and of two cuts no two the same.
fn aimed(first: Kind, second: Option<Kind>, chance: &mut Chance) -> Vec<Cut> {
    let mut names = NODES;
    chance.shuffle(&mut names);
    // Two at a time are a bank and its coordinator half of the time: neither can
    // help the other then.
    if second.is_some() && chance.below(2) == 0 {
        let at = names.iter().position(|name| *name == COORDINATOR);
        names.swap(at.unwrap_or(0), 1);
    }
    let victims = names.into_iter();
    let mut cuts: Vec<Cut> = [first]
        .into_iter()
        .chain(second)
        .zip(victims)
        .map(|(kind, victim)| Cut {
            kind,
            victim,
            other: other_than(victim, chance),
            direction: if chance.below(2) == 0 {
                Direction::In
            } else {
                Direction::Out
            },
        })
        .collect();
    // A one-way cut needs to know where the other is, who may be cut off next.
    cuts.sort_by_key(|cut| cut.kind != Kind::OneWay);
    cuts
}

/// Who does not hear, or is not heard. A bank has little to say to another bank,
/// so it is mostly the coordinator.
fn other_than(victim: Name, chance: &mut Chance) -> Name {
    if victim != COORDINATOR && chance.below(4) != 0 {
        return COORDINATOR;
    }
    let others: Vec<Name> = NODES.into_iter().filter(|name| *name != victim).collect();
    others[chance.below(others.len() as u64) as usize]
}

fn held(cuts: usize, chance: &mut Chance) -> Duration {
    let long = cuts >= LONG_PLAN && chance.below(LONG_HELD_ONE_IN) == 0;
    let (least, most) = if long { LONG_HELD_MS } else { HELD_MS };
    Duration::from_millis(least + chance.below(most - least + 1))
}

/// The plan is what the tests promise of it.
#[test]
fn each_kind_has_its_share_of_a_plan_and_a_seed_repeats_it() {
    for seed in 0..50 {
        for cuts in [5, 100] {
            let plan = rounds(cuts, &mut Chance(seed));
            let again = rounds(cuts, &mut Chance(seed));
            assert_eq!(format!("{plan:?}"), format!("{again:?}"));
            let mut share: BTreeMap<Kind, usize> = BTreeMap::new();
            for round in &plan {
                for cut in &round.cuts {
                    *share.entry(cut.kind).or_default() += 1;
                    assert_ne!(cut.victim, cut.other, "{round:?}");
                }
                if let [first, second] = round.cuts.as_slice() {
                    assert_ne!(first.victim, second.victim, "{round:?}");
                }
            }
            assert_eq!(share.len(), Kind::ALL.len(), "{share:?}");
            assert!(share.values().all(|count| *count == cuts / 5), "{share:?}");
        }
    }
}
