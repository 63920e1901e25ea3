//! The border between opaque payloads and what a resource works with: the same
//! message with other actions, the same answer with other results.

use alloc::vec::Vec;

use super::{
    Alone, Answer, CommitOnePhase, Execute, Frame, Operation, Payload, Prepare, ToParticipant,
    Trace, Vote, Work,
};
use crate::reason::Refusal;

impl<A> Frame<A> {
    /// Reads every action with `read`, which is given the inputs of its operation as
    /// well. Nothing else changes: a frame whose actions are all nonsense still
    /// reaches the machine, which votes no.
    pub fn map_actions<B>(
        self,
        mut read: impl FnMut(A, Vec<Payload>) -> Result<B, Refusal>,
    ) -> Frame<B> {
        let read = &mut read;
        let message = match self.message {
            ToParticipant::Hello(hello) => ToParticipant::Hello(hello),
            ToParticipant::Execute(execute) => ToParticipant::Execute(Execute {
                task: execute.task,
                number: execute.number,
                operations: operations(execute.operations, read),
            }),
            ToParticipant::AcquireLocks(acquire) => ToParticipant::AcquireLocks(acquire),
            ToParticipant::Prepare(prepare) => ToParticipant::Prepare(Prepare {
                task: prepare.task,
                work: work(prepare.work, read),
                peers: prepare.peers,
                read_only: prepare.read_only,
            }),
            ToParticipant::Commit(attempt) => ToParticipant::Commit(attempt),
            ToParticipant::Abort(attempt) => ToParticipant::Abort(attempt),
            ToParticipant::Release(attempt) => ToParticipant::Release(attempt),
            ToParticipant::CommitOnePhase(commit) => {
                ToParticipant::CommitOnePhase(CommitOnePhase {
                    task: commit.task,
                    hash: commit.hash,
                    work: work(commit.work, read),
                })
            }
            ToParticipant::Inquire(transaction) => ToParticipant::Inquire(transaction),
            ToParticipant::ReportWaits(ask) => ToParticipant::ReportWaits(ask),
            ToParticipant::FailWait(fail) => ToParticipant::FailWait(fail),
        };
        Frame {
            header: self.header,
            message,
        }
    }
}

fn operations<A, B>(
    operations: Vec<Operation<A>>,
    read: &mut impl FnMut(A, Vec<Payload>) -> Result<B, Refusal>,
) -> Vec<Operation<B>> {
    let operation = |operation: Operation<A>| Operation {
        action: {
            let inputs = operation.inputs;
            operation.action.and_then(|action| read(action, inputs))
        },
        read_only: operation.read_only,
        inputs: Vec::new(),
    };
    operations.into_iter().map(operation).collect()
}

fn work<A, B>(
    work: Work<A>,
    read: &mut impl FnMut(A, Vec<Payload>) -> Result<B, Refusal>,
) -> Work<B> {
    match work {
        Work::OneShot(list) => Work::OneShot(operations(list, read)),
        Work::Interactive { boot, count } => Work::Interactive { boot, count },
    }
}

impl<R> Answer<R> {
    /// Writes every result with `write`.
    pub fn map_results<S>(self, mut write: impl FnMut(R) -> S) -> Answer<S> {
        let mut all = |results: Vec<R>| results.into_iter().map(&mut write).collect::<Vec<S>>();
        match self {
            Self::Welcome { boot } => Answer::Welcome { boot },
            Self::Executed {
                attempt,
                number,
                boot,
                results,
            } => Answer::Executed {
                attempt,
                number,
                boot,
                results: results.map(all),
            },
            Self::LocksAcquired {
                attempt,
                number,
                boot,
                tokens,
            } => Answer::LocksAcquired {
                attempt,
                number,
                boot,
                tokens,
            },
            Self::Voted {
                attempt,
                boot,
                log_end,
                life,
                vote,
            } => {
                let vote = match vote {
                    Vote::Yes(results) => Vote::Yes(results.map(all)),
                    Vote::ReadOnly(results) => Vote::ReadOnly(all(results)),
                    Vote::No(refusal) => Vote::No(refusal),
                };
                Answer::Voted {
                    attempt,
                    boot,
                    log_end,
                    life,
                    vote,
                }
            }
            Self::Acknowledged { attempt, damage } => Answer::Acknowledged { attempt, damage },
            Self::Released { attempt, boot } => Answer::Released { attempt, boot },
            Self::DecidedAlone { attempt, alone } => {
                let alone = map_alone(alone, all);
                Answer::DecidedAlone { attempt, alone }
            }
            Self::Traced { transaction, trace } => {
                let trace = match trace {
                    Trace::None => Trace::None,
                    Trace::Forgotten => Trace::Forgotten,
                    Trace::Decided { hash, alone } => {
                        let alone = map_alone(alone, all);
                        Trace::Decided { hash, alone }
                    }
                };
                Answer::Traced { transaction, trace }
            }
            Self::Waits { look, report } => Answer::Waits { look, report },
            Self::WaitFailed { victim, failed } => Answer::WaitFailed { victim, failed },
            Self::Refused { call, refusal } => Answer::Refused { call, refusal },
        }
    }
}

fn map_alone<R, S>(alone: Alone<R>, all: impl FnOnce(Vec<R>) -> Vec<S>) -> Alone<S> {
    match alone {
        Alone::Committed(results) => Alone::Committed(all(results)),
        Alone::Aborted(refusal) => Alone::Aborted(refusal),
    }
}
