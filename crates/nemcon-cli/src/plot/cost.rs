//! What a transaction costs, by how large something is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use nemcon_charts::{DrawError, Picture, Point};
use serde_json::Value;

use super::{Out, list, malformed, named, number, read};
use crate::failure::{Exit, Failure};

/// End of the help text.
pub(super) const HELP: &str = "\
Each file is the report of a bench (`nemcon bench --json`). A row is a point, in the place that \
--by says; by committed, each of its rounds is one. Nodes that a bench has not started itself are \
not measured: of those there is nothing to draw.

Examples:
  nemcon bench empty --spawn --participants 2,4,8,16 --json > participants.json
  nemcon plot cost --by participants --out participants.svg participants.json
  nemcon plot cost --of memory --by in-flight --out memory.png flights.json";

/// What to draw.
#[derive(Debug, Args)]
pub(crate) struct Cost {
    #[command(flatten)]
    out: Out,
    /// What is drawn
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Of::Cpu)]
    of: Of,
    /// What differs
    #[arg(long, value_name = "WHAT", value_enum)]
    by: By,
    /// Reports of benches
    #[arg(value_name = "FILE.json", required = true)]
    from: Vec<PathBuf>,
}

/// What is drawn.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    /// Processor time of all nodes for a transaction
    Cpu,
    /// Memory of all nodes
    Memory,
}

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// Participants of each transaction
    Participants,
    /// Coordinators
    Coordinators,
    /// Accounts at each bank
    Accounts,
    /// Transactions in flight
    InFlight,
    /// Transactions that were committed before, and are remembered
    Committed,
}

impl Of {
    const fn words(self) -> &'static str {
        match self {
            Self::Cpu => "processor time of all nodes, µs",
            Self::Memory => "memory of all nodes, MB",
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Cpu => "nodes_cpu_us",
            Self::Memory => "nodes_memory_mb",
        }
    }
}

impl By {
    const fn words(self) -> &'static str {
        match self {
            Self::Participants => "participants",
            Self::Coordinators => "coordinators",
            Self::Accounts => "accounts at each bank",
            Self::InFlight => "transactions in flight",
            Self::Committed => "transactions committed before",
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Participants => "participants",
            Self::Coordinators => "coordinators",
            Self::Accounts => "accounts",
            Self::InFlight => "in_flight",
            Self::Committed => "committed_before",
        }
    }

    /// Where it stands: with the whole report, or with each row.
    fn of<'a>(self, report: &'a Value, row: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Coordinators | Self::Accounts => report.get(self.field()),
            Self::Participants | Self::InFlight | Self::Committed => row.get(self.field()),
        }
    }
}

pub(super) fn run(arguments: &Cost) -> Result<Exit, Failure> {
    arguments.out.check()?;
    let drawn = of_files(&arguments.from, arguments.of, arguments.by)?;
    arguments.out.write(drawn)?;
    Ok(Exit::Done)
}

fn of_files(files: &[PathBuf], of: Of, by: By) -> Result<Result<Picture, DrawError>, Failure> {
    let mut points = Vec::new();
    for path in files {
        points.extend(points_of(path, &read(path)?, of, by)?);
    }
    let names: Vec<String> = files.iter().map(|path| named(path)).collect();
    let about = names.join(", ");
    Ok(nemcon_charts::scale(
        &points,
        of.words(),
        by.words(),
        &about,
    ))
}

fn points_of(path: &Path, report: &Value, of: Of, by: By) -> Result<Vec<Point>, Failure> {
    let workload = report.get("workload").and_then(Value::as_str);
    let workload = workload.unwrap_or("nemcon");
    let rows = list(path, report, "rows")?;
    let in_flight = |row: &Value| row.get("in_flight").and_then(Value::as_u64);
    let loads: BTreeSet<Option<u64>> = rows.iter().map(in_flight).collect();
    let mut points = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let wrong = |what: String| malformed(path, &format!("row {}: {what}", place + 1));
        let mut name = workload.to_owned();
        let told_apart = by != By::InFlight && loads.len() > 1;
        if let Some(count) = in_flight(row).filter(|_| told_apart) {
            name = format!("{name}, {count} in flight");
        }
        if by == By::Committed {
            for round in list(path, row, "rounds")? {
                points.extend(point(&name, round.get(by.field()), round.get(of.field())));
            }
            continue;
        }
        let median = row.get("median").and_then(|it| it.get(of.field()));
        let found = point(&name, by.of(report, row), median);
        let missing = || wrong(format!("there is no {} or no {}", by.field(), of.field()));
        let found = found.ok_or_else(missing)?;
        // What each of them has to do, and not only all together.
        if let (By::Participants, Of::Cpu) = (by, of) {
            points.push(Point {
                name: format!("{name}, for each"),
                value: found.value / found.at,
                ..found.clone()
            });
        }
        points.push(found);
    }
    Ok(points)
}

fn point(name: &str, at: Option<&Value>, value: Option<&Value>) -> Option<Point> {
    Some(Point {
        name: name.to_owned(),
        at: at.and_then(number)?,
        value: value.and_then(number)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"workload": "empty", "accounts": 1000, "coordinators": 2, "rows": [
        {"in_flight": 64, "participants": 2,
         "median": {"nodes_cpu_us": 80, "nodes_memory_mb": 50, "committed_before": 9},
         "rounds": [{"nodes_cpu_us": 90, "committed_before": 0},
                    {"nodes_cpu_us": 70, "committed_before": 5000}]},
        {"in_flight": 64, "participants": 16,
         "median": {"nodes_cpu_us": 480, "nodes_memory_mb": 60, "committed_before": 9},
         "rounds": []}]}"#;

    fn drawn(text: &str, of: Of, by: By) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let drawn = of_files(&[file.path().to_owned()], of, by);
        Ok(drawn
            .map_err(|error| error.to_string())?
            .unwrap()
            .svg()
            .to_owned())
    }

    #[test]
    fn rows_stand_where_their_number_is() {
        let told = drawn(REPORT, Of::Cpu, By::Participants).unwrap();
        assert!(told.contains("empty: 80 at 2, 480 at 16."));
        assert!(told.contains("empty, for each: 40 at 2, 30 at 16."));
        let told = drawn(REPORT, Of::Memory, By::InFlight).unwrap();
        assert!(told.contains("empty: 50 at 64, 60 at 64."));
        let two = REPORT.replacen("64", "8", 1);
        let told = drawn(&two, Of::Cpu, By::Accounts).unwrap();
        assert!(told.contains("empty, 8 in flight: 80 at 1,000"), "{told}");
        let told = drawn(REPORT, Of::Cpu, By::Coordinators).unwrap();
        assert!(told.contains("80 at 2, 480 at 2."));
        // The first of all has no place on a scale of powers of two.
        let told = drawn(REPORT, Of::Cpu, By::Committed).unwrap();
        assert!(told.contains("empty: 70 at 5,000, 70 at 5,000."));
    }

    #[test]
    fn what_is_missing_is_named() {
        let rows = r#"{"rows": [{"in_flight": 1, "median": {"nodes_cpu_us": null}}]}"#;
        let error = drawn(rows, Of::Cpu, By::InFlight).unwrap_err();
        assert!(
            error.contains("row 1: there is no in_flight or no nodes_cpu_us"),
            "{error}"
        );
        let error = drawn("{}", Of::Cpu, By::InFlight).unwrap_err();
        assert!(error.contains("there is no list \"rows\""), "{error}");
    }
}
