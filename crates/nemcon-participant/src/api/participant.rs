//! `ParticipantService`: what coordinators ask of us.
//!
//! All calls have one shape: the request becomes a frame, the frame an event, the
//! answer a response. Every one may come twice, late or after the calls that were
//! sent behind it; the machine expects that. A caller that gives up waiting takes
//! nothing back.

use nemcon_net::response_status;
use nemcon_proto::v1;
use nemcon_proto::v1::participant_service_server::ParticipantService;
use tonic::{Request, Response, Status, Streaming};

use super::Api;
use super::exchange::Exchange;
use crate::decode::Decode;
use crate::serve::ServeResource;

#[tonic::async_trait]
impl<R: ServeResource, D: Decode<R>> ParticipantService for Api<R, D> {
    /// Runs a piece of an interactive transaction, and promises nothing. May wait for
    /// locks.
    async fn execute(
        &self,
        request: Request<v1::ExecuteRequest>,
    ) -> Result<Response<v1::ExecuteResponse>, Status> {
        let answer = self.serve(request).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    /// Takes locks for an interactive transaction. May wait for them.
    async fn acquire_locks(
        &self,
        request: Request<v1::AcquireAttemptLocksRequest>,
    ) -> Result<Response<v1::AcquireAttemptLocksResponse>, Status> {
        let answer = self.serve(request).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    /// Who waits for whom.
    async fn get_waits_for_edges(
        &self,
        request: Request<v1::GetWaitsForEdgesRequest>,
    ) -> Result<Response<v1::GetWaitsForEdgesResponse>, Status> {
        let answer = self.serve(request).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    /// Ends a wait that is part of a deadlock, if it still stands.
    async fn fail_wait(
        &self,
        request: Request<v1::FailWaitRequest>,
    ) -> Result<Response<v1::FailWaitResponse>, Status> {
        let answer = self.serve(request).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    /// Answers once the promise is durable, or with a no. May wait for locks.
    async fn prepare(
        &self,
        request: Request<v1::PrepareRequest>,
    ) -> Result<Response<v1::PrepareResponse>, Status> {
        let answer = self.serve(request).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    /// Acknowledges once the commit is durable here.
    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        let answer = self.serve(request).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    /// Acknowledges, whether or not the attempt was known.
    async fn abort(
        &self,
        request: Request<v1::AbortRequest>,
    ) -> Result<Response<v1::AbortResponse>, Status> {
        let answer = self.serve(request).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    /// Lets a reader go, and tells whether it held its locks all the time.
    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let answer = self.serve(request).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    /// Decides alone; answers once the decision is durable.
    async fn commit_one_phase(
        &self,
        request: Request<v1::CommitOnePhaseRequest>,
    ) -> Result<Response<v1::CommitOnePhaseResponse>, Status> {
        let answer = self.serve(request).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    /// A coordinator's hello: says our boot number, and is a hint to ask it now
    /// about what is in doubt.
    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let answer = self.serve(request).await?;
        let named = (self.handle.name(), answer);
        named.try_into().map(Response::new).map_err(response_status)
    }

    type ExchangeStream = Exchange;

    /// All of the above, many in one message.
    async fn exchange(
        &self,
        request: Request<Streaming<v1::ExchangeRequest>>,
    ) -> Result<Response<Exchange>, Status> {
        self.exchange_all(request.into_inner()).map(Response::new)
    }
}
