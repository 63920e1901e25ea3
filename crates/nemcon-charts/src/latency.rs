//! How long transactions take: one panel for each phase.

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::element::{PathElement, Rectangle};
use plotters::prelude::{Cartesian2d, Color, SVGBackend};

use crate::axis::{Axis, Quantity};
use crate::bins::{Histogram, Percentiles, Times};
use crate::picture::{
    self, Area, DrawError, Drawn, MARGIN, Picture, WIDTH_PX, at, pixels, px, write,
};
use crate::style::{self, Anchor};

/// What is drawn, in milliseconds: one value for each transaction that went through
/// the phase, in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latency {
    /// From the start of the prepare phase to the last vote.
    pub prepare_ms: Vec<f64>,
    /// From the last vote to the last acknowledgement.
    pub commit_ms: Vec<f64>,
    /// Where the values come from: stands below the title.
    pub about: String,
}

/// A chart of plotters, with axes of ours.
pub(crate) type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Scale, Scale>>;

/// An axis as plotters takes it. Its values are positions.
pub(crate) struct Scale(Axis);

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let part = (value - self.0.from) / (self.0.to - self.0.from);
        first + (f64::from(last - first) * part.clamp(0.0, 1.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.0.ticks.iter().map(|tick| tick.at).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.0.from..self.0.to
    }
}

/// A box within the picture, in pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

/// Between the two panels.
const GUTTER: f64 = 56.0;

/// Rows above a panel in which the percentiles are named.
const MARK_ROWS_TOP: f64 = 162.0;
const MARK_ROW: f64 = 19.0;

/// Between the parts of such a name, and from its line.
const MARK_SPACE: f64 = 6.0;

const PLOT: (f64, f64) = (226.0, 524.0);

/// Left of a plot, for the numbers of its axis and what they count.
const NUMBERS: f64 = 64.0;

/// Draws the histogram of each phase, with [`BINS`](crate::BINS) bins and the median,
/// the 95th and the 99th percentile. Where times span more than a decade the scale is
/// one of powers.
///
/// # Errors
///
/// Only a bug in what draws.
pub fn latency(data: &Latency) -> Result<Picture, DrawError> {
    let phases = [
        (
            "Prepare phase",
            "from the first prepare sent to the last vote",
            &data.prepare_ms,
        ),
        (
            "Commit phase",
            "from the last vote to the last acknowledgement",
            &data.commit_ms,
        ),
    ]
    .map(|(name, what, values)| (name, what, Times::new(values)));
    let told: Vec<String> = phases
        .iter()
        .map(|(name, _, times)| describe(name, times))
        .collect();
    picture::draw("Latency by phase", &data.about, &told.join(" "), |area| {
        let width = (f64::from(WIDTH_PX) - 2.0 * MARGIN - GUTTER) / 2.0;
        for (place, (name, what, times)) in phases.iter().enumerate() {
            let left = MARGIN + place as f64 * (width + GUTTER);
            panel(area, (left, left + width), (name, what), times)?;
        }
        Ok(())
    })
}

fn describe(name: &str, times: &Times) -> String {
    let Some(found) = times.percentiles() else {
        return format!("{name}: no transaction.");
    };
    let [p50, p95, p99] =
        [found.p50, found.p95, found.p99].map(|it| Quantity::Milliseconds.tell(it));
    format!(
        "{name}, {}: p50 {p50}, p95 {p95}, p99 {p99}.",
        of(times.len())
    )
}

fn of(transactions: usize) -> String {
    let word = if transactions == 1 {
        "transaction"
    } else {
        "transactions"
    };
    format!("{} {word}", Quantity::Count.tell(transactions as f64))
}

fn panel(
    area: &Area<'_>,
    (left, right): (f64, f64),
    (name, what): (&str, &str),
    times: &Times,
) -> Drawn {
    let heading = style::bold(style::HEADING, style::INK, Anchor::Left);
    let small = style::plain(style::TEXT, style::GREY, Anchor::Left);
    write(area, name, (left, 102.0), &heading)?;
    write(area, what, (left, 124.0), &small)?;
    let counted = match times.left_out {
        0 => of(times.len()),
        1 => format!("{}; 1 value was no time", of(times.len())),
        out => format!("{}; {out} values were no times", of(times.len())),
    };
    write(
        area,
        &counted,
        (right, 102.0),
        &style::plain(style::TEXT, style::GREY, Anchor::Right),
    )?;
    let plot = Frame {
        left: left + NUMBERS,
        top: PLOT.0,
        right,
        bottom: PLOT.1,
    };
    let (Some(bins), Some(found)) = (times.histogram(7), times.percentiles()) else {
        let middle = (f64::midpoint(left, right), f64::midpoint(PLOT.0, PLOT.1));
        let hint = "run some transactions, then draw again";
        return picture::nothing(area, middle, "No transaction went through this phase", hint);
    };
    bars(area, plot, &bins)?;
    marks(area, plot, &bins.axis, found)
}

fn bars(area: &Area<'_>, plot: Frame, bins: &Histogram) -> Drawn {
    let most = bins.most() as f64;
    let counts = Axis::counts(most * 1.02, 5);
    let mut chart = chart(area, plot, &bins.axis, &counts)?;
    let scale = if bins.axis.logarithmic {
        "time, logarithmic scale"
    } else {
        "time"
    };
    name_axes(area, plot, scale, "transactions")?;
    // A gap of a pixel between bars, and nothing where there is nothing.
    let filled = (0..bins.counts.len()).filter(|bin| bins.counts[*bin] > 0);
    chart.draw_series(filled.map(|bin| {
        let (from, to) = bins.edges(bin);
        let height = bins.counts[bin] as f64;
        let mut bar = Rectangle::new([(from, 0.0), (to, height)], style::BLUE.filled());
        bar.set_margin(0, 0, px(0.5).unsigned_abs(), px(0.5).unsigned_abs());
        bar
    }))?;
    Ok(())
}

/// A percentile, and where its line is.
struct Mark {
    name: &'static str,
    value: String,
    x: f64,
    /// Of its name and value.
    width: f64,
    /// They stand left of the line, since there is no room at its right.
    left: bool,
}

/// The percentiles: each has a row of its own, so no two names meet; and rows are in
/// such an order that no line crosses a name.
fn marks(area: &Area<'_>, plot: Frame, axis: &Axis, found: Percentiles) -> Drawn {
    let bold = style::bold(style::TEXT, style::INK, Anchor::Left);
    let small = style::plain(style::TEXT, style::GREY, Anchor::Left);
    // A line begins at its row. Names at the left are in the upper rows, the one
    // furthest right first; those at the right follow, the one furthest left first.
    let (lefts, rights): (Vec<Mark>, Vec<Mark>) = placed(plot, axis, found)
        .into_iter()
        .partition(|it| it.left);
    for (row, mark) in lefts.iter().rev().chain(&rights).enumerate() {
        let y = MARK_ROWS_TOP + MARK_ROW * row as f64;
        let line = [
            at(mark.x, y - MARK_ROW / 2.0 + 2.0),
            at(mark.x, plot.bottom),
        ];
        area.draw(&PathElement::new(line, style::line(style::INK, 1.2)))?;
        let from = if mark.left {
            mark.x - MARK_SPACE - mark.width
        } else {
            mark.x + MARK_SPACE
        };
        write(area, mark.name, (from, y), &small)?;
        let after = from + style::width_of(mark.name, &small) + MARK_SPACE;
        write(area, &mark.value, (after, y), &bold)?;
    }
    Ok(())
}

/// From the median up. A name goes to the left where it has no room, or where it would
/// reach the line of one that went left.
fn placed(plot: Frame, axis: &Axis, found: Percentiles) -> Vec<Mark> {
    let bold = style::bold(style::TEXT, style::INK, Anchor::Left);
    let small = style::plain(style::TEXT, style::GREY, Anchor::Left);
    let mut limit = plot.right;
    let mut marks = Vec::new();
    for (name, value) in [("p99", found.p99), ("p95", found.p95), ("p50", found.p50)] {
        let part = (axis.position(value) - axis.from) / (axis.to - axis.from);
        let x = plot.left + (plot.right - plot.left) * part;
        let value = Quantity::Milliseconds.tell(value);
        let width = style::width_of(name, &small) + MARK_SPACE + style::width_of(&value, &bold);
        let left = x + MARK_SPACE + width > limit;
        if left {
            limit = x;
        }
        marks.push(Mark {
            name,
            value,
            x,
            width,
            left,
        });
    }
    marks.reverse();
    marks
}

/// What the axes count: the one below in the middle, the other turned, at its left.
pub(crate) fn name_axes(area: &Area<'_>, plot: Frame, below: &str, beside: &str) -> Drawn {
    let small = style::plain(style::TEXT, style::GREY, Anchor::Middle);
    write(
        area,
        below,
        (f64::midpoint(plot.left, plot.right), plot.bottom + 45.0),
        &small,
    )?;
    let turned = small.transform(plotters::style::FontTransform::Rotate270);
    write(
        area,
        beside,
        (
            plot.left - NUMBERS + 7.0,
            f64::midpoint(plot.top, plot.bottom),
        ),
        &turned,
    )
}

/// Axes with their ticks, and a grid of lines across.
pub(crate) fn chart<'a>(
    area: &Area<'a>,
    plot: Frame,
    x: &Axis,
    y: &Axis,
) -> Result<Chart<'a>, DrawError> {
    let (numbers, below) = (60.0, 30.0);
    let part = area.clone().shrink(
        at(plot.left - numbers, plot.top),
        (
            px(plot.right - plot.left + numbers),
            px(plot.bottom - plot.top + below),
        ),
    );
    let mut chart = ChartBuilder::on(&part)
        .x_label_area_size(px(below))
        .y_label_area_size(px(numbers))
        .build_cartesian_2d(Scale(x.clone()), Scale(y.clone()))?;
    let names = |axis: &Axis| {
        let ticks = axis.ticks.clone();
        move |at: &f64| {
            let tick = ticks.iter().find(|tick| tick.at.total_cmp(at).is_eq());
            tick.map_or_else(String::new, |tick| tick.label.clone())
        }
    };
    let (x_names, y_names) = (names(x), names(y));
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(style::line(style::GRID, 1.0))
        .light_line_style(plotters::style::TRANSPARENT)
        .axis_style(style::line(style::AXIS, 1.0))
        .set_all_tick_mark_size(px(5.0))
        .label_style(style::plain(style::TEXT, style::GREY, Anchor::Middle))
        .x_labels(x.ticks.len())
        .y_labels(y.ticks.len())
        .x_label_formatter(&x_names)
        .y_label_formatter(&y_names)
        .draw()?;
    Ok(chart)
}

/// Where a point of a chart is in the picture, in pixels.
pub(crate) fn place(chart: &Chart<'_>, point: (f64, f64)) -> (f64, f64) {
    pixels(chart.backend_coord(&point))
}
