//! A participant as its operator sees it: what is in doubt there, and the way
//! out.
//!
//! These questions go to the participant itself. When its coordinator is gone,
//! which is when they matter, nobody else could answer.

use nemcon_core::id::AttemptId;
use nemcon_net::{Address, CALL_TIMEOUT, Refused};
use nemcon_proto::convert::Resolution;
use nemcon_proto::v1;
use nemcon_proto::v1::participant_admin_service_client::ParticipantAdminServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::failure::Failure;

/// The operator's window at one participant.
pub(crate) struct Operator {
    name: String,
    address: String,
    service: ParticipantAdminServiceClient<Channel>,
}

impl Operator {
    /// At a participant as the coordinator knows it, or as the operator does.
    pub(crate) fn of(name: &str, address: &str) -> Result<Self, Failure> {
        let parsed: Address = address
            .parse()
            .map_err(|error| Failure::Nonsense(format!("participant {name}: {error}")))?;
        Ok(Self {
            name: name.to_owned(),
            address: address.to_owned(),
            service: ParticipantAdminServiceClient::new(nemcon_net::channel(&parsed)),
        })
    }

    /// Who it is.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What is in doubt there; `None` from a participant that has no such
    /// service.
    pub(crate) async fn in_doubt(&self) -> Result<Option<Vec<v1::AttemptInDoubt>>, Failure> {
        let mut service = self.service.clone();
        let call = service.list_in_doubt(v1::ListAttemptsInDoubtRequest {});
        match nemcon_net::call(CALL_TIMEOUT, call).await {
            Ok(response) => Ok(Some(response.attempts)),
            Err(status) if status.code() == Code::Unimplemented => Ok(None),
            Err(status) => Err(self.failed(&status)),
        }
    }

    /// Ends an attempt by hand.
    pub(crate) async fn resolve(&self, resolution: Resolution) -> Result<(), Failure> {
        let mut service = self.service.clone();
        let call = service.resolve_attempt(v1::ResolveAttemptRequest::from(resolution));
        let answer = nemcon_net::call(CALL_TIMEOUT, call).await;
        answer.map(drop).map_err(|status| self.failed(&status))
    }

    /// Damage recorded there.
    pub(crate) async fn damage(&self) -> Result<Vec<v1::Damage>, Failure> {
        let mut service = self.service.clone();
        let call = service.list_damage(v1::ListDamageRequest {});
        let answer = nemcon_net::call(CALL_TIMEOUT, call).await;
        answer
            .map(|response| response.damage)
            .map_err(|status| self.failed(&status))
    }

    /// Takes damage off its list.
    pub(crate) async fn acknowledge_damage(&self, attempt: AttemptId) -> Result<(), Failure> {
        let mut service = self.service.clone();
        let request = v1::AcknowledgeDamageRequest {
            attempt: Some(attempt.into()),
            participant: String::new(),
        };
        let call = service.acknowledge_damage(request);
        let answer = nemcon_net::call(CALL_TIMEOUT, call).await;
        answer.map(drop).map_err(|status| self.failed(&status))
    }

    /// A no of the participant is told apart from its silence.
    fn failed(&self, status: &Status) -> Failure {
        match Refused::read(status) {
            Some(refused) => Failure::Refused(format!("{}: {refused}", self.name)),
            None => Failure::ParticipantSilent {
                name: self.name.clone(),
                address: self.address.clone(),
                why: status.message().to_owned(),
            },
        }
    }
}
