//! `nemcon up`: a whole cluster in one process.
//!
//! Nothing is global in a node, so a coordinator and any number of banks can live
//! side by side, each on a thread of its own with its own log. They talk over
//! gRPC on loopback, as they would from machine to machine.

mod cluster;
mod plan;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nemcon_client::{Address, Client, ClientError, Settings};
use nemcon_core::coordinator::event::ParticipantView;
use nemcon_core::id::ParticipantName;
use nemcon_node::{settings, telemetry};
use tokio::time::{Instant, sleep};

use crate::failure::{Exit, Failure};
use crate::out::say;
use crate::table::Table;
use crate::up::cluster::Cluster;
use crate::up::plan::Plan;

/// How long the banks may take to register.
const REGISTERED_MAX: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// End of the help text.
pub(crate) const HELP: &str = "\
The coordinator listens on the port base, the i-th bank on the port base + 10 * i, all on \
127.0.0.1; with port base 0 every node takes any free port. Data stays in the data directory, one \
directory for each node: start again with the same one to go on where you stopped. ctrl-c or \
SIGTERM finishes what is in flight and stops; a second one stops at once, which is safe too.

Examples:
  nemcon up
  nemcon up --banks home,AB,CD --data-dir /tmp/nemcon --port-base 7200";

/// What to start.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Names of the banks
    #[arg(
        long,
        value_name = "NAME,NAME,…",
        value_delimiter = ',',
        default_value = "bank-a,bank-b,bank-c"
    )]
    banks: Vec<ParticipantName>,
    /// Where the logs and the data live; made if missing
    #[arg(long, value_name = "DIR", default_value = "./nemcon-data")]
    data_dir: PathBuf,
    /// Port of the coordinator; the banks follow in steps of 10
    #[arg(long, value_name = "N", default_value_t = plan::PORT_BASE)]
    port_base: u16,
    /// Log what the nodes do, on standard error
    #[arg(long, short)]
    verbose: bool,
    /// What is logged [default: warn, or info with --verbose]
    #[arg(long, value_name = "LEVEL", env = "NEMCON_LOG_LEVEL")]
    log_level: Option<String>,
    /// text for people, json for programs
    #[arg(
        long,
        value_name = "FORMAT",
        env = "NEMCON_LOG_FORMAT",
        default_value = "text"
    )]
    log_format: String,
    /// Send spans of all nodes to this collector, by OTLP over gRPC [default: none are made]
    #[arg(long, value_name = "URL", env = "NEMCON_OTLP_ENDPOINT")]
    otlp_endpoint: Option<Address>,
    /// The share of traces that is recorded where no caller has decided, 0 to 1
    #[arg(long, value_name = "RATIO", env = "NEMCON_TRACE_RATIO", default_value_t = 1.0, value_parser = ratio)]
    trace_ratio: f64,
}

/// Runs a cluster until it is told to stop.
pub(crate) async fn run(arguments: Up) -> Result<Exit, Failure> {
    log(&arguments)?;
    let traces = nemcon_trace::Settings {
        endpoint: arguments.otlp_endpoint.map(|url| url.to_string()),
        ratio: arguments.trace_ratio,
    };
    let plan = Plan::new(arguments.banks, arguments.data_dir, arguments.port_base)?;
    plan.check_ports()?;
    telemetry::leave_caught_panics_to_the_log();
    let cluster = Cluster::start(&plan, &traces)?;
    let ready = async {
        let all = registered(&cluster).await?;
        telemetry::stop_on_panic();
        greet(&plan, &cluster, &all);
        Ok(())
    };
    if let Err(failure) = ready.await {
        // What failed first is what is worth saying.
        let _ = cluster.stop().await;
        return Err(failure);
    }
    cluster.until_told_to_stop().await?;
    say!("\nstopping: finishing what is in flight (ctrl-c again stops at once)");
    cluster.stop().await?;
    say!("stopped; `nemcon up` goes on where it left off");
    Ok(Exit::Done)
}

/// Quiet by default: what the nodes do is of interest when something is wrong.
fn log(arguments: &Up) -> Result<(), Failure> {
    let level = match &arguments.log_level {
        Some(level) => level,
        None if arguments.verbose => "info",
        None => "warn",
    };
    let format = &arguments.log_format;
    let lines = telemetry::Settings::of(level, format).ok_or_else(|| {
        let (levels, formats) = (telemetry::LEVELS, telemetry::FORMATS);
        Failure::Usage(format!(
            "--log-level is {level:?} and --log-format {format:?}; want {levels}; and {formats}"
        ))
    })?;
    lines.install();
    Ok(())
}

/// Reads `--trace-ratio`.
fn ratio(text: &str) -> Result<f64, String> {
    settings::ratio(text).ok_or_else(|| format!("want {}", settings::RATIO))
}

/// Waits until every bank is registered with its present address and has
/// answered. Gives all that the coordinator knows, banks of earlier times too.
async fn registered(cluster: &Cluster) -> Result<Vec<ParticipantView>, Failure> {
    let url: Address = cluster
        .coordinator()
        .url()
        .parse()
        .map_err(ClientError::from)?;
    let settings = Settings {
        give_up_after: REGISTERED_MAX,
        ..Settings::default()
    };
    let client = Client::new(url.clone(), settings);
    let until = Instant::now() + REGISTERED_MAX;
    loop {
        let views = client.participants().await?;
        // A registration of an earlier run counts for nothing: the boot number is
        // known when the bank has answered to the coordinator that runs now.
        let missing: Vec<ParticipantName> = cluster
            .banks()
            .filter(|(name, url)| {
                let here = |view: &ParticipantView| view.name == **name && view.address == *url;
                !views
                    .iter()
                    .any(|view| here(view) && view.reachable && view.boot.is_some())
            })
            .map(|(name, _)| name.clone())
            .collect();
        if missing.is_empty() {
            return Ok(views);
        }
        if Instant::now() >= until {
            return Err(Failure::BanksMissing {
                names: missing,
                url: url.to_string(),
                seconds: REGISTERED_MAX.as_secs(),
            });
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Says where everything is, and what to do with it.
fn greet(plan: &Plan, cluster: &Cluster, all: &[ParticipantView]) {
    say!(
        "nemcon is up, with its data in {}\n",
        plan.data_dir().display()
    );
    let mut table = Table::new(["NODE", "ADDRESS"]);
    table.row(["coordinator".into(), cluster.coordinator().url().to_owned()]);
    for (name, url) in cluster.banks() {
        table.row([name.to_string(), url.to_owned()]);
    }
    say!("{table}\n");
    for gone in all
        .iter()
        .filter(|view| !cluster.banks().any(|(name, _)| *name == view.name))
    {
        let name = &gone.name;
        say!(
            "{name} is registered from an earlier time and not started now: start it with \
             --banks, or give it up with `nemcon participants remove {name}`.\n"
        );
    }
    say!(
        "{}",
        plan.things_to_try(cluster.coordinator().url(), &program())
    );
    if let Some(http) = cluster.coordinator().http_address() {
        say!("Metrics of the coordinator: http://{http}/metrics; every node has its own.");
    }
    say!("Stop with ctrl-c.");
}

/// The program as it was called, so that what is printed can be pasted.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "nemcon".into())
}
