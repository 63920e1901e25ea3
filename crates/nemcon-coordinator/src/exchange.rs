//! The `Exchange` stream to a participant: calls leave many in one message, and
//! their answers come as they are ready.
//!
//! ```text
//!             ┌── unary, one by one ◀──────────────┐
//!   send ─────┤                                    │ no stream yet, or none to be had;
//!             └── outbox ──▶ stream ──▶ pending ───┘ too long; of another service
//!                                          │
//!                         answer, time-out, or the end of the stream ──▶ inbox
//! ```
//!
//! - When a stream is opened, and when a call goes by itself, is the matter of
//!   [`Dialogue`]. Until a stream stands, a call that finds nobody says so as ever.
//! - A call in flight on a stream that ends has failed like any call whose
//!   connection broke: whether it was done is not known, and the machine makes it
//!   again. Exactly one event comes of each call.
//! - A participant that has no such stream (`UNIMPLEMENTED`) is not asked again in
//!   its life, that is until it registers anew or cannot be reached.
//! - What waits to leave is bounded in number, by the calls that may be in flight,
//!   and each by [`CALL_BYTES_MAX`].
//!
//! One task for each stream reads the answers, and sees to time-outs; there is no
//! task and no timer for a call.

use std::time::Duration;

use nemcon_core::coordinator::event::Event;
use nemcon_core::id::ParticipantName;
use nemcon_core::message::{Call, Failure};
use nemcon_net::{
    Dialogue, FRAME_BYTES_MAX, NODE_MESSAGE_BYTES_MAX, NotOpened, Opening, Outbox, Shown, Talk, Way,
};
use nemcon_node::inbox::Inbox;
use nemcon_node::peers::LinkFull;
use nemcon_proto::convert::{self, Request};
use nemcon_proto::v1;
use nemcon_proto::v1::participant_service_client::ParticipantServiceClient;
use nemcon_trace::Context;
use prost::Message;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::perform::{about, answered, unanswered};

/// A longer call is made by itself: it would only hold up the others.
const CALL_BYTES_MAX: usize = FRAME_BYTES_MAX;

/// Time-outs are looked for no more often than this: a call may take so much longer
/// than it was given, which harms nobody.
const LOOK_AFTER_MIN: Duration = Duration::from_millis(10);

/// A participant's stream, if it has one. Dropping it closes the stream for new
/// calls; those in flight go on to their end.
pub(crate) struct Exchange {
    to: ParticipantName,
    channel: Channel,
    inbox: Inbox<Event>,
    /// How long a call without waits may take: no call is given less.
    call_time: Duration,
    calls_max: usize,
    dialogue: Dialogue<Question, Pending>,
}

/// A call as it waits to leave, and its bytes.
type Question = (v1::ExchangeCall, usize);

#[derive(Clone, Copy)]
struct Pending {
    call: Call,
    until: Instant,
}

impl Exchange {
    pub(crate) fn new(
        to: ParticipantName,
        channel: Channel,
        inbox: Inbox<Event>,
        call_time: Duration,
        calls_max: usize,
    ) -> Self {
        Self {
            to,
            channel,
            inbox,
            call_time,
            calls_max,
            dialogue: Dialogue::new(),
        }
    }

    /// Sends a call of at most `limit` on the stream, if it stands. If there is
    /// none, one is opened for those that come later. `trace`: what it is sent on behalf
    /// of, if that is traced. Gives the request back if the
    /// call has to be made by itself; else an event will come of it.
    ///
    /// # Errors
    /// [`LinkFull`]; then nothing was sent.
    pub(crate) fn send(
        &self,
        call: Call,
        request: Request,
        limit: Duration,
        trace: Option<&Context>,
    ) -> Result<Option<Request>, LinkFull> {
        let stream = match self.dialogue.way() {
            Way::Stands(stream) => stream,
            Way::Opens(opening) => {
                self.open(opening);
                return Ok(Some(request));
            }
            Way::Alone => return Ok(Some(request)),
        };
        let asked = match request.for_exchange() {
            Ok(asked) => asked,
            Err(elsewhere) => return Ok(Some(*elsewhere)),
        };
        let message = v1::ExchangeCall {
            number: stream.number(),
            request: Some(asked),
            trace: trace.map(nemcon_net::trace::to_wire),
        };
        let bytes = message.encoded_len();
        if bytes > CALL_BYTES_MAX {
            return Ok(message.request.map(Request::from));
        }
        if stream.is_full(self.calls_max) {
            return Err(LinkFull);
        }
        let until = Instant::now() + limit;
        stream.ask((message, bytes), Pending { call, until });
        Ok(None)
    }

    /// The participant has registered anew, or could not be reached: whatever was
    /// found there before may be another now.
    pub(crate) fn look_again(&self) {
        self.dialogue.look_again();
    }

    /// The same, to be done later.
    pub(crate) fn looker(&self) -> impl FnOnce() + Send + 'static {
        self.dialogue.looker()
    }

    fn open(&self, opening: Opening<Question, Pending>) {
        let (to, inbox) = (self.to.clone(), self.inbox.clone());
        let (channel, call_time) = (self.channel.clone(), self.call_time);
        tokio::spawn(async move {
            if let Some((talk, answers)) = open(&to, channel, opening, call_time).await {
                let stream = Stream {
                    to,
                    inbox,
                    call_time,
                    talk,
                };
                stream.run(answers).await;
            }
        });
    }
}

type Answers = Streaming<v1::ExchangeResponse>;

/// Opens a stream, or says why there is none.
async fn open(
    to: &ParticipantName,
    channel: Channel,
    opening: Opening<Question, Pending>,
    call_time: Duration,
) -> Option<(Talk<Question, Pending>, Answers)> {
    let (outbox, frames) = Outbox::new(|question: Question| question);
    let frames = frames.map(|calls| v1::ExchangeRequest { calls });
    let mut participant =
        ParticipantServiceClient::new(channel).max_decoding_message_size(NODE_MESSAGE_BYTES_MAX);
    let headers = participant.exchange(frames);
    match opening.opened(outbox, headers, call_time).await {
        Ok(opened) => {
            tracing::debug!(participant = %to, "Exchange stands");
            return Some(opened);
        }
        Err(NotOpened::Absent) => {
            tracing::info!(participant = %to, "has no Exchange; it is called one by one");
        }
        Err(NotOpened::Failed(status)) => {
            tracing::debug!(participant = %to, %status, "no Exchange now");
        }
        Err(NotOpened::Silent) => {
            tracing::debug!(participant = %to, "no Exchange: its headers do not come");
        }
        // Nobody holds the link any more.
        Err(NotOpened::Unwanted) => {}
    }
    None
}

/// The task of one stream that stands. However it ends, an event comes of each call
/// that was in flight.
struct Stream {
    to: ParticipantName,
    inbox: Inbox<Event>,
    call_time: Duration,
    talk: Talk<Question, Pending>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let in_flight = self.talk.end();
        tracing::debug!(participant = %self.to, in_flight = in_flight.len(), "Exchange has ended");
        // Without a runtime the node has ended, and nobody is left to be told.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (to, inbox) = (self.to.clone(), self.inbox.clone());
        runtime.spawn(async move {
            for Pending { call, .. } in in_flight {
                inbox.deliver(failed(&to, call)).await;
            }
        });
    }
}

/// What a call that was sent and not answered has come to.
fn failed(to: &ParticipantName, call: Call) -> Event {
    Event::CallFailed {
        to: to.clone(),
        call,
        failure: Failure::TimedOut,
    }
}

impl Stream {
    /// Reads answers, and looks for time-outs, until the stream ends.
    async fn run(self, mut answers: Answers) {
        // A call that begins after a look is given at least the time of a call, so
        // no look comes too late for it.
        let look = tokio::time::sleep(self.call_time);
        tokio::pin!(look);
        loop {
            tokio::select! {
                frame = answers.message() => match frame {
                    Ok(Some(frame)) => for answer in frame.answers {
                        self.take(answer).await;
                    },
                    Ok(None) => return,
                    Err(status) => {
                        let error = Shown(&status);
                        tracing::debug!(participant = %self.to, %error, "Exchange broke");
                        return;
                    }
                },
                () = &mut look => {
                    let (late, next) = self.late();
                    for Pending { call, .. } in late {
                        let (attempt, call_name) = about(call);
                        tracing::debug!(
                            participant = %self.to, attempt, call = call_name, "no answer in time"
                        );
                        self.inbox.deliver(failed(&self.to, call)).await;
                    }
                    look.as_mut().reset(next);
                }
            }
        }
    }

    /// Takes in one answer. One that nobody waits for is late, and its call has
    /// failed already.
    async fn take(&self, answer: v1::ExchangeAnswer) {
        let Some(Pending { call, .. }) = self.talk.take(answer.number) else {
            return;
        };
        let to = self.to.clone();
        let event = match convert::returned(call, answer.response) {
            Ok(Ok(answer)) => answered(to, call, Ok(answer)),
            Ok(Err(status)) => unanswered(to, call, &status),
            Err(error) => answered(to, call, Err(error)),
        };
        self.inbox.deliver(event).await;
    }

    /// Takes out the calls whose time is over, and says when to look again.
    fn late(&self) -> (Vec<Pending>, Instant) {
        let now = Instant::now();
        let mut next = now + self.call_time;
        let late = self.talk.take_late(|pending| {
            let is_late = pending.until <= now;
            if !is_late {
                next = next.min(pending.until);
            }
            is_late
        });
        (late, next.max(now + LOOK_AFTER_MIN))
    }
}

#[cfg(test)]
mod tests {
    use nemcon_core::id::{AttemptId, CoordinatorId, Epoch, Position, Sequence};
    use tonic::Response;
    use uuid::Uuid;

    use super::*;

    fn commit(sequence: u64) -> Call {
        Call::Commit(AttemptId {
            coordinator: CoordinatorId::new(Uuid::from_u128(1)),
            position: Position {
                epoch: Epoch(1),
                sequence: Sequence(sequence),
            },
        })
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_task_that_dies_leaves_no_call_without_an_event() {
        let to = ParticipantName::new("bank-a").unwrap();
        // Room for one: the second event waits for the first to be taken.
        let (inbox, mut events) = Inbox::new(1);
        let dialogue = Dialogue::new();
        let Way::Opens(opening) = dialogue.way() else {
            panic!("nobody opens it");
        };
        let (outbox, _frames) = Outbox::new(|question: Question| question);
        let headers = async { Ok(Response::new(())) };
        let call_time = Duration::from_secs(1);
        let (talk, ()) = opening.opened(outbox, headers, call_time).await.unwrap();
        let until = Instant::now() + call_time;
        for sequence in [1, 2] {
            let Way::Stands(stream) = dialogue.way() else {
                panic!("it does not stand");
            };
            let call = commit(sequence);
            let question = (v1::ExchangeCall::default(), 1);
            stream.ask(question, Pending { call, until });
        }
        let stream = Stream {
            to: to.clone(),
            inbox,
            call_time,
            talk,
        };
        let dies = tokio::spawn(async move {
            let _stream = stream;
            panic!("as a mistake would");
        });
        assert!(dies.await.unwrap_err().is_panic());
        for sequence in [1, 2] {
            let event = events.recv().await.unwrap();
            let Event::CallFailed { call, failure, .. } = event else {
                panic!("{event:?}");
            };
            assert_eq!((call, failure), (commit(sequence), Failure::TimedOut));
        }
    }
}
