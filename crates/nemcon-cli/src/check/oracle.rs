//! Answers a participant in doubt: as its coordinator at one port, as one of its
//! peers at another.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nemcon_core::id::{AttemptId, ParticipantName};
use nemcon_core::message::{Peer, Verdict};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_net::{to_status, wire_status};
use nemcon_proto::convert::Question;
use nemcon_proto::v1;
use nemcon_proto::v1::outcome_service_server::{OutcomeService, OutcomeServiceServer};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// The name of the peer, which nobody else is likely to have.
const PEER: &str = "nemcon-check-peer";

/// Whom a participant asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Coordinator,
    Peer,
}

/// What is said about one attempt, at each port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    /// `None`: the coordinator is starting, and cannot be asked.
    pub(super) coordinator: Option<Verdict>,
    pub(super) peer: Verdict,
}

impl Word {
    /// The same at both.
    pub(super) const fn everywhere(verdict: Verdict) -> Self {
        Self {
            coordinator: Some(verdict),
            peer: verdict,
        }
    }
}

/// Both ports, and what has been asked there.
#[derive(Clone)]
pub(super) struct Oracle {
    /// Where the coordinator is asked.
    pub(super) coordinator: String,
    /// The peer, as Prepare names it.
    pub(super) peer: Peer,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    book: Mutex<Book>,
    asked: Notify,
}

#[derive(Default)]
struct Book {
    words: BTreeMap<AttemptId, Word>,
    questions: BTreeMap<(Role, AttemptId), u32>,
}

impl Desk {
    /// Nobody panics while holding it; and if one did, counts would still be counts.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Oracle {
    /// Takes two free ports that the participant reaches under `host`.
    ///
    /// # Errors
    /// If there are none.
    pub(super) async fn open(host: &str) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let coordinator = listen(host, Role::Coordinator, &desk).await?;
        let peer = Peer {
            name: ParticipantName::new(PEER).map_err(io::Error::other)?,
            address: listen(host, Role::Peer, &desk).await?,
        };
        Ok(Self {
            coordinator,
            peer,
            desk,
        })
    }

    /// From now on this is said about the attempt.
    pub(super) fn say(&self, attempt: AttemptId, word: Word) {
        self.desk.book().words.insert(attempt, word);
    }

    /// Whether its outcome is to commit, as far as anybody was told.
    pub(super) fn has_committed(&self, attempt: AttemptId) -> bool {
        let book = self.desk.book();
        book.words.get(&attempt).is_some_and(|word| {
            let committed = Verdict::Committed;
            word.coordinator == Some(committed) || word.peer == committed
        })
    }

    /// How often the attempt has been asked about.
    pub(super) fn questions(&self, role: Role, attempt: AttemptId) -> u32 {
        let book = self.desk.book();
        book.questions.get(&(role, attempt)).copied().unwrap_or(0)
    }

    /// Waits until the attempt has been asked about more often than `before`.
    /// Whether that came to pass in time.
    pub(super) async fn asked(
        &self,
        role: Role,
        attempt: AttemptId,
        before: u32,
        within: Duration,
    ) -> bool {
        let more = async {
            loop {
                let asked = self.desk.asked.notified();
                if self.questions(role, attempt) > before {
                    return;
                }
                asked.await;
            }
        };
        timeout(within, more).await.is_ok()
    }
}

/// Serves one role at a free port, for as long as the runtime lives. Beyond
/// loopback it listens only for a participant that is not on this machine.
async fn listen(host: &str, role: Role, desk: &Arc<Desk>) -> io::Result<String> {
    let loopback = host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let ip = if loopback {
        Ipv4Addr::LOCALHOST
    } else {
        Ipv4Addr::UNSPECIFIED
    };
    let listener = TcpListener::bind((ip, 0)).await?;
    let port = listener.local_addr()?.port();
    let service = OutcomeServiceServer::new(Window {
        role,
        desk: Arc::clone(desk),
    });
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = nemcon_net::server().add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    Ok(format!("http://{host}:{port}"))
}

/// One port.
struct Window {
    role: Role,
    desk: Arc<Desk>,
}

#[tonic::async_trait]
impl OutcomeService for Window {
    async fn get_outcome(
        &self,
        request: Request<v1::GetOutcomeRequest>,
    ) -> Result<Response<v1::GetOutcomeResponse>, Status> {
        let question: Question = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let Question::Attempt { attempt, .. } = question else {
            let refusal = Refusal::new(Reason::INVALID_REQUEST, "only coordinators inquire");
            return Err(to_status(&refusal.into()));
        };
        let word = {
            let mut book = self.desk.book();
            *book.questions.entry((self.role, attempt)).or_default() += 1;
            book.words.get(&attempt).copied()
        };
        self.desk.asked.notify_waiters();
        let verdict = match (self.role, word) {
            (Role::Coordinator, Some(word)) => word.coordinator,
            (Role::Peer, Some(word)) => Some(word.peer),
            // Of an earlier run, whose coordinator this one is not.
            (Role::Coordinator, None) => Some(Verdict::WrongCoordinator),
            (Role::Peer, None) => Some(Verdict::Unknown),
        };
        match verdict {
            Some(verdict) => Ok(Response::new(verdict.into())),
            None => {
                let refusal = Refusal::retryable(Reason::NOT_SERVING, "the node is starting");
                Err(to_status(&refusal.into()))
            }
        }
    }

    async fn report_heuristic(
        &self,
        _: Request<v1::ReportHeuristicRequest>,
    ) -> Result<Response<v1::ReportHeuristicResponse>, Status> {
        Ok(Response::new(v1::ReportHeuristicResponse {}))
    }
}
