//! What participants answer.

use alloc::format;
use alloc::string::ToString;

use super::event::Effect;
use super::event::{Alarm, Ending, Reply, Report};
use super::interactive::PieceAnswer;
use super::record::{Cause, Damaged, Record};
use super::transaction::Phase;
use super::{Coordinator, Output, refuse, reply};
use crate::id::{AttemptId, ParticipantName, Position, TransactionId};
use crate::message::{Alone, Answer, Outcome, Payload, Trace};
use crate::reason::{Reason, Refusal};
use crate::time::Millis;

impl Coordinator {
    pub(super) fn answered(
        &mut self,
        now: Millis,
        from: &ParticipantName,
        answer: Answer<Payload>,
        out: &mut Output,
    ) {
        if let Answer::Welcome { boot } = answer {
            return self.welcomed(now, from, boot, out);
        }
        self.mark_reachable(now, from, out);
        let ours =
            |attempt: AttemptId| (attempt.coordinator == self.identity).then_some(attempt.position);
        match answer {
            Answer::Welcome { .. } => {}
            Answer::Executed {
                attempt,
                number,
                boot,
                results,
            } => {
                let Some(position) = ours(attempt) else {
                    return;
                };
                let answer = PieceAnswer {
                    number,
                    boot,
                    results,
                };
                self.executed(now, from, position, answer, out);
            }
            Answer::Voted {
                attempt,
                boot,
                vote,
            } => {
                let Some(position) = ours(attempt) else {
                    return;
                };
                self.voted(now, from, position, boot, vote, out);
            }
            Answer::Acknowledged { attempt, damage } => {
                let Some(position) = ours(attempt) else {
                    return;
                };
                if let Some(by_hand) = damage {
                    let reason = "reported with the acknowledgement".to_string();
                    self.record_damage(now, from, position, Some(by_hand), reason, out);
                }
                self.acknowledged(now, from, position, out);
            }
            Answer::Released { attempt, boot } => {
                let Some(position) = ours(attempt) else {
                    return;
                };
                self.released(now, from, position, boot, out);
            }
            Answer::DecidedAlone { attempt, alone } => {
                let Some(position) = ours(attempt) else {
                    return;
                };
                self.decided_alone(now, from, position, alone, out);
            }
            Answer::Traced { transaction, trace } => {
                self.traced(now, from, transaction, trace, out);
            }
            Answer::Refused {
                attempt: Some(attempt),
                refusal,
            } => {
                let Some(position) = ours(attempt) else {
                    return;
                };
                self.refused(now, from, position, refusal, out);
            }
            Answer::Refused {
                attempt: None,
                refusal,
            } => {
                out.now.push(violated(from, &refusal));
            }
        }
    }

    /// A participant refused the message in hand as out of order.
    fn refused(
        &mut self,
        now: Millis,
        from: &ParticipantName,
        position: Position,
        refusal: Refusal,
        out: &mut Output,
    ) {
        let Some((transaction, txn)) = self.running(position) else {
            return;
        };
        let Some(branch) = txn.branches.get(from) else {
            return;
        };
        match &txn.phase {
            Phase::Preparing if branch.vote.is_some() => {}
            Phase::Open(_) | Phase::Preparing => {
                let cause = Cause {
                    refusal,
                    participant: Some(from.clone()),
                };
                self.abort(now, transaction, cause, out);
            }
            Phase::Releasing => self.released(now, from, position, None, out),
            Phase::Alone if is_about_the_request(&refusal) => {
                self.refused_alone(transaction, refusal, out);
            }
            Phase::Alone => {
                // It has ended the attempt, and may have decided it before that.
                let why = format!("participant {from} would not answer: {refusal}");
                let unknown = Refusal::retryable(Reason::OUTCOME_UNKNOWN, why);
                out.now.push(violated(from, &refusal));
                self.refused_alone(transaction, unknown, out);
            }
            Phase::Committing if refusal.reason == Reason::LOST_PREPARE => {
                self.record_damage(now, from, position, None, refusal.message, out);
                self.acknowledged(now, from, position, out);
            }
            Phase::Committing => out.now.push(violated(from, &refusal)),
            Phase::Inquiring { .. } | Phase::Deciding | Phase::Aborting(_) => {}
        }
    }

    /// A participant says what it remembers of an id we are about to run.
    fn traced(
        &mut self,
        now: Millis,
        from: &ParticipantName,
        transaction: TransactionId,
        trace: Trace<Payload>,
        out: &mut Output,
    ) {
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        let Phase::Inquiring { unanswered, then } = &mut txn.phase else {
            return;
        };
        match trace {
            Trace::None => {
                unanswered.remove(from);
                if !unanswered.is_empty() {
                    return;
                }
                let operations = core::mem::take(then);
                let interactive = !txn.one_shot;
                let waiters = self.end_inquiry(transaction);
                if interactive {
                    self.open_interactive(transaction);
                    let begun = waiters
                        .into_iter()
                        .map(|request| reply(request, Reply::Begun));
                    return out.now.extend(begun);
                }
                if let Some(txn) = self.transactions.get_mut(&transaction) {
                    txn.waiters = waiters;
                }
                self.start(now, transaction, operations, out);
            }
            Trace::Forgotten => {
                let why = format!("transaction {transaction} is as old as outcomes forgotten");
                let refusal = Refusal::new(Reason::OUTCOME_FORGOTTEN, why);
                self.drop_unstarted(transaction, refusal, out);
            }
            Trace::Decided { hash, alone } => {
                let same = !txn.one_shot || hash == txn.hash;
                txn.hash = hash;
                let waiters = self.end_inquiry(transaction);
                let ending = match alone {
                    Alone::Committed(results) => Ending::Committed(Some(results)),
                    Alone::Aborted(refusal) => Ending::Aborted(Cause {
                        refusal,
                        participant: Some(from.clone()),
                    }),
                };
                for request in waiters {
                    out.now.push(if same {
                        let ending = ending.clone();
                        reply(
                            request,
                            Reply::Finished(Report {
                                transaction,
                                ending,
                            }),
                        )
                    } else {
                        refuse(request, reused(transaction))
                    });
                }
                self.timers.disarm(&super::Timer::Deadline(transaction));
                self.remember(now, transaction, ending, false);
            }
        }
    }

    /// Records that a participant did something else than what was decided.
    /// Reported twice, it is recorded once.
    pub(super) fn record_damage(
        &mut self,
        now: Millis,
        participant: &ParticipantName,
        attempt: Position,
        by_hand: Option<Outcome>,
        reason: alloc::string::String,
        out: &mut Output,
    ) {
        let key = (attempt, participant.clone());
        if self.damage.contains_key(&key) {
            return;
        }
        let running = self.attempts.get(&attempt).copied();
        let transaction = running.or_else(|| self.memory.transaction_of(attempt));
        let decided = match by_hand {
            Some(Outcome::Committed) => Outcome::Aborted,
            Some(Outcome::Aborted) | None => Outcome::Committed,
        };
        let participant = participant.clone();
        let damaged = Damaged {
            attempt,
            transaction,
            participant,
            by_hand,
            decided,
            reason,
            at: now,
        };
        out.persist(Record::Damaged(damaged.clone()));
        out.after
            .push(Effect::Alarm(Alarm::HeuristicDamage(damaged.clone())));
        self.damage.insert(key, damaged);
    }
}

pub(super) fn reused(transaction: TransactionId) -> Refusal {
    let why =
        format!("transaction id {transaction} was used for other operations; choose a new one");
    Refusal::new(Reason::TRANSACTION_ID_REUSED, why)
}

/// Whether a refusal is about the client's request, not about our order of
/// messages: the client is told as it is.
fn is_about_the_request(refusal: &Refusal) -> bool {
    refusal.reason == Reason::TRANSACTION_ID_REUSED || refusal.reason == Reason::OUTCOME_FORGOTTEN
}

fn violated(participant: &ParticipantName, refusal: &Refusal) -> Effect {
    let (participant, what) = (participant.clone(), refusal.to_string());
    Effect::Alarm(Alarm::ProtocolViolated { participant, what })
}
