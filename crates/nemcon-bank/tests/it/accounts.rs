//! Accounts: opened, read, listed, closed.

use nemcon_client::{Contra, NewAccount, new_transaction_id};
use nemcon_core::reason::Reason;
use nemcon_ledger::reason;
use nemcon_net::Refused;
use nemcon_proto::bank::v1;
use tonic::{Code, Status};

use super::cluster::{Cluster, assert_committed, new_account, order, reason as reason_of};

#[tokio::test]
async fn an_account_is_opened_read_and_closed() {
    let cluster = Cluster::start(&["bank-a"]).await;
    let bank = cluster.bank("bank-a");
    let wanted = NewAccount {
        minimum_balance_minor: -50,
        ..new_account("alice", 300)
    };
    let opened = bank
        .open_account(new_transaction_id(), &wanted)
        .await
        .unwrap();
    assert_eq!(opened.balance_minor, 300);
    assert_eq!(opened.minimum_balance_minor, -50);
    assert_eq!(
        (opened.owner.as_str(), opened.currency.as_str()),
        ("Owner of alice", "CZK")
    );
    assert_eq!(bank.account("alice").await.unwrap(), opened);

    let close = || bank.close_account(new_transaction_id(), "alice");
    assert_eq!(reason_of(close().await), reason::BALANCE_NOT_ZERO);
    cluster.open("bank-a", "bob", 0).await;
    assert_committed(&cluster.pay("bank-a", &order("alice", "bob", 300)).await);
    close().await.unwrap();
    assert!(bank.account("alice").await.unwrap().closed);
    assert_eq!(reason_of(close().await), reason::ACCOUNT_CLOSED);
    cluster.stop().await;
}

#[tokio::test]
async fn the_same_id_twice_gives_the_same_answer_and_with_another_request_none() {
    let cluster = Cluster::start(&["bank-a"]).await;
    let bank = cluster.bank("bank-a");
    let (id, alice) = (new_transaction_id(), new_account("alice", 300));
    let first = bank.open_account(id, &alice).await.unwrap();
    assert_eq!(bank.open_account(id, &alice).await.unwrap(), first);
    let bob = bank.open_account(id, &new_account("bob", 300)).await;
    assert_eq!(reason_of(bob), Reason::TRANSACTION_ID_REUSED);
    let again = bank.open_account(new_transaction_id(), &alice).await;
    assert_eq!(reason_of(again), reason::ACCOUNT_EXISTS);

    // A refusal is remembered just as well, whatever has happened since.
    let id = new_transaction_id();
    assert_eq!(
        reason_of(bank.close_account(id, "carol").await),
        reason::UNKNOWN_ACCOUNT
    );
    cluster.open("bank-a", "carol", 0).await;
    assert_eq!(
        reason_of(bank.close_account(id, "carol").await),
        reason::UNKNOWN_ACCOUNT
    );
    cluster.stop().await;
}

#[tokio::test]
async fn a_no_is_a_status_with_a_code_that_fits() {
    let cluster = Cluster::start(&["bank-a"]).await;
    cluster.open("bank-a", "alice", 300).await;
    let mut bank = cluster.raw("bank-a");
    let check = |status: Status, code: Code, reason: &Reason, message: &str| {
        assert_eq!(status.code(), code, "{status:?}");
        assert_eq!(&Refused::read(&status).unwrap().refusal.reason, reason);
        assert!(status.message().contains(message), "{}", status.message());
    };

    let account = || "nobody".to_owned();
    let get = v1::GetAccountRequest {
        account: account(),
        without_waiting: false,
    };
    let status = bank.get_account(get).await.unwrap_err();
    check(
        status,
        Code::NotFound,
        &reason::UNKNOWN_ACCOUNT,
        "there is no account nobody",
    );
    let list = v1::ListEntriesRequest { account: account() };
    let status = bank.list_entries(list).await.unwrap_err();
    check(status, Code::NotFound, &reason::UNKNOWN_ACCOUNT, "nobody");

    let open = v1::OpenAccountRequest {
        account: "alice".into(),
        owner: "Alice".into(),
        currency: "CZK".into(),
        ..v1::OpenAccountRequest::default()
    };
    let status = bank.open_account(open.clone()).await.unwrap_err();
    let told = Refused::read(&status).unwrap();
    assert!(
        told.transaction.is_some(),
        "an id that was given for us is told"
    );
    assert_eq!(told.participant.unwrap().as_str(), "bank-a");
    check(
        status,
        Code::AlreadyExists,
        &reason::ACCOUNT_EXISTS,
        "alice exists already",
    );

    let bad = v1::OpenAccountRequest {
        currency: "crowns".into(),
        ..open.clone()
    };
    let status = bank.open_account(bad).await.unwrap_err();
    check(
        status,
        Code::InvalidArgument,
        &reason::INVALID_CURRENCY,
        "\"crowns\": want three",
    );

    let bad = v1::OpenAccountRequest {
        transaction_id: "7".into(),
        ..open
    };
    let status = bank.open_account(bad).await.unwrap_err();
    let reason = Reason::TRANSACTION_ID_INVALID;
    check(
        status,
        Code::InvalidArgument,
        &reason,
        "transaction_id \"7\": want a UUID of version 7",
    );

    let close = v1::CloseAccountRequest {
        account: "alice".into(),
        transaction_id: String::new(),
    };
    let status = bank.close_account(close).await.unwrap_err();
    check(
        status,
        Code::FailedPrecondition,
        &reason::BALANCE_NOT_ZERO,
        "has 300 CZK",
    );
    cluster.stop().await;
}

#[tokio::test]
async fn accounts_are_listed_page_by_page() {
    let cluster = Cluster::start(&["bank-a"]).await;
    for name in ["carol", "alice", "bob"] {
        cluster.open("bank-a", name, 0).await;
    }
    let bank = cluster.bank("bank-a");
    let first = bank.accounts(Some(2), None).await.unwrap();
    let names = |accounts: &[nemcon_client::Account]| -> Vec<String> {
        accounts
            .iter()
            .map(|account| account.name.clone())
            .collect()
    };
    assert_eq!(names(&first.accounts), ["alice", "bob"]);
    let second = bank.accounts(Some(2), first.next.as_deref()).await.unwrap();
    assert_eq!(names(&second.accounts), ["carol"]);
    assert_eq!(second.next, None);
    let all = bank.accounts(Some(3), None).await.unwrap();
    assert_eq!((all.accounts.len(), all.next), (3, None));

    let foreign = bank.accounts(None, Some("not/ours")).await;
    assert_eq!(reason_of(foreign), Reason::INVALID_REQUEST);
    cluster.stop().await;
}

#[tokio::test]
async fn entries_say_where_money_came_from_and_went() {
    let cluster = Cluster::start(&["bank-a"]).await;
    cluster.open("bank-a", "alice", 300).await;
    cluster.open("bank-a", "bob", 0).await;
    let mut pay = order("alice", "bob", 120);
    pay.reference = Some("order 7".into());
    let report = cluster.pay("bank-a", &pay).await;
    let statement = cluster.bank("bank-a").statement("alice").await.unwrap();
    assert_eq!(statement.brought_forward_minor, 0);
    let [opened, paid] = &statement.entries[..] else {
        panic!("{statement:?}");
    };
    assert_eq!((opened.amount_minor, opened.contra), (300, Contra::Cash));
    assert_eq!((paid.amount_minor, paid.contra), (-120, Contra::Clearing));
    assert_eq!(
        (paid.balance_minor, paid.reference.as_deref()),
        (180, Some("order 7"))
    );
    assert_eq!(paid.transaction, report.transaction);
    assert!(paid.booked_at >= opened.booked_at);
    cluster.stop().await;
}
