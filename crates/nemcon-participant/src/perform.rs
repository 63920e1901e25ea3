//! Carries out what the participant machine asks for.

use std::future::Future;

use nemcon_core::id::AttemptId;
use nemcon_core::message::{Failure, Verdict};
use nemcon_core::participant::Participant;
use nemcon_core::participant::event::{Alarm, Effect, Event, Source};
use nemcon_net::{Address, CALL_TIMEOUT, Shown, Unanswered};
use nemcon_node::driver::Perform;
use nemcon_node::inbox::Inbox;
use nemcon_node::node::{Chain, Ending};
use nemcon_node::peers::{Link, Links};
use nemcon_proto::convert::{HeuristicReport, Question, WireError};
use nemcon_proto::v1;
use nemcon_proto::v1::outcome_service_client::OutcomeServiceClient;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::handle::{Handle, Said};
use crate::registration::{Life, Registrar};
use crate::serve::ServeResource;
use crate::traces;

/// Addresses we keep a connection to: coordinators and peers of attempts in
/// doubt. They come from others, so there is a bound; beyond it connections are
/// made again.
const LINKS_MAX: usize = 256;

/// The hands of a participant. A participant only ever calls somebody to ask about
/// an outcome or to report damage; all else is an answer.
pub(crate) struct Hands<R: ServeResource> {
    pub(crate) handle: Handle<R>,
    pub(crate) inbox: Inbox<Event<R::Action>>,
    pub(crate) ending: Ending,
    pub(crate) registrar: Option<Registrar>,
    links: Links<String>,
    calls_max: usize,
}

impl<R: ServeResource> Hands<R> {
    pub(crate) fn new(
        handle: Handle<R>,
        inbox: Inbox<Event<R::Action>>,
        ending: Ending,
        registrar: Registrar,
        calls_max: usize,
    ) -> Self {
        let links = Links::new(LINKS_MAX);
        Self {
            handle,
            inbox,
            ending,
            registrar: Some(registrar),
            links,
            calls_max,
        }
    }

    /// The link to an address, made if need be; `None` if it is no address.
    fn link(&mut self, address: &str) -> Option<&Link> {
        let key = address.to_owned();
        if self.links.link(&key).is_none() {
            match address.parse::<Address>() {
                Ok(parsed) => {
                    let channel = nemcon_net::channel(&parsed);
                    self.links
                        .set(key.clone(), Link::new(address, channel, self.calls_max));
                }
                Err(error) => {
                    let error = Chain(&error);
                    tracing::warn!(address, %error, "cannot ask there");
                    return None;
                }
            }
        }
        self.links.link(&key)
    }

    /// Calls the `OutcomeService` at an address, about an attempt. What comes of it becomes an
    /// event; at once in `back`, if there can be no call.
    fn call<T, F>(
        &mut self,
        attempt: AttemptId,
        address: &str,
        back: &mut Vec<Event<R::Action>>,
        call: impl FnOnce(OutcomeServiceClient<Channel>) -> F,
        event: impl FnOnce(Result<T, Failure>) -> Event<R::Action> + Clone + Send + 'static,
    ) where
        T: Send + 'static,
        F: Future<Output = Result<Response<T>, Status>> + Send + 'static,
    {
        let (inbox, answered) = (self.inbox.clone(), event.clone());
        let asked = address.to_owned();
        let started = self.link(address).map(|link| {
            link.call(
                CALL_TIMEOUT,
                &inbox,
                |channel| call(OutcomeServiceClient::new(channel)),
                move |result| answered(result.map_err(|status| failure(attempt, &asked, &status))),
            )
        });
        if !matches!(started, Some(Ok(()))) {
            back.push(event(Err(Failure::Unreachable)));
        }
    }

    /// Asks what became of an attempt, its coordinator or a peer.
    fn ask(
        &mut self,
        attempt: AttemptId,
        from: Source,
        address: &str,
        back: &mut Vec<Event<R::Action>>,
    ) {
        let asker = Some(self.handle.name().clone());
        let question = v1::GetOutcomeRequest::from(Question::Attempt { attempt, asker });
        self.call(
            attempt,
            address,
            back,
            |mut client| async move { client.get_outcome(question).await },
            move |response| {
                let verdict = response.and_then(|response| verdict(attempt, response));
                Event::VerdictHeard {
                    attempt,
                    from,
                    verdict,
                }
            },
        );
    }

    fn report(&mut self, report: HeuristicReport, address: &str, back: &mut Vec<Event<R::Action>>) {
        let attempt = report.attempt;
        let report = v1::ReportHeuristicRequest::from(report);
        self.call(
            attempt,
            address,
            back,
            |mut client| async move { client.report_heuristic(report).await },
            move |response| {
                let result = response.map(|_| ());
                Event::DamageReportAnswered { attempt, result }
            },
        );
    }
}

/// What a failed question means for the machine. Whoever refuses to answer has
/// told us nothing, and is as good as out of reach.
fn failure(attempt: AttemptId, address: &str, status: &Status) -> Failure {
    match Unanswered::of(status) {
        Unanswered::Failed(failure) => {
            let error = Shown(status);
            tracing::debug!(%attempt, address, ?failure, %error, "no answer about an outcome");
            failure
        }
        Unanswered::Refused(refused) => {
            tracing::warn!(%attempt, address, %refused, "a question about an outcome was refused");
            Failure::Unreachable
        }
    }
}

/// Reads a verdict. One that makes no sense proves nothing.
fn verdict(attempt: AttemptId, response: v1::GetOutcomeResponse) -> Result<Verdict, Failure> {
    response.try_into().map_err(|error: WireError| {
        tracing::warn!(%attempt, %error, "a verdict that makes no sense");
        Failure::Unreachable
    })
}

impl<R: ServeResource> Perform<Participant<R>> for Hands<R> {
    fn perform(&mut self, effect: Effect<R::Result>, back: &mut Vec<Event<R::Action>>) {
        let replies = self.handle.front.replies();
        match effect {
            Effect::Answer { request, answer } => {
                if self.handle.tracer().is_on()
                    && let Some(span) = replies.take_span(request)
                {
                    traces::conclude(span, &answer);
                }
                replies.answer(request, Said::Answer(answer));
            }
            Effect::Reply { request, reply } => replies.answer(request, Said::Reply(reply)),
            Effect::Ask {
                attempt,
                whom,
                address,
            } => self.ask(attempt, whom, &address, back),
            Effect::ReportDamage {
                attempt,
                by_hand,
                reason,
                address,
            } => {
                let participant = self.handle.name().clone();
                let report = HeuristicReport {
                    participant,
                    attempt,
                    by_hand,
                    reason,
                };
                self.report(report, &address, back);
            }
            Effect::Alarm(alarm) => sound(&alarm),
            Effect::Drained => self.ending.drained(),
        }
    }

    /// The data directory's identity may come from the log, so registration can
    /// begin only now.
    fn serving(&mut self, machine: &Participant<R>) {
        tracing::info!(id = %machine.id(), boot = %machine.boot(), "recovered");
        let _ = self.handle.id.set(machine.id());
        if let Some(registrar) = self.registrar.take() {
            let life = Life {
                id: machine.id(),
                began: machine.began(),
                restored: machine.restored(),
            };
            let registered = |coordinator| Event::Registered { coordinator };
            registrar.start(life, &self.ending, &self.inbox, registered);
        }
    }

    fn ended(&mut self) {
        self.handle.front.replies().hang_up();
    }
}

/// Tells the operator.
fn sound(alarm: &Alarm) {
    match alarm {
        Alarm::HeuristicDamage(damaged) => tracing::error!(
            transaction = damaged.transaction.map(display),
            attempt = %damaged.attempt,
            by_hand = ?damaged.by_hand,
            decided = ?damaged.decided,
            reason = damaged.reason,
            "heuristic damage: what was done here is not what was decided; set it right, then \
             acknowledge it with `nemcon damage acknowledge`"
        ),
        Alarm::ProtocolViolated { attempt, what } => {
            tracing::error!(%attempt, what, "a coordinator broke the protocol");
        }
    }
}
