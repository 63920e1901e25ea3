//! `nemcon stats`: counts since the start, and how long the last transactions took.

use std::io::{IsTerminal, stdout};
use std::time::{Duration, Instant};

use clap::Args;
use nemcon_client::{Address, Statistics};
use nemcon_core::coordinator::statistics::{Percentiles, ReasonCount};
use nemcon_core::reason::Reason;
use nemcon_core::time::Elapsed;
use nemcon_proto::v1;

use crate::failure::{Exit, Failure};
use crate::json::{self, Types};
use crate::locks::seconds;
use crate::out::{is_read, say};
use crate::session::Session;
use crate::table::Table;

/// End of the help text.
pub(crate) const HELP: &str = "\
The phases:
  prepare   from the first request for a vote to the last vote, or to the abort
  commit    from the last vote to the last acknowledgement
  decision  from the client's request to the durable outcome: what a client waits
  total     from the request to the end

Examples:
  nemcon stats
  nemcon stats --watch
  nemcon stats --json --samples 1000 | jq '.samples[].decisionUs'";

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Goes to the upper left and clears all that follows.
const CLEAR: &str = "\x1b[H\x1b[J";

/// How to print the figures.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Print JSON, as GetStatistics answers
    #[arg(long)]
    json: bool,
    /// Also the newest N transactions one by one, as far as the coordinator keeps them
    #[arg(long, value_name = "N", default_value_t = 0, requires = "json")]
    samples: u32,
    /// Look again every second, until ctrl-c
    #[arg(long)]
    watch: bool,
}

/// Prints the figures, once or again and again.
pub(crate) async fn run(arguments: Stats, coordinator: &Address) -> Result<Exit, Failure> {
    let session = Session::open(coordinator).await?;
    let clear = arguments.watch && !arguments.json && stdout().is_terminal();
    let mut before: Option<(Instant, u64)> = None;
    loop {
        let statistics = session.client().statistics(arguments.samples).await?;
        let ended = statistics.committed + statistics.aborted;
        let at = Instant::now();
        let rate = before.map(|(then, count)| {
            // After a restart it counts from zero again.
            ended.saturating_sub(count) as f64 / at.duration_since(then).as_secs_f64()
        });
        before = Some((at, ended));
        if arguments.json {
            let response = v1::GetStatisticsResponse::from(statistics);
            let value = Types::new()?.write(&response)?;
            if !arguments.watch {
                json::print(&value);
                return Ok(Exit::Done);
            }
            if !is_read(format_args!("{value}\n")) {
                return Ok(Exit::Done);
            }
        } else {
            let page = page(&statistics, rate);
            if !arguments.watch {
                say!("{page}");
                return Ok(Exit::Done);
            }
            let (before, after) = if clear { (CLEAR, "") } else { ("", "\n") };
            if !is_read(format_args!("{before}{page}\n{after}")) {
                return Ok(Exit::Done);
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The figures for people. `rate`: transactions that ended in a second, if there was
/// a look before.
fn page(statistics: &Statistics, rate: Option<f64>) -> String {
    let window = &statistics.window;
    let mut parts = vec![head(statistics, rate)];
    if window.transactions == 0 {
        parts.push("No transaction has ended since the start.".to_owned());
        return parts.join("\n\n");
    }
    parts.push(format!(
        "The last {}: {} committed.",
        counted(u64::from(window.transactions), "transaction"),
        percent(u64::from(window.committed), u64::from(window.transactions)),
    ));
    let mut phases = Table::new(["PHASE", ">AVERAGE", ">P50", ">P95", ">P99", ">MAX"]);
    for (phase, spread) in [
        ("prepare", window.prepare),
        ("commit", window.commit),
        ("decision", window.decision),
        ("total", window.total),
    ] {
        phases.row(cells(phase, spread));
    }
    parts.push(phases.to_string());
    if statistics.aborted > 0 {
        let last = format!(">LAST {}", grouped(u64::from(window.transactions)));
        let mut reasons = Table::new(["ABORTED BECAUSE", &last, ">SINCE THE START"]);
        for [reason, last, all] in reasons_of(&window.aborted_by, &statistics.aborted_by) {
            reasons.row([reason, last, all]);
        }
        parts.push(reasons.to_string());
    }
    parts.join("\n\n")
}

fn head(statistics: &Statistics, rate: Option<f64>) -> String {
    let ended = statistics.committed + statistics.aborted;
    let rate = rate.map(|rate| format!(", {rate:.0} a second now"));
    let doubt = match statistics.in_doubt {
        0 => "0 in doubt".to_owned(),
        some => format!(
            "{} in doubt, for {} at most",
            grouped(some),
            seconds(statistics.in_doubt_oldest)
        ),
    };
    let since = nemcon_proto::convert::timestamp(statistics.started_at);
    let mut table = Table::new(["", ""]);
    for (what, figures) in [
        (
            "coordinator",
            format!("{}, epoch {}", statistics.coordinator, statistics.epoch),
        ),
        (
            "since",
            format!(
                "{since}: {} committed, {} aborted ({} committed{})",
                grouped(statistics.committed),
                grouped(statistics.aborted),
                percent(statistics.committed, ended),
                rate.unwrap_or_default(),
            ),
        ),
        (
            "now",
            format!(
                "{} running, {doubt}, {} remembered",
                grouped(statistics.running),
                grouped(statistics.remembered),
            ),
        ),
        (
            "deadlocks",
            format!(
                "{} broken across participants",
                grouped(statistics.deadlocks)
            ),
        ),
    ] {
        table.row([what.to_owned(), figures]);
    }
    // The line of headings is empty.
    table.to_string().trim_start().to_owned()
}

fn cells(phase: &str, spread: Option<Percentiles>) -> [String; 6] {
    let shown = |of: fn(&Percentiles) -> Elapsed| {
        spread
            .as_ref()
            .map_or_else(|| "-".to_owned(), |spread| duration(of(spread)))
    };
    [
        phase.to_owned(),
        shown(|it| it.average),
        shown(|it| it.p50),
        shown(|it| it.p95),
        shown(|it| it.p99),
        shown(|it| it.max),
    ]
}

/// Each reason with its count in the window and since the start. What the window
/// names, and the whole counts among others only, has no count of its own there.
fn reasons_of(window: &[ReasonCount], all: &[ReasonCount]) -> Vec<[String; 3]> {
    let of = |counts: &[ReasonCount], reason: &Option<Reason>| {
        let found = counts.iter().find(|(it, _)| it == reason);
        found.map_or_else(|| "-".to_owned(), |(_, count)| grouped(*count))
    };
    let word = |reason: &Option<Reason>| {
        let word = reason.as_ref().map(ToString::to_string);
        word.unwrap_or_else(|| "(participants' own reasons)".to_owned())
    };
    let named = window.iter().map(|(reason, _)| reason);
    let rest = all.iter().map(|(reason, _)| reason);
    let rest = rest.filter(|reason| !window.iter().any(|(it, _)| it == *reason));
    named
        .chain(rest)
        .map(|reason| [word(reason), of(window, reason), of(all, reason)])
        .collect()
}

/// Three figures and a unit.
fn duration(Elapsed(us): Elapsed) -> String {
    let scaled = |value: f64, unit: &str| match value {
        small if small < 9.995 => format!("{small:.2} {unit}"),
        middle if middle < 99.95 => format!("{middle:.1} {unit}"),
        large => format!("{large:.0} {unit}"),
    };
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => scaled(us as f64 / 1e3, "ms"),
        _ => scaled(us as f64 / 1e6, "s"),
    }
}

/// How many of all, rounded down to a tenth: a hundred means all.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let tenths = u128::from(part) * 1_000 / u128::from(whole);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn counted(number: u64, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {what}{s}", grouped(number))
}

/// A whole number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use nemcon_core::coordinator::statistics::WindowSummary;
    use nemcon_core::id::{CoordinatorId, Epoch};
    use nemcon_core::time::{Millis, Span};

    use super::*;

    fn statistics() -> Statistics {
        let spread = Percentiles {
            average: Elapsed(1_514),
            p50: Elapsed(912),
            p90: Elapsed(2_000),
            p95: Elapsed(12_345),
            p99: Elapsed(345_678),
            max: Elapsed(10_103_000),
        };
        Statistics {
            coordinator: CoordinatorId::new(
                "0199f3a0-0000-7000-8000-000000000001".parse().unwrap(),
            ),
            epoch: Epoch(3),
            started_at: Millis(1_700_000_000_000),
            committed: 1_234_567,
            aborted: 12,
            aborted_by: vec![(Some(Reason::DEADLOCK), 3), (None, 9)],
            deadlocks: 2,
            running: 5,
            in_doubt: 1,
            in_doubt_oldest: Span(1_500),
            remembered: 1_000_000,
            window: WindowSummary {
                size: 1_000,
                transactions: 1_000,
                committed: 999,
                aborted_by: vec![(Some(Reason::business("INSUFFICIENT_FUNDS")), 1)],
                prepare: Some(spread),
                commit: None,
                decision: Some(spread),
                total: Some(spread),
            },
            samples: Vec::new(),
        }
    }

    #[test]
    fn a_page_says_all_that_is_known() {
        let expected = "\
coordinator  0199f3a0-0000-7000-8000-000000000001, epoch 3
since        2023-11-14T22:13:20Z: 1,234,567 committed, 12 aborted (99.9 % committed, 812 a second now)
now          5 running, 1 in doubt, for 1.5 s at most, 1,000,000 remembered
deadlocks    2 broken across participants

The last 1,000 transactions: 99.9 % committed.

PHASE     AVERAGE     P50      P95     P99     MAX
prepare   1.51 ms  912 µs  12.3 ms  346 ms  10.1 s
commit          -       -        -       -       -
decision  1.51 ms  912 µs  12.3 ms  346 ms  10.1 s
total     1.51 ms  912 µs  12.3 ms  346 ms  10.1 s

ABORTED BECAUSE              LAST 1,000  SINCE THE START
INSUFFICIENT_FUNDS                    1                -
DEADLOCK                              -                3
(participants' own reasons)           -                9";
        let page = page(&statistics(), Some(812.4));
        assert_eq!(page, expected, "\n{page}");
    }

    #[test]
    fn a_fresh_coordinator_has_little_to_say() {
        let fresh = Statistics {
            committed: 0,
            aborted: 0,
            in_doubt: 0,
            window: WindowSummary::default(),
            ..statistics()
        };
        let page = page(&fresh, None);
        assert!(
            page.contains("0 committed, 0 aborted (- committed)"),
            "{page}"
        );
        assert!(
            page.ends_with("No transaction has ended since the start."),
            "{page}"
        );
    }

    #[test]
    fn durations_have_three_figures() {
        for (us, shown) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_000, "1.00 ms"),
            (9_996, "10.0 ms"),
            (99_960, "100 ms"),
            (59_000_000, "59.0 s"),
        ] {
            assert_eq!(duration(Elapsed(us)), shown);
        }
    }
}
