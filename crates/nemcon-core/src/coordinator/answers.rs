//! What participants answer.

use alloc::format;
use alloc::string::ToString;

use super::event::Effect;
use super::event::{Alarm, Ending, Reply, Report};
use super::interactive::PieceAnswer;
use super::record::{Cause, Damaged, Record};
use super::transaction::{Brought, Phase, Then};
use super::{Coordinator, Output, refuse, reply};
use crate::id::{AttemptId, LogPosition, ParticipantName, Position, TransactionId};
use crate::message::{Alone, Answer, Call, Outcome, Payload, Trace};
use crate::observation::Observation;
use crate::planted::Bug;
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
                    brought: results.map(Brought::Results),
                };
                self.piece_answered(now, from, position, answer, out);
            }
            Answer::LocksAcquired {
                attempt,
                number,
                boot,
                tokens,
            } => {
                let Some(position) = ours(attempt) else {
                    return;
                };
                let answer = PieceAnswer {
                    number,
                    boot,
                    brought: tokens.map(Brought::Tokens),
                };
                self.piece_answered(now, from, position, answer, out);
            }
            Answer::Waits { look, report } => {
                self.waits_reported(now, from, look, Some(report), out);
            }
            // Whether it was still there, the victim will tell.
            Answer::WaitFailed { failed, .. } => {
                if failed {
                    self.deadlocks += 1;
                    out.observe(Observation::DeadlockBroken);
                }
            }
            Answer::Voted {
                attempt,
                boot,
                log_end: lsn,
                life,
                vote,
            } => {
                let Some(position) = ours(attempt) else {
                    return;
                };
                let log = LogPosition { boot, lsn, life };
                self.voted(now, from, position, log, vote, out);
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
            Answer::Refused { call, refusal } => {
                let Some(attempt) = call.attempt() else {
                    return out.now.extend(violated(from, &refusal));
                };
                let Some(position) = ours(attempt) else {
                    return;
                };
                self.refused(now, from, position, call, refusal, out);
            }
        }
    }

    /// A participant refused a call as out of order. What it says of a call that is
    /// answered, or not in hand any more, is the fate of a late repeat.
    fn refused(
        &mut self,
        now: Millis,
        from: &ParticipantName,
        position: Position,
        call: Call,
        refusal: Refusal,
        out: &mut Output,
    ) {
        let Some((transaction, txn)) = self.running(position) else {
            return;
        };
        let Some(branch) = txn.branches.get(from) else {
            return;
        };
        let ends = match (&txn.phase, call) {
            (Phase::Open(piece), Call::Execute(_, number) | Call::AcquireLocks(_, number)) => {
                number == branch.pieces && piece.unanswered.contains(from)
            }
            (Phase::Preparing, Call::Prepare(_)) => branch.vote.is_none(),
            (Phase::Releasing, Call::Release(_)) => {
                return self.released(now, from, position, None, out);
            }
            (Phase::Alone, Call::CommitOnePhase(_)) if is_about_the_request(&refusal) => {
                return self.refused_alone(transaction, refusal, out);
            }
            (Phase::Alone, Call::CommitOnePhase(_)) => {
                // It has ended the attempt, and may have decided it before that.
                let why = format!("participant {from} would not answer: {refusal}");
                let unknown = Refusal::retryable(Reason::OUTCOME_UNKNOWN, why);
                // One that remembers little may have forgotten what it decided.
                if refusal.reason != Reason::ATTEMPT_ENDED {
                    out.now.extend(violated(from, &refusal));
                }
                return self.refused_alone(transaction, unknown, out);
            }
            (Phase::Committing, Call::Commit(_)) if refusal.reason == Reason::LOST_PREPARE => {
                self.record_damage(now, from, position, None, refusal.message, out);
                return self.acknowledged(now, from, position, out);
            }
            (Phase::Committing, Call::Commit(_)) => {
                return out.now.extend(violated(from, &refusal));
            }
            (
                Phase::Inquiring { .. }
                | Phase::Open(_)
                | Phase::Preparing
                | Phase::Releasing
                | Phase::Alone
                | Phase::Deciding
                | Phase::Committing
                | Phase::Aborting(_),
                _,
            ) => false,
        };
        if ends {
            let cause = Cause {
                refusal,
                participant: Some(from.clone()),
            };
            self.abort(now, transaction, cause, out);
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
        let Phase::Inquiring { unanswered, .. } = &mut txn.phase else {
            return;
        };
        match trace {
            Trace::None => {
                unanswered.remove(from);
                if unanswered.is_empty() {
                    self.nobody_decided(now, transaction, out);
                }
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
                self.remember(now, transaction, ending, None, out);
            }
        }
    }

    /// Nobody has decided alone what we are about to run: it may begin.
    fn nobody_decided(&mut self, now: Millis, transaction: TransactionId, out: &mut Output) {
        // What only reads may be read again.
        let (mut only_reads, mut is_over) = (false, false);
        if let Some(txn) = self.transactions.get(&transaction)
            && let Phase::Inquiring { then, .. } = &txn.phase
        {
            match then {
                Then::Start(operations) => {
                    only_reads = operations.iter().all(|(_, it)| it.read_only);
                }
                Then::Open => {}
                Then::Refuse => is_over = true,
            }
        }
        if self.may_have_lost(transaction) && !only_reads {
            let refusal = self.lost_before_restoration(transaction);
            return self.drop_unstarted(transaction, refusal, out);
        }
        // Asked in this epoch, a participant may yet decide: a late repeat of the
        // question may reach it.
        let asked = self.unanswered.get(&transaction);
        let asked = asked.is_some_and(|asked| {
            let txn = self.transactions.get(&transaction);
            txn.is_none_or(|txn| !txn.one_shot || txn.hash != *asked)
        });
        if asked && !only_reads {
            let refusal = self.unknown_transaction(transaction);
            return self.drop_unstarted(transaction, refusal, out);
        }
        if is_over {
            let refusal = self.not_open(transaction);
            return self.drop_unstarted(transaction, refusal, out);
        }
        let waiters = self.end_inquiry(transaction);
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        let Phase::Inquiring { then, .. } = &mut txn.phase else {
            return;
        };
        match core::mem::replace(then, Then::Open) {
            Then::Start(operations) => {
                txn.waiters = waiters;
                self.start(now, transaction, operations, out);
            }
            Then::Open => {
                self.open_interactive(transaction);
                let begun = waiters.into_iter();
                let begun = begun.map(|request| reply(request, Reply::Begun { epoch: self.epoch }));
                out.now.extend(begun);
            }
            // Refused above.
            Then::Refuse => {}
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
        let ignored = by_hand.is_some() && self.settings.planted.has(Bug::DamageNotRecorded);
        if self.damage.contains_key(&key) || ignored {
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

/// The alarm for a refusal that should not have come. One that waits to be taken
/// as it was restored breaks no rule: its operator is told when it registers.
fn violated(participant: &ParticipantName, refusal: &Refusal) -> Option<Effect> {
    if refusal.reason == Reason::PARTICIPANT_SET_BACK {
        return None;
    }
    let (participant, what) = (participant.clone(), refusal.to_string());
    Some(Effect::Alarm(Alarm::ProtocolViolated { participant, what }))
}
