//! Who waits for whom: breaks deadlocks among those who wait here, tells
//! coordinators for theirs, and asks after work that keeps others waiting.

use alloc::format;
use alloc::vec::Vec;

use super::attempt::Phase;
use super::event::{Effect, Reply, Source};
use super::{Lane, Output, Participant, Timer, reply};
use crate::deadlock::{self, Deadlock, Graph, Link};
use crate::id::{AttemptId, CoordinatorId, RequestId, TransactionId};
use crate::limits;
use crate::lock::{self, Full, LockKey, Queue, Waiter};
use crate::message::{Answer, FailWait, Party, ReportWaits, WaitsReport};
use crate::observation::Observation;
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::resource::Resource;
use crate::time::Millis;

impl<R: Resource> Participant<R> {
    /// An attempt has begun to wait. If that closes a circle here, it is broken at
    /// once; and whoever is in the way is asked after if it stays there long.
    pub(super) fn wait_has_begun(&mut self, now: Millis, id: AttemptId, out: &mut Output<R>) {
        self.waits.insert(id, out.tick());
        self.watch_blockers(now, id);
        if self.settings.planted.has(Bug::PreparedRobbed) {
            return self.rob(now, id);
        }
        // Only who is waited for can be part of a circle.
        let blind = self.settings.planted.has(Bug::LocalDeadlockUnseen);
        if !self.locks.is_waited_for(id) || blind {
            return;
        }
        let mut graph = Graph::default();
        for queue in self.locks.contended() {
            graph.add(&queue, |_| true);
        }
        for deadlock in graph.deadlocks_from(id, |id| self.age(id)) {
            let cycle = self.links(&deadlock);
            if let Some(victim) = deadlock.victim() {
                self.give_way(now, victim, &cycle, out);
                out.observe(Observation::DeadlockBroken);
            }
        }
    }

    /// A planted mistake.
    fn rob(&mut self, now: Millis, id: AttemptId) {
        let key = self.locks.awaited_by(id).map(|(key, _)| key.clone());
        let holders: Vec<AttemptId> = match &key {
            Some(key) => self.locks.holders_of(key).collect(),
            None => Vec::new(),
        };
        for holder in holders {
            if self
                .attempts
                .get(&holder)
                .is_some_and(|attempt| attempt.is_prepared())
            {
                self.release_locks(now, holder);
            }
        }
    }

    /// Ends a wait that is part of a deadlock, and with it the attempt.
    fn give_way(&mut self, now: Millis, victim: AttemptId, cycle: &[Link], out: &mut Output<R>) {
        let refusal = Refusal::retryable(Reason::DEADLOCK, deadlock::sentence(cycle));
        self.decline(now, victim, refusal, out);
    }

    fn links(&self, deadlock: &Deadlock<AttemptId>) -> Vec<Link> {
        let link = |id: &AttemptId| {
            let (key, _) = self.locks.awaited_by(*id)?;
            Some(Link {
                waiter: self.attempts.get(id)?.transaction,
                participant: self.settings.name.clone(),
                key: key.clone(),
            })
        };
        deadlock.cycle.iter().filter_map(link).collect()
    }

    /// How young an attempt is: the greatest is the youngest.
    fn age(&self, id: AttemptId) -> Option<(TransactionId, TransactionId)> {
        let attempt = self.attempts.get(&id)?;
        let age = match &attempt.phase {
            Phase::Active(active) => active.task.age,
            Phase::Holding { age, .. } => *age,
            Phase::Prepared(promise) => promise.age,
            Phase::Finished(_) => attempt.transaction,
        };
        Some((age, attempt.transaction))
    }

    fn party(&self, id: AttemptId) -> Party {
        let nobody = TransactionId::from_parts(Millis(0), 0);
        let (age, transaction) = self.age(id).unwrap_or((nobody, nobody));
        Party {
            attempt: id,
            transaction,
            age,
        }
    }

    /// A queue with what others need to know of those in it.
    fn told(&self, queue: Queue<AttemptId>) -> Queue<Party> {
        queue.map(|id| self.party(id))
    }

    /// Tells a coordinator who waits for whom, where somebody has waited so long.
    pub(super) fn report_waits(
        &mut self,
        now: Millis,
        request: RequestId,
        coordinator: CoordinatorId,
        ask: ReportWaits,
        out: &mut Output<R>,
    ) {
        let old = |waiter: &Waiter<AttemptId>| now.since(waiter.since) >= ask.older;
        let queues = self.locks.contended();
        let queues = queues.filter(|queue| queue.waiters.iter().any(old));
        let mut room = limits::QUEUES_BYTES_MAX;
        let (queues, left_out) = lock::fitting(queues.map(|queue| self.told(queue)), &mut room);
        let report = WaitsReport {
            boot: self.boot,
            at: now,
            queues,
            left_out,
        };
        let answer = Answer::Waits {
            look: ask.look,
            report,
        };
        self.answer(Lane::Now, coordinator, request, answer, out);
    }

    /// A coordinator has found a deadlock. Only the very wait that it has seen ends:
    /// by now the attempt may have been served, and wait for something else.
    pub(super) fn fail_wait(
        &mut self,
        now: Millis,
        request: RequestId,
        coordinator: CoordinatorId,
        fail: &FailWait,
        out: &mut Output<R>,
    ) {
        let victim = fail.victim;
        let stands = match self.locks.awaited_by(victim) {
            Some((_, wait)) => {
                let same = fail.boot == self.boot && fail.wait == wait;
                same || self.settings.planted.has(Bug::AnyWaitFails)
            }
            None => false,
        };
        if stands {
            self.give_way(now, victim, &fail.cycle, out);
        }
        let answer = Answer::WaitFailed {
            victim,
            failed: stands,
        };
        self.answer(Lane::Now, coordinator, request, answer, out);
    }

    pub(super) fn locks_asked(
        &self,
        now: Millis,
        request: RequestId,
        after: Option<&LockKey>,
        max: usize,
        out: &mut Output<R>,
    ) {
        let page = self.locks.page(after, max.saturating_add(1));
        let (mut queues, mut room) = (Vec::new(), limits::QUEUES_BYTES_MAX);
        let mut more = false;
        for queue in page.map(|queue| self.told(queue)) {
            // One at least, or nobody would ever get beyond it.
            let rest = room.checked_sub(queue.wire_bytes());
            more = queues.len() == max || (rest.is_none() && !queues.is_empty());
            if more {
                break;
            }
            room = rest.unwrap_or(0);
            queues.push(queue);
        }
        let locks = Reply::Locks {
            at: now,
            queues,
            more,
        };
        out.now.push(reply::<R>(request, locks));
    }

    /// Arms the questions about those that this attempt waits for.
    fn watch_blockers(&mut self, now: Millis, id: AttemptId) {
        let Some(after) = self.settings.suspect_after else {
            return;
        };
        let Some((key, _)) = self.locks.awaited_by(id) else {
            return;
        };
        for holder in self.locks.holders_of(key) {
            let timer = Timer::Suspect(holder);
            if holder != id && self.is_unprepared(holder) && !self.timers.is_armed(&timer) {
                self.timers.arm(timer, now + after);
            }
        }
    }

    pub(super) fn is_unprepared(&self, id: AttemptId) -> bool {
        let attempt = self.attempts.get(&id);
        attempt.is_some_and(|it| matches!(it.phase, Phase::Active(_) | Phase::Holding { .. }))
    }

    /// Unprepared work has kept somebody waiting for long. Its coordinator may have
    /// ended it, and the message was lost.
    pub(super) fn suspect(&mut self, now: Millis, id: AttemptId, out: &mut Output<R>) {
        let Some(after) = self.settings.suspect_after else {
            return;
        };
        if !self.is_unprepared(id) || !self.locks.is_waited_for(id) {
            return;
        }
        let told = match self.attempts.get(&id).map(|attempt| &attempt.phase) {
            Some(Phase::Active(active)) => Some(active.task.coordinator_address.clone()),
            Some(Phase::Holding { .. } | Phase::Prepared(_) | Phase::Finished(_)) | None => None,
        };
        let known = self.coordinators.get(id.coordinator);
        let address = known.and_then(|known| known.address.clone()).or(told);
        if let Some(address) = address {
            out.now.push(Effect::Ask {
                attempt: id,
                whom: Source::Coordinator,
                address,
            });
        }
        self.timers.arm(Timer::Suspect(id), now + after);
    }

    /// The coordinator was asked about unprepared work, and does not want it any
    /// more. Whoever waits for it is told; nobody else has to be.
    pub(super) fn is_not_wanted(&mut self, now: Millis, id: AttemptId, out: &mut Output<R>) {
        let why = format!("the coordinator has aborted attempt {id}");
        self.abandon(now, id, Refusal::retryable(Reason::ATTEMPT_ENDED, why), out);
    }

    /// Why a lock cannot even be waited for.
    pub(super) fn full(&self, key: &LockKey, full: Full) -> Refusal {
        let name = &self.settings.name;
        match full {
            Full::Held => {
                let max = self.settings.locks.held;
                let why = format!(
                    "the transaction holds {max} locks at participant {name}, and no more are \
                     allowed; do less in one transaction"
                );
                Refusal::new(Reason::TOO_MANY_LOCKS, why)
            }
            Full::Waiters => {
                let max = self.settings.locks.waiters;
                let why = format!(
                    "{max} transactions wait for the lock on {key} at participant {name}, and no \
                     more are allowed; come back later"
                );
                Refusal::retryable(Reason::TOO_MANY_WAITERS, why)
            }
        }
    }
}
