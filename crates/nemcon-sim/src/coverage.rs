//! What a run, or a campaign of many, has reached.

use std::collections::BTreeMap;

use crate::rows::ROWS;
use crate::world::observe::Row;

/// Counts of what was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Rows of the transition tables.
    pub rows: BTreeMap<Row, u64>,
    /// Reasons that were given for a no.
    pub reasons: BTreeMap<String, u64>,
    /// Kinds of faults.
    pub faults: BTreeMap<&'static str, u64>,
    /// Things that must happen now and then.
    pub outcomes: BTreeMap<&'static str, u64>,
}

impl Coverage {
    pub(crate) fn row(&mut self, row: Row) {
        *self.rows.entry(row).or_default() += 1;
    }

    pub(crate) fn reason(&mut self, reason: &str) {
        if let Some(count) = self.reasons.get_mut(reason) {
            *count += 1;
        } else {
            self.reasons.insert(reason.to_owned(), 1);
        }
    }

    pub(crate) fn fault(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn outcome(&mut self, outcome: &'static str) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    /// Adds what another run has reached.
    pub fn add(&mut self, other: &Self) {
        for (row, count) in &other.rows {
            *self.rows.entry(*row).or_default() += count;
        }
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
        for (fault, count) in &other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        for (outcome, count) in &other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
    }
}

/// Rows that were reached and are in no table: transitions that nobody has thought
/// of.
#[must_use]
pub fn unlisted(coverage: &Coverage) -> Vec<Row> {
    let reached = coverage.rows.keys().copied();
    reached.filter(|row| !ROWS.contains(row)).collect()
}
