//! Remembered outcomes: why a transaction id never runs twice.
//!
//! Outcomes are kept in the order of their ids, which is that of the times in
//! them, and forgotten lowest first; one time then stands for everything that
//! was forgotten. So a client whose clock runs ahead locks nobody out, and an id
//! that may have run is told from one that cannot have.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::event::{BranchView, Ending, Report, State};
use crate::history::History;
use crate::id::{Position, TransactionId};
use crate::message::{OperationsHash, Outcome};
use crate::time::{Millis, Span};

/// One finished transaction.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub(super) hash: OperationsHash,
    pub(super) attempt: Position,
    pub(super) ending: Ending,
    pub(super) history: History<State>,
    pub(super) branches: Vec<BranchView>,
    /// When it ended.
    pub(super) at: Millis,
    /// It is in the log. Otherwise it only read, or a participant remembers it.
    pub(super) logged: bool,
}

/// All remembered outcomes.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    outcomes: BTreeMap<TransactionId, Remembered>,
    /// Committed attempts, for participants that ask late.
    committed: BTreeMap<Position, TransactionId>,
    /// The last to end, oldest first: these still have their particulars.
    recent: VecDeque<TransactionId>,
    /// Ids up to this time may have been forgotten.
    forgotten: Millis,
}

impl Memory {
    pub(super) fn get(&self, transaction: TransactionId) -> Option<&Remembered> {
        self.outcomes.get(&transaction)
    }

    pub(super) fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// Takes in a finished transaction; the oldest of more than `results_max`
    /// loses its results and branches, not its outcome.
    pub(super) fn insert(
        &mut self,
        transaction: TransactionId,
        remembered: Remembered,
        results_max: usize,
    ) {
        if remembered.ending.outcome() == Outcome::Committed {
            self.committed.insert(remembered.attempt, transaction);
        }
        self.outcomes.insert(transaction, remembered);
        self.recent.push_back(transaction);
        while self.recent.len() > results_max {
            let oldest = self.recent.pop_front();
            if let Some(old) = oldest.and_then(|oldest| self.outcomes.get_mut(&oldest)) {
                old.branches = Vec::new();
                if let Ending::Committed(results) = &mut old.ending {
                    *results = None;
                }
            }
        }
    }

    /// What a client is told again.
    pub(super) fn report(&self, transaction: TransactionId) -> Option<Report> {
        let ending = self.outcomes.get(&transaction)?.ending.clone();
        Some(Report {
            transaction,
            ending,
        })
    }

    /// Whether the attempt is known to have committed.
    pub(super) fn has_committed(&self, attempt: Position) -> bool {
        self.committed.contains_key(&attempt)
    }

    /// The transaction of a committed attempt.
    pub(super) fn transaction_of(&self, attempt: Position) -> Option<TransactionId> {
        self.committed.get(&attempt).copied()
    }

    pub(super) fn after(
        &self,
        after: Option<TransactionId>,
    ) -> impl Iterator<Item = (TransactionId, &Remembered)> {
        use core::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.outcomes
            .range((from, Unbounded))
            .map(|(id, remembered)| (*id, remembered))
    }

    /// Remembered transactions from the highest id down, below `below`.
    pub(super) fn newest_below(
        &self,
        below: Option<TransactionId>,
    ) -> impl Iterator<Item = (TransactionId, &Remembered)> {
        use core::ops::Bound::{Excluded, Unbounded};
        let to = below.map_or(Unbounded, Excluded);
        self.outcomes
            .range((Unbounded, to))
            .rev()
            .map(|(id, remembered)| (*id, remembered))
    }

    pub(super) const fn forgotten(&self) -> Millis {
        self.forgotten
    }

    pub(super) fn set_forgotten(&mut self, through: Millis) {
        self.forgotten = self.forgotten.max(through);
    }

    /// Whether an unknown id may be one that was forgotten.
    pub(super) fn may_have_forgotten(&self, transaction: TransactionId) -> bool {
        self.forgotten.0 > 0 && transaction.minted_at() <= self.forgotten
    }

    /// Forgets, lowest id first, what is beyond `max` or older than `age`.
    ///
    /// The watermark needs no record here: the log has the forgotten until a
    /// checkpoint leaves them out, and a checkpoint writes the watermark both
    /// before and after what is still remembered.
    pub(super) fn forget(&mut self, now: Millis, max: usize, age: Span) {
        while let Some(first) = self.outcomes.first_entry() {
            let old = now.since(first.get().at) > age;
            let (transaction, attempt) = (*first.key(), first.get().attempt);
            if !old && self.outcomes.len() <= max {
                return;
            }
            self.outcomes.pop_first();
            self.committed.remove(&attempt);
            self.set_forgotten(transaction.minted_at());
        }
    }
}
