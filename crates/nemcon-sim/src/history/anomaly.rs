//! What can be wrong with a history, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::list::{Key, Operation, Value, Whole};
use super::{Moment, Number, Transaction};

/// A list in a story is shortened beyond this; the transactions show it whole.
const VALUES_SHOWN_MAX: usize = 12;

/// Why a history is not strictly serializable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// Not a history that can be judged: a mistake of whoever recorded it.
    Malformed(Malformed),
    /// A read that no order of transactions explains.
    Read {
        /// Who read.
        reader: Number,
        /// Which list.
        key: Key,
        /// What it held.
        read: Vec<Value>,
        /// What is wrong with that.
        flaw: Flaw,
    },
    /// Transactions that are before themselves.
    Cycle(Cycle),
}

/// What is wrong with one read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It holds a value that nobody appended to that key.
    NeverAppended {
        /// The value from nowhere.
        value: Value,
    },
    /// G1a: it holds a value whose writer was told "aborted".
    Aborted {
        /// The value that should not be there.
        value: Value,
        /// Who appended it.
        writer: Number,
    },
    /// G1b: it ends amid the appends of one transaction.
    Intermediate {
        /// The last value read.
        value: Value,
        /// Who appended it.
        writer: Number,
        /// What that one appended next.
        after: Value,
    },
    /// It holds a value twice: an append was done twice.
    Duplicate {
        /// The value.
        value: Value,
        /// Who appended it.
        writer: Number,
    },
    /// It holds appends of one transaction in another order, or with one left out.
    OutOfOrder {
        /// Who appended both.
        writer: Number,
        /// What it appended first, which is not before the second.
        first: Value,
        /// What it appended second.
        second: Value,
    },
    /// It does not end with what the reader itself had appended.
    OwnUnseen {
        /// What the reader had appended.
        appended: Vec<Value>,
    },
    /// It holds a value that the reader appended only afterwards.
    BeforeAppended {
        /// The value.
        value: Value,
    },
    /// The same transaction had found something else before.
    Unrepeatable {
        /// What it had found, its own appends left out.
        before: Vec<Value>,
    },
    /// Another read the key too, and neither list is the beginning of the other.
    Incompatible {
        /// Who.
        other: Number,
        /// What it read.
        other_read: Vec<Value>,
    },
}

/// A history that no system could have made, however wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Values are unique per key, or it is not known who wrote.
    AppendedTwice {
        /// To which list.
        key: Key,
        /// What.
        value: Value,
        /// By whom.
        first: Number,
        /// And by whom again (perhaps the same).
        second: Number,
    },
    /// The answer comes after the question.
    AnsweredBeforeAsked {
        /// Which.
        transaction: Number,
    },
}

/// Transactions each of which must be before the next, and the last before the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// The dependencies, in order; the last leads back to the first.
    pub steps: Vec<Step>,
    /// The transactions they speak of.
    pub transactions: BTreeMap<Number, Transaction<Operation>>,
}

/// One dependency of a cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who must be before.
    pub from: Number,
    /// Before whom.
    pub to: Number,
    /// Why.
    pub because: Dependency,
}

/// Why one transaction must be before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dependency {
    /// ww: its append is right before one of the other.
    Overwritten {
        /// In which list.
        key: Key,
        /// Its append.
        value: Value,
        /// The other's.
        by: Value,
    },
    /// wr: its append was read by the other.
    Read {
        /// In which list.
        key: Key,
        /// Which append.
        value: Value,
    },
    /// rw: it read a list to which the other's append came next.
    Missed {
        /// Which list.
        key: Key,
        /// What it read.
        read: Vec<Value>,
        /// What the other appended.
        value: Value,
    },
    /// It had been answered when the other was asked for.
    RealTime {
        /// When it was answered.
        completed: Moment,
        /// When the other was asked for.
        invoked: Moment,
    },
}

/// The classes of cycles by Adya, with "G-single" by Jepsen, gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Writes alone: two transactions each overwrote the other.
    G0,
    /// Writes and reads of them: information flows in a circle.
    G1c,
    /// One read missed a write: read skew, lost update, a stale read.
    GSingle,
    /// Several reads missed writes: write skew.
    G2,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::G0 => "G0",
            Self::G1c => "G1c",
            Self::GSingle => "G-single",
            Self::G2 => "G2",
        })
    }
}

impl Cycle {
    /// Which anomaly it is, real time aside.
    #[must_use]
    pub fn class(&self) -> Class {
        let count = |is: fn(&Dependency) -> bool| {
            let steps = self.steps.iter();
            steps.filter(|step| is(&step.because)).count()
        };
        let missed = count(|because| matches!(because, Dependency::Missed { .. }));
        match missed {
            0 if count(|because| matches!(because, Dependency::Read { .. })) == 0 => Class::G0,
            0 => Class::G1c,
            1 => Class::GSingle,
            _ => Class::G2,
        }
    }

    /// Whether it needs real time: without, the history may be serializable.
    #[must_use]
    pub fn needs_real_time(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(step.because, Dependency::RealTime { .. }))
    }
}

impl From<Malformed> for Anomaly {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Cycle> for Anomaly {
    fn from(cycle: Cycle) -> Self {
        Self::Cycle(cycle)
    }
}

impl std::error::Error for Anomaly {}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => write!(f, "a history that cannot be judged: {malformed}"),
            Self::Read {
                reader,
                key,
                read,
                flaw,
            } => write!(
                f,
                "I8 (strict serializability): {reader} read {} of key {key}, {flaw}",
                Short(read)
            ),
            Self::Cycle(cycle) => write!(f, "I8 (strict serializability): {cycle}"),
        }
    }
}

/// Goes on where "T1 read [1 2] of key x," left off.
impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverAppended { value } => write!(f, "but nobody appended {value} to it"),
            Self::Aborted { value, writer } => write!(
                f,
                "but {writer}, which appended {value}, was told it had aborted (G1a)"
            ),
            Self::Intermediate {
                value,
                writer,
                after,
            } => write!(
                f,
                "but {writer}, which appended {value}, appended {after} right after it (G1b)"
            ),
            Self::Duplicate { value, writer } => {
                write!(f, "but {writer} appended {value} only once")
            }
            Self::OutOfOrder {
                writer,
                first,
                second,
            } => write!(f, "but {writer} appended {first} before {second}"),
            Self::OwnUnseen { appended } => write!(
                f,
                "which does not end with what it had appended itself, {}",
                Short(appended)
            ),
            Self::BeforeAppended { value } => {
                write!(f, "but it appended {value} itself, and only afterwards")
            }
            Self::Unrepeatable { before } => write!(
                f,
                "but had found {} in it before, its own appends left out",
                Short(before)
            ),
            Self::Incompatible { other, other_read } => write!(
                f,
                "and {other} read {}; neither is the beginning of the other",
                Short(other_read)
            ),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AppendedTwice {
                key,
                value,
                first,
                second,
            } => write!(
                f,
                "{value} is appended to key {key} by {first} and again by {second}; values must be unique per key"
            ),
            Self::AnsweredBeforeAsked { transaction } => {
                write!(f, "{transaction} was answered before it was asked for")
            }
        }
    }
}

/// The story: a line for each dependency, then the transactions as they were.
impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let real_time = if self.needs_real_time() {
            "-realtime"
        } else {
            ""
        };
        let members: BTreeSet<Number> = self.steps.iter().map(|step| step.from).collect();
        writeln!(
            f,
            "{}{real_time}: each of {} transactions must be before the next, and the last before the first",
            self.class(),
            members.len()
        )?;
        for (n, step) in self.steps.iter().enumerate() {
            let last = n + 1 == self.steps.len();
            writeln!(
                f,
                "  {}{step}{}",
                if last { "yet " } else { "" },
                if last { "." } else { "," }
            )?;
        }
        for (number, transaction) in &self.transactions {
            write!(f, "  {number} {transaction}")?;
            match transaction.id {
                Some(id) => writeln!(f, " (client {}, transaction {id})", transaction.client.0)?,
                None => writeln!(f, " (client {})", transaction.client.0)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, because } = self;
        match because {
            Dependency::Overwritten { key, value, by } => write!(
                f,
                "{from} appended {value} to key {key} before {to} appended {by}"
            ),
            Dependency::Read { key, value } => {
                write!(f, "{to} read {value} of key {key}, which {from} appended")
            }
            Dependency::Missed { key, read, value } => write!(
                f,
                "{from} read {} of key {key}, without {value}, which {to} appended next",
                Short(read)
            ),
            Dependency::RealTime { completed, invoked } => write!(
                f,
                "{from} had finished (at {} ms) before {to} began (at {} ms)",
                completed.at_ms, invoked.at_ms
            ),
        }
    }
}

/// The beginning and the end of a long list.
struct Short<'a>(&'a [Value]);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(left_out) = self
            .0
            .len()
            .checked_sub(VALUES_SHOWN_MAX)
            .filter(|n| *n > 0)
        else {
            return Whole(self.0).fmt(f);
        };
        f.write_str("[")?;
        for value in &self.0[..3] {
            write!(f, "{value} ")?;
        }
        write!(f, "({left_out} more)")?;
        for value in &self.0[left_out + 3..] {
            write!(f, " {value}")?;
        }
        f.write_str("]")
    }
}
