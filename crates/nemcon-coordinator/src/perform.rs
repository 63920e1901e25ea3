//! Carries out what the coordinator machine asks for.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nemcon_core::coordinator::Coordinator;
use nemcon_core::coordinator::event::{Alarm, Effect, Event, Reply};
use nemcon_core::id::{AttemptId, Boot, CoordinatorId, ParticipantName};
use nemcon_core::message::{Answer, Call, Failure, Frame, Payload, WaitsReport};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::saga::StepName;
use nemcon_core::time::Millis;
use nemcon_net::{Address, Answered, Refused, Shown, Unanswered};
use nemcon_node::driver::Perform;
use nemcon_node::inbox::Inbox;
use nemcon_node::node::{Chain, Ending};
use nemcon_node::peers::{Link, LinkFull};
use nemcon_node::replies::Replies;
use nemcon_proto::convert::{Request, kind_of};
use nemcon_trace::Context;
use tonic::{Code, Status};
use tracing::field::{DisplayValue, display};

use crate::api::Tag;
use crate::exchange::Exchange;
use crate::traces::Traces;
use crate::watch::Teller;

/// How long an answer is waited for, and how many are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// A call that waits for nothing.
    pub(crate) call: Duration,
    /// What a call that may wait for a lock gets on top.
    pub(crate) lock: Duration,
    /// Calls in flight to one participant.
    pub(crate) calls_max: usize,
}

/// The hands of a coordinator: they know where everyone is, and nothing about
/// transactions. Whether a failed call is made again is for the machine to say.
pub(crate) struct Hands {
    replies: Replies<Reply, Tag>,
    inbox: Inbox<Event>,
    ending: Ending,
    teller: Teller,
    traces: Traces,
    identity: Arc<OnceLock<CoordinatorId>>,
    patience: Patience,
    links: BTreeMap<ParticipantName, Way>,
}

/// The two ways to a participant, over one connection.
struct Way {
    exchange: Exchange,
    link: Link,
}

/// A call that is about to leave.
struct Outgoing<'a> {
    way: &'a Way,
    inbox: &'a Inbox<Event>,
    to: ParticipantName,
    call: Call,
    limit: Duration,
    /// What it is sent on behalf of, if that is traced.
    trace: Option<Context>,
}

impl Hands {
    pub(crate) const fn new(
        replies: Replies<Reply, Tag>,
        inbox: Inbox<Event>,
        ending: Ending,
        teller: Teller,
        traces: Traces,
        identity: Arc<OnceLock<CoordinatorId>>,
        patience: Patience,
    ) -> Self {
        let links = BTreeMap::new();
        Self {
            replies,
            inbox,
            ending,
            teller,
            traces,
            identity,
            patience,
            links,
        }
    }

    /// Remembers where a participant is. A link to the same address is kept, with
    /// its connection; one to another replaces it, and calls in flight on the old
    /// one go on to their end. A new life at the same address may have learned to
    /// take its calls from a stream.
    fn link(&mut self, name: ParticipantName, address: &str) {
        let known = self.links.get(&name);
        if let Some(way) = known.filter(|way| way.link.address() == address) {
            way.exchange.look_again();
            return;
        }
        match address.parse::<Address>() {
            Ok(parsed) => {
                tracing::info!(participant = %name, address, "linked");
                let channel = nemcon_net::channel(&parsed);
                let link = Link::new(address, channel.clone(), self.patience.calls_max);
                let exchange = Exchange::new(
                    name.clone(),
                    channel,
                    self.inbox.clone(),
                    self.patience.call,
                    self.patience.calls_max,
                );
                self.links.insert(name, Way { exchange, link });
            }
            Err(error) => {
                let error = Chain(&error);
                tracing::error!(participant = %name, address, %error, "cannot be called");
                self.links.remove(&name);
            }
        }
    }

    /// Sends a message; its answer or failure becomes an event. One that cannot
    /// even leave has failed at once.
    fn send(&self, to: ParticipantName, frame: Frame<Payload>, back: &mut Vec<Event>) {
        let call = frame.message.call();
        let lock = frame
            .message
            .task()
            .map_or(Duration::ZERO, |_| self.patience.lock);
        let limit = self.patience.call + lock;
        let trace = self.traces.behind(&frame.message);
        let request = Request::from(frame);
        // A full link is a busy peer, not one that is gone: the call is made again
        // after a while, and the others go on.
        let failure = match self.links.get(&to) {
            Some(way) => {
                let (inbox, to) = (&self.inbox, to.clone());
                Outgoing {
                    way,
                    inbox,
                    to,
                    call,
                    limit,
                    trace,
                }
                .send(request)
                .err()
                .map(|LinkFull| Failure::TimedOut)
            }
            None => Some(Failure::Unreachable),
        };
        if let Some(failure) = failure {
            back.push(Event::CallFailed { to, call, failure });
        }
    }
}

impl Outgoing<'_> {
    /// Starts the call, among others or by itself, and sees to it that exactly one
    /// event comes of it.
    fn send(self, request: Request) -> Result<(), LinkFull> {
        let Self {
            way: Way { exchange, link },
            inbox,
            to,
            call,
            limit,
            trace,
        } = self;
        let Some(request) = exchange.send(call, request, limit, trace.as_ref())? else {
            return Ok(());
        };
        let look_again = exchange.looker();
        link.call(
            limit,
            inbox,
            async move |channel| nemcon_net::deliver(channel, call, request, trace.as_ref()).await,
            move |response| match response {
                Ok(answer) => answered(to, call, answer),
                Err(status) => {
                    let event = unanswered(to, call, &status);
                    if is_unreachable(&event) {
                        look_again();
                    }
                    event
                }
            },
        )
    }
}

/// The event for a response.
pub(crate) fn answered(from: ParticipantName, call: Call, answer: Answered) -> Event {
    match answer {
        Ok(answer) => {
            if let Answer::Refused { refusal, .. } = &answer {
                let (attempt, call) = about(call);
                tracing::debug!(participant = %from, attempt, call, %refusal, "refused");
            }
            Event::Answered { from, answer }
        }
        // It has done something, and what it says about it makes no sense.
        Err(error) => {
            let (attempt, call_name) = about(call);
            tracing::error!(
                participant = %from, attempt, call = call_name, %error,
                "an answer that makes no sense"
            );
            Event::CallFailed {
                to: from,
                call,
                failure: Failure::TimedOut,
            }
        }
    }
}

/// The event for a call without response. A refusal is an answer: the peer has
/// spoken, and done nothing. For the rest, [`Unanswered`] judges what the peer
/// may have done.
pub(crate) fn unanswered(to: ParticipantName, call: Call, status: &Status) -> Event {
    match Unanswered::of(status) {
        Unanswered::Refused(_) if status.code() == Code::Unimplemented => unimplemented(to, call),
        Unanswered::Refused(refused) if is_about_waits(call) => {
            let (_, call_name) = about(call);
            tracing::warn!(participant = %to, call = call_name, %refused, "does not say who waits");
            Event::CallFailed {
                to,
                call,
                failure: Failure::TimedOut,
            }
        }
        Unanswered::Refused(refused) => {
            let answer = Answer::Refused {
                call,
                refusal: refused.refusal,
            };
            Event::Answered { from: to, answer }
        }
        // Whoever has too much to do is not away: it is asked again after a
        // while, and the other calls to it go on.
        Unanswered::Failed(_) if is_busy(status) => Event::CallFailed {
            to,
            call,
            failure: Failure::TimedOut,
        },
        Unanswered::Failed(failure) => {
            let (attempt, call_name) = about(call);
            let error = Shown(status);
            tracing::debug!(
                participant = %to, attempt, call = call_name, ?failure, %error, "no answer"
            );
            Event::CallFailed { to, call, failure }
        }
    }
}

/// What a line about a call says of it: the attempt, if it is about one, and which.
pub(crate) fn about(call: Call) -> (Option<DisplayValue<AttemptId>>, String) {
    (call.attempt().map(display), kind_of(&call))
}

/// Whether the participant was not there at all: whoever comes there next may be
/// another program.
const fn is_unreachable(event: &Event) -> bool {
    matches!(
        event,
        Event::CallFailed {
            failure: Failure::Unreachable,
            ..
        }
    )
}

/// Whether a call is about nothing but who waits: its failure harms nobody.
const fn is_about_waits(call: Call) -> bool {
    matches!(call, Call::ReportWaits(_) | Call::FailWait(_))
}

/// The event for a call that the participant does not have. Some came with a later
/// version of the protos, and some participants have no use for them.
fn unimplemented(from: ParticipantName, call: Call) -> Event {
    let refused = |what: &str| {
        let why = format!("participant {from} {what}");
        Answer::Refused {
            call,
            refusal: Refusal::new(Reason::PEER_REFUSED, why),
        }
    };
    let interactive = "takes no part in interactive transactions (UNIMPLEMENTED); send it all it \
                       has to do with RunTransaction";
    let answer = match call {
        Call::Execute(..) | Call::AcquireLocks(..) => refused(interactive),
        Call::ReportWaits(look) => Answer::Waits {
            look,
            report: WaitsReport {
                boot: Boot(0),
                at: Millis(0),
                queues: Vec::new(),
                left_out: 0,
            },
        },
        Call::FailWait(victim) => Answer::WaitFailed {
            victim,
            failed: false,
        },
        Call::Hello
        | Call::Prepare(_)
        | Call::Commit(_)
        | Call::Abort(_)
        | Call::Release(_)
        | Call::CommitOnePhase(_)
        | Call::Inquire(_) => refused("does not have that call (UNIMPLEMENTED)"),
    };
    Event::Answered { from, answer }
}

fn is_busy(status: &Status) -> bool {
    Refused::read(status).is_some_and(|it| it.refusal.reason == Reason::TOO_MANY_REQUESTS)
}

impl Perform<Coordinator> for Hands {
    fn perform(&mut self, effect: Effect, back: &mut Vec<Event>) {
        match effect {
            Effect::Send { to, frame } => self.send(to, frame, back),
            Effect::Reply { request, reply } => {
                self.traces.conclude(&self.replies, request, &reply);
                self.replies.answer(request, reply);
            }
            Effect::Link { name, address } => self.link(name, &address),
            Effect::Unlink { name } => {
                tracing::info!(participant = %name, "unlinked");
                self.links.remove(&name);
            }
            Effect::Changed(view) => {
                self.traces.changed(&view);
                self.teller.tell(view);
            }
            Effect::SagaChanged { saga, state } => {
                tracing::debug!(%saga, %state, "a saga has changed");
                self.teller.tell_of_saga(saga);
            }
            Effect::Alarm(alarm) => sound(&alarm),
            Effect::Drained => self.ending.drained(),
        }
    }

    fn is_watched(&self) -> bool {
        self.traces.are_on() || self.teller.has_listeners()
    }

    /// The identity may come from the log, so it is known only now; the services
    /// have been waiting for it.
    fn serving(&mut self, machine: &Coordinator) {
        tracing::info!(identity = %machine.identity(), epoch = %machine.epoch(), "recovered");
        let _ = self.identity.set(machine.identity());
    }

    /// Who still waits gets no answer that could be taken for one: "unknown".
    fn ended(&mut self) {
        self.replies.hang_up();
    }
}

/// Tells the operator.
fn sound(alarm: &Alarm) {
    match alarm {
        Alarm::HeuristicDamage(damaged) => tracing::error!(
            transaction = damaged.transaction.map(display),
            attempt = %damaged.attempt,
            participant = %damaged.participant,
            by_hand = ?damaged.by_hand,
            decided = ?damaged.decided,
            reason = damaged.reason,
            "heuristic damage: a participant did not do what was decided; set it right, then \
             acknowledge it with `nemcon damage acknowledge`"
        ),
        Alarm::ProtocolViolated { participant, what } => {
            tracing::error!(%participant, what, "a participant broke the protocol");
        }
        Alarm::SagaStuck {
            saga,
            step,
            refusal,
        } => tracing::error!(
            %saga,
            step = step.as_ref().map(StepName::as_str),
            %refusal,
            "a saga is stuck, and waits until somebody resolves the step or resumes the saga"
        ),
    }
}

#[cfg(test)]
mod tests {
    use nemcon_core::id::{AttemptId, Epoch, Position, Sequence};
    use nemcon_net::to_status;
    use uuid::Uuid;

    use super::*;

    fn answer_to(call: Call, status: &Status) -> Answer<Payload> {
        let bank = ParticipantName::new("bank-a").unwrap();
        match unanswered(bank, call, status) {
            Event::Answered { answer, .. } => answer,
            other => panic!("no answer: {other:?}"),
        }
    }

    #[test]
    fn a_participant_without_pieces_ends_the_transaction_and_says_why() {
        let position = Position {
            epoch: Epoch(1),
            sequence: Sequence(2),
        };
        let attempt = AttemptId {
            coordinator: CoordinatorId::new(Uuid::from_u128(1)),
            position,
        };
        for call in [Call::Execute(attempt, 1), Call::AcquireLocks(attempt, 1)] {
            let answer = answer_to(call, &Status::unimplemented("what?"));
            let Answer::Refused {
                call: about,
                refusal,
            } = answer
            else {
                panic!("not refused: {answer:?}");
            };
            assert_eq!(about, call);
            assert_eq!(refusal.reason, Reason::PEER_REFUSED);
            assert!(
                refusal.message.contains("bank-a takes no part"),
                "{refusal}"
            );
        }
    }

    #[test]
    fn where_nobody_can_be_asked_nobody_waits() {
        let answer = answer_to(Call::ReportWaits(7), &Status::unimplemented("what?"));
        let Answer::Waits { look, report } = answer else {
            panic!("no waits: {answer:?}");
        };
        assert_eq!((look, report.queues.len()), (7, 0));
    }

    #[test]
    fn who_will_not_say_who_waits_is_silent() {
        let bank = ParticipantName::new("bank-a").unwrap();
        let status = to_status(&Refusal::new(Reason::STALE_EPOCH, "no").into());
        let event = unanswered(bank, Call::ReportWaits(7), &status);
        assert!(matches!(event, Event::CallFailed { .. }), "{event:?}");
    }
}
