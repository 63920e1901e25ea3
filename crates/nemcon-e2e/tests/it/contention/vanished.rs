//! Clients that begin a transaction, take locks or wait for them, and are never heard
//! of again.

use std::time::Duration;

use nemcon_client::new_transaction_id;
use nemcon_net::channel;
use nemcon_proto::v1;
use nemcon_proto::v1::participant_admin_service_client::ParticipantAdminServiceClient;
use nemcon_proto::v1::transaction_service_client::TransactionServiceClient;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

use super::{put, sized, take};
use crate::cluster::{Cluster, SOON};
use crate::money::request;
use nemcon_e2e::until;

/// How long their transactions may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// How long those wait who find everything locked, before they are gone.
const PATIENCE: Duration = Duration::from_millis(500);

/// How many accounts they want, so that most of them wait.
const ACCOUNTS: usize = 50;

#[tokio::test]
async fn who_vanishes_leaves_no_lock_behind() {
    let cluster = Cluster::start(&["bank-a", "bank-b"]).await;
    for number in 0..ACCOUNTS {
        cluster.open(&format!("bank-a/{number}"), 1_000).await;
        cluster.open(&format!("bank-b/{number}"), 1_000).await;
    }
    let count = sized(1_000, 100);
    // Each has a connection of its own, made beforehand: who does not get through
    // cannot vanish in the middle.
    let mut connected = Vec::new();
    for _ in 0..count {
        let mut service = cluster.raw();
        let hello = v1::ListTransactionsRequest::default();
        service.list_transactions(hello).await.unwrap();
        connected.push(service);
    }
    // The first have their locks for certain; the others come all at once, and find
    // everything locked.
    let waiting = connected.split_off(ACCOUNTS);
    for (number, service) in connected.into_iter().enumerate() {
        begin_and_take(service, number).await.unwrap();
    }
    let mut clients = JoinSet::new();
    for (number, service) in waiting.into_iter().enumerate() {
        let gone = tokio::time::timeout(PATIENCE, begin_and_take(service, number));
        clients.spawn(async move { drop(gone.await) });
    }
    clients.join_all().await;
    until("no lock is left", SOON, async || {
        for bank in ["bank-a", "bank-b"] {
            let mut service = ParticipantAdminServiceClient::new(channel(
                &cluster.bank(bank).url().parse().unwrap(),
            ));
            let locks = service.list_locks(v1::ListLocksRequest::default()).await;
            let locks = locks
                .map_err(|status| status.to_string())?
                .into_inner()
                .locks;
            if !locks.is_empty() {
                return Err(format!("{bank}: {} keys are locked", locks.len()));
            }
        }
        Ok(())
    })
    .await;
    for number in 0..ACCOUNTS {
        let (balance, pending) = cluster.peek(&format!("bank-a/{number}")).await;
        assert_eq!((balance, pending), (1_000, 0), "account {number}");
    }
}

/// Begins a transaction and takes locks for it, and is never heard of again.
async fn begin_and_take(
    mut service: TransactionServiceClient<Channel>,
    number: usize,
) -> Result<(), Status> {
    let begin = v1::BeginTransactionRequest {
        transaction_id: new_transaction_id().to_string(),
        timeout_ms: DEADLINE.as_millis() as u32,
        ..v1::BeginTransactionRequest::default()
    };
    let transaction_id = begin.transaction_id.clone();
    let begun = service.begin_transaction(begin).await?.into_inner();
    let account = (number % ACCOUNTS).to_string();
    let work = [take("bank-a", &account, 1), put("bank-b", &account, 1)];
    let work = nemcon_client::Transaction::new(work);
    let piece = v1::ExecuteOperationsRequest {
        transaction_id,
        epoch: begun.epoch,
        number: 1,
        operations: request(&work).operations,
    };
    service.execute_operations(piece).await.map(drop)
}
