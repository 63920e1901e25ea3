//! Spans: what became of a transaction at each node, put together by whoever collects
//! them.
//!
//! ```text
//!   traceparent, tracestate ──▶ Context ─┐
//!                                        ├─▶ Tracer ─▶ Span ── dropped: it has ended
//!                 nobody's (a new trace) ┘                        │
//!                                                                 ▼
//!   collector ◀── OTLP by gRPC ◀── a thread of its own ◀── bounded queue
//! ```
//!
//! - Off unless there is an endpoint: [`Tracer::off`] is one `None`, and all that
//!   asks it for spans gets none.
//! - Whoever called decides whether a trace is recorded; only where nobody has
//!   decided does the ratio of [`Settings`].
//! - Nothing waits for a collector. A span that finds the queue full is lost, and so
//!   is a batch that cannot be sent; how many is logged.
//! - Nothing is global: each node of a process has a tracer of its own, and its name
//!   is that of the service in its spans.
//!
//! Spans here are begun and ended by hand, and are not those of the `tracing` crate:
//! a transaction is no scope of any thread. See docs/decisions/0011.

mod context;
mod export;
mod tracer;

pub use context::{Context, TRACESTATE_BYTES_MAX};
pub use export::{BATCH_MAX, Export, QUEUE_MAX};
pub use tracer::{Kind, Service, Settings, Span, Tracer};
