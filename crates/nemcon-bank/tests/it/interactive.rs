//! Interactive transactions: what depends on what was read, and who gives way.

use std::time::Duration;

use nemcon_client::{
    AddressedOperation, Client, ClientError, Ending, InteractError, Interactive, Lent, Mode,
    Refused, Report, Terms, Token, lock, operation, result,
};
use nemcon_core::message::Outcome;
use nemcon_core::reason::Reason;
use nemcon_ledger::reason;
use nemcon_net::channel;
use nemcon_proto::bank::v1;
use nemcon_proto::v1::ExecuteOperationsRequest;
use nemcon_proto::v1::transaction_service_client::TransactionServiceClient;

use super::cluster::{Cluster, assert_committed, name};

/// Two banks, alice with 300 at the one, bob with 100 at the other.
async fn two_banks() -> Cluster {
    let cluster = Cluster::start(&["bank-a", "bank-b"]).await;
    cluster.open("bank-a", "alice", 300).await;
    cluster.open("bank-b", "bob", 100).await;
    cluster
}

fn deposit(bank: &str, account: &str, amount_minor: i64) -> AddressedOperation {
    let deposit = v1::Deposit {
        account: account.into(),
        amount_minor,
        currency: "CZK".into(),
        ..v1::Deposit::default()
    };
    operation(&name(bank), &deposit, false)
}

fn withdraw(bank: &str, account: &str, amount_minor: i64) -> AddressedOperation {
    let withdraw = v1::Withdraw {
        account: account.into(),
        amount_minor,
        currency: "CZK".into(),
        ..v1::Withdraw::default()
    };
    operation(&name(bank), &withdraw, false)
}

fn read(bank: &str, account: &str) -> AddressedOperation {
    let account = account.into();
    operation(&name(bank), &v1::Read { account }, true)
}

async fn balance(transaction: &mut Interactive, bank: &str, account: &str) -> i64 {
    let results = transaction.execute([read(bank, account)]).await.unwrap();
    let account: v1::Account = result(&results[0]).unwrap();
    account.balance_minor
}

async fn hold(transaction: &mut Interactive, bank: &str, account: &str) -> Token {
    let wanted = lock(&name(bank), account, Mode::Exclusive);
    let tokens = transaction.acquire_locks([wanted]).await.unwrap();
    tokens[0]
}

async fn begin(client: &Client) -> Interactive {
    client.begin(Terms::default()).await.unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(told: Result<T, ClientError>) -> Refused {
    match told {
        Err(ClientError::Refused(refused)) => *refused,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_transaction_sees_what_it_has_written_and_nobody_else_does() {
    let cluster = two_banks().await;
    let client = cluster.client();
    let mut transaction = begin(&client).await;
    assert_eq!(balance(&mut transaction, "bank-a", "alice").await, 300);
    transaction
        .execute([
            withdraw("bank-a", "alice", 120),
            deposit("bank-b", "bob", 120),
        ])
        .await
        .unwrap();
    assert_eq!(balance(&mut transaction, "bank-a", "alice").await, 180);
    assert_eq!(balance(&mut transaction, "bank-b", "bob").await, 220);
    let peeked = cluster.bank("bank-a").peek("alice").await.unwrap();
    assert_eq!(peeked.account.balance_minor, 300);
    assert_committed(&transaction.commit().await.unwrap());
    let customers = cluster.customers().await;
    assert_eq!((customers["bank-a"], customers["bank-b"]), (180, 220));
    cluster.stop().await;
}

#[tokio::test]
async fn of_two_that_deadlock_across_banks_the_younger_gives_way() {
    let cluster = two_banks().await;
    let client = cluster.client();
    let mut older = begin(&client).await;
    // Ids are of their millisecond, and so is age.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut younger = begin(&client).await;
    let ids = [older.id(), younger.id()];
    hold(&mut older, "bank-a", "alice").await;
    hold(&mut younger, "bank-b", "bob").await;
    let (older_told, younger_told) = tokio::join!(
        older.execute([deposit("bank-b", "bob", 1)]),
        younger.execute([deposit("bank-a", "alice", 1)]),
    );
    let victim = refused(younger_told);
    assert_eq!(victim.refusal.reason, Reason::DEADLOCK);
    assert!(victim.refusal.retryable);
    assert_eq!(victim.outcome, Some(Outcome::Aborted));
    for id in ids {
        let told = &victim.refusal.message;
        assert!(told.contains(&id.to_string()), "no {id} in {told}");
    }
    older_told.unwrap();
    assert_committed(&older.commit().await.unwrap());
    assert_eq!(cluster.balance("bank-a", "alice").await, 300);
    assert_eq!(cluster.balance("bank-b", "bob").await, 101);
    cluster.stop().await;
}

#[tokio::test]
async fn those_that_keep_deadlocking_all_get_their_turn() {
    let cluster = two_banks().await;
    let pay = async |from: (&str, &str), to: (&str, &str)| {
        let client = cluster.client();
        for _ in 0..5 {
            let told: Result<(), InteractError<()>> = client
                .interact(Terms::default(), async |mut transaction: Lent| {
                    transaction.execute([withdraw(from.0, from.1, 1)]).await?;
                    transaction.execute([deposit(to.0, to.1, 1)]).await?;
                    Ok(())
                })
                .await;
            told.unwrap();
        }
    };
    let (alice, bob) = (("bank-a", "alice"), ("bank-b", "bob"));
    tokio::join!(pay(alice, bob), pay(bob, alice), pay(alice, bob));
    let customers = cluster.customers().await;
    assert_eq!((customers["bank-a"], customers["bank-b"]), (295, 105));
    cluster.stop().await;
}

#[tokio::test]
async fn tokens_grow_and_a_lock_keeps_others_out() {
    let cluster = two_banks().await;
    let client = cluster.client();
    let mut first = begin(&client).await;
    let token = hold(&mut first, "bank-a", "alice").await;
    assert_eq!(hold(&mut first, "bank-a", "alice").await, token);

    let mut other = begin(&client).await;
    let refusal = refused(other.execute([deposit("bank-a", "alice", 1)]).await).refusal;
    assert_eq!(refusal.reason, Reason::LOCK_TIMEOUT);

    let ended = first.abort("changed my mind").await.unwrap();
    assert_eq!(ended.outcome(), Outcome::Aborted);
    let mut second = begin(&client).await;
    assert!(hold(&mut second, "bank-a", "alice").await > token);
    assert_committed(&second.commit().await.unwrap());
    cluster.stop().await;
}

#[tokio::test]
async fn who_waits_for_whom_can_be_seen() {
    let cluster = two_banks().await;
    let client = cluster.client();
    let mut holder = begin(&client).await;
    let mut waiter = begin(&client).await;
    let (held, waits) = (holder.id(), waiter.id());
    hold(&mut holder, "bank-a", "alice").await;
    let look = async {
        loop {
            let view = client.waits().await.unwrap();
            assert_eq!(view.silent, []);
            let queues = view.reports.iter().flat_map(|(_, report)| &report.queues);
            if let Some(queue) = queues.into_iter().next() {
                assert_eq!(queue.holders[0].owner.transaction, held);
                assert_eq!(queue.waiters[0].owner.transaction, waits);
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let view = client.transaction(waits).await.unwrap();
        let waiting = view.branches[0].waiting.as_ref().unwrap();
        assert_eq!(waiting.blockers, [held]);
        assert_committed(&holder.commit().await.unwrap());
    };
    let (told, ()) = tokio::join!(waiter.execute([deposit("bank-a", "alice", 1)]), look);
    told.unwrap();
    assert_committed(&waiter.commit().await.unwrap());
    cluster.stop().await;
}

#[tokio::test]
async fn a_business_no_ends_the_transaction_and_is_told_as_it_is() {
    let cluster = two_banks().await;
    let client = cluster.client();
    let mut transaction = begin(&client).await;
    let no = refused(
        transaction
            .execute([withdraw("bank-a", "alice", 301)])
            .await,
    );
    assert_eq!(no.refusal.reason, reason::INSUFFICIENT_FUNDS);
    assert!(!no.refusal.retryable);
    assert_eq!(no.outcome, Some(Outcome::Aborted));
    assert_eq!(no.participant, Some(name("bank-a")));
    cluster.stop().await;
}

#[tokio::test]
async fn a_client_that_vanishes_loses_its_transaction_and_its_locks() {
    let cluster = two_banks().await;
    let client = cluster.client();
    let terms = Terms::default().with_timeout(Duration::from_millis(600));
    let mut lost = client.begin(terms).await.unwrap();
    let id = lost.id();
    lost.execute([
        withdraw("bank-a", "alice", 100),
        deposit("bank-b", "bob", 100),
    ])
    .await
    .unwrap();
    // It does not even ask for the abort.
    std::mem::forget(lost);

    let mut next = begin(&client).await;
    hold(&mut next, "bank-a", "alice").await;
    hold(&mut next, "bank-b", "bob").await;
    // Locks are let go before the record is durable; this answer waits for it.
    match client.abort(id, "too late").await.unwrap() {
        Ending::Aborted(cause) => assert_eq!(cause.refusal.reason, Reason::DEADLINE_EXCEEDED),
        Ending::Committed(_) => panic!("committed"),
    }
    assert_committed(&next.commit().await.unwrap());
    assert_eq!(cluster.balance("bank-a", "alice").await, 300);
    cluster.stop().await;
}

#[tokio::test]
async fn work_after_a_restart_of_the_coordinator_is_refused() {
    let cluster = two_banks().await;
    let mut lost = begin(&cluster.client()).await;
    let id = lost.id();
    lost.execute([deposit("bank-a", "alice", 1)]).await.unwrap();
    std::mem::forget(lost);
    let (cluster, url) = cluster.restart_coordinator().await;
    let mut service = TransactionServiceClient::new(channel(&url.parse().unwrap()));
    let request = ExecuteOperationsRequest {
        transaction_id: id.to_string(),
        number: 2,
        epoch: 1,
        operations: vec![deposit("bank-a", "alice", 1).into()],
    };
    let status = service.execute_operations(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Aborted);
    let refusal = Refused::read(&status).unwrap().refusal;
    assert_eq!(refusal.reason, Reason::COORDINATOR_RESTARTED);
    assert!(refusal.retryable);
    cluster.stop().await;
}

#[tokio::test]
async fn a_transaction_without_work_commits() {
    let cluster = two_banks().await;
    let transaction = begin(&cluster.client()).await;
    let report: Report = transaction.commit().await.unwrap();
    assert!(matches!(report.ending, Ending::Committed(_)));
    cluster.stop().await;
}
