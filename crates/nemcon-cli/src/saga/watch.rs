//! Following a saga as it changes.

use nemcon_core::id::SagaId;
use nemcon_core::saga::{State, StepView, View};
use nemcon_core::time::Millis;
use nemcon_proto::v1;

use super::tree;
use crate::failure::{Exit, Failure, no};
use crate::json::Types;
use crate::out::say;
use crate::session::Session;

/// `nemcon saga watch`: to the end, and the exit code says which.
pub(super) async fn run(session: &Session, id: SagaId, as_json: bool) -> Result<Exit, Failure> {
    until(session, id, as_json, |_| false).await
}

/// Follows a saga to its end, or to where `is_enough`.
pub(super) async fn until(
    session: &Session,
    id: SagaId,
    as_json: bool,
    is_enough: impl Fn(State) -> bool,
) -> Result<Exit, Failure> {
    let types = Types::new()?;
    let mut watch = session.client().watch_saga(id).await?;
    let mut last: Option<View> = None;
    while let Some(view) = watch.next().await? {
        if as_json {
            say!("{}", types.write(&v1::Saga::from(view.clone()))?);
        } else {
            for line in lines(last.as_ref(), &view) {
                say!("{line}");
            }
        }
        if is_enough(view.state) {
            return Err(Failure::SagaStuck { saga: id });
        }
        last = Some(view);
    }
    match last.map(|view| view.state) {
        Some(State::Completed) => Ok(Exit::Done),
        Some(State::Compensated) => Ok(Exit::Refused),
        Some(State::Running | State::Compensating | State::Stuck) | None => {
            Err(Failure::Nonsense("a watch ended before its saga".into()))
        }
    }
}

/// What is new, a line each, in the order in which it happened: first of the steps,
/// then of the saga as a whole. Times count from its start.
fn lines(last: Option<&View>, view: &View) -> Vec<String> {
    let since = |at: Millis| at.since(view.started_at).to_string();
    let before = |at: usize| last.and_then(|last| last.steps.get(at));
    let is_new = |at: usize, step: &StepView| match before(at) {
        Some(before) => before.state != step.state || before.tries_in_all != step.tries_in_all,
        // What waits from the beginning is no news.
        None => step.tries_in_all > 0,
    };
    let steps = view.steps.iter().enumerate();
    let mut new: Vec<&StepView> = steps
        .filter(|(at, step)| is_new(*at, step))
        .map(|(_, step)| step)
        .collect();
    new.sort_by_key(|step| step.changed_at);
    let width = view.steps.iter().map(|step| step.name.as_str().len()).max();
    let mut lines: Vec<String> = new
        .into_iter()
        .map(|step| {
            let why = step.cause.as_ref().map(|cause| format!("  {}", no(cause)));
            let line = format!(
                "{:>10}  {} {:<width$}  {}{}",
                since(step.changed_at),
                tree::sign(step.state),
                step.name,
                step.state,
                why.unwrap_or_default(),
                width = width.unwrap_or_default(),
            );
            line
        })
        .collect();
    if last.is_none_or(|last| last.state != view.state) {
        let at = match view.state {
            State::Running => Some(view.started_at),
            State::Compensating => view.turned_at,
            State::Completed | State::Compensated => view.ended_at,
            State::Stuck => view.steps.iter().map(|step| step.changed_at).max(),
        };
        let line = format!(
            "{:>10}  {}",
            since(at.unwrap_or(view.started_at)),
            view.state
        );
        // The start comes first.
        if last.is_none() && view.state == State::Running {
            lines.insert(0, line);
        } else {
            lines.push(line);
        }
    }
    lines
}
