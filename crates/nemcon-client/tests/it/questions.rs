//! Questions, and streams.

use nemcon_client::{Change, Client, ClientError, Ending, new_transaction_id};
use nemcon_proto::v1::{self, watch_transactions_response::Event};

use crate::fake::{Fake, hurried};

fn client(fake: &Fake) -> Client {
    Client::new(fake.url.parse().unwrap(), hurried())
}

#[tokio::test]
async fn an_abort_that_came_too_late_says_committed() {
    let fake = Fake::start([]).await;
    let ending = client(&fake)
        .abort(new_transaction_id(), "changed my mind")
        .await
        .unwrap();
    assert_eq!(ending, Ending::Committed(None));
}

#[tokio::test]
async fn a_state_that_is_not_known_is_nonsense_and_says_where() {
    let fake = Fake::start([]).await;
    let error = client(&fake)
        .transaction(new_transaction_id())
        .await
        .unwrap_err();
    let shown = error.to_string();
    assert!(matches!(error, ClientError::Protocol { .. }), "{shown}");
    assert!(
        shown.contains(&fake.url) && shown.contains("transaction."),
        "{shown}"
    );
}

#[tokio::test]
async fn a_node_without_the_service_is_told_from_one_that_refuses() {
    let fake = Fake::start([]).await;
    let error = client(&fake).statistics(0).await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn a_watcher_is_told_what_it_missed_and_when_it_is_over() {
    let missed = v1::WatchTransactionsResponse {
        event: Some(Event::Missed(7)),
    };
    let nothing = v1::WatchTransactionsResponse { event: None };
    let fake = Fake::start([]).await.changes(vec![missed, nothing]);
    let mut watch = client(&fake).watch(None).await.unwrap();
    assert_eq!(watch.next().await.unwrap(), Some(Change::Missed(7)));
    let error = watch.next().await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
    assert_eq!(watch.next().await.unwrap(), None);
}

#[tokio::test]
async fn an_address_is_checked_before_anything_is_sent() {
    let error = Client::connect("127.0.0.1:7100").unwrap_err();
    assert!(matches!(error, ClientError::Address(_)));
    assert!(
        error.to_string().contains("want http://HOST:PORT"),
        "{error}"
    );
}
