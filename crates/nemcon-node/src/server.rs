//! The gRPC server of a node: its port, and what every node answers besides its
//! own services (health, reflection).

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::settings::{HttpListen, Settings};

/// Why a node cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else does.
    #[error(
        "cannot listen on {address}: the port is taken, perhaps by a node that runs already; \
         stop that one, or choose another port with --listen (port 0 takes any free one)"
    )]
    PortTaken {
        /// Where.
        address: SocketAddr,
    },
    /// Somebody else listens where the metrics were to be.
    #[error(
        "cannot listen on {address} for HTTP (/metrics, /healthz, /readyz): the port is taken; \
         choose another with --http-listen (port 0 takes any free one), or give --http-listen none"
    )]
    HttpPortTaken {
        /// Where.
        address: SocketAddr,
    },
    /// There is no port after the last.
    #[error(
        "there is no port above {address} for HTTP (/metrics, /healthz, /readyz); give one with \
         --http-listen, or --http-listen none"
    )]
    NoHttpPort {
        /// Where gRPC is served.
        address: SocketAddr,
    },
    /// The address is open to others and nobody said that it may be.
    #[error(
        "refuses to listen on {address} without TLS: anyone who reaches the port could use this \
         node; listen on loopback (127.0.0.1), or give --insecure if the network is trusted"
    )]
    OpenToAll {
        /// Where.
        address: SocketAddr,
    },
    /// All interfaces are listened on, and others were not told which to use.
    #[error(
        "listens on all interfaces ({address}), so nobody knows under which address to reach \
         this node; give --advertise URL"
    )]
    NoAddressToAdvertise {
        /// Where.
        address: SocketAddr,
    },
    /// Something else.
    #[error("cannot listen on {address}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// A port that is taken, and the URL under which others reach it.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) url: String,
    pub(crate) http: Option<HttpPort>,
}

/// The port for metrics and probes.
#[derive(Debug)]
pub(crate) struct HttpPort {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl HttpPort {
    /// Takes the port, under the same rule as the other one: what it tells is for
    /// this machine, unless somebody says that the network is trusted.
    fn take(settings: &Settings) -> Result<Option<Self>, ListenError> {
        let address = match settings.http {
            HttpListen::None => return Ok(None),
            HttpListen::At(address) => address,
            HttpListen::Next => next_port(settings.listen)?,
        };
        if !settings.insecure && !address.ip().is_loopback() {
            return Err(ListenError::OpenToAll { address });
        }
        let other = |source| ListenError::Other { address, source };
        let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::HttpPortTaken { address },
            _ => other(error),
        })?;
        listener.set_nonblocking(true).map_err(other)?;
        let address = listener.local_addr().map_err(other)?;
        Ok(Some(Self { listener, address }))
    }
}

/// The port after this one; any free one after any free one.
fn next_port(address: SocketAddr) -> Result<SocketAddr, ListenError> {
    let port = match address.port() {
        0 => Some(0),
        port => port.checked_add(1),
    };
    let port = port.ok_or(ListenError::NoHttpPort { address })?;
    Ok(SocketAddr::new(address.ip(), port))
}

impl Port {
    /// Takes the port, first of all that a node does: so a second node by
    /// mistake touches nothing of the first.
    pub(crate) fn take(settings: &Settings) -> Result<Self, ListenError> {
        let address = settings.listen;
        if !settings.insecure && !address.ip().is_loopback() {
            return Err(ListenError::OpenToAll { address });
        }
        if address.ip().is_unspecified() && settings.advertise.is_none() {
            return Err(ListenError::NoAddressToAdvertise { address });
        }
        let other = |source| ListenError::Other { address, source };
        let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::PortTaken { address },
            _ => other(error),
        })?;
        listener.set_nonblocking(true).map_err(other)?;
        let address = listener.local_addr().map_err(other)?;
        let url = settings
            .advertise
            .clone()
            .unwrap_or_else(|| format!("http://{address}"));
        Ok(Self {
            listener,
            address,
            url,
            http: HttpPort::take(settings)?,
        })
    }
}

/// The node's state of health, for `grpc.health.v1`.
///
/// Only the server as a whole has one, under the empty name: a node serves all
/// that it serves, or nothing.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    reporter: HealthReporter,
    /// The same, for who asks by HTTP.
    ready: Ready,
}

/// Whether the node serves, as health and `/readyz` say it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ready(Arc<AtomicBool>);

impl Ready {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }
}

impl Health {
    pub(crate) const fn ready(&self) -> &Ready {
        &self.ready
    }

    pub(crate) async fn set(&self, serving: bool) {
        self.ready.set(serving);
        let status = if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        self.reporter.set_service_status("", status).await;
    }
}

/// The services of a node, and their names for those who ask by reflection.
#[derive(Debug, Default)]
pub struct Services {
    routes: RoutesBuilder,
    names: Vec<&'static str>,
}

impl Services {
    /// Adds a service.
    pub fn add<S>(&mut self, service: S) -> &mut Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// Adds what every node has: health and reflection. Reflection lists what is
    /// served here; it knows the types of everything, so that a coordinator can
    /// explain a bank's actions.
    pub(crate) async fn with_common(
        mut self,
    ) -> Result<(RoutesBuilder, Health), tonic_reflection::server::Error> {
        let (reporter, service) = tonic_health::server::health_reporter();
        let health = Health {
            reporter,
            ready: Ready::default(),
        };
        health.set(false).await;
        self.add(service);
        // Python's client still asks for v1alpha.
        let reflection = || {
            let all = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(nemcon_proto::DESCRIPTORS)
                // The details of errors, which others print only if they know them.
                .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
            let names = self.names.iter().copied();
            names.fold(all, tonic_reflection::server::Builder::with_service_name)
        };
        let (v1, v1alpha) = (reflection().build_v1()?, reflection().build_v1alpha()?);
        self.routes.add_service(v1).add_service(v1alpha);
        Ok((self.routes, health))
    }
}

/// Serves until `stop` is ready, and then until every call has its answer.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: RoutesBuilder,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let listener = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Listener)?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    nemcon_net::server()
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(incoming, stop)
        .await
        .map_err(ServeError::Transport)
}

/// Why serving ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port could not be handed to the runtime.
    #[error("cannot use the port")]
    Listener(#[source] io::Error),
    /// The server gave up.
    #[error("the gRPC server failed")]
    Transport(#[source] tonic::transport::Error),
}
