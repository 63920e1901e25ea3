//! Takes spans away: from a bounded queue, on a thread of its own, to a collector.
//!
//! Whoever ends a span puts it into the queue and wakes nobody: the thread looks by
//! itself, every [`LOOK_AFTER`]. So a span costs the node a lock that is hardly ever
//! contended, and no system call.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::tracer::Service;

/// Spans that wait to leave; those beyond are lost. Some 10 MB. A coordinator makes four
/// of a payment between two banks: at 5,000 recorded ones a second, 5,000 spans between
/// two looks.
pub const QUEUE_MAX: usize = 16_384;

/// Most spans in one message: far below the 4 MiB that collectors take.
pub const BATCH_MAX: usize = 1_024;

/// How long a span may wait in the queue.
const LOOK_AFTER: Duration = Duration::from_millis(250);

/// Longest time to connect.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Longest time for one message; then its spans are lost.
const SEND_MAX: Duration = Duration::from_secs(2);

/// How long the thread may take to end once its time is over.
const END_MAX: Duration = Duration::from_millis(100);

/// The end that spans are put into.
pub(crate) struct Outlet(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Set: take away what is there until then, and end.
    stop: watch::Sender<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Queue {
    spans: VecDeque<SpanData>,
    /// Found no room.
    lost: u64,
    closed: bool,
}

/// What takes spans away. Dropped, it takes away what is there, and is not waited for.
#[derive(Debug)]
pub struct Export(Option<Running>);

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    /// Its end is the message.
    ended: mpsc::Receiver<()>,
}

impl Export {
    /// Of a tracer that is off.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Takes away what has ended until now, for at most so long, and ends; spans that
    /// end later are lost. Blocks the thread, which must not be one that the collector
    /// needs for its answer.
    pub fn finish(mut self, within: Duration) {
        if let Some(Running { shared, ended }) = self.0.take() {
            shared.close(within);
            // The thread gives up by itself, a moment before this does.
            let _ = ended.recv_timeout(within + END_MAX);
        }
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Some(Running { shared, .. }) = self.0.take() {
            shared.close(SEND_MAX);
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic elsewhere cannot leave a queue half changed, so poison is ignored.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, within: Duration) {
        self.queue().closed = true;
        let until = Instant::now() + within;
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(until);
            first
        });
    }
}

impl Outlet {
    /// Starts the thread. A collector need not be there.
    pub(crate) fn open(endpoint: &str, service: &Service) -> std::io::Result<(Self, Export)> {
        let endpoint = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?
            .connect_timeout(CONNECT_MAX)
            .timeout(SEND_MAX)
            .tcp_nodelay(true);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            stop: watch::Sender::new(None),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (alive, ended) = mpsc::channel();
        let (taken, resource) = (Arc::clone(&shared), resource(service));
        let around = tracing::Span::current();
        thread::Builder::new()
            .name("traces".into())
            .spawn(move || {
                let _alive = alive;
                let _around = around.entered();
                runtime.block_on(async {
                    let carrier = Carrier::new(taken, &endpoint, resource);
                    carrier.run().await;
                });
            })?;
        let running = Running {
            shared: Arc::clone(&shared),
            ended,
        };
        Ok((Self(shared), Export(Some(running))))
    }
}

fn resource(service: &Service) -> ResourceAttributesWithSchema {
    let resource = Resource::builder_empty().with_attributes([
        KeyValue::new("service.namespace", "nemcon"),
        KeyValue::new("service.name", service.name.clone()),
        KeyValue::new("service.version", service.version),
        KeyValue::new("nemcon.node.kind", service.kind),
    ]);
    (&resource.build()).into()
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outlet")
            .field(&self.0.queue().spans.len())
            .finish()
    }
}

impl SpanProcessor for Outlet {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        let mut queue = self.0.queue();
        if queue.spans.len() < QUEUE_MAX && !queue.closed {
            queue.spans.push_back(span);
        } else {
            queue.lost += 1;
        }
    }

    /// Nobody calls it: who needs the end of the queue ends the export.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, within: Duration) -> OTelSdkResult {
        self.0.close(within);
        Ok(())
    }
}

/// The thread's.
struct Carrier {
    shared: Arc<Shared>,
    collector: TraceServiceClient<Channel>,
    resource: ResourceAttributesWithSchema,
    /// The last batch could not be sent.
    failing: bool,
    /// Spans that could not be sent since that began.
    unsent: u64,
}

impl Carrier {
    fn new(
        shared: Arc<Shared>,
        endpoint: &Endpoint,
        resource: ResourceAttributesWithSchema,
    ) -> Self {
        Self {
            shared,
            collector: TraceServiceClient::new(endpoint.connect_lazy()),
            resource,
            failing: false,
            unsent: 0,
        }
    }

    async fn run(mut self) {
        let mut stop = self.shared.stop.subscribe();
        loop {
            // Looked at first: what had ended by then is in the queue.
            let until = *stop.borrow_and_update();
            match until {
                None => self.empty_queue().await,
                Some(until) => {
                    if tokio::time::timeout_at(until, self.empty_queue())
                        .await
                        .is_err()
                    {
                        let left = self.shared.queue().spans.len();
                        tracing::warn!(left, "the time to export the last traces is over");
                    }
                    return self.tell_of_lost();
                }
            }
            self.tell_of_lost();
            tokio::select! {
                () = tokio::time::sleep(LOOK_AFTER) => {}
                // The sender is ours as well, so there is always one.
                _ = stop.changed() => {}
            }
        }
    }

    async fn empty_queue(&mut self) {
        loop {
            let batch: Vec<SpanData> = {
                let spans = &mut self.shared.queue().spans;
                let count = spans.len().min(BATCH_MAX);
                spans.drain(..count).collect()
            };
            if batch.is_empty() {
                return;
            }
            let count = batch.len() as u64;
            let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
            let request = ExportTraceServiceRequest { resource_spans };
            let sent = tokio::time::timeout(SEND_MAX, self.collector.export(request)).await;
            let sent = sent.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
            match sent {
                Ok(response) => self.sent(response.into_inner().partial_success),
                Err(status) => self.failed(count, &status),
            }
        }
    }

    fn sent(
        &mut self,
        partial: Option<
            opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess,
        >,
    ) {
        if std::mem::take(&mut self.failing) {
            let lost = std::mem::take(&mut self.unsent);
            tracing::info!(lost, "traces can be exported again");
        }
        if let Some(partial) = partial.filter(|partial| partial.rejected_spans > 0) {
            let (rejected, why) = (partial.rejected_spans, partial.error_message);
            tracing::warn!(rejected, why, "the collector of traces has rejected spans");
        }
    }

    /// A collector that is away for long is told of once.
    fn failed(&mut self, count: u64, status: &Status) {
        self.unsent += count;
        if !std::mem::replace(&mut self.failing, true) {
            let (code, error) = (status.code(), chain(status));
            tracing::warn!(?code, error, "traces cannot be exported; trying on");
        }
    }

    fn tell_of_lost(&self) {
        let lost = std::mem::take(&mut self.shared.queue().lost);
        if lost > 0 {
            tracing::warn!(lost, "spans were lost: the queue to the collector was full");
        }
    }
}

/// A failed call with all that caused it, on one line.
fn chain(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
