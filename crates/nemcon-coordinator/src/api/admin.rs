//! `AdminService`: participants make themselves known, operators look and mend.

use nemcon_core::coordinator::event::{Event, Reply};
use nemcon_core::id::{AttemptId, ParticipantName};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_net::{Address, to_status, wire_status};
use nemcon_proto::convert::{Damage, Registration, Removal, WireError};
use nemcon_proto::v1;
use nemcon_proto::v1::admin_service_server::AdminService;
use tonic::{Request, Response, Status};

use super::Api;

#[tonic::async_trait]
impl AdminService for Api {
    /// A participant makes itself known. It does so every few seconds, so an
    /// unchanged registration must cost nothing; the machine sees to that.
    async fn register_participant(
        &self,
        request: Request<v1::RegisterParticipantRequest>,
    ) -> Result<Response<v1::RegisterParticipantResponse>, Status> {
        let Registration {
            name,
            id,
            address,
            began,
            restored,
        } = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        // Said now, to who can mend it, rather than when the first call fails.
        if let Err(error) = address.parse::<Address>() {
            let refusal = Refusal::new(Reason::INVALID_REQUEST, error.to_string());
            return Err(to_status(&self.refused(refusal)));
        }
        let event = |request| Event::RegisterRequested {
            request,
            name,
            id,
            address,
            began,
            restored,
        };
        match self.ask_plainly(event).await? {
            Reply::Registered { coordinator, epoch } => {
                Ok(Response::new((coordinator, epoch).into()))
            }
            other => Err(self.misfit(&other)),
        }
    }

    /// Refused while the participant has unfinished business that is not given
    /// up: the machine knows.
    async fn remove_participant(
        &self,
        request: Request<v1::RemoveParticipantRequest>,
    ) -> Result<Response<v1::RemoveParticipantResponse>, Status> {
        let Removal { name, give_up } = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let event = |request| Event::RemoveRequested {
            request,
            name,
            give_up,
        };
        match self.ask_plainly(event).await? {
            Reply::Done => Ok(Response::new(v1::RemoveParticipantResponse {})),
            other => Err(self.misfit(&other)),
        }
    }

    /// Everyone who is registered, reachable or not.
    async fn list_participants(
        &self,
        _: Request<v1::ListParticipantsRequest>,
    ) -> Result<Response<v1::ListParticipantsResponse>, Status> {
        match self
            .ask_plainly(|request| Event::ParticipantsAsked { request })
            .await?
        {
            Reply::Participants(views) => {
                let participants = views.into_iter().map(Into::into).collect();
                Ok(Response::new(v1::ListParticipantsResponse { participants }))
            }
            other => Err(self.misfit(&other)),
        }
    }

    /// Decided, and not acknowledged by everyone: what to look at when something
    /// seems to hang.
    async fn list_in_doubt(
        &self,
        _: Request<v1::ListInDoubtRequest>,
    ) -> Result<Response<v1::ListInDoubtResponse>, Status> {
        match self
            .ask_plainly(|request| Event::InDoubtAsked { request })
            .await?
        {
            Reply::InDoubt(views) => {
                let transactions = views.into_iter().map(Into::into).collect();
                Ok(Response::new(v1::ListInDoubtResponse { transactions }))
            }
            other => Err(self.misfit(&other)),
        }
    }

    /// Where something was done by hand against the decision, until acknowledged.
    async fn list_damage(
        &self,
        _: Request<v1::ListDamageRequest>,
    ) -> Result<Response<v1::ListDamageResponse>, Status> {
        match self
            .ask_plainly(|request| Event::DamageAsked { request })
            .await?
        {
            Reply::Damage(damaged) => {
                let identity = self.identity()?;
                let wire = |damaged| Damage::from((identity, damaged)).into();
                let damage = damaged.into_iter().map(wire).collect();
                Ok(Response::new(v1::ListDamageResponse { damage }))
            }
            other => Err(self.misfit(&other)),
        }
    }

    /// One attempt may have damage at several participants, so the participant has
    /// to be named.
    async fn acknowledge_damage(
        &self,
        request: Request<v1::AcknowledgeDamageRequest>,
    ) -> Result<Response<v1::AcknowledgeDamageResponse>, Status> {
        let (attempt, participant): (AttemptId, Option<ParticipantName>) = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let missing = || {
            let allowed = "the name of the participant where the damage is";
            wire_status(&WireError::missing("participant", allowed))
        };
        let participant = participant.ok_or_else(missing)?;
        let event = |request| Event::DamageAcknowledged {
            request,
            attempt,
            participant,
        };
        match self.ask_plainly(event).await? {
            Reply::Done => Ok(Response::new(v1::AcknowledgeDamageResponse {})),
            other => Err(self.misfit(&other)),
        }
    }

    /// Who waits for whom, everywhere: asked now, so it takes as long as the slowest
    /// participant, within bounds.
    async fn get_waits_for_graph(
        &self,
        _: Request<v1::GetWaitsForGraphRequest>,
    ) -> Result<Response<v1::GetWaitsForGraphResponse>, Status> {
        match self
            .ask_plainly(|request| Event::WaitsAsked { request })
            .await?
        {
            Reply::Waits(view) => Ok(Response::new(view.into())),
            other => Err(self.misfit(&other)),
        }
    }

    /// Counts since the start, and times of the last transactions.
    async fn get_statistics(
        &self,
        request: Request<v1::GetStatisticsRequest>,
    ) -> Result<Response<v1::GetStatisticsResponse>, Status> {
        let samples_max = request.into_inner().samples_max;
        let samples_max = usize::try_from(samples_max).unwrap_or(usize::MAX);
        match self
            .ask_plainly(|request| Event::StatisticsAsked {
                request,
                samples_max,
            })
            .await?
        {
            Reply::Statistics(statistics) => Ok(Response::new((*statistics).into())),
            other => Err(self.misfit(&other)),
        }
    }
}
