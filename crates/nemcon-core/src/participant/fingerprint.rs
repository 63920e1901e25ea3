//! The participant as a model checker tells its states apart; see
//! [`crate::fingerprint`] for what that leaves out.

use core::hash::{Hash, Hasher};

use super::attempt::{Active, Asking, Attempt, ByHand, Finished, Intent, Phase, Piece, Promise};
use super::doubt::FAILURES_BEFORE_PEERS;
use super::{Damage, Participant};
use crate::fingerprint::{Fingerprint, Hashable, all, missing, set};

impl<R: Hashable> Participant<R> {
    /// Hashes what the machine's next steps depend on.
    pub fn fingerprint<H: Hasher>(&self, into: &mut H) {
        let Self {
            settings,
            id,
            boot,
            began_at: _,
            resource,
            coordinators,
            attempts,
            locks,
            unlocks,
            runnable,
            waits: _,
            ended_waits: _,
            alone,
            damage,
            restored,
            changed: _,
            round: _,
            stored,
            durable,
            timers,
            jitter: _,
            room,
            drain,
        } = self;
        (id, boot).hash(into);
        resource.hash(into);
        coordinators.fingerprint(*durable, settings.forget_batch, into);
        all(attempts.iter(), into, |(id, attempt), into| {
            id.hash(into);
            attempt.fingerprint(into);
        });
        locks.fingerprint(into);
        all(unlocks.iter(), into, |(lsn, attempt), into| {
            (missing(*lsn, *durable), attempt).hash(into);
        });
        runnable.hash(into);
        alone.fingerprint(*durable, into);
        all(damage.iter(), into, |(id, damage), into| {
            let Damage {
                record,
                reports,
                mended,
            } = damage;
            (id, record.by_hand, record.decided, record.transaction).hash(into);
            (reports.is_some(), mended).hash(into);
        });
        (restored, stored).hash(into);
        all(timers.armed(), into, |timer, into| timer.hash(into));
        (room, drain).hash(into);
    }
}

impl<R: Hashable> Fingerprint for Attempt<R> {
    fn fingerprint<H: Hasher>(&self, into: &mut H) {
        let Self {
            transaction,
            history,
            phase,
        } = self;
        (transaction, history.state()).hash(into);
        core::mem::discriminant(phase).hash(into);
        match phase {
            Phase::Active(active) => active.fingerprint(into),
            Phase::Holding { results, age } => (results, age).hash(into),
            Phase::Prepared(promise) => {
                let Promise {
                    age,
                    redo,
                    results,
                    asking,
                } = promise;
                (age, redo, results).hash(into);
                asking.fingerprint(into);
            }
            Phase::Finished(finished) => finished.fingerprint(into),
        }
    }
}

impl<R: Hashable> Fingerprint for Active<R> {
    fn fingerprint<H: Hasher>(&self, into: &mut H) {
        let Self {
            task,
            deadline: _,
            intent,
            requests,
            operations,
            wanted,
            redo,
            wrote,
            pieces,
            last,
        } = self;
        task.hash(into);
        core::mem::discriminant(intent).hash(into);
        match intent {
            Intent::Rest | Intent::Piece | Intent::Locks => {}
            Intent::Vote {
                peers,
                read_only,
                one_shot,
                first,
            } => (peers, read_only, one_shot, first).hash(into),
            Intent::Decide { hash } => hash.hash(into),
        }
        set(requests, into);
        (operations, wanted, redo, wrote, pieces).hash(into);
        match last {
            None => {}
            Some(Piece::Results(results)) => results.hash(into),
            Some(Piece::Tokens(tokens)) => tokens.len().hash(into),
        }
    }
}

impl Fingerprint for Asking {
    fn fingerprint<H: Hasher>(&self, into: &mut H) {
        let Self {
            coordinator_address,
            peers,
            questions: _,
            failures,
        } = self;
        (coordinator_address, peers).hash(into);
        failures.min(&FAILURES_BEFORE_PEERS).hash(into);
    }
}

impl<R: Hashable> Fingerprint for Finished<R> {
    fn fingerprint<H: Hasher>(&self, into: &mut H) {
        core::mem::discriminant(self).hash(into);
        match self {
            Self::Heard(outcome) => outcome.hash(into),
            Self::Declined { refusal, unvoted } => (refusal, unvoted).hash(into),
            Self::Read(results) | Self::ReadAlone(results) => results.hash(into),
            Self::Refused | Self::DecidedAlone => {}
            Self::ByHand(by_hand) => {
                let ByHand {
                    outcome,
                    reason: _,
                    age,
                    asking,
                } = by_hand;
                (outcome, age).hash(into);
                asking.fingerprint(into);
            }
        }
    }
}
