//! A coordinator of a test's own making, which prepares something and then takes
//! its time.

use nemcon_client::operation;
use nemcon_core::id::{AttemptId, CoordinatorId, Epoch, Position, Sequence};
use nemcon_core::message::{Frame, Header, Payload, Prepare, Task, ToParticipant, Work};
use nemcon_core::time::Span;
use nemcon_node::chance;
use nemcon_proto::convert::Request;
use nemcon_proto::v1;
use nemcon_proto::v1::participant_service_client::ParticipantServiceClient;
use prost::{Message, Name};
use tonic::transport::Channel;

use super::cluster::Cluster;

/// A bank that has promised to do something.
pub(crate) struct Hold {
    bank: ParticipantServiceClient<Channel>,
    header: Header,
    attempt: AttemptId,
}

/// Prepares an action at a bank.
pub(crate) async fn hold<A: Message + Name>(cluster: &Cluster, bank: &str, action: &A) -> Hold {
    let participant = cluster.id(bank).await;
    let bank = cluster.node(bank);
    let coordinator = CoordinatorId::new(chance::fresh_uuid());
    let position = Position {
        epoch: Epoch(1),
        sequence: Sequence(1),
    };
    let transaction = chance::fresh_transaction();
    let mut hold = Hold {
        bank: ParticipantServiceClient::new(nemcon_net::channel(&bank.url().parse().unwrap())),
        header: Header {
            coordinator,
            participant,
            epoch: position.epoch,
            floor: position,
        },
        attempt: AttemptId {
            coordinator,
            position,
        },
    };
    let (_, work) = operation(&bank.name().parse().unwrap(), action, false);
    let prepare = Prepare {
        task: Task {
            attempt: hold.attempt,
            transaction,
            age: transaction,
            remaining: Span::from_secs(10),
            lock_wait: Span::from_secs(5),
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
    assert_eq!(response.vote(), v1::Vote::Yes, "{response:?}");
    hold
}

impl Hold {
    fn request(&self, message: ToParticipant<Payload>) -> Request {
        Request::from(Frame {
            header: self.header,
            message,
        })
    }

    pub(crate) async fn commit(mut self) {
        match self.request(ToParticipant::Commit(self.attempt)) {
            Request::Commit(request) => drop(self.bank.commit(request).await.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn abort(mut self) {
        match self.request(ToParticipant::Abort(self.attempt)) {
            Request::Abort(request) => drop(self.bank.abort(request).await.unwrap()),
            other => panic!("{other:?}"),
        }
    }
}
