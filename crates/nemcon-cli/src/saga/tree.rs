//! The steps of a saga as a small tree.

use std::collections::BTreeMap;

use nemcon_core::saga::{StepState, StepView, View};

use crate::failure::no;
use crate::table::Table;

/// A state in one sign: at a glance, beside the word.
pub(super) const fn sign(state: StepState) -> &'static str {
    match state {
        StepState::Waiting => "·",
        StepState::Trying | StepState::Compensating => "…",
        StepState::Pausing | StepState::CompensationPausing => "~",
        StepState::Done => "✓",
        StepState::Failed => "✗",
        StepState::Stuck | StepState::CompensationStuck => "!",
        StepState::Compensated => "↩",
    }
}

/// All steps, each under the last of those that it waits for.
pub(super) fn table(view: &View) -> Table {
    let mut table = Table::new(["STEP", "STATE", ">TRIES", ">AT", "WHY"]);
    for (branch, at) in branches(&view.steps) {
        let step = &view.steps[at];
        let waits = step.state == StepState::Waiting && step.tries_in_all == 0;
        let since = step.changed_at.since(view.started_at);
        table.row([
            format!("{branch}{} {}{}", sign(step.state), step.name, notes(step)),
            step.state.to_string(),
            step.tries_in_all.to_string(),
            if waits {
                String::new()
            } else {
                since.to_string()
            },
            step.cause.as_ref().map(no).unwrap_or_default(),
        ]);
    }
    table
}

/// What else is to be known of a step: that it is a pivot, and whom else it waits
/// for than the one it stands under.
fn notes(step: &StepView) -> String {
    let others = step.depends_on.split_last().map_or(&[][..], |(_, it)| it);
    let others = others.iter().map(|name| format!("+{name}"));
    let pivot = step.pivot.then(|| "pivot".to_owned());
    let notes: Vec<String> = pivot.into_iter().chain(others).collect();
    if notes.is_empty() {
        return String::new();
    }
    format!(" ({})", notes.join(" "))
}

/// The number of each step with what is drawn before it, in the order of the lines.
///
/// Each step occurs once, also if a peer of another version tells of a circle.
fn branches(steps: &[StepView]) -> Vec<(String, usize)> {
    let numbers: BTreeMap<_, _> = steps
        .iter()
        .enumerate()
        .map(|(at, step)| (&step.name, at))
        .collect();
    let parent = |step: &StepView| numbers.get(step.depends_on.last()?).copied();
    let mut below: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        below.entry(parent(step)).or_default().push(at);
    }
    let mut lines = Vec::with_capacity(steps.len());
    // What is drawn before a line, and before those below it.
    let mut next: Vec<(String, String, usize)> = Vec::new();
    let roots = below.remove(&None).unwrap_or_default();
    next.extend(
        roots
            .into_iter()
            .rev()
            .map(|at| (String::new(), String::new(), at)),
    );
    while let Some((branch, stem, at)) = next.pop() {
        lines.push((branch, at));
        let children = below.remove(&Some(at)).unwrap_or_default();
        for (place, child) in children.into_iter().rev().enumerate() {
            let (corner, bar) = if place == 0 {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            next.push((format!("{stem}{corner}"), format!("{stem}{bar}"), child));
        }
    }
    // Whoever waits in a circle hangs from nothing.
    lines.extend(below.into_values().flatten().map(|at| (String::new(), at)));
    lines
}

#[cfg(test)]
mod tests {
    use nemcon_core::coordinator::record::Cause;
    use nemcon_core::id::SagaId;
    use nemcon_core::reason::{Reason, Refusal};
    use nemcon_core::saga::{State, StepName};
    use nemcon_core::time::Millis;

    use super::*;

    fn name(name: &str) -> StepName {
        name.parse().unwrap()
    }

    fn step(named: &str, after: &[&str], state: StepState) -> StepView {
        let waits = state == StepState::Waiting;
        StepView {
            name: name(named),
            state,
            tries: u32::from(!waits),
            tries_in_all: u32::from(!waits),
            transaction: None,
            began_at: None,
            changed_at: Millis(1_042),
            cause: (state == StepState::Failed).then(|| Cause {
                refusal: Refusal::new(Reason::business("SOLD_OUT"), "Ritz: 0 free, 1 wanted"),
                participant: Some("hotels".parse().unwrap()),
            }),
            depends_on: after.iter().map(|it| name(it)).collect(),
            pivot: named == "payment",
        }
    }

    fn drawn(steps: Vec<StepView>) -> String {
        let view = View {
            saga: SagaId::from_parts(Millis(1_000), 7),
            label: String::new(),
            state: State::Running,
            cause: None,
            stuck: None,
            beyond_pivot: false,
            started_at: Millis(1_000),
            turned_at: None,
            ended_at: None,
            steps,
            hands: Vec::new(),
        };
        format!("\n{}\n", table(&view))
    }

    #[test]
    fn each_step_stands_under_the_last_that_it_waits_for() {
        let drawn = drawn(vec![
            step("flight", &[], StepState::Compensated),
            step("hotel", &[], StepState::Failed),
            step("payment", &["flight", "hotel"], StepState::Waiting),
            step("ticket", &["payment"], StepState::Waiting),
            step("voucher", &["payment"], StepState::Waiting),
        ]);
        assert_eq!(
            drawn,
            "
STEP                          STATE        TRIES     AT  WHY
↩ flight                      COMPENSATED      1  42 ms
✗ hotel                       FAILED           1  42 ms  hotels: Ritz: 0 free, 1 wanted (SOLD_OUT)
└─ · payment (pivot +flight)  WAITING          0
   ├─ · ticket                WAITING          0
   └─ · voucher               WAITING          0
"
        );
    }

    #[test]
    fn nonsense_is_drawn_too() {
        let drawn = drawn(vec![
            step("a", &["b"], StepState::Done),
            step("b", &["a"], StepState::Done),
            step("c", &["nobody"], StepState::Done),
        ]);
        assert_eq!(drawn.lines().count(), 5, "{drawn}");
    }
}
