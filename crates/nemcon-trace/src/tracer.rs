//! Begins spans, and decides which traces are recorded.

use std::fmt;

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

use crate::context::Context;
use crate::export::{Export, Outlet};

/// Where spans go, and of how many traces.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// URL of a collector that speaks OTLP by gRPC, without TLS; `None`: there are no
    /// spans.
    pub endpoint: Option<String>,
    /// The share, from 0 to 1, that is recorded of the traces that begin here. Where a
    /// caller has decided, this says nothing.
    pub ratio: f64,
}

impl Default for Settings {
    /// Off; all traces, once there is an endpoint.
    fn default() -> Self {
        Self {
            endpoint: None,
            ratio: 1.0,
        }
    }
}

/// Who makes the spans, as a collector shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name, such as `bank-a`.
    pub name: String,
    /// What it is, such as `participant`.
    pub kind: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// Which side of a call a span shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asks another process.
    Client,
    /// Answers another process.
    Server,
    /// Neither.
    Internal,
}

impl From<Kind> for SpanKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Client => Self::Client,
            Kind::Server => Self::Server,
            Kind::Internal => Self::Internal,
        }
    }
}

/// Begins spans, or none if it is off. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<SdkTracer>);

impl Tracer {
    /// Begins no spans.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// A tracer, and what takes its spans away; off, where there is no endpoint. The
    /// log lines of the export carry the `tracing` span that the caller is in.
    ///
    /// # Errors
    /// If the operating system gives no thread or no runtime.
    pub fn start(settings: &Settings, service: &Service) -> std::io::Result<(Self, Export)> {
        let Some(endpoint) = &settings.endpoint else {
            return Ok((Self::off(), Export::none()));
        };
        let (outlet, export) = Outlet::open(endpoint, service)?;
        let sampler = Sampler::TraceIdRatioBased(settings.ratio);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(outlet)
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .build();
        let scope = InstrumentationScope::builder("nemcon").with_version(service.version);
        Ok((
            Self(Some(provider.tracer_with_scope(scope.build()))),
            export,
        ))
    }

    /// Whether it begins spans at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins the span of something that came from outside: under the caller's, if it
    /// named one, else as a new trace, of which the ratio decides whether it is
    /// recorded. One that is not is a span all the same, so that whoever is called
    /// next hears that it has been decided.
    #[must_use]
    pub fn enter(&self, kind: Kind, name: &'static str, parent: Option<&Context>) -> Option<Span> {
        let tracer = self.0.as_ref()?;
        let builder = SpanBuilder::from_name(name).with_kind(kind.into());
        let mut around = opentelemetry::Context::new();
        if let Some(Context(parent)) = parent {
            around = around.with_remote_span_context(parent.clone());
        }
        let span = tracer.build_with_context(builder, &around);
        Some(Span(Box::new(span)))
    }

    /// Begins a span under another, if that one is recorded.
    #[must_use]
    pub fn follow(&self, kind: Kind, name: &'static str, parent: &Context) -> Option<Span> {
        if !parent.is_sampled() {
            return None;
        }
        self.enter(kind, name, Some(parent))
    }
}

/// A span that has begun. It ends when it is dropped.
pub struct Span(Box<opentelemetry_sdk::trace::Span>);

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span")
            .field(&self.context().traceparent())
            .finish()
    }
}

impl Span {
    /// What is sent along, for what is done on its behalf.
    #[must_use]
    pub fn context(&self) -> Context {
        Context(self.0.span_context().clone())
    }

    /// Whether it is recorded: if not, saying more about it is of no use.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.0.span_context().is_sampled()
    }

    /// Says something about it. Never what people send or store.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(key, value));
    }

    /// It came to nothing, for this reason.
    pub fn fail(&mut self, reason: impl Into<String>) {
        self.0.set_status(Status::error(reason.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracer_that_is_off_begins_nothing() {
        let service = Service {
            name: "test".into(),
            kind: "test",
            version: "1",
        };
        let (tracer, export) = Tracer::start(&Settings::default(), &service).unwrap();
        assert!(!tracer.is_on());
        assert!(tracer.enter(Kind::Server, "call", None).is_none());
        export.finish(std::time::Duration::ZERO);
    }

    #[test]
    fn a_span_is_a_pointer_where_there_may_be_none() {
        assert_eq!(size_of::<Option<Span>>(), size_of::<usize>());
    }
}
