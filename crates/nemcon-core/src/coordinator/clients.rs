//! What clients ask for: to run a transaction, and to end it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::event::{AddressedOperation, Begin, Ending, Reply, Report, State};
use super::record::Cause;
use super::transaction::{Phase, Stamps, Then, Transaction};
use super::{Coordinator, Drain, Output, Timer, refuse, reply};
use crate::history::History;
use crate::id::{ParticipantName, RequestId, TransactionId};
use crate::limits;
use crate::message::OperationsHash;
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::time::{Millis, Tick};

impl Coordinator {
    /// Runs a one-shot transaction, or joins the one that runs under this id, or
    /// answers with what became of it.
    pub(super) fn run(
        &mut self,
        now: Millis,
        request: RequestId,
        begin: Begin,
        hash: OperationsHash,
        operations: Vec<AddressedOperation>,
        out: &mut Output,
    ) {
        if self.answer_known(now, request, &begin, Some(hash), out) {
            return;
        }
        let only_reads = operations.iter().all(|(_, operation)| operation.read_only);
        if let Err(refusal) = self
            .admit(now, &begin)
            .and_then(|()| self.check(&operations))
            .and_then(|()| self.has_room(only_reads))
        {
            return out.now.push(refuse(request, refusal));
        }
        let transaction = begin.transaction;
        let mut txn = self.new_transaction(now, &begin, hash, vec![request], out.tick());
        let asked = self.unanswered.get(&transaction);
        // The same participant is asked the same once more: it does nothing twice.
        txn.asked_before = asked == Some(&hash);
        let is_other = asked.is_some_and(|asked| *asked != hash);
        self.transactions.insert(transaction, txn);
        self.timers
            .arm(Timer::Deadline(transaction), self.deadline(now, &begin));
        let unasked = self.settings.planted.has(Bug::AloneNotAskedAbout);
        let old = transaction.minted_at() <= self.horizon.recovered && !unasked;
        if old || is_other {
            self.inquire(now, transaction, Then::Start(operations), out);
        } else {
            self.start(now, transaction, operations, out);
        }
    }

    /// Begins an interactive transaction.
    pub(super) fn begin(
        &mut self,
        now: Millis,
        request: RequestId,
        begin: Begin,
        out: &mut Output,
    ) {
        if let Some(txn) = self.transactions.get(&begin.transaction)
            && matches!(txn.phase, Phase::Open(_))
        {
            let begun = Reply::Begun { epoch: self.epoch };
            return out.now.push(reply(request, begun));
        }
        if self.answer_known(now, request, &begin, None, out) {
            return;
        }
        if let Err(refusal) = self.admit(now, &begin).and_then(|()| self.has_room(false)) {
            return out.now.push(refuse(request, refusal));
        }
        let transaction = begin.transaction;
        let hash = OperationsHash([0; 32]);
        let mut txn = self.new_transaction(now, &begin, hash, Vec::new(), out.tick());
        txn.one_shot = false;
        self.timers.arm(Timer::Deadline(transaction), txn.deadline);
        let asked = self.unanswered.contains_key(&transaction);
        if transaction.minted_at() <= self.horizon.recovered || asked {
            txn.waiters.push(request);
            self.transactions.insert(transaction, txn);
            self.inquire(now, transaction, Then::Open, out);
        } else {
            self.transactions.insert(transaction, txn);
            self.open_interactive(transaction);
            let begun = Reply::Begun { epoch: self.epoch };
            out.now.push(reply(request, begun));
        }
    }

    fn deadline(&self, now: Millis, begin: &Begin) -> Millis {
        let timeout = begin.timeout.unwrap_or(self.settings.timeout_default);
        now + timeout.min(limits::DEADLINE_MAX)
    }

    pub(super) fn new_transaction(
        &self,
        now: Millis,
        begin: &Begin,
        hash: OperationsHash,
        waiters: Vec<RequestId>,
        tick: Tick,
    ) -> Box<Transaction> {
        let mut history = History::default();
        history.enter(State::Init, now);
        Box::new(Transaction {
            age: begin.age,
            hash,
            attempt: Default::default(),
            begun_at: now,
            deadline: self.deadline(now, begin),
            history,
            phase: Phase::Open(Box::default()),
            one_shot: true,
            read_only: false,
            operations: 0,
            branches: BTreeMap::new(),
            asked_before: false,
            waiters,
            stamps: Stamps {
                begun: Some(tick),
                ..Stamps::default()
            },
            tried: None,
        })
    }

    /// Answers a request under an id that is running or remembered. False if the
    /// id is neither.
    fn answer_known(
        &mut self,
        now: Millis,
        request: RequestId,
        begin: &Begin,
        hash: Option<OperationsHash>,
        out: &mut Output,
    ) -> bool {
        let transaction = begin.transaction;
        let planted = &self.settings.planted;
        let is_other = if let Some(txn) = self.transactions.get(&transaction) {
            if planted.has(Bug::RunningRunsTwice) {
                return false;
            }
            hash.is_some_and(|hash| hash != txn.hash)
        } else if let Some(known) = self.memory.get(transaction) {
            if planted.has(Bug::RememberedRunsAgain) {
                return false;
            }
            hash.is_some_and(|hash| !known.has(hash))
        } else {
            return false;
        };
        if is_other && !planted.has(Bug::HashNotCompared) {
            let why = format!(
                "transaction id {transaction} was used for other operations; choose a new one"
            );
            let refusal = Refusal::new(Reason::TRANSACTION_ID_REUSED, why);
            out.now.push(refuse(request, refusal));
        } else {
            self.wait_for_outcome(now, request, transaction, out);
        }
        true
    }

    /// Answers with the outcome of a known transaction, at once or when it is
    /// durable.
    pub(super) fn wait_for_outcome(
        &mut self,
        now: Millis,
        request: RequestId,
        transaction: TransactionId,
        out: &mut Output,
    ) {
        if let Some(report) = self.memory.report(transaction) {
            // Its record may still ride on a later flush.
            return out.after.push(reply(request, Reply::Finished(report)));
        }
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        let ending = match &txn.phase {
            Phase::Deciding | Phase::Committing => Ending::Committed(txn.results()),
            Phase::Aborting(cause) => Ending::Aborted(cause.clone()),
            Phase::Inquiring { .. } | Phase::Open(_) | Phase::Preparing | Phase::Releasing => {
                return txn.waiters.push(request);
            }
            Phase::Alone => {
                // Its deadline may have passed; whoever asks then waits a while
                // for the participant, and is told "unknown" after that.
                let until = txn.deadline.max(now + self.settings.call_timeout);
                txn.waiters.push(request);
                return self.timers.arm(Timer::Deadline(transaction), until);
            }
        };
        let report = Report {
            transaction,
            ending,
        };
        out.after.push(reply(request, Reply::Finished(report)));
    }

    /// Whether a transaction under an unknown id may begin.
    pub(super) fn admit(&self, now: Millis, begin: &Begin) -> Result<(), Refusal> {
        let id = begin.transaction;
        if self.drain != Drain::No {
            let why = "the coordinator is stopping; send again";
            return Err(Refusal::retryable(Reason::NOT_SERVING, why));
        }
        if let Some(first) = begin.first_sent_to
            && first != self.identity
            && !self.settings.planted.has(Bug::AnotherCoordinatorRuns)
        {
            let why = format!(
                "the request first went to coordinator {first}, and this is {}; only that one \
                 knows what became of it",
                self.identity
            );
            return Err(Refusal::new(Reason::WRONG_COORDINATOR, why));
        }
        let unmarked = self.settings.planted.has(Bug::ForgottenWithoutWatermark);
        if self.memory.may_have_forgotten(id) && !unmarked {
            let why = format!("transaction {id} is as old as outcomes that were forgotten");
            return Err(Refusal::new(Reason::OUTCOME_FORGOTTEN, why));
        }
        let ahead = id.minted_at().since(now);
        if ahead > limits::ID_AHEAD_MAX {
            let why = format!(
                "transaction id {id} lies {ahead} ahead of the coordinator's clock; at most {} \
                 are allowed",
                limits::ID_AHEAD_MAX
            );
            return Err(Refusal::new(Reason::TRANSACTION_ID_AHEAD, why));
        }
        if self.transactions.len() >= self.settings.running_max {
            let why = format!(
                "{} transactions are running; slow down",
                self.transactions.len()
            );
            return Err(Refusal::retryable(Reason::TOO_MANY_REQUESTS, why));
        }
        Ok(())
    }

    /// Whether the log has room for a transaction; one that only reads needs none.
    fn has_room(&self, only_reads: bool) -> Result<(), Refusal> {
        match self.room.refusal("the coordinator") {
            Some(refusal) if !only_reads => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Whether the operations can be sent out at all.
    pub(super) fn check(&self, operations: &[AddressedOperation]) -> Result<(), Refusal> {
        let count = operations.len();
        if count == 0 || count > limits::OPERATIONS_MAX {
            let why = format!("{count} operations; want 1 to {}", limits::OPERATIONS_MAX);
            return Err(Refusal::new(Reason::INVALID_REQUEST, why));
        }
        let names: BTreeSet<&ParticipantName> = operations.iter().map(|(name, _)| name).collect();
        if names.len() > limits::PARTICIPANTS_MAX {
            let why = format!(
                "{} participants; want at most {}",
                names.len(),
                limits::PARTICIPANTS_MAX
            );
            return Err(Refusal::new(Reason::INVALID_REQUEST, why));
        }
        let unknown = names
            .into_iter()
            .find(|name| !self.members.contains_key(*name));
        unknown.map_or(Ok(()), |name| Err(self.unknown_participant(name)))
    }

    /// Asks everyone whether they decided this id alone before our restart.
    pub(super) fn inquire(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        then: Then,
        out: &mut Output,
    ) {
        let unanswered: BTreeSet<ParticipantName> = self.members.keys().cloned().collect();
        if let Some(away) = self.members.iter().find(|(_, member)| !member.reachable) {
            let away = away.0.clone();
            return self.give_up_inquiry(transaction, &away, out);
        }
        for member in self.members.values_mut() {
            member.inquiries.insert(transaction);
        }
        if let Some(txn) = self.transactions.get_mut(&transaction) {
            txn.phase = Phase::Inquiring {
                unanswered: unanswered.clone(),
                then,
            };
        }
        for participant in &unanswered {
            self.call(now, transaction, participant, out);
        }
    }

    pub(super) fn inquiry_failed(
        &mut self,
        transaction: TransactionId,
        participant: &ParticipantName,
        out: &mut Output,
    ) {
        let txn = self.transactions.get(&transaction);
        if matches!(txn.map(|txn| &txn.phase), Some(Phase::Inquiring { .. })) {
            self.give_up_inquiry(transaction, participant, out);
        }
    }

    /// It may have run, and who knows cannot be reached: nobody is told anything
    /// else than that.
    fn give_up_inquiry(
        &mut self,
        transaction: TransactionId,
        participant: &ParticipantName,
        out: &mut Output,
    ) {
        let why = format!(
            "transaction {transaction} may have been decided by participant {participant} before \
             the coordinator restarted, and it cannot be reached now; ask again"
        );
        self.drop_unstarted(
            transaction,
            Refusal::retryable(Reason::OUTCOME_UNKNOWN, why),
            out,
        );
    }

    /// Ends a transaction that never started, with a refusal.
    pub(super) fn drop_unstarted(
        &mut self,
        transaction: TransactionId,
        refusal: Refusal,
        out: &mut Output,
    ) {
        for request in self.end_inquiry(transaction) {
            out.now.push(refuse(request, refusal.clone()));
        }
        self.transactions.remove(&transaction);
        self.timers.disarm(&Timer::Deadline(transaction));
    }

    /// Takes back everything an inquiry has left with the members. Returns who
    /// waits.
    pub(super) fn end_inquiry(&mut self, transaction: TransactionId) -> Vec<RequestId> {
        for (name, member) in &mut self.members {
            if member.inquiries.remove(&transaction) {
                self.timers
                    .disarm(&Timer::Repeat(transaction, name.clone()));
            }
        }
        let txn = self.transactions.get_mut(&transaction);
        txn.map(|txn| core::mem::take(&mut txn.waiters))
            .unwrap_or_default()
    }

    pub(super) fn abort_requested(
        &mut self,
        now: Millis,
        request: RequestId,
        transaction: TransactionId,
        why: String,
        out: &mut Output,
    ) {
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            if self.memory.get(transaction).is_some() {
                return self.wait_for_outcome(now, request, transaction, out);
            }
            return out
                .now
                .push(refuse(request, self.unknown_transaction(transaction)));
        };
        match &txn.phase {
            Phase::Open(_) | Phase::Preparing | Phase::Releasing => {
                txn.waiters.push(request);
                let why = if why.is_empty() {
                    String::from("a client asked for it")
                } else {
                    why
                };
                let refusal = Refusal::new(Reason::ABORT_REQUESTED, why);
                self.abort(
                    now,
                    transaction,
                    Cause {
                        refusal,
                        participant: None,
                    },
                    out,
                );
            }
            Phase::Inquiring { .. } | Phase::Alone => {
                let why = format!(
                    "a participant decides transaction {transaction} alone, and its answer is \
                     awaited; ask again"
                );
                out.now.push(refuse(
                    request,
                    Refusal::retryable(Reason::OUTCOME_UNKNOWN, why),
                ));
            }
            Phase::Deciding | Phase::Committing | Phase::Aborting(_) => {
                self.wait_for_outcome(now, request, transaction, out);
            }
        }
    }

    /// Why an unknown id does not run after a restoration from a backup.
    pub(super) fn lost_before_restoration(&self, transaction: TransactionId) -> Refusal {
        let through = self.lost_through().unwrap_or_default();
        let why = format!(
            "the coordinator was restored from a backup, and may have carried out transaction \
             {transaction} after that; ids with a time up to {} ms since 1970 are not run: look \
             at the participants whether it was carried out, and run it under a new id if not",
            through.0
        );
        Refusal::new(Reason::OUTCOME_FORGOTTEN, why)
    }

    /// Why nothing can be said of a transaction that is not known here.
    pub(super) fn unknown_transaction(&self, transaction: TransactionId) -> Refusal {
        let asked = self.unanswered.contains_key(&transaction);
        if transaction.minted_at() <= self.horizon.recovered || asked {
            let when = if asked {
                ""
            } else {
                " before the coordinator restarted"
            };
            let why = format!(
                "transaction {transaction} is not known here, but a participant may have decided \
                 it alone{when}; send it again under the same id to learn the outcome"
            );
            return Refusal::retryable(Reason::OUTCOME_UNKNOWN, why);
        }
        let why = if self.memory.may_have_forgotten(transaction) {
            format!("transaction {transaction} is not known; outcomes of its time were forgotten")
        } else {
            format!(
                "transaction {transaction} is not known here. That proves nothing: it may have \
                 gone to another coordinator or still be on its way"
            )
        };
        Refusal::new(Reason::UNKNOWN_TRANSACTION, why)
    }
}
