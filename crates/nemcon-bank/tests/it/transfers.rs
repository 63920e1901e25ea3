//! Money that moves, and money that stays where it is.

use nemcon_client::{Transaction, Transfer, new_transaction_id, operation};
use nemcon_core::reason::Reason;
use nemcon_ledger::reason;
use nemcon_net::Refused;
use nemcon_proto::bank::v1;
use tonic::Code;

use super::cluster::{Cluster, assert_committed, name, no, order, reason as reason_of};

/// Two banks, alice with 300 at the one, bob with 100 at the other.
async fn two_banks() -> Cluster {
    let cluster = Cluster::start(&["bank-a", "bank-b"]).await;
    cluster.open("bank-a", "alice", 300).await;
    cluster.open("bank-b", "bob", 100).await;
    cluster
}

/// Everyone has what they had.
async fn assert_untouched(cluster: &Cluster) {
    let customers = cluster.customers().await;
    assert_eq!((customers["bank-a"], customers["bank-b"]), (300, 100));
}

#[tokio::test]
async fn money_moves_between_banks_and_the_books_still_balance() {
    let cluster = two_banks().await;
    assert_committed(
        &cluster
            .pay("bank-a", &order("alice", "bank-b/bob", 120))
            .await,
    );
    assert_eq!(cluster.balance("bank-a", "alice").await, 180);
    assert_eq!(cluster.balance("bank-b", "bob").await, 220);
    assert_committed(
        &cluster
            .pay("bank-b", &order("bob", "bank-a/alice", 20))
            .await,
    );
    let customers = cluster.customers().await;
    assert_eq!((customers["bank-a"], customers["bank-b"]), (200, 200));
    cluster.stop().await;
}

#[tokio::test]
async fn money_moves_within_a_bank_named_or_not() {
    let cluster = two_banks().await;
    cluster.open("bank-a", "carol", 0).await;
    assert_committed(&cluster.pay("bank-a", &order("alice", "carol", 100)).await);
    assert_committed(
        &cluster
            .pay("bank-a", &order("alice", "bank-a/carol", 100))
            .await,
    );
    assert_eq!(cluster.balance("bank-a", "carol").await, 200);
    assert_untouched(&cluster).await;
    cluster.stop().await;
}

#[tokio::test]
async fn the_same_id_twice_pays_once() {
    let cluster = two_banks().await;
    let bank = cluster.bank("bank-a");
    for to in ["bank-b/bob", "carol"] {
        if to == "carol" {
            cluster.open("bank-a", "carol", 0).await;
        }
        let (id, pay) = (new_transaction_id(), order("alice", to, 100));
        let first = bank.transfer(id, &pay).await.unwrap();
        assert_committed(&first);
        assert_eq!(bank.transfer(id, &pay).await.unwrap(), first);
        let other = Transfer {
            amount_minor: 1,
            ..pay
        };
        assert_eq!(
            reason_of(bank.transfer(id, &other).await),
            Reason::TRANSACTION_ID_REUSED
        );
    }
    assert_eq!(cluster.balance("bank-a", "alice").await, 100);
    cluster.stop().await;
}

#[tokio::test]
async fn who_has_too_little_pays_nothing() {
    let cluster = two_banks().await;
    let refusal = no(cluster
        .pay("bank-a", &order("alice", "bank-b/bob", 301))
        .await);
    assert_eq!(refusal.reason, reason::INSUFFICIENT_FUNDS);
    assert!(!refusal.retryable);
    assert_eq!(
        refusal.message,
        "bank-a: account alice has 300 CZK and must keep 0; cannot take 301 (minor units)"
    );
    assert_untouched(&cluster).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_reference_pays_once_and_the_repeat_hears_by_whom() {
    let cluster = two_banks().await;
    let pay = Transfer {
        reference: Some("29401".into()),
        ..order("alice", "bank-b/bob", 10)
    };
    let first = cluster.pay("bank-a", &pay).await;
    assert_committed(&first);
    let refusal = no(cluster.pay("bank-a", &pay).await);
    assert_eq!(refusal.reason, reason::DUPLICATE_REFERENCE);
    assert!(
        refusal.message.contains(&first.transaction.to_string()),
        "{refusal}"
    );

    // It is on the receiving account as well, whoever pays.
    cluster.open("bank-b", "carol", 50).await;
    let pay = Transfer {
        reference: Some("29401".into()),
        ..order("carol", "bob", 10)
    };
    let refusal = no(cluster.pay("bank-b", &pay).await);
    assert_eq!(refusal.reason, reason::DUPLICATE_REFERENCE);
    assert!(
        refusal.message.starts_with("bank-b: reference \"29401\""),
        "{refusal}"
    );
    assert_eq!(cluster.balance("bank-a", "alice").await, 290);
    cluster.stop().await;
}

#[tokio::test]
async fn every_other_no_has_its_reason_too() {
    let cluster = two_banks().await;
    cluster.open("bank-b", "rich", i64::MAX - 100).await;
    cluster.open("bank-b", "gone", 0).await;
    cluster
        .bank("bank-b")
        .close_account(new_transaction_id(), "gone")
        .await
        .unwrap();
    let in_euros = Transfer {
        currency: "EUR".into(),
        ..order("alice", "bank-b/bob", 1)
    };
    let in_nothing = Transfer {
        currency: String::new(),
        ..order("alice", "bank-b/bob", 1)
    };
    for (transfer, reason, bank, words) in [
        (
            in_euros,
            reason::CURRENCY_MISMATCH,
            "bank-a",
            "is kept in CZK, not in EUR",
        ),
        (
            in_nothing,
            reason::INVALID_CURRENCY,
            "bank-",
            "want three letters",
        ),
        (
            order("nobody", "bank-b/bob", 1),
            reason::UNKNOWN_ACCOUNT,
            "bank-a",
            "nobody",
        ),
        (
            order("alice", "bank-b/nobody", 1),
            reason::UNKNOWN_ACCOUNT,
            "bank-b",
            "nobody",
        ),
        (
            order("alice", "bank-b/gone", 1),
            reason::ACCOUNT_CLOSED,
            "bank-b",
            "gone is closed",
        ),
        (
            order("alice", "bank-b/rich", 200),
            reason::BALANCE_OVERFLOW,
            "bank-b",
            "would pass",
        ),
        (
            order("alice", "bank-b/bob", 0),
            reason::AMOUNT_NOT_POSITIVE,
            "bank-",
            "at least 1",
        ),
        (
            order("alice", "bank-b/bob", -5),
            reason::AMOUNT_NOT_POSITIVE,
            "bank-",
            "-5 CZK",
        ),
        (
            order("a b", "bank-b/bob", 1),
            reason::INVALID_ACCOUNT,
            "bank-a",
            "\"a b\"",
        ),
    ] {
        let refusal = no(cluster.pay("bank-a", &transfer).await);
        // A currency that both banks see is wrong is refused by either.
        let expected = refusal.reason == reason
            && refusal.message.contains(words)
            && (refusal.message.starts_with(bank) || transfer.currency == "EUR");
        assert!(expected, "{transfer:?}: {refusal}");
    }
    assert_eq!(cluster.balance("bank-a", "alice").await, 300);
    cluster.stop().await;
}

#[tokio::test]
async fn what_cannot_be_an_order_is_a_status() {
    let cluster = two_banks().await;
    let mut bank = cluster.raw("bank-a");
    let good = v1::TransferRequest {
        from_account: "alice".into(),
        to_bank: "bank-b".into(),
        to_account: "bob".into(),
        amount_minor: 1,
        currency: "CZK".into(),
        ..v1::TransferRequest::default()
    };
    let to_herself = v1::TransferRequest {
        to_bank: String::new(),
        to_account: "alice".into(),
        ..good.clone()
    };
    let named = v1::TransferRequest {
        to_bank: "bank-a".into(),
        ..to_herself.clone()
    };
    let no_name = v1::TransferRequest {
        to_bank: "b b".into(),
        ..good.clone()
    };
    let no_id = v1::TransferRequest {
        transaction_id: "x".into(),
        ..good.clone()
    };
    let nowhere = v1::TransferRequest {
        to_bank: "bank-z".into(),
        ..good
    };
    for (request, code, reason, words) in [
        (
            to_herself,
            Code::InvalidArgument,
            Reason::INVALID_REQUEST,
            "to_account \"alice\": want another",
        ),
        (
            named,
            Code::InvalidArgument,
            Reason::INVALID_REQUEST,
            "to_account",
        ),
        (
            no_name,
            Code::InvalidArgument,
            Reason::INVALID_REQUEST,
            "to_bank \"b b\"",
        ),
        (
            no_id,
            Code::InvalidArgument,
            Reason::TRANSACTION_ID_INVALID,
            "transaction_id",
        ),
        (
            nowhere,
            Code::FailedPrecondition,
            Reason::UNKNOWN_PARTICIPANT,
            "bank-z",
        ),
    ] {
        let status = bank.transfer(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), code, "{request:?}");
        assert_eq!(
            Refused::read(&status).unwrap().refusal.reason,
            reason,
            "{request:?}"
        );
        assert!(status.message().contains(words), "{}", status.message());
    }
    assert_untouched(&cluster).await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_operation_that_no_bank_understands_aborts_the_whole_transaction() {
    let cluster = two_banks().await;
    let withdraw = v1::Withdraw {
        account: "alice".into(),
        amount_minor: 1,
        currency: "CZK".into(),
        ..v1::Withdraw::default()
    };
    let strange = v1::Account::default();
    for (operations, reason) in [
        (
            [
                operation(&name("bank-a"), &withdraw, false),
                operation(&name("bank-b"), &strange, false),
            ],
            Reason::INVALID_ACTION,
        ),
        (
            [
                operation(&name("bank-a"), &withdraw, true),
                operation(&name("bank-b"), &v1::Audit {}, true),
            ],
            Reason::READ_ONLY_VIOLATED,
        ),
    ] {
        let report = cluster
            .client()
            .run(&Transaction::new(operations))
            .await
            .unwrap();
        assert_eq!(no(report).reason, reason);
    }
    assert_untouched(&cluster).await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_account_of_the_same_name_at_another_bank_is_another() {
    let cluster = two_banks().await;
    cluster.open("bank-b", "alice", 0).await;
    assert_committed(
        &cluster
            .pay("bank-a", &order("alice", "bank-b/alice", 300))
            .await,
    );
    assert_eq!(cluster.balance("bank-a", "alice").await, 0);
    assert_eq!(cluster.balance("bank-b", "alice").await, 300);
    cluster.stop().await;
}

#[tokio::test]
async fn many_customers_at_once_lose_nothing() {
    let cluster = two_banks().await;
    let mut orders = tokio::task::JoinSet::new();
    for n in 0..40 {
        let there = n % 2 == 0;
        let bank = cluster.bank(if there { "bank-a" } else { "bank-b" });
        let pay = if there {
            order("alice", "bank-b/bob", 1)
        } else {
            order("bob", "bank-a/alice", 1)
        };
        orders.spawn(async move { bank.transfer(new_transaction_id(), &pay).await });
    }
    while let Some(paid) = orders.join_next().await {
        // Two that cross each other may wait in a circle; then one of them is
        // told that trying again helps.
        let report = paid.unwrap().unwrap();
        if let nemcon_client::Ending::Aborted(cause) = report.ending {
            assert!(cause.refusal.retryable, "{cause:?}");
        }
    }
    assert_eq!(cluster.customers().await.values().sum::<i64>(), 400);
    cluster.stop().await;
}
