//! Interactive transactions, piece by piece and run again.

use std::time::Duration;

use nemcon_client::{
    AddressedOperation, Client, ClientError, Ending, InteractError, Lent, Mode, Settings, Terms,
    lock, operation,
};
use nemcon_core::message::{Outcome, Payload};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_proto::bank::v1::Read;

use crate::fake::{Fake, Step, hurried, name, results};

fn read() -> AddressedOperation {
    let account = "alice".into();
    operation(&name("bank-a"), &Read { account }, true)
}

fn terms() -> Terms {
    Terms::default().with_timeout(Duration::from_millis(100))
}

fn deadlock() -> Step {
    Step::Abort(Refusal::retryable(
        Reason::DEADLOCK,
        "the youngest gave way",
    ))
}

fn client(fake: &Fake) -> Client {
    Client::new(fake.url.parse().unwrap(), hurried())
}

/// Waits until a call has come in.
async fn came(fake: &Fake, call: &str) {
    let all_in = async {
        while !fake.calls().iter().any(|it| it == call) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_secs(10);
    tokio::time::timeout(limit, all_in).await.expect(call);
}

#[tokio::test]
async fn pieces_are_numbered_and_sent_again_with_their_number() {
    let script = [
        Step::Commit,
        Step::Commit,
        Step::Cut,
        Step::Commit,
        Step::Commit,
    ];
    let fake = Fake::start(script).await;
    let mut transaction = client(&fake).begin(terms()).await.unwrap();
    assert_eq!(transaction.execute([read()]).await.unwrap(), results());
    let wanted = lock(&name("bank-a"), "alice", Mode::Exclusive);
    let tokens = transaction.acquire_locks([wanted]).await.unwrap();
    assert_eq!(tokens[0].counter, 2);
    let id = transaction.id();
    let report = transaction.commit().await.unwrap();
    assert_eq!(report.transaction, id);
    assert!(matches!(report.ending, Ending::Committed(_)));
    let calls = ["begin", "execute 1", "locks 2", "locks 2", "commit"];
    assert_eq!(fake.calls(), calls);
}

#[tokio::test]
async fn what_ended_the_transaction_is_told_by_the_piece() {
    let fake = Fake::start([Step::Commit, Step::Cut, deadlock()]).await;
    let mut transaction = client(&fake).begin(terms()).await.unwrap();
    let error = transaction.execute([read()]).await.unwrap_err();
    let ClientError::Refused(refused) = error else {
        panic!("not refused: {error}");
    };
    assert_eq!(refused.refusal.reason, Reason::DEADLOCK);
    assert_eq!(refused.outcome, Some(Outcome::Aborted));
    assert_eq!(refused.participant, Some(name("bank-a")));
    assert!(refused.refusal.retryable);
}

#[tokio::test]
async fn after_a_piece_that_failed_nothing_is_sent_but_the_abort() {
    let fake = Fake::start([Step::Commit, Step::Refuse(Reason::UNKNOWN_PARTICIPANT)]).await;
    let mut transaction = client(&fake).begin(terms()).await.unwrap();
    transaction.execute([read()]).await.unwrap_err();
    let again = transaction.execute([read()]).await.unwrap_err();
    assert!(again.to_string().contains("begin anew"), "{again}");
    let commit = transaction.commit().await.unwrap_err();
    assert!(commit.to_string().contains("begin anew"), "{commit}");
    came(&fake, "abort").await;
    assert_eq!(fake.calls(), ["begin", "execute 1", "abort"]);
}

#[tokio::test]
async fn a_handle_that_is_dropped_asks_for_the_abort() {
    let fake = Fake::start([Step::Commit]).await;
    drop(client(&fake).begin(terms()).await.unwrap());
    came(&fake, "abort").await;
}

#[tokio::test]
async fn an_unanswered_piece_leaves_no_doubt_about_the_outcome() {
    let fake = Fake::start([Step::Commit, Step::Silence]).await;
    let settings = Settings {
        give_up_after: Duration::ZERO,
        ..hurried()
    };
    let client = Client::new(fake.url.parse().unwrap(), settings);
    let mut transaction = client.begin(terms()).await.unwrap();
    let error = transaction.execute([read()]).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
}

type Told = Result<Vec<Payload>, InteractError<&'static str>>;

async fn look(mut transaction: Lent) -> Told {
    Ok(transaction.execute([read()]).await?)
}

async fn interact(fake: &Fake) -> Told {
    client(fake).interact(terms(), look).await
}

#[tokio::test]
async fn work_is_done_again_as_old_as_at_first() {
    let script = [
        // A victim while it works, another when it commits, and then it goes well.
        [Step::Commit, deadlock()].to_vec(),
        [Step::Commit, Step::Commit, deadlock()].to_vec(),
        [Step::Commit, Step::Refuse(Reason::COORDINATOR_RESTARTED)].to_vec(),
        [Step::Commit, Step::Commit, Step::Commit].to_vec(),
    ];
    let fake = Fake::start(script.concat()).await;
    assert_eq!(interact(&fake).await.unwrap(), results());
    let begun = fake.begun();
    assert_eq!(begun.len(), 4);
    assert_eq!(begun[0].first_transaction_id, "");
    for rerun in &begun[1..] {
        assert_ne!(rerun.transaction_id, begun[0].transaction_id);
        assert_eq!(rerun.first_transaction_id, begun[0].transaction_id);
    }
}

#[tokio::test]
async fn a_no_that_a_rerun_does_not_change_is_final() {
    let no = Refusal::new(Reason::business("INSUFFICIENT_FUNDS"), "alice has 1.00");
    let fake = Fake::start([Step::Commit, Step::Commit, Step::Abort(no.clone())]).await;
    match interact(&fake).await {
        Err(InteractError::Aborted(cause)) => assert_eq!(cause.refusal, no),
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.begun().len(), 1);
}

#[tokio::test]
async fn a_commit_that_may_have_happened_is_never_done_again() {
    let fake = Fake::start([Step::Commit, Step::Commit, Step::Silence]).await;
    let settings = Settings {
        give_up_after: Duration::ZERO,
        ..hurried()
    };
    let client = Client::new(fake.url.parse().unwrap(), settings);
    let told = client.interact(terms(), look).await;
    let unknown = matches!(
        told,
        Err(InteractError::Client(ClientError::Unknown { .. }))
    );
    assert!(unknown, "{told:?}");
    assert_eq!(fake.begun().len(), 1);
}

#[tokio::test]
async fn work_that_gives_up_is_aborted_and_not_repeated() {
    let fake = Fake::start([Step::Commit]).await;
    let work = async |_: Lent| Err(InteractError::Work("no mood for it"));
    let told: Told = client(&fake).interact(terms(), work).await;
    assert!(matches!(told, Err(InteractError::Work("no mood for it"))));
    came(&fake, "abort").await;
    assert_eq!(fake.begun().len(), 1);
}

#[tokio::test]
async fn work_that_keeps_the_transaction_is_not_committed() {
    let fake = Fake::start([Step::Commit]).await;
    let mut kept = None;
    let work = |transaction: Lent| {
        kept = Some(transaction);
        async { Ok(Vec::new()) }
    };
    let told: Told = client(&fake).interact(terms(), work).await;
    assert!(matches!(told, Err(InteractError::Kept)), "{told:?}");
    drop(kept);
    came(&fake, "abort").await;
}

#[tokio::test]
async fn whoever_interacts_can_be_spawned() {
    let fake = Fake::start([Step::Commit, Step::Commit, Step::Commit]).await;
    let client = client(&fake);
    let told = tokio::spawn(async move { client.interact(terms(), look).await });
    assert_eq!(told.await.unwrap().unwrap(), results());
}
