//! The border between the bytes of others and the actions of a resource.

use nemcon_core::message::{
    Alone, Answer, CommitOnePhase, Execute, Frame, Operation, Payload, Prepare, ToParticipant,
    Trace, Vote, Work,
};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::resource::Resource;

/// Turns payloads into a resource's actions, and its results into payloads.
pub trait Decode<R: Resource>: Send + Sync + 'static {
    /// Reads and checks an action: whatever can be seen to be wrong without the
    /// data is refused here.
    ///
    /// # Errors
    /// A [`Refusal`], mostly [`invalid_action`]. It becomes a no vote, so the
    /// transaction aborts with this reason.
    fn action(&self, payload: Payload) -> Result<R::Action, Refusal>;

    /// Writes a result.
    fn result(&self, result: R::Result) -> Payload;
}

/// The refusal of an action that makes no sense; `what` names the field, its
/// value and what is allowed.
#[must_use]
pub fn invalid_action(what: impl Into<String>) -> Refusal {
    Refusal::new(Reason::INVALID_ACTION, what)
}

/// Reads the actions of a frame. Nothing else of it changes: a frame whose
/// actions are all nonsense still reaches the machine, which votes no.
pub(crate) fn frame<R: Resource>(
    decode: &impl Decode<R>,
    frame: Frame<Payload>,
) -> Frame<R::Action> {
    let operations = |operations: Vec<Operation<Payload>>| -> Vec<Operation<R::Action>> {
        let operation = |operation: Operation<Payload>| Operation {
            action: operation.action.and_then(|payload| decode.action(payload)),
            read_only: operation.read_only,
        };
        operations.into_iter().map(operation).collect()
    };
    let work = |work: Work<Payload>| match work {
        Work::OneShot(list) => Work::OneShot(operations(list)),
        Work::Interactive { boot, count } => Work::Interactive { boot, count },
    };
    let message = match frame.message {
        ToParticipant::Hello(hello) => ToParticipant::Hello(hello),
        ToParticipant::Execute(execute) => ToParticipant::Execute(Execute {
            task: execute.task,
            number: execute.number,
            operations: operations(execute.operations),
        }),
        ToParticipant::Prepare(prepare) => ToParticipant::Prepare(Prepare {
            task: prepare.task,
            work: work(prepare.work),
            peers: prepare.peers,
            read_only: prepare.read_only,
        }),
        ToParticipant::Commit(attempt) => ToParticipant::Commit(attempt),
        ToParticipant::Abort(attempt) => ToParticipant::Abort(attempt),
        ToParticipant::Release(attempt) => ToParticipant::Release(attempt),
        ToParticipant::CommitOnePhase(commit) => ToParticipant::CommitOnePhase(CommitOnePhase {
            task: commit.task,
            hash: commit.hash,
            work: work(commit.work),
        }),
        ToParticipant::Inquire(transaction) => ToParticipant::Inquire(transaction),
    };
    Frame {
        header: frame.header,
        message,
    }
}

/// Writes the results in an answer.
pub(crate) fn answer<R: Resource>(
    decode: &impl Decode<R>,
    answer: Answer<R::Result>,
) -> Answer<Payload> {
    let all = |results: Vec<R::Result>| -> Vec<Payload> {
        results
            .into_iter()
            .map(|result| decode.result(result))
            .collect()
    };
    let write_alone = |alone: Alone<R::Result>| match alone {
        Alone::Committed(results) => Alone::Committed(all(results)),
        Alone::Aborted(refusal) => Alone::Aborted(refusal),
    };
    match answer {
        Answer::Welcome { boot } => Answer::Welcome { boot },
        Answer::Executed {
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
        Answer::Voted {
            attempt,
            boot,
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
                vote,
            }
        }
        Answer::Acknowledged { attempt, damage } => Answer::Acknowledged { attempt, damage },
        Answer::Released { attempt, boot } => Answer::Released { attempt, boot },
        Answer::DecidedAlone { attempt, alone } => Answer::DecidedAlone {
            attempt,
            alone: write_alone(alone),
        },
        Answer::Traced { transaction, trace } => {
            let trace = match trace {
                Trace::None => Trace::None,
                Trace::Forgotten => Trace::Forgotten,
                Trace::Decided { hash, alone } => Trace::Decided {
                    hash,
                    alone: write_alone(alone),
                },
            };
            Answer::Traced { transaction, trace }
        }
        Answer::Refused { attempt, refusal } => Answer::Refused { attempt, refusal },
    }
}
