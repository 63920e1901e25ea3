//! A running transaction.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::event::{AddressedLock, AddressedOperation, State, VoteKind};
use super::record::Cause;
use crate::history::History;
use crate::id::{Boot, LogPosition, Lsn, ParticipantName, Position, RequestId, TransactionId};
use crate::lock::{LockKey, Token};
use crate::message::{LockRequest, Operation, OperationsHash, Payload};
use crate::time::{Millis, Span, Tick};

/// A transaction from its first message to its last acknowledgement.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) age: TransactionId,
    pub(super) hash: OperationsHash,
    /// Its present attempt.
    pub(super) attempt: Position,
    pub(super) begun_at: Millis,
    pub(super) deadline: Millis,
    pub(super) history: History<State>,
    pub(super) phase: Phase,
    /// The only participant was asked to decide before, in an attempt that has closed
    /// without an answer.
    pub(super) asked_before: bool,
    /// Its operations come in one request, not piece by piece.
    pub(super) one_shot: bool,
    /// All operations are marked `read_only`, and there are several participants:
    /// nothing of it is written down.
    pub(super) read_only: bool,
    /// How many operations there are.
    pub(super) operations: usize,
    pub(super) branches: BTreeMap<ParticipantName, Branch>,
    /// Who waits for the outcome.
    pub(super) waiters: Vec<RequestId>,
    pub(super) stamps: Stamps,
    /// It is a try of a saga's step, and this record says so: before that is durable
    /// no message of it leaves, and it is decided here in any case.
    pub(super) tried: Option<Lsn>,
}

/// When a transaction came how far, by the fine clock. A stamp is missing while it
/// has not come so far, and after a restart: ticks of an earlier life mean nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stamps {
    /// The client asked for it.
    pub(super) begun: Option<Tick>,
    /// The participants of its last attempt were asked for their votes.
    pub(super) asked: Option<Tick>,
    /// The last vote came in, or it was aborted before.
    pub(super) voted: Option<Tick>,
    /// Its outcome became durable.
    pub(super) decided: Option<Tick>,
}

/// Where a transaction is, with what it needs there. Finer than [`State`]: the
/// protocol's state is the history's last.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// The id may have been decided alone before our restart: everyone is asked
    /// first. What is to be done waits here.
    Inquiring {
        unanswered: BTreeSet<ParticipantName>,
        then: Then,
    },
    /// Interactive: its commit has not been asked for.
    Open(Box<Piece>),
    /// Votes are awaited.
    Preparing,
    /// Read-only: all votes are in, locks are being let go.
    Releasing,
    /// The only participant decides.
    Alone,
    /// The decision is appended. Nothing aborts any more.
    Deciding,
    /// The decision is durable.
    Committing,
    /// Decided against; the record is appended.
    Aborting(Cause),
}

/// What is done with an id once it is known that nobody decided it alone.
#[derive(Clone, Debug, Hash)]
pub(super) enum Then {
    /// It runs.
    Start(Vec<AddressedOperation>),
    /// An interactive transaction begins.
    Open,
    /// An interactive transaction was to be committed whose work has gone with our
    /// last epoch.
    Refuse,
}

impl Then {
    /// Whether it will have work for a participant.
    pub(super) fn concerns(&self, participant: &ParticipantName) -> bool {
        match self {
            Self::Start(operations) => operations.iter().any(|(to, _)| to == participant),
            Self::Open | Self::Refuse => false,
        }
    }
}

/// What a piece of an interactive transaction asks for, or brought.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Brought {
    /// Results of operations, in the order of the client's.
    Results(Vec<Payload>),
    /// Tokens of locks, in the order of the client's.
    Tokens(Vec<Token>),
}

impl Default for Brought {
    fn default() -> Self {
        Self::Results(Vec::new())
    }
}

/// The piece of an interactive transaction that is in hand, or was last.
#[derive(Clone, Debug, Default)]
pub(super) struct Piece {
    /// The client's number of it; 0 before the first.
    pub(super) number: u32,
    /// Who waits for it.
    pub(super) requests: Vec<RequestId>,
    /// Participants that have not answered yet.
    pub(super) unanswered: BTreeSet<ParticipantName>,
    /// What it brought; of the right kind from the beginning.
    pub(super) brought: Brought,
}

/// One participant's part.
#[derive(Clone, Debug, Default)]
pub(super) struct Branch {
    /// What it is to do, each with its place among all operations.
    pub(super) operations: Vec<(usize, Operation<Payload>)>,
    /// What it is to lock, each with its place among all locks asked for.
    pub(super) locks: Vec<(usize, LockRequest)>,
    /// The tokens of these.
    pub(super) tokens: Vec<Token>,
    /// Something has been sent to it.
    pub(super) sent: bool,
    /// How often the call in hand has been repeated.
    pub(super) tries: u32,
    pub(super) vote: Option<VoteKind>,
    /// The boot number that gave the first counted answer.
    pub(super) boot: Option<Boot>,
    /// Results in the order of its operations; `None`: lost.
    pub(super) results: Option<Vec<Payload>>,
    /// Interactive pieces sent to it, the one in hand included.
    pub(super) pieces: u32,
    /// How far its log had come with its yes, if it said so.
    pub(super) promised: Option<LogPosition>,
    /// What it was seen to wait for; of interest while it has not answered.
    pub(super) waiting: Option<Waiting>,
    /// It has answered the release.
    pub(super) released: bool,
    /// It has acknowledged the commit.
    pub(super) acknowledged: bool,
}

/// What a participant was seen to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) key: LockKey,
    pub(super) wait: u64,
    pub(super) waited: Span,
    pub(super) blockers: Vec<TransactionId>,
}

impl Waiting {
    /// Whether it is the same wait, for the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.wait == other.wait && self.blockers == other.blockers
    }
}

impl Branch {
    /// Goes back to the start for another attempt.
    pub(super) fn reset(&mut self) {
        let operations = core::mem::take(&mut self.operations);
        *self = Self {
            operations,
            ..Self::default()
        };
    }
}

impl Transaction {
    /// Divides operations among participants, keeping their places.
    pub(super) fn assign(&mut self, operations: Vec<AddressedOperation>) {
        self.operations = operations.len();
        for (place, (participant, operation)) in operations.into_iter().enumerate() {
            let branch = self.branches.entry(participant).or_default();
            branch.operations.push((place, operation));
        }
    }

    /// Divides locks among participants, keeping their places.
    pub(super) fn assign_locks(&mut self, locks: Vec<AddressedLock>) {
        for (place, (participant, lock)) in locks.into_iter().enumerate() {
            let branch = self.branches.entry(participant).or_default();
            branch.locks.push((place, lock));
        }
    }

    /// The participants that promised to commit.
    pub(super) fn voters(&self) -> impl Iterator<Item = &ParticipantName> {
        let yes = self
            .branches
            .iter()
            .filter(|(_, b)| b.vote == Some(VoteKind::Yes));
        yes.map(|(name, _)| name)
    }

    /// Of the participants that promised, who has not acknowledged the commit.
    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = &ParticipantName> {
        let open = self
            .branches
            .iter()
            .filter(|(_, b)| b.vote == Some(VoteKind::Yes) && !b.acknowledged);
        open.map(|(name, _)| name)
    }

    /// How far the logs of the participants that promised had come, in the same order; zeros for who did
    /// not say.
    pub(super) fn promised(&self) -> Vec<LogPosition> {
        let yes = self
            .branches
            .values()
            .filter(|branch| branch.vote == Some(VoteKind::Yes));
        yes.map(|branch| branch.promised.unwrap_or_default())
            .collect()
    }

    /// Whether every vote is in.
    pub(super) fn all_voted(&self) -> bool {
        self.branches.values().all(|branch| branch.vote.is_some())
    }

    /// The results of all operations in their order, unless any were lost.
    pub(super) fn results(&self) -> Option<Vec<Payload>> {
        let parts = self.branches.values();
        self.in_order(parts.map(|branch| (branch, branch.results.clone())))
    }

    /// The same, of a transaction that has ended: they are gone from here then.
    pub(super) fn take_results(&mut self) -> Option<Vec<Payload>> {
        let all = self.branches.values_mut();
        let taken: Vec<_> = all.map(|branch| branch.results.take()).collect();
        self.in_order(self.branches.values().zip(taken))
    }

    fn in_order<'a>(
        &self,
        parts: impl Iterator<Item = (&'a Branch, Option<Vec<Payload>>)>,
    ) -> Option<Vec<Payload>> {
        if !self.one_shot {
            return Some(Vec::new());
        }
        let mut places = alloc::vec![None; self.operations];
        for (branch, results) in parts {
            let results = results?;
            if results.len() != branch.operations.len() {
                return None;
            }
            for ((place, _), result) in branch.operations.iter().zip(results) {
                *places.get_mut(*place)? = Some(result);
            }
        }
        places.into_iter().collect()
    }
}
