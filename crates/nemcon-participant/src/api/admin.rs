//! `ParticipantAdminService`: the operator's window, and way out. It is on the
//! participant itself, since the coordinator is what is missing when it is
//! needed.

use nemcon_core::id::{AttemptId, ParticipantName};
use nemcon_core::participant::event::{Event, Reply};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_net::wire_status;
use nemcon_proto::convert::{Damage, LocksList, LocksPage, Resolution};
use nemcon_proto::v1;
use nemcon_proto::v1::participant_admin_service_server::ParticipantAdminService;
use tonic::{Request, Response, Status};

use super::{Api, refused};
use crate::decode::Decode;
use crate::handle::misfit;
use crate::serve::ServeResource;

#[tonic::async_trait]
impl<R: ServeResource, D: Decode<R>> ParticipantAdminService for Api<R, D> {
    /// What is promised here and not resolved, with the locks it keeps.
    async fn list_in_doubt(
        &self,
        _: Request<v1::ListAttemptsInDoubtRequest>,
    ) -> Result<Response<v1::ListAttemptsInDoubtResponse>, Status> {
        match self
            .reply(|request| Event::InDoubtAsked { request })
            .await?
        {
            Reply::InDoubt(attempts) => {
                let attempts = attempts.into_iter().map(Into::into).collect();
                Ok(Response::new(v1::ListAttemptsInDoubtResponse { attempts }))
            }
            other => Err(refused(misfit(&other))),
        }
    }

    /// Ends an attempt by hand. The line in the log of the process is besides the
    /// record in the log of the data: it says who was on duty.
    async fn resolve_attempt(
        &self,
        request: Request<v1::ResolveAttemptRequest>,
    ) -> Result<Response<v1::ResolveAttemptResponse>, Status> {
        let Resolution {
            attempt,
            outcome,
            reason,
        } = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        tracing::warn!(%attempt, ?outcome, reason, "an operator decides by hand");
        let event = |request| Event::ResolveRequested {
            request,
            attempt,
            outcome,
            reason,
        };
        match self.reply(event).await? {
            Reply::Done => Ok(Response::new(v1::ResolveAttemptResponse {})),
            other => Err(refused(misfit(&other))),
        }
    }

    /// A page, in the order of the keys. The page token is the last key of the page
    /// before, so what is locked or let go between two pages shifts nothing.
    async fn list_locks(
        &self,
        request: Request<v1::ListLocksRequest>,
    ) -> Result<Response<v1::ListLocksResponse>, Status> {
        let list: LocksList = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let max = list.max();
        let after = list.after;
        let event = |request| Event::LocksAsked {
            request,
            after,
            max,
        };
        match self.reply(event).await? {
            Reply::Locks { at, queues, more } => {
                Ok(Response::new(LocksPage::new(at, queues, more).into()))
            }
            other => Err(refused(misfit(&other))),
        }
    }

    /// Where what was done here is not what was decided, until acknowledged.
    async fn list_damage(
        &self,
        _: Request<v1::ListDamageRequest>,
    ) -> Result<Response<v1::ListDamageResponse>, Status> {
        match self.reply(|request| Event::DamageAsked { request }).await? {
            Reply::Damage(damaged) => {
                let name = self.handle.name();
                let wire = |damaged| Damage::from((name.clone(), damaged)).into();
                let damage = damaged.into_iter().map(wire).collect();
                Ok(Response::new(v1::ListDamageResponse { damage }))
            }
            other => Err(refused(misfit(&other))),
        }
    }

    /// Takes damage off the list. The participant's name may be left out, but if it
    /// is given it has to be ours: the operator may be looking at another node.
    async fn acknowledge_damage(
        &self,
        request: Request<v1::AcknowledgeDamageRequest>,
    ) -> Result<Response<v1::AcknowledgeDamageResponse>, Status> {
        let (attempt, named): (AttemptId, Option<ParticipantName>) = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        if let Some(other) = named.filter(|name| name != self.handle.name()) {
            let message = format!(
                "participant is {other}, but this is {}; ask there, or leave the field empty",
                self.handle.name()
            );
            return Err(refused(Refusal::new(Reason::INVALID_REQUEST, message)));
        }
        match self
            .reply(|request| Event::DamageAcknowledged { request, attempt })
            .await?
        {
            Reply::Done => Ok(Response::new(v1::AcknowledgeDamageResponse {})),
            other => Err(refused(misfit(&other))),
        }
    }
}
