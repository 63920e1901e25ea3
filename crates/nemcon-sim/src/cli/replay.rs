//! `nemcon-sim replay`.

use clap::Args as ClapArgs;

use super::choice::One;
use super::{Error, say};

/// What `replay` is told.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    one: One,
    /// Tell the story only up to this event.
    #[arg(long, value_name = "EVENT", default_value_t = u64::MAX, hide_default_value = true)]
    until: u64,
    /// Print the plan, too.
    #[arg(long)]
    show_plan: bool,
}

/// Tells the story. True if all held.
pub(super) fn run(args: &Args) -> Result<bool, Error> {
    let plan = args.one.plan()?;
    if args.show_plan {
        say(format_args!("{}", serde_json::to_string_pretty(&plan)?));
    }
    let run = nemcon_sim::run(&plan, args.one.planted(), args.until.max(1));
    for line in &run.story {
        say(format_args!("{line}"));
    }
    say(format_args!(""));
    say(format_args!(
        "{} events in {} s of simulated time; event log {:016x}",
        run.events,
        run.simulated_ms / 1_000,
        run.hash
    ));
    match &run.failure {
        None => say(format_args!("all held")),
        Some(failure) => say(format_args!(
            "FAILED {} after {} events: {}",
            failure.invariant, failure.event, failure.story
        )),
    }
    Ok(run.failure.is_none())
}
