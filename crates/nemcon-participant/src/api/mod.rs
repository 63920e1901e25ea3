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
use nemcon_net::{to_status, wire_status};
use nemcon_proto::convert::WireError;
use tonic::Status;

use crate::decode::Decode;
use crate::handle::{Handle, Said, misfit};
use crate::serve::ServeResource;

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
    /// Takes a coordinator's message and waits for the answer. A refusal is an
    /// answer like any other here.
    async fn answer(
        &self,
        frame: Result<Frame<Payload>, WireError>,
    ) -> Result<Answer<Payload>, Status> {
        let frame = frame.map_err(|error| wire_status(&error))?;
        let frame = frame.map_actions(|payload, inputs| self.decode.action(payload, inputs));
        let received = |request| Event::FrameReceived { request, frame };
        match self
            .handle
            .front
            .ask(received)
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
