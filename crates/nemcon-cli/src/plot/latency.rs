//! How long the phases take.

use std::path::PathBuf;

use clap::Args;
use nemcon_charts::Quantity;
use nemcon_client::Address;
use nemcon_proto::v1;
use serde_json::Value;

use super::{Out, field, list, malformed, named, number, read, statistics};
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// End of the help text.
pub(super) const HELP: &str = "\
Each panel is a histogram of 30 bins with the median, the 95th and the 99th percentile, of the \
transactions that committed among the last ones of the coordinator; 1,000 unless it is set \
otherwise. Where times span more than a decade the scale is logarithmic. A transaction with one \
participant, or one that only reads, has no commit phase.

Examples:
  nemcon plot latency --out latency.svg
  nemcon plot latency --from statistics.json --out latency.png --scale 2";

/// All that a coordinator has; its window is smaller.
const SAMPLES_MAX: u32 = 20_000;

/// What to draw.
#[derive(Debug, Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    out: Out,
    /// Draw a file instead: JSON with "samples", as GetStatistics answers
    #[arg(long, value_name = "FILE.json")]
    from: Option<PathBuf>,
}

/// One transaction, as far as it is drawn.
#[derive(Debug, Default, PartialEq)]
struct Sample {
    committed: bool,
    prepare_us: Option<f64>,
    commit_us: Option<f64>,
}

pub(super) async fn run(arguments: Latency, coordinator: &Address) -> Result<Exit, Failure> {
    arguments.out.check()?;
    let (samples, whose) = match &arguments.from {
        Some(path) => (of_file(path)?, named(path)),
        None => (of_coordinator(coordinator).await?, coordinator.to_string()),
    };
    arguments
        .out
        .write(nemcon_charts::latency(&data(&samples, &whose)))?;
    Ok(Exit::Done)
}

/// Aborts are left out: how long it takes to say no is another question.
fn data(samples: &[Sample], whose: &str) -> nemcon_charts::Latency {
    let committed = || samples.iter().filter(|it| it.committed);
    let of = |value: fn(&Sample) -> Option<f64>| -> Vec<f64> {
        committed()
            .filter_map(value)
            .map(|us| us / 1000.0)
            .collect()
    };
    let all = match samples.len() {
        1 => "the last transaction".to_owned(),
        many => format!(
            "the last {} transactions",
            Quantity::Count.tell(many as f64)
        ),
    };
    let about = match committed().count() {
        some if some == samples.len() => format!("{all} of {whose}; all committed"),
        some => format!("the {some} that committed of {all} of {whose}"),
    };
    nemcon_charts::Latency {
        prepare_ms: of(|it| it.prepare_us),
        commit_ms: of(|it| it.commit_us),
        about,
    }
}

async fn of_coordinator(coordinator: &Address) -> Result<Vec<Sample>, Failure> {
    // It says what is wrong with an address better than one call does.
    Session::open(coordinator).await?;
    let answer = statistics(coordinator, SAMPLES_MAX).await?;
    let window = answer.window.unwrap_or_default();
    if answer.samples.is_empty() && window.transactions > 0 {
        let what = format!("{coordinator} tells of no single transactions");
        return Err(Failure::Nonsense(what));
    }
    let read = |sample: v1::Sample| Sample {
        committed: sample.outcome() == v1::Outcome::Committed,
        prepare_us: sample.prepare_us.map(|us| us as f64),
        commit_us: sample.commit_us.map(|us| us as f64),
    };
    Ok(answer.samples.into_iter().map(read).collect())
}

fn of_file(path: &std::path::Path) -> Result<Vec<Sample>, Failure> {
    let file = read(path)?;
    let samples = list(path, &file, "samples")?.iter().enumerate();
    let read = |(place, sample): (usize, &Value)| {
        let wrong = |what: &str| malformed(path, &format!("sample {}: {what}", place + 1));
        let outcome = sample.get("outcome").and_then(Value::as_str);
        let us = |camel, snake| match field(sample, camel, snake) {
            None => Ok(None),
            Some(value) => match number(value) {
                Some(us) => Ok(Some(us)),
                None => Err(wrong(&format!(
                    "{camel} is {value}, not a number of microseconds"
                ))),
            },
        };
        Ok(Sample {
            committed: match outcome {
                Some("OUTCOME_COMMITTED") => true,
                Some("OUTCOME_ABORTED") => false,
                Some(other) => {
                    return Err(wrong(&format!(
                        "outcome {other} is not OUTCOME_COMMITTED or OUTCOME_ABORTED"
                    )));
                }
                None => return Err(wrong("it has no outcome")),
            },
            prepare_us: us("prepareUs", "prepare_us")?,
            commit_us: us("commitUs", "commit_us")?,
        })
    };
    samples.map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Vec<Sample>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        of_file(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_is_read_in_both_spellings() {
        let read = file(
            r#"{"committed": "1", "samples": [
                {"outcome": "OUTCOME_COMMITTED", "prepareUs": "1500", "commitUs": 250},
                {"outcome": "OUTCOME_ABORTED", "reason": "DEADLOCK", "prepare_us": 7}]}"#,
        );
        let read = read.unwrap();
        assert_eq!(
            read[0],
            Sample {
                committed: true,
                prepare_us: Some(1500.0),
                commit_us: Some(250.0)
            }
        );
        let drawn = data(&read, "x.json");
        assert_eq!((drawn.prepare_ms, drawn.commit_ms), (vec![1.5], vec![0.25]));
        assert_eq!(
            drawn.about,
            "the 1 that committed of the last 2 transactions of x.json"
        );
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        for (text, said) in [
            ("{", "no JSON"),
            ("{}", "there is no list \"samples\" in it"),
            (r#"{"samples": [{}]}"#, "sample 1: it has no outcome"),
            (
                r#"{"samples": [{"outcome": "YES"}]}"#,
                "outcome YES is not OUTCOME_COMMITTED",
            ),
            (
                r#"{"samples": [{"outcome": "OUTCOME_COMMITTED", "prepareUs": -1}]}"#,
                "sample 1: prepareUs is -1, not a number of microseconds",
            ),
        ] {
            let error = file(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
