//! Listing and showing sagas.

use nemcon_core::id::SagaId;
use nemcon_core::saga::{Hand, Resolution, StepState, View};
use nemcon_proto::convert::timestamp;
use nemcon_proto::v1;

use super::{StateName, tree};
use crate::failure::{Exit, Failure, no};
use crate::json::{self, Types};
use crate::listing::Listing;
use crate::out::say;
use crate::session::Session;
use crate::table::Table;

/// `nemcon saga list`.
pub(super) async fn list(session: &Session, listing: Listing<StateName>) -> Result<Exit, Failure> {
    let page = session.client().sagas(listing.wanted()).await?;
    listing.print::<_, _, v1::Saga>(page, "sagas", |views| {
        let mut table = Table::new(["SAGA", "STATE", "STARTED", ">DONE", "REASON", "LABEL"]);
        for view in views {
            table.row([
                view.saga.to_string(),
                view.state.to_string(),
                timestamp(view.started_at).to_string(),
                done(view),
                reason(view),
                view.label.clone(),
            ]);
        }
        table
    })
}

/// How many of its steps have taken effect, of how many.
fn done(view: &View) -> String {
    let done = view.steps.iter().filter(|it| it.state == StepState::Done);
    format!("{}/{}", done.count(), view.steps.len())
}

/// The word for why it waits, or went back.
fn reason(view: &View) -> String {
    let cause = view.cause.as_ref().map(|cause| &cause.refusal);
    let refusal = view.stuck.as_ref().or(cause);
    refusal.map_or_else(String::new, |refusal| refusal.reason.to_string())
}

/// `nemcon saga show`.
pub(super) async fn show(session: &Session, id: SagaId, as_json: bool) -> Result<Exit, Failure> {
    let view = session.client().saga(id).await?;
    if as_json {
        json::print(&Types::new()?.write(&v1::Saga::from(view))?);
    } else {
        say!("{}", drawn(&view));
    }
    Ok(Exit::Done)
}

/// For people: what it is, then its steps as a tree, then what people did to it.
fn drawn(view: &View) -> String {
    let mut lines = vec![format!("saga     {}", view.saga)];
    if !view.label.is_empty() {
        lines.push(format!("label    {}", view.label));
    }
    let pivot = if view.beyond_pivot {
        ", beyond its pivot: it only goes forward"
    } else {
        ""
    };
    lines.push(format!("state    {}{pivot}", view.state));
    if let Some(cause) = &view.cause {
        lines.push(format!("reason   {}", no(cause)));
    }
    if let Some(stuck) = &view.stuck {
        lines.push(format!("stuck    {} ({})", stuck.message, stuck.reason));
    }
    let since = |at: nemcon_core::time::Millis| at.since(view.started_at);
    lines.push(format!("started  {}", timestamp(view.started_at)));
    if let Some(at) = view.turned_at {
        lines.push(format!("turned   {}, after {}", timestamp(at), since(at)));
    }
    if let Some(at) = view.ended_at {
        lines.push(format!("ended    {}, after {}", timestamp(at), since(at)));
    }
    lines.push(format!("\n{}", tree::table(view)));
    if !view.hands.is_empty() {
        let mut hands = Table::new(["BY HAND", "STEP", ">AT", "WHO", "WHY"]);
        for hand in &view.hands {
            hands.row([
                what(hand).to_owned(),
                hand.step
                    .and_then(|step| view.steps.get(step as usize))
                    .map_or_else(String::new, |step| step.name.to_string()),
                since(hand.at).to_string(),
                hand.who.clone(),
                hand.why.clone(),
            ]);
        }
        lines.push(format!("\n{hands}"));
    }
    lines.join("\n")
}

/// What a person did.
const fn what(hand: &Hand) -> &'static str {
    match hand.resolution {
        None => "resumed",
        Some(Resolution::Done) => "done",
        Some(Resolution::Compensated) => "compensated",
        Some(Resolution::Retry) => "tried again",
    }
}
