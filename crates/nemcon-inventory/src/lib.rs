//! An inventory as a participant: the seats of a flight, the rooms of a hotel,
//! whatever is counted and must not be given to two people.
//!
//! A second kind of participant takes no more than this: the rules of the trade
//! (`inventory`), the border (`wire`), and [`start`]. Locks that queue, the log,
//! votes, doubt and restarts come from `nemcon-participant`.
//!
//! Trade-offs: a held reservation has no deadline, since a participant has no
//! clock; who reserves says in the same saga how it is confirmed or released.
//! Released ones stay known, so memory grows by some 200 bytes a reservation. All
//! of an item is under one lock: who wants a seat waits for others on that flight.

mod inventory;
#[cfg(test)]
mod tests;
mod wire;

use nemcon_node::node::{NodeError, NodeHandle};
use nemcon_participant::{Keyed, Settings, serve};

use crate::inventory::Inventory;
pub use crate::inventory::REASONS;
use crate::wire::Wire;

/// Starts an inventory on a thread of its own and waits until it serves.
///
/// # Errors
/// [`NodeError`] if it does not come to serve: the port is taken, the data
/// directory in use, its log damaged, a coordinator's URL no URL.
pub fn start(settings: Settings) -> Result<NodeHandle, NodeError> {
    serve(settings, Keyed::<Inventory>::default(), Wire, |_, _| ())
}
