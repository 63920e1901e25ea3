//! `nemcon-sim model`.

use clap::Args as ClapArgs;
use nemcon_core::planted::Planted;
use nemcon_sim::model::{self, Report, Scenario};

use super::{Error, cores, say};

/// What `model` is told.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Only this scenario; all if not given.
    #[arg(long, value_name = "NAME", value_parser = scenario)]
    scenario: Option<Scenario>,
    /// Up to so many crashes, instead of what each scenario has: more take longer, and
    /// a great deal more memory.
    #[arg(long, value_name = "N")]
    crashes: Option<u8>,
    /// How many threads; as many as there are cores if not given. With more than one
    /// the numbers of states vary a little.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Only say which scenarios there are.
    #[arg(long)]
    list: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn scenario(text: &str) -> Result<Scenario, String> {
    Scenario::named(text).ok_or_else(|| {
        let names: Vec<&str> = Scenario::all().iter().map(|it| it.name).collect();
        format!("`{text}`: want one of {}", names.join(", "))
    })
}

/// Explores the scenarios. True if all held and all was seen.
pub(super) fn run(args: &Args) -> Result<bool, Error> {
    let scenarios = match &args.scenario {
        Some(scenario) => vec![scenario.clone()],
        None => Scenario::all(),
    };
    if args.list {
        for scenario in scenarios {
            say(format_args!("{:<20} {}", scenario.name, scenario.about));
        }
        return Ok(true);
    }
    let threads = args.threads.unwrap_or_else(cores);
    let mut reports = Vec::new();
    for scenario in scenarios {
        let scenario = match args.crashes {
            Some(crashes) => scenario.with_crashes(crashes),
            None => scenario,
        };
        let report = model::check(scenario, Planted::none(), threads);
        if !args.json {
            print(&report);
        }
        reports.push(report);
    }
    if args.json {
        say(format_args!("{}", serde_json::to_string_pretty(&reports)?));
    }
    Ok(reports
        .iter()
        .all(|report| report.failures().next().is_none()))
}

fn print(report: &Report) {
    say(format_args!(
        "{:<20} {:>10} states {:>11} steps  depth {:>3}  {:>7.1} s",
        report.scenario, report.unique_states, report.steps, report.depth, report.seconds
    ));
    for failure in report.failures() {
        let what = failure.broken.unwrap_or(failure.name);
        let story = failure.story.as_deref().unwrap_or("was not seen");
        say(format_args!("  FAILED {what}: {story}"));
        for (number, step) in failure.path.iter().enumerate() {
            say(format_args!("    {:>3} {step}", number + 1));
        }
    }
}
