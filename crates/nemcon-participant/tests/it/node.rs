//! A node with a store, and a coordinator that is played by the test.

use std::path::Path;
use std::sync::mpsc;

use nemcon_core::id::{
    AttemptId, CoordinatorId, Epoch, ParticipantName, Position, Sequence, TransactionId,
};
use nemcon_core::message::{
    Frame, Header, Operation, Payload, Peer, Prepare, Task, ToParticipant, Work,
};
use nemcon_core::time::{Millis, Span};
use nemcon_node::node::{NodeError, NodeHandle};
use nemcon_node::settings;
use nemcon_participant::{Handle, Settings, serve};
use nemcon_proto::convert::Request;
use nemcon_proto::v1;
use nemcon_proto::v1::outcome_service_client::OutcomeServiceClient;
use nemcon_proto::v1::participant_admin_service_client::ParticipantAdminServiceClient;
use nemcon_proto::v1::participant_service_client::ParticipantServiceClient;
use tonic::Status;
use tonic::transport::Channel;

use crate::store::{Border, Store};

pub(crate) struct Node {
    pub(crate) handle: NodeHandle,
    pub(crate) inside: Handle<Store>,
}

pub(crate) fn start(dir: &Path, coordinators: Vec<String>) -> Result<Node, NodeError> {
    let node = settings::Settings::new("127.0.0.1:0".parse().unwrap(), dir);
    let name: ParticipantName = "a".parse().unwrap();
    let (give, take) = mpsc::channel();
    let extra = move |inside: &Handle<Store>, _: &mut _| give.send(inside.clone()).unwrap();
    let handle = serve(
        Settings::new(node, name, coordinators),
        Store::default(),
        Border,
        extra,
    )?;
    Ok(Node {
        handle,
        inside: take.recv().unwrap(),
    })
}

impl Node {
    pub(crate) fn stop(self) {
        self.handle.stop();
        self.handle.join().unwrap();
    }

    pub(crate) fn channel(&self) -> Channel {
        nemcon_net::channel(&self.handle.url().parse().unwrap())
    }

    pub(crate) fn outcomes(&self) -> OutcomeServiceClient<Channel> {
        OutcomeServiceClient::new(self.channel())
    }

    pub(crate) fn admin(&self) -> ParticipantAdminServiceClient<Channel> {
        ParticipantAdminServiceClient::new(self.channel())
    }

    pub(crate) async fn prepare(
        &self,
        operations: Vec<Operation<Payload>>,
    ) -> Result<v1::PrepareResponse, Status> {
        match self.prepare_request(operations) {
            Request::Prepare(request) => {
                let mut client = ParticipantServiceClient::new(self.channel());
                Ok(client.prepare(request).await?.into_inner())
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn prepare_request(&self, operations: Vec<Operation<Payload>>) -> Request {
        let task = Task {
            attempt: attempt(),
            transaction: transaction(),
            age: transaction(),
            remaining: Span::from_secs(10),
            lock_wait: Span(100),
            coordinator_address: "http://127.0.0.1:9".into(),
        };
        let peers = ["a", "b"].map(|name| Peer {
            name: name.parse().unwrap(),
            address: "http://127.0.0.1:9".into(),
        });
        let work = Work::OneShot(operations);
        let prepare = Prepare {
            task,
            work,
            peers: peers.into(),
            read_only: false,
        };
        self.frame(ToParticipant::Prepare(prepare))
    }

    pub(crate) fn commit_request(&self) -> Request {
        self.frame(ToParticipant::Commit(attempt()))
    }

    pub(crate) async fn commit(&self) -> Result<v1::CommitResponse, Status> {
        match self.commit_request() {
            Request::Commit(request) => {
                let mut client = ParticipantServiceClient::new(self.channel());
                Ok(client.commit(request).await?.into_inner())
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The one attempt of these tests.
pub(crate) fn attempt() -> AttemptId {
    let coordinator = CoordinatorId::new(transaction().uuid());
    AttemptId {
        coordinator,
        position: Position {
            epoch: Epoch(1),
            sequence: Sequence(1),
        },
    }
}

pub(crate) fn transaction() -> TransactionId {
    TransactionId::from_parts(Millis(1_700_000_000_000), 7)
}

impl Node {
    fn frame(&self, message: ToParticipant<Payload>) -> Request {
        let header = Header {
            coordinator: attempt().coordinator,
            participant: self.inside.id().unwrap(),
            epoch: Epoch(1),
            floor: attempt().position,
        };
        Frame { header, message }.into()
    }
}
