//! `ParticipantService`: what coordinators ask of us.

use nemcon_net::response_status;
use nemcon_proto::v1;
use nemcon_proto::v1::participant_service_server::ParticipantService;
use tonic::{Request, Response, Status};

use super::Api;
use crate::decode::Decode;
use crate::serve::ServeResource;

#[tonic::async_trait]
impl<R: ServeResource, D: Decode<R>> ParticipantService for Api<R, D> {
    async fn prepare(
        &self,
        request: Request<v1::PrepareRequest>,
    ) -> Result<Response<v1::PrepareResponse>, Status> {
        let answer = self.answer(request.into_inner().try_into()).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        let answer = self.answer(request.into_inner().try_into()).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    async fn abort(
        &self,
        request: Request<v1::AbortRequest>,
    ) -> Result<Response<v1::AbortResponse>, Status> {
        let answer = self.answer(request.into_inner().try_into()).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let answer = self.answer(request.into_inner().try_into()).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    async fn commit_one_phase(
        &self,
        request: Request<v1::CommitOnePhaseRequest>,
    ) -> Result<Response<v1::CommitOnePhaseResponse>, Status> {
        let answer = self.answer(request.into_inner().try_into()).await?;
        answer
            .try_into()
            .map(Response::new)
            .map_err(response_status)
    }

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let answer = self.answer(request.into_inner().try_into()).await?;
        let named = (self.handle.name(), answer);
        named.try_into().map(Response::new).map_err(response_status)
    }
}
