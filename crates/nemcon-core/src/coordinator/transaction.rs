//! A running transaction.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::event::{AddressedOperation, State, VoteKind};
use super::record::Cause;
use crate::history::History;
use crate::id::{Boot, ParticipantName, Position, RequestId, TransactionId};
use crate::message::{Operation, OperationsHash, Payload};
use crate::time::Millis;

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
    /// When the last vote came in.
    pub(super) voted_at: Option<Millis>,
}

/// Where a transaction is, with what it needs there. Finer than [`State`]: the
/// protocol's state is the history's last.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// The id may have been decided alone before our restart: everyone is asked
    /// first. What is to be done waits here.
    Inquiring {
        unanswered: BTreeSet<ParticipantName>,
        then: Vec<AddressedOperation>,
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

/// The piece of an interactive transaction that is in hand, or was last.
#[derive(Clone, Debug, Default)]
pub(super) struct Piece {
    /// The client's number of it; 0 before the first.
    pub(super) number: u32,
    /// Who waits for it.
    pub(super) requests: Vec<RequestId>,
    /// Participants that have not answered yet.
    pub(super) unanswered: BTreeSet<ParticipantName>,
    /// Results in the order of the client's operations.
    pub(super) results: Vec<Payload>,
}

/// One participant's part.
#[derive(Clone, Debug, Default)]
pub(super) struct Branch {
    /// What it is to do, each with its place among all operations.
    pub(super) operations: Vec<(usize, Operation<Payload>)>,
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
    /// It has answered the release.
    pub(super) released: bool,
    /// It has acknowledged the commit.
    pub(super) acknowledged: bool,
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

    /// The participants that promised to commit.
    pub(super) fn voters(&self) -> impl Iterator<Item = &ParticipantName> {
        let yes = self
            .branches
            .iter()
            .filter(|(_, b)| b.vote == Some(VoteKind::Yes));
        yes.map(|(name, _)| name)
    }

    /// Whether every vote is in.
    pub(super) fn all_voted(&self) -> bool {
        self.branches.values().all(|branch| branch.vote.is_some())
    }

    /// The results of all operations in their order, unless any were lost.
    pub(super) fn results(&self) -> Option<Vec<Payload>> {
        if !self.one_shot {
            return Some(Vec::new());
        }
        let mut places = alloc::vec![None; self.operations];
        for branch in self.branches.values() {
            let results = branch.results.as_ref()?;
            if results.len() != branch.operations.len() {
                return None;
            }
            for ((place, _), result) in branch.operations.iter().zip(results) {
                *places.get_mut(*place)? = Some(result.clone());
            }
        }
        places.into_iter().collect()
    }
}
