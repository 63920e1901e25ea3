//! What to run: seeds, nodes, faults, mistakes.

use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use nemcon_core::planted::Planted;
use nemcon_sim::plan::{Kind, Plan, Wishes};

use super::Error;

/// What plans are to be like.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Coordinators and participants, as in 1+3; drawn for each seed if not given.
    #[arg(long, value_name = "C+P", value_parser = nodes)]
    nodes: Option<(usize, usize)>,
    /// Which faults there may be; all if not given, none with `none`.
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', value_parser = kind)]
    faults: Option<Vec<Option<Kind>>>,
    /// Everybody wants many locks of few keys at a time.
    #[arg(long)]
    crowded: bool,
}

impl Wanted {
    pub(super) fn wishes(&self) -> Wishes {
        let mut wishes = Wishes {
            crowded: self.crowded,
            ..Wishes::default()
        };
        if let Some((coordinators, participants)) = self.nodes {
            wishes.coordinators = Some(coordinators);
            wishes.participants = Some(participants);
        }
        if let Some(kinds) = &self.faults {
            wishes.faults = kinds.iter().flatten().copied().collect();
        }
        wishes
    }

    /// The same wishes on a command line, with a space before each.
    pub(super) fn again(&self) -> String {
        let mut text = String::new();
        if let Some((coordinators, participants)) = self.nodes {
            text += &format!(" --nodes {coordinators}+{participants}");
        }
        if let Some(kinds) = &self.faults {
            let names: Vec<&str> = kinds
                .iter()
                .map(|kind| kind.map_or("none", kind_name))
                .collect();
            text += &format!(" --faults {}", names.join(","));
        }
        if self.crowded {
            text += " --crowded";
        }
        text
    }
}

/// One plan: a seed's, or one from a file.
#[derive(Debug, Args)]
pub(super) struct One {
    /// The seed.
    #[arg(long, required_unless_present = "plan", conflicts_with = "plan")]
    seed: Option<u64>,
    /// A file that `minimize --out` wrote.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    wanted: Wanted,
    /// A mistake for the machines to make; `nemcon-sim planted` lists them.
    #[cfg(feature = "planted-bugs")]
    #[arg(long, value_name = "BUG", value_parser = bug)]
    planted: Option<nemcon_core::planted::Bug>,
}

impl One {
    pub(super) fn plan(&self) -> Result<Plan, Error> {
        if let Some(path) = &self.plan {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            let plan = serde_json::from_str(&text)
                .map_err(|error| format!("{} is no plan: {error}", path.display()))?;
            return Ok(plan);
        }
        let seed = self.seed.ok_or("want --seed or --plan")?;
        Ok(Plan::draw(seed, &self.wanted.wishes()))
    }

    pub(super) fn planted(&self) -> Planted {
        #[cfg(feature = "planted-bugs")]
        if let Some(bug) = self.planted {
            return Planted::bug(bug);
        }
        Planted::none()
    }
}

/// Seeds as in `0..1000`.
pub(super) fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("`{text}`: want seeds as in 0..1000, the last one not included");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let first = first.parse().map_err(|_| wrong())?;
    let end = end.parse().map_err(|_| wrong())?;
    if first < end {
        Ok(first..end)
    } else {
        Err(wrong())
    }
}

fn nodes(text: &str) -> Result<(usize, usize), String> {
    let wrong = || {
        format!("`{text}`: want coordinators and participants as in 1+3, 1 to 4 and 2 to 8 of them")
    };
    let (coordinators, participants) = text.split_once('+').ok_or_else(wrong)?;
    let coordinators: usize = coordinators.parse().map_err(|_| wrong())?;
    let participants: usize = participants.parse().map_err(|_| wrong())?;
    let legal = (1..=4).contains(&coordinators) && (2..=8).contains(&participants);
    legal
        .then_some((coordinators, participants))
        .ok_or_else(wrong)
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Crash => "crash",
        Kind::Network => "network",
        Kind::Disk => "disk",
        Kind::Clock => "clock",
        Kind::Members => "members",
        Kind::Operator => "operator",
    }
}

fn kind(text: &str) -> Result<Option<Kind>, String> {
    if text == "none" {
        return Ok(None);
    }
    let found = Kind::ALL.into_iter().find(|kind| kind_name(*kind) == text);
    let names = Kind::ALL.map(kind_name).join(", ");
    found.map_or_else(
        || Err(format!("`{text}`: want none or some of {names}")),
        |kind| Ok(Some(kind)),
    )
}

#[cfg(feature = "planted-bugs")]
pub(super) fn bug(text: &str) -> Result<nemcon_core::planted::Bug, String> {
    let all = nemcon_core::planted::Bug::ALL;
    let found = all.iter().copied().find(|bug| bug.name() == text);
    found.ok_or_else(|| {
        format!("no mistake has the name `{text}`; `nemcon-sim planted --list` has them all")
    })
}
