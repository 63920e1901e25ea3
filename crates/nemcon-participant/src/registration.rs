//! Makes a participant known to its coordinators.
//!
//! A coordinator remembers participants in its log, so one registration would
//! do; it is repeated because it costs nothing and mends everything: a
//! coordinator with an emptied data directory, a participant that has moved.

use std::time::Duration;

use nemcon_core::id::{CoordinatorId, Epoch, LogPosition, ParticipantId, ParticipantName};
use nemcon_core::reason::Reason;
use nemcon_core::time::Span;
use nemcon_core::timers::Jitter;
use nemcon_net::{Address, CALL_TIMEOUT, Refused, Shown};
use nemcon_node::chance;
use nemcon_node::inbox::Inbox;
use nemcon_node::node::Ending;
use nemcon_proto::convert::{Registration, WireError};
use nemcon_proto::v1;
use nemcon_proto::v1::admin_service_client::AdminServiceClient;
use tonic::Status;
use tonic::transport::Channel;

/// How long a registration holds before it is repeated.
const REPEAT_AFTER: Duration = Duration::from_secs(10);

/// First and longest wait after a coordinator could not be reached. Short, since
/// nothing can be done here before one of them knows us.
const RETRY_FIRST: Span = Span(100);
const RETRY_MAX: Span = Span::from_secs(5);

/// Knows what to say to which coordinators.
pub(crate) struct Registrar {
    pub(crate) name: ParticipantName,
    pub(crate) address: String,
    pub(crate) coordinators: Vec<Address>,
}

impl Registrar {
    /// Starts to register, at each coordinator by itself. The tasks live as long
    /// as the runtime, that is the node.
    ///
    /// The machine is told of each coordinator that takes it: a restored one hears
    /// no other.
    pub(crate) fn start<E: Send + 'static>(
        self,
        life: Life,
        ending: &Ending,
        inbox: &Inbox<E>,
        registered: fn(CoordinatorId) -> E,
    ) {
        let Life {
            id,
            began,
            restored,
        } = life;
        for url in self.coordinators {
            let (name, address) = (self.name.clone(), self.address.clone());
            let task = Task {
                registration: Registration {
                    name,
                    id,
                    address,
                    began: Some(began),
                    restored,
                },
                client: AdminServiceClient::new(nemcon_net::channel(&url)),
                url,
                ending: ending.clone(),
                inbox: inbox.clone(),
                event: registered,
                jitter: Jitter::new(chance::seed()),
                known_to: None,
                failures: 0,
            };
            tokio::spawn(task.run());
        }
    }
}

/// What a participant says of the data directory it lives from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) id: ParticipantId,
    pub(crate) began: LogPosition,
    pub(crate) restored: Option<u64>,
}

/// Registration at one coordinator.
struct Task<E> {
    registration: Registration,
    url: Address,
    client: AdminServiceClient<Channel>,
    ending: Ending,
    inbox: Inbox<E>,
    event: fn(CoordinatorId) -> E,
    jitter: Jitter,
    /// The coordinator that took the last registration.
    known_to: Option<(CoordinatorId, Epoch)>,
    /// Tries in vain since then.
    failures: u32,
}

impl<E> Task<E> {
    /// Registers again and again, until the node ends.
    async fn run(mut self) {
        loop {
            let wait = match self.register().await {
                Ok(coordinator) => {
                    self.inbox.deliver((self.event)(coordinator.0)).await;
                    self.registered(coordinator)
                }
                Err(status) => match self.refused(&status) {
                    Some(wait) => wait,
                    None => return,
                },
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// One try.
    async fn register(&mut self) -> Result<(CoordinatorId, Epoch), Status> {
        let request = v1::RegisterParticipantRequest::from(self.registration.clone());
        let call = self.client.register_participant(request);
        let response = nemcon_net::call(CALL_TIMEOUT, call).await?;
        response
            .try_into()
            .map_err(|error: WireError| Status::unknown(error.to_string()))
    }

    /// How long the registration holds. Only a change is worth a line.
    fn registered(&mut self, coordinator: (CoordinatorId, Epoch)) -> Duration {
        self.failures = 0;
        if self.known_to.replace(coordinator) != Some(coordinator) {
            let (identity, epoch) = coordinator;
            tracing::info!(url = %self.url, coordinator = %identity, %epoch, "registered");
        }
        REPEAT_AFTER
    }

    /// How long to wait before the next try; `None` if there is to be none,
    /// since the node ends.
    fn refused(&mut self, status: &Status) -> Option<Duration> {
        if let Some(message) = self.unwanted(status) {
            if self.known_to.is_none() {
                self.ending.refuse(message);
                return None;
            }
            tracing::error!("{message}");
            return Some(REPEAT_AFTER);
        }
        // A coordinator that is down for long is told of once, not in each try.
        if self.failures == 0 {
            let error = Shown(status);
            tracing::warn!(url = %self.url, %error, "cannot register; trying on");
        }
        let wait = self.jitter.backoff(RETRY_FIRST, RETRY_MAX, self.failures);
        self.failures = self.failures.saturating_add(1);
        Some(Duration::from_millis(wait.0))
    }

    /// What to tell the operator if the coordinator will not have this data
    /// directory.
    fn unwanted(&self, status: &Status) -> Option<String> {
        let Registration { name, id, .. } = &self.registration;
        let (url, why) = (&self.url, status.message());
        let reason = Refused::read(status)?.refusal.reason;
        if reason == Reason::PARTICIPANT_REPLACED {
            return Some(format!(
                "the coordinator at {url} knows {name} with another data directory than this one \
                 ({id}): {why}. Start with that directory; or, if its data is given up, first \
                 run `nemcon participants remove {name}`; or choose another --name"
            ));
        }
        (reason == Reason::PARTICIPANT_SET_BACK)
            .then(|| format!("the coordinator at {url} will not have {name}: {why}"))
    }
}
