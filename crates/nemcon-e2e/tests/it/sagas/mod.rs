//! Sagas with real processes: a travel agency with two inventories and two banks.

mod kill;
mod trip;
mod watch;

use nemcon_client::{Ending, Transaction, operation, result};
use nemcon_proto::inventory::v1;

use crate::cluster::{Cluster, name};

/// What there is of a seat and of a room: free, held, confirmed.
type Stock = (u32, u32, u32);

/// A cluster with two inventories beside the banks, and something in them.
async fn agency(seats: u32, rooms: u32) -> Cluster {
    let mut cluster = Cluster::new(&["bank-a", "bank-b"]).await;
    for inventory in ["flights", "hotels"] {
        cluster.add(inventory, "nemcon-inventory");
    }
    cluster.start_all().await;
    let add = |at: &str, item: &str, count| {
        let item = item.into();
        operation(&name(at), &v1::AddStock { item, count }, false)
    };
    let stocks = [
        add("flights", "OK-101", seats),
        add("hotels", "Ritz", rooms),
    ];
    let report = cluster.client().run(&Transaction::new(stocks)).await;
    assert!(matches!(report.unwrap().ending, Ending::Committed(_)));
    cluster
}

/// Reads, after whoever holds it now.
async fn stock(cluster: &Cluster, at: &str, item: &str) -> Stock {
    let item = item.into();
    let question = operation(&name(at), &v1::GetStock { item }, true);
    let client = cluster.client();
    let told = client.run_until_decided(Transaction::new([question]));
    match told.await.unwrap().ending {
        Ending::Committed(Some(results)) => {
            let stock: v1::Stock = result(&results[0]).unwrap();
            (stock.free, stock.held, stock.confirmed)
        }
        other => panic!("{other:?}"),
    }
}

/// Seats and rooms.
async fn stocks(cluster: &Cluster) -> (Stock, Stock) {
    let seats = stock(cluster, "flights", "OK-101").await;
    (seats, stock(cluster, "hotels", "Ritz").await)
}
