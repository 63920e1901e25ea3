//! The graph, without places: which transactions and arrows are drawn, and which of
//! them are part of a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::Wait;

/// The most transactions in a picture. More cannot be read.
pub const NODES_MAX: usize = 14;

/// The longest row of arrows one after another that is drawn: a page is so wide.
pub(super) const DEPTH_MAX: usize = 5;

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Its whole id.
    pub(super) id: String,
    /// What it waits for.
    pub(super) waits: Vec<Waiting>,
    /// Which group it belongs to: those that wait for each other in a circle share one.
    pub(super) group: usize,
}

/// One thing that a transaction waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) key: String,
    pub(super) participant: String,
    pub(super) waited_ms: u64,
}

/// An arrow, between places in the list of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Waited for because it is ahead in a queue, not because it holds.
    pub(super) queued: bool,
    /// Part of a circle.
    pub(super) circle: bool,
}

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    /// Members of each group.
    pub(super) groups: Vec<Vec<usize>>,
    /// How many arrows lead from each group to one that waits for nobody, at most.
    pub(super) depths: Vec<usize>,
    /// Transactions that are not drawn.
    pub(super) left_out: usize,
    /// All that wait, drawn or not.
    pub(super) waiting: usize,
    /// Circles, drawn or not.
    pub(super) circles: usize,
}

/// Arrows between numbers; the value says whether it is only a place in a queue.
type Arrows = BTreeMap<(usize, usize), bool>;

impl Graph {
    pub(super) fn new(waits: &[Wait]) -> Self {
        let (ids, arrows) = arrows(waits);
        let all = Shape::of(ids.len(), &arrows);
        let shown = all.choose();
        let place: BTreeMap<usize, usize> =
            shown.iter().enumerate().map(|(at, it)| (*it, at)).collect();
        let kept: Arrows = arrows
            .iter()
            .filter_map(|((from, to), queued)| {
                Some(((*place.get(from)?, *place.get(to)?), *queued))
            })
            .collect();
        let shape = Shape::of(shown.len(), &kept);
        let circle = |from: usize, to: usize| all.group[shown[from]] == all.group[shown[to]];
        let edges = reduced(&kept, &shape)
            .map(|((from, to), queued)| Edge {
                from,
                to,
                queued,
                circle: circle(from, to),
            })
            .collect();
        let mut told: BTreeMap<&str, Vec<Waiting>> = BTreeMap::new();
        for wait in waits {
            told.entry(&wait.waiter).or_default().push(Waiting {
                key: wait.key.clone(),
                participant: wait.participant.clone(),
                waited_ms: wait.waited_ms,
            });
        }
        let nodes = shown.iter().zip(&shape.group).map(|(id, group)| Node {
            id: ids[*id].to_owned(),
            waits: told.get(ids[*id]).cloned().unwrap_or_default(),
            group: *group,
        });
        Self {
            nodes: nodes.collect(),
            edges,
            left_out: ids.len() - shown.len(),
            waiting: told.len(),
            circles: all.members.iter().filter(|it| it.len() > 1).count(),
            groups: shape.members,
            depths: shape.depth,
        }
    }
}

/// The ids in their order, and who waits for whom by their numbers. Who holds and
/// waits ahead as well counts as holding.
fn arrows(waits: &[Wait]) -> (Vec<&str>, Arrows) {
    let mut ids = BTreeSet::new();
    for wait in waits {
        ids.insert(wait.waiter.as_str());
        ids.extend(wait.held_by.iter().chain(&wait.behind).map(String::as_str));
    }
    let ids: Vec<&str> = ids.into_iter().collect();
    let number: BTreeMap<&str, usize> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let mut arrows = Arrows::new();
    for wait in waits {
        let held = wait.held_by.iter().map(|it| (it, false));
        for (blocker, queued) in held.chain(wait.behind.iter().map(|it| (it, true))) {
            let (from, to) = (number[wait.waiter.as_str()], number[blocker.as_str()]);
            // Nobody waits for itself; whoever says so is not worth an arrow.
            if from != to {
                *arrows.entry((from, to)).or_insert(true) &= queued;
            }
        }
    }
    (ids, arrows)
}

/// Groups and depths.
struct Shape {
    group: Vec<usize>,
    members: Vec<Vec<usize>>,
    depth: Vec<usize>,
}

impl Shape {
    /// Tarjan's strongly connected components, without recursion: there may be as
    /// many transactions as an answer has room for. A group is found after all that
    /// it leads to, so depths are known as it goes.
    fn of(nodes: usize, arrows: &Arrows) -> Self {
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); nodes];
        for (from, to) in arrows.keys() {
            next[*from].push(*to);
        }
        let mut search = Search {
            order: vec![None; nodes],
            low: vec![0; nodes],
            open: Vec::new(),
            group: vec![None; nodes],
            members: Vec::new(),
            count: 0,
        };
        for node in 0..nodes {
            if search.order[node].is_none() {
                search.visit(node, &next);
            }
        }
        let group: Vec<usize> = search.group.into_iter().flatten().collect();
        let mut depth = vec![0; search.members.len()];
        for (number, members) in search.members.iter().enumerate() {
            let ahead = members
                .iter()
                .flat_map(|node| &next[*node])
                .map(|to| group[*to]);
            let deepest = ahead
                .filter(|it| *it != number)
                .map(|it| depth[it] + 1)
                .max();
            depth[number] = deepest.unwrap_or(0);
        }
        Self {
            group,
            members: search.members,
            depth,
        }
    }

    /// Which nodes are drawn, in their order.
    fn choose(&self) -> Vec<usize> {
        let mut by_worth: Vec<usize> = (0..self.group.len()).collect();
        by_worth.sort_by_key(|node| {
            let group = self.group[*node];
            (self.members[group].len() == 1, self.depth[group], *node)
        });
        let near = |node: &usize| {
            let group = self.group[*node];
            self.depth[group] <= DEPTH_MAX || self.members[group].len() > 1
        };
        let mut shown: Vec<usize> = by_worth.into_iter().filter(near).take(NODES_MAX).collect();
        shown.sort_unstable();
        shown
    }
}

struct Search {
    order: Vec<Option<usize>>,
    low: Vec<usize>,
    open: Vec<usize>,
    group: Vec<Option<usize>>,
    members: Vec<Vec<usize>>,
    count: usize,
}

impl Search {
    fn visit(&mut self, start: usize, next: &[Vec<usize>]) {
        let mut path = vec![(self.enter(start), 0)];
        while let Some((node, seen)) = path.pop() {
            if let Some(to) = next[node].get(seen).copied() {
                path.push((node, seen + 1));
                match (self.order[to], self.group[to]) {
                    (None, _) => path.push((self.enter(to), 0)),
                    (Some(order), None) => self.low[node] = self.low[node].min(order),
                    (Some(_), Some(_)) => {}
                }
                continue;
            }
            if self.order[node] == Some(self.low[node]) {
                self.close(node);
            }
            if let Some((before, _)) = path.last() {
                self.low[*before] = self.low[*before].min(self.low[node]);
            }
        }
    }

    fn enter(&mut self, node: usize) -> usize {
        self.order[node] = Some(self.count);
        self.low[node] = self.count;
        self.count += 1;
        self.open.push(node);
        node
    }

    fn close(&mut self, root: usize) {
        let from = self
            .open
            .iter()
            .rposition(|it| *it == root)
            .unwrap_or_default();
        let mut members = self.open.split_off(from);
        members.sort_unstable();
        for member in &members {
            self.group[*member] = Some(self.members.len());
        }
        self.members.push(members);
    }
}

/// Without arrows that follow from others: whoever waits behind somebody who waits
/// for a third waits for the third. So a queue is a row. Circles keep all theirs.
fn reduced<'a>(
    arrows: &'a Arrows,
    shape: &'a Shape,
) -> impl Iterator<Item = ((usize, usize), bool)> + 'a {
    let leads = |from: usize, to: usize| {
        let mut seen = BTreeSet::new();
        // Two steps at least: the arrow itself is not taken.
        let first = arrows
            .range((from, 0)..(from + 1, 0))
            .map(|((_, it), _)| *it);
        let mut open: Vec<usize> = first.filter(|it| *it != to).collect();
        while let Some(node) = open.pop() {
            if node == to {
                return true;
            }
            if seen.insert(node) {
                open.extend(
                    arrows
                        .range((node, 0)..(node + 1, 0))
                        .map(|((_, it), _)| *it),
                );
            }
        }
        false
    };
    let kept = move |((from, to), _): &((usize, usize), bool)| {
        shape.group[*from] == shape.group[*to] || !leads(*from, *to)
    };
    arrows
        .iter()
        .map(|(ends, queued)| (*ends, *queued))
        .filter(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(waiter: &str, held_by: &[&str], behind: &[&str]) -> Wait {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Wait {
            waiter: waiter.into(),
            waited_ms: 5,
            participant: "bank-a".into(),
            key: "alice".into(),
            held_by: owned(held_by),
            behind: owned(behind),
        }
    }

    fn told(graph: &Graph) -> Vec<String> {
        let id = |node: usize| graph.nodes[node].id.as_str();
        let arrow = |edge: &Edge| {
            let kind = match (edge.circle, edge.queued) {
                (true, _) => "=>",
                (false, true) => "..>",
                (false, false) => "->",
            };
            format!("{} {kind} {}", id(edge.from), id(edge.to))
        };
        graph.edges.iter().map(arrow).collect()
    }

    #[test]
    fn a_queue_is_a_row() {
        let graph = Graph::new(&[
            wait("b", &["a"], &[]),
            wait("c", &["a"], &["b"]),
            wait("d", &["a"], &["b", "c"]),
        ]);
        assert_eq!(told(&graph), ["b -> a", "c ..> b", "d ..> c"]);
        assert_eq!((graph.circles, graph.waiting, graph.left_out), (0, 3, 0));
    }

    #[test]
    fn a_circle_is_found_and_who_waits_for_it_is_not_in_it() {
        let graph = Graph::new(&[
            wait("a", &["b"], &[]),
            wait("b", &["c"], &[]),
            wait("c", &["a"], &[]),
            wait("d", &["a"], &[]),
        ]);
        assert_eq!(told(&graph), ["a => b", "b => c", "c => a", "d -> a"]);
        assert_eq!(graph.circles, 1);
        assert_eq!(graph.depths[graph.nodes[3].group], 1);
    }

    #[test]
    fn many_are_cut_down_and_counted() {
        let holder = wait("0", &[], &[]);
        let many = (1..1_000).map(|it| wait(&format!("{it:04}"), &["0"], &[]));
        let mut all: Vec<Wait> = many.chain([holder]).collect();
        all.push(wait("x", &["y"], &[]));
        all.push(wait("y", &["x"], &[]));
        let graph = Graph::new(&all);
        assert_eq!(graph.nodes.len(), NODES_MAX);
        assert_eq!(graph.left_out, 1_002 - NODES_MAX);
        assert!(
            graph.nodes.iter().any(|it| it.id == "y"),
            "a circle comes first"
        );
    }

    #[test]
    fn a_long_chain_does_not_exhaust_the_stack() {
        let chain =
            (0..200_000).map(|it| wait(&format!("{it:06}"), &[&format!("{:06}", it + 1)], &[]));
        let graph = Graph::new(&chain.collect::<Vec<Wait>>());
        assert_eq!(graph.nodes.len(), DEPTH_MAX + 1);
        assert_eq!(graph.nodes.last().unwrap().id, "200000");
    }
}
