//! `ParticipantService.Exchange`: the calls of [`super::participant`], many in one
//! message.
//!
//! Each is read and answered as the call by itself would be; what would be its
//! status is an answer here, so that one that is refused harms no other. They reach
//! the machine in their order.

use std::pin::Pin;
use std::sync::Arc;

use nemcon_core::id::ParticipantName;
use nemcon_core::participant::event::Event;
use nemcon_core::resource::Resource;
use nemcon_net::trace::beside;
use nemcon_net::{NODE_MESSAGE_BYTES_MAX, Shown, frame_status, response_status, wire_status};
use nemcon_node::front::NoAnswer;
use nemcon_node::replies::Told;
use nemcon_node::stream::Requests;
use nemcon_proto::convert::{self, Method};
use nemcon_proto::v1;
use nemcon_proto::v1::exchange_answer::Response;
use prost::Message;
use tokio_stream::{Stream, StreamExt};
use tonic::{Status, Streaming};

use super::{Api, refused};
use crate::decode::Decode;
use crate::handle::{Said, Tag, misfit};
use crate::serve::ServeResource;
use crate::traces;

/// Answers that wait for the coordinator to read them; while there are as many,
/// nothing more is taken from it. Some frames' worth: a coordinator that reads is
/// never met with it.
const UNSENT_MAX: usize = 4_096;

/// Calls of one coordinator without an answer; beyond it they are refused with
/// `TOO_MANY_REQUESTS`. Most of them wait for locks. They are refused rather than
/// left unread, since a commit behind them may be what they wait for. A coordinator
/// has 4,096 in flight unless told otherwise, and leaves alone those that took too
/// long.
const UNANSWERED_MAX: usize = 16_384;

/// Room in a message for what is around an answer.
const AROUND_BYTES: usize = 64;

pub(super) type Exchange = Pin<Box<dyn Stream<Item = Result<v1::ExchangeResponse, Status>> + Send>>;

type Asking<R> = Requests<Event<<R as Resource>::Action>, Said<<R as Resource>::Result>, Tag>;

impl<R: ServeResource, D: Decode<R>> Api<R, D> {
    /// Takes calls from a stream until it ends.
    pub(super) fn exchange_all(
        &self,
        frames: Streaming<v1::ExchangeRequest>,
    ) -> Result<Exchange, Status> {
        let (name, decode) = (self.handle.name.clone(), Arc::clone(&self.decode));
        let pack = move |told| pack::<R, D>(&name, &decode, told);
        let api = self.clone();
        let read = |requests| async move { api.read(frames, requests).await };
        let answers = Requests::begin(&self.handle.front, pack, read)
            .map_err(|not_serving| refused(not_serving.into()))?;
        let response = |answers| v1::ExchangeResponse { answers };
        Ok(Box::pin(answers.map(move |frame| frame.map(response))))
    }

    async fn read(
        self,
        mut frames: Streaming<v1::ExchangeRequest>,
        requests: Asking<R>,
    ) -> Result<(), Status> {
        while requests.room(UNSENT_MAX, usize::MAX).await {
            let frame = match frames.message().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                // If it is the connection that broke, nobody hears the status.
                Err(status) => {
                    let error = Shown(&status);
                    tracing::debug!(%error, "a coordinator's stream has ended");
                    let max = NODE_MESSAGE_BYTES_MAX;
                    let want = format_args!("an ExchangeRequest of at most {max} bytes");
                    return Err(frame_status(&status, want));
                }
            };
            for call in frame.calls {
                self.take(call, &requests).await;
            }
        }
        Ok(())
    }

    /// Hands one call to the machine, or says why not.
    async fn take(&self, call: v1::ExchangeCall, requests: &Asking<R>) {
        let number = call.number;
        let Some(request) = call.request else {
            // The call of a later version.
            let unknown = Status::unimplemented("this version does not know that request");
            return requests.refuse((number, None), unknown);
        };
        let (method, frame) = match convert::asked(Some(request)) {
            Ok(asked) => asked,
            Err(error) => return requests.refuse((number, None), wire_status(&error)),
        };
        let full = requests.unanswered() >= UNANSWERED_MAX;
        let no_answer = match requests.is_open() {
            true if full => Some(NoAnswer::Busy),
            true => None,
            false => Some(NoAnswer::NotServing),
        };
        let tag = (number, Some(method));
        if let Some(no_answer) = no_answer {
            return requests.refuse(tag, refused(no_answer.into()));
        }
        let behind = || beside(call.trace.as_ref());
        let span = traces::begin(self.handle.tracer(), &frame, behind);
        let frame = frame.map_actions(|payload, inputs| self.decode.action(payload, inputs));
        let received = |request| Event::FrameReceived { request, frame };
        requests.ask(tag, span, received).await;
    }
}

/// Writes an answer, and says how long it is.
fn pack<R: ServeResource, D: Decode<R>>(
    name: &ParticipantName,
    decode: &D,
    told: Told<Said<R::Result>, Tag>,
) -> (v1::ExchangeAnswer, usize) {
    let (number, method) = told.tag;
    let response = told
        .answer
        .map_err(|status| *status)
        .and_then(|said| respond::<R, D>(name, decode, method, said));
    let response = response.unwrap_or_else(|status| Response::Status((&status).into()));
    let answer = v1::ExchangeAnswer {
        number,
        response: Some(response),
    };
    let bytes = answer.encoded_len();
    let max = NODE_MESSAGE_BYTES_MAX - AROUND_BYTES;
    if bytes <= max {
        return (answer, bytes);
    }
    // What the caller's end would say of such an answer to a call by itself. Here
    // it would end the stream, with all the calls on it.
    let status = Status::out_of_range(format!("the answer has {bytes} bytes; at most {max}"));
    let answer = v1::ExchangeAnswer {
        number,
        response: Some(Response::Status((&status).into())),
    };
    let bytes = answer.encoded_len();
    (answer, bytes)
}

fn respond<R: ServeResource, D: Decode<R>>(
    name: &ParticipantName,
    decode: &D,
    method: Option<Method>,
    said: Said<R::Result>,
) -> Result<Response, Status> {
    match (said, method) {
        (Said::Answer(answer), Some(method)) => {
            let answer = answer.map_results(|result| decode.result(result));
            convert::responded(method, name, answer).map_err(response_status)
        }
        (Said::Answer(answer), None) => Err(refused(misfit(&answer))),
        (Said::Reply(reply), _) => Err(refused(misfit(&reply))),
    }
}
