//! Transactions that travel many in one message.

use std::task::Poll;
use std::time::Duration;

use nemcon_client::{Client, ClientError, Ending, Settings, Transaction, operation};
use nemcon_core::reason::Reason;
use nemcon_proto::bank::v1::Read;

use crate::fake::{Fake, Step, hurried, name};

fn transaction() -> Transaction {
    let read = Read {
        account: "alice".into(),
    };
    Transaction::new([operation(&name("bank-a"), &read, false)])
        .with_timeout(Duration::from_millis(500))
}

fn client(fake: &Fake) -> Client {
    Client::new(fake.url.parse().unwrap(), hurried())
}

/// Runs transactions until one has travelled on the stream.
async fn stands(fake: &Fake, client: &Client) {
    let before = fake.streamed();
    let one_travelled = async {
        while fake.streamed() == before {
            fake.then([Step::Commit]);
            client.run(&transaction()).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), one_travelled)
        .await
        .expect("a stream should have come to stand");
}

#[tokio::test]
async fn each_transaction_has_its_own_answer() {
    let fake = Fake::start([]).await.with_streams();
    let client = client(&fake).streaming(8);
    stands(&fake, &client).await;
    let alone = fake.seen().len() - fake.streamed();

    fake.then([Step::Commit]);
    let report = client.run(&transaction()).await.unwrap();
    assert!(matches!(report.ending, Ending::Committed(_)));
    fake.then([Step::Refuse(Reason::OUTCOME_FORGOTTEN)]);
    match client.run(&transaction()).await {
        Err(ClientError::Unknown { .. } | ClientError::Refused(_)) => {}
        other => panic!("{other:?}"),
    }
    fake.then(std::iter::repeat_n(Step::Commit, 5));
    let together = (0..5).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.run(&transaction()).await.unwrap() })
    });
    for running in together.collect::<Vec<_>>() {
        running.await.unwrap();
    }
    assert_eq!(fake.seen().len() - fake.streamed(), alone);
    assert_eq!(fake.streams(), 1);
}

#[tokio::test]
async fn what_a_broken_stream_leaves_open_is_sent_again_under_its_id() {
    let fake = Fake::start([]).await.with_streams();
    let client = client(&fake).streaming(8);
    stands(&fake, &client).await;
    let before = fake.seen().len();
    fake.then([Step::Cut, Step::Commit]);
    let transaction = transaction();
    let report = client.run(&transaction).await.unwrap();
    assert_eq!(report.transaction, transaction.id);
    assert_eq!(fake.ids()[before..], [transaction.id; 2]);
    let named = &fake.named()[before..];
    assert_eq!(named, [String::new(), fake.identity().to_string()]);
    // And a new stream comes in its place.
    stands(&fake, &client).await;
    assert_eq!(fake.streams(), 2);
}

#[tokio::test]
async fn a_coordinator_without_streams_is_asked_once() {
    let fake = Fake::start([]).await;
    let client = client(&fake).streaming(8);
    for _ in 0..5 {
        fake.then([Step::Commit]);
        client.run(&transaction()).await.unwrap();
    }
    assert_eq!((fake.streams(), fake.streamed()), (1, 0));
}

#[tokio::test]
async fn beyond_the_window_transactions_wait_for_their_turn() {
    let fake = Fake::start([]).await.with_streams();
    let client = client(&fake).streaming(1);
    stands(&fake, &client).await;
    let before = fake.seen().len();
    fake.then([Step::Silence, Step::Commit]);
    let (one, two) = (transaction(), transaction());
    let mut first = Box::pin(client.run(&one));
    let mut second = Box::pin(client.run(&two));
    let first_arrives = std::future::poll_fn(|context| {
        assert!(first.as_mut().poll(context).is_pending());
        assert!(second.as_mut().poll(context).is_pending());
        if fake.seen().len() == before {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    });
    first_arrives.await;
    assert_eq!(fake.ids()[before..], [one.id]);
    let impatient = client.with_settings(Settings {
        give_up_after: Duration::ZERO,
        ..hurried()
    });
    match impatient.run(&transaction()).await {
        Err(ClientError::Refused(refused)) => {
            assert_eq!(refused.refusal.reason, Reason::TOO_MANY_REQUESTS);
        }
        other => panic!("{other:?}"),
    }
    // That this try did not run says nothing of those before.
    let sent_before = transaction().sent_before(None);
    match impatient.run(&sent_before).await {
        Err(ClientError::Unknown { transaction, .. }) => assert_eq!(transaction, sent_before.id),
        other => panic!("{other:?}"),
    }
    drop(first);
    let report = second.await.unwrap();
    assert_eq!(report.transaction, two.id);
}
