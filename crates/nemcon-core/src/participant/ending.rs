//! How attempts end: by the decision, by hand, or by themselves.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::attempt::{ByHand, Finished, Intent, Phase};
use super::event::{Alarm, Effect, Reply, State};
use super::pieces::piece_refused;
use super::record::{Damaged, Record, ResolvedByHand};
use super::{Damage, Lane, Output, Participant, Timer, reply};
use crate::id::{AttemptId, RequestId};
use crate::message::{Alone, Answer, Call, Outcome, Vote};
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::resource::Resource;
use crate::time::{Millis, Span};

impl<R: Resource> Participant<R> {
    /// The decision is commit.
    pub(super) fn commit(
        &mut self,
        now: Millis,
        request: RequestId,
        id: AttemptId,
        out: &mut Output<R>,
    ) {
        if self.has_lost(id) {
            return self.lost_prepare(now, request, id, out);
        }
        let lane = match self.attempts.get(&id).map(|attempt| &attempt.phase) {
            Some(Phase::Prepared(_)) => {
                self.conclude(now, id, Outcome::Committed, out);
                if self.settings.planted.has(Bug::AcknowledgementNotForced) {
                    Lane::Now
                } else {
                    Lane::Later
                }
            }
            Some(Phase::Finished(Finished::ByHand(_))) => {
                self.conclude(now, id, Outcome::Committed, out);
                Lane::After
            }
            Some(Phase::Finished(Finished::Heard(Outcome::Committed))) => Lane::Later,
            // An old duplicate: it was acknowledged, or the floor would not lie
            // above it.
            None if self.coordinators.is_below_floor(id) => Lane::Now,
            None | Some(Phase::Active(_) | Phase::Holding { .. } | Phase::Finished(_)) => {
                return self.lost_prepare(now, request, id, out);
            }
        };
        self.acknowledge(lane, request, id, out);
    }

    /// The decision is abort.
    pub(super) fn abort(
        &mut self,
        now: Millis,
        request: RequestId,
        id: AttemptId,
        out: &mut Output<R>,
    ) {
        match self.attempts.get(&id).map(|attempt| &attempt.phase) {
            Some(Phase::Active(active)) if matches!(active.intent, Intent::Decide { .. }) => {
                // Only our own answer decides a one-phase commit.
                return self.refuse_ended(request, id, Call::Abort(id), out);
            }
            Some(Phase::Active(_) | Phase::Holding { .. }) => {
                let why = "the coordinator aborted the attempt";
                self.abandon(now, id, Refusal::retryable(Reason::ATTEMPT_ENDED, why), out);
                self.set_finished(id, Finished::Heard(Outcome::Aborted));
            }
            Some(Phase::Prepared(_) | Phase::Finished(Finished::ByHand(_))) => {
                self.conclude(now, id, Outcome::Aborted, out);
            }
            Some(Phase::Finished(Finished::Declined { .. })) => {
                self.set_finished(id, Finished::Heard(Outcome::Aborted));
            }
            Some(Phase::Finished(Finished::Heard(Outcome::Committed))) => {
                let what = "abort of an attempt that was told to commit".to_string();
                out.now
                    .push(Effect::Alarm(Alarm::ProtocolViolated { attempt: id, what }));
                return self.refuse_ended(request, id, Call::Abort(id), out);
            }
            Some(Phase::Finished(_)) => {}
            None => self.remember_abort(now, id),
        }
        // What was done by hand is told when it cannot be lost any more.
        let lane = if self.damage.contains_key(&id) {
            Lane::After
        } else {
            Lane::Now
        };
        self.acknowledge(lane, request, id, out);
    }

    /// All votes of a read-only transaction are in.
    pub(super) fn let_go(
        &mut self,
        now: Millis,
        request: RequestId,
        id: AttemptId,
        out: &mut Output<R>,
    ) {
        let boot = match self.attempts.get_mut(&id).map(|attempt| &mut attempt.phase) {
            Some(Phase::Holding { results, .. }) => {
                let results = core::mem::take(results);
                self.finish(id, Finished::Read(results));
                self.release_locks(now, id);
                Some(self.boot)
            }
            Some(Phase::Finished(Finished::Read(_))) => Some(self.boot),
            Some(Phase::Active(_) | Phase::Prepared(_) | Phase::Finished(_)) | None => None,
        };
        let answer = Answer::Released { attempt: id, boot };
        self.answer(Lane::Now, id.coordinator, request, answer, out);
    }

    /// An abort that overtook its prepare: remembered, so that the prepare finds
    /// the attempt ended and leaks nothing.
    fn remember_abort(&mut self, now: Millis, id: AttemptId) {
        if self.coordinators.is_below_floor(id) || self.coordinators.is_stale(id) {
            return;
        }
        let transaction = crate::id::TransactionId::from_parts(Millis(0), 0);
        let phase = Phase::Finished(Finished::Heard(Outcome::Aborted));
        let attempt = super::Attempt::new(transaction, State::Aborted, now, phase);
        self.attempts.insert(id, attempt);
        self.coordinators.count_finished(id);
    }

    fn acknowledge(&mut self, lane: Lane, request: RequestId, id: AttemptId, out: &mut Output<R>) {
        let damage = self
            .damage
            .get(&id)
            .and_then(|damage| damage.record.by_hand);
        let answer = Answer::Acknowledged {
            attempt: id,
            damage,
        };
        self.answer(lane, id.coordinator, request, answer, out);
    }

    /// Ends a prepared attempt, or one resolved by hand, as was really decided.
    pub(super) fn conclude(
        &mut self,
        now: Millis,
        id: AttemptId,
        decided: Outcome,
        out: &mut Output<R>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let record = match decided {
            Outcome::Committed => Record::Committed {
                attempt: id,
                at: now,
            },
            Outcome::Aborted => Record::Aborted {
                attempt: id,
                at: now,
            },
        };
        match &mut attempt.phase {
            Phase::Prepared(promise) => {
                let redo = core::mem::take(&mut promise.redo);
                let lsn = out.persist(record);
                attempt.history.enter(state_of(decided), now);
                if decided == Outcome::Committed {
                    self.apply(lsn, &redo);
                }
                self.finish(id, Finished::Heard(decided));
                self.release_locks(now, id);
            }
            Phase::Finished(Finished::ByHand(by_hand)) => {
                let (done, reason) = (by_hand.outcome, by_hand.reason.clone());
                // First, so that a crash between the two asks again, instead of
                // forgetting what was done.
                let forgets = self.settings.planted.has(Bug::HandDamageForgotten);
                if done != decided && !self.damage.contains_key(&id) && !forgets {
                    self.record_damage(now, id, Some(done), decided, reason, out);
                }
                out.persist(record);
                self.set_finished(id, Finished::Heard(decided));
                self.timers.disarm(&Timer::Ask(id));
                if done != decided {
                    self.timers.arm(Timer::Report(id), now);
                }
            }
            Phase::Active(_) | Phase::Holding { .. } | Phase::Finished(_) => {}
        }
    }

    /// A commit for an attempt that this participant does not hold as prepared:
    /// it has lost a promise. Nothing can be applied, so it must be known.
    fn lost_prepare(
        &mut self,
        now: Millis,
        request: RequestId,
        id: AttemptId,
        out: &mut Output<R>,
    ) {
        let why = format!("commit for attempt {id}, which is not prepared here");
        if self
            .attempts
            .get(&id)
            .is_some_and(|attempt| !attempt.is_finished())
        {
            self.abandon(
                now,
                id,
                Refusal::new(Reason::LOST_PREPARE, why.clone()),
                out,
            );
        }
        if !self.damage.contains_key(&id) {
            self.record_damage(now, id, None, Outcome::Committed, why.clone(), out);
        }
        let refusal = Refusal::new(Reason::LOST_PREPARE, why);
        let call = Call::Commit(id);
        let answer = Answer::Refused { call, refusal };
        self.answer(Lane::After, id.coordinator, request, answer, out);
    }

    /// Whether a commit was heard for an attempt that is not held here: damage
    /// that nobody has seen to yet.
    pub(super) fn has_lost(&self, id: AttemptId) -> bool {
        let damage = self.damage.get(&id);
        damage.is_some_and(|damage| damage.record.by_hand.is_none())
    }

    fn record_damage(
        &mut self,
        now: Millis,
        id: AttemptId,
        by_hand: Option<Outcome>,
        decided: Outcome,
        reason: String,
        out: &mut Output<R>,
    ) {
        let transaction = self.attempts.get(&id).map(|attempt| attempt.transaction);
        let record = Damaged {
            attempt: id,
            transaction,
            by_hand,
            decided,
            reason,
            at: now,
        };
        out.persist(Record::Damaged(record.clone()));
        let reports = by_hand.map(|_| 0);
        self.damage.insert(
            id,
            Damage {
                record: record.clone(),
                reports,
                mended: false,
            },
        );
        out.after
            .push(Effect::Alarm(Alarm::HeuristicDamage(record)));
    }

    /// The operator's way out.
    pub(super) fn resolve_by_hand(
        &mut self,
        now: Millis,
        request: RequestId,
        id: AttemptId,
        outcome: Outcome,
        reason: String,
        out: &mut Output<R>,
    ) {
        let attempt = self
            .attempts
            .get_mut(&id)
            .filter(|attempt| attempt.is_prepared());
        let Some(attempt) = attempt else {
            let why = format!("attempt {id} is not in doubt here");
            let refusal = Refusal::new(Reason::INVALID_REQUEST, why);
            return out.now.push(reply::<R>(request, Reply::Refused(refusal)));
        };
        let Phase::Prepared(promise) = &mut attempt.phase else {
            return;
        };
        let redo = core::mem::take(&mut promise.redo);
        let (age, asking) = (promise.age, promise.asking.clone());
        attempt.history.enter(state_of(outcome), now);
        let record = ResolvedByHand {
            attempt: id,
            outcome,
            reason: reason.clone(),
            at: now,
        };
        let lsn = if self.settings.planted.has(Bug::HandNotRecorded) {
            out.appended()
        } else {
            out.persist(Record::ResolvedByHand(record))
        };
        if outcome == Outcome::Committed {
            self.apply(lsn, &redo);
        }
        self.set_finished(
            id,
            Finished::ByHand(ByHand {
                outcome,
                reason,
                age,
                asking,
            }),
        );
        self.unlocks.push_back((lsn, id));
        out.after.push(reply::<R>(request, Reply::Done));
    }

    /// Ends unprepared work with a no, and says so to whoever waits for it.
    pub(super) fn decline(
        &mut self,
        now: Millis,
        id: AttemptId,
        refusal: Refusal,
        out: &mut Output<R>,
    ) {
        let decides = match self.attempts.get(&id).map(|attempt| &attempt.phase) {
            Some(Phase::Active(active)) => match &active.intent {
                Intent::Decide { hash } => Some(*hash),
                Intent::Rest | Intent::Piece | Intent::Locks | Intent::Vote { .. } => None,
            },
            Some(Phase::Holding { .. } | Phase::Prepared(_) | Phase::Finished(_)) | None => None,
        };
        match decides {
            Some(_) if self.ends_as_before(now, id, out) => {}
            Some(hash) => {
                let nothing = (R::Redo::default(), Vec::new());
                self.record_alone(now, id, hash, nothing, Alone::Aborted(refusal), out);
            }
            None => self.abandon(now, id, refusal, out),
        }
    }

    /// Ends unprepared work without a record. Whoever waits is told no; that
    /// promises nothing, so it leaves at once.
    pub(super) fn abandon(
        &mut self,
        now: Millis,
        id: AttemptId,
        refusal: Refusal,
        out: &mut Output<R>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let (requests, number, intent) = match &mut attempt.phase {
            Phase::Active(active) => (
                core::mem::take(&mut active.requests),
                active.pieces + 1,
                core::mem::replace(&mut active.intent, Intent::Rest),
            ),
            Phase::Holding { .. } => (Vec::new(), 0, Intent::Rest),
            Phase::Prepared(_) | Phase::Finished(_) => return,
        };
        let unvoted = matches!(intent, Intent::Vote { first: true, .. });
        attempt.history.enter(State::Aborted, now);
        let declined = Finished::Declined {
            refusal: refusal.clone(),
            unvoted,
        };
        self.finish(id, declined);
        if !self.settings.planted.has(Bug::EndedKeepsLocks) {
            self.release_locks(now, id);
        }
        for request in requests {
            let answer = match &intent {
                Intent::Vote { .. } => Answer::Voted {
                    attempt: id,
                    boot: self.boot,
                    log_end: out.appended(),
                    life: self.life(),
                    vote: Vote::No(refusal.clone()),
                },
                Intent::Decide { .. } => Answer::Refused {
                    call: Call::CommitOnePhase(id),
                    refusal: refusal.clone(),
                },
                Intent::Locks | Intent::Piece | Intent::Rest => {
                    piece_refused(id, number, self.boot, &intent, refusal.clone())
                }
            };
            self.answer(Lane::Now, id.coordinator, request, answer, out);
        }
    }

    pub(super) fn lease_expired(&mut self, now: Millis, id: AttemptId, out: &mut Output<R>) {
        let why = format!("the coordinator of attempt {id} was silent past its deadline");
        self.decline(now, id, Refusal::retryable(Reason::LOCKS_LOST, why), out);
    }

    /// Marks an attempt as over, and takes back its timers.
    pub(super) fn finish(&mut self, id: AttemptId, how: Finished<R>) {
        self.timers.disarm(&Timer::Lease(id));
        self.timers.disarm(&Timer::LockWait(id));
        self.timers.disarm(&Timer::Ask(id));
        self.timers.disarm(&Timer::Suspect(id));
        self.coordinators.count_finished(id);
        self.set_finished(id, how);
    }

    /// Changes how an attempt is over.
    pub(super) fn set_finished(&mut self, id: AttemptId, how: Finished<R>) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.phase = Phase::Finished(how);
        }
    }

    pub(super) fn acknowledge_damage(
        &mut self,
        request: RequestId,
        id: AttemptId,
        out: &mut Output<R>,
    ) {
        let open = self.damage.get_mut(&id).filter(|damage| !damage.mended);
        if let Some(damage) = open {
            damage.mended = true;
            out.persist(Record::DamageAcknowledged { attempt: id });
            return out.after.push(reply::<R>(request, Reply::Done));
        }
        let why = format!("no damage is recorded for attempt {id}");
        let refusal = Refusal::new(Reason::INVALID_REQUEST, why);
        out.now.push(reply::<R>(request, Reply::Refused(refusal)));
    }

    /// Tells the coordinator of damage until it has recorded it.
    pub(super) fn report_damage(&mut self, now: Millis, id: AttemptId, out: &mut Output<R>) {
        let known = self.coordinators.get(id.coordinator);
        let Some(address) = known.and_then(|known| known.address.clone()) else {
            return self
                .timers
                .arm(Timer::Report(id), now + self.settings.ask_max);
        };
        let Some(damage) = self.damage.get_mut(&id) else {
            return;
        };
        let (Some(tries), Some(by_hand)) = (damage.reports, damage.record.by_hand) else {
            return;
        };
        damage.reports = Some(tries.saturating_add(1));
        let reason = damage.record.reason.clone();
        // The damage must be on record here before it is spoken of.
        out.after.push(Effect::ReportDamage {
            attempt: id,
            by_hand,
            reason,
            address,
        });
        let wait = self
            .jitter
            .backoff(self.settings.ask_first, self.settings.ask_max, tries);
        self.timers
            .arm(Timer::Report(id), now + wait + Span::from_secs(1));
    }
}

/// The participant's state after an outcome.
pub(super) const fn state_of(outcome: Outcome) -> State {
    match outcome {
        Outcome::Committed => State::Committed,
        Outcome::Aborted => State::Aborted,
    }
}
