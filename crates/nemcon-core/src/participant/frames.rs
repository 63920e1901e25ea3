//! What a coordinator says, message by message. Every one may come twice, late,
//! or after those that were sent behind it.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::attempt::{Active, Attempt, Finished, Intent, Phase};
use super::coordinators::Seen;
use super::event::{Effect, State};
use super::pieces::piece_refused;
use super::record::Record;
use super::work::forgotten_here;
use super::{Drain, Lane, Output, Participant, Timer};
use crate::id::{AttemptId, CoordinatorId, Lsn, RequestId, TransactionId};
use crate::lock::{LockKey, Mode};
use crate::message::{
    Alone, Answer, Call, CommitOnePhase, Frame, Header, Hello, Operation, Outcome, Prepare, Task,
    ToParticipant, Trace, Vote, Work,
};
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::resource::Resource;
use crate::time::{Millis, Span};

impl<R: Resource> Participant<R> {
    pub(super) fn frame_received(
        &mut self,
        now: Millis,
        request: RequestId,
        frame: Frame<R::Action>,
        out: &mut Output<R>,
    ) {
        let Frame { header, message } = frame;
        if header.participant != self.id {
            let why = format!(
                "this is participant {} with data directory {}; the message is for {}",
                self.settings.name, self.id, header.participant
            );
            let refusal = Refusal::retryable(Reason::WRONG_PARTICIPANT, why);
            let call = message.call();
            out.now.push(Effect::Answer {
                request,
                answer: Answer::Refused { call, refusal },
            });
            return;
        }
        if let Some(attempt) = foreign_attempt(&header, &message) {
            let why = format!(
                "attempt {attempt} is not one of coordinator {}",
                header.coordinator
            );
            let refusal = Refusal::new(Reason::PEER_REFUSED, why);
            let (coordinator, call) = (header.coordinator, message.call());
            return self.refuse(coordinator, request, call, refusal, out);
        }
        if let Some(refusal) = self.refusal_of_stranger(header.coordinator) {
            let call = message.call();
            out.now.push(Effect::Answer {
                request,
                answer: Answer::Refused { call, refusal },
            });
            return;
        }
        match self.coordinators.see(&header) {
            Seen::Stale { .. } if self.settings.planted.has(Bug::StaleEpochObeyed) => {}
            Seen::Stale { known } => {
                let why = format!(
                    "epoch {} has ended; {known} is the newest seen",
                    header.epoch
                );
                let refusal = Refusal::retryable(Reason::STALE_EPOCH, why);
                let call = message.call();
                out.now.push(Effect::Answer {
                    request,
                    answer: Answer::Refused { call, refusal },
                });
                return;
            }
            Seen::Newer => self.enter_epoch(now, &header, out),
            Seen::Current => {}
        }
        self.log_floor(header.coordinator, out);
        if self.settings.planted.has(Bug::EndedBeginsAgain)
            && let Some(id) = message.task().map(|task| task.attempt)
            && self
                .attempts
                .get(&id)
                .is_some_and(|attempt| attempt.is_finished())
        {
            self.attempts.remove(&id);
        }
        match message {
            ToParticipant::Hello(hello) => self.hello(now, request, &header, hello, out),
            ToParticipant::Execute(execute) => self.execute(now, request, execute, out),
            ToParticipant::AcquireLocks(acquire) => {
                self.acquire_locks(now, request, acquire, out);
            }
            ToParticipant::Prepare(prepare) => self.prepare(now, request, prepare, out),
            ToParticipant::Commit(attempt) => self.commit(now, request, attempt, out),
            ToParticipant::Abort(attempt) => self.abort(now, request, attempt, out),
            ToParticipant::Release(attempt) => self.let_go(now, request, attempt, out),
            ToParticipant::CommitOnePhase(commit) => self.one_phase(now, request, commit, out),
            ToParticipant::Inquire(transaction) => {
                self.inquire(request, header.coordinator, transaction, out);
            }
            ToParticipant::ReportWaits(ask) => {
                self.report_waits(now, request, header.coordinator, ask, out);
            }
            ToParticipant::FailWait(fail) => {
                self.fail_wait(now, request, header.coordinator, &fail, out);
            }
        }
    }

    /// Records a newer epoch and ends what the older ones left unprepared.
    fn enter_epoch(&mut self, now: Millis, header: &Header, out: &mut Output<R>) {
        let Header {
            coordinator, epoch, ..
        } = *header;
        let lsn = out.persist(Record::EpochSeen { coordinator, epoch });
        self.coordinators.enter_epoch(coordinator, epoch, lsn);
        let older: Vec<AttemptId> = self
            .attempts_of(coordinator)
            .filter(|(id, attempt)| {
                let unprepared = matches!(attempt.phase, Phase::Active(_) | Phase::Holding { .. });
                let keeps = self.settings.planted.has(Bug::NewEpochKeepsWork);
                id.position.epoch < epoch && unprepared && !keeps
            })
            .map(|(id, _)| id)
            .collect();
        if self.settings.planted.has(Bug::NewEpochAbortsPrepared) {
            for attempt in self.asking() {
                self.conclude(now, attempt, Outcome::Aborted, out);
            }
        }
        for attempt in older {
            let why = format!("coordinator restarted in epoch {epoch} before this was decided");
            let refusal = Refusal::retryable(Reason::COORDINATOR_RESTARTED, why);
            self.abandon(now, attempt, refusal, out);
        }
    }

    /// Logs the floor when enough attempts wait below it to be forgotten.
    fn log_floor(&mut self, coordinator: CoordinatorId, out: &mut Output<R>) {
        let batch = self.settings.forget_batch;
        if let Some(floor) = self.coordinators.floor_to_log(coordinator, batch) {
            let lsn = out.persist(Record::FloorRaised { coordinator, floor });
            self.coordinators.log_floor(coordinator, floor, lsn);
        }
    }

    /// Forgets what is finished below floors that are durable.
    pub(super) fn forget_below_durable_floors(&mut self) {
        if self.settings.planted.has(Bug::ForgottenAboveFloor) {
            return self.attempts.retain(|_, attempt| !attempt.is_finished());
        }
        let durable = self.durable;
        for (coordinator, known) in self.coordinators.iter() {
            if known.logged_lsn > durable || known.logged_lsn == Lsn(0) {
                continue;
            }
            let from = AttemptId {
                coordinator,
                position: Default::default(),
            };
            let to = AttemptId {
                coordinator,
                position: known.logged_floor,
            };
            let forgettable: Vec<AttemptId> = self
                .attempts
                .range(from..to)
                .filter(|(id, attempt)| {
                    let by_hand = matches!(attempt.phase, Phase::Finished(Finished::ByHand(_)));
                    attempt.is_finished() && !by_hand && !self.keeps_locks(**id)
                })
                .map(|(id, _)| *id)
                .collect();
            for id in forgettable {
                self.attempts.remove(&id);
            }
        }
    }

    fn hello(
        &mut self,
        now: Millis,
        request: RequestId,
        header: &Header,
        hello: Hello,
        out: &mut Output<R>,
    ) {
        let coordinator = header.coordinator;
        self.coordinators.entry(coordinator).address = Some(hello.address);
        let in_doubt: Vec<AttemptId> = self
            .attempts
            .range(
                AttemptId {
                    coordinator,
                    position: Default::default(),
                }..,
            )
            .take_while(|(id, _)| id.coordinator == coordinator)
            .filter(|(_, attempt)| attempt.is_asking())
            .map(|(id, _)| *id)
            .collect();
        for attempt in in_doubt {
            self.ask_afresh(now, attempt, out);
        }
        let answer = Answer::Welcome { boot: self.boot };
        self.answer(Lane::Now, coordinator, request, answer, out);
    }

    fn prepare(
        &mut self,
        now: Millis,
        request: RequestId,
        prepare: Prepare<R::Action>,
        out: &mut Output<R>,
    ) {
        let Prepare {
            task,
            work,
            peers,
            read_only,
        } = prepare;
        let id = task.attempt;
        self.end_repeated_work(now, id, &work, out);
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return match work {
                Work::OneShot(operations) => {
                    let intent = Intent::Vote {
                        peers,
                        read_only,
                        one_shot: true,
                        first: !read_only,
                    };
                    self.begin_work(
                        now,
                        request,
                        NewWork::one_shot(task, operations, intent),
                        out,
                    );
                }
                Work::Interactive { .. } if self.settings.planted.has(Bug::LostWorkVotesYes) => {
                    let intent = Intent::Vote {
                        peers,
                        read_only,
                        one_shot: true,
                        first: false,
                    };
                    self.begin_work(
                        now,
                        request,
                        NewWork::one_shot(task, Vec::new(), intent),
                        out,
                    );
                }
                Work::Interactive { .. } => {
                    self.vote_no_on_lost_work(now, request, &task, out);
                }
            };
        };
        let vote = match &mut attempt.phase {
            Phase::Active(active) => match (&active.intent, work) {
                (Intent::Vote { .. }, _) => return active.requests.push(request),
                (Intent::Rest, Work::Interactive { boot, count }) => {
                    active.requests.push(request);
                    active.operations = Vec::new();
                    // Its work was done in this boot, so the vote is asked for
                    // in this boot for the first time.
                    let first = boot == self.boot;
                    active.intent = Intent::Vote {
                        peers,
                        read_only,
                        one_shot: false,
                        first,
                    };
                    let lost = !first || count != active.pieces;
                    if !lost || self.settings.planted.has(Bug::LostWorkVotesYes) {
                        return self.runnable.push_back(id);
                    }
                    let refusal = lost_work(id);
                    return self.decline(now, id, refusal, out);
                }
                (Intent::Rest | Intent::Piece | Intent::Locks | Intent::Decide { .. }, _) => {
                    let why = format!("attempt {id} is at other work here");
                    let refusal = Refusal::new(Reason::PEER_REFUSED, why);
                    return self.refuse(id.coordinator, request, Call::Prepare(id), refusal, out);
                }
            },
            Phase::Holding { results, .. } => Vote::ReadOnly(results.clone()),
            Phase::Finished(Finished::Read(results)) => Vote::ReadOnly(results.clone()),
            Phase::Prepared(promise) => Vote::Yes(promise.results.clone()),
            Phase::Finished(Finished::Declined { refusal, .. }) => Vote::No(refusal.clone()),
            Phase::Finished(
                Finished::Heard(_)
                | Finished::Refused
                | Finished::ReadAlone(_)
                | Finished::DecidedAlone
                | Finished::ByHand(_),
            ) => return self.refuse_ended(request, id, Call::Prepare(id), out),
        };
        let lane = if matches!(vote, Vote::Yes(_)) {
            Lane::After
        } else {
            Lane::Now
        };
        let answer = Answer::Voted {
            attempt: id,
            boot: self.boot,
            log_end: out.appended(),
            life: self.life(),
            vote,
        };
        self.answer(lane, id.coordinator, request, answer, out);
    }

    /// Work that an earlier boot has done and lost may be in hand here once more, for a
    /// repeat of it that came late. That is not the work which is to be committed.
    fn end_repeated_work(
        &mut self,
        now: Millis,
        id: AttemptId,
        work: &Work<R::Action>,
        out: &mut Output<R>,
    ) {
        let Work::Interactive { boot, .. } = work else {
            return;
        };
        let in_hand = match self.attempts.get(&id).map(|attempt| &attempt.phase) {
            Some(Phase::Active(active)) => {
                matches!(active.intent, Intent::Piece | Intent::Locks)
            }
            Some(Phase::Holding { .. } | Phase::Prepared(_) | Phase::Finished(_)) | None => false,
        };
        if in_hand && *boot != self.boot {
            self.abandon(now, id, lost_work(id), out);
        }
    }

    /// Interactive work was done here before a restart, and is gone.
    fn vote_no_on_lost_work(
        &mut self,
        now: Millis,
        request: RequestId,
        task: &Task,
        out: &mut Output<R>,
    ) {
        let id = task.attempt;
        if let Some(refusal) = self.refusal_of_unknown(id) {
            return self.refuse(id.coordinator, request, Call::Prepare(id), refusal, out);
        }
        let refusal = lost_work(id);
        let phase = Phase::Finished(Finished::Declined {
            refusal: refusal.clone(),
            unvoted: false,
        });
        self.attempts.insert(
            id,
            Attempt::new(task.transaction, State::Aborted, now, phase),
        );
        self.coordinators.count_finished(id);
        let vote = Vote::No(refusal);
        let answer = Answer::Voted {
            attempt: id,
            boot: self.boot,
            log_end: out.appended(),
            life: self.life(),
            vote,
        };
        self.answer(Lane::Now, id.coordinator, request, answer, out);
    }

    fn one_phase(
        &mut self,
        now: Millis,
        request: RequestId,
        commit: CommitOnePhase<R::Action>,
        out: &mut Output<R>,
    ) {
        let CommitOnePhase { task, hash, work } = commit;
        let (id, transaction) = (task.attempt, task.transaction);
        if let Some(entry) = self.alone.get(transaction) {
            if entry.hash != hash {
                let refusal = reused(transaction);
                return self.refuse(
                    id.coordinator,
                    request,
                    Call::CommitOnePhase(id),
                    refusal,
                    out,
                );
            }
            if let Some((entry, alone)) = self.decided(transaction) {
                let lane = if entry.lsn > self.durable {
                    Lane::After
                } else {
                    Lane::Now
                };
                let answer = Answer::DecidedAlone { attempt: id, alone };
                return self.answer(lane, id.coordinator, request, answer, out);
            }
        }
        let unmarked = self
            .settings
            .planted
            .has(Bug::AloneForgottenWithoutWatermark);
        let unreadable = self.alone.contains(transaction);
        let forgotten = unreadable || self.alone.may_have_forgotten(transaction) && !unmarked;
        // What only reads may be read again.
        let only_reads = match &work {
            Work::OneShot(operations) => operations.iter().all(|it| it.read_only),
            Work::Interactive { .. } => false,
        };
        let is_unknown = !self.attempts.contains_key(&id) && !only_reads;
        if is_unknown && forgotten {
            let refusal = forgotten_here(transaction);
            return self.refuse(
                id.coordinator,
                request,
                Call::CommitOnePhase(id),
                refusal,
                out,
            );
        }
        let intent = Intent::Decide { hash };
        match self.attempts.get_mut(&id).map(|attempt| &mut attempt.phase) {
            None => match work {
                Work::OneShot(operations) => {
                    self.begin_work(
                        now,
                        request,
                        NewWork::one_shot(task, operations, intent),
                        out,
                    );
                }
                Work::Interactive { .. } => {
                    // Nothing was decided here, and now nothing will be: the
                    // decision is recorded like any other.
                    let operations = vec![Operation {
                        action: Err(lost_work(id)),
                        read_only: false,
                        inputs: Vec::new(),
                    }];
                    self.begin_work(
                        now,
                        request,
                        NewWork::one_shot(task, operations, intent),
                        out,
                    );
                }
            },
            Some(Phase::Active(active)) => match (&active.intent, work) {
                (Intent::Decide { .. }, _) => active.requests.push(request),
                (Intent::Rest, Work::Interactive { boot, count }) => {
                    active.requests.push(request);
                    active.intent = intent;
                    active.operations = Vec::new();
                    if boot == self.boot && count == active.pieces {
                        return self.runnable.push_back(id);
                    }
                    self.decline(now, id, lost_work(id), out);
                }
                // A late repeat of lost work is in hand; see below.
                (Intent::Piece | Intent::Locks, Work::Interactive { boot, .. })
                    if boot != self.boot =>
                {
                    let late = core::mem::replace(&mut active.requests, vec![request]);
                    let number = active.pieces + 1;
                    let piece = core::mem::replace(&mut active.intent, intent);
                    self.decline(now, id, lost_work(id), out);
                    for request in late {
                        let answer = piece_refused(id, number, self.boot, &piece, lost_work(id));
                        self.answer(Lane::Now, id.coordinator, request, answer, out);
                    }
                }
                (Intent::Rest | Intent::Piece | Intent::Locks | Intent::Vote { .. }, _) => {
                    let why = format!("attempt {id} is at other work here");
                    let refusal = Refusal::new(Reason::PEER_REFUSED, why);
                    self.refuse(
                        id.coordinator,
                        request,
                        Call::CommitOnePhase(id),
                        refusal,
                        out,
                    );
                }
            },
            Some(Phase::Finished(Finished::ReadAlone(results))) => {
                let alone = Alone::Committed(results.clone());
                let answer = Answer::DecidedAlone { attempt: id, alone };
                self.answer(Lane::Now, id.coordinator, request, answer, out);
            }
            // It has ended before it was to be decided, and now it is: nobody could
            // tell its client anything else, ever. Where decisions were forgotten
            // this may be a late echo of one.
            Some(Phase::Finished(Finished::Declined { refusal, .. })) if !forgotten => {
                let alone = Alone::Aborted(refusal.clone());
                let nothing = (R::Redo::default(), Vec::new());
                self.record_alone(now, id, hash, nothing, alone.clone(), out);
                let answer = Answer::DecidedAlone { attempt: id, alone };
                self.answer(Lane::After, id.coordinator, request, answer, out);
            }
            Some(Phase::Holding { .. } | Phase::Prepared(_) | Phase::Finished(_)) => {
                self.refuse_ended(request, id, Call::CommitOnePhase(id), out);
            }
        }
    }

    fn inquire(
        &mut self,
        request: RequestId,
        coordinator: CoordinatorId,
        transaction: TransactionId,
        out: &mut Output<R>,
    ) {
        // What may have been decided here, and the record that must be durable
        // before it is said.
        let (mut trace, lsn) = match (self.decided(transaction), self.alone.get(transaction)) {
            (Some((entry, alone)), _) => {
                let hash = entry.hash;
                (Trace::Decided { hash, alone }, entry.lsn)
            }
            (None, Some(_)) => (Trace::Forgotten, Lsn(0)),
            (None, None) if self.alone.may_have_forgotten(transaction) => {
                (Trace::Forgotten, Lsn(0))
            }
            (None, None) => (Trace::None, Lsn(0)),
        };
        let unmarked = self
            .settings
            .planted
            .has(Bug::AloneForgottenWithoutWatermark);
        if unmarked && matches!(trace, Trace::Forgotten) {
            trace = Trace::None;
        }
        let lane = if lsn > self.durable {
            Lane::After
        } else {
            Lane::Now
        };
        self.answer(
            lane,
            coordinator,
            request,
            Answer::Traced { transaction, trace },
            out,
        );
    }

    /// Starts work on an attempt that is not known here, if it is not an old one.
    pub(super) fn begin_work(
        &mut self,
        now: Millis,
        request: RequestId,
        work: NewWork<R>,
        out: &mut Output<R>,
    ) {
        let NewWork {
            task,
            operations,
            wanted,
            intent,
        } = work;
        let (id, transaction) = (task.attempt, task.transaction);
        if let Some(refusal) = self.refusal_of_unknown(id) {
            return self.refuse(id.coordinator, request, intent.call(id, 1), refusal, out);
        }
        let deadline = now + task.remaining;
        let spent = task.remaining == Span(0);
        let no_room = self.no_room_for(&operations);
        let active = Active {
            task,
            deadline,
            intent,
            requests: vec![request],
            operations,
            redo: R::Redo::default(),
            wrote: false,
            wanted,
            pieces: 0,
            last: None,
        };
        let phase = Phase::Active(active);
        self.attempts
            .insert(id, Attempt::new(transaction, State::Active, now, phase));
        self.timers
            .arm(Timer::Lease(id), deadline + self.settings.lease_grace);
        if spent {
            let refusal =
                Refusal::retryable(Reason::DEADLINE_EXCEEDED, "the deadline passed on the way");
            self.decline(now, id, refusal, out);
        } else if self.alone.get(transaction).is_some() {
            self.decline(now, id, reused(transaction), out);
        } else if let Some(refusal) = no_room {
            self.decline(now, id, refusal, out);
        } else {
            self.runnable.push_back(id);
        }
    }

    /// Why nothing that writes is begun now.
    fn no_room_for(&self, operations: &[Operation<R::Action>]) -> Option<Refusal> {
        let only_reads = operations.iter().all(|operation| operation.read_only);
        let node = format_args!("participant {}", self.settings.name);
        self.room.refusal(node).filter(|_| !only_reads)
    }

    /// Why work on an unknown attempt is not begun.
    fn refusal_of_unknown(&self, id: AttemptId) -> Option<Refusal> {
        if self.has_lost(id) {
            let why = format!("attempt {id} was decided without this participant");
            return Some(Refusal::new(Reason::ATTEMPT_ENDED, why));
        }
        let unordered = self.settings.planted.has(Bug::BelowFloorBegun)
            || self.settings.planted.has(Bug::StaleEpochObeyed);
        let old = self.coordinators.is_stale(id) || self.coordinators.is_below_floor(id);
        if old && !unordered {
            let why = format!("attempt {id} is not known here and its coordinator is past it");
            return Some(Refusal::retryable(Reason::BELOW_FLOOR, why));
        }
        let stopping = self.drain != Drain::No;
        let why = format!("participant {} is stopping; send again", self.settings.name);
        stopping.then(|| Refusal::retryable(Reason::NOT_SERVING, why))
    }

    pub(super) fn refuse_ended(
        &mut self,
        request: RequestId,
        id: AttemptId,
        call: Call,
        out: &mut Output<R>,
    ) {
        let why = format!("attempt {id} has ended here");
        let refusal = Refusal::retryable(Reason::ATTEMPT_ENDED, why);
        self.refuse(id.coordinator, request, call, refusal, out);
    }

    pub(super) fn refuse(
        &mut self,
        coordinator: CoordinatorId,
        request: RequestId,
        call: Call,
        refusal: Refusal,
        out: &mut Output<R>,
    ) {
        let answer = Answer::Refused { call, refusal };
        self.answer(Lane::Now, coordinator, request, answer, out);
    }
}

/// Work on an attempt that may not be known here yet.
pub(super) struct NewWork<R: Resource> {
    pub(super) task: Task,
    pub(super) operations: Vec<Operation<R::Action>>,
    pub(super) wanted: Vec<(LockKey, Mode)>,
    pub(super) intent: Intent,
}

impl<R: Resource> NewWork<R> {
    const fn one_shot(task: Task, operations: Vec<Operation<R::Action>>, intent: Intent) -> Self {
        Self {
            task,
            operations,
            wanted: Vec::new(),
            intent,
        }
    }
}

fn lost_work(id: AttemptId) -> Refusal {
    let why = format!("a restart has lost work of attempt {id}");
    Refusal::retryable(Reason::WORK_LOST, why)
}

fn reused(transaction: TransactionId) -> Refusal {
    let why =
        format!("transaction id {transaction} was used for other operations; choose a new one");
    Refusal::new(Reason::TRANSACTION_ID_REUSED, why)
}

/// The attempt a message speaks of, if its sender cannot have begun it.
fn foreign_attempt<A>(header: &Header, message: &ToParticipant<A>) -> Option<AttemptId> {
    let attempt = message.call().attempt();
    attempt.filter(|id| id.coordinator != header.coordinator || id.position.epoch > header.epoch)
}
