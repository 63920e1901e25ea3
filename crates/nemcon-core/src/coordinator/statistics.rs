//! Figures of a coordinator: counts, and times of the last transactions.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::id::{CoordinatorId, Epoch};
use crate::message::Outcome;
use crate::time::Span;

/// How many transactions the window covers.
pub const WINDOW: usize = 1_000;

/// One finished transaction in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// What became of it.
    pub outcome: Outcome,
    /// From the request to the last vote.
    pub prepare: Span,
    /// From the last vote to the last acknowledgement, if it committed.
    pub commit: Option<Span>,
    /// From the request to the durable decision.
    pub decision: Span,
}

/// The last transactions.
#[derive(Clone, Debug, Default)]
pub struct Window(VecDeque<Sample>);

impl Window {
    /// Takes in a finished transaction, and lets go of the oldest when full.
    pub fn push(&mut self, sample: Sample) {
        if self.0.len() == WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// The samples, oldest first.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.0.iter().copied().collect()
    }
}

/// Figures as they are handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Who.
    pub coordinator: CoordinatorId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Committed since the start.
    pub committed: u64,
    /// Aborted since the start.
    pub aborted: u64,
    /// Running now.
    pub running: u64,
    /// Decided, not acknowledged by everyone.
    pub in_doubt: u64,
    /// Remembered outcomes.
    pub remembered: u64,
    /// The last transactions, at most [`WINDOW`].
    pub window: Vec<Sample>,
}
