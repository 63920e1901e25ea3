//! A coordinator of the test's own making, which has something prepared and then
//! takes its time: so an account stays locked for as long as a test wants.

use std::time::Duration;

use nemcon_client::{new_transaction_id, operation};
use nemcon_core::id::{AttemptId, CoordinatorId, Epoch, Position, Sequence};
use nemcon_core::message::{Frame, Header, Payload, Prepare, Task, ToParticipant, Work};
use nemcon_core::time::Span;
use nemcon_proto::convert::Request;
use nemcon_proto::v1::participant_service_client::ParticipantServiceClient;
use nemcon_proto::v1::{PrepareResponse, Vote};
use prost::{Message, Name};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::cluster::{Cluster, channel, name};

/// How long a hold's own prepare may wait for a lock.
const LOCK_WAIT: Duration = Duration::from_millis(200);

/// A bank that has promised to do something, to nobody in particular.
pub(crate) struct Hold {
    bank: ParticipantServiceClient<Channel>,
    header: Header,
    attempt: AttemptId,
}

impl Hold {
    /// Has an action prepared, and so its account locked.
    pub(crate) async fn on<A: Message + Name>(cluster: &Cluster, bank: &str, action: &A) -> Self {
        let (hold, response) = Self::attempt(cluster, bank, action).await;
        assert_eq!(response.vote(), Vote::Yes, "{response:?}");
        hold
    }

    /// The reason for which an action is refused just now; `None` if it is not.
    pub(crate) async fn refused<A: Message + Name>(
        cluster: &Cluster,
        bank: &str,
        action: &A,
    ) -> Option<String> {
        let (hold, response) = Self::attempt(cluster, bank, action).await;
        if response.vote() == Vote::Yes {
            hold.abort().await;
        }
        response.refusal.map(|refusal| refusal.reason)
    }

    async fn attempt<A: Message + Name>(
        cluster: &Cluster,
        bank: &str,
        action: &A,
    ) -> (Self, PrepareResponse) {
        let coordinator = CoordinatorId::new(Uuid::now_v7());
        let position = Position {
            epoch: Epoch(1),
            sequence: Sequence(1),
        };
        let mut hold = Self {
            bank: ParticipantServiceClient::new(channel(&cluster.bank(bank).url())),
            header: Header {
                coordinator,
                participant: cluster.id(bank),
                epoch: position.epoch,
                floor: position,
            },
            attempt: AttemptId {
                coordinator,
                position,
            },
        };
        let transaction = new_transaction_id();
        let (_, work) = operation(&name(bank), action, false);
        let prepare = Prepare {
            task: Task {
                attempt: hold.attempt,
                transaction,
                age: transaction,
                remaining: Span::from_secs(300),
                lock_wait: Span(LOCK_WAIT.as_millis() as u64),
                // Nobody answers there: the bank stays in doubt.
                coordinator_address: "http://127.0.0.1:9".into(),
            },
            work: Work::OneShot(vec![work]),
            peers: vec![],
            read_only: false,
        };
        let response = match hold.request(ToParticipant::Prepare(prepare)) {
            Request::Prepare(request) => hold.bank.prepare(request).await.unwrap().into_inner(),
            other => panic!("{other:?}"),
        };
        (hold, response)
    }

    /// Lets go: it is as if it had never been.
    pub(crate) async fn abort(mut self) {
        match self.request(ToParticipant::Abort(self.attempt)) {
            Request::Abort(request) => drop(self.bank.abort(request).await.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn request(&self, message: ToParticipant<Payload>) -> Request {
        let header = self.header;
        Request::from(Frame { header, message })
    }
}
