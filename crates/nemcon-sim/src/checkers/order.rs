//! I8 (order): what clients have seen is explained by one order of all
//! transactions, in which none stands before one that was over when it began.
//!
//! To what the clients saw comes one reader more, when all is over: it reads what
//! every participant holds, so that nothing can be lost that nobody read.

use std::collections::BTreeMap;

use super::Failure;
use crate::history::bank::{Account, Bank, BankAnomaly, Explanation, Operation as BankOperation};
use crate::history::list::{Key, Operation as ListOperation, Value};
use crate::history::{ClientId, History, Outcome, Transaction};
use crate::plan::{Data, Step, What};
use crate::subject::{OPENING_MINOR, Seen, Subject};
use crate::world::{Session, Told, World, value_of};

const NAME: &str = "I8 (order)";

/// Looks at the whole history of what clients were told. Says how far it came, for
/// the coverage: balances do not tell who made them, so the search for an order of
/// transfers may give up; that of lists never does.
pub(crate) fn check<S: Subject>(world: &World<'_, S>) -> Result<&'static str, Failure> {
    match S::DATA {
        Data::Lists => match lists(world).check_strict_serializability() {
            Ok(()) => Ok("lists in order"),
            Err(anomaly) => Err(Failure::new(NAME, anomaly.to_string())),
        },
        Data::Bank => match bank(world) {
            None => Ok("bank not opened in time"),
            Some(Ok(Explanation::Complete)) => Ok("bank in order"),
            Some(Ok(Explanation::GaveUp)) => Ok("bank: search for an order gave up"),
            Some(Err(anomaly)) => Err(Failure::new(NAME, anomaly.to_string())),
        },
    }
}

fn history<S: Subject, O>(
    world: &World<'_, S>,
    operations: impl Fn(usize, &Session) -> Option<Vec<O>>,
) -> History<O> {
    let mut history = History::new();
    for (at, session) in world.sessions.iter().enumerate() {
        let Some(operations) = operations(at, session) else {
            continue;
        };
        let outcome = match (&session.told, session.completed) {
            (Told::Committed(_), Some(completed)) => Outcome::Committed { completed },
            (Told::Aborted, Some(completed)) => Outcome::Aborted { completed },
            (Told::Nothing | Told::Unknown, _) | (_, None) => Outcome::Unknown,
        };
        history.push(Transaction {
            id: Some(session.transaction),
            client: ClientId(at as u32),
            invoked: session.invoked,
            operations,
            outcome,
        });
    }
    history
}

fn seen(session: &Session, step: usize) -> Option<&Seen> {
    match &session.told {
        Told::Committed(Some(all)) => all.get(step),
        Told::Committed(None) | Told::Nothing | Told::Aborted | Told::Unknown => None,
    }
}

fn key(at: usize, key: u8) -> Key {
    Key(format!("p{at}/{key}"))
}

fn values(values: &[u64]) -> Vec<Value> {
    values.iter().copied().map(Value).collect()
}

fn lists<S: Subject>(world: &World<'_, S>) -> History {
    let mut history = history(world, |at, session| {
        let steps = world.orders[session.order].steps.iter().enumerate();
        let operation = |(number, step): (usize, &Step)| {
            let key = key(step.at, step.key);
            if step.what.writes() {
                let value = Value(value_of(at, number));
                return ListOperation::Append { key, value };
            }
            let values = match seen(session, number) {
                Some(Seen::List(list)) => Some(values(list)),
                _ => None,
            };
            ListOperation::Read { key, values }
        };
        Some(steps.map(operation).collect())
    });
    let end = world.moment();
    let mut operations = Vec::new();
    for (at, node) in world.participants.iter().enumerate() {
        let Some(machine) = node.machine() else {
            continue;
        };
        let there: BTreeMap<u8, Seen> = machine.resource().contents().into_iter().collect();
        for number in 0..world.shape.keys {
            let list = match there.get(&number) {
                Some(Seen::List(list)) => values(list),
                _ => Vec::new(),
            };
            operations.push(ListOperation::Read {
                key: key(at, number),
                values: Some(list),
            });
        }
    }
    history.push(Transaction {
        id: None,
        client: ClientId(u32::MAX),
        invoked: end,
        operations,
        outcome: Outcome::Committed {
            completed: world.moment_after(end),
        },
    });
    history
}

fn account(at: usize, key: u8) -> Account {
    Account(format!("p{at}/k{key}"))
}

/// The bank's history, where all accounts were opened before anything else.
fn bank<S: Subject>(world: &World<'_, S>) -> Option<Result<Explanation, BankAnomaly>> {
    let (participants, keys) = (world.shape.participants, world.shape.keys);
    let openings = world.sessions.iter().filter(|session| {
        let steps = &world.orders[session.order].steps;
        let opens = steps.iter().any(|step| step.what == What::Open);
        opens && matches!(session.told, Told::Committed(_))
    });
    if openings.count() < participants {
        return None;
    }
    let all = (0..participants).flat_map(|at| (0..keys).map(move |key| account(at, key)));
    let bank = Bank {
        initial_minor: all.map(|account| (account, OPENING_MINOR)).collect(),
        minimum_minor: 0,
    };
    let history = history(world, |_, session| operations_of(world, session));
    Some(bank.check(&history))
}

/// A transfer, or a reading of all books; others say nothing here.
fn operations_of<S: Subject>(
    world: &World<'_, S>,
    session: &Session,
) -> Option<Vec<BankOperation>> {
    let steps = &world.orders[session.order].steps;
    match steps.as_slice() {
        [
            Step {
                at: from,
                key: from_key,
                what: What::Take(amount),
            },
            Step {
                at: to,
                key: to_key,
                what: What::Put(_),
            },
            ..,
        ] => Some(vec![BankOperation::Transfer {
            from: account(*from, *from_key),
            to: account(*to, *to_key),
            amount_minor: i64::from(*amount),
        }]),
        [
            Step {
                what: What::ReadAll,
                ..
            },
            ..,
        ] => {
            let mut balances = BTreeMap::new();
            for (number, step) in steps.iter().enumerate() {
                match seen(session, number) {
                    Some(Seen::Balances(all)) => {
                        balances.extend(
                            all.iter()
                                .map(|(key, balance)| (account(step.at, *key), *balance)),
                        );
                    }
                    _ => return Some(vec![BankOperation::ReadAll { balances: None }]),
                }
            }
            let balances = Some(balances);
            Some(vec![BankOperation::ReadAll { balances }])
        }
        _ => None,
    }
}
