//! The values of each key in the order in which they were appended, as far as
//! anyone has read them, and the errors that need no cycle.

use std::collections::{BTreeMap, BTreeSet};

use super::list::{Key, Operation, Value};
use super::{Anomaly, Flaw, History, Malformed, Number, Outcome};

/// Who appended a value, and what else that transaction appended to the key.
struct Append {
    writer: usize,
    /// The append of the same transaction right before this one.
    before: Option<Value>,
    /// The one right after it.
    after: Option<Value>,
    /// Where it is in the order of the key, once it is known.
    position: Option<usize>,
}

/// What one transaction did with one key.
#[derive(Default)]
pub(super) struct Footprint<'a> {
    /// What it found: all it read but its own appends. `None` if it read nothing.
    pub(super) found: Option<&'a [Value]>,
    /// The longest list it read, own appends included.
    last_read: Option<&'a [Value]>,
    /// What it appended, in order.
    pub(super) appended: Vec<Value>,
}

/// What was inferred from all reads of a history together.
pub(super) struct Versions<'a> {
    history: &'a History<Operation>,
    /// Every key, so that the others can name it by its index.
    pub(super) keys: BTreeMap<&'a Key, usize>,
    /// For each key the values that were read, oldest first.
    pub(super) order: Vec<Vec<Value>>,
    /// For each key who read the longest list, and what it was.
    longest: Vec<Option<(usize, &'a [Value])>>,
    appends: BTreeMap<(usize, Value), Append>,
    /// Whether each transaction is known to have committed.
    pub(super) committed: Vec<bool>,
    /// For each committed transaction what it did, by key.
    pub(super) footprints: Vec<BTreeMap<usize, Footprint<'a>>>,
}

impl<'a> Versions<'a> {
    /// Orders the values of every key.
    ///
    /// # Errors
    /// Whatever no order of transactions could explain.
    pub(super) fn infer(history: &'a History<Operation>) -> Result<Self, Anomaly> {
        let mut versions = Self {
            history,
            keys: BTreeMap::new(),
            order: Vec::new(),
            longest: Vec::new(),
            appends: BTreeMap::new(),
            committed: Vec::new(),
            footprints: Vec::new(),
        };
        versions.index()?;
        let mut to_read: Vec<usize> = Vec::new();
        for (index, committed) in versions.committed.iter().enumerate().rev() {
            if *committed {
                to_read.push(index);
            }
        }
        // A read may show that an unknown transaction committed, and then what
        // that one read counts as well.
        while let Some(reader) = to_read.pop() {
            let footprints = versions.footprints(reader)?;
            for (key, footprint) in &footprints {
                if let Some(values) = footprint.last_read {
                    versions.admit(reader, *key, values, &mut to_read)?;
                }
            }
            versions.footprints[reader] = footprints;
        }
        versions.append_rest_of_last_writers();
        versions.nothing_is_half_seen()?;
        Ok(versions)
    }

    /// Gives each key its index and each value its writer.
    fn index(&mut self) -> Result<(), Anomaly> {
        for (number, transaction) in self.history.transactions() {
            let mut last: BTreeMap<usize, Value> = BTreeMap::new();
            for operation in &transaction.operations {
                let (Operation::Append { key, .. } | Operation::Read { key, .. }) = operation;
                let next = self.keys.len();
                let index = *self.keys.entry(key).or_insert(next);
                let Operation::Append { value, .. } = operation else {
                    continue;
                };
                let before = last.insert(index, *value);
                if let Some(append) = before.and_then(|v| self.appends.get_mut(&(index, v))) {
                    append.after = Some(*value);
                }
                let append = Append {
                    writer: number.index(),
                    before,
                    after: None,
                    position: None,
                };
                if let Some(other) = self.appends.insert((index, *value), append) {
                    return Err(Malformed::AppendedTwice {
                        key: key.clone(),
                        value: *value,
                        first: Number::of_index(other.writer),
                        second: number,
                    }
                    .into());
                }
            }
            let committed = matches!(transaction.outcome, Outcome::Committed { .. });
            self.committed.push(committed);
            self.footprints.push(BTreeMap::new());
        }
        self.order.resize_with(self.keys.len(), Vec::new);
        self.longest.resize_with(self.keys.len(), || None);
        Ok(())
    }

    /// Follows one transaction through its own operations.
    fn footprints(&self, index: usize) -> Result<BTreeMap<usize, Footprint<'a>>, Anomaly> {
        let history = self.history;
        let mut footprints: BTreeMap<usize, Footprint<'a>> = BTreeMap::new();
        for operation in &history.transactions[index].operations {
            let (Operation::Append { key, .. } | Operation::Read { key, .. }) = operation;
            let footprint = footprints.entry(self.keys[key]).or_default();
            let values = match operation {
                Operation::Append { value, .. } => {
                    footprint.appended.push(*value);
                    continue;
                }
                Operation::Read { values: None, .. } => continue,
                Operation::Read {
                    values: Some(values),
                    ..
                } => values,
            };
            let Some(found) = values.strip_suffix(footprint.appended.as_slice()) else {
                let appended = footprint.appended.clone();
                let flaw = Flaw::OwnUnseen { appended };
                return Err(bad_read(index, key, values, flaw));
            };
            match footprint.found {
                Some(before) if before != found => {
                    let before = before.to_vec();
                    let flaw = Flaw::Unrepeatable { before };
                    return Err(bad_read(index, key, values, flaw));
                }
                _ => footprint.found = Some(found),
            }
            footprint.last_read = Some(values);
        }
        Ok(footprints)
    }

    /// Fits one read into the order of its key, which it may lengthen. Unknown
    /// writers that it shows to have committed are added to `to_read`.
    fn admit(
        &mut self,
        reader: usize,
        key: usize,
        values: &'a [Value],
        to_read: &mut Vec<usize>,
    ) -> Result<(), Anomaly> {
        let known = self.order[key].len();
        let common = known.min(values.len());
        if values[..common] != self.order[key][..common] {
            self.values_are_possible(reader, key, values, 0)?;
            return Err(self.incompatible(reader, key, values));
        }
        if values.len() <= known {
            return Ok(());
        }
        self.values_are_possible(reader, key, values, known)?;
        self.longest[key] = Some((reader, values));
        for value in &values[known..] {
            let position = self.order[key].len();
            let Some(append) = self.appends.get_mut(&(key, *value)) else {
                continue; // ruled out above
            };
            append.position = Some(position);
            let (writer, before) = (append.writer, append.before);
            self.order[key].push(*value);
            if let Some(first) = before.filter(|before| self.position(key, *before).is_none()) {
                let (writer, second) = (Number::of_index(writer), *value);
                let flaw = Flaw::OutOfOrder {
                    writer,
                    first,
                    second,
                };
                return Err(bad_read(reader, &self.key(key), values, flaw));
            }
            if !self.committed[writer] {
                self.committed[writer] = true;
                to_read.push(writer);
            }
        }
        Ok(())
    }

    /// Each value was appended by someone who may have committed, and is there once.
    /// The first `known` are those of the order, and need no second look.
    fn values_are_possible(
        &self,
        reader: usize,
        key: usize,
        values: &[Value],
        known: usize,
    ) -> Result<(), Anomaly> {
        let mut seen = BTreeSet::new();
        for value in values[known..].iter().copied() {
            let blame = |flaw| Err(bad_read(reader, &self.key(key), values, flaw));
            let Some(append) = self.appends.get(&(key, value)) else {
                return blame(Flaw::NeverAppended { value });
            };
            let writer = Number::of_index(append.writer);
            let outcome = self.history.transactions[append.writer].outcome;
            if matches!(outcome, Outcome::Aborted { .. }) {
                return blame(Flaw::Aborted { value, writer });
            }
            let in_order = append.position.is_some_and(|position| position < known);
            if in_order || !seen.insert(value) {
                return blame(Flaw::Duplicate { value, writer });
            }
        }
        Ok(())
    }

    fn incompatible(&self, reader: usize, key: usize, values: &[Value]) -> Anomaly {
        let (other, other_read) = self.longest[key].unwrap_or((reader, &[]));
        let flaw = Flaw::Incompatible {
            other: Number::of_index(other),
            other_read: other_read.to_vec(),
        };
        bad_read(reader, &self.key(key), values, flaw)
    }

    /// Whoever appended the last value that was read has appended the rest of its
    /// own right behind it.
    fn append_rest_of_last_writers(&mut self) {
        for (key, order) in self.order.iter_mut().enumerate() {
            while let Some(next) = order
                .last()
                .and_then(|last| self.appends.get(&(key, *last)))
                .and_then(|append| append.after)
            {
                if let Some(append) = self.appends.get_mut(&(key, next)) {
                    append.position = Some(order.len());
                }
                order.push(next);
            }
        }
    }

    /// What a transaction found ends where another has ended, and holds nothing
    /// of its own.
    fn nothing_is_half_seen(&self) -> Result<(), Anomaly> {
        for (reader, footprints) in self.footprints.iter().enumerate() {
            for (key, footprint) in footprints {
                let Some(found) = footprint.found else {
                    continue;
                };
                let blame = |flaw| Err(bad_read(reader, &self.key(*key), found, flaw));
                let is_found = |value: &Value| {
                    let position = self.position(*key, *value);
                    position.is_some_and(|position| position < found.len())
                };
                if let Some(value) = footprint.appended.iter().copied().find(is_found) {
                    return blame(Flaw::BeforeAppended { value });
                }
                let Some(value) = found.last().copied() else {
                    continue;
                };
                let append = self.appends.get(&(*key, value));
                if let Some((writer, after)) = append.and_then(|a| Some((a.writer, a.after?))) {
                    let writer = Number::of_index(writer);
                    return blame(Flaw::Intermediate {
                        value,
                        writer,
                        after,
                    });
                }
            }
        }
        Ok(())
    }

    /// Where a value is in the order of its key, if it is known.
    pub(super) fn position(&self, key: usize, value: Value) -> Option<usize> {
        self.appends.get(&(key, value))?.position
    }

    /// Who appended the value at a position of the order.
    pub(super) fn writer(&self, key: usize, position: usize) -> Option<usize> {
        let value = self.order.get(key)?.get(position)?;
        self.appends.get(&(key, *value)).map(|append| append.writer)
    }

    /// The first append of a transaction to a key that nobody has read.
    pub(super) fn unread(&self, transaction: usize, key: usize) -> Option<Value> {
        let footprint = self.footprints.get(transaction)?.get(&key)?;
        let mut appended = footprint.appended.iter().copied();
        appended.find(|value| self.position(key, *value).is_none())
    }

    /// The name of a key.
    pub(super) fn key(&self, index: usize) -> Key {
        // Only ever called for a story, so it may be slow.
        let name = self.keys.iter().find(|(_, other)| **other == index);
        name.map_or_else(|| Key::from(""), |(key, _)| (*key).clone())
    }
}

fn bad_read(reader: usize, key: &Key, read: &[Value], flaw: Flaw) -> Anomaly {
    Anomaly::Read {
        reader: Number::of_index(reader),
        key: key.clone(),
        read: read.to_vec(),
        flaw,
    }
}
