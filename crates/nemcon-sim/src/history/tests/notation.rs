//! Histories as text, a transaction a line:
//!
//! ```text
//! T1 [0..5] append x 1 ; read y [] : ok
//! T2 [3..] read x ? : unknown
//! ```
//!
//! In brackets when it was asked for and when it was answered, in milliseconds;
//! two events in one millisecond are concurrent. It is what `Display` writes.

use crate::history::bank::{self, Account};
use crate::history::list::{self, Value};
use crate::history::{ClientId, History, Moment, Outcome, Transaction};

/// Operations that can be written in one line.
pub(super) trait Notation: Sized {
    /// Reads one.
    fn read(text: &str) -> Option<Self>;
}

impl Notation for list::Operation {
    fn read(text: &str) -> Option<Self> {
        let (verb, rest) = text.split_once(' ')?;
        let (key, what) = rest.split_once(' ')?;
        match verb {
            "append" => Some(Self::Append {
                key: key.into(),
                value: Value(what.parse().ok()?),
            }),
            "read" if what == "?" => Some(Self::Read {
                key: key.into(),
                values: None,
            }),
            "read" => {
                let inside = what.strip_prefix('[')?.strip_suffix(']')?;
                let values = inside.split_whitespace().map(|v| v.parse().map(Value));
                Some(Self::Read {
                    key: key.into(),
                    values: Some(values.collect::<Result<_, _>>().ok()?),
                })
            }
            _ => None,
        }
    }
}

impl Notation for bank::Operation {
    fn read(text: &str) -> Option<Self> {
        let (verb, rest) = text.split_once(' ')?;
        match verb {
            "transfer" => {
                let mut words = rest.split(' ');
                Some(Self::Transfer {
                    from: words.next()?.into(),
                    to: words.next()?.into(),
                    amount_minor: words.next()?.parse().ok()?,
                })
            }
            "read" if rest == "?" => Some(Self::ReadAll { balances: None }),
            "read" => {
                let balances = rest.split(' ').map(|pair| {
                    let (account, balance) = pair.split_once('=')?;
                    Some((Account::from(account), balance.parse().ok()?))
                });
                Some(Self::ReadAll {
                    balances: Some(balances.collect::<Option<_>>()?),
                })
            }
            _ => None,
        }
    }
}

fn moment(text: &str) -> Option<Moment> {
    Some(Moment {
        at_ms: text.parse().ok()?,
        number: 0,
    })
}

fn transaction<O: Notation>(line: &str) -> Option<(&str, Transaction<O>)> {
    let (label, rest) = line.split_once(" [")?;
    let (interval, rest) = rest.split_once("] ")?;
    let (invoked, completed) = interval.split_once("..")?;
    let (operations, outcome) = rest.rsplit_once(" : ")?;
    let outcome = match (outcome, moment(completed)) {
        ("ok", Some(completed)) => Outcome::Committed { completed },
        ("aborted", Some(completed)) => Outcome::Aborted { completed },
        ("unknown", None) => Outcome::Unknown,
        _ => return None,
    };
    let transaction = Transaction {
        id: None,
        client: ClientId(0),
        invoked: moment(invoked)?,
        operations: operations
            .split(" ; ")
            .map(O::read)
            .collect::<Option<_>>()?,
        outcome,
    };
    Some((label, transaction))
}

/// Reads a history; empty lines and those that begin with `#` are skipped.
pub(super) fn history<O: Notation>(text: &str) -> History<O> {
    let mut history = History::new();
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((label, transaction)) = transaction(line) else {
            panic!("cannot read {line:?}");
        };
        let number = history.push(transaction);
        assert_eq!(label, number.to_string(), "in {line:?}");
    }
    history
}

/// Writes a history so that [`history`] reads it back.
pub(super) fn text<O: std::fmt::Display>(history: &History<O>) -> String {
    let lines = history.transactions();
    lines.map(|(number, t)| format!("{number} {t}\n")).collect()
}
