//! The same core, driven through every schedule within a bound.
//!
//! The world of this crate takes some schedules of a large cluster, by chance.
//! Here all schedules of a small one are taken, with the machines, the parking
//! and the records that nodes run with: whatever can happen within the bounds of
//! a [`Scenario`] has happened when [`check`] returns. The search is stateright's.
//!
//! ```text
//!   Scenario ──▶ Explorer: state ──▶ what can happen ──▶ state ...
//!                    │                                    │
//!                    │ Cluster: each node in each state,  │ invariants, each step
//!                    │ each packet, each step, once       │ healing, each state
//!                    └────────────────────────────────────┘
//! ```
//!
//! # What can happen
//!
//! At any time, without bound: a message that was ever sent arrives, once more or
//! at last; a timer that is armed fires; the disk of a node catches up by one
//! record or more. So messages are lost, doubled, late and out of order in every
//! way there is. Bounded by the scenario: nodes crash, with any part of what was
//! appended on their disks, and start again; clients send orders, send them again,
//! ask for aborts; an operator decides by hand; calls and questions fail.
//!
//! # What must hold
//!
//! After each step I1 to I7, I9 and, where deadlocks are looked for, that nobody gives
//! way who was in none (of I13), by the functions of
//! [`nemcon_core::invariants`] where there are such; reads that are true together
//! (I8, as far as one sum shows it); that no client is told "aborted" of what is
//! applied; and in the scenarios with one attempt, that the step is one of
//! [textbook two-phase commit](two_phase) or none. From each state, I10 and I11:
//! all messages on their way are lost, from then on nothing goes wrong, and then
//! everything must end, every client learn its outcome when it asks again, and
//! what was committed be applied everywhere. And since a model in which nothing
//! happens keeps every promise, each scenario names what must be seen.
//!
//! # What is left out, and why that hides nothing
//!
//! - *Time.* It is always the same moment. A timer fires when it is chosen to,
//!   and machines judge from their state whether that still matters. What a
//!   machine decides by comparing times is covered by the order in which a timer
//!   and a message come, but for two things: a prepare whose deadline has passed
//!   on the way is refused (as a business no is, and that is covered), and
//!   outcomes are forgotten by age (as they are by count).
//! - *Where a log ends*, as votes tell it: for copies of a data directory that are
//!   set back, and there are none here. Checkpoints and write-back are the
//!   world's and the property tests' to look at.
//! - *Nodes that are down.* A node that is down and one that hears nothing are the
//!   same to all others, so a crash and the start after it are one step.
//! - *Repeats.* What was said can arrive at any time after that, so saying it
//!   again changes nothing; the network is a set. And what a node can say without
//!   changing itself is said at once: having been said, it need not arrive.
//! - *States that can do less.* Where the same nodes have come to the same state
//!   and less was said, less was told, less may still go wrong, everything that
//!   can go wrong from there can go wrong from the other one. Only that one is
//!   gone on from.
//! - *Fingerprints.* Nodes whose [fingerprints](nemcon_core::fingerprint) are
//!   equal are taken for one. A test (`audit`) takes such nodes through every step
//!   side by side.
//! - *Failed questions.* It takes two failures of a coordinator before peers are
//!   asked; here they come in one step.
//!
//! # Scenarios
//!
//! The numbers are compared by a test (`tests/it/model.rs`), with one thread, so
//! that a change of the protocol is seen to change what can happen. All together
//! take three minutes of one processor.
//!
//! | scenario | states | steps |
//! |---|---|---|
//! | `peers` | 2,301 | 8,127 |
//! | `refusing-peers` | 11,662 | 35,279 |
//! | `reused-alone` | 89,898 | 385,371 |
//! | `forgotten` | 3,611 | 11,104 |
//! | `reused-id` | 6,520 | 26,461 |
//! | `late-duplicates` | 39,296 | 217,191 |
//! | `interactive` | 28,321 | 94,753 |
//! | `interactive-reads` | 100,815 | 231,352 |
//! | `one-phase` | 86,595 | 582,913 |
//! | `reads` | 83,236 | 244,188 |
//! | `by-hand` | 86,945 | 350,851 |
//! | `two-crashes` | 447,522 | 2,042,892 |
//! | `three-participants` | 598,838 | 3,199,787 |
//! | `two-coordinators` | 656,052 | 3,657,431 |
//! | `repeats` | 739,470 | 4,160,036 |
//! | `read-while-written` | 870,383 | 3,834,265 |
//!
//! [`Scenario::with_crashes`] goes further than CI has time for, and so does
//! [`Scenario::large`]: `deadlock` has 2.1 million states and 12.9 million steps, two
//! minutes on two cores, and all holds.

mod audit;
mod cluster;
mod healing;
mod network;
mod node;
mod packet;
mod refinement;
mod registers;
mod scenario;
mod sights;
mod state;
mod table;
pub mod two_phase;
mod visited;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use nemcon_core::planted::Planted;
use serde::Serialize;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Path, Property};

use cluster::{Cluster, Happening};
use node::Subject;
pub use scenario::Scenario;
use state::{Action, Explorer, State};
use table::Table;
use visited::Visited;

const AGREEMENT: &str = "I1 (agreement)";
const UNANIMITY: &str = "I2 (unanimity)";
const CONSTANCY: &str = "I3 (constancy)";
const PROMISES: &str = "I4 (promises)";
const PREPARED_LOCKS: &str = "I5 (prepared locks)";
const LEAKED_LOCK: &str = "I6 (no leaked lock)";
const CONSERVATION: &str = "I7 (conservation)";
const READS: &str = "I8 (reads)";
const ONCE: &str = "I9 (once)";
const FINISHED: &str = "I10 (all ends when all is healed)";
const DAMAGE: &str = "I11 (damage)";
const DEADLOCKS: &str = "I13 (deadlocks)";
const LOG: &str = "log (what was durable is read back)";
const TRUTH: &str = "what is told is true";
const REFINEMENT: &str = "each step is one of two-phase commit";

/// What came of a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which.
    pub scenario: &'static str,
    /// Steps that were taken, from all states.
    pub steps: usize,
    /// States there are.
    pub unique_states: usize,
    /// States of single nodes there are.
    pub node_states: usize,
    /// Messages there are.
    pub messages: usize,
    /// The longest of the shortest ways to a state. With several threads they are
    /// not quite the shortest.
    pub depth: usize,
    /// How long it took.
    pub seconds: f64,
    /// What was looked for.
    pub properties: Vec<Finding>,
}

/// What is expected of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It holds in every state.
    Always,
    /// It is seen in some state. Says nothing if the search ended early, since
    /// something did not hold.
    Seen,
}

/// What came of one property.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Its name.
    pub name: &'static str,
    /// What is expected of it.
    pub kind: Kind,
    /// It is as it should be: what must always hold always does, and what must be
    /// seen was seen.
    pub holds: bool,
    /// What does not hold, where it does not. Of all that must hold in the end, it
    /// says which.
    pub broken: Option<&'static str>,
    /// What was seen there.
    pub story: Option<String>,
    /// The way there: to what does not hold, or to what was to be seen.
    pub path: Vec<String>,
}

impl Report {
    /// The properties that are not as they should be.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.properties.iter().filter(|finding| !finding.holds)
    }

    /// What does not hold, if anything: the search ended there.
    #[must_use]
    pub fn broken(&self) -> Option<&Finding> {
        self.failures().find(|finding| finding.kind == Kind::Always)
    }
}

/// Explores a scenario to its end, or to the first thing that does not hold, with
/// machines that make the planted mistake, if there is one.
///
/// With one thread the same states are explored each time. With more, states may
/// be met in another order, and a few more or less prove to be needless.
#[must_use]
pub fn check(scenario: Scenario, planted: Planted, threads: usize) -> Report {
    explore(Cluster::new(scenario, planted), threads)
}

fn explore(cluster: Cluster, threads: usize) -> Report {
    let (scenario, began) = (cluster.scenario.name, Instant::now());
    let explorer = Explorer {
        cluster,
        stories: Mutex::default(),
        healed: Table::default(),
        seen: Mutex::new(BTreeSet::new()),
        visited: Visited::default(),
    };
    let checker = explorer.checker().threads(threads);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let seconds = began.elapsed().as_secs_f64();
    let explorer = checker.model();
    explorer.visited.turn_off();
    let mut discoveries = checker.discoveries();
    let properties = explorer.properties();
    let finding = |property: &Property<Explorer>| {
        let path = discoveries.remove(property.name);
        let found = path.is_some();
        let stories = explorer.stories.lock();
        let stories = stories.unwrap_or_else(PoisonError::into_inner);
        let mut stories = stories.iter();
        let story = stories.find(|(name, _)| *name == property.name);
        let violation = story.map(|(_, violation)| violation);
        Finding {
            name: property.name,
            kind: match property.expectation {
                Expectation::Sometimes => Kind::Seen,
                Expectation::Always | Expectation::Eventually => Kind::Always,
            },
            holds: found != property.expectation.discovery_is_failure(),
            broken: violation.map(|it| it.invariant),
            story: violation.map(|it| it.story.clone()),
            path: path.map_or_else(Vec::new, |path| explorer.tell_way(path)),
        }
    };
    let (node_states, messages) = explorer.cluster.sizes();
    Report {
        scenario,
        steps: checker.state_count(),
        unique_states: checker.unique_state_count(),
        node_states,
        messages,
        depth: checker.max_depth(),
        seconds,
        properties: properties.iter().map(finding).collect(),
    }
}

impl Model for Explorer {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.beginning()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if !self.visited.dominates(state) {
            self.possible(state, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.after(state, action)
    }

    fn within_boundary(&self, state: &State) -> bool {
        let coordinators = &state.nodes[..self.cluster.scenario.coordinators];
        let mut coordinators = coordinators.iter();
        coordinators.all(|key| !self.cluster.node(*key).beyond)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! never_broken {
            ($($name:ident),*) => {
                vec![$(Property::always($name, |_: &Self, state: &State| {
                    state.broken != Some($name)
                })),*]
            };
        }
        let mut properties = never_broken![
            AGREEMENT,
            UNANIMITY,
            CONSTANCY,
            PROMISES,
            PREPARED_LOCKS,
            LEAKED_LOCK,
            CONSERVATION,
            READS,
            ONCE,
            DEADLOCKS,
            LOG,
            TRUTH
        ];
        properties.push(Property::always(FINISHED, Self::heals));
        if self.cluster.scenario.refines {
            properties.extend(never_broken![REFINEMENT]);
        }
        let sights = self.cluster.scenario.sights.iter();
        properties.extend(sights.map(|sight| sight.property()));
        properties
    }
}

impl Explorer {
    /// The steps of a way, in words.
    fn tell_way(&self, path: Path<State, Action>) -> Vec<String> {
        let steps = path.into_vec().into_iter();
        let steps = steps.filter_map(|(state, action)| Some(self.tell_step(&state, action?)));
        steps.collect()
    }

    fn tell_step(&self, state: &State, action: Action) -> String {
        let Action { at, what } = action;
        let orders = &self.cluster.scenario.orders;
        match what {
            Happening::Deliver(key) => format!("{at} gets {}", self.cluster.packet(key)),
            Happening::Fail(key) => {
                format!(
                    "{at} is told that it did not arrive: {}",
                    self.cluster.packet(key)
                )
            }
            Happening::Flush(count) => format!("{at} has {count} more on disk"),
            Happening::Crash(kept) => format!("{at} crashes, {kept} more on disk, and starts"),
            Happening::Fire(timer) => {
                let node = self.cluster.node(state.nodes[self.index(at)]);
                let timer = match &node.kind {
                    cluster::Kind::Coordinator(node) => node.machine.timer(timer),
                    cluster::Kind::Participant(node) => node.machine.timer(timer),
                };
                format!("{at}: {timer} fires")
            }
            Happening::Send(order) => {
                format!("a client sends {} to {at}", orders[order].transaction)
            }
            Happening::Ask(order, stage, _) => {
                let order = &orders[order];
                let what = match usize::from(stage) {
                    0 => String::from("begin"),
                    piece if piece <= order.operations.len() => format!("do piece {piece} of"),
                    _ => String::from("commit"),
                };
                format!("a client asks {at} to {what} {}", order.transaction)
            }
            Happening::Abort(order) => {
                format!("a client asks {at} to abort {}", orders[order].transaction)
            }
            Happening::Resolve(attempt, outcome) => {
                format!("an operator decides at {at}: {attempt} is {outcome:?}")
            }
        }
    }
}
