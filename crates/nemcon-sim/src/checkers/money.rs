//! I7 (money): money is conserved and no balance goes under its limit. For lists:
//! every value is in one list once.

use super::Failure;
use crate::subject::Subject;
use crate::world::World;

const NAME: &str = "I7 (money)";

/// Looks at the data of one participant.
pub(crate) fn sound<S: Subject>(at: usize, data: &S) -> Result<(), Failure> {
    data.sound()
        .map_err(|why| Failure::new(NAME, format!("p{at}: {why}")))
}

/// Looks at the data of all, when nothing is in flight.
pub(crate) fn settled<S: Subject>(world: &World<'_, S>) -> Result<(), Failure> {
    let machines = world.participants.iter().filter_map(|node| node.machine());
    let data: Vec<&S> = machines.map(|machine| machine.resource()).collect();
    S::settled(&data).map_err(|why| Failure::new(NAME, why))
}
