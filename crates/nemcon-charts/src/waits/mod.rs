//! Who waits for whom.
//!
//! Boxes are transactions, arrows lead to whom is waited for: from left to right,
//! towards those that wait for nobody. A circle of waits is drawn as one, in its own
//! colour and with thicker lines.

mod draw;
mod graph;
mod layout;

use crate::picture::{DrawError, Picture};
use graph::Graph;

pub use graph::NODES_MAX;

/// Somebody who waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// The transaction that waits.
    pub waiter: String,
    /// How long it has waited, in milliseconds.
    pub waited_ms: u64,
    /// The participant it waits at.
    pub participant: String,
    /// The key it waits for.
    pub key: String,
    /// Transactions that have the key.
    pub held_by: Vec<String>,
    /// Transactions that wait for the key, too, and are served before.
    pub behind: Vec<String>,
}

/// What is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// In any order.
    pub waits: Vec<Wait>,
    /// Participants that gave no answer: what is waited for there is missing.
    pub silent: Vec<String>,
    /// Where this comes from: stands below the title.
    pub about: String,
}

/// Draws the graph. At most [`NODES_MAX`] transactions are drawn: those in circles
/// first, then those nearest to the ones that wait for nobody. How many are left out
/// is said. An arrow that follows from others is not drawn.
///
/// # Errors
///
/// Only a bug in what draws.
pub fn waits(data: &Waits) -> Result<Picture, DrawError> {
    draw::draw(data, &Graph::new(&data.waits))
}
