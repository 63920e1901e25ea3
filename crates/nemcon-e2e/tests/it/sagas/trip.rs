//! The trip of `examples/trip.json`, as docs/sagas-by-example.md tells it: it
//! succeeds, it is taken back, it gets stuck and is resolved. `--nocapture` shows
//! what a person sees.

use nemcon_e2e::{Process, until};
use serde_json::Value;

use super::{agency, stocks};
use crate::architecture::root;
use crate::cluster::{Cluster, SOON, Told};
use crate::hold::Hold;
use crate::money::withdraw;

/// What the trip costs.
const PRICE: i64 = 990_000;

/// An agency with one seat and one room, where alice has so much money.
async fn with_money(balance_minor: i64) -> Cluster {
    let cluster = agency(1, 1).await;
    cluster.open("bank-a/alice", balance_minor).await;
    cluster.open("bank-b/agency", 0).await;
    cluster
}

fn file() -> String {
    root().join("examples/trip.json").display().to_string()
}

/// Runs a command about sagas, and shows what it says.
async fn saga(cluster: &Cluster, arguments: &[&str]) -> Told {
    let told = cluster.nemcon(&[&["saga"], arguments].concat()).await;
    println!(
        "$ nemcon saga {}\n{}{}",
        arguments.join(" "),
        told.stdout,
        told.stderr
    );
    told
}

/// Starts the trip, and does not wait.
async fn started(cluster: &Cluster) -> String {
    let told = saga(cluster, &["start", &file(), "--json"]).await;
    assert_eq!(told.exit, 0, "{told:?}");
    told.json()["sagaId"].as_str().unwrap().to_owned()
}

async fn shown(cluster: &Cluster, id: &str) -> Value {
    let _ = saga(cluster, &["show", id]).await;
    saga(cluster, &["show", id, "--json"]).await.json()
}

/// The states of its steps, in their order.
fn states(saga: &Value) -> Vec<&str> {
    let steps = saga["steps"].as_array().unwrap().iter();
    steps
        .map(|step| step["state"].as_str().unwrap())
        .map(|state| state.trim_start_matches("SAGA_STEP_STATE_"))
        .collect()
}

/// The id of the one saga there is.
async fn only(cluster: &Cluster) -> String {
    let listed = saga(cluster, &["list", "--json"]).await.json();
    let sagas = listed["sagas"].as_array().unwrap();
    assert_eq!(sagas.len(), 1, "{listed:#}");
    sagas[0]["sagaId"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "current_thread")]
async fn a_trip_is_booked() {
    let cluster = with_money(1_000_000).await;
    let told = saga(&cluster, &["start", &file(), "--wait"]).await;
    assert_eq!(told.exit, 0, "{told:?}");
    let shown = shown(&cluster, &only(&cluster).await).await;
    assert_eq!(shown["state"], "SAGA_STATE_COMPLETED");
    assert_eq!(states(&shown), ["DONE"; 5]);
    assert_eq!(stocks(&cluster).await, ((0, 0, 1), (0, 0, 1)));
    assert_eq!(cluster.balance("bank-b/agency").await, PRICE);
    // It cannot be taken back any more.
    let id = shown["sagaId"].as_str().unwrap();
    let told = saga(&cluster, &["cancel", id]).await;
    assert_eq!(told.exit, 1, "{told:?}");
    assert!(told.stderr.contains("SAGA_NOT_CANCELLABLE"), "{told:?}");
    // Nobody has asked for a decision by hand, though it would be so already.
    let word = ["--done", "--reason=looked", "--operator=jana"];
    let told = saga(&cluster, &[&["resolve", id, "hotel"], &word[..]].concat()).await;
    assert_eq!(told.exit, 1, "{told:?}");
    assert!(told.stderr.contains("SAGA_NOT_RESOLVABLE"), "{told:?}");
    assert!(told.stderr.contains("is COMPLETED"), "{told:?}");
    // Who asks for all banks is not kept from them by those that are none.
    let audit = cluster.nemcon(&["bank", "audit", "--json"]).await;
    assert_eq!(audit.exit, 0, "{audit:?}");
    assert!(audit.stderr.contains("hotels is no bank"), "{audit:?}");
    let accounts = cluster.nemcon(&["bank", "accounts"]).await;
    assert_eq!(accounts.exit, 0, "{accounts:?}");
    assert!(accounts.stdout.contains("bank-b/agency"), "{accounts:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_trip_that_cannot_be_paid_is_taken_back() {
    let cluster = with_money(PRICE - 1).await;
    let told = saga(&cluster, &["start", &file(), "--wait"]).await;
    assert_eq!(told.exit, 1, "{told:?}");
    assert!(told.stdout.contains("INSUFFICIENT_FUNDS"), "{told:?}");
    let shown = shown(&cluster, &only(&cluster).await).await;
    assert_eq!(shown["state"], "SAGA_STATE_COMPENSATED");
    assert_eq!(shown["cause"]["reason"], "INSUFFICIENT_FUNDS");
    let expected = ["COMPENSATED", "COMPENSATED", "FAILED", "WAITING", "WAITING"];
    assert_eq!(states(&shown), expected);
    assert_eq!(stocks(&cluster).await, ((1, 0, 0), (1, 0, 0)));
    assert_eq!(cluster.balance("bank-a/alice").await, PRICE - 1);
}

/// A trip whose payment is refused while the hotels are down.
struct Stuck {
    cluster: Cluster,
    id: String,
    follower: Process,
}

async fn stuck() -> Stuck {
    let mut cluster = with_money(PRICE - 1).await;
    // Somebody else is at alice's account, so the payment waits.
    let hold = Hold::on(&cluster, "bank-a", &withdraw("alice", 1)).await;
    let id = started(&cluster).await;
    until("the payment is tried", SOON, async || {
        let shown = cluster
            .nemcon(&["saga", "show", &id, "--json"])
            .await
            .json();
        match states(&shown)[..3] {
            ["DONE", "DONE", "TRYING"] => Ok(()),
            _ => Err(format!("{shown:#}")),
        }
    })
    .await;
    let follower = cluster.spawn_nemcon("follower", &["saga", "watch", &id]);
    cluster.bank_mut("hotels").kill();
    hold.abort().await;
    until("the saga is stuck", SOON, async || {
        let shown = cluster
            .nemcon(&["saga", "show", &id, "--json"])
            .await
            .json();
        if shown["state"] == "SAGA_STATE_STUCK" {
            Ok(())
        } else {
            Err(format!("{shown:#}"))
        }
    })
    .await;
    Stuck {
        cluster,
        id,
        follower,
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_trip_that_is_stuck_goes_on_when_the_hotel_is_back() {
    let Stuck {
        mut cluster,
        id,
        mut follower,
    } = stuck().await;
    let expected = [
        "COMPENSATED",
        "COMPENSATION_STUCK",
        "FAILED",
        "WAITING",
        "WAITING",
    ];
    assert_eq!(states(&shown(&cluster, &id).await), expected);
    let listed = saga(&cluster, &["list", "--state", "stuck"]).await;
    assert!(listed.stdout.contains(&id), "{listed:?}");
    cluster.bank_mut("hotels").start().await;
    cluster.complete().await;
    let who = ["--reason", "hotels is back", "--operator", "jana"];
    let told = saga(&cluster, &[&["resume", &id], &who[..]].concat()).await;
    assert_eq!(told.exit, 0, "{told:?}");
    let status = follower.ended(SOON).await;
    println!("{}", follower.stdout());
    assert_eq!(status.code(), Some(1), "{}", follower.stdout());
    let shown = shown(&cluster, &id).await;
    assert_eq!(shown["state"], "SAGA_STATE_COMPENSATED");
    assert_eq!(shown["hands"][0]["operator"], "jana");
    assert_eq!(stocks(&cluster).await, ((1, 0, 0), (1, 0, 0)));
}

#[tokio::test(flavor = "current_thread")]
async fn a_trip_that_is_stuck_is_settled_by_the_word_of_a_person() {
    let Stuck { cluster, id, .. } = stuck().await;
    let resolve = |step, how| {
        let id = id.clone();
        vec![
            "resolve".to_owned(),
            id,
            step,
            how,
            "--reason=cancelled by phone".into(),
            "--operator=jana".into(),
        ]
    };
    let arguments = resolve("hotel".to_owned(), "--compensated".to_owned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let told = saga(&cluster, &arguments).await;
    assert_eq!(told.exit, 0, "{told:?}");
    let told = saga(&cluster, &["watch", &id]).await;
    assert_eq!(told.exit, 1, "{told:?}");
    let shown = shown(&cluster, &id).await;
    assert_eq!(shown["state"], "SAGA_STATE_COMPENSATED");
    assert_eq!(shown["hands"][0]["step"], "hotel");
    assert_eq!(shown["hands"][0]["reason"], "cancelled by phone");
}

#[tokio::test(flavor = "current_thread")]
async fn who_asks_for_nonsense_is_told_what_is_wanted() {
    let cluster = with_money(0).await;
    let stranger = "01890a5d-ac96-774b-bcce-b302099a8057";
    for command in ["show", "watch", "cancel"] {
        let told = saga(&cluster, &[command, stranger]).await;
        assert_eq!(told.exit, 1, "{told:?}");
        assert!(told.stderr.contains("UNKNOWN_SAGA"), "{told:?}");
    }
    let told = saga(&cluster, &["start", "no-such-file"]).await;
    assert_eq!(told.exit, 2, "{told:?}");
    let told = saga(&cluster, &["show", "7"]).await;
    assert_eq!(told.exit, 2, "{told:?}");
    // The same id joins, another saga under it is refused.
    let text = std::fs::read_to_string(file()).unwrap();
    let named = |text: &str, at: &str| {
        let path = cluster.dir().join(at);
        let text = text.replacen('{', "{\"sagaId\": \"SAGA\",", 1);
        let id = nemcon_client::new_saga_id().to_string();
        std::fs::write(&path, text.replace("SAGA", &id)).unwrap();
        path.display().to_string()
    };
    let first = named(&text, "first.json");
    for _ in 0..2 {
        let told = saga(&cluster, &["start", &first, "--wait"]).await;
        assert_eq!(told.exit, 1, "{told:?}");
    }
    let other = std::fs::read_to_string(&first)
        .unwrap()
        .replace("Oslo", "Bergen");
    std::fs::write(cluster.dir().join("other.json"), other).unwrap();
    let told = saga(&cluster, &["start", "other.json"]).await;
    assert_eq!(told.exit, 1, "{told:?}");
    assert!(told.stderr.contains("SAGA_ID_REUSED"), "{told:?}");
}
