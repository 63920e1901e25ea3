//! `nemcon-sim planted`.

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use nemcon_core::planted::{Bug, Planted};
use nemcon_sim::campaign::Campaign;
use nemcon_sim::plan::Wishes;
use serde_json::json;

use super::choice::bug;
use super::{Error, cores, say};

/// What `planted` is told.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Only this mistake.
    #[arg(long, value_name = "BUG", value_parser = bug)]
    only: Option<Bug>,
    /// Give up on a mistake after so many seeds.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    seeds: u64,
    /// Only say which mistakes there are.
    #[arg(long)]
    list: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// How a mistake was caught.
struct Caught {
    invariant: String,
    seed: u64,
    /// Without faults.
    calm: bool,
    events: u64,
}

/// Lets the machines make each mistake. True if all are caught.
pub(super) fn run(args: &Args) -> Result<bool, Error> {
    let bugs: Vec<Bug> = match args.only {
        Some(bug) => vec![bug],
        None => Bug::ALL.to_vec(),
    };
    if args.list {
        for bug in bugs {
            say(format_args!("{:<34} {}", bug.name(), bug.story().trim()));
        }
        return Ok(true);
    }
    let bar = ProgressBar::new(bugs.len() as u64);
    bar.set_style(ProgressStyle::with_template(
        "{wide_bar} {pos} of {len}  {msg}",
    )?);
    let mut rows = Vec::new();
    let mut escaped = 0;
    for bug in bugs {
        bar.set_message(bug.name());
        let caught = catch(bug, args.seeds);
        bar.inc(1);
        match &caught {
            Some(caught) if !args.json => bar.suspend(|| {
                say(format_args!(
                    "{:<34} {:<28} seed {:<7} event {}{}",
                    bug.name(),
                    caught.invariant,
                    caught.seed,
                    caught.events,
                    if caught.calm { ", no faults" } else { "" }
                ));
            }),
            Some(caught) => rows.push(json!({
                "name": bug.name(),
                "caught_by": "simulator",
                "invariant": caught.invariant,
                "seed": caught.seed,
                "faults": !caught.calm,
                "events": caught.events,
            })),
            None => {
                escaped += 1;
                bar.suspend(|| eprintln!("{:<34} ESCAPED", bug.name()));
                rows.push(json!({ "name": bug.name(), "caught_by": null }));
            }
        }
    }
    bar.finish_and_clear();
    if args.json {
        say(format_args!("{}", serde_json::to_string_pretty(&rows)?));
    }
    Ok(escaped == 0)
}

/// Seeds without faults that are tried first: what only takes long where it should not
/// is seen where nothing else makes it take long.
const CALM: u64 = 500;

fn catch(bug: Bug, seeds: u64) -> Option<Caught> {
    let calm = Wishes {
        faults: Vec::new(),
        ..Wishes::default()
    };
    catch_with(bug, CALM.min(seeds), calm).or_else(|| catch_with(bug, seeds, Wishes::default()))
}

fn catch_with(bug: Bug, seeds: u64, wishes: Wishes) -> Option<Caught> {
    let calm = wishes.faults.is_empty();
    let campaign = Campaign {
        first: 0,
        end: seeds,
        wishes,
        planted: Planted::bug(bug),
        threads: cores(),
        time_limit: None,
        failures_max: 1,
    };
    let (seed, failure) = campaign.run(|_| {}).failures.into_iter().next()?;
    Some(Caught {
        invariant: failure.invariant,
        seed,
        calm,
        events: failure.event,
    })
}
