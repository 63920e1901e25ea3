//! `nemcon bench`: puts a workload on a cluster and says how it did.
//!
//! What is run and how it is measured is `nemcon-bench`; here is the command line,
//! the bar that moves meanwhile, and the report for people.

mod shown;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use nemcon_bench::{
    ACCOUNTS_MAX, ACCOUNTS_MIN, BenchError, Cluster, IN_FLIGHT_MAX, Load, Manner, PARTICIPANTS_MAX,
    PARTICIPANTS_MIN, Plan, RATE_MAX, ROUNDS_MAX, Report, SECONDS_MAX, Skew, Spans, Spawn,
    Transport, WorkloadKind,
};
use nemcon_client::Address;
use nemcon_core::id::ParticipantName;

use crate::failure::{Exit, Failure};
use crate::out::say;
use crate::session::Session;

/// Most banks that are started: more processes measure the scheduler.
const BANKS_MAX: i64 = PARTICIPANTS_MAX as i64;

/// Most coordinators that are started, for the same reason.
const COORDINATORS_MAX: i64 = 8;

/// Longest time by which a flush can be slowed: the most that nodes take.
const FLUSH_DELAY_MS_MAX: i64 = 10_000;

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(100);

/// End of the help text.
pub(crate) const HELP: &str = "\
Workloads:
  transfer   a payment between accounts at two banks
  smallbank  the six transactions of that research benchmark, its sum checked to the cent
  empty      both phases with forced records and no data, at 2, 3 and 5 participants
  read       reads one account at each of two banks; nothing is forced
  trip       one job in three steps at three banks, as a saga and as one transaction

Without --rate so many transactions are kept in flight. With it so many begin in a second, and \
latency counts from when a transaction was to begin. Each of a list is a row; all rows are \
measured in turn, as often as --rounds says, and figures are medians. No try is repeated. \
Accounts are called bench-…, in the currency XTS; those that are missing are opened first. \
Nobody else may use them meanwhile.

With --json the report is one JSON object; docs/performance.md describes it.

Exit codes: 0 measured, and the books add up; 1 they do not, or it was interrupted; 2 the command \
line makes no sense; 3 the outcome of some transactions is not known; 4 nobody answers.

Examples:
  nemcon bench transfer --spawn --in-flight 1,64,256 --transport unary,stream
  nemcon bench smallbank --spawn=3 --skew zipf --in-flight 16,64
  nemcon bench trip --spawn --as saga,transaction --in-flight 1,16
  nemcon bench transfer --rate 500,1000 --seconds 10 --coordinator http://127.0.0.1:7100";

/// What to run, and how hard.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Which transactions
    workload: Transactions,
    /// Start a coordinator and so many banks for it, each a process of its own, and
    /// throw their data away
    #[arg(long, value_name = "BANKS", num_args = 0..=1, require_equals = true,
        default_missing_value = "0", value_parser = clap::value_parser!(u8).range(0..=BANKS_MAX))]
    spawn: Option<u8>,
    /// How many coordinators to start; each gets as many of the transactions
    #[arg(long, value_name = "N", default_value_t = 1, requires = "spawn",
        value_parser = clap::value_parser!(u8).range(1..=COORDINATORS_MAX))]
    coordinators: u8,
    /// Only these banks of a running cluster [default: all that are registered]
    #[arg(
        long,
        value_name = "NAME,NAME,…",
        value_delimiter = ',',
        conflicts_with = "spawn"
    )]
    banks: Vec<ParticipantName>,
    /// Accounts at each bank; customers, with two accounts each, in smallbank
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(ACCOUNTS_MIN as i64..=ACCOUNTS_MAX as i64))]
    accounts: u32,
    /// How they are chosen [default: hot in smallbank, uniform otherwise]
    #[arg(long, value_name = "HOW")]
    skew: Option<Choice>,
    /// Participants of a transaction, in empty and read [default: 2,3,5 and 2]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser =
        clap::value_parser!(u8).range(PARTICIPANTS_MIN as i64..=PARTICIPANTS_MAX as i64))]
    participants: Vec<u8>,
    /// As what the job is run, in trip [default: saga,transaction]
    #[arg(long = "as", value_name = "WHAT,WHAT", value_delimiter = ',')]
    manners: Vec<Kind>,
    /// How many to have in flight
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "1,16,64",
        value_parser = clap::value_parser!(u16).range(1..=IN_FLIGHT_MAX as i64))]
    in_flight: Vec<u16>,
    /// How many to begin in a second, whatever became of those before
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', conflicts_with = "in_flight",
        value_parser = clap::value_parser!(u32).range(1..=RATE_MAX as i64))]
    rate: Vec<u32>,
    /// How transactions reach the coordinator [default: stream; unary in trip]
    #[arg(long, value_name = "WAY,WAY", value_delimiter = ',')]
    transport: Vec<Way>,
    /// How long each row is measured in each round
    #[arg(long, value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=SECONDS_MAX as i64))]
    seconds: u32,
    /// Seconds before that in which nothing counts
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(0..=SECONDS_MAX as i64))]
    warm_up: u32,
    /// How often all rows are measured
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=ROUNDS_MAX as i64))]
    rounds: u16,
    /// What chance begins with
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Make each flush of the started nodes take so much longer, in milliseconds
    #[arg(long, value_name = "N", default_value = "0", requires = "spawn", value_parser =
        clap::value_parser!(u64).range(0..=FLUSH_DELAY_MS_MAX as u64).map(Duration::from_millis))]
    flush_delay_ms: Duration,
    /// Where the started nodes get a directory that is thrown away [default: that of
    /// the system for temporary files]
    #[arg(long, value_name = "DIR", requires = "spawn")]
    data_dir: Option<PathBuf>,
    /// Where the programs to start are [default: beside this one]
    #[arg(long, value_name = "DIR", env = "NEMCON_BIN_DIR")]
    bin_dir: Option<PathBuf>,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// The workloads, as they are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Transactions {
    Transfer,
    Smallbank,
    Empty,
    Read,
    Trip,
}

/// As what a job is run, as it is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Saga,
    Transaction,
}

/// How accounts are chosen, as it is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Choice {
    /// Each as often as any other
    Uniform,
    /// 4 % of them in 90 % of the transactions
    Hot,
    /// The n-th in proportion to 1/n^0.99
    Zipf,
}

/// How transactions travel, as it is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Way {
    /// Each as a call of its own
    Unary,
    /// Many in one message, on one stream
    Stream,
}

impl From<Way> for Transport {
    fn from(way: Way) -> Self {
        match way {
            Way::Unary => Self::Unary,
            Way::Stream => Self::Stream,
        }
    }
}

impl From<Kind> for Manner {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Saga => Self::Saga,
            Kind::Transaction => Self::Transaction,
        }
    }
}

impl Bench {
    /// What is to be measured. Defaults that hang on the workload are filled in.
    fn plan(&self) -> Plan {
        let workload = match self.workload {
            Transactions::Transfer => WorkloadKind::Transfer,
            Transactions::Smallbank => WorkloadKind::SmallBank,
            Transactions::Empty => WorkloadKind::Empty,
            Transactions::Read => WorkloadKind::Read,
            Transactions::Trip => WorkloadKind::Trip,
        };
        let skew = match (self.skew, workload) {
            (Some(Choice::Hot), _) | (None, WorkloadKind::SmallBank) => Skew::Hot,
            (Some(Choice::Zipf), _) => Skew::Zipf,
            (Some(Choice::Uniform) | None, _) => Skew::Uniform,
        };
        let participants = match (self.participants.as_slice(), workload) {
            ([], WorkloadKind::Empty) => vec![2, 3, 5],
            ([], WorkloadKind::Read) => vec![2],
            (given, _) => given.to_vec(),
        };
        let manners = match (self.manners.as_slice(), workload) {
            ([], WorkloadKind::Trip) => vec![Manner::Saga, Manner::Transaction],
            (given, _) => given.iter().copied().map(Manner::from).collect(),
        };
        let loads = if self.rate.is_empty() {
            self.in_flight.iter().copied().map(Load::InFlight).collect()
        } else {
            self.rate.iter().copied().map(Load::Rate).collect()
        };
        let transports = match (self.transport.as_slice(), workload) {
            // As a saga it is: so the two differ in nothing else.
            ([], WorkloadKind::Trip) => vec![Transport::Unary],
            ([], _) => vec![Transport::Stream],
            (given, _) => given.iter().copied().map(Into::into).collect(),
        };
        Plan {
            workload,
            loads,
            transports,
            participants,
            manners,
            skew,
            accounts: self.accounts,
            spans: Spans {
                warm_up: Duration::from_secs(self.warm_up.into()),
                measured: Duration::from_secs(self.seconds.into()),
            },
            rounds: self.rounds,
            seed: self.seed,
        }
    }

    /// A cluster to start: without a number as many banks as the plan needs, and two
    /// at least.
    fn to_spawn(&self, banks: u8, plan: &Plan) -> Result<Spawn, Failure> {
        let needed = u8::try_from(plan.banks_min()).unwrap_or(u8::MAX);
        let programs = match &self.bin_dir {
            Some(dir) => dir.clone(),
            None => beside()?,
        };
        Ok(Spawn {
            coordinators: self.coordinators,
            banks: if banks == 0 { needed.max(2) } else { banks },
            programs,
            dir: self.data_dir.clone().unwrap_or_else(std::env::temp_dir),
            flush_delay: self.flush_delay_ms,
        })
    }
}

/// The directory of this program.
fn beside() -> Result<PathBuf, Failure> {
    let here = std::env::current_exe().map_err(|source| Failure::System {
        doing: "find out where this program is",
        source,
    })?;
    Ok(here.parent().map(PathBuf::from).unwrap_or_default())
}

/// Runs it. When it is told to stop, the nodes that it has started end with it.
pub(crate) async fn run(arguments: Bench, coordinator: &Address) -> Result<Exit, Failure> {
    let report = tokio::select! {
        report = measured(&arguments, coordinator) => report?,
        told = crate::signal::told_to_stop() => {
            told.map_err(|source| Failure::System { doing: "listen for signals", source })?;
            let why = "interrupted: nothing is reported; what was in flight ends by itself";
            return Err(Failure::Refused(why.into()));
        }
    };
    if arguments.json {
        let json = serde_json::to_value(&report);
        crate::json::print(&json.map_err(|error| Failure::Nonsense(error.to_string()))?);
    } else {
        say!("{}", shown::report(&report));
    }
    Ok(judge(&report))
}

async fn measured(arguments: &Bench, coordinator: &Address) -> Result<Report, Failure> {
    let plan = arguments.plan();
    let bar = bar(&plan);
    let cluster = match arguments.spawn {
        Some(banks) => {
            bar.set_message("starting the nodes");
            Cluster::start(&arguments.to_spawn(banks, &plan)?).await
        }
        None => {
            // Says what is wrong with an address better than anything later.
            Session::open(coordinator).await?;
            Cluster::there(coordinator, &arguments.banks).await
        }
    }?;
    let tell = |what: &str| bar.set_message(what.to_owned());
    let report = nemcon_bench::run(&plan, &cluster, &tell).await;
    bar.finish_and_clear();
    Ok(report?)
}

/// Says what is being done and for how long, on standard error if that is a
/// terminal.
fn bar(plan: &Plan) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let seconds = plan.duration().as_secs();
    let style = format!("{{spinner}} {{elapsed}} of about {seconds} s: {{msg}}");
    if let Ok(style) = ProgressStyle::with_template(&style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}

/// Books that do not add up are worse than an outcome that is not known.
fn judge(report: &Report) -> Exit {
    let books = &report.books;
    if !books.add_up {
        let lost = books.found_minor - books.initial_minor;
        eprintln!(
            "nemcon: the books do not add up: all accounts together changed by {lost} cents, and \
             the committed transactions account for {} to {}",
            books.moved_low_minor, books.moved_high_minor
        );
        return Exit::Refused;
    }
    if books.unknown > 0 {
        eprintln!(
            "nemcon: the outcome of {} transactions is not known; the books add up either way",
            books.unknown
        );
        return Exit::Unknown;
    }
    Exit::Done
}

/// The exit code for a bench that could not be run.
pub(crate) fn exit_of(
    error: &BenchError,
    of_client: fn(&nemcon_client::ClientError) -> Exit,
) -> Exit {
    match error {
        BenchError::Plan(_) | BenchError::NoProgram(_) => Exit::Usage,
        BenchError::BanksMissing { .. } => Exit::Unreachable,
        BenchError::Client(error) => of_client(error),
        BenchError::System { .. }
        | BenchError::NotServing { .. }
        | BenchError::Aborted { .. }
        | BenchError::Result(_) => Exit::Refused,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: Bench,
    }

    fn bench(line: &str) -> Result<Bench, String> {
        let arguments = std::iter::once("bench").chain(line.split_whitespace());
        let line = Line::try_parse_from(arguments);
        line.map(|line| line.bench)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_hang_on_the_workload() {
        let plan = |line: &str| bench(line).unwrap().plan();
        let transfer = plan("transfer");
        assert_eq!(
            (transfer.skew, transfer.participants),
            (Skew::Uniform, vec![])
        );
        assert_eq!(transfer.loads, [1, 16, 64].map(Load::InFlight));
        assert_eq!(plan("smallbank").skew, Skew::Hot);
        assert_eq!(plan("smallbank --skew uniform").skew, Skew::Uniform);
        assert_eq!(plan("empty").participants, [2, 3, 5]);
        assert_eq!(plan("read").participants, [2]);
        assert_eq!(plan("read --participants 1,4").participants, [1, 4]);
        let both = [Manner::Saga, Manner::Transaction];
        assert_eq!(plan("trip").manners, both);
        assert_eq!(plan("trip --as saga").manners, both[..1]);
        assert_eq!(plan("transfer").manners, []);
        assert_eq!(
            plan("transfer --rate 10,20").loads,
            [10, 20].map(Load::Rate)
        );
    }

    #[test]
    fn as_many_banks_are_started_as_are_needed() {
        let banks = |line: &str| {
            let bench = bench(line).unwrap();
            bench
                .to_spawn(bench.spawn.unwrap(), &bench.plan())
                .unwrap()
                .banks
        };
        assert_eq!(banks("transfer --spawn"), 2);
        assert_eq!(banks("empty --spawn"), 5);
        assert_eq!(banks("trip --spawn"), 3);
        assert_eq!(banks("transfer --spawn=7"), 7);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, part) in [
            ("transfer --rate 5 --in-flight 3", "cannot be used with"),
            ("transfer --spawn --banks a", "cannot be used with"),
            ("transfer --flush-delay-ms 1", "--spawn"),
            ("transfer --accounts 10", "50..=1000000"),
            ("transfer --in-flight 0", "1..=4096"),
            ("read --participants 17", "1..=16"),
            ("transfer --seconds 0", "1..=3600"),
            ("trip --as payment", "saga"),
            ("pay", "smallbank"),
        ] {
            let said = bench(line).map(|_| ()).unwrap_err();
            assert!(said.contains(part), "{line}: {said}");
        }
    }
}
