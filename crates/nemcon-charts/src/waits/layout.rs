//! Places of the boxes.
//!
//! A group (one transaction, or those of a circle) is a block. Blocks stand in
//! columns: at the right those that wait for nobody, and each other as far left of
//! them as its longest row of arrows says. Within a column they are in the order of
//! the middle of what they are joined to, which keeps arrows from crossing. Members
//! of a circle stand on an ellipse.

use std::f64::consts::TAU;

use super::graph::Graph;

/// Size of a box, in pixels, before all is made smaller to fit.
pub(super) const BOX_WIDTH: f64 = 150.0;
pub(super) const BOX_HEIGHT: f64 = 60.0;

/// Between boxes: of a column, and of two columns.
const GAP_Y: f64 = 18.0;
const GAP_X: f64 = 56.0;

/// The most room that is put between two columns where there is much of it.
const GAP_X_MAX: f64 = 190.0;

/// A column that has more blocks becomes two, of which the second is half a row lower:
/// so arrows from the first pass between its boxes.
const ROWS_MAX: usize = 6;

/// How often the order of blocks is looked at again, from both sides.
const SWEEPS: usize = 4;

/// Middles of boxes, and how much smaller than planned all is drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Places {
    pub(super) middles: Vec<(f64, f64)>,
    pub(super) scale: f64,
}

/// A block with its place in the plan.
#[derive(Clone, Debug)]
struct Block {
    width: f64,
    height: f64,
    /// Middles of its members, from its own middle.
    members: Vec<(f64, f64)>,
    x: f64,
    y: f64,
}

/// Places for all nodes within a frame of `width` by `height` pixels, from its upper
/// left corner.
pub(super) fn places(graph: &Graph, width: f64, height: f64) -> Places {
    let mut blocks: Vec<Block> = graph.groups.iter().map(|it| block(it.len())).collect();
    let columns = columns(graph);
    let wide: Vec<f64> = columns.iter().map(|it| widest(it, &blocks)).collect();
    let tall = columns
        .iter()
        .map(|it| stack(it, &blocks))
        .fold(0.0, f64::max);
    let boxes: f64 = wide.iter().sum();
    let gaps = columns.len().saturating_sub(1) as f64;
    let needed = boxes + gaps * GAP_X;
    let scale = (width / needed.max(1.0))
        .min(height / tall.max(1.0))
        .min(1.0);
    let room = (width / scale - boxes) / gaps.max(1.0);
    let gap = room.clamp(GAP_X, GAP_X_MAX);
    let mut left = (width / scale - boxes - gaps * gap) / 2.0;
    for (column, wide) in columns.iter().zip(&wide) {
        let mut top = (height / scale - stack(column, &blocks)) / 2.0;
        for group in column {
            let block = &mut blocks[*group];
            block.x = left + wide / 2.0;
            block.y = top + block.height / 2.0;
            top += block.height + GAP_Y;
        }
        left += wide + gap;
    }
    let mut middles = vec![(0.0, 0.0); graph.nodes.len()];
    for (members, block) in graph.groups.iter().zip(&blocks) {
        for (node, (x, y)) in members.iter().zip(&block.members) {
            middles[*node] = ((block.x + x) * scale, (block.y + y) * scale);
        }
    }
    Places { middles, scale }
}

fn widest(column: &[usize], blocks: &[Block]) -> f64 {
    column
        .iter()
        .map(|it| blocks[*it].width)
        .fold(0.0, f64::max)
}

fn stack(column: &[usize], blocks: &[Block]) -> f64 {
    let boxes: f64 = column.iter().map(|it| blocks[*it].height).sum();
    boxes + GAP_Y * column.len().saturating_sub(1) as f64
}

/// One box, or as many as there are on an ellipse, which is wider than high as the
/// boxes are.
fn block(members: usize) -> Block {
    let count = members as f64;
    let (across, down) = match members {
        0 | 1 => (0.0, 0.0),
        2 => (BOX_WIDTH * 0.85, 0.0),
        _ => (
            (count * 38.0).max(BOX_WIDTH * 0.85),
            (count * 19.0).max(82.0),
        ),
    };
    // Two stand side by side, others begin at the top.
    let begin = if members == 2 { 0.5 } else { -0.25 };
    let place = |number: usize| {
        let angle = TAU * (begin + number as f64 / count);
        (across * angle.cos(), down * angle.sin())
    };
    Block {
        width: BOX_WIDTH + 2.0 * across,
        // Two arrows between two boxes need some room above and below.
        height: BOX_HEIGHT + if members == 2 { 24.0 } else { 2.0 * down },
        members: (0..members).map(place).collect(),
        x: 0.0,
        y: 0.0,
    }
}

/// Groups in columns from left to right, each in its order from the top.
fn columns(graph: &Graph) -> Vec<Vec<usize>> {
    let deepest = graph.depths.iter().copied().max().unwrap_or_default();
    let mut columns = vec![Vec::new(); deepest + 1];
    for (group, depth) in graph.depths.iter().enumerate() {
        columns[deepest - depth].push(group);
    }
    let joined = joined(graph);
    for sweep in 0..SWEEPS {
        let mut order: Vec<usize> = (0..columns.len()).collect();
        if sweep % 2 == 0 {
            order.reverse();
        }
        for column in order {
            let height = heights(&columns, graph.groups.len());
            columns[column].sort_by(|one, two| {
                let middle =
                    |group: usize| middle(&joined[group], &height).unwrap_or(height[group]);
                middle(*one).total_cmp(&middle(*two)).then(one.cmp(two))
            });
        }
    }
    let split = |column: Vec<usize>| {
        if column.len() <= ROWS_MAX {
            return vec![column];
        }
        // By turns, so that both parts keep the order.
        let part = |odd: usize| column.iter().copied().skip(odd).step_by(2).collect();
        vec![part(0), part(1)]
    };
    columns.into_iter().flat_map(split).collect()
}

/// The groups that each is joined to.
fn joined(graph: &Graph) -> Vec<Vec<usize>> {
    let mut joined = vec![Vec::new(); graph.groups.len()];
    for edge in &graph.edges {
        let (from, to) = (graph.nodes[edge.from].group, graph.nodes[edge.to].group);
        if from != to {
            joined[from].push(to);
            joined[to].push(from);
        }
    }
    joined
}

/// How far down its column each group is, from 0 to 1.
fn heights(columns: &[Vec<usize>], groups: usize) -> Vec<f64> {
    let mut heights = vec![0.0; groups];
    for column in columns {
        for (place, group) in column.iter().enumerate() {
            heights[*group] = (place as f64 + 0.5) / column.len() as f64;
        }
    }
    heights
}

fn middle(joined: &[usize], heights: &[f64]) -> Option<f64> {
    let sum: f64 = joined.iter().map(|it| heights[*it]).sum();
    (!joined.is_empty()).then(|| sum / joined.len() as f64)
}
