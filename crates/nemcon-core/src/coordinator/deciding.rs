//! Starts attempts, counts votes, and ends transactions.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::event::{AddressedOperation, Effect, Ending, Reply, Report, State, VoteKind};
use super::memory::Remembered;
use super::record::{Aborted, Cause, Decided, Record};
use super::statistics::Sample;
use super::transaction::{Phase, Transaction};
use super::{Coordinator, Output, Timer, refuse, reply};
use crate::id::{Boot, LogPosition, Lsn, ParticipantName, Position, TransactionId};
use crate::message::{Alone, Payload, ToParticipant, Vote};
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::time::Millis;

impl Coordinator {
    /// Starts a one-shot transaction whose id is known to be new.
    pub(super) fn start(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        operations: Vec<AddressedOperation>,
        out: &mut Output,
    ) {
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        let only_reads = operations.iter().all(|(_, operation)| operation.read_only);
        txn.assign(operations);
        txn.read_only = only_reads && txn.branches.len() > 1;
        self.start_attempt(now, transaction, out);
    }

    /// Begins an attempt and asks its participants.
    pub(super) fn start_attempt(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        out: &mut Output,
    ) {
        let position = self.next_position();
        self.attempts.insert(position, transaction);
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        txn.attempt = position;
        self.ask_for_votes(now, transaction, out);
    }

    /// Asks the participants of the present attempt to vote, or the only one to
    /// decide.
    pub(super) fn ask_for_votes(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        out: &mut Output,
    ) {
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        txn.history.enter(State::Preparing, now);
        txn.stamps.asked = Some(out.tick());
        let decided_here = txn.tried.is_some() && !self.settings.planted.has(Bug::SagaOnePhase);
        txn.phase = if txn.branches.len() == 1 && !decided_here {
            Phase::Alone
        } else {
            Phase::Preparing
        };
        let position = txn.attempt;
        let participants: Vec<ParticipantName> = txn.branches.keys().cloned().collect();
        for participant in &participants {
            if let Some(member) = self.members.get_mut(participant) {
                member.unfinished.insert(position);
            }
        }
        // From here on each floor is held only where there is business.
        self.open.remove(&position);
        self.note_change(transaction, out);
        for participant in &participants {
            self.call(now, transaction, participant, out);
        }
    }

    /// The transaction of an attempt that is still running.
    pub(super) fn running(
        &mut self,
        position: Position,
    ) -> Option<(TransactionId, &mut Transaction)> {
        let transaction = *self.attempts.get(&position)?;
        let txn = self.transactions.get_mut(&transaction)?;
        (txn.attempt == position).then_some((transaction, txn))
    }

    pub(super) fn voted(
        &mut self,
        now: Millis,
        from: &ParticipantName,
        position: Position,
        log: LogPosition,
        vote: Vote<Payload>,
        out: &mut Output,
    ) {
        let planted = self.settings.planted;
        let old_copy = self.refusal_of_another_life(from, log);
        let Some((transaction, txn)) = self.running(position) else {
            return;
        };
        if !matches!(txn.phase, Phase::Preparing) {
            return;
        }
        if now >= txn.deadline {
            return self.deadline_passed(now, transaction, out);
        }
        let Some(branch) = txn.branches.get_mut(from) else {
            return;
        };
        if branch.vote.is_some() {
            return;
        }
        branch.tries = 0;
        // What it would promise, it might have promised otherwise before.
        let vote = old_copy.map_or(vote, Vote::No);
        match vote {
            Vote::Yes(results) => {
                branch.vote = Some(VoteKind::Yes);
                // Results of an interactive transaction were answered before.
                branch.results = results;
                branch.promised = (log.lsn > Lsn(0)).then_some(log);
            }
            Vote::ReadOnly(results) => {
                branch.vote = Some(VoteKind::ReadOnly);
                branch.results = Some(results);
                branch.boot = Some(log.boot);
            }
            Vote::No(_) if planted.has(Bug::NoCountedAsYes) => {
                branch.vote = Some(VoteKind::Yes);
                branch.results = Some(Vec::new());
            }
            Vote::No(refusal) => {
                branch.vote = Some(VoteKind::No);
                let cause = Cause {
                    refusal,
                    participant: Some(from.clone()),
                };
                return self.abort(now, transaction, cause, out);
            }
        }
        let hasty = planted.has(Bug::VoteNotAwaited);
        let complete = txn.all_voted() || hasty && txn.voters().count() + 1 >= txn.branches.len();
        self.timers
            .disarm(&Timer::Repeat(transaction, from.clone()));
        if complete {
            self.all_voted(now, transaction, out);
        }
    }

    /// Everyone has voted, and nobody voted no.
    fn all_voted(&mut self, now: Millis, transaction: TransactionId, out: &mut Output) {
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        txn.stamps.voted = Some(out.tick());
        // A step of a saga that only read has its outcome in the log as well.
        if txn.voters().next().is_some() || txn.tried.is_some() {
            return self.decide(now, transaction, out);
        }
        if !(txn.one_shot && txn.read_only) {
            return self.end_unlogged(now, transaction, None, out);
        }
        txn.phase = Phase::Releasing;
        txn.history.enter(State::Prepared, now);
        let participants: Vec<ParticipantName> = txn.branches.keys().cloned().collect();
        self.note_change(transaction, out);
        for participant in &participants {
            self.call(now, transaction, participant, out);
        }
    }

    /// The point of no return. The record is appended here; nothing is said
    /// before it is durable, and nothing aborts any more.
    fn decide(&mut self, now: Millis, transaction: TransactionId, out: &mut Output) {
        let kept = match self.kept_results(transaction) {
            Ok(kept) => kept,
            Err(refusal) => {
                let cause = Cause {
                    refusal,
                    participant: None,
                };
                return self.abort(now, transaction, cause, out);
            }
        };
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        let voters: Vec<ParticipantName> = txn.voters().cloned().collect();
        let promised = txn.promised();
        let readers = txn
            .branches
            .iter()
            .filter(|(_, b)| b.vote == Some(VoteKind::ReadOnly));
        let readers: Vec<ParticipantName> = readers.map(|(name, _)| name.clone()).collect();
        let position = txn.attempt;
        let lsn = out.persist(Record::Decided(Decided {
            attempt: position,
            transaction,
            hash: txn.hash,
            voters: voters.clone(),
            begun_at: txn.begun_at,
            at: now,
            promised: Some(promised.clone()).filter(|all| all.iter().any(|it| it.lsn > Lsn(0))),
            results: kept.clone(),
        }));
        txn.phase = Phase::Deciding;
        txn.history.enter(State::Prepared, now);
        let ending = Ending::Committed(txn.results());
        let holds_until_told = txn.one_shot && txn.read_only;
        let attempt = self.attempt_id(position);
        self.undurable.push_back((lsn, transaction));
        if !self.settings.planted.has(Bug::DeadlineAbortsDecided) {
            self.timers.disarm(&Timer::Deadline(transaction));
        }
        self.saga_try_committed(now, transaction, kept);
        for (voter, promised) in voters.iter().zip(promised) {
            self.note_promise(voter, promised);
        }
        for reader in &readers {
            if let Some(member) = self.members.get_mut(reader) {
                member.unfinished.remove(&position);
            }
            if holds_until_told {
                out.now
                    .extend(self.frame(reader, ToParticipant::Release(attempt)));
            }
        }
        let answers = self.answers(transaction, ending);
        let unforced = self.settings.planted.has(Bug::DecisionNotForced);
        let lane = if unforced {
            &mut out.now
        } else {
            &mut out.after
        };
        lane.extend(answers);
        for voter in &voters {
            if self
                .members
                .get(voter)
                .is_some_and(|member| member.reachable)
            {
                lane.extend(self.frame(voter, ToParticipant::Commit(attempt)));
            }
        }
        self.note_change(transaction, out);
    }

    /// The answers to everyone who waits. The caller chooses the lane.
    fn answers(&mut self, transaction: TransactionId, ending: Ending) -> Vec<Effect> {
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return Vec::new();
        };
        let mut waiters = core::mem::take(&mut txn.waiters);
        if let Phase::Open(piece) = &mut txn.phase {
            waiters.append(&mut piece.requests);
        }
        let finished = |(request, ending)| {
            let report = Report {
                transaction,
                ending,
            };
            reply(request, Reply::Finished(report))
        };
        // The last one takes the ending itself: most often there is only one.
        let endings = core::iter::repeat_n(ending, waiters.len());
        waiters.into_iter().zip(endings).map(finished).collect()
    }

    /// Aborts a transaction that is not decided. Needs no record to be true, only
    /// to be said.
    pub(super) fn abort(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        cause: Cause,
        out: &mut Output,
    ) {
        self.recall(transaction, out);
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        if txn.read_only {
            return self.end_unlogged(now, transaction, Some(cause), out);
        }
        txn.history.enter(State::Aborting, now);
        txn.stamps.voted.get_or_insert(out.tick());
        let lsn = out.persist(Record::Aborted(Aborted {
            attempt: txn.attempt,
            transaction,
            hash: txn.hash,
            cause: cause.clone(),
            begun_at: txn.begun_at,
            at: now,
        }));
        self.undurable.push_back((lsn, transaction));
        self.saga_try_aborted(now, transaction, &cause);
        let answers = self.answers(transaction, Ending::Aborted(cause.clone()));
        if self.settings.planted.has(Bug::AbortNotForced) {
            out.now.extend(answers);
        } else {
            out.after.extend(answers);
        }
        if let Some(txn) = self.transactions.get_mut(&transaction) {
            txn.phase = Phase::Aborting(cause);
        }
        self.note_change(transaction, out);
    }

    /// Ends the present attempt: tells whoever may work on it that it aborts, and
    /// lets go of the floors.
    fn recall(&mut self, transaction: TransactionId, out: &mut Output) {
        let Some(txn) = self.transactions.get(&transaction) else {
            return;
        };
        let attempt = self.attempt_id(txn.attempt);
        let concerned = txn
            .branches
            .iter()
            .filter(|(_, branch)| branch.sent && branch.vote != Some(VoteKind::No));
        let concerned: Vec<ParticipantName> = concerned.map(|(name, _)| name.clone()).collect();
        self.close_attempt(transaction);
        for participant in &concerned {
            if self
                .members
                .get(participant)
                .is_some_and(|member| member.reachable)
            {
                out.now
                    .extend(self.frame(participant, ToParticipant::Abort(attempt)));
            }
        }
    }

    /// Lets go of everything the present attempt holds here.
    fn close_attempt(&mut self, transaction: TransactionId) {
        let Some(txn) = self.transactions.get(&transaction) else {
            return;
        };
        self.attempts.remove(&txn.attempt);
        self.open.remove(&txn.attempt);
        for participant in txn.branches.keys() {
            if let Some(member) = self.members.get_mut(participant) {
                member.unfinished.remove(&txn.attempt);
            }
            self.timers
                .disarm(&Timer::Repeat(transaction, participant.clone()));
        }
        self.timers.disarm(&Timer::Deadline(transaction));
    }

    pub(super) fn deadline_passed(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        out: &mut Output,
    ) {
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        let sent = txn.asked_before || txn.branches.values().any(|branch| branch.sent);
        match &txn.phase {
            Phase::Inquiring { .. } => {
                let why = format!("transaction {transaction} could not be looked up in time");
                let refusal = Refusal::retryable(Reason::OUTCOME_UNKNOWN, why);
                self.drop_unstarted(transaction, refusal, out);
            }
            Phase::Alone if sent && !self.settings.planted.has(Bug::AloneDeadlineAborts) => {
                let why = format!(
                    "the only participant decides transaction {transaction} and has not answered \
                     in time; ask again"
                );
                let refusal = Refusal::retryable(Reason::OUTCOME_UNKNOWN, why);
                for request in core::mem::take(&mut txn.waiters) {
                    out.now.push(refuse(request, refusal.clone()));
                }
            }
            Phase::Open(_) | Phase::Preparing | Phase::Releasing | Phase::Alone => {
                let silent = txn
                    .branches
                    .iter()
                    .find(|(_, b)| b.vote.is_none() && txn.one_shot);
                let participant = silent.map(|(name, _)| name.clone());
                let refusal = self.late(transaction, participant.as_ref());
                self.abort(
                    now,
                    transaction,
                    Cause {
                        refusal,
                        participant,
                    },
                    out,
                );
            }
            Phase::Deciding if self.settings.planted.has(Bug::DeadlineAbortsDecided) => {
                let refusal = self.late(transaction, None);
                let participant = None;
                self.abort(
                    now,
                    transaction,
                    Cause {
                        refusal,
                        participant,
                    },
                    out,
                );
            }
            Phase::Deciding | Phase::Committing | Phase::Aborting(_) => {}
        }
    }

    fn late(&self, transaction: TransactionId, silent: Option<&ParticipantName>) -> Refusal {
        let who = match silent.map(|name| (name, self.members.get(name))) {
            Some((name, Some(member))) if !member.reachable => {
                format!(
                    "; participant {name} at {} cannot be reached",
                    member.address
                )
            }
            Some((name, _)) => format!("; participant {name} has not voted"),
            None => String::new(),
        };
        let why = format!("transaction {transaction} was not decided by its deadline{who}");
        Refusal::retryable(Reason::DEADLINE_EXCEEDED, why)
    }

    /// The decision or the abort of a transaction has become durable.
    pub(super) fn end_is_durable(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        lsn: Lsn,
        out: &mut Output,
    ) {
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        match &txn.phase {
            Phase::Deciding => {
                txn.phase = Phase::Committing;
                txn.history.enter(State::Committing, now);
                txn.stamps.decided = Some(out.tick());
                let voters: Vec<ParticipantName> = txn.voters().cloned().collect();
                let patience = self.settings.call_timeout;
                // A step of a saga that only read: nobody has promised anything.
                if voters.is_empty() {
                    return self.end_committed(now, transaction, out);
                }
                for voter in voters {
                    self.timers
                        .arm(Timer::Repeat(transaction, voter), now + patience);
                }
                self.note_change(transaction, out);
            }
            Phase::Aborting(cause) => {
                let ending = Ending::Aborted(cause.clone());
                txn.history.enter(State::Aborted, now);
                self.note_change(transaction, out);
                self.remember(now, transaction, ending, Some(lsn), out);
            }
            Phase::Inquiring { .. }
            | Phase::Open(_)
            | Phase::Preparing
            | Phase::Releasing
            | Phase::Alone
            | Phase::Committing => {}
        }
    }

    pub(super) fn acknowledged(
        &mut self,
        now: Millis,
        from: &ParticipantName,
        position: Position,
        out: &mut Output,
    ) {
        let Some((transaction, txn)) = self.running(position) else {
            return;
        };
        if !matches!(txn.phase, Phase::Committing) {
            return;
        }
        let Some(branch) = txn.branches.get_mut(from) else {
            return;
        };
        branch.acknowledged = true;
        let open =
            |b: &super::transaction::Branch| b.vote == Some(VoteKind::Yes) && !b.acknowledged;
        let complete = !txn.branches.values().any(open)
            || self.settings.planted.has(Bug::FirstAcknowledgementEnds);
        if let Some(member) = self.members.get_mut(from) {
            member.unfinished.remove(&position);
        }
        self.timers
            .disarm(&Timer::Repeat(transaction, from.clone()));
        if complete {
            self.end_committed(now, transaction, out);
        }
    }

    /// Everyone has acknowledged.
    pub(super) fn end_committed(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        out: &mut Output,
    ) {
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        let lsn = out.persist(Record::Ended {
            attempt: txn.attempt,
            at: now,
        });
        txn.history.enter(State::Committed, now);
        let ending = Ending::Committed(txn.take_results());
        self.note_change(transaction, out);
        self.close_attempt(transaction);
        self.remember(now, transaction, ending, Some(lsn), out);
    }

    /// Ends a transaction of which nothing is written down here: it only read, or
    /// a participant remembers it. `cause`: it aborted.
    pub(super) fn end_unlogged(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        cause: Option<Cause>,
        out: &mut Output,
    ) {
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        let (ending, state) = match cause {
            Some(cause) => (Ending::Aborted(cause), State::Aborted),
            None => (Ending::Committed(txn.results()), State::Committed),
        };
        txn.history.enter(state, now);
        out.now.extend(self.answers(transaction, ending.clone()));
        self.note_change(transaction, out);
        self.close_attempt(transaction);
        self.remember(now, transaction, ending, None, out);
    }

    /// The only participant has decided.
    pub(super) fn decided_alone(
        &mut self,
        now: Millis,
        from: &ParticipantName,
        position: Position,
        alone: Alone<Payload>,
        out: &mut Output,
    ) {
        let Some((transaction, txn)) = self.running(position) else {
            return;
        };
        if !matches!(txn.phase, Phase::Alone) {
            return;
        }
        let Some(branch) = txn.branches.get_mut(from) else {
            return;
        };
        txn.stamps.voted = Some(out.tick());
        let cause = match alone {
            Alone::Committed(results) => {
                branch.vote = Some(VoteKind::Yes);
                branch.acknowledged = true;
                branch.results = Some(results);
                None
            }
            Alone::Aborted(refusal) => {
                branch.vote = Some(VoteKind::No);
                Some(Cause {
                    refusal,
                    participant: Some(from.clone()),
                })
            }
        };
        self.end_unlogged(now, transaction, cause, out);
    }

    /// The only participant would not decide: it refused the request itself.
    pub(super) fn refused_alone(
        &mut self,
        transaction: TransactionId,
        refusal: Refusal,
        out: &mut Output,
    ) {
        self.close_attempt(transaction);
        let Some(txn) = self.transactions.remove(&transaction) else {
            return;
        };
        // It may have decided before that. Until it says so nobody may be told that
        // the transaction aborted, and no other runs under its id.
        if refusal.reason != Reason::TRANSACTION_ID_REUSED {
            self.unanswered.insert(transaction, txn.hash);
            if self.unanswered.len() > self.settings.remember_max
                && let Some((oldest, _)) = self.unanswered.pop_first()
            {
                self.memory.set_forgotten(oldest.minted_at());
            }
        }
        for request in txn.waiters {
            out.now.push(refuse(request, refusal.clone()));
        }
    }

    /// A reader has let go. With the boot number it voted with, it held its locks
    /// until all votes were in; with another or none it may not have, and what
    /// was read together was perhaps never true together.
    pub(super) fn released(
        &mut self,
        now: Millis,
        from: &ParticipantName,
        position: Position,
        boot: Option<Boot>,
        out: &mut Output,
    ) {
        let planted = self.settings.planted;
        let Some((transaction, txn)) = self.running(position) else {
            return;
        };
        if !matches!(txn.phase, Phase::Releasing) {
            return;
        }
        let Some(branch) = txn.branches.get_mut(from) else {
            return;
        };
        let proven = boot.is_some() && branch.boot == boot;
        if !proven && !planted.has(Bug::ReleaseWithoutProof) {
            return self.run_again(now, transaction, out);
        }
        branch.released = true;
        let complete = txn.branches.values().all(|branch| branch.released);
        self.timers
            .disarm(&Timer::Repeat(transaction, from.clone()));
        if complete {
            self.end_unlogged(now, transaction, None, out);
        }
    }

    /// Tries a read-only transaction again, as a new attempt.
    fn run_again(&mut self, now: Millis, transaction: TransactionId, out: &mut Output) {
        self.recall(transaction, out);
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        txn.stamps.voted = None;
        let deadline = txn.deadline;
        for branch in txn.branches.values_mut() {
            branch.reset();
        }
        self.timers.arm(Timer::Deadline(transaction), deadline);
        self.start_attempt(now, transaction, out);
    }

    /// Moves a finished transaction to the memory, and forgets what is too much.
    /// `logged`: the record of its end, if it has one.
    pub(super) fn remember(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        ending: Ending,
        logged: Option<Lsn>,
        out: &mut Output,
    ) {
        let Some(txn) = self.transactions.remove(&transaction) else {
            return;
        };
        self.unanswered.remove(&transaction);
        let has_commit_phase = logged.is_some() && txn.voters().next().is_some();
        let sample = Sample::of(now, &txn.stamps, &ending, has_commit_phase, out.tick());
        self.count(sample, out);
        let branches = super::view::branches(&txn);
        let Transaction {
            hash,
            attempt,
            history,
            ..
        } = *txn;
        let remembered = Remembered {
            hash,
            attempt,
            ending,
            history,
            branches,
            at: now,
            logged,
        };
        self.memory
            .insert(transaction, remembered, self.settings.results_max);
        self.forget(now, out);
    }

    /// Forgets outcomes that are too many or too old.
    pub(super) fn forget(&mut self, now: Millis, out: &mut Output) {
        let (max, age) = (self.settings.remember_max, self.settings.remember_for);
        self.memory.forget(now, max, age, |through| {
            out.persist(Record::Forgotten { through })
        });
    }

    /// Tells those who watch that a transaction has changed.
    pub(super) fn note_change(&self, transaction: TransactionId, out: &mut Output) {
        if out.is_watched()
            && let Some(txn) = self.transactions.get(&transaction)
        {
            out.now.push(Effect::Changed(self.view(transaction, txn)));
        }
    }
}
