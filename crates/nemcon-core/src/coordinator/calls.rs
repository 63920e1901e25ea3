//! Sends what a branch needs next, and repeats it until it is answered.
//!
//! Nothing is queued: what to send is derived from the phase of the transaction
//! at the moment of sending. So a repeat, a participant that comes back and a
//! coordinator that has restarted all end in the same place.

use alloc::vec::Vec;

use super::event::VoteKind;
use super::record::Record;
use super::transaction::{Branch, Brought, Phase, Transaction};
use super::{Coordinator, HORIZON_STEP, Output, Timer};
use crate::id::{ParticipantName, TransactionId};
use crate::message::{
    AcquireLocks, Call, CommitOnePhase, Execute, Failure, Operation, Payload, Peer, Prepare, Task,
    ToParticipant, Work,
};
use crate::planted::Bug;
use crate::time::{Millis, Span};

impl Coordinator {
    /// Sends a branch what it needs, if it needs anything and can be reached. To
    /// one that cannot be, it goes when a probe comes through.
    pub(super) fn call(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        to: &ParticipantName,
        out: &mut Output,
    ) {
        if !self.members.get(to).is_some_and(|member| member.reachable) {
            return;
        }
        let Some(message) = self.message(now, transaction, to) else {
            return;
        };
        let patience = match &message {
            ToParticipant::Execute(_)
            | ToParticipant::AcquireLocks(_)
            | ToParticipant::Prepare(_)
            | ToParticipant::CommitOnePhase(_) => {
                self.settings.lock_wait + self.settings.call_timeout
            }
            ToParticipant::Hello(_)
            | ToParticipant::Commit(_)
            | ToParticipant::Abort(_)
            | ToParticipant::Release(_)
            | ToParticipant::Inquire(_)
            | ToParticipant::ReportWaits(_)
            | ToParticipant::FailWait(_) => self.settings.call_timeout,
        };
        let locks = matches!(
            message,
            ToParticipant::Execute(_) | ToParticipant::AcquireLocks(_) | ToParticipant::Prepare(_)
        );
        let alone = matches!(message, ToParticipant::CommitOnePhase(_));
        if let Some(member) = self.members.get_mut(to).filter(|_| alone) {
            member.alone_through = member.alone_through.max(transaction.minted_at());
        }
        let Some(effect) = self.frame(to, message) else {
            return;
        };
        let tried = self
            .transactions
            .get(&transaction)
            .and_then(|txn| txn.tried);
        if (alone && !self.is_declared_alone(now, transaction, out))
            || tried.is_some_and(|lsn| lsn > self.durable)
        {
            out.after.push(effect);
        } else {
            out.now.push(effect);
        }
        if let Some(txn) = self.transactions.get(&transaction)
            && locks
            && txn.branches.len() > 1
        {
            self.note_lock_call(now, txn.attempt);
        }
        let tries = self.note_sent(transaction, to);
        let wait = self.retry_wait(tries);
        self.timers.arm(
            Timer::Repeat(transaction, to.clone()),
            now + patience + wait,
        );
    }

    fn note_sent(&mut self, transaction: TransactionId, to: &ParticipantName) -> u32 {
        let txn = self.transactions.get_mut(&transaction);
        let Some(branch) = txn.and_then(|txn| txn.branches.get_mut(to)) else {
            return 0;
        };
        branch.sent = true;
        branch.tries = branch.tries.saturating_add(1);
        branch.tries - 1
    }

    fn retry_wait(&mut self, tries: u32) -> Span {
        self.jitter
            .backoff(self.settings.retry_first, self.settings.retry_max, tries)
    }

    /// Declares on disk that ids up to about now may be decided alone by a
    /// participant, so that we know after a restart which ids to ask about. True
    /// when this id is covered already: the declaration runs ahead of the time,
    /// so that it normally costs no flush.
    fn is_declared_alone(
        &mut self,
        now: Millis,
        transaction: TransactionId,
        out: &mut Output,
    ) -> bool {
        let minted = transaction.minted_at();
        if self.horizon.logged < minted.max(now + Span(HORIZON_STEP.0 / 2)) {
            let until = minted.max(now) + HORIZON_STEP;
            self.horizon.logged = until;
            self.horizon.logged_lsn = out.persist(Record::AloneHorizon { until });
        }
        minted <= self.horizon.durable || self.settings.planted.has(Bug::AloneNotDeclared)
    }

    /// What a branch needs now.
    fn message(
        &self,
        now: Millis,
        transaction: TransactionId,
        to: &ParticipantName,
    ) -> Option<ToParticipant<Payload>> {
        let txn = self.transactions.get(&transaction)?;
        if let Phase::Inquiring { unanswered, .. } = &txn.phase {
            return unanswered
                .contains(to)
                .then_some(ToParticipant::Inquire(transaction));
        }
        let branch = txn.branches.get(to)?;
        let attempt = self.attempt_id(txn.attempt);
        let task = || Task {
            attempt,
            transaction,
            age: txn.age,
            remaining: txn.deadline.since(now),
            lock_wait: self.settings.lock_wait,
            coordinator_address: self.settings.address.clone(),
        };
        let operations = || -> Vec<Operation<Payload>> {
            branch
                .operations
                .iter()
                .map(|(_, operation)| operation.clone())
                .collect()
        };
        match &txn.phase {
            Phase::Open(piece) if piece.unanswered.contains(to) => {
                let number = branch.pieces;
                Some(match &piece.brought {
                    Brought::Results(_) => ToParticipant::Execute(Execute {
                        task: task(),
                        number,
                        operations: operations(),
                    }),
                    Brought::Tokens(_) => ToParticipant::AcquireLocks(AcquireLocks {
                        task: task(),
                        number,
                        locks: branch.locks.iter().map(|(_, lock)| lock.clone()).collect(),
                    }),
                })
            }
            Phase::Preparing if branch.vote.is_none() => Some(ToParticipant::Prepare(Prepare {
                task: task(),
                work: work(txn, branch, operations)?,
                peers: self.peers(txn),
                read_only: txn.read_only,
            })),
            Phase::Alone => Some(ToParticipant::CommitOnePhase(CommitOnePhase {
                task: task(),
                hash: txn.hash,
                work: work(txn, branch, operations)?,
            })),
            Phase::Releasing if !branch.released => Some(ToParticipant::Release(attempt)),
            Phase::Committing if branch.vote == Some(VoteKind::Yes) && !branch.acknowledged => {
                Some(ToParticipant::Commit(attempt))
            }
            Phase::Inquiring { .. }
            | Phase::Open(_)
            | Phase::Preparing
            | Phase::Releasing
            | Phase::Deciding
            | Phase::Committing
            | Phase::Aborting(_) => None,
        }
    }

    fn peers(&self, txn: &Transaction) -> Vec<Peer> {
        let peer = |name: &ParticipantName| {
            let address = self.members.get(name)?.address.clone();
            Some(Peer {
                name: name.clone(),
                address,
            })
        };
        txn.branches.keys().filter_map(peer).collect()
    }

    /// A call brought no answer.
    pub(super) fn call_failed(
        &mut self,
        now: Millis,
        to: &ParticipantName,
        call: Call,
        failure: Failure,
        out: &mut Output,
    ) {
        let about = match call {
            Call::Inquire(transaction) => {
                if failure == Failure::Unreachable {
                    self.mark_unreachable(now, to);
                }
                return self.inquiry_failed(transaction, to, out);
            }
            Call::Hello => {
                let away = self.members.get(to).is_some_and(|member| !member.reachable);
                if away || failure == Failure::Unreachable {
                    self.probe_failed(now, to);
                }
                return;
            }
            Call::ReportWaits(look) => {
                if failure == Failure::Unreachable {
                    self.mark_unreachable(now, to);
                }
                return self.waits_reported(now, to, look, None, out);
            }
            // The next look will find it again.
            Call::FailWait(_) => return,
            Call::Execute(attempt, _)
            | Call::AcquireLocks(attempt, _)
            | Call::Prepare(attempt)
            | Call::Commit(attempt)
            | Call::Abort(attempt)
            | Call::Release(attempt)
            | Call::CommitOnePhase(attempt) => attempt,
        };
        if failure == Failure::Unreachable {
            return self.mark_unreachable(now, to);
        }
        let attempt = Some(about).filter(|attempt| attempt.coordinator == self.identity);
        let position = attempt.map(|attempt| attempt.position);
        let Some(transaction) = position.and_then(|at| self.attempts.get(&at)).copied() else {
            return;
        };
        let txn = self.transactions.get(&transaction);
        let tries = txn
            .and_then(|txn| txn.branches.get(to))
            .map_or(0, |branch| branch.tries);
        let wait = self.retry_wait(tries);
        self.timers
            .arm(Timer::Repeat(transaction, to.clone()), now + wait);
    }
}

/// The work a vote is about.
fn work(
    txn: &Transaction,
    branch: &Branch,
    operations: impl FnOnce() -> Vec<Operation<Payload>>,
) -> Option<Work<Payload>> {
    if txn.one_shot {
        return Some(Work::OneShot(operations()));
    }
    Some(Work::Interactive {
        boot: branch.boot?,
        count: branch.pieces,
    })
}
