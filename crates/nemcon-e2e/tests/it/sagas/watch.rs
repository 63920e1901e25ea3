//! Watching sagas.

use nemcon_client::{NewSaga, Transaction};
use nemcon_core::message::Payload;
use nemcon_core::saga::{Definition, Operation, Retry, State, Step};
use nemcon_proto::bank::v1::Read;
use nemcon_proto::convert::Change;
use prost::{Message, Name};

use crate::cluster::{Cluster, name};

/// More than HTTP/2 lets go by before it gives up a connection: 1,024 in its life.
const WATCHES: usize = 1_500;

fn look() -> Read {
    Read {
        account: "alice".into(),
    }
}

/// Many watches in a row, each given up or ended, do not cost the connection on which
/// somebody else watches.
#[tokio::test]
async fn watches_that_are_given_up_take_no_connection_with_them() {
    let mut cluster = Cluster::new(&["bank-a"]).await;
    cluster.start_all().await;
    cluster.open("bank-a/alice", 1).await;
    let client = cluster.client();
    let saga = NewSaga::new(Definition {
        steps: vec![Step {
            name: "look".parse().unwrap(),
            depends_on: vec![],
            operations: vec![Operation {
                participant: name("bank-a"),
                action: Payload {
                    type_url: Read::type_url(),
                    value: look().encode_to_vec(),
                },
                read_only: true,
                inputs: vec![],
            }],
            compensation: None,
            retry: Retry::STEP,
            time_limit: None,
            pivot: true,
        }],
        ..Definition::default()
    });
    let mut others = client.watch(None).await.unwrap();
    client.start_saga(&saga).await.unwrap();
    let mut watch = client.watch_saga(saga.id).await.unwrap();
    let mut last = None;
    while let Some(view) = watch.next().await.unwrap() {
        last = Some(view.state);
    }
    assert_eq!(last, Some(State::Completed));
    for _ in 0..WATCHES {
        // Given up before it has said a word.
        drop(client.watch_saga(saga.id).await.unwrap());
    }
    let seen = Transaction::new([nemcon_client::operation(&name("bank-a"), &look(), true)]);
    client.run(&seen).await.unwrap();
    loop {
        match others.next().await.unwrap().expect("it goes on") {
            Change::Transaction(view) if view.transaction == seen.id => return,
            Change::Transaction(_) | Change::Missed(_) => {}
        }
    }
}
