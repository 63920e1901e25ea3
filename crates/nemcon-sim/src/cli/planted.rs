//! `nemcon-sim planted`.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use nemcon_core::planted::{Bug, Planted};
use nemcon_sim::campaign::Campaign;
use nemcon_sim::model::{self, Scenario};
use nemcon_sim::plan::Wishes;
use nemcon_sim::sagas;
use serde::Deserialize;
use serde_json::{Value, json};

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
    /// Look first where each was caught before: a file with what --json has printed.
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Only say which mistakes there are.
    #[arg(long)]
    list: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// How a mistake was caught.
enum Caught {
    /// A seed of the simulated world.
    Simulator {
        invariant: String,
        seed: u64,
        /// Without faults.
        calm: bool,
        /// Where everybody wants the same.
        crowded: bool,
        events: u64,
    },
    /// A run of the small world of sagas.
    Sagas { broken: String, seed: u64 },
    /// A scenario of which every schedule is taken.
    Model {
        invariant: &'static str,
        scenario: &'static str,
        steps: usize,
    },
}

impl Caught {
    fn row(&self, bug: Bug) -> String {
        let name = bug.name();
        match self {
            Self::Simulator {
                invariant,
                seed,
                calm,
                crowded,
                events,
            } => {
                let calm = if *calm { ", no faults" } else { "" };
                let crowded = if *crowded { ", crowded" } else { "" };
                format!("{name:<34} {invariant:<28} seed {seed:<7} event {events}{calm}{crowded}")
            }
            Self::Sagas { broken, seed } => format!("{name:<34} {broken} (sagas, graph {seed})"),
            Self::Model {
                invariant,
                scenario,
                steps,
            } => format!("{name:<34} {invariant:<28} model `{scenario}` in {steps} steps"),
        }
    }

    fn json(&self, bug: Bug) -> Value {
        match self {
            Self::Simulator {
                invariant,
                seed,
                calm,
                crowded,
                events,
            } => json!({
                "name": bug.name(),
                "caught_by": "simulator",
                "invariant": invariant,
                "seed": seed,
                "faults": !calm,
                "crowded": crowded,
                "events": events,
            }),
            Self::Sagas { broken, seed } => json!({
                "name": bug.name(),
                "caught_by": "sagas",
                "invariant": broken,
                "seed": seed,
            }),
            Self::Model {
                invariant,
                scenario,
                steps,
            } => json!({
                "name": bug.name(),
                "caught_by": "model checker",
                "invariant": invariant,
                "scenario": scenario,
                "steps": steps,
            }),
        }
    }
}

/// A mistake and where it was caught before, of what [`Caught::json`] prints.
#[derive(Debug, Deserialize)]
struct Known {
    name: String,
    #[serde(flatten)]
    place: Place,
}

/// Where a mistake was caught.
#[derive(Debug, Deserialize)]
#[serde(tag = "caught_by")]
enum Place {
    #[serde(rename = "simulator")]
    Simulator {
        seed: u64,
        faults: bool,
        crowded: bool,
    },
    #[serde(rename = "sagas")]
    Sagas { seed: u64 },
    #[serde(rename = "model checker")]
    Model { scenario: String },
}

/// Reads where mistakes were caught before, by their names.
fn read_known(file: &Path) -> Result<BTreeMap<String, Place>, Error> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| named(&error))?;
    let known: Vec<Known> = serde_json::from_str(&text).map_err(|error| named(&error))?;
    Ok(known.into_iter().map(|it| (it.name, it.place)).collect())
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
    let known = args.known.as_deref().map(read_known).transpose()?;
    let known = known.unwrap_or_default();
    let bar = ProgressBar::new(bugs.len() as u64);
    bar.set_style(ProgressStyle::with_template(
        "{wide_bar} {pos} of {len}  {msg}",
    )?);
    let mut rows = Vec::new();
    let mut escaped = 0;
    for bug in bugs {
        bar.set_message(bug.name());
        let caught = match known.get(bug.name()).map(|place| catch_again(bug, place)) {
            Some(Some(caught)) => Some(caught),
            Some(None) => {
                let name = bug.name();
                bar.suspend(|| eprintln!("{name:<34} not caught where it was: searched for"));
                catch(bug, args.seeds)
            }
            None => catch(bug, args.seeds),
        };
        bar.inc(1);
        match &caught {
            Some(caught) if args.json => rows.push(caught.json(bug)),
            Some(caught) => bar.suspend(|| say(format_args!("{}", caught.row(bug)))),
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

/// Seeds that most mistakes show themselves in.
const FEW: u64 = 2_000;

/// Seeds that are cheaper than all schedules of the larger scenarios.
const MANY: u64 = 20_000;

/// Crowds, each of which costs as much as a hundred other seeds.
const CROWDS: u64 = 200;

/// Graphs whose sagas are run with every injection.
const SAGAS: u64 = 2_000;

/// Scenarios that take seconds, all together: the first ones.
const SMALL: usize = 11;

/// Tries what is cheap first. A mistake that needs a rare schedule is found sooner
/// where all are taken.
fn catch(bug: Bug, seeds: u64) -> Option<Caught> {
    let seeded = |from: u64, to: u64| {
        let range = from.min(seeds)..to.min(seeds);
        in_campaign(bug, range, Wishes::default())
    };
    // The large world has no sagas: what is wrong only with those shows here or nowhere.
    if bug.is_of_sagas() {
        return in_sagas(bug, 0..SAGAS);
    }
    let mut small = Scenario::all();
    let larger = small.split_off(SMALL);
    in_campaign(bug, 0..CALM.min(seeds), calm())
        .or_else(|| seeded(0, FEW))
        .or_else(|| in_model(bug, small))
        .or_else(|| seeded(FEW, MANY))
        .or_else(|| in_campaign(bug, 0..CROWDS.min(seeds), crowd()))
        .or_else(|| in_model(bug, Scenario::large()))
        .or_else(|| in_model(bug, larger))
        .or_else(|| seeded(MANY, seeds))
}

/// Looks in one place only.
fn catch_again(bug: Bug, place: &Place) -> Option<Caught> {
    match place {
        Place::Simulator {
            seed,
            faults,
            crowded,
        } => {
            let wishes = match (crowded, faults) {
                (true, _) => crowd(),
                (false, true) => Wishes::default(),
                (false, false) => calm(),
            };
            in_campaign(bug, *seed..seed.saturating_add(1), wishes)
        }
        Place::Sagas { seed } => in_sagas(bug, *seed..seed.saturating_add(1)),
        Place::Model { scenario } => in_model(bug, Scenario::named(scenario).into_iter().collect()),
    }
}

/// Nothing fails.
fn calm() -> Wishes {
    Wishes {
        faults: Vec::new(),
        ..Wishes::default()
    }
}

/// Nothing fails, and everybody wants the same.
fn crowd() -> Wishes {
    Wishes {
        participants: Some(2),
        coordinators: Some(2),
        crowded: true,
        ..calm()
    }
}

fn in_campaign(bug: Bug, seeds: Range<u64>, wishes: Wishes) -> Option<Caught> {
    let (calm, crowded) = (wishes.faults.is_empty(), wishes.crowded);
    let campaign = Campaign {
        first: seeds.start,
        end: seeds.end,
        wishes,
        planted: Planted::bug(bug),
        threads: cores(),
        time_limit: None,
        failures_max: 1,
    };
    let (seed, failure) = campaign.run(|_| {}).failures.into_iter().next()?;
    Some(Caught::Simulator {
        invariant: failure.invariant,
        seed,
        calm,
        crowded,
        events: failure.event,
    })
}

fn in_sagas(bug: Bug, graphs: Range<u64>) -> Option<Caught> {
    let mut all = graphs.flat_map(sagas::plans);
    all.find_map(|plan| {
        let broken = sagas::run(&plan, Planted::bug(bug)).err()?;
        let seed = plan.seed;
        Some(Caught::Sagas { broken, seed })
    })
}

fn in_model(bug: Bug, scenarios: Vec<Scenario>) -> Option<Caught> {
    scenarios.into_iter().find_map(|scenario| {
        let report = model::check(scenario, Planted::bug(bug), cores());
        let broken = report.broken()?;
        Some(Caught::Model {
            invariant: broken.broken.unwrap_or(broken.name),
            scenario: report.scenario,
            steps: broken.path.len(),
        })
    })
}
