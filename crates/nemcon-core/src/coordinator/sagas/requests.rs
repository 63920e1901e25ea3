//! What clients and operators ask about sagas. Nothing is answered before all that it
//! tells of is durable.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::number;
use crate::coordinator::event::{Reply, StartSaga};
use crate::coordinator::record::{Cause, Record};
use crate::coordinator::{Coordinator, Output, refuse, reply};
use crate::id::{CoordinatorId, RequestId, SagaId};
use crate::limits;
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::saga::{Ended, Fact, Graph, Hand, Resolution, Saga, State, StepName, StepState};
use crate::time::Millis;

/// A decision by hand.
#[derive(Clone, Debug)]
pub(in crate::coordinator) struct ByHand {
    pub(in crate::coordinator) who: String,
    pub(in crate::coordinator) why: String,
    /// About which step, and what; `None`: the saga is resumed.
    pub(in crate::coordinator) step: Option<(StepName, Resolution)>,
}

impl Coordinator {
    /// Starts a saga, or joins the one of this id.
    pub(in crate::coordinator) fn start_saga(
        &mut self,
        now: Millis,
        request: RequestId,
        start: StartSaga,
        out: &mut Output,
    ) {
        let id = start.saga;
        if let Some(saga) = self.sagas.get(id) {
            if saga.body().hash == start.hash {
                return self.saga_asked(request, id, out);
            }
            let why = format!("saga id {id} was used for another saga; choose a new one");
            let refusal = Refusal::new(Reason::SAGA_ID_REUSED, why);
            return out.now.push(refuse(request, refusal));
        }
        self.forget_sagas(now, out);
        let (first_sent_to, hash) = (start.first_sent_to, start.hash);
        let graph = if self.settings.planted.has(Bug::SagaPivotLost) {
            start.graph.without_pivot()
        } else {
            start.graph
        };
        let saga = Saga::new(graph, hash, now);
        if let Err(refusal) = self.admit_saga(now, id, first_sent_to, &saga) {
            return out.now.push(refuse(request, refusal));
        }
        if let Some(graph) = saga.graph() {
            let fact = Box::new(Fact::Started {
                definition: graph.definition().clone(),
                hash,
                at: now,
            });
            out.persist(Record::Saga { saga: id, fact });
        }
        self.sagas.insert(id, saga);
        self.watch_saga_limit(id);
        self.sagas.due.insert(id);
        self.saga_asked(request, id, out);
    }

    /// Whether a saga of an unknown id may begin.
    fn admit_saga(
        &self,
        now: Millis,
        id: SagaId,
        first_sent_to: Option<CoordinatorId>,
        saga: &Saga,
    ) -> Result<(), Refusal> {
        if self.is_draining() {
            let why = "the coordinator is stopping; send again";
            return Err(Refusal::retryable(Reason::NOT_SERVING, why));
        }
        if let Some(first) = first_sent_to.filter(|first| *first != self.identity) {
            let why = format!(
                "the request first went to coordinator {first}, and this is {}; only that one \
                 knows what became of it",
                self.identity
            );
            return Err(Refusal::new(Reason::WRONG_COORDINATOR, why));
        }
        let lost = self.lost_through().unwrap_or_default();
        let forgotten = self.sagas.forgotten().max(lost);
        if forgotten > Millis(0) && id.minted_at() <= forgotten {
            let why = format!(
                "saga {id} is as old as sagas that were forgotten, or lost before a restoration \
                 from a backup: it may have run"
            );
            return Err(Refusal::new(Reason::OUTCOME_FORGOTTEN, why));
        }
        let ahead = id.minted_at().since(now);
        if ahead > limits::ID_AHEAD_MAX {
            let why = format!(
                "saga id {id} lies {ahead} ahead of the coordinator's clock; at most {} are allowed",
                limits::ID_AHEAD_MAX
            );
            return Err(Refusal::new(Reason::TRANSACTION_ID_AHEAD, why));
        }
        let running = self.sagas.running();
        if running >= self.settings.sagas_max {
            let why = format!("{running} sagas are running, as many as may; send again later");
            return Err(Refusal::retryable(Reason::TOO_MANY_REQUESTS, why));
        }
        self.room_for_sagas(saga.bytes())?;
        if let Some(refusal) = self.room.refusal("the coordinator") {
            return Err(refusal);
        }
        let named = saga.graph().map(Graph::participants).unwrap_or_default();
        let unknown = named
            .into_iter()
            .find(|(name, _)| !self.members.contains_key(*name));
        unknown.map_or(Ok(()), |(name, step)| {
            let unknown = self.unknown_participant(name);
            let why = format!("step {step}: {}", unknown.message);
            Err(Refusal::new(unknown.reason, why))
        })
    }

    /// Whether sagas that run may hold so many bytes more.
    pub(super) fn room_for_sagas(&self, more: usize) -> Result<(), Refusal> {
        let bytes = self.sagas.bytes + more;
        if bytes <= self.settings.saga_bytes_max {
            return Ok(());
        }
        let why = format!(
            "the sagas that are running would hold {bytes} bytes; at most {} are allowed: try \
             again later",
            self.settings.saga_bytes_max
        );
        Err(Refusal::retryable(Reason::TOO_MANY_REQUESTS, why))
    }

    /// Takes a saga back, if there is a way back.
    pub(in crate::coordinator) fn cancel_saga(
        &mut self,
        now: Millis,
        request: RequestId,
        id: SagaId,
        why: &str,
        out: &mut Output,
    ) {
        let Some(saga) = self.sagas.get(id) else {
            return out.now.push(refuse(request, self.unknown_saga(id)));
        };
        let completed = saga
            .body()
            .end
            .is_some_and(|end| end.ended == Ended::Completed);
        if completed || saga.is_beyond_pivot() {
            let why = if completed {
                format!("saga {id} is completed")
            } else {
                format!("saga {id} is beyond its pivot: from there it only goes forward")
            };
            let refusal = Refusal::new(Reason::SAGA_NOT_CANCELLABLE, why);
            // It tells of an outcome, which may not be durable yet.
            return out.after.push(refuse(request, refusal));
        }
        if let Some(name) = saga.unknown_pivot() {
            let why = format!(
                "whether pivot {name} of saga {id} is done is not known: resolve that step first"
            );
            let refusal = Refusal::new(Reason::SAGA_NOT_CANCELLABLE, why);
            return out.after.push(refuse(request, refusal));
        }
        if !saga.is_turned() && saga.body().end.is_none() {
            let why = if why.is_empty() {
                "a client asked for it"
            } else {
                why
            };
            let cause = Cause {
                refusal: Refusal::new(Reason::SAGA_CANCELLED, why),
                participant: None,
            };
            self.saga_fact(id, Fact::Turned { cause, at: now }, out);
            // Says nothing of what the abort of its tries may bring about.
            self.sagas_go_on(now, out);
        }
        self.saga_asked(request, id, out);
    }

    /// People resume a saga, or settle a step of it.
    pub(in crate::coordinator) fn saga_by_hand(
        &mut self,
        now: Millis,
        request: RequestId,
        id: SagaId,
        by_hand: ByHand,
        out: &mut Output,
    ) {
        let Some(saga) = self.sagas.get(id) else {
            return out.now.push(refuse(request, self.unknown_saga(id)));
        };
        let judged = match &by_hand.step {
            Some((name, resolution)) => {
                step_to_settle(saga, id, name, *resolution, &by_hand).map(|step| step.map(Some))
            }
            None => resumable(saga, id).map(|resumable| resumable.then_some(None)),
        };
        let step = match judged {
            Ok(Some(step)) => step,
            // A repeat: it is so already.
            Ok(None) => return self.saga_asked(request, id, out),
            Err(refusal) => return out.after.push(refuse(request, refusal)),
        };
        let hand = Hand {
            who: by_hand.who,
            why: by_hand.why,
            at: now,
            step: step.map(number),
            resolution: by_hand.step.map(|(_, resolution)| resolution),
        };
        self.saga_fact(id, Fact::ByHand(hand), out);
        if step.is_none() {
            self.watch_saga_limit(id);
        }
        self.sagas_go_on(now, out);
        self.saga_asked(request, id, out);
    }

    /// Answers with a saga as it is now.
    pub(in crate::coordinator) fn saga_asked(
        &self,
        request: RequestId,
        id: SagaId,
        out: &mut Output,
    ) {
        match self.sagas.get(id) {
            Some(saga) => {
                let view = saga.view(id);
                out.after.push(reply(request, Reply::Saga(view)));
            }
            None => out.now.push(refuse(request, self.unknown_saga(id))),
        }
    }

    /// A page of sagas, highest id first: at most `max`, and what fits into an answer.
    pub(in crate::coordinator) fn sagas_asked(
        &self,
        request: RequestId,
        states: &[State],
        below: Option<SagaId>,
        max: usize,
        out: &mut Output,
    ) {
        use core::ops::Bound::{Excluded, Unbounded};
        let to = below.map_or(Unbounded, Excluded);
        let all = self.sagas.all.range((Unbounded, to)).rev();
        let wanted = all.filter(|(_, saga)| states.is_empty() || states.contains(&saga.state()));
        let (mut views, mut room) = (Vec::new(), limits::SAGA_PAGE_BYTES_MAX);
        let mut more = false;
        for (id, saga) in wanted {
            let view = saga.view(*id);
            let bytes = view.bytes();
            // Each fits an answer of its own.
            if views.len() == max || bytes > room && !views.is_empty() {
                more = true;
                break;
            }
            room = room.saturating_sub(bytes);
            views.push(view);
        }
        out.after.push(reply(request, Reply::Sagas { views, more }));
    }

    fn unknown_saga(&self, id: SagaId) -> Refusal {
        let lost = self.lost_through().unwrap_or_default();
        let forgotten = self.sagas.forgotten().max(lost);
        let why = if forgotten > Millis(0) && id.minted_at() <= forgotten {
            format!("saga {id} is not known; sagas of its time were forgotten")
        } else {
            format!(
                "saga {id} is not known here. That proves nothing: it may have gone to another \
                 coordinator or still be on its way"
            )
        };
        Refusal::new(Reason::UNKNOWN_SAGA, why)
    }

    /// A saga as it can be looked at.
    #[must_use]
    pub fn saga(&self, id: SagaId) -> Option<crate::saga::View> {
        self.sagas.get(id).map(|saga| saga.view(id))
    }

    /// How many sagas are known, by where they are. Looks at each, so it is for whoever
    /// asks now and then.
    #[must_use]
    pub fn saga_counts(&self) -> BTreeMap<State, usize> {
        let mut counts = BTreeMap::new();
        for saga in self.sagas.all.values() {
            *counts.entry(saga.state()).or_insert(0) += 1;
        }
        counts
    }
}

fn not_resolvable(why: String) -> Refusal {
    Refusal::new(Reason::SAGA_NOT_RESOLVABLE, why)
}

/// The step that people settle, if they can settle it this way now. `None`: it is so
/// already.
fn step_to_settle(
    saga: &Saga,
    id: SagaId,
    name: &StepName,
    resolution: Resolution,
    by_hand: &ByHand,
) -> Result<Option<usize>, Refusal> {
    let Some(step) = saga.number(name) else {
        let why = format!("step {name}: saga {id} has none of this name");
        return Err(Refusal::new(Reason::INVALID_REQUEST, why));
    };
    let is_repeat = |hand: &Hand| {
        hand.step == Some(number(step))
            && hand.resolution == Some(resolution)
            && (&hand.who, &hand.why) == (&by_hand.who, &by_hand.why)
    };
    if !saga.is_stuck() {
        // What was decided may have let the saga go on, and the answer been lost.
        if saga.body().hands.last().is_some_and(is_repeat) {
            return Ok(None);
        }
        let state = saga.state();
        return Err(not_resolvable(format!(
            "saga {id} is {state}, and does not wait for a decision by hand: want one that is {}",
            State::Stuck
        )));
    }
    let state = saga.steps()[step].state;
    let is_so = match resolution {
        Resolution::Done => state == StepState::Done,
        Resolution::Compensated => matches!(state, StepState::Compensated | StepState::Failed),
        Resolution::Retry => false,
    };
    if is_so {
        return Ok(None);
    }
    settleable(saga, id, step, name, resolution)?;
    Ok(Some(step))
}

/// Whether people can settle a step of a saga that is stuck this way.
fn settleable(
    saga: &Saga,
    id: SagaId,
    step: usize,
    name: &StepName,
    resolution: Resolution,
) -> Result<(), Refusal> {
    let state = saga.steps()[step].state;
    let held = saga.body().held.is_some();
    let stuck = matches!(state, StepState::Stuck | StepState::CompensationStuck);
    let under_way = matches!(state, StepState::Trying | StepState::Compensating);
    if under_way || !(stuck || held) {
        return Err(not_resolvable(format!(
            "step {name} of saga {id} is {state}: want one that is stuck"
        )));
    }
    let allowed = match resolution {
        Resolution::Retry => stuck,
        // What is done beyond a pivot is not taken back.
        Resolution::Done if saga.is_turned() && saga.is_pivot(step) => false,
        Resolution::Done => matches!(
            state,
            StepState::Stuck | StepState::Waiting | StepState::Pausing | StepState::Failed
        ),
        Resolution::Compensated => {
            !saga.is_beyond_pivot()
                && matches!(
                    state,
                    StepState::Stuck
                        | StepState::Done
                        | StepState::CompensationStuck
                        | StepState::CompensationPausing
                )
        }
    };
    if !allowed {
        let beyond = if saga.is_beyond_pivot() {
            "beyond its pivot"
        } else {
            "before its pivot"
        };
        return Err(not_resolvable(format!(
            "step {name} is {state} in saga {id}, {beyond}: it cannot be settled as {resolution}"
        )));
    }
    let wanted = saga.graph().and_then(|graph| graph.wanted(step));
    let lacks = wanted.is_some_and(|wanted| wanted.len() > saga.steps()[step].results.len());
    if resolution == Resolution::Done && lacks {
        return Err(not_resolvable(format!(
            "step {name} of saga {id} cannot count as done: others use its results, and nobody \
             here knows them; want a retry"
        )));
    }
    Ok(())
}

/// Whether a saga can be resumed; false: it waits for nobody.
fn resumable(saga: &Saga, id: SagaId) -> Result<bool, Refusal> {
    if saga.body().end.is_some() || !saga.is_stuck() {
        return Ok(false);
    }
    let unknown = saga.steps().iter().position(|step| {
        let stuck = matches!(step.state, StepState::Stuck | StepState::CompensationStuck);
        let cause = step.cause.as_ref().map(|cause| &cause.refusal.reason);
        stuck && cause == Some(&Reason::OUTCOME_UNKNOWN)
    });
    match unknown.and_then(|step| saga.name(step)) {
        Some(name) => Err(not_resolvable(format!(
            "saga {id} cannot go on before step {name} is resolved: whether its last try \
             committed is not known here"
        ))),
        None => Ok(true),
    }
}
