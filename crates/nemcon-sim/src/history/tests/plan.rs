//! Histories by chance: a serial execution with intervals around the points
//! where its transactions took effect, and changes that spoil it.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::history::list::{Key, Operation, Value};
use crate::history::{ClientId, History, Moment, Outcome, Transaction};

/// Milliseconds between the points where two transactions take effect.
const STEP_MS: u64 = 10;

/// How a transaction ends, and what its client hears.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Committed,
    /// It committed, but its results were lost.
    ResultsLost,
    Aborted,
    /// It committed, but the answer was lost.
    AnswerLost,
    /// As above, after its reads had been answered.
    LastAnswerLost,
    NeverHappened,
}

/// One transaction that is to be.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Key, and whether it is appended to or read.
    pub(super) operations: Vec<(u8, bool)>,
    /// Milliseconds from the question to the effect.
    pub(super) before_ms: u64,
    /// Milliseconds from the effect to the answer.
    pub(super) after_ms: u64,
    pub(super) end: End,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        12 => Just(End::Committed),
        1 => Just(End::ResultsLost),
        1 => Just(End::Aborted),
        1 => Just(End::AnswerLost),
        1 => Just(End::LastAnswerLost),
        1 => Just(End::NeverHappened),
    ]
}

/// Transactions in the order in which they take effect. At most some run at once.
pub(super) fn plans(transactions_max: usize, keys: u8) -> impl Strategy<Value = Vec<Plan>> {
    let operations = vec((0..keys, any::<bool>()), 1..5);
    let plan = (operations, 0..40u64, 0..40u64, end());
    let plan = plan.prop_map(|(operations, before_ms, after_ms, end)| Plan {
        operations,
        before_ms,
        after_ms,
        end,
    });
    vec(plan, 1..=transactions_max)
}

fn key(index: u8) -> Key {
    Key(format!("k{index}"))
}

fn moment(at_ms: u64) -> Moment {
    Moment { at_ms, number: 0 }
}

/// Runs the plans one after another, and records them by when they were asked for.
pub(super) fn run(plans: &[Plan]) -> History {
    let mut lists: BTreeMap<u8, Vec<Value>> = BTreeMap::new();
    let mut transactions: Vec<Transaction<Operation>> = Vec::new();
    let mut next = 0;
    for (n, plan) in (0..).zip(plans) {
        let effect_ms = 100 + n * STEP_MS;
        let kept = lists.clone();
        let heard = !matches!(
            plan.end,
            End::ResultsLost | End::AnswerLost | End::NeverHappened
        );
        let mut operations = Vec::new();
        for (name, append) in plan.operations.iter().copied() {
            let list = lists.entry(name).or_default();
            if append {
                next += 1;
                list.push(Value(next));
            }
            operations.push(if append {
                Operation::Append {
                    key: key(name),
                    value: Value(next),
                }
            } else {
                Operation::Read {
                    key: key(name),
                    values: heard.then(|| list.clone()),
                }
            });
        }
        let completed = moment(effect_ms + plan.after_ms);
        let outcome = match plan.end {
            End::Committed | End::ResultsLost => Outcome::Committed { completed },
            End::Aborted => Outcome::Aborted { completed },
            End::AnswerLost | End::LastAnswerLost | End::NeverHappened => Outcome::Unknown,
        };
        if matches!(plan.end, End::Aborted | End::NeverHappened) {
            lists = kept;
        }
        transactions.push(Transaction {
            id: None,
            client: ClientId(0),
            invoked: moment(effect_ms - plan.before_ms),
            operations,
            outcome,
        });
    }
    // So that nothing follows from the order in which they are recorded.
    transactions.sort_by_key(|transaction| transaction.invoked);
    let mut history = History::new();
    for transaction in transactions {
        history.push(transaction);
    }
    history
}

/// A change that may or may not spoil a history.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// A read that ends earlier.
    DropLast,
    /// A read that begins later.
    DropFirst,
    /// A read that holds one value more, of those appended to the key.
    Add(usize),
    /// A read with its last two values swapped.
    SwapLast,
    /// A transaction that is asked for and answered later.
    Later(u64),
    /// One that is asked for and answered earlier.
    Earlier(u64),
    /// One that was answered at once.
    Shorter,
    /// One whose answer is lost.
    Lost,
    /// One that committed, and whose client was told something else.
    Abort,
}

/// Which transaction, which of its operations, and what happens to it.
pub(super) fn changes(at_most: usize) -> impl Strategy<Value = Vec<(usize, usize, Change)>> {
    let change = prop_oneof![
        4 => Just(Change::DropLast),
        1 => Just(Change::DropFirst),
        4 => (0..20usize).prop_map(Change::Add),
        1 => Just(Change::SwapLast),
        3 => (1..80u64).prop_map(Change::Later),
        3 => (1..80u64).prop_map(Change::Earlier),
        1 => Just(Change::Shorter),
        1 => Just(Change::Lost),
        1 => Just(Change::Abort),
    ];
    vec((0..1_000usize, 0..1_000usize, change), 0..=at_most)
}

/// All values that anyone appended to a key.
fn appended(history: &History, to: &Key) -> Vec<Value> {
    let operations = history.transactions().flat_map(|(_, t)| &t.operations);
    let values = operations.filter_map(|operation| match operation {
        Operation::Append { key, value } if key == to => Some(*value),
        _ => None,
    });
    values.collect()
}

/// Applies one change where it makes sense.
pub(super) fn change(history: &mut History, which: usize, operation: usize, change: Change) {
    let which = which % history.transactions.len();
    let before = history.clone();
    let transaction = &mut history.transactions[which];
    let mut shift = |by: i64| {
        let shifted = |at: Moment| moment(at.at_ms.saturating_add_signed(by));
        transaction.invoked = shifted(transaction.invoked);
        if let Outcome::Committed { completed } | Outcome::Aborted { completed } =
            &mut transaction.outcome
        {
            *completed = shifted(*completed);
        }
    };
    match change {
        Change::Later(by) => return shift(by as i64),
        Change::Earlier(by) => return shift(-(by as i64)),
        Change::Lost => return transaction.outcome = Outcome::Unknown,
        Change::Shorter => {
            if let Outcome::Committed { completed } = &mut transaction.outcome {
                *completed = transaction.invoked;
            }
            return;
        }
        Change::Abort => {
            let completed = moment(transaction.invoked.at_ms + 1);
            return transaction.outcome = Outcome::Aborted { completed };
        }
        Change::DropLast | Change::DropFirst | Change::Add(_) | Change::SwapLast => {}
    }
    let operation = operation % transaction.operations.len();
    let Operation::Read {
        key,
        values: Some(values),
    } = &mut transaction.operations[operation]
    else {
        return;
    };
    let length = values.len();
    match change {
        Change::DropLast => _ = values.pop(),
        Change::DropFirst if length > 0 => _ = values.remove(0),
        Change::SwapLast if length > 1 => values.swap(length - 1, length - 2),
        Change::Add(n) => {
            let appended = appended(&before, key);
            if !appended.is_empty() {
                values.push(appended[n % appended.len()]);
            }
        }
        _ => {}
    }
}
