//! Banks that stop, and start again.

use nemcon_client::new_transaction_id;
use nemcon_ledger::reason;

use super::cluster::{Cluster, assert_committed, no, order, reason as reason_of};

#[tokio::test]
async fn the_money_is_still_there() {
    let mut cluster = Cluster::start(&["bank-a", "bank-b"]).await;
    cluster.open("bank-a", "alice", 300).await;
    cluster.open("bank-b", "bob", 100).await;
    let mut pay = order("alice", "bank-b/bob", 120);
    pay.reference = Some("29401".into());
    let id = new_transaction_id();
    let first = cluster.bank("bank-a").transfer(id, &pay).await.unwrap();
    assert_committed(&first);
    for bank in ["bank-a", "bank-b"] {
        cluster.stop_bank(bank).await;
        cluster.start_bank(bank).await;
    }
    let customers = cluster.customers().await;
    assert_eq!((customers["bank-a"], customers["bank-b"]), (180, 220));
    assert_eq!(
        cluster
            .bank("bank-a")
            .statement("alice")
            .await
            .unwrap()
            .entries
            .len(),
        2
    );

    let again = cluster.bank("bank-a").transfer(id, &pay).await.unwrap();
    assert_committed(&again);
    let refusal = no(cluster.pay("bank-a", &pay).await);
    assert_eq!(refusal.reason, reason::DUPLICATE_REFERENCE);
    assert_eq!(cluster.balance("bank-a", "alice").await, 180);
    cluster.stop().await;
}

#[tokio::test]
async fn what_a_bank_decided_alone_is_still_known_by_its_id() {
    let mut cluster = Cluster::start(&["bank-a"]).await;
    let (opened, refused) = (new_transaction_id(), new_transaction_id());
    let alice = super::cluster::new_account("alice", 300);
    let first = cluster
        .bank("bank-a")
        .open_account(opened, &alice)
        .await
        .unwrap();
    let no = cluster.bank("bank-a").close_account(refused, "alice").await;
    assert_eq!(reason_of(no), reason::BALANCE_NOT_ZERO);
    cluster.stop_bank("bank-a").await;
    cluster.start_bank("bank-a").await;
    let bank = cluster.bank("bank-a");
    assert_eq!(bank.open_account(opened, &alice).await.unwrap(), first);
    assert_eq!(
        reason_of(bank.close_account(refused, "alice").await),
        reason::BALANCE_NOT_ZERO
    );
    cluster.stop().await;
}
