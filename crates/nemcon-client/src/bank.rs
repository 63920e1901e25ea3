//! Calls to a bank, for its customers.

use std::time::Duration;

use nemcon_core::coordinator::event::{Ending, Report};
use nemcon_core::coordinator::record::Cause;
use nemcon_core::id::{CoordinatorId, ParticipantName, TransactionId};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::time::Millis;
use nemcon_net::{Address, MESSAGE_BYTES_MAX};
use nemcon_proto::bank::v1;
use nemcon_proto::bank::v1::bank_service_client::BankServiceClient;
use nemcon_proto::convert::{self, WireError};
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::delivery::Delivery;
use crate::error::ClientError;
use crate::settings::Settings;

/// How long a bank takes at most for a call that runs a transaction: the default
/// of its coordinator.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one bank. Cheap to clone; clones share a connection.
///
/// Calls that move money take the id of the transaction they are to run under,
/// so that a caller who dies can ask again: [`new_transaction_id`] makes one.
///
/// [`new_transaction_id`]: crate::new_transaction_id
#[derive(Clone, Debug)]
pub struct BankClient {
    address: Address,
    channel: Channel,
    settings: Settings,
}

/// An account. Amounts are in minor units of its currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// ISO 4217 code.
    pub currency: String,
    /// What is on it.
    pub balance_minor: i64,
    /// What must stay on it.
    pub minimum_balance_minor: i64,
    /// Nothing can be booked on it any more.
    pub closed: bool,
}

/// An account to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccount {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// ISO 4217 code.
    pub currency: String,
    /// What is paid in, in cash.
    pub opening_balance_minor: i64,
    /// What must stay on it; at most 0.
    pub minimum_balance_minor: i64,
}

/// A transfer from an account of the bank that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The paying account.
    pub from_account: String,
    /// The receiving bank; `None`: the same bank.
    pub to_bank: Option<ParticipantName>,
    /// The receiving account.
    pub to_account: String,
    /// How much.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Unique for both accounts, for life.
    pub reference: Option<String>,
}

/// An account as it is now, without waiting for anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// As it was last committed.
    pub account: Account,
    /// What its balance changes by if everything prepared commits.
    pub pending_minor: i64,
}

/// Some accounts, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPage {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// There are more: ask again with this token.
    pub next: Option<String>,
}

/// The last entries of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Sum of the entries that are no longer kept.
    pub brought_forward_minor: i64,
    /// The entries, newest last.
    pub entries: Vec<Entry>,
}

/// One movement on an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub booked_at: Millis,
    /// How much; positive: received.
    pub amount_minor: i64,
    /// What was on the account then.
    pub balance_minor: i64,
    /// By which transaction.
    pub transaction: TransactionId,
    /// Its reference, if it had one.
    pub reference: Option<String>,
    /// Its other side.
    pub contra: Contra,
}

/// The other side of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contra {
    /// Money that enters or leaves the system.
    Cash,
    /// Money on its way between accounts or banks.
    Clearing,
}

impl BankClient {
    /// A client of the bank at this URL. It connects when it is first used.
    ///
    /// # Errors
    /// [`ClientError::Address`] if the text is no address.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(url: &str) -> Result<Self, ClientError> {
        Ok(Self::new(url.parse()?, Settings::default()))
    }

    /// A client with settings of its own.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(address: Address, settings: Settings) -> Self {
        let channel = nemcon_net::channel(&address);
        Self {
            address,
            channel,
            settings,
        }
    }

    /// The bank's address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Opens an account.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the bank's reason, say that there is one of
    /// that name.
    pub async fn open_account(
        &self,
        id: TransactionId,
        account: &NewAccount,
    ) -> Result<Account, ClientError> {
        let request = v1::OpenAccountRequest {
            account: account.name.clone(),
            owner: account.owner.clone(),
            currency: account.currency.clone(),
            opening_balance_minor: account.opening_balance_minor,
            minimum_balance_minor: account.minimum_balance_minor,
            transaction_id: id.to_string(),
        };
        let send = |_| {
            let (mut service, request) = (self.service(), request.clone());
            async move { service.open_account(request).await }
        };
        let response = self.transact(Some(id), send).await?;
        self.read(account_of(response.account))
    }

    /// Closes an account, whose balance must be zero.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the bank's reason.
    pub async fn close_account(&self, id: TransactionId, name: &str) -> Result<(), ClientError> {
        let (account, transaction_id) = (name.to_owned(), id.to_string());
        let request = v1::CloseAccountRequest {
            account,
            transaction_id,
        };
        let send = |_| {
            let (mut service, request) = (self.service(), request.clone());
            async move { service.close_account(request).await }
        };
        self.transact(Some(id), send).await.map(drop)
    }

    /// Reads an account, after whatever transaction holds it now.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the bank's reason.
    pub async fn account(&self, name: &str) -> Result<Account, ClientError> {
        self.read_account(name, false)
            .await
            .map(|peeked| peeked.account)
    }

    /// Reads an account as it was last committed, without waiting.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the bank's reason.
    pub async fn peek(&self, name: &str) -> Result<Peeked, ClientError> {
        self.read_account(name, true).await
    }

    async fn read_account(&self, name: &str, without_waiting: bool) -> Result<Peeked, ClientError> {
        let request = v1::GetAccountRequest {
            account: name.to_owned(),
            without_waiting,
        };
        let send = |_| {
            let (mut service, request) = (self.service(), request.clone());
            async move { service.get_account(request).await }
        };
        let response = self.transact(None, send).await?;
        let account = self.read(account_of(response.account))?;
        Ok(Peeked {
            account,
            pending_minor: response.pending_minor,
        })
    }

    /// Lists accounts, at most `max` (up to 1,000; `None`: 100), from where the
    /// page before ended.
    ///
    /// # Errors
    /// As any question: unreachable, refused or nonsense.
    pub async fn accounts(
        &self,
        max: Option<u32>,
        from: Option<&str>,
    ) -> Result<AccountPage, ClientError> {
        let (page_size, page_token) = (max.unwrap_or(0), from.unwrap_or_default().to_owned());
        let request = v1::ListAccountsRequest {
            page_size,
            page_token,
        };
        let send = |_| {
            let (mut service, request) = (self.service(), request.clone());
            async move { service.list_accounts(request).await }
        };
        let response = self.transact(None, send).await?;
        let accounts = response.accounts.into_iter().map(Account::from).collect();
        Ok(AccountPage {
            accounts,
            next: some_text(response.next_page_token),
        })
    }

    /// The last entries of an account.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the bank's reason.
    pub async fn statement(&self, name: &str) -> Result<Statement, ClientError> {
        let request = v1::ListEntriesRequest {
            account: name.to_owned(),
        };
        let send = |_| {
            let (mut service, request) = (self.service(), request.clone());
            async move { service.list_entries(request).await }
        };
        let response = self.transact(None, send).await?;
        let entries = response.entries.into_iter().map(Entry::try_from).collect();
        let entries = self.read(entries)?;
        Ok(Statement {
            brought_forward_minor: response.brought_forward_minor,
            entries,
        })
    }

    /// Moves money. That the bank refuses is an answer: see [`Report::ending`].
    ///
    /// # Errors
    /// [`ClientError::Unknown`] if the money may have moved and no answer is to
    /// be had; the others only if it has not.
    pub async fn transfer(
        &self,
        id: TransactionId,
        transfer: &Transfer,
    ) -> Result<Report, ClientError> {
        let request = v1::TransferRequest {
            from_account: transfer.from_account.clone(),
            to_bank: transfer
                .to_bank
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            to_account: transfer.to_account.clone(),
            amount_minor: transfer.amount_minor,
            currency: transfer.currency.clone(),
            reference: transfer.reference.clone().unwrap_or_default(),
            transaction_id: id.to_string(),
        };
        let send = |_| {
            let (mut service, request) = (self.service(), request.clone());
            async move { service.transfer(request).await }
        };
        let response = self.transact(Some(id), send).await?;
        self.read(report(response))
    }

    /// Sends a call that the bank runs as a transaction: under this id, or, for
    /// what only reads, under any.
    async fn transact<T, F>(
        &self,
        id: Option<TransactionId>,
        send: impl FnMut(Option<CoordinatorId>) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let delivery = Delivery::harmless(&self.settings, &self.address);
        let delivery = Delivery {
            transaction: id,
            ..delivery
        };
        delivery
            .deliver(
                TRANSACTION_TIMEOUT.saturating_add(self.settings.answer_grace),
                send,
            )
            .await
    }

    fn read<T>(&self, read: Result<T, WireError>) -> Result<T, ClientError> {
        read.map_err(|error| ClientError::unreadable(&self.address, &error))
    }

    fn service(&self) -> BankServiceClient<Channel> {
        BankServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

fn some_text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn account_of(account: Option<v1::Account>) -> Result<Account, WireError> {
    account
        .map(Account::from)
        .ok_or_else(|| WireError::missing("account", "an account"))
}

impl From<v1::Account> for Account {
    fn from(account: v1::Account) -> Self {
        Self {
            name: account.account,
            owner: account.owner,
            currency: account.currency,
            balance_minor: account.balance_minor,
            minimum_balance_minor: account.minimum_balance_minor,
            closed: account.closed,
        }
    }
}

impl TryFrom<v1::Entry> for Entry {
    type Error = WireError;

    fn try_from(entry: v1::Entry) -> Result<Self, WireError> {
        let contra = match v1::Contra::try_from(entry.contra) {
            Ok(v1::Contra::Cash) => Contra::Cash,
            Ok(v1::Contra::Clearing) => Contra::Clearing,
            Ok(v1::Contra::Unspecified) | Err(_) => {
                let allowed = "CONTRA_CASH or CONTRA_CLEARING";
                return Err(WireError::new("contra", entry.contra, allowed));
            }
        };
        let booked_at = entry
            .booked_at
            .ok_or_else(|| WireError::missing("booked_at", "a time"))?;
        Ok(Self {
            booked_at: convert::millis(booked_at, "booked_at")?,
            amount_minor: entry.amount_minor,
            balance_minor: entry.balance_minor,
            transaction: convert::transaction_id(&entry.transaction_id, "transaction_id")?,
            reference: some_text(entry.reference),
            contra,
        })
    }
}

fn report(response: v1::TransferResponse) -> Result<Report, WireError> {
    let transaction = convert::transaction_id(&response.transaction_id, "transaction_id")?;
    if response.committed {
        return Ok(Report {
            transaction,
            ending: Ending::Committed(None),
        });
    }
    let new = if response.retryable {
        Refusal::retryable
    } else {
        Refusal::new
    };
    let refusal = new(Reason::from_wire(&response.reason), response.message);
    Ok(Report {
        transaction,
        ending: Ending::Aborted(Cause {
            refusal,
            participant: None,
        }),
    })
}
