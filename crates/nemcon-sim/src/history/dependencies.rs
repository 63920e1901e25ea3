//! Who must be before whom, and the story of those who are before themselves.

use std::collections::BTreeMap;

use super::graph::{Edge, Graph, Hop, Kind};
use super::list::{Operation, Value};
use super::versions::Versions;
use super::{Cycle, Dependency, History, Number, Step};

/// All dependencies between transactions that committed.
pub(super) fn graph(
    history: &History<Operation>,
    versions: &Versions<'_>,
    real_time: bool,
) -> Graph {
    let mut graph = Graph::new(history.transactions.len());
    let mut touched: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (transaction, footprints) in versions.footprints.iter().enumerate() {
        for key in footprints.keys() {
            touched.entry(*key).or_default().push(transaction);
        }
    }
    for (key, transactions) in &touched {
        connect_writers(&mut graph, versions, *key);
        connect_readers(&mut graph, versions, *key, transactions);
        connect_unread(&mut graph, versions, *key, transactions);
    }
    if real_time {
        connect_real_time(&mut graph, history, versions);
    }
    graph
}

/// ww along the order of one key.
fn connect_writers(graph: &mut Graph, versions: &Versions<'_>, key: usize) {
    for position in 1..versions.order[key].len() {
        let before = versions.writer(key, position - 1);
        let after = versions.writer(key, position);
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            let edge = Edge {
                to: after,
                kind: Kind::WriteWrite,
                key,
                position: position - 1,
            };
            graph.connect(before, edge);
        }
    }
}

/// wr to each reader from the writer of the last value it found, and rw from it
/// to the writer of the next.
fn connect_readers(graph: &mut Graph, versions: &Versions<'_>, key: usize, touched: &[usize]) {
    for reader in touched.iter().copied() {
        let Some(length) = found(versions, reader, key) else {
            continue;
        };
        if let Some(position) = length.checked_sub(1)
            && let Some(writer) = versions.writer(key, position)
        {
            let edge = Edge {
                to: reader,
                kind: Kind::WriteRead,
                key,
                position,
            };
            graph.connect(writer, edge);
        }
        if let Some(next) = versions.writer(key, length)
            && next != reader
        {
            graph.connect(reader, read_write(next, key, length));
        }
    }
}

/// From whoever read or wrote the last value that was read of a key to those
/// whose appends nobody has read.
///
/// A transaction may be both: it read the list and appended to it. It would be
/// before itself if it led into and out of one junction, so it has edges of its
/// own. Two of them are before each other, which is a cycle, and no third is
/// needed to see that.
fn connect_unread(graph: &mut Graph, versions: &Versions<'_>, key: usize, touched: &[usize]) {
    let length = versions.order[key].len();
    let mut sources: Vec<(usize, Kind)> = Vec::new();
    let (mut targets, mut both) = (Vec::new(), Vec::new());
    if let Some(position) = length.checked_sub(1)
        && let Some(writer) = versions.writer(key, position)
    {
        sources.push((writer, Kind::WriteWrite));
    }
    for transaction in touched.iter().copied() {
        let reads = found(versions, transaction, key) == Some(length);
        let writes = versions.unread(transaction, key).is_some();
        match (reads, writes) {
            (true, true) => both.push(transaction),
            (true, false) => sources.push((transaction, Kind::ReadWrite)),
            (false, true) => targets.push(transaction),
            (false, false) => {}
        }
    }
    let edge_to = |to: usize, kind: Kind| match kind {
        Kind::WriteWrite => Edge {
            to,
            kind,
            key,
            position: length - 1,
        },
        _ => read_write(to, key, length),
    };
    both.truncate(2);
    for one in both.iter().copied() {
        for (source, kind) in sources.iter().copied() {
            graph.connect(source, edge_to(one, kind));
        }
        for other in both.iter().chain(&targets).copied() {
            if other != one {
                graph.connect(one, read_write(other, key, length));
            }
        }
    }
    if sources.is_empty() || targets.is_empty() {
        return;
    }
    let junction = graph.junction();
    for (source, kind) in sources {
        graph.connect(source, edge_to(junction, kind));
    }
    for target in targets {
        graph.connect(junction, onward(target));
    }
}

/// How many values a transaction found in a key, if it read it.
fn found(versions: &Versions<'_>, transaction: usize, key: usize) -> Option<usize> {
    let footprint = versions.footprints.get(transaction)?.get(&key)?;
    footprint.found.map(<[Value]>::len)
}

const fn read_write(to: usize, key: usize, length: usize) -> Edge {
    Edge {
        to,
        kind: Kind::ReadWrite,
        key,
        position: length,
    }
}

const fn onward(to: usize) -> Edge {
    plain(to, Kind::Onward)
}

const fn plain(to: usize, kind: Kind) -> Edge {
    Edge {
        to,
        kind,
        key: 0,
        position: 0,
    }
}

/// A chain of barriers, one for each answer. An answered transaction is before
/// its barrier, a barrier before the next, and the newest barrier before
/// whoever is asked for next.
fn connect_real_time(graph: &mut Graph, history: &History<Operation>, versions: &Versions<'_>) {
    // At one moment those that are asked for come first: equal moments are
    // concurrent.
    let mut moments = Vec::new();
    for (index, transaction) in history.transactions.iter().enumerate() {
        if versions.committed[index] {
            moments.push((transaction.invoked, false, index));
            if let Some(completed) = transaction.outcome.completed() {
                moments.push((completed, true, index));
            }
        }
    }
    moments.sort_unstable();
    let mut newest = None;
    for (_, completed, index) in moments {
        match (completed, newest) {
            (true, _) => {
                let barrier = graph.junction();
                graph.connect(index, plain(barrier, Kind::RealTime));
                if let Some(before) = newest.replace(barrier) {
                    graph.connect(before, onward(barrier));
                }
            }
            (false, Some(barrier)) => graph.connect(barrier, onward(index)),
            (false, None) => {}
        }
    }
}

/// Puts a cycle into words.
pub(super) fn explain(
    history: &History<Operation>,
    versions: &Versions<'_>,
    hops: &[Hop],
) -> Cycle {
    let mut transactions = BTreeMap::new();
    let mut steps = Vec::new();
    for hop in hops {
        let from = Number::of_index(hop.from);
        if let Some(transaction) = history.transaction(from) {
            transactions.insert(from, transaction.clone());
        }
        steps.push(Step {
            from,
            to: Number::of_index(hop.edge.to),
            because: reason(history, versions, hop),
        });
    }
    // The clock has the last word: "T3 missed T2's append, yet T2 had finished
    // before T3 began" is how one would tell it.
    let is_clock = |step: &Step| matches!(step.because, Dependency::RealTime { .. });
    if let Some(clock) = steps.iter().rposition(is_clock) {
        steps.rotate_left(clock + 1);
    }
    Cycle {
        steps,
        transactions,
    }
}

/// Why the first of a hop is before the second.
fn reason(history: &History<Operation>, versions: &Versions<'_>, hop: &Hop) -> Dependency {
    let Edge {
        to,
        kind,
        key,
        position,
    } = hop.edge;
    let order = &versions.order;
    let value_at = |position: usize| {
        let known = order.get(key).and_then(|order| order.get(position));
        known.copied().or_else(|| versions.unread(to, key))
    };
    // Edges come from positions that exist, so the value 0 is never shown.
    let shown = |value: Option<Value>| value.unwrap_or(Value(0));
    match kind {
        Kind::WriteWrite => Dependency::Overwritten {
            key: versions.key(key),
            value: shown(value_at(position)),
            by: shown(value_at(position + 1)),
        },
        Kind::WriteRead => Dependency::Read {
            key: versions.key(key),
            value: shown(value_at(position)),
        },
        Kind::ReadWrite => Dependency::Missed {
            key: versions.key(key),
            read: order.get(key).map_or_else(Vec::new, |order| {
                order[..position.min(order.len())].to_vec()
            }),
            value: shown(value_at(position)),
        },
        Kind::RealTime | Kind::Onward => {
            let (from, to) = (&history.transactions[hop.from], &history.transactions[to]);
            Dependency::RealTime {
                completed: from.outcome.completed().unwrap_or(from.invoked),
                invoked: to.invoked,
            }
        }
    }
}
