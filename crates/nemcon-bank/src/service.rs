//! `BankService`: a bank, for its customers.
//!
//! ```text
//!   customer ── Transfer ──▶ BankService ── RunTransaction ──▶ coordinator
//!                                 │                             │        │
//!                              (peek)                        Prepare  Prepare
//!                                 ▼                             ▼        ▼
//!                                ledger ◀─────────────────── this bank  other bank
//! ```
//!
//! Every call is a transaction of its own, run by a coordinator like anybody
//! else's: the service has no way round the protocol into its own bank's books.
//! What it spares its customers is to know operations, participants and
//! coordinators. The one exception reads: `GetAccount` with `without_waiting`
//! looks at the books as they stand, and promises nothing.
//!
//! A business no is an outcome. `Transfer` answers with it; the other calls turn
//! it into a status. That nobody could be asked, or that the outcome is not
//! known, is a status everywhere.

use nemcon_client::{ClientError, Ending, Transaction, new_transaction_id, operation, result};
use nemcon_core::coordinator::event::AddressedOperation;
use nemcon_core::coordinator::record::Cause;
use nemcon_core::id::{ParticipantName, TransactionId};
use nemcon_core::message::Payload;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_ledger::action::NamedAccount;
use nemcon_ledger::name::AccountName;
use nemcon_ledger::{Action, ActionResult, Ledger};
use nemcon_net::trace::received;
use nemcon_net::{Refused, wire_status};
use nemcon_participant::Handle;
use nemcon_proto::bank::v1;
use nemcon_proto::bank::v1::bank_service_server::BankService;
use nemcon_proto::convert::{self, WireError};
use nemcon_trace::{Context, Kind, Span};
use prost::{Message, Name};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::coordinators::{Access, Coordinators};
use crate::deadline::TimeLeft;
use crate::status;
use crate::wire::FromLedger;

/// Where the customers of one bank are served.
pub(crate) struct Desk {
    handle: Handle<Ledger>,
    coordinators: Coordinators,
}

/// A customer's call, while it is worked on.
struct Call {
    left: TimeLeft,
    /// None where no spans are made.
    span: Option<Span>,
}

impl Call {
    /// What is asked of a coordinator for it is sent on its behalf, also if it is not
    /// recorded: that has been decided, and is not to be decided again.
    fn trace(&self) -> Option<Context> {
        self.span.as_ref().map(Span::context)
    }
}

/// What a call asks for, apart from the operations.
#[derive(Clone)]
struct Errand {
    transaction: TransactionId,
    access: Access,
    left: TimeLeft,
    trace: Option<Context>,
}

impl Errand {
    /// To read, under an id of our own: a question can be asked again.
    fn read(call: &Call) -> Self {
        Self {
            transaction: new_transaction_id(),
            access: Access::Reads,
            left: call.left,
            trace: call.trace(),
        }
    }

    /// To write, under the customer's id. Without one the call is not safe to
    /// send again, and the answer says which id it went under.
    fn write(transaction_id: &str, call: &Call) -> Result<Self, Status> {
        let transaction = if transaction_id.is_empty() {
            new_transaction_id()
        } else {
            convert::transaction_id(transaction_id, "transaction_id")
                .map_err(|error| wire_status(&error))?
        };
        Ok(Self {
            transaction,
            access: Access::Writes,
            left: call.left,
            trace: call.trace(),
        })
    }

    /// The status of a no that has no place in the answer.
    fn refused(&self, cause: Cause) -> Status {
        let refused = Refused::from(cause.refusal).at(cause.participant);
        status::refused(&refused.about(self.transaction))
    }
}

/// The results of what committed; `None` where a restart has lost them.
type Results = Option<Vec<Payload>>;

impl Desk {
    pub(crate) const fn new(handle: Handle<Ledger>, coordinators: Coordinators) -> Self {
        Self {
            handle,
            coordinators,
        }
    }

    fn name(&self) -> &ParticipantName {
        self.handle.name()
    }

    /// What a call came with. Nothing is read of traces where no spans are made.
    fn call(&self, name: &'static str, metadata: &MetadataMap) -> Call {
        let tracer = self.handle.tracer();
        let parent = tracer.is_on().then(|| received(metadata)).flatten();
        Call {
            left: TimeLeft::of(metadata),
            span: tracer.enter(Kind::Server, name, parent.as_ref()),
        }
    }

    /// Runs operations as one transaction. The inner error is its outcome, the
    /// outer one means that there is none.
    async fn run(
        &self,
        errand: Errand,
        operations: Vec<AddressedOperation>,
    ) -> Result<Result<Results, Cause>, Status> {
        let id = errand.transaction;
        let only_here = operations.iter().all(|(to, _)| to == self.name());
        let transaction = Transaction {
            timeout: errand.left.transaction,
            trace: errand.trace,
            ..Transaction::new(operations).with_id(errand.transaction)
        };
        let patience = errand.left.patience;
        match self
            .coordinators
            .run(errand.access, transaction, patience)
            .await
        {
            Ok(report) => Ok(match report.ending {
                Ending::Committed(results) => Ok(results),
                Ending::Aborted(cause) => Err(cause),
            }),
            Err(ClientError::Refused(told)) if only_here && is_unregistered(&told) => {
                Err(self.unregistered(&told.refusal))
            }
            Err(error) => Err(status::no_outcome(id, error)),
        }
    }

    /// Runs an action on this bank alone and reads its result, which a restart may
    /// have lost. A no becomes a status.
    async fn run_here<A, R>(&self, errand: &Errand, action: &A) -> Result<Option<R>, Status>
    where
        A: Message + Name,
        R: Message + Name + Default,
    {
        let operation = operation(self.name(), action, errand.access == Access::Reads);
        let outcome = self.run(errand.clone(), vec![operation]).await?;
        let results = outcome.map_err(|cause| errand.refused(cause))?;
        let first = results.as_deref().and_then(|results| results.first());
        first
            .map(result)
            .transpose()
            .map_err(|error| internal(error.to_string()))
    }

    /// Reads, from this bank alone. Waits for whoever holds what is read, so it
    /// never shows half of a transaction.
    async fn read<A, R>(&self, action: &A, call: &Call) -> Result<R, Status>
    where
        A: Message + Name,
        R: Message + Name + Default,
    {
        let errand = Errand::read(call);
        let read = self.run_here(&errand, action).await?;
        read.ok_or_else(|| {
            let message = "what was read was lost in a restart; read again";
            status::refused(&Refusal::retryable(Reason::WORK_LOST, message).into())
        })
    }

    /// Looks at an account, past all locks. What is pending is what the one
    /// transaction that holds the account has prepared; an account that somebody
    /// is only about to open is not there yet.
    async fn peek(&self, account: &str) -> Result<v1::GetAccountResponse, Status> {
        let refused = |refusal: Refusal| status::refused(&refusal.into());
        let action = Action::read(account).map_err(refused)?;
        let peeked = self.handle.peek(action).await.map_err(refused)?;
        let committed = named(peeked.committed.map_err(refused)?)?;
        let pending_minor = match peeked.pending {
            Some(Ok(pending)) => {
                let (then, now) = (named(pending)?.header, &committed.header);
                then.balance_minor.saturating_sub(now.balance_minor)
            }
            Some(Err(_)) | None => 0,
        };
        let account = Some(v1::Account::from_ledger(committed));
        Ok(v1::GetAccountResponse {
            account,
            pending_minor,
        })
    }

    /// The status of a call that comes before the coordinator knows us. A bank
    /// registers within a moment of its start, but a customer may be quicker; to
    /// be told that there is no such bank, by that bank, would help nobody.
    fn unregistered(&self, told: &Refusal) -> Status {
        let message = format!(
            "bank {} is not registered at its coordinator yet ({}); nothing has been done, send \
             again",
            self.name(),
            told.message
        );
        status::refused(&Refusal::retryable(Reason::NOT_SERVING, message).into())
    }
}

fn is_unregistered(told: &Refused) -> bool {
    told.refusal.reason == Reason::UNKNOWN_PARTICIPANT
}

/// An account at the moment it was opened.
fn as_opened(open: v1::Open) -> v1::Account {
    v1::Account {
        account: open.account,
        owner: open.owner,
        currency: open.currency,
        balance_minor: open.opening_balance_minor,
        minimum_balance_minor: open.minimum_balance_minor,
        closed: false,
    }
}

/// What the ledger answers to a question for an account.
fn named(found: ActionResult) -> Result<NamedAccount, Status> {
    match found {
        ActionResult::Account(named) => Ok(named),
        ActionResult::Page(_) | ActionResult::Statement(_) | ActionResult::Totals(_) => {
            Err(internal(format!(
                "asked for an account, the ledger answered {}",
                convert::kind_of(&found)
            )))
        }
    }
}

/// A bug of ours, or of a coordinator. The customer learns that it is open
/// whether anything was done.
fn internal(what: String) -> Status {
    tracing::error!(what, "a bug");
    status::refused(&Refusal::new(Reason::INTERNAL, what).into())
}

#[tonic::async_trait]
impl BankService for Desk {
    async fn open_account(
        &self,
        request: Request<v1::OpenAccountRequest>,
    ) -> Result<Response<v1::OpenAccountResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = self.call("OpenAccount", &metadata);
        let errand = Errand::write(&request.transaction_id, &call)?;
        let open = v1::Open {
            account: request.account,
            owner: request.owner,
            currency: request.currency,
            opening_balance_minor: request.opening_balance_minor,
            minimum_balance_minor: request.minimum_balance_minor,
        };
        // Where a restart has lost the result it is made again: an account is as it
        // was asked for at the moment it is opened.
        let opened = self.run_here(&errand, &open).await?;
        let account = opened.unwrap_or_else(|| as_opened(open));
        let transaction_id = errand.transaction.to_string();
        Ok(Response::new(v1::OpenAccountResponse {
            account: Some(account),
            transaction_id,
        }))
    }

    async fn close_account(
        &self,
        request: Request<v1::CloseAccountRequest>,
    ) -> Result<Response<v1::CloseAccountResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = self.call("CloseAccount", &metadata);
        let errand = Errand::write(&request.transaction_id, &call)?;
        let close = v1::Close {
            account: request.account,
        };
        let _: Option<v1::Account> = self.run_here(&errand, &close).await?;
        let transaction_id = errand.transaction.to_string();
        Ok(Response::new(v1::CloseAccountResponse { transaction_id }))
    }

    async fn get_account(
        &self,
        request: Request<v1::GetAccountRequest>,
    ) -> Result<Response<v1::GetAccountResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = self.call("GetAccount", &metadata);
        if request.without_waiting {
            return self.peek(&request.account).await.map(Response::new);
        }
        let read = v1::Read {
            account: request.account,
        };
        let account = self.read(&read, &call).await?;
        Ok(Response::new(v1::GetAccountResponse {
            account: Some(account),
            // Who has waited sees the account when nothing is pending.
            pending_minor: 0,
        }))
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = self.call("ListAccounts", &metadata);
        let (page_size, after_account) = (request.page_size, after(request.page_token)?);
        let read = v1::ReadAccounts {
            page_size,
            after_account,
        };
        let page: v1::AccountPage = self.read(&read, &call).await?;
        let last = page.accounts.last().filter(|_| page.more);
        let next_page_token = last.map(|last| last.account.clone()).unwrap_or_default();
        let accounts = page.accounts;
        Ok(Response::new(v1::ListAccountsResponse {
            accounts,
            next_page_token,
        }))
    }

    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = self.call("ListEntries", &metadata);
        let read = v1::ReadEntries {
            account: request.account,
        };
        let statement: v1::Statement = self.read(&read, &call).await?;
        Ok(Response::new(v1::ListEntriesResponse {
            brought_forward_minor: statement.brought_forward_minor,
            entries: statement.entries,
        }))
    }

    async fn transfer(
        &self,
        request: Request<v1::TransferRequest>,
    ) -> Result<Response<v1::TransferResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let call = self.call("Transfer", &metadata);
        let errand = Errand::write(&request.transaction_id, &call)?;
        let operations = transfer(self.name(), request).map_err(|error| wire_status(&error))?;
        let transaction_id = errand.transaction.to_string();
        let outcome = self.run(errand, operations).await?;
        Ok(Response::new(match outcome {
            Ok(_) => v1::TransferResponse {
                transaction_id,
                committed: true,
                ..v1::TransferResponse::default()
            },
            Err(Cause {
                refusal,
                participant,
            }) => v1::TransferResponse {
                transaction_id,
                committed: false,
                reason: refusal.reason.to_string(),
                message: at(participant, refusal.message),
                retryable: refusal.retryable,
            },
        }))
    }
}

/// Says which bank refused: the answer to a transfer has no field for it, and
/// both banks may have an account of that name.
fn at(participant: Option<ParticipantName>, message: String) -> String {
    match participant {
        Some(bank) => format!("{bank}: {message}"),
        None => message,
    }
}

/// The two operations of a transfer. Within one bank, that bank decides alone;
/// between two, both must vote yes.
///
/// The fields of either half are read by the bank it is for. Only what neither
/// could see is refused here.
fn transfer(
    here: &ParticipantName,
    request: v1::TransferRequest,
) -> Result<Vec<AddressedOperation>, WireError> {
    let there = match request.to_bank {
        empty if empty.is_empty() => here.clone(),
        name => convert::participant_name(name, "to_bank")?,
    };
    if *here == there && request.from_account == request.to_account {
        let allowed = "another account than from_account, which pays";
        return Err(WireError::text("to_account", &request.to_account, allowed));
    }
    let clearing = v1::Contra::Clearing.into();
    let withdraw = v1::Withdraw {
        account: request.from_account,
        amount_minor: request.amount_minor,
        currency: request.currency.clone(),
        reference: request.reference.clone(),
        contra: clearing,
    };
    let deposit = v1::Deposit {
        account: request.to_account,
        amount_minor: request.amount_minor,
        currency: request.currency,
        reference: request.reference,
        contra: clearing,
    };
    Ok(vec![
        operation(here, &withdraw, false),
        operation(&there, &deposit, false),
    ])
}

/// Where a page begins. The token is the last name of the page before; that is
/// our business and may change.
fn after(page_token: String) -> Result<String, Status> {
    if page_token.is_empty() || AccountName::new(&page_token).is_ok() {
        return Ok(page_token);
    }
    let allowed = "the next_page_token of the answer before";
    Err(wire_status(&WireError::text(
        "page_token",
        &page_token,
        allowed,
    )))
}
