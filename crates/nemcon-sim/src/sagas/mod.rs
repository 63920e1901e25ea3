//! Sagas in a small world: one coordinator, a few participants, and random graphs.
//!
//! A run has one graph and one injection, at one of its steps, and for some seeds
//! lost and doubled messages and crashes besides. When the injection has had its time
//! all is healed, people resume what is stuck, and the saga has to end. Two accounts
//! of it are compared with what may be:
//!
//! - the coordinator's log, read record by record by a checker that knows nothing
//!   of the machine: which tries began when, what was decided in which order;
//! - the participants' data: each step's effect, once or not at all.
//!
//! What this world leaves out (torn writes, full disks, clocks, several coordinators)
//! is what tries of sagas have in common with all transactions, and the large world
//! has it.

mod checker;
mod graph;
mod node;
mod tally;
mod world;

use nemcon_core::planted::Planted;

pub use graph::definition;
use world::World;

/// What is done to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Injection {
    /// Its business says no.
    Refusal,
    /// The coordinator dies when it has written down something about it, and a
    /// participant when it is asked.
    Crash,
    /// Its first tries fail of something that a rerun helps, all its messages come
    /// twice, and the client asks again.
    Repetition,
    /// The saga fails after it, and its compensation is refused until people have
    /// seen to that.
    CompensationFails,
}

impl Injection {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Refusal,
        Self::Crash,
        Self::Repetition,
        Self::CompensationFails,
    ];
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Gives graph and chance.
    pub seed: u64,
    /// What is done, and to which step.
    pub injection: Option<(usize, Injection)>,
    /// Messages are lost and nodes crash besides, and the saga may be cancelled.
    pub noisy: bool,
}

/// How a saga ended in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// All done.
    Completed,
    /// All taken back.
    Compensated,
    /// The same after it was stuck, and people have resumed it.
    CompletedByHand,
    /// The same after it was stuck, and people have resumed it.
    CompensatedByHand,
}

/// Runs a plan. `Err`: an invariant was broken, and how.
///
/// # Errors
/// The number and name of the invariant, and what was seen.
pub fn run(plan: &Plan, planted: Planted) -> Result<Ending, String> {
    World::new(plan, planted).run()
}

/// How many steps the graph of a seed has.
#[must_use]
pub fn steps(seed: u64) -> usize {
    definition(seed).steps.len()
}

/// Every injection at every step of the graph of a seed, noisy for every other seed.
pub fn plans(seed: u64) -> impl Iterator<Item = Plan> {
    let noisy = seed % 2 == 1;
    let quiet = Plan {
        seed,
        injection: None,
        noisy,
    };
    let each = (0..steps(seed)).flat_map(|step| Injection::ALL.map(|it| (step, it)));
    let injected = each.map(move |it| Plan {
        injection: Some(it),
        ..quiet
    });
    core::iter::once(quiet).chain(injected)
}
