//! How many transactions there are.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use nemcon_charts::{DrawError, Picture, Run, Sample};
use nemcon_client::Address;
use prost_types::Timestamp;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::{Out, field, list, malformed, named, number, read, statistics};
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// End of the help text.
pub(super) const HELP: &str = "\
A coordinator is asked for its totals while this runs; where it starts again there is a gap. A \
file is either what `nemcon stats --json --samples N` prints, or the report of a bench (`nemcon \
bench --json`): then its rate is drawn against the number in flight.

Examples:
  nemcon plot throughput --seconds 30 --out throughput.svg
  nemcon plot throughput --from bench.json --out in-flight.png";

/// The most samples in a picture, and the shortest time between two.
const SAMPLES: u32 = 100;
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// Into so many parts the time of single transactions is cut.
const PARTS: usize = 50;

/// What to draw.
#[derive(Debug, Args)]
pub(crate) struct Throughput {
    #[command(flatten)]
    out: Out,
    /// How long to watch the coordinator: 1 to 3600
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Draw a file instead: JSON of `stats --samples` or of `bench`
    #[arg(long, value_name = "FILE.json", conflicts_with = "seconds")]
    from: Option<PathBuf>,
}

pub(super) async fn run(arguments: Throughput, coordinator: &Address) -> Result<Exit, Failure> {
    arguments.out.check()?;
    let drawn = match &arguments.from {
        Some(path) => of_file(path)?,
        None => {
            let samples = watch(coordinator, arguments.seconds).await?;
            nemcon_charts::throughput(&samples, &coordinator.to_string())
        }
    };
    arguments.out.write(drawn)?;
    Ok(Exit::Done)
}

/// Asks for the totals again and again.
async fn watch(coordinator: &Address, seconds: u32) -> Result<Vec<Sample>, Failure> {
    Session::open(coordinator).await?;
    let whole = Duration::from_secs(seconds.into());
    let mut ticks = interval((whole / SAMPLES).max(PAUSE_MIN));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let progress = progress(seconds);
    let mut samples = Vec::new();
    let began = Instant::now();
    loop {
        ticks.tick().await;
        let totals = statistics(coordinator, 0).await?;
        let passed = began.elapsed();
        samples.push(Sample {
            seconds: passed.as_secs_f64(),
            committed: totals.committed,
            aborted: totals.aborted,
        });
        progress.set_position(passed.as_secs());
        if passed >= whole {
            progress.finish_and_clear();
            return Ok(samples);
        }
    }
}

fn progress(seconds: u32) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(seconds.into());
    // A template that is wrong leaves the bar as it is.
    if let Ok(style) = ProgressStyle::with_template("watching {wide_bar} {pos} of {len} s") {
        bar.set_style(style);
    }
    bar
}

fn of_file(path: &Path) -> Result<Result<Picture, DrawError>, Failure> {
    let file = read(path)?;
    let about = named(path);
    if file.get("rows").is_some() {
        return Ok(nemcon_charts::in_flight(&runs(path, &file)?, &about));
    }
    if file.get("samples").is_none() {
        return Err(malformed(
            path,
            "there is no list \"samples\" or \"rows\" in it",
        ));
    }
    Ok(nemcon_charts::throughput(
        &totals(&ended(path, &file)?),
        &about,
    ))
}

/// The closed loads of a bench: those that kept so many in flight.
fn runs(path: &Path, file: &Value) -> Result<Vec<Run>, Failure> {
    let workload = file.get("workload").and_then(Value::as_str);
    let workload = workload.unwrap_or("nemcon");
    let rows = list(path, file, "rows")?;
    let transports = rows.iter().filter_map(|row| row.get("transport")?.as_str());
    let transports = transports.collect::<BTreeSet<_>>().len();
    let mut runs = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let wrong = |what: &str| malformed(path, &format!("row {}: {what}", place + 1));
        let Some(in_flight) = row.get("in_flight").filter(|it| !it.is_null()) else {
            continue;
        };
        let in_flight = in_flight.as_u64().filter(|it| *it > 0);
        let in_flight = in_flight.ok_or_else(|| wrong("in_flight is no whole number from 1 on"))?;
        let per_second = row.pointer("/median/per_second").and_then(number);
        let per_second =
            per_second.ok_or_else(|| wrong("median.per_second is missing, or no number"))?;
        let transport = row.get("transport").and_then(Value::as_str);
        let mut name = workload.to_owned();
        if let Some(transport) = transport.filter(|_| transports > 1) {
            name = format!("{name}, {transport}");
        }
        if let Some(participants) = row.get("participants").and_then(Value::as_u64) {
            name = format!("{name} ({participants})");
        }
        runs.push(Run {
            name,
            in_flight,
            per_second,
        });
    }
    if runs.is_empty() {
        return Err(malformed(path, "none of its rows has a number in flight"));
    }
    Ok(runs)
}

/// When each transaction ended, in seconds, and whether it committed.
fn ended(path: &Path, file: &Value) -> Result<Vec<(f64, bool)>, Failure> {
    let read = |(place, sample): (usize, &Value)| {
        let wrong = |what: &str| malformed(path, &format!("sample {}: {what}", place + 1));
        let at = field(sample, "endedAt", "ended_at").and_then(Value::as_str);
        let at = at.ok_or_else(|| wrong("endedAt is missing"))?;
        let at: Timestamp = at
            .parse()
            .map_err(|_| wrong(&format!("endedAt is {at}, not a time")))?;
        let committed = sample.get("outcome").and_then(Value::as_str) == Some("OUTCOME_COMMITTED");
        Ok((at.seconds as f64 + f64::from(at.nanos) / 1e9, committed))
    };
    list(path, file, "samples")?
        .iter()
        .enumerate()
        .map(read)
        .collect()
}

/// Totals at even times, of what ended when.
fn totals(ended: &[(f64, bool)]) -> Vec<Sample> {
    let first = ended.iter().map(|it| it.0).fold(f64::INFINITY, f64::min);
    let last = ended
        .iter()
        .map(|it| it.0)
        .fold(f64::NEG_INFINITY, f64::max);
    if ended.len() < 2 || last - first < 1e-3 {
        return Vec::new();
    }
    let mut sorted: Vec<(f64, bool)> = ended.to_vec();
    sorted.sort_by(|one, two| one.0.total_cmp(&two.0));
    let mut rest = sorted.iter().peekable();
    let mut total = Sample::default();
    let mut samples = Vec::new();
    for part in 0..=PARTS {
        total.seconds = (last - first) * part as f64 / PARTS as f64;
        let until = if part == PARTS {
            f64::INFINITY
        } else {
            first + total.seconds
        };
        while let Some((_, committed)) = rest.next_if(|it| it.0 <= until) {
            total.committed += u64::from(*committed);
            total.aborted += u64::from(!*committed);
        }
        samples.push(total);
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let drawn = of_file(file.path()).map_err(|error| error.to_string())?;
        Ok(drawn.unwrap().svg().to_owned())
    }

    #[test]
    fn a_bench_and_samples_are_told_apart() {
        let runs = r#"{"format": "nemcon-bench/2", "workload": "transfer", "rows": [
            {"in_flight": 1, "participants": null, "median": {"per_second": 300}},
            {"in_flight": null, "rate": 500, "median": {"per_second": 500}},
            {"in_flight": 64, "participants": null, "median": {"per_second": 4000.7}}]}"#;
        assert!(
            file(runs)
                .unwrap()
                .contains("transfer: at most 4,001 per second, with 64 in flight.")
        );
        let samples = r#"{"samples": [
            {"outcome": "OUTCOME_COMMITTED", "endedAt": "2024-05-01T10:00:00Z"},
            {"outcome": "OUTCOME_COMMITTED", "endedAt": "2024-05-01T10:00:01.5Z"},
            {"outcome": "OUTCOME_ABORTED", "endedAt": "2024-05-01T10:00:02Z"}]}"#;
        assert!(
            file(samples)
                .unwrap()
                .contains("0.50 committed and 0.50 aborted per second")
        );
    }

    #[test]
    fn totals_grow_to_all_there_is() {
        let ended: Vec<(f64, bool)> = (0..1000)
            .map(|it| (f64::from(it % 100), it % 10 != 0))
            .collect();
        let totals = totals(&ended);
        assert!(
            totals
                .windows(2)
                .all(|it| it[0].committed <= it[1].committed)
        );
        let last = totals.last().unwrap();
        assert_eq!((last.committed, last.aborted), (900, 100));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        for (text, said) in [
            ("[]", "there is no list \"samples\" or \"rows\" in it"),
            (
                r#"{"rows": [{"in_flight": 0}]}"#,
                "row 1: in_flight is no whole number from 1 on",
            ),
            (
                r#"{"rows": [{"in_flight": 2}]}"#,
                "row 1: median.per_second is missing, or no number",
            ),
            (
                r#"{"rows": [{"in_flight": null, "rate": 7}]}"#,
                "none of its rows has a number in flight",
            ),
            (
                r#"{"samples": [{"outcome": "OUTCOME_ABORTED"}]}"#,
                "sample 1: endedAt is missing",
            ),
            (
                r#"{"samples": [{"endedAt": "noon"}]}"#,
                "sample 1: endedAt is noon, not a time",
            ),
        ] {
            let error = file(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
