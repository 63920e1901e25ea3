//! Deadlocks: cycles in the waits-for graph, and who gives way.
//!
//! A [`Graph`] is made of queues, of one participant or of many. Whoever waits in a
//! queue waits for those who hold the key and for those ahead of it, as far as they
//! are not compatible. The search is depth-first with three colours; a cycle that
//! has a short cut is cut short, so that nobody is in it who merely stands between
//! two others in a queue. Of each cycle the youngest gives way, and the search goes
//! on without it.
//!
//! Edges from several participants are not seen at one moment, so a cycle of them may
//! never have been there at once. Whoever found it looks a second time: an edge that
//! is the same wait at both looks was there all the time in between, and all edges
//! were there when the first look ended.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::id::{ParticipantName, TransactionId};
use crate::limits;
use crate::lock::{LockKey, Mode, Queue, Waiter};

/// Who waits for whom.
#[derive(Clone, Debug)]
pub struct Graph<N> {
    /// Everybody, in ascending order once all is added.
    index: BTreeMap<N, usize>,
    nodes: Vec<N>,
    /// Of each queue: the holders, then the waiters that do not hold the key.
    queues: Vec<Vec<(usize, Mode)>>,
    /// What each waits in.
    waits: Vec<Vec<Wait>>,
}

/// A place in a queue.
#[derive(Clone, Copy, Debug)]
struct Wait {
    queue: usize,
    /// How many of the queue's entries come before it.
    ahead: usize,
    mode: Mode,
}

/// A cycle and its victim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock<N> {
    /// Each waits for the next, and the last for the first. The victim is the first.
    pub cycle: Vec<N>,
}

impl<N: Copy> Deadlock<N> {
    /// Who gives way: the youngest.
    #[must_use]
    pub fn victim(&self) -> Option<N> {
        self.cycle.first().copied()
    }

    /// Each with whom it waits for.
    pub fn links(&self) -> impl Iterator<Item = (N, N)> + '_ {
        let next = self.cycle.iter().cycle().skip(1);
        self.cycle.iter().copied().zip(next.copied())
    }
}

impl<N> Default for Graph<N> {
    fn default() -> Self {
        Self {
            index: BTreeMap::new(),
            nodes: Vec::new(),
            queues: Vec::new(),
            waits: Vec::new(),
        }
    }
}

/// How far the search has come with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    /// Not seen.
    White,
    /// On the path.
    Grey,
    /// No cycle can be reached from it any more.
    Black,
}

/// A node on the path, and which of its edges comes next.
#[derive(Clone, Copy, Debug)]
struct Step {
    node: usize,
    wait: usize,
    place: usize,
}

impl<N: Ord + Copy> Graph<N> {
    /// Adds a queue. Waiters that do not `count` are in the way of those behind
    /// them, and are not said to wait.
    pub fn add(&mut self, queue: &Queue<N>, counts: impl Fn(&Waiter<N>) -> bool) {
        let number = self.queues.len();
        let holders = queue.holders.len();
        let mut places: Vec<(usize, Mode)> = Vec::with_capacity(holders + queue.waiters.len());
        let mut held: BTreeMap<usize, usize> = BTreeMap::new();
        for holder in &queue.holders {
            let node = self.node(holder.owner);
            held.insert(node, places.len());
            places.push((node, holder.mode));
        }
        for waiter in &queue.waiters {
            let node = self.node(waiter.owner);
            let ahead = match held.get(&node).and_then(|at| places.get_mut(*at)) {
                Some((_, mode)) => {
                    *mode = waiter.mode.max(*mode);
                    holders
                }
                None => {
                    places.push((node, waiter.mode));
                    places.len() - 1
                }
            };
            let wait = Wait {
                queue: number,
                ahead,
                mode: waiter.mode,
            };
            if let Some(waits) = self.waits.get_mut(node).filter(|_| counts(waiter)) {
                waits.push(wait);
            }
        }
        self.queues.push(places);
    }

    fn node(&mut self, node: N) -> usize {
        let next = self.nodes.len();
        let at = *self.index.entry(node).or_insert(next);
        if at == next {
            self.nodes.push(node);
            self.waits.push(Vec::new());
        }
        at
    }

    /// How many edges there are.
    #[must_use]
    pub fn edges(&self) -> usize {
        (0..self.nodes.len())
            .map(|node| self.blockers(node).count())
            .sum()
    }

    /// All deadlocks. Without their victims there is none left.
    pub fn deadlocks<A: Ord>(&self, age: impl Fn(N) -> A) -> Vec<Deadlock<N>> {
        self.search(self.index.values().copied(), age)
    }

    /// The deadlocks that can be reached from one node. Where nobody but it has
    /// begun to wait since there were none, these are all.
    pub fn deadlocks_from<A: Ord>(&self, node: N, age: impl Fn(N) -> A) -> Vec<Deadlock<N>> {
        self.search(self.index.get(&node).copied().into_iter(), age)
    }

    fn search<A: Ord>(
        &self,
        roots: impl Iterator<Item = usize>,
        age: impl Fn(N) -> A,
    ) -> Vec<Deadlock<N>> {
        let mut colours = alloc::vec![Colour::White; self.nodes.len()];
        let mut path: Vec<Step> = Vec::new();
        let mut found = Vec::new();
        for root in roots {
            self.enter(root, &mut colours, &mut path);
            while let Some(step) = path.last_mut() {
                let Some(next) = self.next(step) else {
                    colours[step.node] = Colour::Black;
                    path.pop();
                    continue;
                };
                match colours[next] {
                    Colour::Black => {}
                    Colour::White => self.enter(next, &mut colours, &mut path),
                    Colour::Grey => {
                        let from = path.iter().rposition(|step| step.node == next);
                        let cycle = path.iter().skip(from.unwrap_or(0));
                        let cycle = self.cut_short(cycle.map(|step| step.node).collect());
                        let cycle = self.victim_first(cycle, &age);
                        let Some(victim) = cycle.first().copied() else {
                            continue;
                        };
                        let nodes = cycle.iter().map(|node| self.nodes[*node]);
                        found.push(Deadlock {
                            cycle: nodes.collect(),
                        });
                        // Without the victim, what lies behind it on the path is to be
                        // looked at anew.
                        while let Some(step) = path.pop() {
                            if step.node == victim {
                                break;
                            }
                            colours[step.node] = Colour::White;
                        }
                        colours[victim] = Colour::Black;
                    }
                }
            }
        }
        found
    }

    fn enter(&self, node: usize, colours: &mut [Colour], path: &mut Vec<Step>) {
        if colours[node] == Colour::White {
            colours[node] = Colour::Grey;
            path.push(Step {
                node,
                wait: 0,
                place: 0,
            });
        }
    }

    /// The next edge of a node.
    fn next(&self, step: &mut Step) -> Option<usize> {
        while let Some(wait) = self.waits[step.node].get(step.wait) {
            let places = &self.queues[wait.queue][..wait.ahead];
            while let Some((node, mode)) = places.get(step.place) {
                step.place += 1;
                if *node != step.node && !wait.mode.is_compatible_with(*mode) {
                    return Some(*node);
                }
            }
            step.wait += 1;
            step.place = 0;
        }
        None
    }

    fn blockers(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let mut step = Step {
            node,
            wait: 0,
            place: 0,
        };
        core::iter::from_fn(move || self.next(&mut step))
    }

    /// Leaves out of a cycle whoever it can do without.
    fn cut_short(&self, mut cycle: Vec<usize>) -> Vec<usize> {
        let mut from = 0;
        while from < cycle.len() {
            let length = cycle.len();
            let places: BTreeMap<usize, usize> =
                cycle.iter().enumerate().map(|(at, it)| (*it, at)).collect();
            // How many steps round the cycle it is from here to each of those that
            // this one waits for: the farther, the more is left out.
            let steps = self
                .blockers(cycle[from])
                .filter_map(|node| places.get(&node))
                .map(|to| (to + length - from - 1) % length + 1);
            match steps.max() {
                Some(steps) if steps > 1 => {
                    cycle.rotate_left(from);
                    cycle.drain(1..steps);
                    from = 0;
                }
                _ => from += 1,
            }
        }
        cycle
    }

    fn victim_first<A: Ord>(&self, mut cycle: Vec<usize>, age: impl Fn(N) -> A) -> Vec<usize> {
        let youngest = (0..cycle.len()).max_by_key(|at| {
            let node = self.nodes[cycle[*at]];
            (age(node), node)
        });
        cycle.rotate_left(youngest.unwrap_or(0));
        cycle
    }
}

/// A link of a cycle, for people: who waits, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Who.
    pub waiter: TransactionId,
    /// At which participant.
    pub participant: ParticipantName,
    /// For which key.
    pub key: LockKey,
}

/// Most links that are told one by one.
const LINKS_TOLD: usize = 3;

/// Says a cycle, the victim first, in one sentence.
#[must_use]
pub fn sentence(cycle: &[Link]) -> String {
    let mut text = format!("deadlock of {} transactions: ", cycle.len());
    if cycle.len() <= LINKS_TOLD {
        for (at, link) in cycle.iter().enumerate() {
            let next = cycle.get(at + 1).or(cycle.first());
            let next = next.map(|link| link.waiter).unwrap_or(link.waiter);
            let Link {
                waiter,
                participant,
                key,
            } = link;
            let comma = if at == 0 { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "{comma}{waiter} waits for {next} at {participant} ({key})"
            );
        }
        let _ = write!(text, "; the youngest gave way");
        return text;
    }
    const END: &str = "each waits for the next; the youngest, the first, gave way";
    for (at, link) in cycle.iter().enumerate() {
        let rest = cycle.len() - at;
        if text.len() + 80 + END.len() > limits::MESSAGE_CHARS_MAX {
            let _ = write!(text, "{rest} more, ");
            break;
        }
        let _ = write!(text, "{}, ", link.waiter);
    }
    text.push_str(END);
    text
}
