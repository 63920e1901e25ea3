//! Begins the transactions that are tries of steps, and keeps what they bring.

use alloc::format;
use alloc::vec::Vec;

use super::number;
use crate::coordinator::event::{AddressedOperation, Begin};
use crate::coordinator::record::Cause;
use crate::coordinator::{Coordinator, Output, Timer};
use crate::id::{SagaId, TransactionId};
use crate::limits;
use crate::message::{self, OperationsHash, Payload};
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::saga::{Fact, Kept, Operation, Saga, StepState, Way};
use crate::time::{Millis, Span};

impl Coordinator {
    /// Begins tries of these steps, and of those whose pause is over; the others get
    /// a pause.
    pub(super) fn try_steps(
        &mut self,
        now: Millis,
        id: SagaId,
        way: Way,
        mut ready: Vec<usize>,
        out: &mut Output,
    ) {
        let pausing = match way {
            Way::Forward => StepState::Pausing,
            Way::Back => StepState::CompensationPausing,
        };
        let Some(saga) = self.sagas.get(id) else {
            return;
        };
        let waiting = saga.steps().iter().enumerate();
        let early = self.settings.planted.has(Bug::SagaTriedBeforeOutcome);
        let pauses = |state: StepState| state == pausing || (early && state == StepState::Trying);
        let waiting = waiting.filter(|(_, step)| pauses(step.state));
        let waiting: Vec<(usize, u32)> = waiting.map(|(at, step)| (at, step.tries)).collect();
        for (step, tries) in waiting {
            let timer = Timer::SagaStep(id, number(step));
            // With no tries used it was people who said "again".
            if tries == 0 || self.sagas.awake.contains(&(id, step)) {
                ready.push(step);
            } else if !self.timers.is_armed(&timer) {
                let patience = self.sagas.get(id).and_then(|saga| saga.patience(step, way));
                if let Some((retry, until)) = patience {
                    let (first, max) = (retry.pause_first, retry.pause_max);
                    let pause = self.jitter.backoff(first, max, tries.saturating_sub(1));
                    // When its time is up it fails, and nobody waits for that longer.
                    let at = until.map_or(now + pause, |until| until.min(now + pause));
                    self.timers.arm(timer, at);
                }
            }
        }
        for step in ready {
            // A stop interrupts no saga: it goes on after the next start.
            if self.is_draining() {
                return;
            }
            if let Some(refusal) = self.step_is_late(now, id, step, way) {
                self.saga_step_begins(id, step);
                self.saga_failed(now, id, step, way, refusal, out);
                continue;
            }
            if !self.may_try(id) {
                return;
            }
            self.saga_step_begins(id, step);
            self.try_step(now, id, step, way, out);
        }
    }

    /// It waits for nothing any more.
    fn saga_step_begins(&mut self, id: SagaId, step: usize) {
        self.sagas.awake.remove(&(id, step));
        self.timers.disarm(&Timer::SagaStep(id, number(step)));
    }

    /// Why no other try of a step may begin, if its time is up.
    fn step_is_late(&self, now: Millis, id: SagaId, step: usize, way: Way) -> Option<Refusal> {
        let saga = self.sagas.get(id)?;
        let progress = saga.steps().get(step)?;
        let (_, until) = saga.patience(step, way)?;
        if progress.state != StepState::Pausing || until.is_none_or(|until| now < until) {
            return None;
        }
        let name = saga.name(step)?;
        let last = progress.cause.as_ref();
        let last = last.map_or("", |cause| cause.refusal.message.as_str());
        let why = format!(
            "step {name} was not done within its time limit; tries: {}, and the last failed: {last}",
            progress.tries
        );
        Some(Refusal::retryable(Reason::DEADLINE_EXCEEDED, why))
    }

    fn try_step(&mut self, now: Millis, id: SagaId, step: usize, way: Way, out: &mut Output) {
        let Some(saga) = self.sagas.get(id) else {
            return;
        };
        let Some((retry, until)) = saga.patience(step, way) else {
            return;
        };
        let operations = match self.operations_of(saga, step, way) {
            Ok(operations) => operations,
            Err(refusal) => return self.saga_failed(now, id, step, way, refusal, out),
        };
        let mut timeout = retry.try_timeout.unwrap_or(self.settings.timeout_default);
        if way == Way::Forward && !saga.is_beyond_pivot() {
            for at in [until, saga.time_is_up_at()].into_iter().flatten() {
                timeout = timeout.min(at.since(now)).max(Span(1));
            }
        }
        let progress = &saga.steps()[step];
        let is_first = matches!(progress.state, StepState::Waiting | StepState::Done);
        let first = progress.first.filter(|_| !is_first);
        let mut transaction = self.transaction_of_try(now, id, step, progress.tries_in_all);
        if self.settings.planted.has(Bug::SagaTryReusesAttempt)
            && let Some(last) = progress.transaction.filter(|_| !is_first)
        {
            transaction = last;
        }
        let fact = Fact::Tried {
            step: number(step),
            way,
            transaction,
            at: now,
        };
        let lsn = self.saga_fact(id, fact, out);
        let begin = Begin {
            transaction,
            // A rerun keeps the age of the first, so that it is not the victim for ever.
            age: first.unwrap_or(transaction),
            timeout: Some(timeout),
            first_sent_to: None,
        };
        // No client can have this hash: what runs under this id is not its to join.
        let hash = OperationsHash([0; 32]);
        let mut txn = self.new_transaction(now, &begin, hash, Vec::new(), out.tick());
        txn.tried = Some(lsn);
        txn.assign(operations);
        self.timers.arm(Timer::Deadline(transaction), txn.deadline);
        self.transactions.insert(transaction, txn);
        self.start_attempt(now, transaction, out);
        if self.settings.planted.has(Bug::SagaTriedBeforeOutcome) {
            let timer = Timer::SagaStep(id, number(step));
            self.timers.arm(timer, now + Span(timeout.0 / 2));
        }
    }

    /// An id for a try, made of what it is a try of.
    fn transaction_of_try(
        &self,
        now: Millis,
        id: SagaId,
        step: usize,
        tries: u32,
    ) -> TransactionId {
        // Spread over the 74 bits there are; an odd factor loses nothing. Each has its
        // own, for clients may count: the second step of a saga must not be called
        // like the first of the next one.
        let of_saga = id.uuid().as_u128().wrapping_mul(GOLDEN_RATIO);
        let of_try = ((u128::from(tries) << 32) | step as u128).wrapping_mul(SQUARE_ROOT_OF_3);
        let mut chance = of_saga.wrapping_add(of_try);
        loop {
            let spread = chance >> 54;
            let transaction = TransactionId::from_parts(now, spread);
            if !self.transactions.contains_key(&transaction)
                && self.memory.get(transaction).is_none()
            {
                return transaction;
            }
            chance = chance.wrapping_add(1 << 64);
        }
    }

    /// What a try has to do, with what it uses attached.
    fn operations_of(
        &self,
        saga: &Saga,
        step: usize,
        way: Way,
    ) -> Result<Vec<AddressedOperation>, Refusal> {
        let plan = saga.graph().and_then(|graph| graph.steps().get(step));
        let operations: &[Operation] = match (plan, way) {
            (Some(plan), Way::Forward) => &plan.operations,
            (Some(plan), Way::Back) => plan
                .compensation
                .as_ref()
                .map_or(&[], |compensation| &compensation.operations),
            (None, _) => &[],
        };
        let mut bytes = 0;
        let mut all = Vec::with_capacity(operations.len());
        for operation in operations {
            if !self.members.contains_key(&operation.participant) {
                let unknown = self.unknown_participant(&operation.participant);
                // It may be registered again.
                return Err(Refusal::retryable(unknown.reason, unknown.message));
            }
            let mut inputs = Vec::with_capacity(operation.inputs.len());
            for input in &operation.inputs {
                let value = kept(saga, input).ok_or_else(|| {
                    let why = format!(
                        "the result of operation {} of step {} is not known here: the step was \
                         settled by hand",
                        input.operation, input.step
                    );
                    Refusal::new(Reason::WORK_LOST, why)
                })?;
                bytes += value.value.len() + value.type_url.len();
                inputs.push(value.clone());
            }
            let carried = message::Operation {
                action: Ok(operation.action.clone()),
                read_only: operation.read_only,
                inputs,
            };
            all.push((operation.participant.clone(), carried));
        }
        if bytes > limits::WORK_BYTES_MAX {
            let why = format!(
                "the results that it uses take {bytes} bytes; at most {} are allowed",
                limits::WORK_BYTES_MAX
            );
            return Err(Refusal::new(Reason::TOO_LARGE, why));
        }
        Ok(all)
    }

    /// The results of a try that others use; it cannot commit without. `Ok(None)`:
    /// none of them is used, or it is no try of a saga.
    pub(in crate::coordinator) fn kept_results(
        &self,
        transaction: TransactionId,
    ) -> Result<Option<Vec<Kept>>, Refusal> {
        let of = self.sagas.tries.get(&transaction);
        let Some((saga, step)) = of.and_then(|(id, step)| Some((self.sagas.get(*id)?, *step)))
        else {
            return Ok(None);
        };
        let forward = saga.steps()[step].state == StepState::Trying;
        let wanted = saga.graph().and_then(|graph| graph.wanted(step));
        let Some(wanted) = wanted.filter(|wanted| forward && !wanted.is_empty()) else {
            return Ok(None);
        };
        let lost = || {
            let why = "a participant that voted yes has restarted, and lost results that other \
                       steps use";
            Refusal::retryable(Reason::WORK_LOST, why)
        };
        let txn = self.transactions.get(&transaction);
        let results = txn.and_then(|txn| txn.results()).ok_or_else(lost)?;
        let mut kept = Vec::with_capacity(wanted.len());
        let mut bytes = saga.result_bytes();
        for operation in wanted {
            let value = results.get(*operation as usize).ok_or_else(lost)?.clone();
            bytes += value.value.len() + value.type_url.len();
            kept.push(Kept {
                operation: *operation,
                value,
            });
        }
        if bytes > limits::SAGA_BYTES_MAX {
            let why = format!(
                "the results that steps of the saga have left for others take {bytes} bytes; at \
                 most {} are allowed",
                limits::SAGA_BYTES_MAX
            );
            return Err(Refusal::new(Reason::TOO_LARGE, why));
        }
        self.room_for_sagas(bytes - saga.result_bytes())?;
        Ok(Some(kept))
    }

    /// The decision of a transaction has been appended.
    pub(in crate::coordinator) fn saga_try_committed(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        kept: Option<Vec<Kept>>,
    ) {
        self.sagas
            .committed(transaction, kept.unwrap_or_default(), now);
    }

    /// The abort of a transaction has been appended.
    pub(in crate::coordinator) fn saga_try_aborted(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        cause: &Cause,
    ) {
        self.sagas.aborted(transaction, cause, now);
    }
}

/// The binary digits of two irrational numbers behind the point, which have nothing to
/// do with each other; made odd.
const GOLDEN_RATIO: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
const SQUARE_ROOT_OF_3: u128 = 0xbb67_ae85_84ca_a73b_2574_2d70_78b8_3b89;

fn kept<'a>(saga: &'a Saga, input: &crate::saga::Reference) -> Option<&'a Payload> {
    let from = saga.graph()?.number(&input.step)?;
    let mut kept = saga.steps().get(from)?.results.iter();
    kept.find(|it| it.operation == input.operation)
        .map(|it| &it.value)
}
