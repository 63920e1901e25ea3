//! The transactions that are run.
//!
//! Each kind is one-shot where it can be: one call, and the participants' own rules
//! say no. Where what is read decides what is written, it is interactive.

mod empty;
mod read;
mod smallbank;
mod transfer;
mod trip;

use std::sync::Arc;

use nemcon_client::{AddressedOperation, ClientError, Transaction, operation};
use nemcon_core::id::ParticipantName;
use nemcon_proto::bank::v1;

use crate::accounts::{CHECKING, NewAccounts, PLAIN, SAVINGS, Stock};
use crate::chance::Chance;
use crate::fate::{Fate, Try};
use crate::load::Subject;
use crate::plan::{Manner, RowPlan, WorkloadKind};
use crate::population::{Customer, Population};
use crate::submit::Submitter;

/// The currency of all accounts: the code that ISO 4217 keeps for tests. So nobody
/// takes what a bench moves for money.
pub(crate) const CURRENCY: &str = "XTS";

/// What all workloads have: whom they choose, and how they reach them.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub(crate) population: Population,
    pub(crate) banks: Arc<[ParticipantName]>,
    pub(crate) submitter: Submitter,
}

impl Ground {
    fn bank(&self, customer: Customer) -> &ParticipantName {
        &self.banks[customer.bank]
    }

    /// Runs a one-shot transaction.
    async fn one_shot(
        &self,
        operations: impl IntoIterator<Item = AddressedOperation>,
    ) -> Result<Fate, ClientError> {
        let transaction = Transaction::new(operations);
        Fate::of(self.submitter.run(&transaction).await)
    }

    /// Takes money from a customer's account of this kind.
    fn withdraw(
        &self,
        from: Customer,
        stock: Stock,
        amount_minor: i64,
        contra: v1::Contra,
    ) -> AddressedOperation {
        let action = v1::Withdraw {
            account: stock.name(from.number),
            amount_minor,
            currency: CURRENCY.into(),
            reference: String::new(),
            contra: contra.into(),
        };
        operation(self.bank(from), &action, false)
    }

    /// Puts money on it.
    fn deposit(
        &self,
        to: Customer,
        stock: Stock,
        amount_minor: i64,
        contra: v1::Contra,
    ) -> AddressedOperation {
        let action = v1::Deposit {
            account: stock.name(to.number),
            amount_minor,
            currency: CURRENCY.into(),
            reference: String::new(),
            contra: contra.into(),
        };
        operation(self.bank(to), &action, false)
    }

    /// Reads it. Without the mark the participant makes a promise as if it wrote.
    fn read(&self, whose: Customer, stock: Stock, marked: bool) -> AddressedOperation {
        let account = stock.name(whose.number);
        operation(self.bank(whose), &v1::Read { account }, marked)
    }
}

/// One of the workloads.
#[derive(Clone, Debug)]
pub(crate) enum Workload {
    Transfer(Ground),
    SmallBank(Ground),
    Empty(Ground, usize),
    Read(Ground, usize),
    Trip(Ground, Manner),
}

impl Workload {
    /// The workload of a row.
    pub(crate) fn new(kind: WorkloadKind, ground: Ground, row: &RowPlan) -> Self {
        let participants = usize::from(row.participants.unwrap_or(1));
        match kind {
            WorkloadKind::Transfer => Self::Transfer(ground),
            WorkloadKind::SmallBank => Self::SmallBank(ground),
            WorkloadKind::Empty => Self::Empty(ground, participants),
            WorkloadKind::Read => Self::Read(ground, participants),
            WorkloadKind::Trip => Self::Trip(ground, row.manner.unwrap_or(Manner::Transaction)),
        }
    }
}

impl Subject for Workload {
    type Error = ClientError;

    async fn attempt(&self, chance: &mut Chance) -> Result<Try, ClientError> {
        match self {
            Self::Transfer(ground) => transfer::attempt(ground, chance).await,
            // Large ones have a place of their own.
            Self::SmallBank(ground) => Box::pin(smallbank::attempt(ground, chance)).await,
            Self::Empty(ground, count) => empty::attempt(ground, *count, chance).await,
            Self::Read(ground, count) => read::attempt(ground, *count, chance).await,
            Self::Trip(ground, manner) => Box::pin(trip::attempt(ground, *manner, chance)).await,
        }
    }
}

/// The accounts that a workload needs at each bank.
pub(crate) fn accounts(kind: WorkloadKind) -> &'static [NewAccounts] {
    match kind {
        WorkloadKind::Transfer | WorkloadKind::Empty | WorkloadKind::Read | WorkloadKind::Trip => {
            &[NewAccounts {
                stock: PLAIN,
                // A million: nobody runs dry in an hour.
                opening_minor: (100_000_000, 100_000_000),
                minimum_minor: 0,
            }]
        }
        WorkloadKind::SmallBank => &[
            NewAccounts {
                stock: SAVINGS,
                opening_minor: smallbank::OPENING_MINOR,
                minimum_minor: 0,
            },
            NewAccounts {
                stock: CHECKING,
                opening_minor: smallbank::OPENING_MINOR,
                // A check is paid, and fined, though it is not covered.
                minimum_minor: smallbank::OVERDRAFT_MINOR,
            },
        ],
    }
}
