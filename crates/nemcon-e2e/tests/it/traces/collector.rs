//! A collector: takes spans by OTLP, as any would, and puts trees together.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// What was taken.
#[derive(Clone, Default)]
pub(super) struct Collector(Arc<Mutex<Vec<Taken>>>);

/// A span, and who made it.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) service: String,
    pub(super) span: Span,
}

impl Taken {
    /// What it says under a key.
    pub(super) fn said(&self, key: &str) -> Option<&str> {
        text(&self.span.attributes, key)
    }
}

impl Collector {
    /// Starts one. Gives its URL as well.
    pub(super) async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        (collector, url)
    }

    pub(super) fn taken(&self) -> Vec<Taken> {
        self.0.lock().unwrap().clone()
    }

    /// The spans of a trace, each as `SERVICE NAME < PARENT`, without repeats: a message
    /// may be sent twice.
    pub(super) fn tree(&self, trace: &str) -> BTreeSet<String> {
        let taken = self.taken();
        let of_trace = || taken.iter().filter(|it| hex(&it.span.trace_id) == trace);
        let shown = |it: &Taken| format!("{} {}", it.service, it.span.name);
        let line = |it: &Taken| {
            let parent = of_trace().find(|parent| parent.span.span_id == it.span.parent_span_id);
            let parent = match parent {
                Some(parent) => shown(parent),
                None if it.span.parent_span_id.is_empty() => "nothing".to_owned(),
                None => format!("somebody's {}", hex(&it.span.parent_span_id)),
            };
            format!("{} < {parent}", shown(it))
        };
        of_trace().map(line).collect()
    }
}

/// Of the ids in spans, as `traceparent` has them.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match &found.value {
        Some(AnyValue {
            value: Some(Value::StringValue(text)),
        }) => Some(text),
        _ => None,
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut taken = self.0.lock().unwrap();
        for of_service in request.into_inner().resource_spans {
            let Resource { attributes, .. } = of_service.resource.unwrap_or_default();
            let service = text(&attributes, "service.name").unwrap_or_default();
            let spans = of_service.scope_spans.into_iter().flat_map(|it| it.spans);
            taken.extend(spans.map(|span| Taken {
                service: service.to_owned(),
                span,
            }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
