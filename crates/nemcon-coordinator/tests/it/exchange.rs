//! Calls that travel many in one message, and participants that do not have it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use nemcon_core::id::ParticipantId;
use nemcon_node::node::NodeHandle;
use nemcon_node::settings;
use nemcon_participant::{Handle, Settings, serve};
use nemcon_proto::v1;
use nemcon_proto::v1::admin_service_client::AdminServiceClient;
use nemcon_proto::v1::participant_service_client::ParticipantServiceClient;
use nemcon_proto::v1::participant_service_server::{ParticipantService, ParticipantServiceServer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::cluster::{Cluster, operation, request, start_coordinator, stop};
use crate::store::{Border, Store};

/// A store, and a door before it through which the coordinator speaks with it.
struct Guarded {
    store: NodeHandle,
    id: ParticipantId,
    door: Arc<Door>,
    url: String,
}

/// Passes calls on, and counts them.
struct Door {
    store: ParticipantServiceClient<Channel>,
    /// Whether it has `Exchange`.
    has_exchange: AtomicBool,
    /// Whether its streams break off where the next answer would come back.
    breaks: Arc<AtomicBool>,
    /// Streams that were asked for.
    streams: AtomicUsize,
    /// Prepares and commits that came by themselves.
    alone: AtomicUsize,
    /// Calls that came on a stream.
    together: Arc<AtomicUsize>,
}

impl Guarded {
    async fn start(name: &str, dir: &TempDir, has_exchange: bool) -> Self {
        let node = settings::Settings::new("127.0.0.1:0".parse().unwrap(), dir.path().join(name));
        let (give, take) = mpsc::channel();
        let extra = move |inside: &Handle<Store>, _: &mut _| give.send(inside.clone()).unwrap();
        let settings = Settings::new(node, name.parse().unwrap(), vec![]);
        let store = serve(settings, Store::default(), Border, extra).unwrap();
        let id = take.recv().unwrap().id().unwrap();
        let channel = nemcon_net::channel(&store.url().parse().unwrap());
        let door = Arc::new(Door {
            store: ParticipantServiceClient::new(channel),
            has_exchange: AtomicBool::new(has_exchange),
            breaks: Arc::default(),
            streams: AtomicUsize::new(0),
            alone: AtomicUsize::new(0),
            together: Arc::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let service = ParticipantServiceServer::from_arc(Arc::clone(&door));
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(incoming));
        Self {
            store,
            id,
            door,
            url,
        }
    }

    /// Registers it under the address of its door, in a life of this number; 0: it
    /// does not say.
    async fn register(&self, name: &str, coordinator: &NodeHandle, boot: u64) {
        let mut admin =
            AdminServiceClient::new(nemcon_net::channel(&coordinator.url().parse().unwrap()));
        let registration = v1::RegisterParticipantRequest {
            name: name.into(),
            participant_id: self.id.to_string(),
            address: self.url.clone(),
            boot,
            log_end: boot * 1_000,
            life: u32::try_from(boot).unwrap(),
            restored: 0,
        };
        admin.register_participant(registration).await.unwrap();
    }

    fn streams(&self) -> usize {
        self.door.streams.load(Ordering::Relaxed)
    }

    fn alone(&self) -> usize {
        self.door.alone.load(Ordering::Relaxed)
    }

    fn together(&self) -> usize {
        self.door.together.load(Ordering::Relaxed)
    }
}

type Forwarded<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ParticipantService for Door {
    async fn execute(
        &self,
        request: Request<v1::ExecuteRequest>,
    ) -> Forwarded<v1::ExecuteResponse> {
        self.store.clone().execute(request.into_inner()).await
    }

    async fn acquire_locks(
        &self,
        request: Request<v1::AcquireAttemptLocksRequest>,
    ) -> Forwarded<v1::AcquireAttemptLocksResponse> {
        self.store.clone().acquire_locks(request.into_inner()).await
    }

    async fn prepare(
        &self,
        request: Request<v1::PrepareRequest>,
    ) -> Forwarded<v1::PrepareResponse> {
        self.alone.fetch_add(1, Ordering::Relaxed);
        self.store.clone().prepare(request.into_inner()).await
    }

    async fn commit(&self, request: Request<v1::CommitRequest>) -> Forwarded<v1::CommitResponse> {
        self.alone.fetch_add(1, Ordering::Relaxed);
        self.store.clone().commit(request.into_inner()).await
    }

    async fn abort(&self, request: Request<v1::AbortRequest>) -> Forwarded<v1::AbortResponse> {
        self.store.clone().abort(request.into_inner()).await
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Forwarded<v1::ReleaseResponse> {
        self.store.clone().release(request.into_inner()).await
    }

    async fn commit_one_phase(
        &self,
        request: Request<v1::CommitOnePhaseRequest>,
    ) -> Forwarded<v1::CommitOnePhaseResponse> {
        self.store
            .clone()
            .commit_one_phase(request.into_inner())
            .await
    }

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Forwarded<v1::GetStatusResponse> {
        self.store.clone().get_status(request.into_inner()).await
    }

    async fn get_waits_for_edges(
        &self,
        request: Request<v1::GetWaitsForEdgesRequest>,
    ) -> Forwarded<v1::GetWaitsForEdgesResponse> {
        self.store
            .clone()
            .get_waits_for_edges(request.into_inner())
            .await
    }

    async fn fail_wait(
        &self,
        request: Request<v1::FailWaitRequest>,
    ) -> Forwarded<v1::FailWaitResponse> {
        self.store.clone().fail_wait(request.into_inner()).await
    }

    type ExchangeStream = tonic::codegen::BoxStream<v1::ExchangeResponse>;

    async fn exchange(
        &self,
        request: Request<Streaming<v1::ExchangeRequest>>,
    ) -> Forwarded<Self::ExchangeStream> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        if !self.has_exchange.load(Ordering::Relaxed) {
            return Err(Status::unimplemented("one by one, please"));
        }
        let (give, take) = tokio::sync::mpsc::channel(16);
        let mut store = self.store.clone();
        let answers = store.exchange(ReceiverStream::new(take)).await?;
        let mut answers = answers.into_inner();
        let (mut frames, together) = (request.into_inner(), Arc::clone(&self.together));
        tokio::spawn(async move {
            while let Ok(Some(frame)) = frames.message().await {
                together.fetch_add(frame.calls.len(), Ordering::Relaxed);
                if give.send(frame).await.is_err() {
                    return;
                }
            }
        });
        let breaks = Arc::clone(&self.breaks);
        let (back, forth) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok(Some(answer)) = answers.message().await {
                let breaks = breaks.load(Ordering::Relaxed);
                // What was answered has been done; the coordinator does not learn it.
                let told = match breaks {
                    true => Err(Status::unavailable("the line is cut")),
                    false => Ok(answer),
                };
                if back.send(told).await.is_err() || breaks {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(forth))))
    }
}

/// A coordinator, and the stores `a` and `b` behind doors.
struct Street {
    cluster: Cluster,
    a: Guarded,
    b: Guarded,
}

impl Street {
    async fn start(has_exchange: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let a = Guarded::start("a", &dir, has_exchange).await;
        let b = Guarded::start("b", &dir, has_exchange).await;
        let coordinator = start_coordinator(&dir.path().join("coordinator"));
        a.register("a", &coordinator, 0).await;
        b.register("b", &coordinator, 0).await;
        let cluster = Cluster {
            dir,
            coordinator,
            stores: vec![],
        };
        let reachable = async |cluster: &Cluster| {
            let known = cluster.participants().await;
            known.len() == 2 && known.iter().all(|known| known.reachable)
        };
        cluster.until(reachable).await;
        Self { cluster, a, b }
    }

    /// Adds one to a number in each store.
    async fn add_one(&self) {
        let both = request(vec![operation("a", "x", 1), operation("b", "x", 1)]);
        let response = self.cluster.run(both).await.unwrap();
        assert_eq!(response.outcome(), v1::Outcome::Committed, "{response:?}");
    }

    /// Waits until calls to both stores travel on streams.
    async fn together(&self) {
        let both = async |_: &Cluster| {
            self.add_one().await;
            self.a.together() > 0 && self.b.together() > 0
        };
        self.cluster.until(both).await;
    }

    fn stop(self) {
        stop(self.a.store);
        stop(self.b.store);
        self.cluster.stop();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn calls_travel_on_a_stream_where_there_is_one() {
    let street = Street::start(true).await;
    street.together().await;
    // The last commit may have been under way when the stream came to stand.
    let settled = async |cluster: &Cluster| cluster.in_doubt().await == 0;
    street.cluster.until(settled).await;
    let before = (street.a.alone(), street.b.alone());
    let together = street.a.together();
    for _ in 0..20 {
        street.add_one().await;
    }
    street.cluster.until(settled).await;
    assert_eq!((street.a.alone(), street.b.alone()), before);
    assert!(street.a.together() >= together + 40, "prepares and commits");
    assert_eq!((street.a.streams(), street.b.streams()), (1, 1));
    street.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn whoever_has_no_stream_is_asked_once_in_its_life() {
    let street = Street::start(false).await;
    for _ in 0..20 {
        street.add_one().await;
    }
    assert!(street.a.alone() >= 20, "{}", street.a.alone());
    assert_eq!((street.a.streams(), street.a.together()), (1, 0));

    // It comes again as a newer version.
    street.a.door.has_exchange.store(true, Ordering::Relaxed);
    street.add_one().await;
    assert_eq!(street.a.streams(), 1, "nothing says that it is another");
    street.a.register("a", &street.cluster.coordinator, 2).await;
    // Behind its door is the store as it was, so what it votes is refused from here
    // on. What counts is the way by which it is asked.
    let comes = async |cluster: &Cluster| {
        let both = request(vec![operation("a", "x", 1), operation("b", "x", 1)]);
        cluster.run(both).await.unwrap();
        street.a.together() > 0
    };
    street.cluster.until(comes).await;
    assert_eq!((street.a.streams(), street.b.streams()), (2, 1));
    street.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn a_stream_that_breaks_loses_nothing_and_doubles_nothing() {
    let street = Street::start(true).await;
    street.a.door.breaks.store(true, Ordering::Relaxed);
    let committed = Cell::new(0);
    // Each stream to `a` ends with its first answer, which is lost: a vote or an
    // acknowledgement.
    let broken_often = async |cluster: &Cluster| {
        let both = request(vec![operation("a", "y", 1), operation("b", "y", 1)]);
        let response = cluster.run(both).await.unwrap();
        let one = i64::from(response.outcome() == v1::Outcome::Committed);
        committed.set(committed.get() + one);
        street.a.streams() >= 8
    };
    street.cluster.until(broken_often).await;
    street.a.door.breaks.store(false, Ordering::Relaxed);
    let settled = async |cluster: &Cluster| cluster.in_doubt().await == 0;
    street.cluster.until(settled).await;
    let committed = committed.get();
    assert!(committed > 0);
    assert_eq!(street.cluster.read("a", "y").await, committed);
    assert_eq!(street.cluster.read("b", "y").await, committed);
    street.stop();
}
