//! What clients saw, and whether one order of all transactions explains it.
//!
//! A [`History`] holds nothing but what clients know: what each asked for, when
//! it asked, when it was answered, and the answer. The checkers take no word of a
//! node for anything, so what they find wrong is wrong for the users as well.
//!
//! ```text
//!  clients ──▶ History ──▶ versions      which values a key had, one after another
//!                            │           (or an error that needs no cycle)
//!                            ▼
//!                          dependencies  who must be before whom, and why
//!                            │
//!                            ▼
//!                          graph ──────▶ a shortest cycle, or none: I8 holds
//! ```
//!
//! # Lists: what is checked, and why it is exact
//!
//! Clients append to lists and read them whole, and each value is appended to a
//! key only once. So a read shows the order of all writes before it, and "who
//! wrote what when" need not be guessed (the idea is Elle's: Kingsbury and
//! Alvaro, *Elle: inferring isolation anomalies from experimental observations*,
//! VLDB 2020). From the reads follow edges "must be before":
//!
//! - *ww*: it appended right before the other;
//! - *wr*: the other read its append;
//! - *rw*: it read a list to which the other's append is next;
//! - *real time*: it was answered before the other was asked for.
//!
//! An append that nobody has read is after all that were read, since lists keep
//! everything. With that, every order that respects the edges is a serial
//! execution which gives these very answers: the history is strictly
//! serializable exactly if there is no cycle. A test holds the checker against
//! one that tries all orders.
//!
//! **Unknown is not aborted.** A transaction that was never answered may have
//! happened at any time after it was asked for, or not at all. It counts as
//! committed once a committed one has read its append, and is then before nobody
//! in real time; otherwise it is left out, which is always allowed.
//!
//! What is *not* checked: what an aborted transaction read on its way, and
//! whether an abort was called for.
//!
//! # The bank
//!
//! See [`bank`]: there values are not unique, so the check is weaker, and says
//! where it gives up.
//!
//! # Cost
//!
//! For *n* transactions there are O(*n*) edges, real time included (a chain of
//! barriers, one per answer, stands for the *n*² pairs), and the search for a
//! cycle is linear. Only a history that fails pays for its witness, and not more
//! than a fixed amount of work. Measured on one busy core of a virtual machine:
//! 10,000 transactions over 100 keys, 30,000 operations, take 66 ms, and 97 ms
//! with a stale read to be found and told. It is repeated by
//!
//! ```text
//! cargo test -p nemcon-sim --release --lib history::tests::speed -- --nocapture
//! ```

mod anomaly;
pub mod bank;
mod dependencies;
mod graph;
pub mod list;
mod versions;

#[cfg(test)]
mod tests;

use std::fmt;

use nemcon_core::id::TransactionId;

pub use self::anomaly::{Anomaly, Class, Cycle, Dependency, Flaw, Malformed, Step};

/// A point in simulated time, as the one world clock has it (never a node's).
///
/// Many things happen in one millisecond, so a running number orders them. Two
/// equal moments order nothing: what happens at both counts as concurrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Simulated milliseconds since the start of the run.
    pub at_ms: u64,
    /// Which event of the history this is.
    pub number: u64,
}

/// A client, which waits for one answer before it asks for the next thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub u32);

/// A transaction of a history: the first is `T1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(u32);

impl Number {
    fn of_index(index: usize) -> Self {
        Self(u32::try_from(index + 1).unwrap_or(u32::MAX))
    }

    fn index(self) -> usize {
        (self.0 as usize).saturating_sub(1)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}", self.0)
    }
}

/// What the client knows of how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told "committed".
    Committed {
        /// When.
        completed: Moment,
    },
    /// It was told "aborted": no effect of it may ever be seen.
    Aborted {
        /// When.
        completed: Moment,
    },
    /// It was told nothing (yet): a time-out, a lost answer, a client that died.
    Unknown,
}

impl Outcome {
    /// When the client was answered, if it was.
    #[must_use]
    pub const fn completed(self) -> Option<Moment> {
        match self {
            Self::Committed { completed } | Self::Aborted { completed } => Some(completed),
            Self::Unknown => None,
        }
    }
}

/// One transaction as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction<O> {
    /// Its id, if it had one, to find it in the logs of the nodes.
    pub id: Option<TransactionId>,
    /// Who asked.
    pub client: ClientId,
    /// When the client first asked for anything in it.
    pub invoked: Moment,
    /// What was asked for, in order, with the results that came back.
    pub operations: Vec<O>,
    /// How it ended.
    pub outcome: Outcome,
}

/// A line that the parser of the tests reads back, so that a failure can be
/// pasted into a test: `T1 [0..5] append x 1 ; read y [] : ok`.
impl<O: fmt::Display> fmt::Display for Transaction<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}..", self.invoked.at_ms)?;
        if let Some(completed) = self.outcome.completed() {
            write!(f, "{}", completed.at_ms)?;
        }
        f.write_str("]")?;
        for (n, operation) in self.operations.iter().enumerate() {
            write!(f, "{}{operation}", if n == 0 { " " } else { " ; " })?;
        }
        f.write_str(match self.outcome {
            Outcome::Committed { .. } => " : ok",
            Outcome::Aborted { .. } => " : aborted",
            Outcome::Unknown => " : unknown",
        })
    }
}

/// Everything that clients saw in one run, with operations of one kind:
/// [`list::Operation`], which can be checked exactly, or [`bank::Operation`].
///
/// ```
/// use nemcon_sim::history::{ClientId, History, list};
///
/// let mut history: History = History::new();
/// let append = list::Operation::Append { key: "x".into(), value: list::Value(1) };
/// let writer = history.invoked(ClientId(1), None, 0, vec![append]);
/// history.committed(writer, 5)?;
///
/// let stale = list::Operation::Read { key: "x".into(), values: Some(vec![]) };
/// let reader = history.invoked(ClientId(2), None, 6, vec![stale]);
/// history.committed(reader, 8)?;
///
/// let anomaly = history.check_strict_serializability().expect_err("a stale read");
/// assert!(anomaly.to_string().contains("T2 read [] of key x"));
/// assert!(history.check_serializability().is_ok());
/// # Ok::<(), nemcon_sim::history::RecordingError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<O = list::Operation> {
    transactions: Vec<Transaction<O>>,
    moments: u64,
}

impl<O> Default for History<O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O> History<O> {
    /// Nothing has happened yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            transactions: Vec::new(),
            moments: 0,
        }
    }

    fn moment(&mut self, at_ms: u64) -> Moment {
        self.moments += 1;
        Moment {
            at_ms,
            number: self.moments,
        }
    }

    /// A client asks. Until [`committed`](Self::committed) or
    /// [`aborted`](Self::aborted) is called the outcome is unknown. Calls are
    /// made in the order in which things happen.
    pub fn invoked(
        &mut self,
        client: ClientId,
        id: Option<TransactionId>,
        at_ms: u64,
        operations: Vec<O>,
    ) -> Number {
        let invoked = self.moment(at_ms);
        self.push(Transaction {
            id,
            client,
            invoked,
            operations,
            outcome: Outcome::Unknown,
        })
    }

    /// Takes a transaction whole, moments included.
    pub fn push(&mut self, transaction: Transaction<O>) -> Number {
        self.transactions.push(transaction);
        Number::of_index(self.transactions.len() - 1)
    }

    /// What was asked for, to fill in results that have come back or to add to
    /// an interactive transaction.
    ///
    /// # Errors
    /// No such transaction.
    pub fn operations_mut(&mut self, of: Number) -> Result<&mut Vec<O>, RecordingError> {
        self.transactions
            .get_mut(of.index())
            .map(|transaction| &mut transaction.operations)
            .ok_or(RecordingError::NoSuchTransaction(of))
    }

    /// The client is told "committed"; results have been filled in.
    ///
    /// # Errors
    /// No such transaction, or it was answered before: a second answer that
    /// differs is a matter for I3, and one that agrees says nothing new.
    pub fn committed(&mut self, which: Number, at_ms: u64) -> Result<(), RecordingError> {
        let completed = self.moment(at_ms);
        self.answered(which, Outcome::Committed { completed })
    }

    /// The client is told "aborted".
    ///
    /// # Errors
    /// As for [`committed`](Self::committed).
    pub fn aborted(&mut self, which: Number, at_ms: u64) -> Result<(), RecordingError> {
        let completed = self.moment(at_ms);
        self.answered(which, Outcome::Aborted { completed })
    }

    fn answered(&mut self, which: Number, outcome: Outcome) -> Result<(), RecordingError> {
        let transaction = self
            .transactions
            .get_mut(which.index())
            .ok_or(RecordingError::NoSuchTransaction(which))?;
        if transaction.outcome != Outcome::Unknown {
            return Err(RecordingError::AnsweredBefore(which));
        }
        transaction.outcome = outcome;
        Ok(())
    }

    /// All transactions in the order in which they were recorded.
    pub fn transactions(&self) -> impl ExactSizeIterator<Item = (Number, &Transaction<O>)> {
        self.transactions
            .iter()
            .enumerate()
            .map(|(index, transaction)| (Number::of_index(index), transaction))
    }

    /// One transaction.
    #[must_use]
    pub fn transaction(&self, which: Number) -> Option<&Transaction<O>> {
        self.transactions.get(which.index())
    }

    /// The first transaction that was answered before it was asked for.
    fn answered_too_early(&self) -> Option<Number> {
        self.transactions()
            .find(|(_, transaction)| {
                let completed = transaction.outcome.completed();
                completed.is_some_and(|completed| completed < transaction.invoked)
            })
            .map(|(number, _)| number)
    }
}

/// A call that does not fit what was recorded before: a mistake of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingError {
    /// The number is of another history.
    NoSuchTransaction(Number),
    /// A transaction has one answer.
    AnsweredBefore(Number),
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchTransaction(number) => write!(f, "this history has no {number}"),
            Self::AnsweredBefore(number) => write!(f, "{number} has been answered before"),
        }
    }
}

impl std::error::Error for RecordingError {}
