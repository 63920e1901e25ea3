//! `nemcon locks`: who holds what at the participants, and who waits for it.

use clap::Args;
use nemcon_client::{Address, Mode};
use nemcon_core::lock::Queue;
use nemcon_core::message::Party;
use nemcon_core::time::{Millis, Span};
use nemcon_proto::convert::timestamp;
use nemcon_proto::v1;
use serde_json::Value;

use crate::failure::{Exit, Failure};
use crate::json::{self, Types};
use crate::out::say;
use crate::table::Table;
use crate::whom::Whom;

/// End of the help text.
pub(crate) const HELP: &str = "\
Each participant is asked itself, page by page, so the list is not of one moment. Those who wait \
for a key stand below those who hold it, in the order in which they will be served.

Examples:
  nemcon locks
  nemcon locks --participant bank-a
  nemcon locks --at http://127.0.0.1:7110    without a coordinator";

/// What to list.
#[derive(Debug, Args)]
pub(crate) struct Locks {
    #[command(flatten)]
    whom: Whom,
    /// Print JSON: an array of keys
    #[arg(long)]
    json: bool,
}

/// Prints the locks. Where somebody does not answer the list is not whole, and the
/// exit code says so.
pub(crate) async fn run(arguments: Locks, coordinator: &Address) -> Result<Exit, Failure> {
    let types = Types::new()?;
    let headings = ["PARTICIPANT", "KEY", "TRANSACTION", "", "MODE", ">FOR"];
    let mut table = Table::new(headings);
    let mut found: Vec<Value> = Vec::new();
    let mut silent = None;
    for operator in arguments.whom.operators(coordinator).await? {
        // One that is down must not hide what the others have.
        let locks = match operator.locks().await {
            Ok(locks) => locks.unwrap_or_default(),
            Err(failure) => {
                crate::failure::complain(&failure);
                silent = Some(failure.exit());
                continue;
            }
        };
        for (at, queue) in locks {
            if arguments.json {
                let mut written = types.write(&v1::LockQueue::from(queue))?;
                written["participant"] = operator.name().into();
                written["at"] = timestamp(at).to_string().into();
                found.push(written);
            } else {
                rows(&mut table, operator.name(), at, &queue);
            }
        }
    }
    if arguments.json {
        json::print(&Value::Array(found));
    } else {
        say!("{table}");
    }
    Ok(silent.unwrap_or(Exit::Done))
}

/// The lines of a key.
fn rows(table: &mut Table, participant: &str, at: Millis, queue: &Queue<Party>) {
    let mut row = |party: &Party, what: &str, mode, since| {
        table.row([
            participant.to_owned(),
            queue.key.to_string(),
            party.transaction.to_string(),
            what.to_owned(),
            mode_shown(mode).to_owned(),
            seconds(at.since(since)),
        ]);
    };
    for holder in &queue.holders {
        row(&holder.owner, "holds", holder.mode, holder.since);
    }
    for waiter in &queue.waiters {
        row(&waiter.owner, "waits", waiter.mode, waiter.since);
    }
}

const fn mode_shown(mode: Mode) -> &'static str {
    match mode {
        Mode::Shared => "shared",
        Mode::Exclusive => "exclusive",
    }
}

/// A time in seconds, for people.
pub(crate) fn seconds(span: Span) -> String {
    let tenths = span.0 / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_tenths_of_a_second() {
        assert_eq!(seconds(Span(0)), "0.0 s");
        assert_eq!(seconds(Span(1_299)), "1.2 s");
        assert_eq!(seconds(Span(61_000)), "61.0 s");
    }
}
