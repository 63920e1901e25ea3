//! How many transactions there are: per second over time, and by how many are in
//! flight.

use plotters::prelude::{Color, RGBColor};
use plotters::series::{AreaSeries, LineSeries};

use crate::axis::{Axis, Quantity};
use crate::latency::{chart, name_axes, place};
use crate::names::{Name, PLOT, name_lines};
use crate::picture::{self, Area, DrawError, Drawn, Picture};
use crate::scale::{self, Point, Scale};
use crate::style;

/// Totals at a moment. They only grow, until the coordinator starts again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Since the first, in seconds.
    pub seconds: f64,
    /// Transactions committed so far.
    pub committed: u64,
    /// Transactions aborted so far.
    pub aborted: u64,
}

/// How fast a run was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// What ran. Runs of one name are joined by a line.
    pub name: String,
    /// Transactions at a time.
    pub in_flight: u64,
    /// Transactions committed per second.
    pub per_second: f64,
}

/// One of the two rates.
type Part = fn(&Rate) -> f64;

/// Rates between two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate {
    from: f64,
    to: f64,
    committed: f64,
    aborted: f64,
}

/// Draws transactions committed and aborted per second, from totals in the order of
/// their time. Where totals fall the coordinator has started again: that stretch is
/// left out.
///
/// # Errors
///
/// Only a bug in what draws.
pub fn throughput(samples: &[Sample], about: &str) -> Result<Picture, DrawError> {
    let rates = rates(samples);
    let span: f64 = rates.iter().map(|it| it.to - it.from).sum();
    let mean = |of: fn(&Rate) -> f64| {
        let all: f64 = rates.iter().map(|it| of(it) * (it.to - it.from)).sum();
        if span > 0.0 { all / span } else { 0.0 }
    };
    let (committed, aborted) = (mean(|it| it.committed), mean(|it| it.aborted));
    let told = format!(
        "On average {} committed and {} aborted per second.",
        Quantity::Count.tell(committed),
        Quantity::Count.tell(aborted)
    );
    picture::draw("Throughput", about, &told, |area| {
        if rates.is_empty() {
            let hint = "two samples with some time between them make a rate";
            return picture::nothing(area, picture::middle(), "There is nothing to draw", hint);
        }
        over_time(
            area,
            &rates,
            [("committed", committed), ("aborted", aborted)],
        )
    })
}

fn rates(samples: &[Sample]) -> Vec<Rate> {
    let pairs = samples.windows(2).map(|pair| (pair[0], pair[1]));
    let rates = pairs.filter_map(|(one, two)| {
        let took = two.seconds - one.seconds;
        let committed = two.committed.checked_sub(one.committed)? as f64;
        let aborted = two.aborted.checked_sub(one.aborted)? as f64;
        // Below a microsecond a rate says nothing, and time does not run back.
        let sensible = took >= 1e-6 && one.seconds >= 0.0 && two.seconds <= 1e12;
        sensible.then(|| Rate {
            from: one.seconds,
            to: two.seconds,
            committed: committed / took,
            aborted: aborted / took,
        })
    });
    let mut in_order: Vec<Rate> = Vec::new();
    for rate in rates {
        if in_order.last().is_none_or(|last| last.to <= rate.from) {
            in_order.push(rate);
        }
    }
    in_order
}

/// Both rates over time. Samples are stretches, not points: the lines have steps
/// where few are drawn, and points in the middle of each where there are many.
fn over_time(area: &Area<'_>, rates: &[Rate], means: [(&str, f64); 2]) -> Drawn {
    let end = rates.iter().map(|it| it.to).fold(0.0, f64::max);
    let start = rates.first().map_or(0.0, |it| it.from);
    let most = rates
        .iter()
        .map(|it| it.committed.max(it.aborted))
        .fold(0.0, f64::max);
    let x = Axis::elapsed((end - start) * 1000.0, 10);
    let y = Axis::rates(most * 1.05, 6);
    let mut chart = chart(area, PLOT, &x, &y)?;
    name_axes(
        area,
        PLOT,
        "time since the first sample",
        "transactions per second",
    )?;
    let series: [(RGBColor, Part); 2] = [
        (style::BLUE, |it| it.committed),
        (style::VERMILION, |it| it.aborted),
    ];
    let mut names = Vec::new();
    for ((colour, value), (name, mean)) in series.into_iter().zip(means) {
        let line = |stretch: &[Rate]| -> Vec<(f64, f64)> {
            let point = |time: f64, rate: &Rate| ((time - start) * 1000.0, value(rate));
            stretch
                .iter()
                .flat_map(|it| [point(it.from, it), point(it.to, it)])
                .collect()
        };
        // A stretch without samples is a gap, not a line across.
        for stretch in rates.chunk_by(|one, two| two.from - one.to < 1e-9) {
            if name == "committed" {
                let fill = style::BLUE.mix(0.08);
                chart.draw_series(AreaSeries::new(line(stretch), 0.0, fill))?;
            }
            chart.draw_series(LineSeries::new(line(stretch), style::line(colour, 2.2)))?;
        }
        let last = rates.last().map_or(0.0, value);
        let below = format!("{}/s on average", Quantity::Count.tell(mean));
        names.push(Name {
            y: place(&chart, (0.0, last)).1,
            text: name.to_owned(),
            below,
            colour,
        });
    }
    name_lines(area, names)
}

/// Draws how fast runs were by the number of transactions in flight. Both scales
/// begin at nothing, but that of those in flight is one of powers of two.
///
/// # Errors
///
/// Only a bug in what draws.
pub fn in_flight(runs: &[Run], about: &str) -> Result<Picture, DrawError> {
    let point = |run: &Run| Point {
        name: run.name.clone(),
        at: run.in_flight as f64,
        value: run.per_second,
    };
    let points: Vec<Point> = runs.iter().map(point).collect();
    scale::draw(
        &points,
        about,
        &Scale {
            title: "Throughput by transactions in flight",
            along: "transactions in flight, scale of powers of two",
            up: "committed per second",
            nothing: "no run was measured",
            tell: |name, line| {
                let (flight, rate) = scale::highest(line);
                let rate = Quantity::Count.tell(rate);
                format!("{name}: at most {rate} per second, with {flight} in flight.")
            },
            below: |line| {
                let (_, rate) = scale::highest(line);
                format!("at most {}/s", Quantity::Count.tell(rate))
            },
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: f64, committed: u64) -> Sample {
        Sample {
            seconds,
            committed,
            aborted: 0,
        }
    }

    #[test]
    fn a_restart_is_a_gap() {
        let found = rates(&[
            sample(0.0, 100),
            sample(1.0, 150),
            sample(2.0, 3),
            sample(4.0, 23),
        ]);
        let told: Vec<(f64, f64)> = found.iter().map(|it| (it.from, it.committed)).collect();
        assert_eq!(told, [(0.0, 50.0), (2.0, 10.0)]);
    }

    #[test]
    fn time_that_stands_or_runs_back_is_left_out() {
        let found = rates(&[
            sample(1.0, 1),
            sample(1.0, 2),
            sample(0.0, 3),
            sample(2.0, 5),
        ]);
        assert_eq!(found.len(), 1);
        assert!(rates(&[sample(f64::NAN, 1), sample(f64::INFINITY, 2)]).is_empty());
    }
}
