//! What a real coordinator and a real participant show of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use nemcon_node::node::NodeHandle;
use nemcon_proto::v1;
use nemcon_proto::v1::admin_service_client::AdminServiceClient;
use nemcon_proto::v1::transaction_service_client::TransactionServiceClient;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;

use crate::cluster::{Cluster, operation, request};

/// How many transactions end how in the comparison of figures; `NEMCON_LONG` in the
/// environment makes it a hundred times as many.
const TRANSACTIONS: u64 = 100;

/// A `GET` by HTTP.
fn fetch(node: &NodeHandle, path: &str) -> String {
    let address = node.http_address().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.to_owned()
}

/// The value of a series; zero for one that does not exist yet.
fn value(text: &str, series: &str) -> f64 {
    let mut lines = text.lines();
    let line = lines.find(|line| {
        line.strip_prefix(series)
            .is_some_and(|it| it.starts_with(' '))
    });
    line.map_or(0.0, |line| {
        line.rsplit(' ').next().unwrap().parse().unwrap()
    })
}

/// Names with their types, as a node exposes them.
fn exposed(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

/// Names with their types, as the page has them for one kind of node.
fn documented(page: &str, kind: &str) -> BTreeMap<String, String> {
    let rows = page.lines().filter(|line| line.starts_with("| `nemcon_"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .filter(|cells| cells[2] == kind || cells[2] == "both")
        .map(|cells| (cells[1].trim_matches('`').to_owned(), cells[3].to_owned()))
        .collect()
}

/// The names of the labels of every series of a metric, but for those of histograms.
fn labels(text: &str, name: &str) -> BTreeSet<String> {
    let series = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    series
        .flat_map(|rest| rest.split_once('}').unwrap().0.split(','))
        .map(|label| label.split_once('=').unwrap().0.to_owned())
        .collect()
}

#[tokio::test(flavor = "current_thread")]
async fn the_page_has_what_nodes_expose_and_nothing_else() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/observability.md");
    let page = std::fs::read_to_string(path).unwrap();
    let cluster = Cluster::start().await;
    for (node, kind) in [
        (&cluster.coordinator, "coordinator"),
        (&cluster.stores[0], "participant"),
    ] {
        let text = fetch(node, "/metrics");
        assert_eq!(exposed(&text), documented(&page, kind), "{kind}");
        for row in page.lines().filter(|line| line.starts_with("| `nemcon_")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let name = cells[1].trim_matches('`');
            if cells[3] == "histogram" || !exposed(&text).contains_key(name) {
                continue;
            }
            let told = cells[4].split(',').map(|it| it.trim().trim_matches('`'));
            let told: BTreeSet<String> = told
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect();
            assert_eq!(labels(&text, name), told, "{name}");
        }
        check_with_promtool(&text);
        assert_eq!(fetch(node, "/readyz"), "serving\n");
    }
    cluster.stop();
}

/// What the scraper's own tool says of the text.
fn check_with_promtool(text: &str) {
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = match tool {
        Ok(tool) => tool,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("SKIPPED: promtool is not installed, so nobody has checked the metrics");
            return;
        }
        Err(error) => panic!("promtool: {error}"),
    };
    tool.stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let said = tool.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && words.trim().is_empty(), "{words}");
}

#[tokio::test(flavor = "current_thread")]
async fn all_figures_agree() {
    let rounds = match std::env::var_os("NEMCON_LONG") {
        Some(_) => TRANSACTIONS * 100,
        None => TRANSACTIONS,
    };
    let cluster = Cluster::start().await;
    let before = cluster.figures().await;
    let (mut committed, mut refused) = (0, 0);
    let client = cluster.transactions();
    for number in 0..rounds {
        // One in ten takes what is not there.
        let amount = if number % 10 == 9 { -1_000_000 } else { 1 };
        let at = |store, name| operation(store, name, amount);
        let both = request(vec![at("a", "alice"), at("b", "bob")]);
        match outcome(&client, both).await {
            v1::Outcome::Committed => committed += 1,
            v1::Outcome::Aborted => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((committed, refused), (rounds - rounds / 10, rounds / 10));
    cluster
        .until(async |cluster| cluster.figures().await.running == 0)
        .await;

    let figures = cluster.figures().await;
    assert_eq!(figures.committed - before.committed, committed);
    assert_eq!(figures.aborted - before.aborted, refused);
    let window = figures.window.clone().unwrap();
    assert_eq!(u64::from(window.transactions), rounds.min(1_000));
    assert_eq!(figures.samples.len() as u64, rounds.min(1_000));
    let total = |of: fn(&v1::Sample) -> Option<u64>| {
        figures.samples.iter().filter_map(of).sum::<u64>() as f64 / 1e6
    };
    for sample in &figures.samples {
        let committed = sample.outcome() == v1::Outcome::Committed;
        assert_eq!(sample.commit_us.is_some(), committed, "{sample:?}");
        assert_eq!(sample.reason.is_empty(), committed, "{sample:?}");
        assert!(sample.prepare_us <= sample.decision_us, "{sample:?}");
        assert!(sample.decision_us <= sample.total_us, "{sample:?}");
    }

    let text = fetch(&cluster.coordinator, "/metrics");
    let series = |outcome, reason| {
        format!(r#"nemcon_transactions_total{{outcome="{outcome}",reason="{reason}"}}"#)
    };
    let shown = |name: &str| value(&text, name);
    assert!((shown(&series("committed", "none")) - figures.committed as f64).abs() < 0.5);
    let by_reason = figures.aborted_by_reason.iter();
    for count in by_reason {
        let shown = shown(&series("aborted", &count.reason));
        assert!((shown - count.transactions as f64).abs() < 0.5, "{count:?}");
    }
    let ended = (figures.committed + figures.aborted) as f64;
    assert!((shown("nemcon_transaction_seconds_count") - ended).abs() < 0.5);
    assert!((shown("nemcon_prepare_seconds_count") - ended).abs() < 0.5);
    assert!((shown("nemcon_commit_seconds_count") - figures.committed as f64).abs() < 0.5);
    if rounds <= 1_000 {
        // Sums of the same durations: they differ by rounding of floats only.
        for (name, sum) in [
            ("nemcon_prepare_seconds_sum", total(|it| it.prepare_us)),
            ("nemcon_commit_seconds_sum", total(|it| it.commit_us)),
            ("nemcon_transaction_seconds_sum", total(|it| it.decision_us)),
        ] {
            assert!((shown(name) - sum).abs() < 1e-6, "{name}: {sum}\n{text}");
        }
    }
    assert!((shown("nemcon_outcomes_remembered") - ended).abs() < 0.5);
    assert!(shown("nemcon_transactions_running") < 0.5);

    let listed = cluster.listed().await;
    let of = |outcome| listed.iter().filter(|it| **it == outcome).count() as u64;
    assert_eq!(of(v1::Outcome::Committed), figures.committed);
    assert_eq!(of(v1::Outcome::Aborted), figures.aborted);
    // Each transaction has left its records, two or more for a commit.
    let least = (2 * figures.committed + figures.aborted) as f64;
    assert!(shown("nemcon_wal_end_lsn") >= least, "{text}");
    cluster.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn waits_for_locks_are_measured_from_their_beginning_to_their_end() {
    let cluster = Cluster::start().await;
    // All want the same account, and each keeps it until its record is durable.
    cluster
        .until(async |cluster| {
            let mut tasks = JoinSet::new();
            for _ in 0..20 {
                let request = request(vec![operation("a", "alice", 1)]);
                let mut transactions = cluster.transactions();
                tasks.spawn(async move { transactions.run_transaction(request).await });
            }
            for done in tasks.join_all().await {
                let outcome = done.unwrap().into_inner().outcome();
                assert_eq!(outcome, v1::Outcome::Committed);
            }
            let text = fetch(&cluster.stores[0], "/metrics");
            value(&text, "nemcon_lock_wait_seconds_count") > 0.5
        })
        .await;
    let text = fetch(&cluster.stores[0], "/metrics");
    let (count, sum) = (
        value(&text, "nemcon_lock_wait_seconds_count"),
        value(&text, "nemcon_lock_wait_seconds_sum"),
    );
    assert!(sum > 0.0 && sum < 30.0 * count, "{text}");
    assert!(value(&text, "nemcon_lock_waiters") < 0.5, "{text}");
    let other = fetch(&cluster.stores[1], "/metrics");
    let waits = value(&other, "nemcon_lock_wait_seconds_count");
    assert!(waits < 0.5, "nothing global: {other}");
    cluster.stop();
}

/// Runs a transaction. A connection may break on a machine that has much to do; then
/// the same request is sent again, as clients should, and never runs twice.
async fn outcome(
    client: &TransactionServiceClient<Channel>,
    request: v1::RunTransactionRequest,
) -> v1::Outcome {
    for _ in 0..10 {
        match client.clone().run_transaction(request.clone()).await {
            Ok(response) => return response.into_inner().outcome(),
            Err(status) if status.code() == Code::Unavailable => {
                eprintln!("sent again: {status}");
            }
            Err(status) => panic!("{status}"),
        }
    }
    panic!("the coordinator is not reached");
}

impl Cluster {
    async fn figures(&self) -> v1::GetStatisticsResponse {
        let request = v1::GetStatisticsRequest {
            samples_max: u32::MAX,
        };
        let mut admin = AdminServiceClient::new(self.channel());
        admin.get_statistics(request).await.unwrap().into_inner()
    }

    /// The outcomes of all transactions that are listed.
    async fn listed(&self) -> Vec<v1::Outcome> {
        let (mut outcomes, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListTransactionsRequest {
                page_token,
                ..Default::default()
            };
            let page = self
                .transactions()
                .list_transactions(request)
                .await
                .unwrap();
            let page = page.into_inner();
            outcomes.extend(page.transactions.iter().map(v1::Transaction::outcome));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return outcomes;
            }
        }
    }
}
