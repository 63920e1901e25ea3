//! Accounts and payments, as the tests write them down.

use nemcon_client::{NewAccount, Transaction, new_transaction_id, operation};
use nemcon_core::id::TransactionId;
use nemcon_proto::bank::v1::{Contra, Deposit, Withdraw};
use nemcon_proto::v1;

use crate::cluster::{Cluster, name};

pub(crate) const CURRENCY: &str = "CZK";

pub(crate) fn withdraw(account: &str, amount_minor: i64) -> Withdraw {
    Withdraw {
        account: account.into(),
        amount_minor,
        currency: CURRENCY.into(),
        reference: String::new(),
        contra: Contra::Clearing.into(),
    }
}

pub(crate) fn deposit(account: &str, amount_minor: i64) -> Deposit {
    Deposit {
        account: account.into(),
        amount_minor,
        currency: CURRENCY.into(),
        reference: String::new(),
        contra: Contra::Clearing.into(),
    }
}

/// Takes `BANK/ACCOUNT` apart.
fn parts(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap()
}

/// A payment from `BANK/ACCOUNT` to `BANK/ACCOUNT`, under a new id.
pub(crate) fn payment(from: &str, to: &str, amount_minor: i64) -> Transaction {
    let ((bank, payer), (other, payee)) = (parts(from), parts(to));
    Transaction::new([
        operation(&name(bank), &withdraw(payer, amount_minor), false),
        operation(&name(other), &deposit(payee, amount_minor), false),
    ])
}

/// A transaction as it is sent by hand.
pub(crate) fn request(transaction: &Transaction) -> v1::RunTransactionRequest {
    let any = |action: nemcon_core::message::Payload| prost_types::Any {
        type_url: action.type_url,
        value: action.value,
    };
    let operations = transaction
        .operations
        .iter()
        .map(|(to, operation)| v1::Operation {
            participant: to.to_string(),
            action: operation.action.clone().ok().map(any),
            read_only: operation.read_only,
            inputs: Vec::new(),
        });
    v1::RunTransactionRequest {
        transaction_id: transaction.id.to_string(),
        operations: operations.collect(),
        timeout_ms: 60_000,
        ..v1::RunTransactionRequest::default()
    }
}

impl Cluster {
    /// Opens an account, `BANK/ACCOUNT`.
    pub(crate) async fn open(&self, path: &str, opening_balance_minor: i64) {
        let (bank, account) = parts(path);
        let account = NewAccount {
            name: account.into(),
            owner: String::new(),
            currency: CURRENCY.into(),
            opening_balance_minor,
            minimum_balance_minor: 0,
        };
        let id = new_transaction_id();
        self.bank_client(bank)
            .open_account(id, &account)
            .await
            .unwrap();
    }

    /// The balance of an account, after whatever transaction holds it now.
    pub(crate) async fn balance(&self, path: &str) -> i64 {
        let (bank, account) = parts(path);
        self.bank_client(bank)
            .account(account)
            .await
            .unwrap()
            .balance_minor
    }

    /// The balance of an account as it was last committed, and what is pending.
    pub(crate) async fn peek(&self, path: &str) -> (i64, i64) {
        let (bank, account) = parts(path);
        let peeked = self.bank_client(bank).peek(account).await.unwrap();
        (peeked.account.balance_minor, peeked.pending_minor)
    }

    /// What the coordinator knows of a transaction.
    pub(crate) async fn view(&self, id: TransactionId) -> Result<v1::Transaction, tonic::Status> {
        let transaction_id = id.to_string();
        let request = v1::GetTransactionRequest { transaction_id };
        let response = self.raw().get_transaction(request).await?;
        Ok(response.into_inner().transaction.unwrap())
    }
}
