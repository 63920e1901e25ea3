//! `nemcon plot`: pictures of what a coordinator did, or of what a file says.

mod cost;
mod latency;
mod target;
mod throughput;
mod waits;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use nemcon_charts::{DrawError, Picture};
use nemcon_client::Address;
use nemcon_net::CALL_TIMEOUT;
use nemcon_proto::v1;
use nemcon_proto::v1::admin_service_client::AdminServiceClient;
use serde_json::Value;

use crate::failure::{Exit, Failure};
use crate::out::say;
use target::Target;

/// The pictures.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// How long the prepare and the commit phase take: two histograms
    #[command(after_help = latency::HELP)]
    Latency(latency::Latency),
    /// Transactions per second, over time or by how many are in flight
    #[command(after_help = throughput::HELP)]
    Throughput(throughput::Throughput),
    /// What a transaction costs, by how large something is
    #[command(after_help = cost::HELP)]
    Cost(cost::Cost),
    /// Who waits for whom, with deadlocks in their own colour
    #[command(after_help = waits::HELP)]
    Waits(waits::Waits),
}

/// Where the picture goes.
#[derive(Debug, Args)]
struct Out {
    /// The file to draw; one that is there is replaced when the picture is whole
    #[arg(long, value_name = "FILE.svg|FILE.png")]
    out: Target,
    /// Points of a PNG to one of its 1200 by 600 pixels, each way: 1 to 4
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(nemcon_charts::SCALE_MAX)))]
    scale: Option<u32>,
}

/// Draws.
pub(crate) async fn run(command: Command, coordinator: &Address) -> Result<Exit, Failure> {
    match command {
        Command::Latency(arguments) => latency::run(arguments, coordinator).await,
        Command::Throughput(arguments) => throughput::run(arguments, coordinator).await,
        Command::Cost(arguments) => cost::run(&arguments),
        Command::Waits(arguments) => waits::run(arguments, coordinator).await,
    }
}

impl Out {
    /// Looks at what can be wrong before anything is asked or measured.
    fn check(&self) -> Result<(), Failure> {
        if self.scale.is_some() && !self.out.is_png() {
            let what = "--scale is for a PNG: an SVG has no points, and is sharp at every size";
            return Err(Failure::Usage(what.to_owned()));
        }
        self.out.check()
    }

    /// Writes the picture and says where it is.
    fn write(&self, drawn: Result<Picture, DrawError>) -> Result<(), Failure> {
        let undrawable = |error: DrawError| Failure::Undrawable(error.to_string());
        let picture = drawn.map_err(undrawable)?;
        let png;
        let bytes = if self.out.is_png() {
            png = picture.png(self.scale.unwrap_or(1)).map_err(undrawable)?;
            png.as_slice()
        } else {
            picture.svg().as_bytes()
        };
        self.out.write(bytes)?;
        say!("{} is drawn.", self.out.path().display());
        Ok(())
    }
}

/// Reads a file of JSON.
fn read(path: &Path) -> Result<Value, Failure> {
    let text = std::fs::read(path).map_err(|source| Failure::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|error| malformed(path, &format!("no JSON: {error}")))
}

fn malformed(path: &Path, what: &str) -> Failure {
    Failure::Malformed {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

/// What a coordinator counts, with as many single transactions of its window as it
/// has.
async fn statistics(
    coordinator: &Address,
    samples_max: u32,
) -> Result<v1::GetStatisticsResponse, Failure> {
    let mut service = AdminServiceClient::new(nemcon_net::channel(coordinator));
    let request = v1::GetStatisticsRequest { samples_max };
    let answer = nemcon_net::call(CALL_TIMEOUT, service.get_statistics(request)).await;
    answer.map_err(|status| match nemcon_net::Refused::read(&status) {
        Some(refused) => Failure::Refused(refused.to_string()),
        None => Failure::NodeSilent {
            url: coordinator.to_string(),
            why: status.message().to_owned(),
        },
    })
}

/// A field of an object, in either spelling of protobuf's JSON.
fn field<'a>(object: &'a Value, camel: &str, snake: &str) -> Option<&'a Value> {
    object
        .get(camel)
        .or_else(|| object.get(snake))
        .filter(|it| !it.is_null())
}

/// A number, which protobuf's JSON writes as a text where it may be large.
fn number(value: &Value) -> Option<f64> {
    let read = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    read.filter(|it| it.is_finite() && *it >= 0.0)
}

/// The list in a file, under its name.
fn list<'a>(path: &Path, file: &'a Value, name: &str) -> Result<&'a Vec<Value>, Failure> {
    let list = file.get(name).and_then(Value::as_array);
    list.ok_or_else(|| malformed(path, &format!("there is no list \"{name}\" in it")))
}

/// How a picture calls a file.
fn named(path: &Path) -> String {
    PathBuf::from(path).file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}
