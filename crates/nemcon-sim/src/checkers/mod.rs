//! What must hold, one invariant to a file, numbered as in the design. Where the
//! core has the rule as a function it is called here with what an onlooker has
//! seen; each rule has tests of its own that must fail.

pub(crate) mod agreement;
pub(crate) mod claims;
pub(crate) mod constancy;
pub(crate) mod damage;
pub(crate) mod deadlocks;
pub(crate) mod leaked_locks;
pub(crate) mod liveness;
pub(crate) mod money;
pub(crate) mod once;
pub(crate) mod order;
pub(crate) mod prepared_locks;
pub(crate) mod promises;
#[cfg(test)]
mod stand_in;
pub(crate) mod told;
pub(crate) mod unanimity;

use std::fmt;

use nemcon_core::invariants::Violation;

use crate::subject::Subject;
use crate::world::World;

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which invariant, by number and name.
    pub invariant: String,
    /// What was seen.
    pub story: String,
    /// After how many events.
    pub event: u64,
}

impl Failure {
    pub(crate) fn new(invariant: impl Into<String>, story: impl Into<String>) -> Self {
        Self {
            invariant: invariant.into(),
            story: story.into(),
            event: 0,
        }
    }
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self::new(violation.invariant, violation.story)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.story)
    }
}

/// What must hold at any time.
pub(crate) fn at_any_time<S: Subject>(world: &World<'_, S>) -> Result<(), Failure> {
    agreement::check(world)?;
    constancy::check(world)?;
    once::check(&world.facts)?;
    for at in 0..world.participants.len() {
        of_participant(world, at)?;
    }
    Ok(())
}

/// What must hold at one participant at any time.
pub(crate) fn of_participant<S: Subject>(world: &World<'_, S>, at: usize) -> Result<(), Failure> {
    let node = &world.participants[at];
    let Some(machine) = node.machine().filter(|_| node.is_serving()) else {
        return Ok(());
    };
    promises::check(machine, &world.facts.promised[at])?;
    prepared_locks::check(machine, &world.facts.locks[at])?;
    leaked_locks::check(at, machine, &world.facts.epochs)?;
    money::sound(at, machine.resource())
}

/// What must hold when all is healed and finished. Says what could be looked at.
pub(crate) fn in_the_end<S: Subject>(world: &World<'_, S>) -> Result<&'static str, Failure> {
    damage::check(&world.facts)?;
    if let Some(alarm) = world.facts.alarms.first() {
        return Err(Failure::new("alarms (nobody breaks the protocol)", alarm));
    }
    if !world.facts.by_hand.is_empty() {
        // Decisions by hand may split a transaction; that they are recorded is
        // all that can be asked for.
        return Ok("decided by hand");
    }
    told::check(world)?;
    claims::check(world)?;
    money::settled(world)?;
    order::check(world)
}
