//! The search for an order that explains every read of the bank.
//!
//! All transactions are laid out in time. Whoever has been asked for and not yet
//! been given its place is *pending*. A transaction must have a place when it is
//! answered, and no transfer is given one before it is needed: when it is
//! answered itself, or when a read can only be explained by it. Delaying loses
//! nothing: transfers add up to the same in any order, so between two reads only
//! the set of them matters.
//!
//! So what was found up to an event is the set of those still pending, and no
//! such set is looked at twice. To explain a read, transfers are picked for the
//! first account that does not fit yet, fewest first: what really happened is
//! mostly one or two transfers whose answers were late or lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Account, Bank, BankAnomaly, Explanation, History, Operation};
use crate::history::{Moment, Number, Outcome};

/// Steps before the search gives up: half a second or so. A step is a point of
/// the search or a set of transfers; 200 transactions take some hundred of them.
pub const STEPS_MAX: u64 = 200_000;

/// How many transfers may explain one read, in one try after another. Small
/// limits find what is simple before the large ones drown in combinations.
const TRANSFERS_PER_READ: [usize; 4] = [2, 4, 8, usize::MAX];

/// Balances, or changes of them, in the order of the accounts.
type Amounts = Vec<i128>;

/// What one transaction needs and does.
struct Effect {
    /// The balances it must find; `None` if it tells nothing.
    needs: Option<Amounts>,
    /// What it adds to each.
    change: Amounts,
    completed: Option<Moment>,
}

/// A point of the search.
#[derive(Clone)]
struct Point {
    /// The next event to look at.
    event: usize,
    balances: Amounts,
    /// Asked for and without a place; those answered first come first.
    pending: Vec<usize>,
}

enum Verdict {
    Explained,
    GaveUp,
    /// No order; `cut` if larger sets of transfers were left out.
    Unexplained {
        cut: bool,
    },
}

struct Search {
    effects: Vec<Effect>,
    /// Who is asked for (`false`) or answered (`true`), in order of time.
    events: Vec<(bool, usize)>,
    /// The answer that no point of the search has got past.
    furthest: usize,
    steps_left: u64,
}

/// Looks for an order.
pub(super) fn explain(
    bank: &Bank,
    history: &History<Operation>,
    steps_max: u64,
) -> Result<Explanation, BankAnomaly> {
    let mut search = Search::new(bank, history, steps_max)?;
    let initial: Amounts = bank
        .initial_minor
        .values()
        .copied()
        .map(i128::from)
        .collect();
    for transfers_max in TRANSFERS_PER_READ {
        match search.run(&initial, transfers_max) {
            Verdict::Explained => return Ok(Explanation::Complete),
            Verdict::GaveUp => return Ok(Explanation::GaveUp),
            Verdict::Unexplained { cut: true } => {}
            Verdict::Unexplained { cut: false } => break,
        }
    }
    let reader = search.events.get(search.furthest).map(|(_, index)| *index);
    Err(unexplained(history, reader.unwrap_or_default()))
}

fn unexplained(history: &History<Operation>, index: usize) -> BankAnomaly {
    BankAnomaly::Unexplained {
        reader: Number::of_index(index),
        transaction: history.transactions[index].clone(),
    }
}

fn sum(a: &[i128], b: &[i128]) -> Amounts {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn difference(a: &[i128], b: &[i128]) -> Amounts {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

impl Search {
    fn new(
        bank: &Bank,
        history: &History<Operation>,
        steps_left: u64,
    ) -> Result<Self, BankAnomaly> {
        let accounts: BTreeMap<&Account, usize> = bank.initial_minor.keys().zip(0..).collect();
        let mut effects = Vec::new();
        let mut moments = Vec::new();
        for (index, transaction) in history.transactions.iter().enumerate() {
            let effect = effect(&accounts, history, index)?;
            let counts = match transaction.outcome {
                Outcome::Committed { .. } => true,
                Outcome::Aborted { .. } => false,
                Outcome::Unknown => effect.change.iter().any(|amount| *amount != 0),
            };
            if counts {
                // At one moment those that are asked for come first: equal
                // moments are concurrent.
                moments.push((transaction.invoked, false, index));
                moments.extend(effect.completed.map(|at| (at, true, index)));
            }
            effects.push(effect);
        }
        moments.sort_unstable();
        Ok(Self {
            effects,
            events: moments.into_iter().map(|(_, done, i)| (done, i)).collect(),
            furthest: 0,
            steps_left,
        })
    }

    /// Depth first, likely ways first.
    fn run(&mut self, initial: &[i128], transfers_max: usize) -> Verdict {
        let mut cut = false;
        let mut seen = BTreeSet::new();
        let mut points = vec![Point {
            event: 0,
            balances: initial.to_vec(),
            pending: Vec::new(),
        }];
        while let Some(mut point) = points.pop() {
            while let Some((completed, index)) = self.events.get(point.event).copied() {
                if completed && point.pending.contains(&index) {
                    break;
                }
                if !completed {
                    self.add(&mut point.pending, index);
                }
                point.event += 1;
            }
            let Some((_, index)) = self.events.get(point.event).copied() else {
                return Verdict::Explained;
            };
            self.furthest = self.furthest.max(point.event);
            if !seen.insert((point.event, point.pending.clone())) {
                continue;
            }
            self.steps_left = self.steps_left.saturating_sub(1);
            let next = self.place(&point, index, transfers_max, &mut cut);
            points.extend(next.into_iter().rev());
            if self.steps_left == 0 {
                return Verdict::GaveUp;
            }
        }
        Verdict::Unexplained { cut }
    }

    /// Adds one to those pending, before those that are answered later or never.
    fn add(&self, pending: &mut Vec<usize>, index: usize) {
        let rank = |index: usize| {
            let completed = self.effects[index].completed;
            (completed.is_none(), completed, index)
        };
        let at = pending.partition_point(|other| rank(*other) < rank(index));
        pending.insert(at, index);
    }

    /// All ways to go on from a point whose next event is the answer of `index`,
    /// likely ones first: it gets its place now, or a read that is pending gets
    /// one before it.
    fn place(
        &mut self,
        point: &Point,
        index: usize,
        transfers_max: usize,
        cut: &mut bool,
    ) -> Vec<Point> {
        let mut next = self.after(point, index, transfers_max, cut);
        for other in &point.pending {
            if *other != index && self.effects[*other].needs.is_some() {
                next.extend(self.after(point, *other, transfers_max, cut));
            }
        }
        next
    }

    /// The points after one pending transaction and the fewest transfers that it
    /// needs before it.
    fn after(
        &mut self,
        point: &Point,
        index: usize,
        transfers_max: usize,
        cut: &mut bool,
    ) -> Vec<Point> {
        let sets = match &self.effects[index].needs {
            None => vec![Vec::new()],
            Some(needs) => {
                let missing = difference(needs, &point.balances);
                self.sets(point, index, missing, transfers_max, cut)
            }
        };
        let placed = sets.into_iter().map(|set| {
            let mut point = point.clone();
            for one in set.into_iter().chain([index]) {
                point.balances = sum(&point.balances, &self.effects[one].change);
                point.pending.retain(|other| *other != one);
            }
            point
        });
        placed.collect()
    }

    /// Sets of pending transfers that add up to what is missing, fewest first.
    /// Those that could do without some of their members are left out.
    fn sets(
        &mut self,
        point: &Point,
        reader: usize,
        missing: Amounts,
        transfers_max: usize,
        cut: &mut bool,
    ) -> Vec<Vec<usize>> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from([(BTreeSet::new(), missing)]);
        while let Some((set, missing)) = queue.pop_front() {
            let Some(account) = missing.iter().position(|amount| *amount != 0) else {
                found.push(set.into_iter().collect());
                continue;
            };
            for one in point.pending.iter().copied() {
                let effect = &self.effects[one];
                let helps = effect.needs.is_none() && effect.change[account] != 0;
                if one == reader || !helps || set.contains(&one) {
                    continue;
                }
                if set.len() == transfers_max {
                    *cut = true;
                    break;
                }
                if self.steps_left == 0 {
                    return found;
                }
                self.steps_left -= 1;
                let mut larger = set.clone();
                larger.insert(one);
                if seen.insert(larger.clone()) {
                    queue.push_back((larger, difference(&missing, &effect.change)));
                }
            }
        }
        found
    }
}

/// Adds up what one transaction did, and what it must have found.
fn effect(
    accounts: &BTreeMap<&Account, usize>,
    history: &History<Operation>,
    index: usize,
) -> Result<Effect, BankAnomaly> {
    let transaction = &history.transactions[index];
    let committed = matches!(transaction.outcome, Outcome::Committed { .. });
    let mut change: Amounts = vec![0; accounts.len()];
    let mut needs: Option<Amounts> = None;
    for operation in &transaction.operations {
        match operation {
            Operation::Transfer {
                from,
                to,
                amount_minor,
            } => {
                change[accounts[from]] -= i128::from(*amount_minor);
                change[accounts[to]] += i128::from(*amount_minor);
            }
            Operation::ReadAll {
                balances: Some(balances),
            } if committed => {
                let read: Amounts = balances.values().copied().map(i128::from).collect();
                let found = difference(&read, &change);
                if needs.replace(found.clone()).is_some_and(|n| n != found) {
                    return Err(unexplained(history, index));
                }
            }
            Operation::ReadAll { .. } => {}
        }
    }
    Ok(Effect {
        needs,
        change,
        completed: transaction.outcome.completed(),
    })
}
