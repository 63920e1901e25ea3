//! Answers to those who only ask.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::event::{Event, Reply};
use super::record::{Damaged, Record};
use super::statistics::Statistics;
use super::transaction::Phase;
use super::{Coordinator, Output, refuse, reply};
use crate::id::{AttemptId, ParticipantName, Position, RequestId};
use crate::message::{Outcome, Verdict};
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::time::Millis;

/// What a participant says an operator did there.
pub(super) struct HandReport {
    pub(super) participant: ParticipantName,
    pub(super) attempt: AttemptId,
    pub(super) by_hand: Outcome,
    pub(super) reason: String,
}

impl Coordinator {
    /// What became of an attempt of ours.
    ///
    /// Not running and not decided in the log means aborted, and needs no record:
    /// that is presumed abort. It holds only for attempts we can have begun; one
    /// from ahead of us proves that our log is an old copy. And it does not hold
    /// for what a life may have decided that a restoration has lost.
    #[must_use]
    pub fn verdict(&self, position: Position) -> Verdict {
        if position
            > (Position {
                epoch: self.epoch,
                sequence: self.sequence,
            })
        {
            return Verdict::Unknown;
        }
        let running = self
            .attempts
            .get(&position)
            .and_then(|id| self.transactions.get(id));
        match running.map(|txn| &txn.phase) {
            Some(Phase::Committing) => Verdict::Committed,
            Some(Phase::Aborting(_)) => Verdict::Aborted,
            Some(_) if self.settings.planted.has(Bug::RunningSaidAborted) => Verdict::Aborted,
            Some(
                Phase::Inquiring { .. }
                | Phase::Open(_)
                | Phase::Preparing
                | Phase::Releasing
                | Phase::Alone
                | Phase::Deciding,
            ) => Verdict::Pending,
            None if self.memory.has_committed(position) => Verdict::Committed,
            None if self.settings.planted.has(Bug::UnknownSaidCommitted) => Verdict::Committed,
            None if self.may_be_lost(position) => Verdict::Unknown,
            None => Verdict::Aborted,
        }
    }

    pub(super) fn asked(&self, event: Event, out: &mut Output) {
        let answer = match event {
            Event::VerdictAsked { request, attempt } => {
                let verdict = if attempt.coordinator == self.identity {
                    self.verdict(attempt.position)
                } else {
                    Verdict::WrongCoordinator
                };
                reply(request, Reply::Verdict(verdict))
            }
            Event::TransactionAsked {
                request,
                transaction,
            } => match self.look_up(transaction) {
                Some(view) => reply(request, Reply::Transaction(view)),
                None => refuse(request, self.unknown_transaction(transaction)),
            },
            Event::TransactionsAsked {
                request,
                states,
                below,
                max,
            } => {
                let (views, more) = self.list(&states, below, max);
                reply(request, Reply::Transactions { views, more })
            }
            Event::ParticipantsAsked { request } => {
                reply(request, Reply::Participants(self.participants()))
            }
            Event::InDoubtAsked { request } => {
                let committing = self
                    .transactions
                    .iter()
                    .filter(|(_, txn)| matches!(txn.phase, Phase::Committing));
                let views = committing.map(|(id, txn)| self.view(*id, txn)).collect();
                reply(request, Reply::InDoubt(views))
            }
            Event::DamageAsked { request } => reply(request, Reply::Damage(self.open_damage())),
            Event::StatisticsAsked { request } => {
                reply(request, Reply::Statistics(self.statistics()))
            }
            Event::Wake(_)
            | Event::RunRequested { .. }
            | Event::BeginRequested { .. }
            | Event::ExecuteRequested { .. }
            | Event::LocksRequested { .. }
            | Event::WaitsAsked { .. }
            | Event::CommitRequested { .. }
            | Event::AbortRequested { .. }
            | Event::Answered { .. }
            | Event::CallFailed { .. }
            | Event::DamageReported { .. }
            | Event::RegisterRequested { .. }
            | Event::RemoveRequested { .. }
            | Event::DamageAcknowledged { .. }
            | Event::SagaStartRequested { .. }
            | Event::SagaCancelRequested { .. }
            | Event::SagaResumeRequested { .. }
            | Event::SagaStepResolved { .. }
            | Event::SagaAsked { .. }
            | Event::SagasAsked { .. }
            | Event::DrainRequested => return,
        };
        // What is shown may be appended and not yet durable.
        out.after.push(answer);
    }

    /// Damage that nobody has seen to.
    fn open_damage(&self) -> Vec<Damaged> {
        let open =
            |(key, _): &(&(Position, ParticipantName), &Damaged)| !self.mended.contains(*key);
        let damage = self.damage.iter().filter(open);
        damage.map(|(_, damaged)| damaged.clone()).collect()
    }

    fn statistics(&self) -> Statistics {
        let committing = self
            .transactions
            .values()
            .filter(|txn| matches!(txn.phase, Phase::Committing));
        Statistics {
            coordinator: self.identity,
            epoch: self.epoch,
            committed: self.committed,
            aborted: self.aborted,
            running: self.transactions.len() as u64,
            in_doubt: committing.count() as u64,
            remembered: self.memory.len() as u64,
            window: self.window.samples(),
        }
    }

    pub(super) fn damage_reported(
        &mut self,
        now: Millis,
        request: RequestId,
        report: HandReport,
        out: &mut Output,
    ) {
        let HandReport {
            participant,
            attempt,
            by_hand,
            reason,
        } = report;
        if attempt.coordinator != self.identity {
            let why = format!(
                "attempt {attempt} is not one of coordinator {}",
                self.identity
            );
            let refusal = Refusal::new(Reason::WRONG_COORDINATOR, why);
            return out.now.push(refuse(request, refusal));
        }
        self.record_damage(
            now,
            &participant,
            attempt.position,
            Some(by_hand),
            reason,
            out,
        );
        out.after.push(reply(request, Reply::Done));
    }

    pub(super) fn acknowledge_damage(
        &mut self,
        request: RequestId,
        attempt: AttemptId,
        participant: ParticipantName,
        out: &mut Output,
    ) {
        let key = (attempt.position, participant);
        let known = attempt.coordinator == self.identity && self.damage.contains_key(&key);
        if known && self.mended.insert(key.clone()) {
            let (attempt, participant) = key;
            out.persist(Record::DamageAcknowledged {
                attempt,
                participant,
            });
            return out.after.push(reply(request, Reply::Done));
        }
        let why = format!(
            "no damage of attempt {attempt} at participant {} is recorded",
            key.1
        );
        out.now
            .push(refuse(request, Refusal::new(Reason::INVALID_REQUEST, why)));
    }
}
