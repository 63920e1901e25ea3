//! Who waits for a try to begin, since too many are under way.

use alloc::collections::{BTreeSet, VecDeque};
use core::hash::{Hash, Hasher};

use crate::id::SagaId;

/// First come, first served: while anybody waits nobody else begins a try, and whoever
/// has begun some of its steps and wants to begin more keeps its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    order: VecDeque<SagaId>,
    /// The same sagas, to be found.
    waiting: BTreeSet<SagaId>,
    /// Whose turn it is just now.
    called: Option<SagaId>,
}

impl Hash for Queue {
    fn hash<H: Hasher>(&self, into: &mut H) {
        self.order.hash(into);
    }
}

impl Queue {
    /// Whether this one need not wait for others.
    pub(super) fn is_turn_of(&self, saga: SagaId) -> bool {
        self.called == Some(saga) || self.order.is_empty()
    }

    /// Takes a place at the end; whoever has one, or is called, keeps it.
    pub(super) fn join(&mut self, saga: SagaId) {
        if self.waiting.insert(saga) {
            if self.called == Some(saga) {
                self.order.push_front(saga);
            } else {
                self.order.push_back(saga);
            }
        }
    }

    /// Calls the first; until it has gone on it need not wait for others.
    pub(super) fn call(&mut self) -> Option<SagaId> {
        let first = self.order.pop_front()?;
        self.waiting.remove(&first);
        self.called = Some(first);
        Some(first)
    }

    /// Whoever was called has begun what it could.
    pub(super) fn called_has_gone_on(&mut self) {
        self.called = None;
    }

    /// Does not wait any more.
    pub(super) fn remove(&mut self, saga: SagaId) {
        if self.waiting.remove(&saga) {
            self.order.retain(|waiting| *waiting != saga);
        }
    }
}
