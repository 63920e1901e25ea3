//! The gRPC services of a participant. Each call is parsed, handed to the
//! machine as an event, and answered when the machine says so; no call decides
//! anything itself.

mod admin;
mod exchange;
mod outcome;
mod participant;

use std::sync::Arc;

use nemcon_core::id::RequestId;
use nemcon_core::message::{Answer, Frame, Payload};
use nemcon_core::participant::event::{Event, Reply};
use nemcon_core::reason::Refusal;
use nemcon_net::trace::received;
use nemcon_net::{to_status, wire_status};
use nemcon_proto::convert::WireError;
use nemcon_trace::Context;
use tonic::{Request, Status};

use crate::decode::Decode;
use crate::handle::{Handle, Said, misfit};
use crate::serve::ServeResource;
use crate::traces;

/// All services of a participant over one machine. Cheap to clone.
pub(crate) struct Api<R: ServeResource, D> {
    pub(crate) handle: Handle<R>,
    pub(crate) decode: Arc<D>,
}

impl<R: ServeResource, D> Clone for Api<R, D> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            decode: Arc::clone(&self.decode),
        }
    }
}

impl<R: ServeResource, D: Decode<R>> Api<R, D> {
    /// Takes a coordinator's call by itself and waits for the answer.
    async fn serve<W>(&self, request: Request<W>) -> Result<Answer<Payload>, Status>
    where
        Frame<Payload>: TryFrom<W, Error = WireError>,
    {
        let (metadata, _, request) = request.into_parts();
        let behind = || received(&metadata);
        self.answer(request.try_into(), behind).await
    }

    /// Takes a coordinator's message, sent on behalf of what `behind` reads, and waits
    /// for the answer. A refusal is an answer like any other here.
    async fn answer(
        &self,
        frame: Result<Frame<Payload>, WireError>,
        behind: impl FnOnce() -> Option<Context>,
    ) -> Result<Answer<Payload>, Status> {
        let frame = frame.map_err(|error| wire_status(&error))?;
        let span = traces::begin(self.handle.tracer(), &frame, behind);
        let frame = frame.map_actions(|payload, inputs| self.decode.action(payload, inputs));
        let event = |request| Event::FrameReceived { request, frame };
        match self
            .handle
            .front
            .ask_within(span, event)
            .await
            .map_err(|no| refused(no.into()))?
        {
            Said::Answer(answer) => Ok(answer.map_results(|result| self.decode.result(result))),
            Said::Reply(reply) => Err(refused(misfit(&reply))),
        }
    }

    /// Takes anyone else's request and waits for the reply.
    async fn reply(
        &self,
        event: impl FnOnce(RequestId) -> Event<R::Action>,
    ) -> Result<Reply<R::Result>, Status> {
        self.handle.ask(event).await.map_err(refused)
    }
}

/// The status of a request that the node refuses.
fn refused(refusal: Refusal) -> Status {
    to_status(&refusal.into())
}
