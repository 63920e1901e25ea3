//! Sagas: which transactions they need next, and what comes of those.
//!
//! A try of a step is a transaction like any other, begun by a saga in place of a
//! client. Three things are different:
//!
//! - its record `Tried` is durable before any message of it leaves;
//! - it is decided here even where there is one participant, and the decision has
//!   the results that others use: outcome and results are one record;
//! - its end is taken in at the moment when its record is appended. All that follows
//!   is appended behind that and leaves when it is durable, so nothing can be said or
//!   sent that a crash takes the reason of.
//!
//! Whatever happens to a saga makes it *due*; at the end of each step of the machine
//! the sagas that are due go on. So there is one place that says what comes next, and
//! a restart begins with making all of them due.

mod past;
mod queue;
mod requests;
mod tries;

pub(super) use requests::ByHand;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use super::event::{Alarm, Effect};
use super::record::{Cause, Record};
use super::{Coordinator, Drain, Output, Timer};
use crate::fingerprint::Fingerprint;
use crate::id::{SagaId, TransactionId};
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::saga::{Ended, Fact, Graph, Kept, Saga, State, StepState, Way};
use crate::time::{Millis, Span};

use past::{Bounds, Past};
use queue::Queue;

/// All sagas that run or are remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Sagas {
    all: BTreeMap<SagaId, Saga>,
    /// The tries under way, and of which step each is.
    tries: BTreeMap<TransactionId, (SagaId, usize)>,
    /// Something has happened to them in this step of the machine.
    due: BTreeSet<SagaId>,
    /// They could not begin a try since too many are under way.
    queue: Queue,
    /// Steps whose pause is over.
    awake: BTreeSet<(SagaId, usize)>,
    /// Those that have ended.
    past: Past,
    /// Those that people have been told wait for them.
    alarmed: BTreeSet<SagaId>,
    /// Bytes that those hold that have not ended.
    bytes: usize,
    /// Ids up to this time may have been forgotten.
    forgotten: Millis,
}

impl Fingerprint for Sagas {
    fn fingerprint<H: Hasher>(&self, into: &mut H) {
        let Self {
            all,
            tries: _,
            due: _,
            queue,
            awake,
            past: _,
            alarmed,
            bytes: _,
            forgotten,
        } = self;
        all.len().hash(into);
        for (id, saga) in all {
            id.hash(into);
            let body = saga.body();
            (&body.turn, &body.held, body.end.map(|end| end.ended)).hash(into);
            for step in &body.steps {
                (step.state, step.tries, step.transaction).hash(into);
                step.results.hash(into);
            }
        }
        (queue, awake, alarmed, forgotten).hash(into);
    }
}

impl Sagas {
    pub(super) fn get(&self, saga: SagaId) -> Option<&Saga> {
        self.all.get(&saga)
    }

    /// How many have not ended.
    pub(super) fn running(&self) -> usize {
        self.all.len() - self.past.len()
    }

    /// A saga that names the participant and has not ended.
    pub(super) fn concerning(&self, name: &crate::id::ParticipantName) -> Option<SagaId> {
        let concerns = |graph: &Graph| graph.participants().contains_key(name);
        let mut all = self.all.iter();
        all.find(|(_, saga)| saga.graph().is_some_and(concerns))
            .map(|(id, _)| *id)
    }

    fn insert(&mut self, id: SagaId, saga: Saga) {
        self.remove(id);
        for (step, transaction) in saga.under_way() {
            self.tries.insert(transaction, (id, step));
        }
        self.count(id, &saga);
        self.all.insert(id, saga);
    }

    /// Counts a saga in, as it is now.
    fn count(&mut self, id: SagaId, saga: &Saga) {
        if let Some(end) = saga.body().end {
            self.past.insert(id, end.at, saga.bytes());
        } else {
            self.bytes += saga.bytes();
        }
    }

    /// Counts a saga out, as it was until now.
    fn discount(&mut self, id: SagaId, saga: &Saga) {
        if let Some(end) = saga.body().end {
            self.past.remove(id, end.at, saga.bytes());
        } else {
            self.bytes = self.bytes.saturating_sub(saga.bytes());
        }
    }

    fn remove(&mut self, id: SagaId) {
        let Some(saga) = self.all.remove(&id) else {
            return;
        };
        self.discount(id, &saga);
        for (_, transaction) in saga.under_way() {
            self.tries.remove(&transaction);
        }
        self.alarmed.remove(&id);
        self.queue.remove(id);
    }

    /// Changes a saga, and what is known of all of them with it.
    fn change(&mut self, id: SagaId, change: impl FnOnce(&mut Saga)) {
        let Some(mut saga) = self.all.remove(&id) else {
            return;
        };
        self.discount(id, &saga);
        for (_, transaction) in saga.under_way() {
            self.tries.remove(&transaction);
        }
        change(&mut saga);
        for (step, transaction) in saga.under_way() {
            self.tries.insert(transaction, (id, step));
        }
        self.count(id, &saga);
        self.all.insert(id, saga);
        self.due.insert(id);
    }

    /// Takes in a fact of the log.
    pub(super) fn replay(&mut self, id: SagaId, fact: Fact) -> Result<(), crate::saga::Invalid> {
        match fact {
            Fact::Started {
                definition,
                hash,
                at,
            } => {
                if !self.all.contains_key(&id) {
                    self.insert(id, Saga::new(Graph::new(definition)?, hash, at));
                }
            }
            Fact::Kept(snapshot) => self.insert(id, Saga::from_snapshot(*snapshot)?),
            Fact::Forgotten => {
                self.remove(id);
                self.forgotten = self.forgotten.max(id.minted_at());
            }
            fact @ (Fact::Tried { .. }
            | Fact::Failed { .. }
            | Fact::Turned { .. }
            | Fact::ByHand(_)
            | Fact::Ended { .. }) => self.change(id, |saga| saga.apply(&fact)),
        }
        Ok(())
    }

    /// A try has committed.
    pub(super) fn committed(&mut self, transaction: TransactionId, kept: Vec<Kept>, at: Millis) {
        if let Some((id, step)) = self.tries.get(&transaction).copied() {
            self.change(id, |saga| saga.committed(step, kept, at));
        }
    }

    /// A try has aborted.
    pub(super) fn aborted(&mut self, transaction: TransactionId, cause: &Cause, at: Millis) {
        if let Some((id, step)) = self.tries.get(&transaction).copied() {
            self.change(id, |saga| saga.failed(step, cause, at));
        }
    }

    /// The coordinator was restored from a backup that is older than the last of
    /// these may be.
    pub(super) fn restored(&mut self, at: Millis) {
        let ids: Vec<SagaId> = self.all.keys().copied().collect();
        for id in ids {
            self.change(id, |saga| saga.restored(at));
        }
    }

    pub(super) fn set_forgotten(&mut self, through: Millis) {
        self.forgotten = self.forgotten.max(through);
    }

    pub(super) const fn forgotten(&self) -> Millis {
        self.forgotten
    }

    /// Sagas after this one, for a checkpoint.
    pub(super) fn after(&self, id: Option<SagaId>) -> impl Iterator<Item = (SagaId, &Saga)> {
        use core::ops::Bound::{Excluded, Unbounded};
        let from = id.map_or(Unbounded, Excluded);
        self.all
            .range((from, Unbounded))
            .map(|(id, saga)| (*id, saga))
    }
}

impl Coordinator {
    /// Appends a fact about a saga, and takes it in.
    fn saga_fact(&mut self, id: SagaId, fact: Fact, out: &mut Output) -> crate::id::Lsn {
        self.sagas.change(id, |saga| saga.apply(&fact));
        out.persist(Record::Saga {
            saga: id,
            fact: Box::new(fact),
        })
    }

    /// The log has been read. A try of which it has no outcome has aborted: that is
    /// what is presumed, and what its participants are told.
    pub(super) fn sagas_recovered(&mut self, now: Millis, out: &mut Output) {
        let lost: Vec<(SagaId, usize, Way)> = self
            .sagas
            .tries
            .values()
            .filter_map(|(id, step)| {
                let state = self.sagas.get(*id)?.steps().get(*step)?.state;
                let back = state == StepState::Compensating;
                Some((*id, *step, if back { Way::Back } else { Way::Forward }))
            })
            .collect();
        for (id, step, way) in lost {
            let why = "the coordinator restarted before the try was decided";
            let refusal = Refusal::retryable(Reason::COORDINATOR_RESTARTED, why);
            self.saga_failed(now, id, step, way, refusal, out);
        }
        let ids: Vec<SagaId> = self.sagas.all.keys().copied().collect();
        for id in ids {
            self.watch_saga_limit(id);
            self.sagas.due.insert(id);
        }
        self.forget_sagas(now, out);
    }

    /// A try could not begin, or has ended without a record.
    fn saga_failed(
        &mut self,
        now: Millis,
        id: SagaId,
        step: usize,
        way: Way,
        refusal: Refusal,
        out: &mut Output,
    ) {
        let cause = Cause {
            refusal,
            participant: None,
        };
        let fact = Fact::Failed {
            step: number(step),
            way,
            cause,
            at: now,
        };
        self.saga_fact(id, fact, out);
    }

    /// Lets all sagas go on to which something has happened.
    pub(super) fn sagas_go_on(&mut self, now: Millis, out: &mut Output) {
        loop {
            while let Some(id) = self.sagas.due.pop_first() {
                self.saga_goes_on(now, id, out);
            }
            if self.sagas.tries.len() >= self.settings.saga_tries_max {
                return;
            }
            // There is room for another try.
            let Some(next) = self.sagas.queue.call() else {
                return;
            };
            self.saga_goes_on(now, next, out);
            self.sagas.queue.called_has_gone_on();
        }
    }

    /// Whether a saga may begin a try now; if not, it has a place in the queue.
    fn may_try(&mut self, id: SagaId) -> bool {
        let room = self.sagas.tries.len() < self.settings.saga_tries_max;
        room && self.sagas.queue.is_turn_of(id) || {
            self.sagas.queue.join(id);
            false
        }
    }

    fn saga_goes_on(&mut self, now: Millis, id: SagaId, out: &mut Output) {
        let Some(saga) = self.sagas.get(id) else {
            return;
        };
        if saga.body().end.is_some() {
            return;
        }
        if saga.is_stuck() {
            return self.saga_is_stuck(id, out);
        }
        // The timer may not have fired yet, after a restart above all; and nothing
        // begins that has no time.
        if saga.time_is_up_at().is_some_and(|at| at <= now) && !saga.is_done() {
            self.saga_time_is_up(now, id, out);
        }
        let Some(saga) = self.sagas.get(id) else {
            return;
        };
        let failure = failure(saga).filter(|_| !saga.is_turned());
        self.sagas.alarmed.remove(&id);
        if let Some(cause) = failure {
            let fact = Fact::Turned { cause, at: now };
            self.saga_fact(id, fact, out);
        }
        let Some(saga) = self.sagas.get(id) else {
            return;
        };
        if saga.is_turned() {
            self.saga_goes_back(now, id, out);
        } else if saga.is_done() {
            self.end_saga(now, id, Ended::Completed, out);
        } else {
            let ready = saga.to_begin();
            self.try_steps(now, id, Way::Forward, ready, out);
        }
        // One that ended has told so.
        if let Some(saga) = self.sagas.get(id)
            && saga.body().end.is_none()
        {
            let state = saga.state();
            out.after.push(Effect::SagaChanged { saga: id, state });
        }
    }

    fn saga_goes_back(&mut self, now: Millis, id: SagaId, out: &mut Output) {
        let Some(saga) = self.sagas.get(id) else {
            return;
        };
        let forward: Vec<TransactionId> = saga
            .under_way()
            .filter(|(step, _)| saga.steps()[*step].state == StepState::Trying)
            .map(|(_, transaction)| transaction)
            .collect();
        if !forward.is_empty() {
            // Each is undecided: what is decided has been taken in.
            let why = "the saga goes back, so this step is not done";
            for transaction in forward {
                let refusal = Refusal::new(Reason::ABORT_REQUESTED, why.to_string());
                let participant = None;
                let cause = Cause {
                    refusal,
                    participant,
                };
                self.abort(now, transaction, cause, out);
            }
            self.sagas.due.insert(id);
            return;
        }
        let planted = self.settings.planted;
        let mut left = (0..saga.steps().len()).any(|step| saga.has_effect(step));
        let mut ready = saga.to_compensate();
        if planted.has(Bug::SagaCompensatedInOrder) {
            // The first that was done goes first, whatever came of it.
            let done = |step: &usize| {
                saga.has_effect(*step) && saga.steps()[*step].state == StepState::Done
            };
            let busy = saga.under_way().next().is_some();
            ready = (0..saga.steps().len()).find(done).into_iter().collect();
            ready.truncate(usize::from(!busy));
        }
        if planted.has(Bug::SagaCompensationSkipped) && ready.len() == 1 {
            left = false;
        }
        if planted.has(Bug::SagaFailedCompensated) {
            let failed = |step: &usize| {
                let it = &saga.steps()[*step];
                let plan = saga.graph().and_then(|graph| graph.steps().get(*step));
                let back = plan.and_then(|it| it.compensation.as_ref());
                // One that uses a result which is not there could not even begin.
                let alone =
                    back.is_some_and(|it| it.operations.iter().all(|it| it.inputs.is_empty()));
                it.state == StepState::Failed && alone
            };
            ready.extend((0..saga.steps().len()).filter(failed));
            left |= !ready.is_empty();
        }
        if left {
            self.try_steps(now, id, Way::Back, ready, out);
        } else {
            self.end_saga(now, id, Ended::Compensated, out);
        }
    }

    /// Tells people, once.
    fn saga_is_stuck(&mut self, id: SagaId, out: &mut Output) {
        let Some(saga) = self.sagas.get(id) else {
            return;
        };
        let why = saga.why_stuck();
        let step = saga.stuck_step().and_then(|step| saga.name(step).cloned());
        let state = State::Stuck;
        if self.sagas.alarmed.insert(id)
            && let Some(refusal) = why
        {
            out.after.push(Effect::Alarm(Alarm::SagaStuck {
                saga: id,
                step,
                refusal,
            }));
        }
        out.after.push(Effect::SagaChanged { saga: id, state });
    }

    fn end_saga(&mut self, now: Millis, id: SagaId, ended: Ended, out: &mut Output) {
        let steps = self.sagas.get(id).map_or(0, |saga| saga.steps().len());
        self.saga_fact(id, Fact::Ended { ended, at: now }, out);
        self.timers.disarm(&Timer::SagaLimit(id));
        for step in 0..steps {
            self.timers.disarm(&Timer::SagaStep(id, number(step)));
            self.sagas.awake.remove(&(id, step));
        }
        let state = match ended {
            Ended::Completed => State::Completed,
            Ended::Compensated => State::Compensated,
        };
        out.after.push(Effect::SagaChanged { saga: id, state });
        self.forget_sagas(now, out);
    }

    /// Forgets sagas that ended, where they are too many, too large or too old: then
    /// one time stands for all that were forgotten.
    pub(super) fn forget_sagas(&mut self, now: Millis, out: &mut Output) {
        while let Some(id) = self.saga_to_forget(now) {
            self.sagas.remove(id);
            self.sagas.set_forgotten(id.minted_at());
            out.persist(Record::Saga {
                saga: id,
                fact: Box::new(Fact::Forgotten),
            });
        }
        // Also where no saga begins or ends any more.
        if let Some(at) = self.first_saga_is_old_at()
            && !self.timers.is_armed(&Timer::ForgetSagas)
        {
            self.timers.arm(Timer::ForgetSagas, at);
        }
    }

    fn saga_to_forget(&mut self, now: Millis) -> Option<SagaId> {
        if self.first_saga_is_old_at()? <= now {
            return self.sagas.past.first();
        }
        let bounds = Bounds {
            count_max: self.settings.remember_sagas_max,
            bytes_max: self.settings.remember_saga_bytes_max,
        };
        self.sagas.past.too_much(now, bounds)
    }

    /// When the saga that is to be forgotten first will have been remembered for long
    /// enough.
    fn first_saga_is_old_at(&self) -> Option<Millis> {
        let first = self.sagas.past.first()?;
        let end = self.sagas.get(first)?.body().end?;
        Some(end.at + self.settings.remember_sagas_for + Span(1))
    }

    /// Looks at a saga when its time is up: later, or now.
    pub(super) fn watch_saga_limit(&mut self, id: SagaId) {
        let saga = self.sagas.get(id).filter(|saga| saga.body().end.is_none());
        if let Some(at) = saga.and_then(Saga::time_is_up_at) {
            self.timers.arm(Timer::SagaLimit(id), at);
        }
    }

    /// A saga's time is up.
    pub(super) fn saga_time_is_up(&mut self, now: Millis, id: SagaId, out: &mut Output) {
        let Some(saga) = self.sagas.get(id) else {
            return;
        };
        if saga.body().end.is_some() || saga.is_turned() || saga.is_beyond_pivot() {
            return;
        }
        // Nobody knows how far it is. It is looked at again when it is resumed.
        if saga.body().held.is_some() {
            return;
        }
        let why = alloc::format!("saga {id} was not done by its time limit");
        let cause = Cause {
            refusal: Refusal::retryable(Reason::DEADLINE_EXCEEDED, why),
            participant: None,
        };
        self.saga_fact(id, Fact::Turned { cause, at: now }, out);
    }

    /// The pause of a step is over.
    pub(super) fn saga_step_is_due(&mut self, id: SagaId, step: u32) {
        self.sagas.awake.insert((id, step as usize));
        self.sagas.due.insert(id);
    }

    const fn is_draining(&self) -> bool {
        !matches!(self.drain, Drain::No)
    }
}

/// Why a saga has to go back, if it has to.
fn failure(saga: &Saga) -> Option<Cause> {
    let failed = saga
        .steps()
        .iter()
        .position(|step| step.state == StepState::Failed)?;
    let name = saga.name(failed)?;
    let cause = saga.steps()[failed].cause.clone();
    let said = cause.unwrap_or_else(|| Cause {
        refusal: Refusal::new(Reason::SAGA_CANCELLED, "settled by hand as not done"),
        participant: None,
    });
    let why = alloc::format!("step {name}: {}", said.refusal.message);
    let refusal = Refusal::new(said.refusal.reason, why);
    Some(Cause {
        refusal,
        participant: said.participant,
    })
}

/// A step's number as records have it; there are at most 1,000.
fn number(step: usize) -> u32 {
    u32::try_from(step).unwrap_or(u32::MAX)
}
