//! A participant as its operator sees it: what is in doubt there, and the way
//! out.
//!
//! These questions go to the participant itself. When its coordinator is gone,
//! which is when they matter, nobody else could answer.

use nemcon_core::id::AttemptId;
use nemcon_core::lock::Queue;
use nemcon_core::message::Party;
use nemcon_core::time::Millis;
use nemcon_net::{Address, CALL_TIMEOUT, ORDER_TIMEOUT, Refused, Unanswered};
use nemcon_proto::convert::{LOCKS_LIST_MAX, LocksList, LocksPage, Resolution};
use nemcon_proto::v1;
use nemcon_proto::v1::participant_admin_service_client::ParticipantAdminServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::failure::Failure;

/// A key with who holds it and who waits, and when that was so.
pub(crate) type Lock = (Millis, Queue<Party>);

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

    /// All locks there, each with the time of its page; `None` from a participant
    /// that has no such service.
    pub(crate) async fn locks(&self) -> Result<Option<Vec<Lock>>, Failure> {
        let mut all = Vec::new();
        let mut list = LocksList {
            after: None,
            max: Some(LOCKS_LIST_MAX),
        };
        loop {
            let mut service = self.service.clone();
            let call = service.list_locks(v1::ListLocksRequest::from(list.clone()));
            let page = match nemcon_net::call(CALL_TIMEOUT, call).await {
                Ok(response) => LocksPage::try_from(response),
                Err(status) if status.code() == Code::Unimplemented => return Ok(None),
                Err(status) => return Err(self.failed(&status)),
            };
            let page = page.map_err(|error| {
                Failure::Nonsense(format!("participant {}: {error}", self.name))
            })?;
            all.extend(page.queues.into_iter().map(|queue| (page.at, queue)));
            if page.after.is_none() {
                return Ok(Some(all));
            }
            // Whoever names a key that lies not ahead would have us ask for ever.
            if page.after <= list.after {
                let what = format!("participant {}: its pages go backwards", self.name);
                return Err(Failure::Nonsense(what));
            }
            list.after = page.after;
        }
    }

    /// Ends an attempt by hand.
    pub(crate) async fn resolve(&self, resolution: Resolution) -> Result<(), Failure> {
        let mut service = self.service.clone();
        let call = service.resolve_attempt(v1::ResolveAttemptRequest::from(resolution));
        let answer = nemcon_net::call(ORDER_TIMEOUT, call).await;
        answer.map(drop).map_err(|status| self.not_known(&status))
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
        let answer = nemcon_net::call(ORDER_TIMEOUT, call).await;
        answer.map(drop).map_err(|status| self.not_known(&status))
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

    /// The same for an order: silence does not mean that it was not carried out.
    fn not_known(&self, status: &Status) -> Failure {
        match (self.failed(status), Unanswered::of(status)) {
            (
                Failure::ParticipantSilent { name, address, why },
                Unanswered::Failed(nemcon_core::message::Failure::TimedOut),
            ) => Failure::OrderUnanswered { name, address, why },
            (failure, _) => failure,
        }
    }
}
