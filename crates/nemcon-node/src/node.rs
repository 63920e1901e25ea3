//! The life of a node, from its port to its clean end.
//!
//! ```text
//!   take the port ─▶ serve "not yet" ─▶ open the log, replay ─▶ start the machine
//!                                                                    │ durable
//!   closed, clean ◀─ flush ◀─ drain (9 s at most) ◀─ stop ◀─ serve ◀┘
//! ```
//!
//! Every node has a thread of its own with a runtime of one thread, and nothing
//! global: a whole cluster can live in one process, as `nemcon up` and the tests
//! have it. Whoever starts a node gets a [`NodeHandle`].
//!
//! The port comes first, before the data directory is touched. The node answers
//! from then on: until it has recovered, with UNAVAILABLE and health
//! NOT_SERVING, so that its peers wait rather than guess.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nemcon_core::codec::{Codec, CorruptLog};
use nemcon_core::id::Lsn;
use nemcon_core::machine::{Machine, Stored};
use nemcon_core::time::Millis;
use nemcon_trace::{Export, Service, Tracer};
pub use nemcon_wal::Chain;
use nemcon_wal::{Backups, LogError, OpenError, Opened, Recovery, SledLog};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::driver::{Driver, LogFailed, Perform, Replayed};
use crate::front::Gate;
use crate::inbox::Inbox;
use crate::log_news::LogNews;
use crate::maintenance::{Identity, Maintenance, NodeKind};
use crate::metrics::{self, Figures, Meter, Metrics, SCRAPES_MAX, Scraper};
use crate::server::{self, Health, ListenError, Port, ServeError, Services};
use crate::settings::Settings;

/// How long the last answers may take to leave, once the machine has ended. They
/// need next to nothing; but a caller that does not hang up is not waited for.
const LAST_ANSWERS_MAX: Duration = Duration::from_millis(250);

/// How long the last spans may take to leave. A collector that is away costs a stop
/// nothing; one that is there and slow costs it this, and no more.
const LAST_SPANS_MAX: Duration = Duration::from_millis(500);

/// Why a node did not start, or ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Its log cannot be opened or read.
    #[error(transparent)]
    Open(Box<OpenError>),
    /// Its log failed.
    #[error(transparent)]
    Log(#[from] LogFailed),
    /// Its log could not be closed: what was acknowledged is durable, but the
    /// next start will not find it marked clean.
    #[error("cannot close the log")]
    Close(#[source] LogError),
    /// It cannot set up what it measures: a bug.
    #[error("cannot set up the metrics")]
    Metrics(#[from] prometheus::Error),
    /// Its server failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// It cannot describe itself.
    #[error("cannot set up reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The file that was to hold its URL cannot be written.
    #[error("cannot write the node's URL to {}", path.display())]
    ReadyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The operating system gave it no thread or no runtime.
    #[error("cannot start the node's thread")]
    Thread(#[source] std::io::Error),
    /// One of its own services ended it.
    #[error("{0}")]
    Refused(String),
    /// A bug.
    #[error("the node panicked: a bug; the log lines before this one say where")]
    Panicked,
}

/// What a machine becomes a node with.
pub struct Assembly<M, P> {
    /// The machine, fresh: its log is replayed into it later.
    pub machine: M,
    /// Carries out its effects.
    pub performer: P,
    /// The node's own services.
    pub services: Services,
}

/// A kind of node.
pub trait Shell: Send + 'static {
    /// Its machine.
    type Machine: Machine<Event: Send> + Send + 'static;
    /// Carries out the machine's effects.
    type Performer: Perform<Self::Machine>;

    /// What kind of node it is.
    const KIND: NodeKind;

    /// Puts the node together, now that its address is known. Called on the
    /// node's thread, within its runtime.
    fn assemble(
        self,
        site: Site<<Self::Machine as Machine>::Event>,
    ) -> Assembly<Self::Machine, Self::Performer>;

    /// The identity of the machine's data directory, once its log has been read.
    fn identity(machine: &Self::Machine) -> String;

    /// Where the machine stands, for its metrics.
    fn figures(machine: &Self::Machine, now: Millis) -> Figures;

    /// Tells the machine to take no new work and to say when it has drained.
    fn drain_requested() -> <Self::Machine as Machine>::Event;
}

/// Where a node stands, and its ties to the rest of its life.
#[derive(Debug)]
pub struct Site<E> {
    /// Where it listens.
    pub address: SocketAddr,
    /// The URL under which others reach it.
    pub url: String,
    /// Its machine's inbox.
    pub inbox: Inbox<E>,
    /// Whether requests are taken yet.
    pub gate: Gate,
    /// Ways to end the node from within.
    pub ending: Ending,
    /// Begins its spans.
    pub tracer: Tracer,
}

/// Ways to end a node from within. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ending {
    drained: Arc<Notify>,
    refused: mpsc::Sender<String>,
}

impl Ending {
    /// The machine has drained: a stop need not wait any longer.
    pub fn drained(&self) {
        self.drained.notify_one();
    }

    /// Ends the node with an error for its operator, which says what to do.
    pub fn refuse(&self, why: impl Into<String>) {
        // One reason is enough.
        let _ = self.refused.try_send(why.into());
    }
}

/// A running node. Dropping the handle stops it without waiting for its end.
#[derive(Debug)]
pub struct NodeHandle {
    name: String,
    address: SocketAddr,
    http: Option<SocketAddr>,
    url: String,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<()>,
    thread: thread::JoinHandle<Result<(), NodeError>>,
}

impl NodeHandle {
    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens; the real port, where 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it shows its metrics by HTTP, if it does.
    #[must_use]
    pub const fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// The URL under which others reach it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Tells the node to drain and end; returns at once.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the node has ended, for whatever reason.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ended = self.ended.clone();
        // The sender is never used: its end is the message.
        async move { while ended.changed().await.is_ok() {} }
    }

    /// Waits for the node's end and says what it was. Does not stop it: see
    /// [`NodeHandle::stop`]. Blocks the thread.
    ///
    /// # Errors
    /// [`NodeError`] if it ended otherwise than by a clean stop.
    pub fn join(self) -> Result<(), NodeError> {
        let Self { thread, stop, .. } = self;
        let result = thread.join().unwrap_or(Err(NodeError::Panicked));
        drop(stop);
        result
    }
}

/// Starts a node on a thread of its own and waits until it serves.
///
/// # Errors
/// [`NodeError`] if it does not come to that; then nothing of it is left.
pub fn start<S: Shell>(
    name: impl Into<String>,
    settings: Settings,
    shell: S,
) -> Result<NodeHandle, NodeError> {
    let name = name.into();
    let port = Port::take(&settings)?;
    let (address, url) = (port.address, port.url.clone());
    let http = port.http.as_ref().map(|http| http.address);
    let (stop, stopped) = watch::channel(false);
    let (alive, ended) = watch::channel(());
    let (serving, serves) = std::sync::mpsc::sync_channel(1);
    let life = Life {
        name: name.clone(),
        settings,
        stopped,
        serving,
    };
    let thread = thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let _alive = alive;
            life.run(port, shell)
        })
        .map_err(NodeError::Thread)?;
    let handle = NodeHandle {
        name,
        address,
        http,
        url,
        stop,
        ended,
        thread,
    };
    match serves.recv() {
        Ok(()) => Ok(handle),
        // The thread has ended without serving. Only by a stop could it do so
        // without an error, and nobody else could have told it to.
        Err(_) => Err(handle.join().err().unwrap_or(NodeError::Panicked)),
    }
}

/// One life of a node, on its own thread.
struct Life {
    name: String,
    settings: Settings,
    stopped: watch::Receiver<bool>,
    serving: std::sync::mpsc::SyncSender<()>,
}

/// A node that has recovered.
struct Serving<S: Shell> {
    driver: Driver<S::Machine, S::Performer>,
    events: mpsc::Receiver<<S::Machine as Machine>::Event>,
    inbox: Inbox<<S::Machine as Machine>::Event>,
    gate: Gate,
    ending: Ending,
    refusals: mpsc::Receiver<String>,
    health: Health,
    server: JoinHandle<Result<(), ServeError>>,
    /// Tells the server to finish its calls and end.
    close: oneshot::Sender<()>,
    /// Takes its spans away.
    export: Export,
}

impl Life {
    fn run<S: Shell>(mut self, port: Port, shell: S) -> Result<(), NodeError> {
        // The thread belongs to the node, so all its lines get its name.
        let _span = tracing::info_span!("node", node = %self.name).entered();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(NodeError::Thread)?;
        let result = runtime.block_on(Box::pin(async {
            let serving = self.begin(port, shell).await?;
            let result = self.serve(serving).await;
            match &result {
                Ok(()) => tracing::info!("stopped"),
                Err(error) => tracing::error!(error = %Chain(error), "ended"),
            }
            result
        }));
        self.withdraw_ready_file();
        // Calls to peers that are still in flight no longer matter.
        runtime.shutdown_background();
        result
    }

    /// From the port to the first request.
    async fn begin<S: Shell>(&self, port: Port, shell: S) -> Result<Serving<S>, NodeError> {
        // A file of an earlier life would send people to where nobody is.
        self.withdraw_ready_file();
        let (inbox, events) = Inbox::new(self.settings.limits.inbox_events_max);
        let gate = Gate::default();
        let (refused, refusals) = mpsc::channel(1);
        let ending = Ending {
            drained: Arc::default(),
            refused,
        };
        let (address, url, http) = (port.address, port.url, port.http);
        let (tracer, export) = self.trace(S::KIND)?;
        let Assembly {
            machine,
            performer,
            mut services,
        } = shell.assemble(Site {
            address,
            url: url.clone(),
            inbox: inbox.clone(),
            gate: gate.clone(),
            ending: ending.clone(),
            tracer,
        });
        let maintenance = Maintenance::new(gate.clone());
        services.add(maintenance.server());
        let (routes, health) = services.with_common().await?;
        let (close, closed) = oneshot::channel();
        let closed = async { closed.await.unwrap_or_default() };
        let server = tokio::spawn(server::serve(port.listener, routes, closed));
        let metrics = Arc::new(Metrics::new(S::KIND, &self.name, &self.settings)?);
        let (scrapes, asked) = mpsc::channel(SCRAPES_MAX);
        let http_address = http.as_ref().map(|http| http.address);
        if let Some(http) = http {
            let scraper = Scraper::new(Arc::clone(&metrics), health.ready().clone(), scrapes);
            tokio::spawn(metrics::http::serve(http.listener, scraper));
        }

        let news = LogNews::counted_by(Arc::clone(&metrics));
        let (driver, backups) = open_log(&self.settings, news, machine, performer).await?;
        let mut driver = driver.measured_by(Meter {
            metrics,
            scrapes: asked,
            figures: S::figures,
        });
        driver.start().await?;
        let identity = Identity {
            kind: S::KIND,
            name: self.name.clone(),
            directory: S::identity(driver.machine()),
        };
        maintenance.ready(identity, backups);
        gate.open();
        health.set(true).await;
        self.announce(address, http_address, &url)?;
        Ok(Serving {
            driver,
            events,
            inbox,
            gate,
            ending,
            refusals,
            health,
            server,
            close,
            export,
        })
    }

    /// What begins the node's spans, and what takes them away.
    fn trace(&self, kind: NodeKind) -> Result<(Tracer, Export), NodeError> {
        let service = Service {
            name: self.name.clone(),
            kind: kind.word(),
            version: env!("CARGO_PKG_VERSION"),
        };
        Tracer::start(&self.settings.traces, &service).map_err(NodeError::Thread)
    }

    /// From the first request to the last answer.
    async fn serve<S: Shell>(&mut self, serving: Serving<S>) -> Result<(), NodeError> {
        let Serving {
            mut driver,
            mut events,
            gate,
            mut server,
            close,
            ..
        } = serving;
        let Serving {
            inbox,
            ending,
            mut refusals,
            health,
            export,
            ..
        } = serving;
        let until = async {
            tokio::select! {
                // An error means that the handle was dropped: a stop as well.
                _ = self.stopped.wait_for(|stop| *stop) => {}
                Some(why) = refusals.recv() => return Err(NodeError::Refused(why)),
                served = &mut server => return Err(server_ended(served)),
            }
            health.set(false).await;
            drain::<S>(self.settings.limits.drain_max, &inbox, &ending).await;
            Ok(())
        };
        let result = driver.run(&mut events, Box::pin(until)).await;
        gate.close();
        drop(events);
        if let Err(error) = result.map_err(NodeError::from).flatten() {
            driver.abandon();
            return Err(error);
        }
        let log = driver.finish().await?;
        let _ = close.send(());
        let _ = tokio::time::timeout(LAST_ANSWERS_MAX, &mut server).await;
        // Beside the log, which may take as long for its own end.
        let exported = tokio::task::spawn_blocking(|| export.finish(LAST_SPANS_MAX));
        let closed = tokio::task::spawn_blocking(|| log.close()).await;
        let _ = exported.await;
        closed
            .map_err(|_| NodeError::Panicked)?
            .map_err(NodeError::Close)
    }

    /// Says that the node serves, to whoever may be waiting for that.
    fn announce(
        &self,
        address: SocketAddr,
        http: Option<SocketAddr>,
        url: &str,
    ) -> Result<(), NodeError> {
        if let Some(path) = &self.settings.ready_file {
            write_ready_file(path, url).map_err(|source| NodeError::ReadyFile {
                path: path.clone(),
                source,
            })?;
        }
        let http = http.map(tracing::field::display);
        tracing::info!(%address, http, url, data = %self.settings.data_dir.display(), "serving");
        let _ = self.serving.send(());
        Ok(())
    }

    fn withdraw_ready_file(&self) {
        if let Some(path) = &self.settings.ready_file {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Takes no new work, and gives what is in flight its time.
async fn drain<S: Shell>(
    time: Duration,
    inbox: &Inbox<<S::Machine as Machine>::Event>,
    ending: &Ending,
) {
    tracing::info!(at_most = ?time, "stopping: no new work");
    inbox.deliver(S::drain_requested()).await;
    if tokio::time::timeout(time, ending.drained.notified())
        .await
        .is_err()
    {
        tracing::warn!("not everything in flight has ended; the next start takes it up");
    }
}

fn server_ended(served: Result<Result<(), ServeError>, tokio::task::JoinError>) -> NodeError {
    match served {
        Ok(Err(error)) => error.into(),
        // Nobody told it to end, so this is no better.
        Ok(Ok(())) | Err(_) => NodeError::Panicked,
    }
}

/// Written whole or not at all, since a script may be looking.
fn write_ready_file(path: &Path, url: &str) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    std::fs::write(&draft, format!("{url}\n"))?;
    std::fs::rename(&draft, path)
}

/// Opens the log and replays it into the machine, beside the runtime: meanwhile
/// the server goes on answering that the node does not serve yet.
async fn open_log<M, P>(
    settings: &Settings,
    news: LogNews,
    machine: M,
    performer: P,
) -> Result<(Driver<M, P>, Backups), NodeError>
where
    M: Machine + Send + 'static,
    P: Perform<M>,
{
    let dir = settings.data_dir.clone();
    let options = nemcon_wal::Options {
        limits: nemcon_wal::Limits {
            free_bytes_min: settings.limits.free_bytes_min,
            ..Default::default()
        },
        faults: settings.faults.clone(),
        pin: settings.limits.backup,
        ..Default::default()
    };
    let notify = news.notify();
    let opened = tokio::task::spawn_blocking(move || {
        let mut replay = Replay {
            machine,
            records: 0,
            bytes: 0,
        };
        let opened = SledLog::open(&dir, options, &mut replay, notify);
        opened.map(|opened| (opened, replay))
    });
    let ((log, opened), replay) = opened
        .await
        .map_err(|_| NodeError::Panicked)?
        .map_err(|error| NodeError::Open(Box::new(error)))?;
    let Opened {
        next_lsn,
        fresh,
        clean,
        ..
    } = opened;
    tracing::info!(records = replay.records, %next_lsn, fresh, clean, "log replayed");
    let replayed = Replayed {
        next_lsn,
        records: replay.records,
        bytes: replay.bytes,
    };
    let due = settings.limits.checkpoint;
    let backups = log.backups();
    let driver = Driver::new(
        replay.machine,
        Box::new(log),
        news,
        performer,
        due,
        replayed,
    );
    Ok((driver, backups))
}

/// Reads a log into a machine.
struct Replay<M> {
    machine: M,
    records: u64,
    bytes: u64,
}

impl<M: Machine> Recovery for Replay<M> {
    fn stored(&mut self, stored: Stored) -> Result<(), CorruptLog> {
        self.machine.load(stored)
    }

    fn record(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), CorruptLog> {
        self.records += 1;
        self.bytes += bytes.len() as u64;
        self.machine.replay(lsn, M::Record::from_bytes(bytes)?)
    }
}
