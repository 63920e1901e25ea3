//! Spans of what coordinators ask, beside a machine that knows nothing of them.
//!
//! One for each message of a recorded transaction, from its arrival to the answer: so
//! it shows how long a lock was waited for and a flush took. It waits with whoever
//! waits for the answer, and nothing else is kept. A participant begins no trace.

use nemcon_core::message::{Alone, Answer, Call, Frame, Vote};
use nemcon_trace::{Context, Kind, Span, Tracer};

/// Begins the span of a message, which came on behalf of what `behind` reads.
pub(crate) fn begin<A>(
    tracer: &Tracer,
    frame: &Frame<A>,
    behind: impl FnOnce() -> Option<Context>,
) -> Option<Span> {
    if !tracer.is_on() {
        return None;
    }
    let call = frame.message.call();
    let attempt = call.attempt()?;
    let mut span = tracer.follow(Kind::Server, name(call), &behind()?)?;
    if let Some(task) = frame.message.task() {
        span.set("nemcon.transaction", task.transaction.to_string());
    }
    span.set("nemcon.attempt", attempt.to_string());
    Some(span)
}

/// Says what the answer is, and lets the span end. A no is an answer; that a message
/// was refused is a failure.
pub(crate) fn conclude<R>(mut span: Span, answer: &Answer<R>) {
    let refusal = match answer {
        Answer::Voted { vote, .. } => {
            let (word, refusal) = match vote {
                Vote::Yes(_) => ("yes", None),
                Vote::ReadOnly(_) => ("read-only", None),
                Vote::No(refusal) => ("no", Some(refusal)),
            };
            span.set("nemcon.vote", word);
            refusal
        }
        Answer::DecidedAlone { alone, .. } => {
            let (word, refusal) = match alone {
                Alone::Committed(_) => ("committed", None),
                Alone::Aborted(refusal) => ("aborted", Some(refusal)),
            };
            span.set("nemcon.outcome", word);
            refusal
        }
        Answer::Executed { results, .. } => results.as_ref().err(),
        Answer::LocksAcquired { tokens, .. } => tokens.as_ref().err(),
        Answer::Refused { refusal, .. } => {
            span.fail(refusal.reason.to_string());
            None
        }
        Answer::Welcome { .. }
        | Answer::Acknowledged { .. }
        | Answer::Released { .. }
        | Answer::Traced { .. }
        | Answer::Waits { .. }
        | Answer::WaitFailed { .. } => None,
    };
    if let Some(refusal) = refusal {
        span.set("nemcon.reason", refusal.reason.to_string());
    }
}

/// As the service has it.
const fn name(call: Call) -> &'static str {
    match call {
        Call::Hello => "GetStatus",
        Call::Execute(..) => "Execute",
        Call::AcquireLocks(..) => "AcquireLocks",
        Call::Prepare(_) => "Prepare",
        Call::Commit(_) => "Commit",
        Call::Abort(_) => "Abort",
        Call::Release(_) => "Release",
        Call::CommitOnePhase(_) => "CommitOnePhase",
        Call::Inquire(_) => "GetOutcome",
        Call::ReportWaits(_) => "GetWaitsForEdges",
        Call::FailWait(_) => "FailWait",
    }
}
