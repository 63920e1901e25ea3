//! The coordinator as a model checker tells its states apart; see
//! [`crate::fingerprint`] for what that leaves out.

use core::hash::{Hash, Hasher};

use super::event::VoteKind;
use super::members::Member;
use super::transaction::{Branch, Brought, Phase, Piece, Transaction};
use super::{Coordinator, Horizon};
use crate::fingerprint::{Fingerprint, all, missing, set};

impl Coordinator {
    /// Hashes what the machine's next steps depend on.
    pub fn fingerprint<H: Hasher>(&self, into: &mut H) {
        let Self {
            settings: _,
            identity,
            epoch,
            sequence,
            transactions,
            attempts,
            open,
            members,
            memory,
            sagas,
            undurable,
            unanswered,
            horizon,
            restored,
            floor_held,
            damage,
            mended,
            window: _,
            committed: _,
            aborted: _,
            durable,
            timers,
            jitter: _,
            room,
            drain,
            looking,
        } = self;
        (identity, epoch, sequence).hash(into);
        all(transactions.iter(), into, |(id, txn), into| {
            id.hash(into);
            txn.fingerprint(into);
        });
        (attempts, open).hash(into);
        all(members.iter(), into, |(name, member), into| {
            name.hash(into);
            member.fingerprint(into);
        });
        memory.fingerprint(into);
        sagas.fingerprint(into);
        all(undurable.iter(), into, |(lsn, transaction), into| {
            (missing(*lsn, *durable), transaction).hash(into);
        });
        let Horizon {
            recovered,
            durable: on_disk,
            logged,
            logged_lsn,
        } = horizon;
        (recovered, on_disk, logged, missing(*logged_lsn, *durable)).hash(into);
        (unanswered, restored, floor_held).hash(into);
        all(damage.iter(), into, |(key, damaged), into| {
            (key, damaged.by_hand, damaged.decided, damaged.transaction).hash(into);
        });
        mended.hash(into);
        all(timers.armed(), into, |timer, into| timer.hash(into));
        (room, drain).hash(into);
        looking.fingerprint(into);
    }
}

impl Fingerprint for Transaction {
    fn fingerprint<H: Hasher>(&self, into: &mut H) {
        let Self {
            age,
            hash,
            attempt,
            begun_at: _,
            deadline: _,
            history,
            phase,
            asked_before,
            one_shot,
            read_only,
            operations,
            branches,
            waiters,
            tried,
            voted_at: _,
        } = self;
        (age, hash, attempt, history.state()).hash(into);
        phase.fingerprint(into);
        set(waiters, into);
        (asked_before, one_shot, read_only, operations).hash(into);
        tried.is_some().hash(into);
        all(branches.iter(), into, |(name, branch), into| {
            name.hash(into);
            branch.fingerprint(into);
        });
    }
}

impl Fingerprint for Phase {
    fn fingerprint<H: Hasher>(&self, into: &mut H) {
        core::mem::discriminant(self).hash(into);
        match self {
            Self::Inquiring { unanswered, then } => (unanswered, then).hash(into),
            Self::Open(piece) => {
                let Piece {
                    number,
                    requests,
                    unanswered,
                    brought,
                } = &**piece;
                set(requests, into);
                (number, unanswered).hash(into);
                match brought {
                    Brought::Results(results) => results.hash(into),
                    Brought::Tokens(tokens) => tokens.len().hash(into),
                }
            }
            Self::Aborting(cause) => cause.hash(into),
            Self::Preparing | Self::Releasing | Self::Alone | Self::Deciding | Self::Committing => {
            }
        }
    }
}

impl Fingerprint for Branch {
    fn fingerprint<H: Hasher>(&self, into: &mut H) {
        let Self {
            operations,
            locks,
            tokens,
            sent,
            tries: _,
            vote,
            boot,
            results,
            pieces,
            promised,
            waiting: _,
            released,
            acknowledged,
        } = self;
        (operations, sent, vote, boot, results).hash(into);
        (locks, tokens.len()).hash(into);
        (pieces, released, acknowledged).hash(into);
        // Goes into the decision, with the yes.
        promised.filter(|_| *vote == Some(VoteKind::Yes)).hash(into);
    }
}

impl Fingerprint for Member {
    fn fingerprint<H: Hasher>(&self, into: &mut H) {
        let Self {
            id,
            address,
            reachable,
            greeted,
            probes: _,
            boot,
            life,
            promised,
            alone_through,
            unfinished,
            inquiries,
        } = self;
        (id, address, reachable, greeted, boot, life, promised).hash(into);
        (alone_through, unfinished, inquiries).hash(into);
    }
}
