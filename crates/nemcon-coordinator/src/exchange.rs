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
//! - A stream is opened when there is something to say, and carries nothing before
//!   the participant has sent its headers. So a call is never sent into the void:
//!   until the stream stands, calls go one by one, and one that finds nobody says
//!   so as ever.
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

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nemcon_core::coordinator::event::Event;
use nemcon_core::id::ParticipantName;
use nemcon_core::message::{Call, Failure};
use nemcon_net::{FRAME_BYTES_MAX, NODE_MESSAGE_BYTES_MAX, Outbox, Shown};
use nemcon_node::inbox::Inbox;
use nemcon_node::peers::LinkFull;
use nemcon_proto::convert::{self, Request};
use nemcon_proto::v1;
use nemcon_proto::v1::participant_service_client::ParticipantServiceClient;
use nemcon_trace::Context;
use prost::Message;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::perform::{about, answered, unanswered};

/// A longer call is made by itself: it would only hold up the others.
const CALL_BYTES_MAX: usize = FRAME_BYTES_MAX;

/// Pause before a stream is opened anew, after one that has ended or could not be
/// opened. Meanwhile calls go one by one, so nothing waits for it.
const REOPEN_AFTER: Duration = Duration::from_millis(100);

/// The same after one whose headers did not come: whatever stands there may never
/// send them.
const REOPEN_AFTER_SILENCE: Duration = Duration::from_secs(10);

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
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    phase: Phase,
    /// Sent, or about to be, on the stream that is open.
    pending: BTreeMap<u64, Pending>,
    /// The number of the last call.
    last: u64,
}

enum Phase {
    /// There is no stream, and none is opened before then.
    Closed { until: Instant },
    /// It is being opened.
    Opening,
    /// It stands.
    Open(Outbox<v1::ExchangeCall>),
    /// The participant has none.
    Absent,
}

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
        let shared = Shared {
            phase: Phase::Closed {
                until: Instant::now(),
            },
            pending: BTreeMap::new(),
            last: 0,
        };
        Self {
            to,
            channel,
            inbox,
            call_time,
            calls_max,
            shared: Arc::new(Mutex::new(shared)),
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
        let mut shared = lock(&self.shared);
        let outbox = match &shared.phase {
            Phase::Open(outbox) => outbox.clone(),
            Phase::Closed { until } if *until <= Instant::now() => {
                shared.phase = Phase::Opening;
                drop(shared);
                self.open();
                return Ok(Some(request));
            }
            Phase::Closed { .. } | Phase::Opening | Phase::Absent => {
                return Ok(Some(request));
            }
        };
        let asked = match request.for_exchange() {
            Ok(asked) => asked,
            Err(elsewhere) => return Ok(Some(*elsewhere)),
        };
        let number = shared.last + 1;
        let message = v1::ExchangeCall {
            number,
            request: Some(asked),
            trace: trace.map(nemcon_net::trace::to_wire),
        };
        if message.encoded_len() > CALL_BYTES_MAX {
            return Ok(message.request.map(Request::from));
        }
        // Calls that have timed out may still wait to leave, so both are counted.
        if shared.pending.len().max(outbox.waiting()) >= self.calls_max {
            return Err(LinkFull);
        }
        shared.last = number;
        let until = Instant::now() + limit;
        shared.pending.insert(number, Pending { call, until });
        outbox.push(message);
        Ok(None)
    }

    /// The participant has registered anew, or could not be reached: whatever was
    /// found there before may be another now.
    pub(crate) fn look_again(&self) {
        look_again(&self.shared);
    }

    /// The same, to be done later.
    pub(crate) fn looker(&self) -> impl FnOnce() + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || look_again(&shared)
    }

    fn open(&self) {
        let stream = Stream {
            to: self.to.clone(),
            inbox: self.inbox.clone(),
            call_time: self.call_time,
            shared: Arc::clone(&self.shared),
        };
        tokio::spawn(stream.run(self.channel.clone()));
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        match &shared.phase {
            Phase::Open(outbox) => outbox.finish(),
            // One that comes to stand finds this, and closes again.
            Phase::Closed { .. } | Phase::Opening | Phase::Absent => shared.phase = Phase::Absent,
        }
    }
}

fn look_again(shared: &Mutex<Shared>) {
    let mut shared = lock(shared);
    if matches!(shared.phase, Phase::Absent) {
        let until = Instant::now();
        shared.phase = Phase::Closed { until };
    }
}

/// A panic elsewhere cannot leave it half changed, so poison is ignored.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The task of one stream, from its opening to its end.
struct Stream {
    to: ParticipantName,
    inbox: Inbox<Event>,
    call_time: Duration,
    shared: Arc<Mutex<Shared>>,
}

impl Stream {
    async fn run(self, channel: Channel) {
        let (outbox, frames) = Outbox::new(|call: v1::ExchangeCall| {
            let bytes = call.encoded_len();
            (call, bytes)
        });
        let frames = frames.map(|calls| v1::ExchangeRequest { calls });
        let mut participant = ParticipantServiceClient::new(channel)
            .max_decoding_message_size(NODE_MESSAGE_BYTES_MAX);
        let opening = participant.exchange(frames);
        let answers = match tokio::time::timeout(self.call_time, opening).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) if status.code() == Code::Unimplemented => {
                tracing::info!(participant = %self.to, "has no Exchange; it is called one by one");
                lock(&self.shared).phase = Phase::Absent;
                return;
            }
            Ok(Err(status)) => {
                let error = Shown(&status);
                tracing::debug!(participant = %self.to, %error, "no Exchange now");
                return self.closed(REOPEN_AFTER);
            }
            Err(_) => {
                tracing::debug!(participant = %self.to, "no Exchange: its headers do not come");
                return self.closed(REOPEN_AFTER_SILENCE);
            }
        };
        {
            let mut shared = lock(&self.shared);
            if !matches!(shared.phase, Phase::Opening) {
                // Nobody holds the link any more.
                return;
            }
            shared.phase = Phase::Open(outbox);
        }
        tracing::debug!(participant = %self.to, "Exchange stands");
        self.read(answers).await;
        let unanswered = self.ended();
        tracing::debug!(participant = %self.to, in_flight = unanswered.len(), "Exchange has ended");
        for call in unanswered {
            self.fail(call).await;
        }
    }

    fn closed(&self, after: Duration) {
        let until = Instant::now() + after;
        let mut shared = lock(&self.shared);
        if matches!(shared.phase, Phase::Opening) {
            shared.phase = Phase::Closed { until };
        }
    }

    /// Closes the stream, and gives the calls that were in flight.
    fn ended(&self) -> Vec<Call> {
        let mut shared = lock(&self.shared);
        let until = Instant::now() + REOPEN_AFTER;
        let phase = std::mem::replace(&mut shared.phase, Phase::Closed { until });
        // Whatever ended it, the peer is not left with half a stream.
        if let Phase::Open(outbox) = phase {
            outbox.close();
        }
        let pending = std::mem::take(&mut shared.pending);
        pending.into_values().map(|pending| pending.call).collect()
    }

    /// Reads answers, and looks for time-outs, until the stream ends.
    async fn read(&self, mut answers: Streaming<v1::ExchangeResponse>) {
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
                    for call in late {
                        let (attempt, call_name) = about(call);
                        tracing::debug!(
                            participant = %self.to, attempt, call = call_name, "no answer in time"
                        );
                        self.fail(call).await;
                    }
                    look.as_mut().reset(next);
                }
            }
        }
    }

    /// Takes in one answer. One that nobody waits for is late, and its call has
    /// failed already.
    async fn take(&self, answer: v1::ExchangeAnswer) {
        let pending = lock(&self.shared).pending.remove(&answer.number);
        let Some(Pending { call, .. }) = pending else {
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
    fn late(&self) -> (Vec<Call>, Instant) {
        let now = Instant::now();
        let mut next = now + self.call_time;
        let mut late = Vec::new();
        lock(&self.shared).pending.retain(|_, pending| {
            if pending.until <= now {
                late.push(pending.call);
                return false;
            }
            next = next.min(pending.until);
            true
        });
        (late, next.max(now + LOOK_AFTER_MIN))
    }

    /// What a call that was sent and not answered has come to.
    async fn fail(&self, call: Call) {
        let (to, failure) = (self.to.clone(), Failure::TimedOut);
        let event = Event::CallFailed { to, call, failure };
        self.inbox.deliver(event).await;
    }
}
