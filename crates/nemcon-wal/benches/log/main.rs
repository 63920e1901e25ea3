//! How fast records become durable, beside two other ways of doing it.
//!
//! ```text
//! cargo bench -p nemcon-wal --bench log -- [--dir DIR] [--rounds N] [--millis N] [--writers N]
//! ```
//!
//! Three contestants: the log; a file that is appended to, written by hand, with
//! one sync for each batch; and sled with one value for each record. Each has a
//! thread of its own that takes everything queued and makes it durable at once.
//! 1 to 1,024 writers of 100-byte records wait for their record before they send
//! the next. The contestants take turns, round by round, and medians are compared.
//!
//! The directory decides what is measured: it should be on the disk in question,
//! not on a file system in memory.

mod contestants;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use contestants::{AppendFile, Contestant, OnePerRecord, Ours};

/// That of the nodes' programs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const RECORD_BYTES: usize = 100;
const WRITERS: [u64; 5] = [1, 16, 64, 256, 1_024];

type Failure = Box<dyn std::error::Error>;

/// What one contestant did in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    records_per_second: f64,
    p50: Duration,
    p99: Duration,
}

struct Arguments {
    dir: PathBuf,
    rounds: usize,
    measured: Duration,
    writers: Vec<u64>,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut arguments = Self {
            dir: std::env::temp_dir(),
            rounds: 5,
            measured: Duration::from_millis(1_000),
            writers: WRITERS.to_vec(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} wants a value"));
            match word.as_str() {
                // cargo adds this.
                "--bench" => {}
                "--dir" => arguments.dir = value()?.into(),
                "--rounds" => arguments.rounds = number(&value()?)? as usize,
                "--millis" => arguments.measured = Duration::from_millis(number(&value()?)?),
                "--writers" => arguments.writers = vec![number(&value()?)?],
                other => {
                    let known = "--dir, --rounds, --millis or --writers";
                    return Err(format!("{other}: want {known}"));
                }
            }
        }
        Ok(arguments)
    }
}

fn number(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err(format!("{text}: want a whole number from 1")),
    }
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse()?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:>7}  {:<22}  {:>10}  {:>9}  {:>9}  {:>6}",
        "WRITERS", "WHAT", "RECORDS/S", "P50", "P99", "RATIO"
    )?;
    for &writers in &arguments.writers {
        let mut all: [Vec<Figures>; 3] = Default::default();
        for _ in 0..arguments.rounds {
            all[0].push(measure::<Ours>(&arguments, writers)?);
            all[1].push(measure::<AppendFile>(&arguments, writers)?);
            all[2].push(measure::<OnePerRecord>(&arguments, writers)?);
        }
        let [ours, file, values] = all.map(median);
        for (what, figures) in [
            (Ours::NAME, ours),
            (AppendFile::NAME, file),
            (OnePerRecord::NAME, values),
        ] {
            writeln!(
                out,
                "{writers:>7}  {what:<22}  {:>10.0}  {:>6} us  {:>6} us  {:>6.2}",
                figures.records_per_second,
                figures.p50.as_micros(),
                figures.p99.as_micros(),
                ours.records_per_second / figures.records_per_second,
            )?;
        }
    }
    Ok(())
}

/// The median of each figure.
fn median(rounds: Vec<Figures>) -> Figures {
    fn middle<T: PartialOrd + Copy>(rounds: &[Figures], of: impl Fn(&Figures) -> T) -> T {
        let mut values: Vec<T> = rounds.iter().map(of).collect();
        values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        values[values.len() / 2]
    }
    Figures {
        records_per_second: middle(&rounds, |it| it.records_per_second),
        p50: middle(&rounds, |it| it.p50),
        p99: middle(&rounds, |it| it.p99),
    }
}

/// As a node's driver would: whoever was answered sends again, all at once.
fn measure<C: Contestant>(arguments: &Arguments, writers: u64) -> Result<Figures, Failure> {
    let dir = arguments
        .dir
        .join(format!("nemcon-bench-{}", std::process::id()));
    let figures = race::<C>(&dir, writers, arguments.measured);
    std::fs::remove_dir_all(&dir)?;
    figures
}

fn race<C: Contestant>(dir: &Path, writers: u64, measured: Duration) -> Result<Figures, Failure> {
    let mut contestant = C::open(dir)?;
    let (mut appended, mut durable) = (0, 0);
    // When the records up to a number were sent, and how many waited how long.
    let mut sent = std::collections::VecDeque::new();
    let mut waits: Vec<(Duration, u64)> = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < measured {
        let until = durable + writers;
        if until > appended {
            contestant.append(appended + 1..=until);
            appended = until;
            sent.push_back((until, Instant::now()));
        }
        let now_durable = contestant.durable()?;
        while let Some((last, at)) = sent.pop_front_if(|(last, _)| *last <= now_durable) {
            waits.push((at.elapsed(), last - durable));
            durable = last;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    contestant.close()?;
    waits.sort_unstable();
    Ok(Figures {
        records_per_second: durable as f64 / seconds,
        p50: percentile(&waits, durable, 50),
        p99: percentile(&waits, durable, 99),
    })
}

fn percentile(waits: &[(Duration, u64)], of: u64, percent: u64) -> Duration {
    let mut seen = 0;
    for (wait, records) in waits {
        seen += records;
        if seen * 100 >= of * percent {
            return *wait;
        }
    }
    Duration::ZERO
}
