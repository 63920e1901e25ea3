//! Cycles in a graph of dependencies. Nothing here knows what they mean.
//!
//! Everything is iterative: a history may be a chain of any length.

use std::collections::VecDeque;

/// Edges looked at in the search for the shortest witness before the best found
/// so far is taken: about a tenth of a second. A small witness is a courtesy;
/// that there is one is certain before the search begins.
const WITNESS_EDGES_MAX: u64 = 4_000_000;

/// Why one node is before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Its write was overwritten by the other.
    WriteWrite,
    /// Its write was read by the other.
    WriteRead,
    /// What it read was overwritten by the other.
    ReadWrite,
    /// It ended before the other began.
    RealTime,
    /// From a junction: the kind is that of the edge that led into it.
    Onward,
}

/// An edge to another node, with the place it speaks of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) to: usize,
    pub(super) kind: Kind,
    /// Index of the key; 0 where none is meant.
    pub(super) key: usize,
    /// For a read-write edge how many values were read, for others the position
    /// of the value that was overwritten or read; 0 where none is meant.
    pub(super) position: usize,
}

/// Transactions first, then junctions: nodes that stand for all pairs of those
/// before and those after them, so that edges stay few.
pub(super) struct Graph {
    edges: Vec<Vec<Edge>>,
    transactions: usize,
}

/// One dependency of a cycle, junctions left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop {
    pub(super) from: usize,
    /// Its `to` is a transaction.
    pub(super) edge: Edge,
}

impl Graph {
    pub(super) fn new(transactions: usize) -> Self {
        Self {
            edges: vec![Vec::new(); transactions],
            transactions,
        }
    }

    pub(super) fn junction(&mut self) -> usize {
        self.edges.push(Vec::new());
        self.edges.len() - 1
    }

    pub(super) fn connect(&mut self, from: usize, edge: Edge) {
        debug_assert_ne!(from, edge.to, "nothing is before itself");
        self.edges[from].push(edge);
    }

    /// The strongly connected components, by Tarjan's algorithm with a stack of its
    /// own. Edges that `allowed` refuses are not there.
    fn components(&self, allowed: impl Fn(Kind) -> bool) -> Components {
        const UNSEEN: usize = usize::MAX;
        let nodes = self.edges.len();
        let (mut index, mut low) = (vec![UNSEEN; nodes], vec![0; nodes]);
        let mut on_stack = vec![false; nodes];
        let (mut stack, mut path) = (Vec::new(), Vec::new());
        let (mut next, mut emitted) = (0, 0);
        let mut found = Components {
            cyclic: Vec::new(),
            rank: vec![0; nodes],
        };
        for root in 0..nodes {
            if index[root] != UNSEEN {
                continue;
            }
            path.push((root, 0));
            while let Some((node, edge)) = path.pop() {
                if edge == 0 {
                    (index[node], low[node]) = (next, next);
                    next += 1;
                    stack.push(node);
                    on_stack[node] = true;
                }
                if let Some(Edge { to, kind, .. }) = self.edges[node].get(edge) {
                    path.push((node, edge + 1));
                    if !allowed(*kind) {
                        continue;
                    }
                    if index[*to] == UNSEEN {
                        path.push((*to, 0));
                    } else if on_stack[*to] {
                        low[node] = low[node].min(index[*to]);
                    }
                    continue;
                }
                if let Some((parent, _)) = path.last() {
                    low[*parent] = low[*parent].min(low[node]);
                }
                if low[node] == index[node] {
                    let component = stack.split_off(position_of(&stack, node));
                    for member in &component {
                        on_stack[*member] = false;
                        found.rank[*member] = emitted;
                    }
                    emitted += 1;
                    if component.len() > 1 {
                        found.cyclic.push(component);
                    }
                }
            }
        }
        found
    }
}

/// How the nodes of a graph hang together.
struct Components {
    /// The components of more than one node.
    cyclic: Vec<Vec<usize>>,
    /// No edge leads from a node to one of higher rank.
    rank: Vec<usize>,
}

/// Where a node is on the stack, seen from its top.
fn position_of(stack: &[usize], node: usize) -> usize {
    stack
        .iter()
        .rposition(|other| *other == node)
        .unwrap_or_default()
}

/// Which cycles a pass looks for.
#[derive(Clone, Copy)]
struct Pass {
    reads: bool,
    anti: Anti,
    real_time: bool,
}

/// How many read-write edges are allowed.
#[derive(Clone, Copy, PartialEq)]
enum Anti {
    None,
    One,
    Any,
}

impl Pass {
    /// Whether edges of this kind may be part of the cycle.
    fn allows(self, kind: Kind) -> bool {
        match kind {
            Kind::WriteWrite | Kind::Onward => true,
            Kind::WriteRead => self.reads,
            Kind::ReadWrite => self.anti != Anti::None,
            Kind::RealTime => self.real_time,
        }
    }
}

/// A shortest cycle of the gravest class there is, or none if there is no cycle.
pub(super) fn worst_cycle(graph: &Graph) -> Option<Vec<Hop>> {
    if graph.components(|_| true).cyclic.is_empty() {
        return None;
    }
    let gravest_first = [
        (false, Anti::None),
        (true, Anti::None),
        (true, Anti::One),
        (true, Anti::Any),
    ];
    [false, true].into_iter().find_map(|real_time| {
        gravest_first.into_iter().find_map(|(reads, anti)| {
            let pass = Pass {
                reads,
                anti,
                real_time,
            };
            Search::new(graph, pass).shortest()
        })
    })
}

/// The search for the shortest cycle of one pass.
struct Search<'a> {
    graph: &'a Graph,
    pass: Pass,
    /// The component of each node, 0 for none: a cycle stays in one.
    component: Vec<usize>,
    members: Vec<usize>,
    /// Ranks in the graph that a run looks at: what ranks lower than its goal does
    /// not lead there.
    rank: Vec<usize>,
    /// For each node: the run that reached it, at what cost, from where.
    reached: Vec<(usize, u32, Hop)>,
    runs: usize,
    edges_left: u64,
    best: Option<(u32, Vec<Hop>)>,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Graph, pass: Pass) -> Self {
        let components = graph.components(|kind| pass.allows(kind));
        let mut component = vec![0; graph.edges.len()];
        for (n, members) in components.cyclic.iter().enumerate() {
            for member in members {
                component[*member] = n + 1;
            }
        }
        // With the one read-write edge taken out, the rest is mostly without cycles.
        let rank = if pass.anti == Anti::One {
            let rest = |kind| pass.allows(kind) && kind != Kind::ReadWrite;
            graph.components(rest).rank
        } else {
            components.rank
        };
        let nowhere = Hop {
            from: 0,
            edge: Edge {
                to: 0,
                kind: Kind::Onward,
                key: 0,
                position: 0,
            },
        };
        Self {
            graph,
            pass,
            component,
            rank,
            members: components.cyclic.into_iter().flatten().collect(),
            reached: vec![(0, 0, nowhere); graph.edges.len()],
            runs: 0,
            edges_left: WITNESS_EDGES_MAX,
            best: None,
        }
    }

    fn shortest(mut self) -> Option<Vec<Hop>> {
        let mut members = std::mem::take(&mut self.members);
        members.retain(|member| *member < self.graph.transactions);
        members.sort_unstable();
        let graph = self.graph;
        for start in members {
            if self.exhausted() {
                break;
            }
            if self.pass.anti == Anti::One {
                for edge in &graph.edges[start] {
                    let leads_back = self.rank[edge.to] >= self.rank[start];
                    if edge.kind == Kind::ReadWrite && leads_back && self.stays(start, edge.to) {
                        self.close(Hop {
                            from: start,
                            edge: *edge,
                        });
                    }
                }
            } else {
                self.run(start, start, None);
            }
        }
        self.best.map(|(_, hops)| without_junctions(graph, &hops))
    }

    /// Whether to take what there is. Where a cycle is sure to be found the
    /// search goes on until it has one.
    fn exhausted(&self) -> bool {
        self.edges_left == 0 && (self.best.is_some() || self.pass.anti == Anti::One)
    }

    /// Whether an edge is inside a component.
    fn stays(&self, from: usize, to: usize) -> bool {
        self.component[from] != 0 && self.component[from] == self.component[to]
    }

    /// The shortest cycle that begins with this hop and has no other like it.
    fn close(&mut self, first: Hop) {
        self.run(first.edge.to, first.from, Some(first));
    }

    /// Breadth first from one node to a transaction. Only transactions count for
    /// the length, so what leads into a junction goes to the front of the queue.
    fn run(&mut self, start: usize, goal: usize, first: Option<Hop>) {
        self.runs += 1;
        let graph = self.graph;
        let bound = self.best.as_ref().map_or(u32::MAX, |(length, _)| *length);
        let cost_of = |node: usize| u32::from(node < graph.transactions);
        // The goal is counted when it is reached; the start when it is not the goal.
        let cost = if start == goal { 0 } else { cost_of(start) };
        self.reached[start] = (self.runs, cost, self.reached[start].2);
        let mut queue = VecDeque::from([(cost, start)]);
        while let Some((cost, node)) = queue.pop_front() {
            if cost > self.reached[node].1 {
                continue;
            }
            if cost + 1 >= bound || self.exhausted() {
                return;
            }
            for edge in &graph.edges[node] {
                self.edges_left = self.edges_left.saturating_sub(1);
                let anti = edge.kind == Kind::ReadWrite && first.is_some();
                let astray = self.rank[edge.to] < self.rank[goal];
                if astray || anti || !self.pass.allows(edge.kind) || !self.stays(node, edge.to) {
                    continue;
                }
                let hop = Hop {
                    from: node,
                    edge: *edge,
                };
                if edge.to == goal {
                    self.best = Some((cost + 1, self.path(start, hop, first)));
                    return;
                }
                let (run, known, _) = self.reached[edge.to];
                let cost = cost + cost_of(edge.to);
                if run == self.runs && known <= cost {
                    continue;
                }
                self.reached[edge.to] = (self.runs, cost, hop);
                if cost_of(edge.to) == 0 {
                    queue.push_front((cost, edge.to));
                } else {
                    queue.push_back((cost, edge.to));
                }
            }
        }
    }

    /// The way from the start to the last hop, after the first one if given.
    fn path(&self, start: usize, last: Hop, first: Option<Hop>) -> Vec<Hop> {
        let mut hops = vec![last];
        let mut node = last.from;
        while node != start {
            let hop = self.reached[node].2;
            hops.push(hop);
            node = hop.from;
        }
        hops.extend(first);
        hops.reverse();
        hops
    }
}

/// Joins what leads into a junction with what leads out of it.
fn without_junctions(graph: &Graph, hops: &[Hop]) -> Vec<Hop> {
    let mut joined: Vec<Hop> = Vec::new();
    for hop in hops {
        match joined.last_mut() {
            Some(before) if before.edge.to >= graph.transactions => before.edge.to = hop.edge.to,
            _ => joined.push(*hop),
        }
    }
    joined
}
