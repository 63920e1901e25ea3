//! Who holds what, and who waits for it.

use std::time::{Duration, Instant};

use nemcon_client::{AddressedLock, Client, Interactive, Mode, Terms, lock};
use nemcon_core::id::TransactionId;
use tempfile::TempDir;

use crate::cluster::{Said, Up, run};

fn alice() -> AddressedLock {
    lock(&"a".parse().unwrap(), "alice", Mode::Exclusive)
}

/// Runs a command while the runtime of the test goes on.
async fn said(url: &str, arguments: &[&str]) -> Said {
    let arguments: Vec<String> = ["--coordinator", url]
        .iter()
        .chain(arguments)
        .map(ToString::to_string)
        .collect();
    let run = move || run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Waits until the waiter is seen.
async fn sentence(url: &str, waiter: TransactionId) -> String {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let told = said(url, &["waits"]).await.done();
        if told.contains(&waiter.to_string()) {
            return told;
        }
        assert!(Instant::now() < until, "{told}");
    }
}

async fn look(url: &str) {
    let client = Client::connect(url).unwrap();
    assert_eq!(said(url, &["waits"]).await.done(), "Nobody waits.\n");
    assert_eq!(
        said(url, &["locks", "--json"]).await.json(),
        serde_json::json!([])
    );
    assert_eq!(
        said(url, &["waits", "--json"]).await.json(),
        serde_json::json!([])
    );

    let terms = || Terms::default().with_timeout(Duration::from_secs(60));
    let mut holder: Interactive = client.begin(terms()).await.unwrap();
    let mut waiter: Interactive = client.begin(terms()).await.unwrap();
    let (holds, waits) = (holder.id(), waiter.id());
    holder.acquire_locks([alice()]).await.unwrap();
    let waiting = tokio::spawn(async move {
        // It may wait for longer than one may; what matters is that it waits.
        let _ = waiter.acquire_locks([alice()]).await;
        waiter
    });

    let told = sentence(url, waits).await;
    for part in ["a/alice at a: held by", &holds.to_string(), " waits 0."] {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    let found = said(url, &["waits", "--json"]).await.json();
    assert_eq!(found[0]["heldBy"][0], holds.to_string());
    let drawn = said(url, &["waits", "--dot"]).await.done();
    let arrow = format!("\"{waits}\" -> \"{holds}\"");
    assert!(drawn.contains(&arrow), "{drawn}");

    let listed = said(url, &["locks", "--participant", "a"]).await.done();
    let lines: Vec<&str> = listed.lines().skip(1).collect();
    let (first, second) = (lines[0], lines[1]);
    assert!(
        first.contains(&holds.to_string()) && first.contains("holds"),
        "{listed}"
    );
    assert!(
        second.contains(&waits.to_string()) && second.contains("waits"),
        "{listed}"
    );
    let found = said(url, &["locks", "--json"]).await.json();
    assert_eq!(found[0]["shown"], "a/alice");
    assert_eq!(found[0]["participant"], "a");

    let shown = said(url, &["txn", "show", &waits.to_string()]).await.done();
    assert!(shown.contains("waits at a for a/alice"), "{shown}");
    holder.commit().await.unwrap();
    drop(waiting.await.unwrap());
}

#[test]
fn whoever_holds_and_whoever_waits_is_shown() {
    let dir = TempDir::new().unwrap();
    let up = Up::start("a,b", dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(look(&up.url));
}
