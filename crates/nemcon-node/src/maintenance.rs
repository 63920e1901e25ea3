//! `MaintenanceService`: what every node does for its own data.
//!
//! The one gRPC service that is the same on all nodes, and so the one place in
//! this crate that knows generated types. It does not pass through the machine,
//! nor through the driver: a backup is the log's affair, and the log's own thread
//! makes it between flushes.

use std::sync::{Arc, OnceLock};

use nemcon_core::reason::{Reason, Refusal};
use nemcon_net::to_status;
use nemcon_proto::convert::timestamp;
use nemcon_proto::v1;
use nemcon_proto::v1::back_up_piece::Piece as WirePiece;
use nemcon_proto::v1::maintenance_service_server::{MaintenanceService, MaintenanceServiceServer};
use nemcon_wal::Backups;
use nemcon_wal::backup::{BackupError, Piece, Sink, Takes};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::clock::Clock;
use crate::front::{Gate, NoAnswer};

/// Pieces that wait for whoever takes a backup: a megabyte, so that neither side
/// waits for each piece of the other.
const PIECES_MAX: usize = 8;

/// What kinds of node there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// It decides.
    Coordinator,
    /// It guards data.
    Participant,
}

impl NodeKind {
    /// The word for it in what nodes tell of themselves.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Participant => "participant",
        }
    }
}

/// Who a node is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) kind: NodeKind,
    pub(crate) name: String,
    /// Of its data directory.
    pub(crate) directory: String,
}

/// The service of one node.
#[derive(Clone, Debug)]
pub(crate) struct Maintenance {
    gate: Gate,
    /// Known once the log has been read.
    ready: Arc<OnceLock<(Identity, Backups)>>,
}

impl Maintenance {
    pub(crate) fn new(gate: Gate) -> Self {
        Self {
            gate,
            ready: Arc::default(),
        }
    }

    /// The log has been read.
    pub(crate) fn ready(&self, identity: Identity, backups: Backups) {
        let _ = self.ready.set((identity, backups));
    }

    pub(crate) fn server(&self) -> MaintenanceServiceServer<Self> {
        MaintenanceServiceServer::new(self.clone())
    }
}

/// Pieces on their way from the log's thread to the node's.
struct Channel(mpsc::Sender<Result<Piece, BackupError>>);

impl Sink for Channel {
    fn takes(&self) -> Takes {
        if self.0.is_closed() {
            Takes::Never
        } else if self.0.capacity() > 0 {
            Takes::Now
        } else {
            Takes::Later
        }
    }

    fn put(&mut self, piece: Result<Piece, BackupError>) {
        // A full channel can only be met by an error that ends the backup: then the
        // end of the stream, which comes without an end of the backup, says so.
        let _ = self.0.try_send(piece);
    }
}

#[tonic::async_trait]
impl MaintenanceService for Maintenance {
    type BackUpStream =
        std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::BackUpPiece, Status>> + Send>>;

    /// Whoever hangs up ends the backup: the log's thread sees that nobody takes
    /// its pieces any more.
    async fn back_up(
        &self,
        _: Request<v1::BackUpRequest>,
    ) -> Result<Response<Self::BackUpStream>, Status> {
        let ready = self.ready.get().filter(|_| self.gate.is_open());
        let Some((identity, backups)) = ready else {
            return Err(to_status(&Refusal::from(NoAnswer::NotServing).into()));
        };
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        tracing::info!("a backup is asked for");
        backups.begin(Box::new(Channel(sender)));
        let identity = identity.clone();
        let pieces = ReceiverStream::new(pieces).map(move |piece| match piece {
            Ok(piece) => Ok(wire(&identity, piece)),
            Err(why) => Err(to_status(&refusal(&why).into())),
        });
        Ok(Response::new(Box::pin(pieces)))
    }
}

/// A piece as it travels.
fn wire(identity: &Identity, piece: Piece) -> v1::BackUpPiece {
    let now = || Some(timestamp(Clock::start().now()));
    let piece = match piece {
        Piece::Begun { first_page } => WirePiece::Head(v1::BackUpHead {
            kind: match identity.kind {
                NodeKind::Coordinator => v1::NodeKind::Coordinator,
                NodeKind::Participant => v1::NodeKind::Participant,
            }
            .into(),
            name: identity.name.clone(),
            identity: identity.directory.clone(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            begun_at: now(),
            first_page,
        }),
        Piece::Values(values) => {
            let value = |(key, value)| v1::BackUpValue { key, value };
            let values = values.into_iter().map(value).collect();
            WirePiece::Values(v1::BackUpValues { values })
        }
        Piece::Pages(pages) => {
            let page = |(number, page)| v1::BackUpPage { number, page };
            let pages = pages.into_iter().map(page).collect();
            WirePiece::Pages(v1::BackUpPages { pages })
        }
        Piece::Ended(end) => {
            tracing::info!(record = %end.lsn, "a backup is complete");
            WirePiece::End(v1::BackUpEnd {
                last_record: end.lsn.0,
                last_page: end.page,
                ended_at: now(),
            })
        }
    };
    v1::BackUpPiece { piece: Some(piece) }
}

/// Why there is no backup, as a caller is told.
fn refusal(why: &BackupError) -> Refusal {
    let message = why.to_string();
    match why {
        BackupError::UnderWay => Refusal::retryable(Reason::TOO_MANY_REQUESTS, message),
        BackupError::NoRoom => Refusal::retryable(Reason::DISK_FULL, message),
        BackupError::Stopped => Refusal::retryable(Reason::NOT_SERVING, message),
        BackupError::TooLong(_) | BackupError::Stalled(_) => {
            Refusal::new(Reason::BACKUP_GIVEN_UP, message)
        }
        BackupError::Unreadable(_) => Refusal::new(Reason::INTERNAL, message),
    }
}
