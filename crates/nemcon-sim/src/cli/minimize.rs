//! `nemcon-sim minimize`.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use nemcon_sim::minimize::minimize;

use super::choice::One;
use super::{Error, say};

/// What `minimize` is told.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    one: One,
    /// Where the smaller plan goes; standard output if not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Makes the plan smaller. True if it does not fail at all.
pub(super) fn run(args: &Args) -> Result<bool, Error> {
    let plan = args.one.plan()?;
    let (orders, faults) = (plan.orders.len(), plan.faults.len());
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}")?);
    let smaller = minimize(plan, args.one.planted(), |tried, orders, faults| {
        bar.set_message(format!(
            "{tried} plans tried: {orders} orders, {faults} faults"
        ));
        bar.tick();
    });
    bar.finish_and_clear();
    let Some(smaller) = smaller else {
        say(format_args!("the plan does not fail: all held"));
        return Ok(true);
    };
    let text = serde_json::to_string_pretty(&smaller.plan)? + "\n";
    let again = match &args.out {
        Some(path) => {
            std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
            format!("nemcon-sim replay --plan {}", path.display())
        }
        None => {
            say(format_args!("{}", text.trim_end()));
            String::from("keep the plan above in a file: nemcon-sim replay --plan FILE")
        }
    };
    say(format_args!(
        "{} of {orders} orders and {} of {faults} faults are left, after {} tries",
        smaller.plan.orders.len() - smaller.plan.left_out.len(),
        smaller.plan.faults.len(),
        smaller.tried
    ));
    say(format_args!("FAILED {}", smaller.failure));
    say(format_args!("to see it: {again}"));
    Ok(false)
}
