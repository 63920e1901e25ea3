//! Lists: operations whose results tell who wrote when.

use std::fmt;

use super::versions::Versions;
use super::{Anomaly, History, Malformed, dependencies, graph};

/// The name of a list, unique in the whole system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub String);

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An element. A value is appended to one key at most once in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(pub u64);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a client asks of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Puts a value at the end. A list that does not exist is empty.
    Append {
        /// To which list.
        key: Key,
        /// What.
        value: Value,
    },
    /// Reads the whole list.
    Read {
        /// Which list.
        key: Key,
        /// What it held, oldest first; `None` if the client has not heard: it
        /// was not answered, or the results of a committed transaction were lost.
        values: Option<Vec<Value>>,
    },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append { key, value } => write!(f, "append {key} {value}"),
            Self::Read { key, values: None } => write!(f, "read {key} ?"),
            Self::Read {
                key,
                values: Some(values),
            } => write!(f, "read {key} {}", Whole(values)),
        }
    }
}

/// All values of a list: `[1 2 3]`.
pub(super) struct Whole<'a>(pub(super) &'a [Value]);

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (n, value) in self.0.iter().enumerate() {
            write!(f, "{}{value}", if n == 0 { "" } else { " " })?;
        }
        f.write_str("]")
    }
}

impl History<Operation> {
    /// I8 (strict serializability): there is one order of all transactions that
    /// committed, which respects real time, and in which each read what those
    /// before it had written.
    ///
    /// # Errors
    /// What rules such an order out. A plain error is reported before a cycle,
    /// and of cycles the gravest: one that needs no real time before one that
    /// does, then G0 before G1c before G-single before G2.
    pub fn check_strict_serializability(&self) -> Result<(), Anomaly> {
        self.check(true)
    }

    /// As [`check_strict_serializability`](Self::check_strict_serializability),
    /// for any order, whatever the time.
    ///
    /// # Errors
    /// What rules such an order out.
    pub fn check_serializability(&self) -> Result<(), Anomaly> {
        self.check(false)
    }

    fn check(&self, real_time: bool) -> Result<(), Anomaly> {
        if let Some(transaction) = self.answered_too_early() {
            return Err(Malformed::AnsweredBeforeAsked { transaction }.into());
        }
        let versions = Versions::infer(self)?;
        let graph = dependencies::graph(self, &versions, real_time);
        match graph::worst_cycle(&graph) {
            None => Ok(()),
            Some(hops) => Err(dependencies::explain(self, &versions, &hops).into()),
        }
    }
}
