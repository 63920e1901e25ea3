//! Lines over something that doubles: how fast by how many in flight, what a
//! transaction costs by how large something is.

use std::collections::BTreeMap;

use plotters::element::Circle;
use plotters::prelude::Color;
use plotters::series::LineSeries;

use crate::axis::{Axis, Quantity, Tick};
use crate::latency::{chart, name_axes, place};
use crate::names::{Name, PLOT, name_lines};
use crate::picture::{self, Area, DrawError, Drawn, Picture, at, px, write};
use crate::style::{self, Anchor};

/// A point of a line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// Of which. Points of one name are joined.
    pub name: String,
    /// Where along the scale; above zero, or it is left out.
    pub at: f64,
    /// How high; not below zero, or it is left out.
    pub value: f64,
}

/// A line as it is drawn: from left to right.
type Line = [(f64, f64)];

/// What the picture is of.
pub(crate) struct Scale<'a> {
    pub(crate) title: &'a str,
    /// What the axes are called.
    pub(crate) along: &'a str,
    pub(crate) up: &'a str,
    /// Why there may be nothing to draw.
    pub(crate) nothing: &'a str,
    /// A line in a sentence, and in a few words below its name.
    pub(crate) tell: fn(&str, &Line) -> String,
    pub(crate) below: fn(&Line) -> String,
}

/// Draws what something costs or takes, by how large something else is. `what` is
/// what the height means, `by` what the scale does, both in words.
///
/// # Errors
///
/// Only a bug in what draws.
pub fn scale(points: &[Point], what: &str, by: &str, about: &str) -> Result<Picture, DrawError> {
    let title = format!("What it takes by {by}");
    let along = format!("{by}, scale of powers of two");
    draw(
        points,
        about,
        &Scale {
            title: &title,
            along: &along,
            up: what,
            nothing: "nothing was measured",
            tell: |name, line| {
                let (from, to) = ends(line);
                let value = |it: (f64, f64)| Quantity::Count.tell(it.1);
                let place = |it: (f64, f64)| Quantity::Count.tell(it.0);
                format!(
                    "{name}: {} at {}, {} at {}.",
                    value(from),
                    place(from),
                    value(to),
                    place(to)
                )
            },
            below: |line| {
                let (from, to) = ends(line);
                let tell = |it: (f64, f64)| Quantity::Count.tell(it.1);
                format!("{} to {}", tell(from), tell(to))
            },
        },
    )
}

pub(crate) fn draw(points: &[Point], about: &str, scale: &Scale<'_>) -> Result<Picture, DrawError> {
    let mut lines: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for point in points.iter().filter(|point| is_sensible(point)) {
        let place = (point.at, point.value.min(1e300));
        lines.entry(&point.name).or_default().push(place);
    }
    for line in lines.values_mut() {
        line.sort_by(|one, two| one.0.total_cmp(&two.0).then(one.1.total_cmp(&two.1)));
    }
    let told = lines.iter().map(|(name, line)| (scale.tell)(name, line));
    let told: Vec<String> = told.collect();
    let told = if told.is_empty() {
        "No run.".to_owned()
    } else {
        told.join(" ")
    };
    picture::draw(scale.title, about, &told, |area| {
        if lines.is_empty() {
            let middle = picture::middle();
            return picture::nothing(area, middle, "There is nothing to draw", scale.nothing);
        }
        over_powers_of_two(area, &lines, scale)
    })
}

fn is_sensible(point: &Point) -> bool {
    let Point { at, value, .. } = *point;
    at > 0.0 && at.is_finite() && value >= 0.0 && value.is_finite()
}

/// The highest point; the last of those that are as high.
pub(crate) fn highest(line: &Line) -> (f64, f64) {
    let highest = line.iter().max_by(|one, two| one.1.total_cmp(&two.1));
    highest.copied().unwrap_or_default()
}

fn ends(line: &Line) -> ((f64, f64), (f64, f64)) {
    let end = |point: Option<&(f64, f64)>| point.copied().unwrap_or_default();
    (end(line.first()), end(line.last()))
}

fn over_powers_of_two(
    area: &Area<'_>,
    lines: &BTreeMap<&str, Vec<(f64, f64)>>,
    scale: &Scale<'_>,
) -> Drawn {
    let points = || lines.values().flatten();
    let most = points().map(|it| it.1).fold(0.0, f64::max);
    let x = powers_of_two(points().map(|it| it.0.log2()));
    let y = Axis::rates(most * 1.1, 6);
    let mut chart = chart(area, PLOT, &x, &y)?;
    name_axes(area, PLOT, scale.along, scale.up)?;
    let mut names = Vec::new();
    for (place_in_list, (name, line)) in lines.iter().enumerate() {
        let colour = style::SERIES[place_in_list % style::SERIES.len()];
        let mut drawn = line.iter().map(|(at, value)| (at.log2(), *value));
        let stroke = style::line(colour, 2.2);
        chart.draw_series(LineSeries::new(drawn.clone(), stroke))?;
        for (along, value) in drawn.clone() {
            let (left, top) = place(&chart, (along, value));
            area.draw(&Circle::new(at(left, top), px(5.5), style::PAPER.filled()))?;
            area.draw(&Circle::new(at(left, top), px(4.0), colour.filled()))?;
            if lines.len() == 1 && line.len() <= NAMED_POINTS_MAX {
                let bold = style::bold(style::TEXT, style::INK, Anchor::Middle);
                let text = Quantity::Count.tell(value);
                write(area, &text, (left, top - 17.0), &bold)?;
            }
        }
        names.push(Name {
            y: place(&chart, drawn.next_back().unwrap_or_default()).1,
            text: (*name).to_owned(),
            below: (scale.below)(line),
            colour,
        });
    }
    name_lines(area, names)
}

/// More points than these stand too close for a number at each.
const NAMED_POINTS_MAX: usize = 12;

/// The axis along: named where something was measured, as far as there is room.
fn powers_of_two(points: impl Iterator<Item = f64>) -> Axis {
    let mut measured: Vec<f64> = points.collect();
    measured.sort_by(f64::total_cmp);
    measured.dedup();
    let low = measured.first().copied().unwrap_or_default();
    let high = measured.last().copied().unwrap_or_default();
    let (from, to) = (low - 0.4, high + 0.4);
    let apart = (to - from) / 18.0;
    let mut ticks: Vec<Tick> = Vec::new();
    for at in measured {
        if ticks.last().is_none_or(|last| at - last.at >= apart) {
            let label = Quantity::Count.tell(at.exp2().round());
            ticks.push(Tick { at, label });
        }
    }
    Axis {
        from,
        to,
        logarithmic: true,
        ticks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(name: &str, at: f64, value: f64) -> Point {
        Point {
            name: name.to_owned(),
            at,
            value,
        }
    }

    #[test]
    fn a_line_is_told_from_end_to_end_in_its_order() {
        let points = [
            point("empty", 16.0, 30.0),
            point("empty", 2.0, 40.0),
            point("empty", 0.0, 1.0),
            point("empty", 4.0, f64::NAN),
        ];
        let drawn = scale(&points, "µs", "participants", "bench.json").unwrap();
        assert!(drawn.svg().contains("empty: 40 at 2, 30 at 16."));
        assert!(drawn.svg().contains("What it takes by participants"));
    }

    #[test]
    fn without_points_it_says_so() {
        let drawn = scale(&[], "µs", "participants", "bench.json").unwrap();
        assert!(drawn.svg().contains("There is nothing to draw"));
    }
}
