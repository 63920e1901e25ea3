//! What was reached, for people and for programs.

use std::fmt::Write as _;

use nemcon_sim::Row;
use nemcon_sim::campaign::Result as Outcome;
use nemcon_sim::coverage::Coverage;
use nemcon_sim::rows::ROWS;
use serde_json::json;

use super::{Error, say};

/// Rows of the transition tables that no seed reached.
pub(super) fn unreached(coverage: &Coverage) -> Vec<Row> {
    let rows = ROWS.iter().copied();
    rows.filter(|row| !coverage.rows.contains_key(row))
        .collect()
}

/// Prints the tables of what was reached.
pub(super) fn print_coverage(coverage: &Coverage, unreached: &[Row]) {
    heading("transitions");
    for ((machine, from, what, to), count) in &coverage.rows {
        say(format_args!(
            "{count:>12}  {machine:<12} {from:<18} {what:<24} {to}"
        ));
    }
    heading("reasons for a no");
    for (reason, count) in &coverage.reasons {
        say(format_args!("{count:>12}  {reason}"));
    }
    heading("faults");
    for (fault, count) in &coverage.faults {
        say(format_args!("{count:>12}  {fault}"));
    }
    heading("outcomes");
    for (outcome, count) in &coverage.outcomes {
        say(format_args!("{count:>12}  {outcome}"));
    }
    if !unreached.is_empty() {
        heading("transitions that no seed reached");
        for (machine, from, what, to) in unreached {
            say(format_args!(
                "{:>12}  {machine:<12} {from:<18} {what:<24} {to}",
                0
            ));
        }
    }
}

fn heading(text: &str) {
    say(format_args!(""));
    say(format_args!("{text}"));
}

/// Prints how much was run, and how fast.
pub(super) fn print_figures(outcome: &Outcome) {
    let seconds = outcome.took.as_secs_f64().max(0.001);
    let mut line = String::new();
    let _ = write!(
        line,
        "{} seeds with {} orders and {} faults, {} events, {} h simulated, in {seconds:.1} s: \
         {:.0} seeds/s, {:.0} simulated s/s",
        outcome.seeds,
        outcome.orders,
        outcome.faults,
        outcome.events,
        outcome.simulated_ms / 3_600_000,
        outcome.seeds as f64 / seconds,
        outcome.simulated_ms as f64 / 1_000.0 / seconds,
    );
    say(format_args!(""));
    say(format_args!("{line}"));
}

/// All of it as JSON.
pub(super) fn json(outcome: &Outcome, unreached: &[Row]) -> Result<String, Error> {
    let row = |(machine, from, what, to): &Row| json!([machine, from, what, to]);
    let coverage = &outcome.coverage;
    let rows = coverage.rows.iter();
    let rows: Vec<_> = rows
        .map(|(it, count)| json!({"row": row(it), "count": count}))
        .collect();
    let failures = outcome.failures.iter();
    let failures: Vec<_> = failures
        .map(|(seed, failure)| {
            json!({
                "seed": seed,
                "invariant": failure.invariant,
                "story": failure.story,
                "events": failure.event,
            })
        })
        .collect();
    let all = json!({
        "seeds": outcome.seeds,
        "orders": outcome.orders,
        "faults": outcome.faults,
        "events": outcome.events,
        "simulated_ms": outcome.simulated_ms,
        "took_ms": outcome.took.as_millis() as u64,
        "failures": failures,
        "coverage": {
            "rows": rows,
            "unreached": unreached.iter().map(row).collect::<Vec<_>>(),
            "reasons": coverage.reasons,
            "faults": coverage.faults,
            "outcomes": coverage.outcomes,
        },
    });
    Ok(serde_json::to_string_pretty(&all)?)
}
