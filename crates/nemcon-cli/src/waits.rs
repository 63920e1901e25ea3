//! `nemcon waits`: who waits for whom, at all participants.

use clap::Args;
use nemcon_client::{Address, WaitsView};
use nemcon_core::id::{ParticipantName, TransactionId};
use nemcon_core::lock::{LockKey, Queue};
use nemcon_core::message::Party;
use nemcon_core::time::{Millis, Span};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::json;
use crate::locks::seconds;
use crate::out::say;
use crate::session::Session;

/// End of the help text.
pub(crate) const HELP: &str = "\
The coordinator asks every participant. What they answer is not of one moment, so a circle in it \
need not be a deadlock; those that are are broken within a fraction of a second, and the youngest \
transaction of each aborts with DEADLOCK.

Examples:
  nemcon waits
  nemcon waits --dot | dot -Tsvg > waits.svg";

/// How to print the graph.
#[derive(Debug, Args)]
pub(crate) struct Waits {
    /// Print JSON: an array of waits
    #[arg(long)]
    json: bool,
    /// Print the graph for Graphviz; an arrow leads to whom is waited for
    #[arg(long, conflicts_with = "json")]
    dot: bool,
}

/// A wait in words.
struct Wait<'a> {
    waiter: TransactionId,
    waited: Span,
    participant: &'a ParticipantName,
    key: &'a LockKey,
    /// Who has what it waits for.
    held_by: Vec<TransactionId>,
    /// Who will be served before.
    behind: Vec<TransactionId>,
}

/// Prints the graph. Where somebody did not answer it is not whole, and the exit
/// code says so.
pub(crate) async fn run(arguments: Waits, coordinator: &Address) -> Result<Exit, Failure> {
    let session = Session::open(coordinator).await?;
    let view = session.client().waits().await?;
    let waits = waits(&view);
    if arguments.json {
        json::print(&waits.iter().map(Wait::json).collect());
    } else if arguments.dot {
        say!("{}", dot(&waits));
    } else if waits.is_empty() && view.silent.is_empty() {
        say!("Nobody waits.");
    } else {
        for wait in &waits {
            say!("{}", wait.sentence());
        }
    }
    for (participant, report) in view.reports.iter().filter(|(_, it)| it.left_out > 0) {
        eprintln!(
            "nemcon: {} more keys are waited for at {participant} than an answer has room for",
            report.left_out
        );
    }
    if view.silent.is_empty() {
        return Ok(Exit::Done);
    }
    let silent: Vec<&str> = view.silent.iter().map(ParticipantName::as_str).collect();
    eprintln!(
        "nemcon: no answer from {}; who waits there is missing",
        silent.join(", ")
    );
    Ok(Exit::Unreachable)
}

/// The graph as it is drawn.
pub(crate) fn drawable(view: &WaitsView) -> Vec<nemcon_charts::Wait> {
    let ids = |ids: &[TransactionId]| ids.iter().map(ToString::to_string).collect();
    let drawable = |wait: &Wait<'_>| nemcon_charts::Wait {
        waiter: wait.waiter.to_string(),
        waited_ms: wait.waited.0,
        participant: wait.participant.to_string(),
        key: wait.key.to_string(),
        held_by: ids(&wait.held_by),
        behind: ids(&wait.behind),
    };
    waits(view).iter().map(drawable).collect()
}

fn waits(view: &WaitsView) -> Vec<Wait<'_>> {
    let mut waits = Vec::new();
    for (participant, report) in &view.reports {
        for queue in &report.queues {
            waits.extend(waits_of(participant, report.at, queue));
        }
    }
    waits
}

fn waits_of<'a>(
    participant: &'a ParticipantName,
    at: Millis,
    queue: &'a Queue<Party>,
) -> impl Iterator<Item = Wait<'a>> {
    queue
        .waiters
        .iter()
        .enumerate()
        .map(move |(place, waiter)| {
            let holds = |party: &Party| queue.holders.iter().any(|it| it.owner == *party);
            let (held_by, behind): (Vec<Party>, Vec<Party>) =
                queue.blockers(place).partition(holds);
            let ids = |parties: Vec<Party>| parties.iter().map(|it| it.transaction).collect();
            Wait {
                waiter: waiter.owner.transaction,
                waited: at.since(waiter.since),
                participant,
                key: &queue.key,
                held_by: ids(held_by),
                behind: ids(behind),
            }
        })
}

impl Wait<'_> {
    fn sentence(&self) -> String {
        let held = format!("held by {}", listed(&self.held_by));
        let behind = format!("behind {}", listed(&self.behind));
        let why = match (self.held_by.as_slice(), self.behind.as_slice()) {
            ([], []) => "about to be served".to_owned(),
            (_, []) => held,
            ([], _) => behind,
            (_, _) => format!("{held}; {behind}"),
        };
        format!(
            "{} waits {} for {} at {}: {why}",
            self.waiter,
            seconds(self.waited),
            self.key,
            self.participant
        )
    }

    fn json(&self) -> Value {
        let ids = |ids: &[TransactionId]| ids.iter().map(ToString::to_string).collect::<Value>();
        json!({
            "transactionId": self.waiter.to_string(),
            "waitedMs": self.waited.0,
            "participant": self.participant.as_str(),
            "key": self.key.to_string(),
            "heldBy": ids(&self.held_by),
            "behind": ids(&self.behind),
        })
    }
}

fn listed(ids: &[TransactionId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(", ")
}

/// The graph for Graphviz. Arrows to those who are only ahead are dashed.
fn dot(waits: &[Wait<'_>]) -> String {
    let mut text = String::from("digraph waits {\n  node [shape=box];\n");
    for wait in waits {
        let at = format!("{} at {}", wait.key, wait.participant);
        let at = at.replace('\\', "\\\\").replace('"', "\\\"");
        let waited = seconds(wait.waited);
        let held = wait.held_by.iter().map(|id| (id, ""));
        let ahead = wait.behind.iter().map(|id| (id, ", style=dashed"));
        for (blocker, style) in held.chain(ahead) {
            let waiter = wait.waiter;
            text +=
                &format!("  \"{waiter}\" -> \"{blocker}\" [label=\"{at}, {waited}\"{style}];\n");
        }
    }
    text + "}"
}

#[cfg(test)]
mod tests {
    use nemcon_core::id::{AttemptId, Boot, CoordinatorId, Epoch, Position, Sequence};
    use nemcon_core::lock::{Holder, Mode, Token, Waiter};
    use nemcon_core::message::WaitsReport;

    use super::*;

    fn party(number: u64) -> Party {
        let position = Position {
            epoch: Epoch(1),
            sequence: Sequence(number),
        };
        let transaction = TransactionId::from_parts(Millis(number), 0);
        Party {
            attempt: AttemptId {
                coordinator: "c0".repeat(16).parse().map(CoordinatorId::new).unwrap(),
                position,
            },
            transaction,
            age: transaction,
        }
    }

    fn waiter(number: u64) -> Waiter<Party> {
        Waiter {
            owner: party(number),
            mode: Mode::Exclusive,
            wait: number,
            since: Millis(1_000),
        }
    }

    fn view() -> WaitsView {
        let queue = Queue {
            key: LockKey::from(b"a/\"x".to_vec()),
            holders: vec![Holder {
                owner: party(1),
                mode: Mode::Shared,
                token: Token::default(),
                since: Millis(0),
            }],
            waiters: vec![waiter(2), waiter(3)],
        };
        let report = WaitsReport {
            boot: Boot(1),
            at: Millis(2_250),
            queues: vec![queue],
            left_out: 0,
        };
        WaitsView {
            reports: vec![("bank-a".parse().unwrap(), report)],
            silent: Vec::new(),
        }
    }

    #[test]
    fn a_wait_is_told_in_a_sentence() {
        let view = view();
        let told: Vec<String> = waits(&view).iter().map(Wait::sentence).collect();
        let [one, two, three] = [1, 2, 3].map(|number| party(number).transaction);
        let key = r#"a/\"x"#;
        assert_eq!(
            told,
            [
                format!("{two} waits 1.2 s for {key} at bank-a: held by {one}"),
                format!("{three} waits 1.2 s for {key} at bank-a: held by {one}; behind {two}"),
            ]
        );
    }

    #[test]
    fn keys_cannot_break_the_graph() {
        let view = view();
        let drawn = dot(&waits(&view));
        assert_eq!(drawn.matches("->").count(), 3, "{drawn}");
        assert_eq!(drawn.matches("dashed").count(), 1, "{drawn}");
        assert!(
            drawn.contains(r#"[label="a/\\\"x at bank-a, 1.2 s"]"#),
            "{drawn}"
        );
        assert_eq!(dot(&[]), "digraph waits {\n  node [shape=box];\n}");
    }
}
