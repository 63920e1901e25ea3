//! Traces of real nodes, as a collector sees them.

mod collector;

use std::collections::BTreeSet;
use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use nemcon_client::{Ending, Terms, TraceContext, Transfer, new_transaction_id, operation};
use nemcon_e2e::until;
use nemcon_proto::v1;
use nemcon_trace::{Export, Kind, Service, Settings, Tracer};
use tokio_stream::StreamExt;
use tonic::Request;

use self::collector::Collector;
use crate::cluster::{Cluster, SOON, name};
use crate::ids::committed;
use crate::money::{CURRENCY, deposit, payment, request, withdraw};

/// A stop may take no longer, whatever has become of the collector.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Flags and all, as a client of another make would send it.
const ELSEWHERE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// What a payment looks like below the span `parent` that asked for it.
fn payment_below(parent: &str) -> BTreeSet<String> {
    let below = [
        format!("coordinator RunTransaction < {parent}"),
        "coordinator prepare < coordinator RunTransaction".into(),
        "bank-a Prepare < coordinator prepare".into(),
        "bank-b Prepare < coordinator prepare".into(),
        "coordinator decide < coordinator RunTransaction".into(),
        "coordinator commit < coordinator RunTransaction".into(),
        "bank-a Commit < coordinator commit".into(),
        "bank-b Commit < coordinator commit".into(),
    ];
    below.into()
}

/// Starts a cluster of two banks that trace `ratio` of what nobody has decided about,
/// and waits until the coordinator sends them many messages in one frame.
async fn start(url: &str, ratio: &str) -> Cluster {
    let mut cluster = Cluster::new(&["bank-a", "bank-b"]).await;
    for node in cluster.nodes() {
        node.add_arguments(&["--otlp-endpoint", url, "--trace-ratio", ratio]);
    }
    let exchange = "--log-level=info,nemcon_coordinator=debug";
    cluster.coordinator.add_arguments(&[exchange]);
    cluster.start_all().await;
    cluster.open("bank-a/alice", 1_000).await;
    cluster.open("bank-b/bob", 0).await;
    until("both streams stand", SOON, async || {
        let log = cluster.coordinator.process().stderr();
        let lines = log.lines().filter(|line| line.contains("Exchange stands"));
        match lines.count() {
            2 => Ok(()),
            _ => Err(log),
        }
    })
    .await;
    cluster
}

fn client_tracer(url: &str) -> (Tracer, Export) {
    let settings = Settings {
        endpoint: Some(url.to_owned()),
        ratio: 1.0,
    };
    let service = Service {
        name: "shop".into(),
        kind: "client",
        version: "1",
    };
    Tracer::start(&settings, &service).unwrap()
}

/// Stops all nodes, whose last spans are at the collector by then.
async fn stop(cluster: &mut Cluster) {
    cluster.nothing_in_doubt(SOON).await;
    for node in cluster.nodes() {
        let status = node.stop(STOP_MAX).await;
        assert!(status.success(), "{status}");
    }
}

async fn finish(export: Export) {
    let finished = tokio::task::spawn_blocking(|| export.finish(SOON));
    finished.await.unwrap();
}

/// The id of a trace.
fn id(context: &TraceContext) -> String {
    context.traceparent()[3..35].to_owned()
}

#[tokio::test]
async fn a_payment_is_one_trace_from_the_client_to_both_banks() {
    let (collector, url) = Collector::start().await;
    // What the test does beside it is nobody's trace.
    let mut cluster = start(&url, "0").await;
    let (tracer, export) = client_tracer(&url);
    let client = cluster.client().traced_by(tracer);
    let pay = payment("bank-a/alice", "bank-b/bob", 100);
    let report = client.run(&pay).await.unwrap();
    assert!(matches!(report.ending, Ending::Committed(_)), "{report:?}");
    let refused = payment("bank-a/alice", "bank-b/bob", 10_000);
    let refused_id = refused.id.to_string();
    client.run(&refused).await.unwrap();
    stop(&mut cluster).await;
    finish(export).await;

    let taken = collector.taken();
    let root_of = |transaction: &str| {
        let mut roots = taken.iter().filter(|it| it.service == "shop");
        let root = roots.find(|it| it.said("nemcon.transaction") == Some(transaction));
        root.unwrap()
    };
    let trace = |transaction: &str| {
        let bytes = &root_of(transaction).span.trace_id;
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let (paid, unpaid) = (trace(&pay.id.to_string()), trace(&refused_id));
    let mut expected = payment_below("shop RunTransaction");
    expected.insert("shop RunTransaction < nothing".into());
    assert_eq!(collector.tree(&paid), expected);

    let tree = collector.tree(&unpaid);
    for line in [
        "coordinator abort < coordinator RunTransaction",
        "bank-a Prepare < coordinator prepare",
    ] {
        assert!(tree.contains(line), "no {line} in {tree:#?}");
    }
    let root = root_of(&refused_id);
    assert_eq!(root.said("nemcon.outcome"), Some("aborted"));
    assert_eq!(root.said("nemcon.reason"), Some("INSUFFICIENT_FUNDS"));
    let mut votes = taken.iter().filter_map(|it| it.said("nemcon.vote"));
    assert!(votes.any(|vote| vote == "no"));
    // The two traces, and nothing of what the test did beside them.
    let traces: BTreeSet<&[u8]> = taken.iter().map(|it| &it.span.trace_id[..]).collect();
    assert_eq!(traces.len(), 2, "{taken:#?}");
}

#[tokio::test]
async fn each_transaction_of_a_frame_is_in_its_own_trace_and_one_that_makes_no_sense_in_none() {
    let (collector, url) = Collector::start().await;
    let mut cluster = start(&url, "0").await;
    let traces = [
        Some((format!("00-{ELSEWHERE}-{SPAN}-01"), "rojo=1")),
        Some((format!("00-{}-{SPAN}-01", &ELSEWHERE[1..]), "")),
        Some(("\u{1f600}".repeat(1_000), "a=\n")),
        None,
    ];
    let numbered = (1..).zip(traces).map(|(number, trace)| v1::NumberedRun {
        number,
        request: Some(request(&payment("bank-a/alice", "bank-b/bob", 10))),
        trace: trace.map(|(traceparent, tracestate)| v1::TraceContext {
            traceparent,
            tracestate: tracestate.into(),
        }),
    });
    let frame = v1::RunTransactionsRequest {
        runs: numbered.collect(),
    };
    let frames = tokio_stream::once(frame);
    let mut answers = cluster
        .raw()
        .run_transactions(frames)
        .await
        .unwrap()
        .into_inner();
    let mut paid = 0;
    while let Some(frame) = answers.next().await {
        for answer in frame.unwrap().answers {
            match answer.answer.unwrap() {
                v1::run_answer::Answer::Response(response) => committed(Ok(response)),
                other @ v1::run_answer::Answer::Status(_) => panic!("{other:?}"),
            };
            paid += 1;
        }
    }
    assert_eq!(paid, 4);
    stop(&mut cluster).await;
    let expected = payment_below(&format!("somebody's {SPAN}"));
    assert_eq!(collector.tree(ELSEWHERE), expected);
    let taken = collector.taken();
    assert_eq!(taken.len(), expected.len(), "{taken:#?}");
    // What came with the trace goes on with it.
    assert!(taken.iter().all(|it| it.span.trace_state == "rojo=1"));
}

#[tokio::test]
async fn what_a_caller_has_decided_not_to_record_leaves_no_trace_anywhere() {
    let (collector, url) = Collector::start().await;
    let mut cluster = start(&url, "1").await;
    let unwanted = TraceContext::parse(&format!("00-{ELSEWHERE}-{SPAN}-00"), "").unwrap();
    let pay = payment("bank-a/alice", "bank-b/bob", 10).under(Some(unwanted));
    cluster.client().run(&pay).await.unwrap();
    // The bank as well: it passes on that this is not recorded.
    let transfer = v1_transfer(20);
    let mut transfer = Request::new(transfer);
    let header = format!("00-{ELSEWHERE}-{SPAN}-00");
    transfer
        .metadata_mut()
        .insert("traceparent", header.parse().unwrap());
    let mut bank = nemcon_proto::bank::v1::bank_service_client::BankServiceClient::new(
        crate::cluster::channel(&cluster.bank("bank-a").url()),
    );
    assert!(
        bank.transfer(transfer)
            .await
            .unwrap()
            .into_inner()
            .committed
    );
    // By hand, what is no header of the W3C at all: a trace of its own begins.
    let pay = payment("bank-a/alice", "bank-b/bob", 30);
    let mut hostile = Request::new(request(&pay));
    hostile
        .metadata_mut()
        .insert("traceparent", "00-zz-zz-01".parse().unwrap());
    hostile
        .metadata_mut()
        .insert("tracestate", ",,=,".parse().unwrap());
    committed(
        cluster
            .raw()
            .run_transaction(hostile)
            .await
            .map(tonic::Response::into_inner),
    );
    stop(&mut cluster).await;

    assert_eq!(collector.tree(ELSEWHERE), BTreeSet::new());
    let taken = collector.taken();
    let begun = taken.iter().find(|it| {
        it.span.name == "RunTransaction"
            && it.said("nemcon.transaction") == Some(&pay.id.to_string())
    });
    assert!(
        begun.is_some_and(|it| it.span.parent_span_id.is_empty()),
        "{taken:#?}"
    );
}

fn v1_transfer(amount_minor: i64) -> nemcon_proto::bank::v1::TransferRequest {
    nemcon_proto::bank::v1::TransferRequest {
        from_account: "alice".into(),
        to_bank: "bank-b".into(),
        to_account: "bob".into(),
        amount_minor,
        currency: CURRENCY.into(),
        reference: String::new(),
        transaction_id: new_transaction_id().to_string(),
    }
}

#[tokio::test]
async fn a_customers_transfer_begins_at_the_bank_and_pieces_of_a_transaction_are_told_apart() {
    let (collector, url) = Collector::start().await;
    let mut cluster = start(&url, "1").await;
    let transfer = Transfer {
        from_account: "alice".into(),
        to_bank: Some(name("bank-b")),
        to_account: "bob".into(),
        amount_minor: 50,
        currency: CURRENCY.into(),
        reference: None,
    };
    let transferred = new_transaction_id();
    let bank = cluster.bank_client("bank-a");
    bank.transfer(transferred, &transfer).await.unwrap();

    let (tracer, export) = client_tracer(&url);
    let shop = tracer.enter(Kind::Internal, "sale", None).unwrap();
    let sale = shop.context();
    let client = cluster.client().traced_by(tracer);
    let terms = Terms::default().under(Some(sale.clone()));
    let mut open = client.begin(terms).await.unwrap();
    let take = operation(&name("bank-a"), &withdraw("alice", 5), false);
    let give = operation(&name("bank-b"), &deposit("bob", 5), false);
    open.execute([take]).await.unwrap();
    open.execute([give]).await.unwrap();
    open.commit().await.unwrap();
    drop(shop);
    stop(&mut cluster).await;
    finish(export).await;

    let taken = collector.taken();
    let of = taken.iter().find(|it| {
        it.service == "coordinator"
            && it.said("nemcon.transaction") == Some(&transferred.to_string())
    });
    let trace: String = of
        .unwrap()
        .span
        .trace_id
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect();
    let mut expected = payment_below("bank-a Transfer");
    expected.insert("bank-a Transfer < nothing".into());
    assert_eq!(collector.tree(&trace), expected);

    let in_pieces = [
        "shop sale < nothing",
        "shop Transaction < shop sale",
        "coordinator BeginTransaction < shop Transaction",
        "coordinator ExecuteOperations < shop Transaction",
        "bank-a Execute < coordinator ExecuteOperations",
        "bank-b Execute < coordinator ExecuteOperations",
        "coordinator CommitTransaction < shop Transaction",
        "coordinator prepare < coordinator CommitTransaction",
        "bank-a Prepare < coordinator prepare",
        "bank-b Prepare < coordinator prepare",
        "coordinator decide < coordinator CommitTransaction",
        "coordinator commit < coordinator CommitTransaction",
        "bank-a Commit < coordinator commit",
        "bank-b Commit < coordinator commit",
    ];
    let in_pieces: BTreeSet<String> = in_pieces.map(str::to_owned).into();
    assert_eq!(collector.tree(&id(&sale)), in_pieces);
}

/// A collector that is gone, or takes connections and never says a word, costs no
/// payment, and a stop half a second at most.
#[tokio::test]
async fn a_node_serves_and_stops_whatever_has_become_of_the_collector() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone_url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute_url = format!("http://{}", mute.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in mute.incoming() {
            // Reads until the other end goes, and answers nothing.
            std::thread::spawn(move || stream.map(|mut stream| stream.read_to_end(&mut vec![])));
        }
    });
    for url in [gone_url, mute_url] {
        let mut cluster = start(&url, "1").await;
        let client = cluster.client();
        for _ in 0..20 {
            let pay = payment("bank-a/alice", "bank-b/bob", 1);
            let report = client.run(&pay).await.unwrap();
            assert!(matches!(report.ending, Ending::Committed(_)), "{report:?}");
        }
        until("it is told of once", SOON, async || {
            let log = cluster.coordinator.process().stderr();
            let told = log
                .lines()
                .filter(|it| it.contains("traces cannot be exported"));
            match told.count() {
                1 => Ok(()),
                _ => Err(log),
            }
        })
        .await;
        let begun = Instant::now();
        stop(&mut cluster).await;
        assert!(begun.elapsed() < 3 * STOP_MAX, "{:?}", begun.elapsed());
    }
}
