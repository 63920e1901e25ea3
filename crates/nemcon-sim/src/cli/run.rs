//! `nemcon-sim run`.

use std::ops::Range;
use std::time::Duration;

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use nemcon_core::planted::Planted;
use nemcon_sim::campaign::{Campaign, Result as Outcome};

use super::choice::{Wanted, seeds};
use super::{Error, cores, report, say};

/// Failures after which no more seeds are begun.
const FAILURES_MAX: usize = 10;

/// What `run` is told.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Which seeds, the last one not included.
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Range<u64>,
    #[command(flatten)]
    wanted: Wanted,
    /// How many seeds at a time; as many as there are cores if not given.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Begin no seed after so many seconds.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Print figures as JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// Runs the seeds. True if all held.
pub(super) fn run(args: &Args) -> Result<bool, Error> {
    let campaign = Campaign {
        first: args.seeds.start,
        end: args.seeds.end,
        wishes: args.wanted.wishes(),
        planted: Planted::none(),
        threads: args.threads.unwrap_or_else(cores),
        time_limit: args.seconds.map(Duration::from_secs),
        failures_max: FAILURES_MAX,
    };
    let bar = ProgressBar::new(args.seeds.end - args.seeds.start);
    let style = "{wide_bar} {pos} of {len} seeds  {per_sec}  {eta} left";
    bar.set_style(ProgressStyle::with_template(style)?);
    let outcome = campaign.run(|done| bar.set_position(done));
    bar.finish_and_clear();
    let unreached = report::unreached(&outcome.coverage);
    if args.json {
        say(format_args!("{}", report::json(&outcome, &unreached)?));
    } else {
        print(args, &outcome, &unreached);
    }
    Ok(outcome.failures.is_empty())
}

fn print(args: &Args, outcome: &Outcome, unreached: &[nemcon_sim::Row]) {
    report::print_coverage(&outcome.coverage, unreached);
    report::print_figures(outcome);
    for (seed, failure) in &outcome.failures {
        say(format_args!(""));
        say(format_args!("FAILED {} seed={seed}", failure.invariant));
        say(format_args!("  {}", failure.story));
        say(format_args!(
            "  after {} events; to see it again:",
            failure.event
        ));
        let wanted = args.wanted.again();
        say(format_args!("    nemcon-sim replay --seed {seed}{wanted}"));
        say(format_args!(
            "    nemcon-sim minimize --seed {seed}{wanted}"
        ));
    }
    let verdict = match outcome.failures.len() {
        0 => String::from("all held"),
        1 => String::from("1 seed failed"),
        n => format!("{n} seeds failed"),
    };
    say(format_args!(""));
    say(format_args!("{} seeds: {verdict}", outcome.seeds));
}
