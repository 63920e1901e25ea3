//! What reaches a collector, and what happens when there is none.

use std::time::{Duration, Instant};

use nemcon_trace::{Context, Export, Kind, QUEUE_MAX, Service, Settings, Tracer};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};

use crate::collector::Collector;

/// How long an export may take that has somebody to talk to. Generous: the machine is
/// shared.
const SOON: Duration = Duration::from_secs(30);

fn start(endpoint: &str, ratio: f64) -> (Tracer, Export) {
    let settings = Settings {
        endpoint: Some(endpoint.to_owned()),
        ratio,
    };
    let service = Service {
        name: "bank-a".into(),
        kind: "participant",
        version: "1.2.3",
    };
    Tracer::start(&settings, &service).unwrap()
}

/// Ends an export, beside the runtime that the collector runs on.
async fn finish(export: Export, within: Duration) -> Duration {
    let begun = Instant::now();
    let finished = tokio::task::spawn_blocking(move || export.finish(within));
    finished.await.unwrap();
    begun.elapsed()
}

fn spans(collector: &Collector) -> Vec<Span> {
    let resources = collector
        .taken()
        .into_iter()
        .flat_map(|it| it.resource_spans);
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

#[tokio::test]
async fn a_tree_of_spans_arrives_under_the_name_of_its_service() {
    let (collector, url) = Collector::start().await;
    let (tracer, export) = start(&url, 1.0);
    let mut root = tracer.enter(Kind::Server, "root", None).unwrap();
    root.set("nemcon.outcome", "aborted");
    root.fail("INSUFFICIENT_FUNDS");
    let context = root.context();
    assert!(context.is_sampled());
    drop(tracer.follow(Kind::Internal, "child", &context).unwrap());
    drop(root);
    finish(export, SOON).await;

    let spans = spans(&collector);
    let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (root, child) = (of("root"), of("child"));
    assert_eq!(spans.len(), 2);
    assert_eq!(root.trace_id, child.trace_id);
    assert_eq!(root.span_id, child.parent_span_id);
    assert_eq!(root.parent_span_id, Vec::<u8>::new());
    assert_eq!(root.kind(), SpanKind::Server);
    assert_eq!(root.status.as_ref().unwrap().message, "INSUFFICIENT_FUNDS");
    assert_eq!(root.attributes[0].key, "nemcon.outcome");
    let resource = collector.taken()[0].resource_spans[0].resource.clone();
    let resource = format!("{resource:?}");
    for word in ["service.name", "bank-a", "service.version", "1.2.3"] {
        assert!(resource.contains(word), "{word}: {resource}");
    }
}

#[tokio::test]
async fn whoever_called_decides_whether_a_trace_is_recorded_and_the_ratio_where_nobody_has() {
    let (collector, url) = Collector::start().await;
    let (never, never_export) = start(&url, 0.0);
    let (always, always_export) = start(&url, 1.0);
    let parent = |flags: &str| {
        let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        Context::parse(&text, "rojo=1").unwrap()
    };
    let (no, yes) = (parent("00"), parent("01"));
    assert!(always.follow(Kind::Server, "unwanted", &no).is_none());
    let undecided = never.enter(Kind::Server, "unwanted", None).unwrap();
    let decided = always.enter(Kind::Server, "unwanted", Some(&no)).unwrap();
    for span in [&undecided, &decided] {
        // Whoever is called next hears that it is not recorded.
        assert!(!span.is_sampled() && !span.context().is_sampled());
    }
    drop((undecided, decided));
    let wanted = never.enter(Kind::Server, "wanted", Some(&yes)).unwrap();
    assert_eq!(wanted.context().tracestate(), "rojo=1");
    drop(wanted);
    finish(never_export, SOON).await;
    finish(always_export, SOON).await;
    let spans = spans(&collector);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["wanted"]);
}

/// More spans than the queue has room for, ended while nobody takes them. That this
/// returns shows that none of them waits.
fn end_too_many(tracer: &Tracer) {
    for _ in 0..=QUEUE_MAX {
        drop(tracer.enter(Kind::Server, "nobody's", None).unwrap());
    }
}

#[tokio::test]
async fn where_no_collector_is_nobody_waits_for_it() {
    // A port that nobody listens on for as long as it is held.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", held.local_addr().unwrap());
    drop(held);
    let (tracer, export) = start(&url, 1.0);
    end_too_many(&tracer);
    let took = finish(export, Duration::from_secs(1)).await;
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn a_collector_that_does_not_answer_holds_up_the_end_no_longer_than_was_said() {
    let (collector, url) = Collector::start_stuck().await;
    let (tracer, export) = start(&url, 1.0);
    end_too_many(&tracer);
    let within = Duration::from_millis(500);
    let took = finish(export, within).await;
    assert!(took >= within, "it gave up after {took:?}");
    // With all its spans it would have taken 16 messages of 2 s.
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(!collector.taken().is_empty());
}
