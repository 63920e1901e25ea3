//! Takes locks and runs actions.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use super::attempt::{Active, Asking, Attempt, Finished, Intent, Phase, Piece, Promise};
use super::ending::state_of;
use super::event::{Reply, State};
use super::pieces::piece_answer;
use super::record::{AloneEnding, DecidedAlone, Prepared, Record};
use super::{Lane, Output, Participant, Timer, alone, reply};
use crate::id::{AttemptId, Lsn, RequestId, TransactionId};
use crate::limits;
use crate::lock::{Grant, LockKey, Mode};
use crate::message::{Alone, Answer, OperationsHash, Peer, Vote};
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::resource::Resource;
use crate::time::Millis;

/// How far the locks for the operations in hand are.
enum Locked {
    All,
    /// One is waited for, as it was before.
    Waiting,
    /// One is waited for from now on.
    Begun,
    Refused(Refusal),
}

impl<R: Resource> Participant<R> {
    /// Goes on with an attempt: takes what locks it still needs, runs what is in
    /// hand, and does what it was in hand for.
    pub(super) fn advance(&mut self, now: Millis, id: AttemptId, out: &mut Output<R>) {
        match self.take_locks(now, id) {
            Some(Locked::All) if self.ends_as_before(now, id, out) => {}
            Some(Locked::All) => self.run(now, id, out),
            Some(Locked::Refused(refusal)) => self.decline(now, id, refusal, out),
            Some(Locked::Begun) => self.wait_has_begun(now, id, out),
            Some(Locked::Waiting) | None => {}
        }
    }

    /// Ends an attempt that is about to decide a transaction alone, if another has
    /// done so while this one waited, or may have: what it has decided can have been
    /// forgotten since. True if it has ended.
    pub(super) fn ends_as_before(
        &mut self,
        now: Millis,
        id: AttemptId,
        out: &mut Output<R>,
    ) -> bool {
        let Some(attempt) = self.attempts.get(&id) else {
            return false;
        };
        let transaction = attempt.transaction;
        let writes = match &attempt.phase {
            Phase::Active(active) if matches!(active.intent, Intent::Decide { .. }) => {
                active.wrote || active.operations.iter().any(|it| !it.read_only)
            }
            Phase::Active(_) | Phase::Holding { .. } | Phase::Prepared(_) | Phase::Finished(_) => {
                return false;
            }
        };
        if let Some((_, alone)) = self.decided(transaction) {
            self.repeat_decision(now, id, &alone, out);
            return true;
        }
        // What only reads may be read again.
        let remembered = self.alone.contains(transaction);
        let forgotten = remembered || writes && self.alone.may_have_forgotten(transaction);
        if forgotten {
            self.abandon(now, id, forgotten_here(transaction), out);
        }
        forgotten
    }

    /// What is remembered of a transaction that was decided alone here.
    ///
    /// `None` also if the resource cannot read what it has written. That breaks its
    /// contract, and a start refuses the log for it; here it counts as forgotten.
    pub(super) fn decided(
        &self,
        transaction: TransactionId,
    ) -> Option<(alone::Entry, Alone<R::Result>)> {
        let entry = self.alone.get(transaction)?;
        let alone = match &entry.ending {
            AloneEnding::Committed(results) => {
                let results = results.iter();
                let decoded = results.map(|bytes| self.resource.decode_result(bytes));
                Alone::Committed(decoded.collect::<Result<_, _>>().ok()?)
            }
            AloneEnding::Aborted(refusal) => Alone::Aborted(refusal.clone()),
        };
        Some((entry, alone))
    }

    /// Answers from memory instead of doing it twice.
    fn repeat_decision(
        &mut self,
        now: Millis,
        id: AttemptId,
        alone: &Alone<R::Result>,
        out: &mut Output<R>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let requests = attempt.take_requests();
        attempt.history.enter(state_of(alone.outcome()), now);
        self.finish(id, Finished::DecidedAlone);
        self.release_locks(now, id);
        for request in requests {
            let answer = Answer::DecidedAlone {
                attempt: id,
                alone: alone.clone(),
            };
            self.answer(Lane::After, id.coordinator, request, answer, out);
        }
    }

    /// Asks for locks in the order of their keys, so that one-shot work at one
    /// participant cannot deadlock with its like.
    fn take_locks(&mut self, now: Millis, id: AttemptId) -> Option<Locked> {
        let Phase::Active(active) = &self.attempts.get(&id)?.phase else {
            return None;
        };
        if self.locks.awaited_by(id).is_some() {
            return Some(Locked::Waiting);
        }
        let mut wanted: BTreeMap<LockKey, Mode> = BTreeMap::new();
        for (key, mode) in &active.wanted {
            let wanted = wanted.entry(key.clone()).or_insert(*mode);
            *wanted = (*mode).max(*wanted);
            if self.settings.planted.has(Bug::NamedLockShared) {
                *wanted = Mode::Shared;
            }
        }
        for operation in &active.operations {
            let action = match &operation.action {
                Ok(action) => action,
                Err(refusal) => return Some(Locked::Refused(refusal.clone())),
            };
            if operation.read_only && self.resource.writes(action) {
                let why = format!("an operation is marked read_only but writes: {action:?}");
                let refusal = Refusal::new(Reason::READ_ONLY_VIOLATED, why);
                return Some(Locked::Refused(refusal));
            }
            self.resource.locks(action, &mut |key, mode| {
                let wanted = wanted.entry(key).or_insert(mode);
                *wanted = mode.max(*wanted);
                if self.settings.planted.has(Bug::WriterSharesLock) {
                    *wanted = Mode::Shared;
                }
            });
        }
        wanted.retain(|key, mode| !self.locks.holds(id, key, *mode));
        for (key, mode) in wanted {
            match self.locks.request(now, id, &key, mode) {
                Grant::Granted(_) => {}
                Grant::Waiting(_) => {
                    let limit = (now + active.task.lock_wait).min(active.deadline);
                    self.timers.arm(Timer::LockWait(id), limit);
                    return Some(Locked::Begun);
                }
                Grant::Refused(full) => return Some(Locked::Refused(self.full(&key, full))),
            }
        }
        self.timers.disarm(&Timer::LockWait(id));
        Some(Locked::All)
    }

    pub(super) fn lock_wait_expired(&mut self, now: Millis, id: AttemptId, out: &mut Output<R>) {
        let Some((key, _)) = self.locks.awaited_by(id) else {
            return;
        };
        let holder = self.locks.holders_of(key).next();
        let held = holder
            .map(|holder| format!(" held by attempt {holder}"))
            .unwrap_or_default();
        let why = format!("waited too long for the lock on {key}{held}");
        self.decline(now, id, Refusal::retryable(Reason::LOCK_TIMEOUT, why), out);
    }

    /// Runs the operations in hand; all their locks are held.
    fn run(&mut self, now: Millis, id: AttemptId, out: &mut Output<R>) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let Phase::Active(active) = &mut attempt.phase else {
            return;
        };
        let wanted = core::mem::take(&mut active.wanted);
        let mut results = Vec::with_capacity(active.operations.len());
        for operation in active.operations.drain(..).collect::<Vec<_>>() {
            let outcome = operation.action.and_then(|action| {
                active.wrote |= self.resource.writes(&action);
                self.resource
                    .execute(now, attempt.transaction, &action, &mut active.redo)
            });
            match outcome {
                Ok(result) => results.push(result),
                Err(refusal) => return self.decline(now, id, refusal, out),
            }
        }
        let redo = self.resource.encode_redo(&active.redo);
        if let Err(refusal) = self.check_size(id, &results, redo.len()) {
            return self.decline(now, id, refusal, out);
        }
        let Some(active) = self.active_mut(id) else {
            return;
        };
        match core::mem::replace(&mut active.intent, Intent::Rest) {
            Intent::Rest => {}
            Intent::Piece => self.answer_piece(id, Piece::Results(results), out),
            Intent::Locks => {
                let token = |(key, _): &(LockKey, Mode)| self.locks.token(id, key);
                let tokens = wanted.iter().filter_map(token).collect();
                self.answer_piece(id, Piece::Tokens(tokens), out);
                if self.settings.planted.has(Bug::NamedLocksLetGo) {
                    self.release_locks(now, id);
                }
            }
            Intent::Vote {
                peers,
                read_only,
                one_shot,
                ..
            } => {
                let reader = !active.wrote;
                if reader && one_shot && read_only {
                    self.vote_and_hold(now, id, results, out);
                } else if reader && (!one_shot || self.settings.planted.has(Bug::ReaderLetsGoEarly))
                {
                    self.vote_and_let_go(now, id, results, out);
                } else {
                    self.vote_yes(now, id, peers, redo, results, out);
                }
            }
            Intent::Decide { hash } => self.decide_alone(now, id, hash, redo, results, out),
        }
    }

    /// Whether what has been run fits into a record and an answer.
    fn check_size(&self, id: AttemptId, results: &[R::Result], redo: usize) -> Result<(), Refusal> {
        let results = results.iter();
        let results: usize = results
            .map(|result| self.resource.encode_result(result).len())
            .sum();
        let locks: usize = self
            .locks
            .held_by(id)
            .map(|(key, _)| key.as_bytes().len())
            .sum();
        let bytes = results + redo + locks;
        if bytes <= limits::WORK_BYTES_MAX {
            return Ok(());
        }
        let why = format!(
            "results, changes and locks take {bytes} bytes at participant {}; want at most {}: ask \
             for less at a time",
            self.settings.name,
            limits::WORK_BYTES_MAX
        );
        Err(Refusal::new(Reason::TOO_LARGE, why))
    }

    fn active_mut(&mut self, id: AttemptId) -> Option<&mut Active<R>> {
        match &mut self.attempts.get_mut(&id)?.phase {
            Phase::Active(active) => Some(active),
            Phase::Holding { .. } | Phase::Prepared(_) | Phase::Finished(_) => None,
        }
    }

    fn answer_piece(&mut self, id: AttemptId, piece: Piece<R>, out: &mut Output<R>) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let Phase::Active(active) = &mut attempt.phase else {
            return;
        };
        active.pieces += 1;
        let answer = piece_answer(id, active.pieces, self.boot, &piece);
        active.last = Some(piece);
        for request in core::mem::take(&mut active.requests) {
            self.answer(Lane::Now, id.coordinator, request, answer.clone(), out);
        }
    }

    /// In a one-shot transaction a reader cannot know that the others hold their
    /// locks yet: it keeps its own until all votes are in.
    fn vote_and_hold(
        &mut self,
        now: Millis,
        id: AttemptId,
        results: Vec<R::Result>,
        out: &mut Output<R>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let age = match &attempt.phase {
            Phase::Active(active) => active.task.age,
            Phase::Holding { .. } | Phase::Prepared(_) | Phase::Finished(_) => return,
        };
        let requests = attempt.take_requests();
        attempt.phase = Phase::Holding {
            results: results.clone(),
            age,
        };
        if self.settings.planted.has(Bug::HolderLetsGoEarly) {
            self.release_locks(now, id);
        }
        self.send_votes(Lane::Now, id, requests, Vote::ReadOnly(results), out);
    }

    /// In an interactive transaction all locks are taken before the first
    /// prepare, so a reader is done.
    fn vote_and_let_go(
        &mut self,
        now: Millis,
        id: AttemptId,
        results: Vec<R::Result>,
        out: &mut Output<R>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let requests = attempt.take_requests();
        self.finish(id, Finished::Read(results.clone()));
        self.release_locks(now, id);
        self.send_votes(Lane::Now, id, requests, Vote::ReadOnly(results), out);
    }

    fn vote_yes(
        &mut self,
        now: Millis,
        id: AttemptId,
        peers: Vec<Peer>,
        redo_bytes: Vec<u8>,
        results: Vec<R::Result>,
        out: &mut Output<R>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let Phase::Active(active) = &mut attempt.phase else {
            return;
        };
        let redo = core::mem::take(&mut active.redo);
        let requests = core::mem::take(&mut active.requests);
        let age = active.task.age;
        let coordinator_address = core::mem::take(&mut active.task.coordinator_address);
        let begun_at = attempt.history.iter().next().map_or(now, |(_, at)| at);
        out.persist(Record::Prepared(Prepared {
            attempt: id,
            transaction: attempt.transaction,
            age,
            coordinator_address: coordinator_address.clone(),
            peers: peers.clone(),
            locks: self
                .locks
                .held_by(id)
                .map(|(key, mode)| (key.clone(), mode))
                .collect(),
            redo: redo_bytes,
            begun_at,
            at: now,
        }));
        attempt.history.enter(State::Prepared, now);
        let asking = Asking {
            coordinator_address,
            peers,
            questions: 0,
            failures: 0,
        };
        attempt.phase = Phase::Prepared(Promise {
            age,
            redo,
            results: Some(results.clone()),
            asking,
        });
        self.timers.disarm(&Timer::Lease(id));
        self.timers.disarm(&Timer::Suspect(id));
        let wait = self
            .jitter
            .backoff(self.settings.ask_first, self.settings.ask_max, 0);
        self.timers.arm(Timer::Ask(id), now + wait);
        let unforced = self.settings.planted.has(Bug::VoteNotForced);
        let lane = if unforced { Lane::Now } else { Lane::After };
        if self.settings.planted.has(Bug::PreparedLetsGo) {
            self.release_locks(now, id);
        }
        self.send_votes(lane, id, requests, Vote::Yes(Some(results)), out);
    }

    fn decide_alone(
        &mut self,
        now: Millis,
        id: AttemptId,
        hash: OperationsHash,
        redo_bytes: Vec<u8>,
        results: Vec<R::Result>,
        out: &mut Output<R>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let Phase::Active(active) = &mut attempt.phase else {
            return;
        };
        if active.wrote {
            let redo = core::mem::take(&mut active.redo);
            let redo = (redo, redo_bytes);
            self.record_alone(now, id, hash, redo, Alone::Committed(results), out);
        } else {
            let requests = attempt.take_requests();
            attempt.history.enter(State::Committed, now);
            self.finish(id, Finished::ReadAlone(results.clone()));
            self.release_locks(now, id);
            for request in requests {
                let alone = Alone::Committed(results.clone());
                let answer = Answer::DecidedAlone { attempt: id, alone };
                self.answer(Lane::Now, id.coordinator, request, answer, out);
            }
        }
    }

    /// Records a decision of our own. After a commit the locks are kept until it is
    /// durable: until then nobody may see what may yet be lost. An abort leaves nothing
    /// to see.
    pub(super) fn record_alone(
        &mut self,
        now: Millis,
        id: AttemptId,
        hash: OperationsHash,
        (redo, redo_bytes): (R::Redo, Vec<u8>),
        alone: Alone<R::Result>,
        out: &mut Output<R>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let (transaction, requests) = (attempt.transaction, attempt.take_requests());
        let state = match alone {
            Alone::Committed(_) => State::Committed,
            Alone::Aborted(_) => State::Aborted,
        };
        attempt.history.enter(state, now);
        let ending = match &alone {
            Alone::Committed(results) => {
                let encode = |result| self.resource.encode_result(result).into();
                AloneEnding::Committed(results.iter().map(encode).collect())
            }
            Alone::Aborted(refusal) => AloneEnding::Aborted(refusal.clone()),
        };
        let record = DecidedAlone {
            attempt: id,
            transaction,
            hash,
            ending: ending.clone(),
            redo: redo_bytes,
            at: now,
        };
        let lsn = out.persist(Record::DecidedAlone(record));
        if matches!(alone, Alone::Committed(_)) {
            self.apply(lsn, &redo);
        }
        let entry = alone::Entry {
            transaction,
            attempt: id,
            hash,
            ending,
            lsn,
            at: now,
        };
        if !self.settings.planted.has(Bug::AloneNotRemembered) {
            self.alone.insert(entry);
        }
        self.forget_alone(now, out);
        self.finish(id, Finished::DecidedAlone);
        let aborted = matches!(alone, Alone::Aborted(_));
        if aborted || self.settings.planted.has(Bug::AloneUnlocksEarly) {
            self.release_locks(now, id);
        } else {
            self.unlocks.push_back((lsn, id));
        }
        let unforced = self.settings.planted.has(Bug::AloneNotForced);
        let lane = if unforced { Lane::Now } else { Lane::After };
        for request in requests {
            let answer = Answer::DecidedAlone {
                attempt: id,
                alone: alone.clone(),
            };
            self.answer(lane, id.coordinator, request, answer, out);
        }
    }

    /// Makes a redo part of the data, as of the record at `lsn`.
    pub(super) fn apply(&mut self, lsn: Lsn, redo: &R::Redo) {
        let (changed, stored) = (&mut self.changed, &self.stored);
        let planted = self.settings.planted;
        self.resource.apply(redo, &mut |key| {
            let newer = stored.get(key).is_some_and(|at| *at >= lsn);
            if newer && !planted.has(Bug::AppliedTwice) {
                return false;
            }
            changed.insert(key.to_vec(), lsn);
            true
        });
    }

    pub(super) fn send_votes(
        &mut self,
        lane: Lane,
        id: AttemptId,
        requests: Vec<RequestId>,
        vote: Vote<R::Result>,
        out: &mut Output<R>,
    ) {
        // The last one takes the vote itself: most often there is only one.
        let votes = core::iter::repeat_n(vote, requests.len());
        for (request, vote) in requests.into_iter().zip(votes) {
            let answer = Answer::Voted {
                attempt: id,
                boot: self.boot,
                log_end: out.appended(),
                life: self.life(),
                vote,
            };
            self.answer(lane, id.coordinator, request, answer, out);
        }
    }

    /// Reads without locks. Data may hold what is appended and not yet durable,
    /// so the answer is a promise like any other.
    pub(super) fn peek(
        &mut self,
        now: Millis,
        request: RequestId,
        action: &R::Action,
        out: &mut Output<R>,
    ) {
        let mut holder = None;
        self.resource.locks(action, &mut |key, _| {
            holder = holder.or_else(|| {
                self.locks
                    .holders_of(&key)
                    .find(|id| self.attempts.get(id).is_some_and(|it| it.is_prepared()))
            });
        });
        // What a peek reads is nobody's transaction; the id is only passed on to
        // actions that write, and those are not for peeking.
        let read = |id, redo: &mut R::Redo| self.resource.execute(now, id, action, redo);
        let nobody = crate::id::TransactionId::from_parts(now, 0);
        let committed = read(nobody, &mut R::Redo::default());
        let pending = holder.and_then(|id| match &self.attempts.get(&id)?.phase {
            Phase::Prepared(promise) => Some(read(nobody, &mut promise.redo.clone())),
            Phase::Active(_) | Phase::Holding { .. } | Phase::Finished(_) => None,
        });
        out.after
            .push(reply::<R>(request, Reply::Peeked { committed, pending }));
    }

    pub(super) fn has_active_work(&self) -> bool {
        self.attempts
            .values()
            .any(|attempt| matches!(attempt.phase, Phase::Active(_) | Phase::Holding { .. }))
    }
}

impl<R: Resource> Attempt<R> {
    /// Whoever waits for what is in hand.
    pub(super) fn take_requests(&mut self) -> Vec<RequestId> {
        match &mut self.phase {
            Phase::Active(active) => core::mem::take(&mut active.requests),
            Phase::Holding { .. } | Phase::Prepared(_) | Phase::Finished(_) => Vec::new(),
        }
    }

    pub(super) const fn is_prepared(&self) -> bool {
        matches!(self.phase, Phase::Prepared(_))
    }
}

/// Why nobody can say any more what became of a transaction.
pub(super) fn forgotten_here(transaction: TransactionId) -> Refusal {
    let why = format!("transaction {transaction} is as old as outcomes forgotten here");
    Refusal::new(Reason::OUTCOME_FORGOTTEN, why)
}
