//! The definition of strict serializability as a program: all orders, tried one
//! by one. For histories of a handful of transactions.

use std::collections::BTreeMap;

use crate::history::list::{Key, Operation, Value};
use crate::history::{History, Outcome};

type Lists = BTreeMap<Key, Vec<Value>>;

/// Whether some order explains the history.
pub(super) fn serializable(history: &History, real_time: bool) -> bool {
    let placed = vec![false; history.transactions.len()];
    extend(history, real_time, &placed, &Lists::new())
}

/// Whether some order goes on from here.
fn extend(history: &History, real_time: bool, placed: &[bool], lists: &Lists) -> bool {
    let done = |index: usize| {
        let committed = matches!(
            history.transactions[index].outcome,
            Outcome::Committed { .. }
        );
        placed[index] || !committed
    };
    let all = 0..history.transactions.len();
    if all.clone().all(done) {
        return true;
    }
    all.clone().any(|next| {
        let transaction = &history.transactions[next];
        if placed[next] || matches!(transaction.outcome, Outcome::Aborted { .. }) {
            return false;
        }
        // Whoever was answered before this one was asked for has its place already.
        let too_early = all
            .clone()
            .any(|other| match history.transactions[other].outcome {
                Outcome::Committed { completed } => {
                    !placed[other] && completed < transaction.invoked
                }
                Outcome::Aborted { .. } | Outcome::Unknown => false,
            });
        if real_time && too_early {
            return false;
        }
        let mut lists = lists.clone();
        if !happens(&transaction.operations, &mut lists) {
            return false;
        }
        let mut placed = placed.to_vec();
        placed[next] = true;
        extend(history, real_time, &placed, &lists)
    })
}

/// Whether a transaction finds what it says it found, and does what it does.
fn happens(operations: &[Operation], lists: &mut Lists) -> bool {
    operations.iter().all(|operation| match operation {
        Operation::Append { key, value } => {
            lists.entry(key.clone()).or_default().push(*value);
            true
        }
        Operation::Read { values: None, .. } => true,
        Operation::Read {
            key,
            values: Some(values),
        } => lists
            .get(key)
            .map_or(values.is_empty(), |list| list == values),
    })
}
