//! Attempts in doubt: asks the coordinator and, when that fails, the peers; and
//! answers peers that ask.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::attempt::{Finished, Intent, Phase};
use super::event::{Alarm, Effect, Reply, Source};
use super::record::Record;
use super::{Output, Participant, Timer, reply};
use crate::id::{AttemptId, RequestId};
use crate::message::{Failure, Outcome, Verdict};
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::resource::Resource;
use crate::time::Millis;

/// After so many failures of the coordinator in a row, peers are asked as well.
pub(super) const FAILURES_BEFORE_PEERS: u32 = 2;

impl<R: Resource> Participant<R> {
    /// Asks what became of an attempt, and arms the next question.
    pub(super) fn ask(&mut self, now: Millis, id: AttemptId, out: &mut Output<R>) {
        let newest = self
            .coordinators
            .get(id.coordinator)
            .and_then(|known| known.address.clone());
        let Some(asking) = self
            .attempts
            .get_mut(&id)
            .and_then(|attempt| attempt.asking_mut())
        else {
            return;
        };
        let address = newest.unwrap_or_else(|| asking.coordinator_address.clone());
        out.now.push(Effect::Ask {
            attempt: id,
            whom: Source::Coordinator,
            address,
        });
        if asking.failures >= FAILURES_BEFORE_PEERS {
            for peer in asking
                .peers
                .iter()
                .filter(|peer| peer.name != self.settings.name)
            {
                let (whom, address) = (Source::Peer(peer.clone()), peer.address.clone());
                out.now.push(Effect::Ask {
                    attempt: id,
                    whom,
                    address,
                });
            }
        }
        asking.questions = asking.questions.saturating_add(1);
        let tries = asking.questions;
        if tries > 3 && self.settings.planted.has(Bug::DoubtTimesOut) {
            return self.conclude(now, id, Outcome::Aborted, out);
        }
        let wait = self
            .jitter
            .backoff(self.settings.ask_first, self.settings.ask_max, tries);
        self.timers.arm(Timer::Ask(id), now + wait);
    }

    /// The coordinator is back: asks at once, and soon again.
    pub(super) fn ask_afresh(&mut self, now: Millis, id: AttemptId, out: &mut Output<R>) {
        if let Some(asking) = self
            .attempts
            .get_mut(&id)
            .and_then(|attempt| attempt.asking_mut())
        {
            asking.questions = 0;
            asking.failures = 0;
        }
        self.ask(now, id, out);
    }

    pub(super) fn verdict_heard(
        &mut self,
        now: Millis,
        id: AttemptId,
        from: &Source,
        verdict: Result<Verdict, Failure>,
        out: &mut Output<R>,
    ) {
        if verdict == Ok(Verdict::Aborted) && self.is_unprepared(id) {
            return self.is_not_wanted(now, id, out);
        }
        let Some(asking) = self
            .attempts
            .get_mut(&id)
            .and_then(|attempt| attempt.asking_mut())
        else {
            return;
        };
        let from_coordinator = *from == Source::Coordinator;
        match verdict {
            Ok(Verdict::Committed) => self.conclude(now, id, Outcome::Committed, out),
            Ok(Verdict::Aborted) => self.conclude(now, id, Outcome::Aborted, out),
            Ok(Verdict::Pending) if from_coordinator => asking.failures = 0,
            Ok(Verdict::WrongCoordinator) if from_coordinator => {
                if asking.failures == 0 {
                    let what = format!(
                        "the node at its coordinator's address is another coordinator than {}; \
                         was its data directory replaced?",
                        id.coordinator
                    );
                    out.now
                        .push(Effect::Alarm(Alarm::ProtocolViolated { attempt: id, what }));
                }
                asking.failures = asking.failures.saturating_add(1);
            }
            // One that was restored from a backup may have decided and not know it.
            Ok(Verdict::Unknown) | Err(Failure::Unreachable | Failure::TimedOut)
                if from_coordinator =>
            {
                asking.failures = asking.failures.saturating_add(1);
            }
            // From a peer, anything but an outcome proves nothing.
            Ok(Verdict::Pending | Verdict::Unknown | Verdict::WrongCoordinator) | Err(_) => {}
        }
    }

    /// A peer in doubt asks. Only what has been heard, or refused on record, is
    /// told; having no trace proves nothing, since a reader votes and forgets, and
    /// nor does a trace that a late message may have brought to life again.
    pub(super) fn peer_asked(
        &mut self,
        now: Millis,
        request: RequestId,
        id: AttemptId,
        out: &mut Output<R>,
    ) {
        if self.has_lost(id) {
            return out.after.push(verdict::<R>(request, Verdict::Committed));
        }
        let heard = match self.attempts.get(&id).map(|attempt| &attempt.phase) {
            Some(Phase::Finished(Finished::Heard(outcome))) => Some(*outcome),
            Some(Phase::Finished(Finished::Refused)) => {
                return out.after.push(verdict::<R>(request, Verdict::Aborted));
            }
            Some(Phase::Active(active))
                if matches!(active.intent, Intent::Vote { first: true, .. }) =>
            {
                let why = "a peer in doubt asked before this participant had voted".to_string();
                self.abandon(now, id, Refusal::retryable(Reason::ATTEMPT_ENDED, why), out);
                return self.refuse_for_good(now, request, id, out);
            }
            Some(Phase::Finished(Finished::Declined { unvoted: true, .. })) => {
                return self.refuse_for_good(now, request, id, out);
            }
            Some(
                Phase::Active(_)
                | Phase::Holding { .. }
                | Phase::Prepared(_)
                | Phase::Finished(
                    Finished::Declined { unvoted: false, .. }
                    | Finished::Read(_)
                    | Finished::ReadAlone(_)
                    | Finished::DecidedAlone
                    | Finished::ByHand(_),
                ),
            )
            | None => None,
        };
        let planted = self.settings.planted;
        let heard = match self.attempts.get(&id).map(|attempt| &attempt.phase) {
            None if planted.has(Bug::NoTraceSaidAborted) => Some(Outcome::Aborted),
            Some(Phase::Prepared(_)) if planted.has(Bug::PreparedSaidAborted) => {
                Some(Outcome::Aborted)
            }
            Some(Phase::Finished(Finished::Read(_))) if planted.has(Bug::ReadSaidAborted) => {
                Some(Outcome::Aborted)
            }
            _ => heard,
        };
        let answer = match heard {
            Some(Outcome::Committed) => Verdict::Committed,
            Some(Outcome::Aborted) => Verdict::Aborted,
            None => Verdict::Unknown,
        };
        out.now.push(verdict::<R>(request, answer));
    }

    /// Writes down that the attempt will never be prepared here, then says that
    /// it aborts.
    fn refuse_for_good(
        &mut self,
        now: Millis,
        request: RequestId,
        id: AttemptId,
        out: &mut Output<R>,
    ) {
        if self.settings.planted.has(Bug::RefusalNotRecorded) {
            self.attempts.remove(&id);
            return out.now.push(verdict::<R>(request, Verdict::Aborted));
        }
        out.persist(Record::Refused {
            attempt: id,
            at: now,
        });
        self.set_finished(id, Finished::Refused);
        out.after.push(verdict::<R>(request, Verdict::Aborted));
    }

    pub(super) fn damage_report_answered(
        &mut self,
        now: Millis,
        id: AttemptId,
        result: Result<(), Failure>,
    ) {
        let Some(damage) = self.damage.get_mut(&id) else {
            return;
        };
        match result {
            Ok(()) => {
                damage.reports = None;
                self.timers.disarm(&Timer::Report(id));
            }
            Err(_) => self
                .timers
                .arm(Timer::Report(id), now + self.settings.ask_max),
        }
    }

    /// Everything whose real decision is still asked for.
    pub(super) fn asking(&self) -> Vec<AttemptId> {
        let asking = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.is_asking());
        asking.map(|(id, _)| *id).collect()
    }
}

fn verdict<R: Resource>(request: RequestId, verdict: Verdict) -> Effect<R::Result> {
    reply::<R>(request, Reply::Verdict(verdict))
}
