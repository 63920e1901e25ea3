//! Interactive work: numbered pieces, each of which is done once.

use alloc::format;
use alloc::vec::Vec;

use super::attempt::{Finished, Intent, Phase, Piece};
use super::frames::NewWork;
use super::{Lane, Output, Participant};
use crate::id::{AttemptId, Boot, RequestId};
use crate::lock::{LockKey, Mode};
use crate::message::{AcquireLocks, Answer, Execute, Operation, Task};
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::resource::Resource;
use crate::time::Millis;

/// A piece as it comes in.
struct NewPiece<R: Resource> {
    task: Task,
    number: u32,
    operations: Vec<Operation<R::Action>>,
    wanted: Vec<(LockKey, Mode)>,
    intent: Intent,
}

impl<R: Resource> Participant<R> {
    pub(super) fn execute(
        &mut self,
        now: Millis,
        request: RequestId,
        execute: Execute<R::Action>,
        out: &mut Output<R>,
    ) {
        let Execute {
            task,
            number,
            operations,
        } = execute;
        let piece = NewPiece {
            task,
            number,
            operations,
            wanted: Vec::new(),
            intent: Intent::Piece,
        };
        self.piece(now, request, piece, out);
    }

    pub(super) fn acquire_locks(
        &mut self,
        now: Millis,
        request: RequestId,
        acquire: AcquireLocks,
        out: &mut Output<R>,
    ) {
        let AcquireLocks {
            task,
            number,
            locks,
        } = acquire;
        let mut piece = NewPiece {
            task,
            number,
            operations: Vec::new(),
            wanted: Vec::with_capacity(locks.len()),
            intent: Intent::Locks,
        };
        for lock in locks {
            match self.resource.named(&lock.name) {
                Ok(key) => piece.wanted.push((key, lock.mode)),
                // Takes the way of an operation that cannot be made sense of.
                Err(refusal) => piece.operations.push(Operation {
                    action: Err(refusal),
                    read_only: true,
                    inputs: Vec::new(),
                }),
            }
        }
        self.piece(now, request, piece, out);
    }

    /// A numbered piece of an interactive attempt. Each is done once: a repeat joins
    /// it, or is answered from memory, and one that does not follow is refused.
    fn piece(&mut self, now: Millis, request: RequestId, piece: NewPiece<R>, out: &mut Output<R>) {
        let NewPiece {
            task,
            number,
            operations,
            wanted,
            intent,
        } = piece;
        let id = task.attempt;
        let call = intent.call(id, number);
        let gap = || {
            let why = format!("piece {number} of attempt {id} does not follow what is held here");
            Refusal::retryable(Reason::WORK_LOST, why)
        };
        match self.attempts.get_mut(&id).map(|attempt| &mut attempt.phase) {
            None if number == 1 => {
                let work = NewWork {
                    task,
                    operations,
                    wanted,
                    intent,
                };
                self.begin_work(now, request, work, out);
            }
            Some(Phase::Active(active)) => {
                let done = active.pieces;
                let resting = matches!(active.intent, Intent::Rest);
                let in_hand = matches!(active.intent, Intent::Piece | Intent::Locks);
                let again =
                    resting && number == done && self.settings.planted.has(Bug::PieceDoneTwice);
                if again {
                    active.pieces -= 1;
                }
                let done = active.pieces;
                let last = active.last.as_ref().filter(|_| number == done);
                if let Some(last) = last {
                    let answer = piece_answer(id, number, self.boot, last);
                    self.answer(Lane::Now, id.coordinator, request, answer, out);
                } else if (1..done).contains(&number) {
                    // A late repeat. Nobody looks at what it brought.
                    let nothing = Piece::<R>::Results(Vec::new());
                    let answer = piece_answer(id, number, self.boot, &nothing);
                    self.answer(Lane::Now, id.coordinator, request, answer, out);
                } else if number == done + 1 && in_hand {
                    active.requests.push(request);
                } else if number == done + 1 && resting {
                    active.requests.push(request);
                    active.operations = operations;
                    active.wanted = wanted;
                    active.intent = intent;
                    active.task.lock_wait = task.lock_wait;
                    self.runnable.push_back(id);
                } else {
                    self.refuse(id.coordinator, request, call, gap(), out);
                }
            }
            Some(Phase::Finished(Finished::Declined { refusal, .. })) => {
                let refusal = refusal.clone();
                let answer = piece_refused(id, number, self.boot, &intent, refusal);
                self.answer(Lane::Now, id.coordinator, request, answer, out);
            }
            None => self.refuse(id.coordinator, request, call, gap(), out),
            Some(Phase::Holding { .. } | Phase::Prepared(_) | Phase::Finished(_)) => {
                self.refuse_ended(request, id, call, out);
            }
        }
    }
}

/// Why a piece brought nothing, to whoever asked for it.
pub(super) fn piece_refused<R>(
    attempt: AttemptId,
    number: u32,
    boot: Boot,
    intent: &Intent,
    refusal: Refusal,
) -> Answer<R> {
    match intent {
        Intent::Locks => Answer::LocksAcquired {
            attempt,
            number,
            boot,
            tokens: Err(refusal),
        },
        Intent::Rest | Intent::Piece | Intent::Vote { .. } | Intent::Decide { .. } => {
            Answer::Executed {
                attempt,
                number,
                boot,
                results: Err(refusal),
            }
        }
    }
}

/// What a piece brought, to whoever asked for it.
pub(super) fn piece_answer<R: Resource>(
    attempt: AttemptId,
    number: u32,
    boot: Boot,
    piece: &Piece<R>,
) -> Answer<R::Result> {
    match piece {
        Piece::Results(results) => Answer::Executed {
            attempt,
            number,
            boot,
            results: Ok(results.clone()),
        },
        Piece::Tokens(tokens) => Answer::LocksAcquired {
            attempt,
            number,
            boot,
            tokens: Ok(tokens.clone()),
        },
    }
}
