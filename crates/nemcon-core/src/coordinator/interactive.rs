//! Interactive transactions: work comes piece by piece, and the commit at the
//! end.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use super::event::{AddressedLock, AddressedOperation, Begin, Reply};
use super::record::Cause;
use super::transaction::{Branch, Brought, Phase, Piece, Then};
use super::{Coordinator, Output, Timer, refuse, reply};
use crate::id::{Boot, Epoch, ParticipantName, Position, RequestId, TransactionId};
use crate::limits;
use crate::message::OperationsHash;
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::time::Millis;

/// What a client asks for in one piece.
pub(super) enum Asked {
    Operations(Vec<AddressedOperation>),
    Locks(Vec<AddressedLock>),
}

/// A participant's answer to one piece.
pub(super) struct PieceAnswer {
    pub(super) number: u32,
    pub(super) boot: Boot,
    pub(super) brought: Result<Brought, Refusal>,
}

impl Coordinator {
    /// Gives an interactive transaction its attempt. Until its commit is asked
    /// for it holds the floor everywhere, since it may yet send work to anyone.
    pub(super) fn open_interactive(&mut self, transaction: TransactionId) {
        let position = self.next_position();
        self.attempts.insert(position, transaction);
        self.open.insert(position);
        if let Some(txn) = self.transactions.get_mut(&transaction) {
            txn.attempt = position;
            txn.phase = Phase::Open(Box::default());
        }
    }

    /// Whether a request is about the transaction as it is open here. Work that an
    /// earlier epoch has done is gone, and what is open under its id now has none of
    /// it: a late repeat of the beginning has opened it.
    pub(super) fn is_of_this_epoch(
        &self,
        request: RequestId,
        transaction: TransactionId,
        epoch: Epoch,
        out: &mut Output,
    ) -> bool {
        let txn = self.transactions.get(&transaction);
        let open = txn.is_some_and(|txn| matches!(txn.phase, Phase::Open(_)));
        if !open || epoch == self.epoch {
            return true;
        }
        let why = format!(
            "transaction {transaction} was begun in epoch {epoch}, and the coordinator has \
             restarted, in epoch {}: its work is gone; begin anew",
            self.epoch
        );
        let refusal = Refusal::retryable(Reason::COORDINATOR_RESTARTED, why);
        out.now.push(refuse(request, refusal));
        false
    }

    /// Sends out a piece of work. The same number again joins it, or gets what it
    /// brought from memory.
    pub(super) fn piece(
        &mut self,
        now: Millis,
        request: RequestId,
        transaction: TransactionId,
        number: u32,
        asked: Asked,
        out: &mut Output,
    ) {
        let checked = match &asked {
            Asked::Operations(operations) => self.check(operations),
            Asked::Locks(locks) => self.check_locks(locks),
        };
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            if self.memory.get(transaction).is_some() {
                return self.wait_for_outcome(now, request, transaction, out);
            }
            let refusal = self.not_open(transaction);
            return out.now.push(refuse(request, refusal));
        };
        if matches!(txn.phase, Phase::Inquiring { .. }) {
            return out.now.push(refuse(request, not_begun(transaction)));
        }
        let in_hand = asked.is_in_hand(&txn.branches);
        let Phase::Open(piece) = &mut txn.phase else {
            return self.wait_for_outcome(now, request, transaction, out);
        };
        if number == piece.number && number > 0 {
            if !in_hand {
                let why =
                    format!("piece {number} of transaction {transaction} was another request");
                let refusal = Refusal::new(Reason::INVALID_REQUEST, why);
                return out.now.push(refuse(request, refusal));
            }
            if piece.unanswered.is_empty() {
                let answer = piece.brought.clone().into();
                return out.now.push(reply(request, answer));
            }
            return piece.requests.push(request);
        }
        if number != piece.number + 1 || !piece.unanswered.is_empty() {
            let why = format!(
                "piece {number} of transaction {transaction}; want {} once the one before it is \
                 answered",
                piece.number + 1
            );
            return out
                .now
                .push(refuse(request, Refusal::new(Reason::INVALID_REQUEST, why)));
        }
        if let Err(refusal) = checked {
            return out.now.push(refuse(request, refusal));
        }
        for branch in txn.branches.values_mut() {
            branch.operations.clear();
            branch.results = None;
            branch.locks.clear();
            branch.tokens.clear();
            branch.waiting = None;
        }
        let brought = match asked {
            Asked::Operations(operations) => {
                txn.assign(operations);
                Brought::Results(Vec::new())
            }
            Asked::Locks(locks) => {
                txn.assign_locks(locks);
                Brought::Tokens(Vec::new())
            }
        };
        let concerned = txn
            .branches
            .iter_mut()
            .filter(|(_, b)| !b.operations.is_empty() || !b.locks.is_empty());
        let concerned: Vec<ParticipantName> = concerned
            .map(|(name, branch)| {
                branch.pieces += 1;
                branch.tries = 0;
                name.clone()
            })
            .collect();
        let unanswered = concerned.iter().cloned().collect();
        let requests = alloc::vec![request];
        let piece = Piece {
            number,
            requests,
            unanswered,
            brought,
        };
        txn.phase = Phase::Open(Box::new(piece));
        for participant in &concerned {
            self.call(now, transaction, participant, out);
        }
    }

    /// Whether locks can be asked for at all.
    fn check_locks(&self, locks: &[AddressedLock]) -> Result<(), Refusal> {
        let count = locks.len();
        if count == 0 || count > limits::OPERATIONS_MAX {
            let why = format!("{count} locks; want 1 to {}", limits::OPERATIONS_MAX);
            return Err(Refusal::new(Reason::INVALID_REQUEST, why));
        }
        let mut names = locks.iter().map(|(name, _)| name);
        let unknown = names.find(|name| !self.members.contains_key(*name));
        unknown.map_or(Ok(()), |name| Err(self.unknown_participant(name)))
    }

    /// Why there is no open transaction of that id. If it was begun before our restart,
    /// and not decided, nothing of it was done. That is no outcome: one that only read
    /// may have been told that it committed, and is on no record.
    pub(super) fn not_open(&self, transaction: TransactionId) -> Refusal {
        if transaction.minted_at() > self.horizon.recovered {
            return self.unknown_transaction(transaction);
        }
        let why = format!(
            "transaction {transaction} is not open here: the coordinator has restarted, in epoch \
             {}, and nothing was done of what was not decided; begin anew",
            self.epoch
        );
        Refusal::retryable(Reason::COORDINATOR_RESTARTED, why)
    }

    pub(super) fn piece_answered(
        &mut self,
        now: Millis,
        from: &ParticipantName,
        position: Position,
        answer: PieceAnswer,
        out: &mut Output,
    ) {
        let PieceAnswer {
            number,
            boot,
            brought,
        } = answer;
        let planted = self.settings.planted;
        let Some((transaction, txn)) = self.running(position) else {
            return;
        };
        let Phase::Open(piece) = &mut txn.phase else {
            return;
        };
        let Some(branch) = txn.branches.get_mut(from) else {
            return;
        };
        if planted.has(Bug::LaterBootCounts) {
            branch.boot = Some(boot);
        }
        let first = *branch.boot.get_or_insert(boot);
        if first != boot {
            let why = format!("participant {from} restarted and lost work of this transaction");
            let refusal = Refusal::retryable(Reason::WORK_LOST, why);
            let cause = Cause {
                refusal,
                participant: Some(from.clone()),
            };
            return self.abort(now, transaction, cause, out);
        }
        if number != branch.pieces || !piece.unanswered.remove(from) {
            return;
        }
        branch.tries = 0;
        branch.waiting = None;
        match brought {
            Ok(Brought::Results(results)) => branch.results = Some(results),
            Ok(Brought::Tokens(tokens)) => branch.tokens = tokens,
            Err(refusal) => {
                let cause = Cause {
                    refusal,
                    participant: Some(from.clone()),
                };
                return self.abort(now, transaction, cause, out);
            }
        }
        self.timers
            .disarm(&Timer::Repeat(transaction, from.clone()));
        self.piece_is_complete(transaction, out);
    }

    /// Answers the client once every participant has answered its part.
    fn piece_is_complete(&mut self, transaction: TransactionId, out: &mut Output) {
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        let Phase::Open(piece) = &mut txn.phase else {
            return;
        };
        if !piece.unanswered.is_empty() {
            return;
        }
        let branches = txn.branches.values();
        match &mut piece.brought {
            Brought::Results(results) => {
                *results = in_order(branches, |branch| {
                    let places = branch.operations.iter().map(|(place, _)| *place);
                    places.zip(branch.results.iter().flatten().cloned())
                });
            }
            Brought::Tokens(tokens) => {
                *tokens = in_order(branches, |branch| {
                    let places = branch.locks.iter().map(|(place, _)| *place);
                    places.zip(branch.tokens.iter().copied())
                });
            }
        }
        for request in core::mem::take(&mut piece.requests) {
            let answer = piece.brought.clone().into();
            out.now.push(reply(request, answer));
        }
    }

    /// The client asks for the commit.
    pub(super) fn commit(
        &mut self,
        now: Millis,
        request: RequestId,
        transaction: TransactionId,
        out: &mut Output,
    ) {
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            if self.memory.get(transaction).is_some() {
                return self.wait_for_outcome(now, request, transaction, out);
            }
            return self.commit_unknown(now, request, transaction, out);
        };
        if let Phase::Inquiring { then, .. } = &txn.phase {
            if matches!(then, Then::Refuse) {
                return txn.waiters.push(request);
            }
            return out.now.push(refuse(request, not_begun(transaction)));
        }
        let Phase::Open(piece) = &txn.phase else {
            return self.wait_for_outcome(now, request, transaction, out);
        };
        if !piece.unanswered.is_empty() {
            let why = format!(
                "piece {} of transaction {transaction} is not answered yet; commit after it",
                piece.number
            );
            return out
                .now
                .push(refuse(request, Refusal::new(Reason::INVALID_REQUEST, why)));
        }
        txn.waiters.push(request);
        if txn.branches.is_empty() {
            return self.end_unlogged(now, transaction, None, out);
        }
        self.ask_for_votes(now, transaction, out);
    }

    /// A commit is asked for of a transaction that is not known. If it was begun
    /// before our restart, a participant may have decided it alone; if none has,
    /// nothing of it was done.
    fn commit_unknown(
        &mut self,
        now: Millis,
        request: RequestId,
        transaction: TransactionId,
        out: &mut Output,
    ) {
        let begin = Begin {
            transaction,
            age: transaction,
            timeout: None,
            first_sent_to: None,
        };
        let old = transaction.minted_at() <= self.horizon.recovered;
        if !old && !self.unanswered.contains_key(&transaction) {
            let refusal = self.unknown_transaction(transaction);
            return out.now.push(refuse(request, refusal));
        }
        if let Err(refusal) = self.admit(now, &begin) {
            return out.now.push(refuse(request, refusal));
        }
        let nothing = OperationsHash([0; 32]);
        let mut txn = self.new_transaction(now, &begin, nothing, alloc::vec![request], out.tick());
        txn.one_shot = false;
        self.timers.arm(Timer::Deadline(transaction), txn.deadline);
        self.transactions.insert(transaction, txn);
        self.inquire(now, transaction, Then::Refuse, out);
    }
}

/// What all branches brought, in the order of the client's request.
fn in_order<'a, T, I: Iterator<Item = (usize, T)>>(
    branches: impl Iterator<Item = &'a Branch>,
    placed: impl Fn(&'a Branch) -> I,
) -> Vec<T> {
    let mut all: Vec<(usize, T)> = branches.flat_map(placed).collect();
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, it)| it).collect()
}

impl Asked {
    /// Whether it is what the branches were last asked for.
    fn is_in_hand(&self, branches: &BTreeMap<ParticipantName, Branch>) -> bool {
        match self {
            Self::Operations(operations) => {
                all_placed(operations, branches, |branch| &branch.operations)
            }
            Self::Locks(locks) => all_placed(locks, branches, |branch| &branch.locks),
        }
    }
}

/// Whether the branches have these, at their places, and no others.
fn all_placed<T: PartialEq>(
    asked: &[(ParticipantName, T)],
    branches: &BTreeMap<ParticipantName, Branch>,
    placed: impl Fn(&Branch) -> &Vec<(usize, T)>,
) -> bool {
    let count: usize = branches.values().map(|branch| placed(branch).len()).sum();
    let mut asked = asked.iter().enumerate();
    let known = |(place, (name, what)): (usize, &(ParticipantName, T))| {
        branches.get(name).is_some_and(|branch| {
            // They were given out in the order of their places.
            let placed = placed(branch);
            let at = placed.binary_search_by_key(&place, |(place, _)| *place);
            at.is_ok_and(|at| placed.get(at).is_some_and(|(_, it)| it == what))
        })
    };
    count > 0 && count == asked.len() && asked.all(known)
}

impl From<Brought> for Reply {
    fn from(brought: Brought) -> Self {
        match brought {
            Brought::Results(results) => Self::Executed(results),
            Brought::Tokens(tokens) => Self::LocksAcquired(tokens),
        }
    }
}

/// The client has not been told that its transaction has begun, and sends work.
fn not_begun(transaction: TransactionId) -> Refusal {
    let why = format!("transaction {transaction} has not begun; wait for the answer to that");
    Refusal::new(Reason::INVALID_REQUEST, why)
}
