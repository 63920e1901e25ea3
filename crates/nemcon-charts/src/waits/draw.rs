//! The graph on paper.

use plotters::element::{PathElement, Polygon, Rectangle};
use plotters::prelude::{Color, RGBColor};

use super::Waits;
use super::graph::{Edge, Graph, Node};
use super::layout::{self, BOX_HEIGHT, BOX_WIDTH, Places};
use crate::axis::Quantity;
use crate::picture::{
    self, Area, DrawError, Drawn, HEIGHT_PX, MARGIN, Picture, WIDTH_PX, at, printable, write,
};
use crate::style::{self, Anchor};

/// Where boxes may be, in pixels from the top.
const TOP: f64 = 96.0;
const BOTTOM: f64 = 548.0;

/// Middle line of what is explained below.
const LEGEND: f64 = 574.0;

/// Points of a curve.
const CURVE_POINTS: usize = 48;

/// Length of an arrow's head, and how thick it is.
const HEAD: f64 = 11.0;
const HEAD_HALF: f64 = 4.5;

/// Strokes and gaps of a broken line.
const STROKE: f64 = 6.0;
const BREAK: f64 = 4.0;

/// Of an id so much is shown: the end, where ids of one moment differ.
const ID_LETTERS: usize = 12;

type Point = (f64, f64);

pub(super) fn draw(data: &Waits, graph: &Graph) -> Result<Picture, DrawError> {
    let title = match graph.circles {
        0 => "Who waits for whom".to_owned(),
        1 => "Who waits for whom: a circle, a deadlock if it stays".to_owned(),
        many => format!("Who waits for whom: {many} circles, deadlocks if they stay"),
    };
    let mut about = vec![data.about.clone()];
    if graph.left_out > 0 {
        about.push(format!(
            "{} more transactions are not drawn",
            graph.left_out
        ));
    }
    if !data.silent.is_empty() {
        about.push(format!(
            "no answer from {}: waits there are missing",
            data.silent.join(", ")
        ));
    }
    about.retain(|it| !it.is_empty());
    let told = describe(graph);
    picture::draw(&title, &about.join("; "), &told, |area| {
        if graph.nodes.is_empty() {
            let middle = (f64::from(WIDTH_PX) / 2.0, f64::from(HEIGHT_PX) / 2.0);
            let hint = "every lock that is asked for is granted";
            return picture::nothing(area, middle, "Nobody waits", hint);
        }
        let places = layout::places(graph, f64::from(WIDTH_PX) - 2.0 * MARGIN, BOTTOM - TOP);
        // Arrows first: boxes are above them.
        let mut edges: Vec<&Edge> = graph.edges.iter().collect();
        edges.sort_by_key(|edge| edge.circle);
        for edge in edges {
            arrow(area, graph, &places, *edge)?;
        }
        for (place, node) in graph.nodes.iter().enumerate() {
            let circle = graph.groups[node.group].len() > 1;
            boxed(area, node, middle_of(&places, place), places.scale, circle)?;
        }
        legend(area, graph)
    })
}

fn describe(graph: &Graph) -> String {
    let arrow = |edge: &Edge| {
        format!(
            "{} waits for {}",
            graph.nodes[edge.from].id, graph.nodes[edge.to].id
        )
    };
    let arrows: Vec<String> = graph.edges.iter().map(arrow).collect();
    match (graph.waiting, arrows.is_empty()) {
        (0, _) | (_, true) => "Nobody waits.".to_owned(),
        (waiting, _) => format!("Transactions that wait: {waiting}. {}.", arrows.join(", ")),
    }
}

fn middle_of(places: &Places, node: usize) -> Point {
    let (x, y) = places.middles[node];
    (MARGIN + x, TOP + y)
}

/// A box with the end of the id, what it waits for and how long.
fn boxed(area: &Area<'_>, node: &Node, (x, y): Point, scale: f64, circle: bool) -> Drawn {
    let (half_width, half_height) = (BOX_WIDTH / 2.0 * scale, BOX_HEIGHT / 2.0 * scale);
    let waits = !node.waits.is_empty();
    let (edge, fill) = match (circle, waits) {
        (true, _) => (style::VERMILION, style::REDDISH),
        (false, true) => (style::AXIS, style::PAPER),
        (false, false) => (style::BLUE, style::BLUISH),
    };
    let corners = [
        at(x - half_width, y - half_height),
        at(x + half_width, y + half_height),
    ];
    area.draw(&Rectangle::new(corners, fill.filled()))?;
    outline(area, (x, y), (half_width, half_height), edge)?;
    let size = style::TEXT * scale;
    let room = 2.0 * half_width - 12.0 * scale;
    let bold = style::bold(size, style::INK, Anchor::Middle);
    let small = style::plain(size - scale, style::GREY, Anchor::Middle);
    let name = style::cut(&short(&node.id), &bold, room);
    let [key, place] = state(node);
    if key.is_empty() {
        write(area, &name, (x, y - 9.0 * scale), &bold)?;
        return write(area, &place, (x, y + 9.0 * scale), &small);
    }
    write(area, &name, (x, y - 18.0 * scale), &bold)?;
    write(area, &style::cut(&key, &small, room), (x, y), &small)?;
    write(
        area,
        &style::cut(&place, &small, room),
        (x, y + 18.0 * scale),
        &small,
    )
}

/// The edge of a box, as a path: plotters gives a rectangle no line width.
fn outline(
    area: &Area<'_>,
    (x, y): Point,
    (half_width, half_height): Point,
    colour: RGBColor,
) -> Drawn {
    let corner = |right: f64, down: f64| at(x + right * half_width, y + down * half_height);
    let corners = [
        corner(-1.0, -1.0),
        corner(1.0, -1.0),
        corner(1.0, 1.0),
        corner(-1.0, 1.0),
    ];
    let path: Vec<(i32, i32)> = corners
        .into_iter()
        .chain([corners[0], corners[1]])
        .collect();
    area.draw(&PathElement::new(path, style::line(colour, 1.5)))?;
    Ok(())
}

/// The end of an id, without what is before.
fn short(id: &str) -> String {
    let id = printable(id);
    let letters = id.chars().count();
    match letters.checked_sub(ID_LETTERS + 1) {
        None | Some(0) => id,
        Some(more) => "…".to_owned() + &id.chars().skip(more + 1).collect::<String>(),
    }
}

/// What a transaction does: the key that it waits for, or how many; and where, and for
/// how long.
fn state(node: &Node) -> [String; 2] {
    let Some(longest) = node.waits.iter().max_by_key(|it| it.waited_ms) else {
        return [String::new(), "waits for nobody".to_owned()];
    };
    let time = Quantity::Milliseconds.tell(longest.waited_ms as f64);
    match node.waits.as_slice() {
        [one] => [
            printable(&one.key),
            format!("{}, {time}", printable(&one.participant)),
        ],
        several => [format!("{} keys", several.len()), format!("longest {time}")],
    }
}

fn arrow(area: &Area<'_>, graph: &Graph, places: &Places, edge: Edge) -> Drawn {
    let (from, to) = (middle_of(places, edge.from), middle_of(places, edge.to));
    let half = (
        BOX_WIDTH / 2.0 * places.scale,
        BOX_HEIGHT / 2.0 * places.scale,
    );
    let same_group = graph.nodes[edge.from].group == graph.nodes[edge.to].group;
    let curve = if same_group {
        bow(from, to, half)
    } else {
        swing(places, from, to, half)
    };
    let (colour, width) = match (edge.circle, edge.queued) {
        (true, _) => (style::VERMILION, 2.4),
        (false, false) => (style::INK, 1.5),
        (false, true) => (style::GREY, 1.5),
    };
    let head = HEAD * places.scale.max(0.7);
    let (line, tip) = shortened(&curve, head * 0.8);
    let style = style::line(colour, width);
    for stroke in if edge.queued {
        broken(&line)
    } else {
        vec![line]
    } {
        let points: Vec<(i32, i32)> = stroke.iter().map(|(x, y)| at(*x, *y)).collect();
        area.draw(&PathElement::new(points, style))?;
    }
    if let Some((end, (right, down))) = tip {
        let half = HEAD_HALF * places.scale.max(0.7);
        let back = (end.0 - right * head, end.1 - down * head);
        let corners = [
            at(end.0, end.1),
            at(back.0 - down * half, back.1 + right * half),
            at(back.0 + down * half, back.1 - right * half),
        ];
        area.draw(&Polygon::new(corners, colour.filled()))?;
    }
    Ok(())
}

/// From the right side of a box to the left side of one further right: level as far
/// as no box is in the way, then in a swing.
fn swing(places: &Places, from: Point, to: Point, (half_width, half_height): Point) -> Vec<Point> {
    let (start, end) = ((from.0 + half_width, from.1), (to.0 - half_width, to.1));
    let between = || {
        let all = (0..places.middles.len()).map(|node| middle_of(places, node));
        all.filter(|it| it.0 - half_width > start.0 && it.0 + half_width < end.0)
    };
    let blocked = between().any(|it| (it.1 - from.1).abs() < half_height + 2.0);
    let past = between()
        .map(|it| it.0 + half_width)
        .fold(start.0, f64::max);
    let turn = if blocked { start } else { (past, start.1) };
    let reach = ((end.0 - turn.0) / 2.0).max(20.0);
    let mut way = vec![start];
    way.extend(curve([
        turn,
        (turn.0 + reach, turn.1),
        (end.0 - reach, end.1),
        end,
    ]));
    way
}

/// Between two boxes anywhere, bent to the left of its way: so the two arrows of a
/// pair do not lie upon each other. It begins and ends at the edges of the boxes.
fn bow(from: Point, to: Point, half: Point) -> Vec<Point> {
    let (across, down) = (to.0 - from.0, to.1 - from.1);
    let length = across.hypot(down).max(1.0);
    let bend = (length * 0.18).min(34.0);
    let aside = (down / length * bend, -across / length * bend);
    let control = |part: f64| {
        (
            from.0 + across * part + aside.0,
            from.1 + down * part + aside.1,
        )
    };
    let whole = curve([from, control(0.25), control(0.75), to]);
    let outside = |point: &Point, middle: Point| {
        (point.0 - middle.0).abs() > half.0 + 2.0 || (point.1 - middle.1).abs() > half.1 + 2.0
    };
    whole
        .into_iter()
        .filter(|it| outside(it, from) && outside(it, to))
        .collect()
}

/// A cubic Bézier curve, as points.
fn curve([a, b, c, d]: [Point; 4]) -> Vec<Point> {
    let point = |step: usize| {
        let t = step as f64 / CURVE_POINTS as f64;
        let s = 1.0 - t;
        let weights = [s * s * s, 3.0 * s * s * t, 3.0 * s * t * t, t * t * t];
        let sum = |of: fn(Point) -> f64| -> f64 {
            [a, b, c, d]
                .into_iter()
                .zip(weights)
                .map(|(it, weight)| of(it) * weight)
                .sum()
        };
        (sum(|it| it.0), sum(|it| it.1))
    };
    (0..=CURVE_POINTS).map(point).collect()
}

/// A curve without its last pixels, which the arrow's head covers; and where the head
/// ends and points to.
fn shortened(curve: &[Point], by: f64) -> (Vec<Point>, Option<(Point, Point)>) {
    let Some(end) = curve.last().copied() else {
        return (Vec::new(), None);
    };
    let far = |point: &&Point| (point.0 - end.0).hypot(point.1 - end.1) >= by;
    let Some(back) = curve.iter().rposition(|it| far(&it)) else {
        return (curve.to_vec(), None);
    };
    let (across, down) = (end.0 - curve[back].0, end.1 - curve[back].1);
    let length = across.hypot(down);
    let (right, below) = (across / length, down / length);
    let mut line = curve[..=back].to_vec();
    // Points lie apart; the line ends where the head begins.
    line.push((end.0 - right * by, end.1 - below * by));
    (line, Some((end, (right, below))))
}

/// A line in strokes.
fn broken(line: &[Point]) -> Vec<Vec<Point>> {
    let mut strokes = Vec::new();
    let mut stroke: Vec<Point> = line.first().copied().into_iter().collect();
    let (mut drawing, mut left) = (true, STROKE);
    for pair in line.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        loop {
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            if length < left {
                left -= length;
                if drawing {
                    stroke.push(to);
                }
                break;
            }
            let part = left / length;
            from = (
                from.0 + (to.0 - from.0) * part,
                from.1 + (to.1 - from.1) * part,
            );
            if drawing {
                stroke.push(from);
                strokes.push(std::mem::take(&mut stroke));
            } else {
                stroke = vec![from];
            }
            drawing = !drawing;
            left = if drawing { STROKE } else { BREAK };
        }
    }
    if stroke.len() > 1 {
        strokes.push(stroke);
    }
    strokes
}

/// What the arrows mean, as far as there are such.
fn legend(area: &Area<'_>, graph: &Graph) -> Drawn {
    let kinds = [
        (
            style::INK,
            false,
            "waits for the holder",
            graph.edges.iter().any(|it| !it.queued && !it.circle),
        ),
        (
            style::GREY,
            true,
            "waits behind in the queue",
            graph.edges.iter().any(|it| it.queued),
        ),
        (
            style::VERMILION,
            false,
            "part of a circle",
            graph.edges.iter().any(|it| it.circle),
        ),
    ];
    let small = style::plain(style::TEXT, style::GREY, Anchor::Left);
    let mut left = MARGIN;
    for (colour, queued, what, _) in kinds.into_iter().filter(|it| it.3) {
        let line = vec![(left, LEGEND), (left + 34.0, LEGEND)];
        let width = if colour == style::VERMILION { 2.4 } else { 1.5 };
        for stroke in if queued { broken(&line) } else { vec![line] } {
            let points: Vec<(i32, i32)> = stroke.iter().map(|(x, y)| at(*x, *y)).collect();
            area.draw(&PathElement::new(points, style::line(colour, width)))?;
        }
        let head = [
            at(left + 43.0, LEGEND),
            at(left + 33.0, LEGEND - HEAD_HALF),
            at(left + 33.0, LEGEND + HEAD_HALF),
        ];
        area.draw(&Polygon::new(head, colour.filled()))?;
        write(area, what, (left + 52.0, LEGEND), &small)?;
        left += 52.0 + style::width_of(what, &small) + 36.0;
    }
    Ok(())
}
