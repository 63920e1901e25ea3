//! When something entered which state.

use alloc::vec::Vec;

use crate::time::Millis;

/// States in the order they were entered, each with its time. Machines enter
/// few states, so this stays short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<S>(Vec<(S, Millis)>);

impl<S> Default for History<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Copy + PartialEq> History<S> {
    /// Notes that `state` was entered at `at`. Entering the present state again
    /// changes nothing.
    pub fn enter(&mut self, state: S, at: Millis) {
        if self.state() != Some(state) {
            self.0.push((state, at));
        }
    }

    /// The present state.
    #[must_use]
    pub fn state(&self) -> Option<S> {
        self.0.last().map(|(state, _)| *state)
    }

    /// When the present state was entered.
    #[must_use]
    pub fn since(&self) -> Option<Millis> {
        self.0.last().map(|(_, at)| *at)
    }

    /// All states with their times, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (S, Millis)> + '_ {
        self.0.iter().copied()
    }
}
