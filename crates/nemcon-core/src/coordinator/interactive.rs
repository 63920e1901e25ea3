//! Interactive transactions: work comes piece by piece, and the commit at the
//! end.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use super::event::{AddressedOperation, Reply};
use super::record::Cause;
use super::transaction::{Phase, Piece};
use super::{Coordinator, Output, Timer, refuse, reply};
use crate::id::{Boot, ParticipantName, Position, RequestId, TransactionId};
use crate::message::Payload;
use crate::reason::{Reason, Refusal};
use crate::time::Millis;

/// A participant's answer to one piece.
pub(super) struct PieceAnswer {
    pub(super) number: u32,
    pub(super) boot: Boot,
    pub(super) results: Result<Vec<Payload>, Refusal>,
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

    /// Sends out a piece of work. The same number again joins it, or gets its
    /// results from memory.
    pub(super) fn execute(
        &mut self,
        now: Millis,
        request: RequestId,
        transaction: TransactionId,
        number: u32,
        operations: Vec<AddressedOperation>,
        out: &mut Output,
    ) {
        let checked = self.check(&operations);
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            if self.memory.get(transaction).is_some() {
                return self.wait_for_outcome(now, request, transaction, out);
            }
            return out
                .now
                .push(refuse(request, self.unknown_transaction(transaction)));
        };
        if matches!(txn.phase, Phase::Inquiring { .. }) {
            return out.now.push(refuse(request, not_begun(transaction)));
        }
        let Phase::Open(piece) = &mut txn.phase else {
            return self.wait_for_outcome(now, request, transaction, out);
        };
        if number == piece.number && number > 0 {
            if piece.unanswered.is_empty() {
                let results = piece.results.clone();
                return out.now.push(reply(request, Reply::Executed(results)));
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
        }
        txn.assign(operations);
        let concerned = txn
            .branches
            .iter_mut()
            .filter(|(_, b)| !b.operations.is_empty());
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
            results: Vec::new(),
        };
        txn.phase = Phase::Open(Box::new(piece));
        for participant in &concerned {
            self.call(now, transaction, participant, out);
        }
    }

    pub(super) fn executed(
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
            results,
        } = answer;
        let Some((transaction, txn)) = self.running(position) else {
            return;
        };
        let Phase::Open(piece) = &mut txn.phase else {
            return;
        };
        let Some(branch) = txn.branches.get_mut(from) else {
            return;
        };
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
        match results {
            Ok(results) => branch.results = Some(results),
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
        self.piece_answered(transaction, out);
    }

    /// Answers the client once every participant has answered its part.
    fn piece_answered(&mut self, transaction: TransactionId, out: &mut Output) {
        let Some(txn) = self.transactions.get_mut(&transaction) else {
            return;
        };
        let Phase::Open(piece) = &mut txn.phase else {
            return;
        };
        if !piece.unanswered.is_empty() {
            return;
        }
        let mut placed: Vec<(usize, Payload)> = Vec::new();
        for branch in txn.branches.values() {
            let results = branch.results.iter().flatten().cloned();
            placed.extend(
                branch
                    .operations
                    .iter()
                    .map(|(place, _)| *place)
                    .zip(results),
            );
        }
        placed.sort_by_key(|(place, _)| *place);
        piece.results = placed.into_iter().map(|(_, result)| result).collect();
        for request in core::mem::take(&mut piece.requests) {
            out.now
                .push(reply(request, Reply::Executed(piece.results.clone())));
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
            return out
                .now
                .push(refuse(request, self.unknown_transaction(transaction)));
        };
        if matches!(txn.phase, Phase::Inquiring { .. }) {
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
}

/// The client has not been told that its transaction has begun, and sends work.
fn not_begun(transaction: TransactionId) -> Refusal {
    let why = format!("transaction {transaction} has not begun; wait for the answer to that");
    Refusal::new(Reason::INVALID_REQUEST, why)
}
