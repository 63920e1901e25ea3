//! What nodes log, read by a program.

use nemcon_client::Ending;
use nemcon_e2e::{Node, until};
use nemcon_proto::v1;
use nemcon_proto::v1::participant_admin_service_client::ParticipantAdminServiceClient;
use serde_json::Value;
use tonic::Request;

use crate::cluster::{Cluster, SOON, channel};
use crate::hold::Hold;
use crate::money::{payment, request, withdraw};

/// All that our own crates have to say, and of the others what is of interest.
const LEVEL: &str = "--log-level=info,nemcon_coordinator=trace,nemcon_participant=trace,\
                     nemcon_bank=trace,nemcon_node=trace,nemcon_net=trace,nemcon_wal=trace";

/// What may be in no line: an account's name, which is in payloads and keys, and a
/// password, which is in metadata.
const ACCOUNT: &str = "alice-4711";
const PASSWORD: &str = "correct-horse";

/// Every line of a node so far, each of which is an object of its own.
fn lines(node: &Node) -> Vec<Value> {
    let log = node.process().stderr();
    for secret in [ACCOUNT, PASSWORD] {
        assert!(!log.contains(secret), "{secret} in the log: {log}");
    }
    // The last may not be whole yet.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let read = |line| serde_json::from_str(line).unwrap_or_else(|it| panic!("{it}: {line}"));
    whole.lines().map(read).collect()
}

/// Waits for a line whose message begins so.
async fn line(node: &Node, message: &str) -> Value {
    let what = format!("{} says {message:?}", node.name());
    until(&what, SOON, async || {
        let lines = lines(node);
        let is_it = |line: &&Value| {
            let said = line["fields"]["message"].as_str().unwrap_or_default();
            said.starts_with(message)
        };
        let found = lines.iter().find(is_it).cloned();
        found.ok_or_else(|| format!("{lines:?}"))
    })
    .await
}

#[tokio::test]
async fn each_line_is_an_object_that_names_its_node_and_what_it_is_about() {
    let mut cluster = Cluster::new(&["a", "b"]).await;
    for node in cluster.nodes() {
        node.add_arguments(&["--log-format=json", LEVEL]);
    }
    cluster.start_all().await;
    let payer = format!("a/{ACCOUNT}");
    cluster.open(&payer, 1_000).await;
    cluster.open("b/bob", 0).await;

    // Somebody decides by hand, and the coordinator otherwise.
    let hold = Hold::on(&cluster, "a", &withdraw(ACCOUNT, 10)).await;
    let doubts = cluster.in_doubt_at("a").await.unwrap();
    let attempt = doubts[0].attempt.clone().unwrap();
    let transaction = &doubts[0].transaction_id;
    let admin = channel(&cluster.bank("a").url());
    let resolve = v1::ResolveAttemptRequest {
        attempt: Some(attempt.clone()),
        outcome: v1::Outcome::Committed.into(),
        reason: "the customer is at the counter".into(),
    };
    let mut admin = ParticipantAdminServiceClient::new(admin);
    admin.resolve_attempt(resolve).await.unwrap();
    hold.abort().await;
    let by_hand = line(cluster.bank("a"), "an operator decides by hand").await;
    assert_eq!(by_hand["level"], "WARN", "{by_hand}");
    assert_eq!(by_hand["span"]["node"], "a", "{by_hand}");
    assert_eq!(
        by_hand["fields"]["reason"],
        "the customer is at the counter"
    );
    let damage = line(cluster.bank("a"), "heuristic damage").await;
    assert_eq!(damage["level"], "ERROR", "{damage}");
    assert_eq!(damage["fields"]["attempt"], by_hand["fields"]["attempt"]);
    assert_eq!(damage["fields"]["transaction"], *transaction);
    let (coordinator, epoch) = (&attempt.coordinator[..8], attempt.epoch);
    let named = format!("{coordinator}/{epoch}.{}", attempt.sequence);
    assert_eq!(damage["fields"]["attempt"], named);

    // A bank that is away: the line says which attempt it holds up, and the whole
    // reason, down to what the operating system says.
    cluster.bank_mut("b").kill();
    let pay = payment(&payer, "b/bob", 10).with_timeout(std::time::Duration::from_secs(2));
    let mut asked = Request::new(request(&pay));
    let password = format!("Bearer {PASSWORD}").parse().unwrap();
    asked.metadata_mut().insert("authorization", password);
    let mut raw = cluster.raw();
    let asked = raw.run_transaction(asked);
    let (silence, _) = tokio::join!(line(&cluster.coordinator, "no answer"), asked);
    assert_eq!(silence["span"]["node"], "coordinator", "{silence}");
    assert_eq!(silence["fields"]["participant"], "b");
    let error = silence["fields"]["error"].as_str().unwrap();
    assert!(
        error.contains("refused") || error.contains("closed"),
        "{error}"
    );

    cluster.bank_mut("b").start().await;
    cluster.complete().await;
    let paid = cluster
        .client()
        .run(&payment(&payer, "b/bob", 10))
        .await
        .unwrap();
    assert!(matches!(paid.ending, Ending::Committed(_)), "{paid:?}");
    for node in [&cluster.coordinator, cluster.bank("a"), cluster.bank("b")] {
        let lines = lines(node);
        assert!(lines.len() > 3, "{lines:?}");
        for line in &lines {
            for key in ["timestamp", "level", "target"] {
                assert!(line[key].is_string(), "no {key}: {line}");
            }
            let message = &line["fields"]["message"];
            assert!(message.is_string(), "no message: {line}");
        }
    }
}
