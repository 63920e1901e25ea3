//! What is to be measured.

use crate::error::BenchError;
use crate::load::{Load, Spans};
use crate::population::Skew;
use crate::submit::Transport;

/// Fewest accounts or customers at a bank: two of them are hot then.
pub const ACCOUNTS_MIN: u32 = 50;

/// Most accounts or customers at a bank: opening them takes a minute, and the bank
/// keeps all of them in memory.
pub const ACCOUNTS_MAX: u32 = 1_000_000;

/// Fewest and most participants of an empty transaction or a read.
pub const PARTICIPANTS_MIN: u8 = 1;
/// More processes than this on one machine measure its scheduler.
pub const PARTICIPANTS_MAX: u8 = 16;

/// Most rounds.
pub const ROUNDS_MAX: u16 = 100;

/// Longest warm-up and longest window, in seconds: an hour.
pub const SECONDS_MAX: u32 = 3_600;

/// Most rows: so many a person can still read.
pub const ROWS_MAX: usize = 64;

/// Which transactions are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    /// A payment from an account at one bank to one at another.
    Transfer,
    /// The six transactions of the research benchmark of that name.
    SmallBank,
    /// Both phases with forced records, and no data changed.
    Empty,
    /// Reads one account at each participant; nothing is forced.
    Read,
    /// One job in three steps at as many banks, as a saga or as one transaction.
    Trip,
}

impl WorkloadKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::SmallBank => "smallbank",
            Self::Empty => "empty",
            Self::Read => "read",
            Self::Trip => "trip",
        }
    }

    /// Whether it can be told as what it is run.
    #[must_use]
    pub const fn takes_manners(self) -> bool {
        matches!(self, Self::Trip)
    }

    /// Whether it can be told how many participants a transaction has. The others
    /// have it in their definition.
    #[must_use]
    pub const fn takes_participants(self) -> bool {
        matches!(self, Self::Empty | Self::Read)
    }
}

/// As what a job is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// All of it at once, in one transaction.
    Transaction,
    /// Step by step, each a transaction of its own.
    Saga,
}

impl Manner {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Saga => "saga",
        }
    }
}

/// A bench: what, how hard, how long, how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which transactions.
    pub workload: WorkloadKind,
    /// A row for each of these …
    pub loads: Vec<Load>,
    /// … by each of these ways …
    pub transports: Vec<Transport>,
    /// … with each of these numbers of participants; empty where the workload has
    /// its own.
    pub participants: Vec<u8>,
    /// … as each of these; empty where the workload is one thing only.
    pub manners: Vec<Manner>,
    /// How accounts are chosen.
    pub skew: Skew,
    /// Accounts or customers at each bank.
    pub accounts: u32,
    /// How long.
    pub spans: Spans,
    /// How often all rows are measured.
    pub rounds: u16,
    /// What chance begins with.
    pub seed: u64,
}

/// One row: a load, the way it comes by, and how many participants and as what if that
/// can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowPlan {
    pub(crate) load: Load,
    pub(crate) transport: Transport,
    pub(crate) participants: Option<u8>,
    pub(crate) manner: Option<Manner>,
}

impl Plan {
    /// How many banks it needs at least.
    #[must_use]
    pub fn banks_min(&self) -> usize {
        let largest = self.participants.iter().max().copied();
        match self.workload {
            WorkloadKind::Transfer => 2,
            WorkloadKind::SmallBank => 1,
            WorkloadKind::Trip => 3,
            WorkloadKind::Empty | WorkloadKind::Read => usize::from(largest.unwrap_or(1)),
        }
    }

    /// How long all of it is measured for, warm-ups included.
    #[must_use]
    pub fn duration(&self) -> std::time::Duration {
        let rows = u32::try_from(self.rows().len()).unwrap_or(u32::MAX);
        let Spans { warm_up, measured } = self.spans;
        (warm_up + measured) * rows.saturating_mul(u32::from(self.rounds))
    }

    /// Each load by each way.
    fn ways(&self) -> impl Iterator<Item = (Transport, Load)> {
        let by = |transport| self.loads.iter().map(move |load| (transport, *load));
        self.transports.iter().copied().flat_map(by)
    }

    /// All rows, in their order.
    pub(crate) fn rows(&self) -> Vec<RowPlan> {
        let counts = choices(&self.participants);
        let manners = choices(&self.manners);
        let mut rows = Vec::new();
        for participants in counts {
            for (transport, load) in self.ways() {
                // Side by side, so that what else the machine does hits them alike.
                rows.extend(manners.iter().map(|manner| RowPlan {
                    load,
                    transport,
                    participants,
                    manner: *manner,
                }));
            }
        }
        rows
    }

    /// Checks what a command line cannot.
    pub(crate) fn check(&self, banks: usize) -> Result<(), BenchError> {
        let rows = self.rows().len();
        if !(1..=ROWS_MAX).contains(&rows) {
            let why = format!("the plan has {rows} rows; want 1 to {ROWS_MAX}");
            return Err(BenchError::Plan(why));
        }
        if !self.workload.takes_participants() && !self.participants.is_empty() {
            let word = self.workload.as_str();
            let why = format!(
                "how many participants a transaction of {word} has is part of its definition; \
                 only empty and read can be told"
            );
            return Err(BenchError::Plan(why));
        }
        if !self.workload.takes_manners() && !self.manners.is_empty() {
            let word = self.workload.as_str();
            let why = format!("{word} is run as what it is; only trip can be told as what");
            return Err(BenchError::Plan(why));
        }
        if banks < self.banks_min() {
            let (word, min) = (self.workload.as_str(), self.banks_min());
            let why = format!("{word} needs at least {min} banks, and there are {banks}");
            return Err(BenchError::Plan(why));
        }
        Ok(())
    }
}

/// Each of them, or that there is no choice.
fn choices<T: Copy>(of: &[T]) -> Vec<Option<T>> {
    match of {
        [] => vec![None],
        some => some.iter().copied().map(Some).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn plan(workload: WorkloadKind, participants: &[u8]) -> Plan {
        Plan {
            workload,
            loads: vec![Load::InFlight(1), Load::InFlight(16)],
            transports: vec![Transport::Unary],
            participants: participants.to_vec(),
            manners: vec![],
            skew: Skew::Uniform,
            accounts: 100,
            spans: Spans {
                warm_up: Duration::from_secs(1),
                measured: Duration::from_secs(4),
            },
            rounds: 3,
            seed: 1,
        }
    }

    #[test]
    fn a_row_for_each_load_and_each_number_of_participants() {
        let empty = plan(WorkloadKind::Empty, &[2, 5]);
        let rows = empty.rows();
        assert_eq!(rows.len(), 4);
        let both = Plan {
            transports: vec![Transport::Unary, Transport::Stream],
            ..empty.clone()
        };
        let ways: Vec<_> = both
            .rows()
            .iter()
            .map(|row| row.transport.as_str())
            .collect();
        let in_turn = ["unary", "unary", "stream", "stream"];
        assert_eq!(ways, [in_turn, in_turn].concat());
        assert_eq!(
            (rows[1].load, rows[1].participants),
            (Load::InFlight(16), Some(2))
        );
        assert_eq!(empty.banks_min(), 5);
        assert_eq!(empty.duration(), Duration::from_secs(4 * 3 * 5));
        assert_eq!(plan(WorkloadKind::Transfer, &[]).rows().len(), 2);
    }

    #[test]
    fn saga_and_transaction_stand_side_by_side() {
        let mut trip = plan(WorkloadKind::Trip, &[]);
        trip.manners = vec![Manner::Saga, Manner::Transaction];
        let rows: Vec<_> = trip
            .rows()
            .iter()
            .map(|row| (row.load, row.manner))
            .collect();
        let both = |load| {
            [
                (load, Some(Manner::Saga)),
                (load, Some(Manner::Transaction)),
            ]
        };
        let want = [both(Load::InFlight(1)), both(Load::InFlight(16))].concat();
        assert_eq!(rows, want);
        assert!(trip.check(3).is_ok());
        let few = trip.check(2).unwrap_err().to_string();
        assert_eq!(few, "trip needs at least 3 banks, and there are 2");
        trip.workload = WorkloadKind::Transfer;
        let why = trip.check(3).unwrap_err().to_string();
        assert!(why.contains("only trip can be told"), "{why}");
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let why = |plan: Plan, banks| plan.check(banks).unwrap_err().to_string();
        let few = why(plan(WorkloadKind::Transfer, &[]), 1);
        assert_eq!(few, "transfer needs at least 2 banks, and there are 1");
        let many = why(plan(WorkloadKind::SmallBank, &[2]), 2);
        assert!(many.contains("only empty and read"), "{many}");
        let rows = why(plan(WorkloadKind::Read, &[1; 40]), 2);
        assert!(rows.contains("80 rows; want 1 to 64"), "{rows}");
        assert!(plan(WorkloadKind::Empty, &[2, 3]).check(3).is_ok());
    }
}
