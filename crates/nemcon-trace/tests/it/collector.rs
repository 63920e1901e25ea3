//! A collector: takes spans by OTLP, as any would.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// What was taken.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    taken: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    /// Never answers.
    is_stuck: bool,
}

impl Collector {
    /// One that takes.
    pub(crate) async fn start() -> (Self, String) {
        Self::default().serve().await
    }

    /// One that takes a request and never answers.
    pub(crate) async fn start_stuck() -> (Self, String) {
        let stuck = Self {
            is_stuck: true,
            ..Self::default()
        };
        stuck.serve().await
    }

    async fn serve(self) -> (Self, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        (self, format!("http://{address}"))
    }

    pub(crate) fn taken(&self) -> Vec<ExportTraceServiceRequest> {
        self.taken.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.taken.lock().unwrap().push(request.into_inner());
        if self.is_stuck {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
