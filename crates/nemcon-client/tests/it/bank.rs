//! A bank's customers are as careful as a coordinator's clients.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use nemcon_client::{
    BankClient, ClientError, Contra, Ending, NewAccount, Transfer, new_transaction_id,
};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_net::{server, to_status};
use nemcon_proto::bank::v1;
use nemcon_proto::bank::v1::bank_service_server::{BankService, BankServiceServer};
use prost_types::Timestamp;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, async_trait};

use crate::fake::{hurried, name};

/// A bank that refuses as the script says, and then does as it is told.
#[derive(Default)]
struct Bank {
    refusals: Mutex<VecDeque<Refusal>>,
    /// Transaction ids in the order they came.
    seen: Mutex<Vec<String>>,
}

impl Bank {
    fn take(&self, transaction_id: String) -> Result<(), Status> {
        self.seen.lock().unwrap().push(transaction_id);
        match self.refusals.lock().unwrap().pop_front() {
            Some(refusal) => Err(to_status(&refusal.into())),
            None => Ok(()),
        }
    }
}

fn alice() -> v1::Account {
    let (account, owner, currency) = ("alice".into(), "Alice".into(), "CZK".into());
    v1::Account {
        account,
        owner,
        currency,
        balance_minor: 250_000,
        ..v1::Account::default()
    }
}

#[async_trait]
impl BankService for Bank {
    async fn open_account(
        &self,
        request: Request<v1::OpenAccountRequest>,
    ) -> Result<Response<v1::OpenAccountResponse>, Status> {
        let transaction_id = request.into_inner().transaction_id;
        self.take(transaction_id.clone())?;
        let account = Some(alice());
        Ok(Response::new(v1::OpenAccountResponse {
            account,
            transaction_id,
        }))
    }

    async fn close_account(
        &self,
        request: Request<v1::CloseAccountRequest>,
    ) -> Result<Response<v1::CloseAccountResponse>, Status> {
        let transaction_id = request.into_inner().transaction_id;
        self.take(transaction_id.clone())?;
        Ok(Response::new(v1::CloseAccountResponse { transaction_id }))
    }

    async fn get_account(
        &self,
        request: Request<v1::GetAccountRequest>,
    ) -> Result<Response<v1::GetAccountResponse>, Status> {
        self.take(String::new())?;
        let pending_minor = if request.into_inner().without_waiting {
            -700
        } else {
            0
        };
        let account = Some(alice());
        Ok(Response::new(v1::GetAccountResponse {
            account,
            pending_minor,
        }))
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        let more = request.into_inner().page_token.is_empty();
        let next_page_token = if more { "alice".into() } else { String::new() };
        let accounts = vec![alice()];
        Ok(Response::new(v1::ListAccountsResponse {
            accounts,
            next_page_token,
        }))
    }

    async fn list_entries(
        &self,
        _: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        let entry = v1::Entry {
            booked_at: Some(Timestamp {
                seconds: 2,
                nanos: 0,
            }),
            amount_minor: -700,
            balance_minor: 300,
            transaction_id: new_transaction_id().to_string(),
            reference: String::new(),
            contra: v1::Contra::Clearing.into(),
        };
        let nonsense = v1::Entry {
            contra: 0,
            ..entry.clone()
        };
        let entries = if self.seen.lock().unwrap().is_empty() {
            vec![entry]
        } else {
            vec![entry, nonsense]
        };
        Ok(Response::new(v1::ListEntriesResponse {
            brought_forward_minor: 1_000,
            entries,
        }))
    }

    async fn transfer(
        &self,
        request: Request<v1::TransferRequest>,
    ) -> Result<Response<v1::TransferResponse>, Status> {
        let request = request.into_inner();
        self.take(request.transaction_id.clone())?;
        let committed = request.amount_minor <= 1_000;
        Ok(Response::new(v1::TransferResponse {
            transaction_id: request.transaction_id,
            committed,
            reason: if committed {
                String::new()
            } else {
                "INSUFFICIENT_FUNDS".into()
            },
            ..v1::TransferResponse::default()
        }))
    }
}

async fn bank(refusals: impl IntoIterator<Item = Refusal>) -> (Arc<Bank>, BankClient) {
    let refusals = Mutex::new(refusals.into_iter().collect());
    let bank = Arc::new(Bank {
        refusals,
        ..Bank::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = server().add_service(BankServiceServer::from_arc(bank.clone()));
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    (bank, BankClient::new(url.parse().unwrap(), hurried()))
}

fn transfer(amount_minor: i64) -> Transfer {
    Transfer {
        from_account: "alice".into(),
        to_bank: Some(name("bank-b")),
        to_account: "bob".into(),
        amount_minor,
        currency: "CZK".into(),
        reference: Some("order-1".into()),
    }
}

fn refusal(reason: Reason) -> Refusal {
    Refusal::new(reason, "as the script says")
}

#[tokio::test]
async fn a_transfer_is_sent_under_one_id_until_it_is_answered() {
    let troubles = [
        Reason::NOT_SERVING,
        Reason::OUTCOME_UNKNOWN,
        Reason::UNREACHABLE,
    ];
    let (bank, client) = bank(troubles.map(refusal)).await;
    let id = new_transaction_id();
    let report = client.transfer(id, &transfer(700)).await.unwrap();
    assert_eq!(
        (report.transaction, report.ending),
        (id, Ending::Committed(None))
    );
    assert_eq!(*bank.seen.lock().unwrap(), vec![id.to_string(); 4]);
}

#[tokio::test]
async fn not_enough_money_is_an_answer() {
    let (_, client) = bank([]).await;
    let report = client
        .transfer(new_transaction_id(), &transfer(7_000))
        .await
        .unwrap();
    let Ending::Aborted(cause) = report.ending else {
        panic!("{report:?}")
    };
    assert_eq!(cause.refusal.reason.as_str(), "INSUFFICIENT_FUNDS");
}

#[tokio::test]
async fn a_refused_opening_says_why() {
    let exists = Reason::business("ACCOUNT_EXISTS");
    let (_, client) = bank([refusal(exists.clone())]).await;
    let new = NewAccount {
        name: "alice".into(),
        owner: "Alice".into(),
        currency: "CZK".into(),
        opening_balance_minor: 250_000,
        minimum_balance_minor: 0,
    };
    let id = new_transaction_id();
    let error = client.open_account(id, &new).await.unwrap_err();
    let ClientError::Refused(refused) = error else {
        panic!("{error:?}")
    };
    assert_eq!(refused.refusal.reason, exists);
    assert_eq!(
        client.open_account(id, &new).await.unwrap().balance_minor,
        250_000
    );
    client.close_account(id, "alice").await.unwrap();
}

#[tokio::test]
async fn a_reading_that_aborted_is_simply_repeated() {
    let (bank, client) = bank([refusal(Reason::LOCK_TIMEOUT)]).await;
    assert_eq!(client.account("alice").await.unwrap().owner, "Alice");
    assert_eq!(bank.seen.lock().unwrap().len(), 2);
    assert_eq!(client.peek("alice").await.unwrap().pending_minor, -700);
}

#[tokio::test]
async fn pages_and_entries_are_read() {
    let (bank, client) = bank([]).await;
    let page = client.accounts(None, None).await.unwrap();
    assert_eq!(page.accounts.len(), 1);
    let page = client
        .accounts(Some(5), page.next.as_deref())
        .await
        .unwrap();
    assert_eq!(page.next, None);

    let statement = client.statement("alice").await.unwrap();
    assert_eq!(statement.brought_forward_minor, 1_000);
    let entry = &statement.entries[0];
    assert_eq!((entry.amount_minor, entry.contra), (-700, Contra::Clearing));
    assert_eq!((entry.booked_at.0, &entry.reference), (2_000, &None));

    bank.seen.lock().unwrap().push(String::new());
    let error = client.statement("alice").await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
}
