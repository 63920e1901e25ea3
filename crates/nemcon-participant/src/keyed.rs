//! Data that are values under keys: then most of a resource is done.

use std::collections::BTreeMap;
use std::fmt::Debug;

use minicbor::{Decode, Encode};
use nemcon_core::codec::{Codec, CorruptLog};
use nemcon_core::id::TransactionId;
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::reason::Refusal;
use nemcon_core::resource::Resource;
use nemcon_core::time::Millis;

/// What can be done with the values of a [`Keyed`] resource. The contract is that
/// of [`Resource`]; what is missing here is done there.
pub trait Rules: Send + 'static {
    /// An operation, decoded and checked.
    type Action: Clone + Debug + Send + 'static;
    /// What is kept under a key.
    type Value: Clone + Debug + Encode<()> + for<'b> Decode<'b, ()> + Send + 'static;
    /// What an action answers.
    type Result: Clone + Debug + Encode<()> + for<'b> Decode<'b, ()> + Send + 'static;

    /// Names the locks of an action. They cover each key that it reads or writes,
    /// not by name but by agreement; an action without an exclusive lock must not
    /// write.
    fn locks(action: &Self::Action, want: &mut dyn FnMut(&str, Mode));

    /// Runs an action on the data, as a transaction sees them.
    ///
    /// # Errors
    /// A [`Refusal`]: the business says no, and the transaction aborts.
    fn run(
        action: &Self::Action,
        data: &mut View<'_, Self::Value>,
    ) -> Result<Self::Result, Refusal>;
}

/// What a transaction makes of keys: their new values; `None`: it removes them.
type Changes<V> = BTreeMap<String, Option<V>>;

/// The data with the transaction's own changes laid over them.
#[derive(Debug)]
pub struct View<'a, V> {
    transaction: TransactionId,
    committed: &'a BTreeMap<String, V>,
    changes: &'a mut Changes<V>,
}

impl<V: Clone> View<'_, V> {
    /// Whose view it is.
    #[must_use]
    pub fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&V> {
        match self.changes.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.committed.get(key),
        }
    }

    /// Sets the value of a key, and gives it back for an answer.
    pub fn set(&mut self, key: impl Into<String>, value: V) -> V {
        self.changes.insert(key.into(), Some(value.clone()));
        value
    }

    /// Removes a key.
    pub fn remove(&mut self, key: impl Into<String>) {
        self.changes.insert(key.into(), None);
    }
}

/// Values under keys, in memory, as a resource.
#[derive(Debug)]
pub struct Keyed<R: Rules> {
    values: BTreeMap<String, R::Value>,
}

impl<R: Rules> Default for Keyed<R> {
    fn default() -> Self {
        let values = BTreeMap::new();
        Self { values }
    }
}

impl<R: Rules> Resource for Keyed<R> {
    type Action = R::Action;
    type Redo = Changes<R::Value>;
    type Result = R::Result;

    fn writes(&self, action: &R::Action) -> bool {
        let mut writes = false;
        R::locks(action, &mut |_, mode| writes |= mode == Mode::Exclusive);
        writes
    }

    fn locks(&self, action: &R::Action, want: &mut dyn FnMut(LockKey, Mode)) {
        R::locks(action, &mut |name, mode| {
            want(LockKey::from(name.as_bytes()), mode)
        });
    }

    /// Any name can be locked, whether or not an action ever does.
    fn named(&self, name: &str) -> Result<LockKey, Refusal> {
        Ok(LockKey::from(name.as_bytes()))
    }

    fn execute(
        &self,
        _: Millis,
        transaction: TransactionId,
        action: &R::Action,
        redo: &mut Self::Redo,
    ) -> Result<R::Result, Refusal> {
        let mut view = View {
            transaction,
            committed: &self.values,
            changes: redo,
        };
        R::run(action, &mut view)
    }

    fn apply(&mut self, redo: &Self::Redo, touch: &mut dyn FnMut(&[u8]) -> bool) {
        for (key, value) in redo {
            if touch(key.as_bytes()) {
                match value.clone() {
                    Some(value) => drop(self.values.insert(key.clone(), value)),
                    None => drop(self.values.remove(key)),
                }
            }
        }
    }

    fn stored(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.values
            .get(str::from_utf8(key).ok()?)
            .map(Codec::to_bytes)
    }

    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptLog> {
        let corrupt = |why: String| CorruptLog::value(key, why);
        let text = str::from_utf8(key).map_err(|error| corrupt(error.to_string()))?;
        let value = Codec::from_bytes(value).map_err(|error| corrupt(error.to_string()))?;
        self.values.insert(text.to_owned(), value);
        Ok(())
    }

    fn encode_redo(&self, redo: &Self::Redo) -> Vec<u8> {
        redo.to_bytes()
    }

    fn decode_redo(&self, bytes: &[u8]) -> Result<Self::Redo, CorruptLog> {
        Codec::from_bytes(bytes)
    }

    fn encode_result(&self, result: &R::Result) -> Vec<u8> {
        result.to_bytes()
    }

    fn decode_result(&self, bytes: &[u8]) -> Result<R::Result, CorruptLog> {
        Codec::from_bytes(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    /// `name`: read; `name=`: remove; `name=value`: set.
    #[derive(Debug)]
    struct Notes;

    impl Rules for Notes {
        type Action = &'static str;
        type Value = String;
        type Result = Option<String>;

        fn locks(action: &&'static str, want: &mut dyn FnMut(&str, Mode)) {
            match action.split_once('=') {
                Some((key, _)) => want(key, Mode::Exclusive),
                None => want(action, Mode::Shared),
            }
        }

        fn run(
            action: &&'static str,
            data: &mut View<'_, String>,
        ) -> Result<Option<String>, Refusal> {
            match action.split_once('=') {
                Some((key, "")) => data.remove(key),
                Some((key, value)) => drop(data.set(key, value.to_owned())),
                None => return Ok(data.value(action).cloned()),
            }
            Ok(None)
        }
    }

    fn run(notes: &Keyed<Notes>, actions: &[&'static str]) -> (Option<String>, Changes<String>) {
        let transaction = TransactionId::from_parts(Millis(1), 1);
        let mut redo = Changes::default();
        let mut run = |action| notes.execute(Millis(1), transaction, action, &mut redo);
        let result = actions.iter().map(&mut run).last().unwrap().unwrap();
        (result, redo)
    }

    #[test]
    fn a_transaction_sees_its_own_changes_and_others_when_they_are_applied() {
        let mut notes = Keyed::<Notes>::default();
        let (seen, redo) = run(&notes, &["a=1", "b=2", "a"]);
        assert_eq!(seen.as_deref(), Some("1"));
        assert_eq!(run(&notes, &["a"]).0, None);
        let again = notes.decode_redo(&notes.encode_redo(&redo)).unwrap();
        notes.apply(&again, &mut |key| key == b"a");
        assert_eq!(run(&notes, &["a"]).0.as_deref(), Some("1"));
        assert_eq!(run(&notes, &["b"]).0, None, "it was not to be touched");
        let (seen, redo) = run(&notes, &["a=", "a"]);
        assert_eq!(seen, None);
        notes.apply(&redo, &mut |_| true);
        assert_eq!(notes.stored(b"a"), None);
    }

    #[test]
    fn what_is_stored_is_loaded_and_nonsense_is_named() {
        let mut notes = Keyed::<Notes>::default();
        let (_, redo) = run(&notes, &["a=1"]);
        notes.apply(&redo, &mut |_| true);
        let stored = notes.stored(b"a").unwrap();
        let mut other = Keyed::<Notes>::default();
        other.load(b"a", &stored).unwrap();
        assert_eq!(run(&other, &["a"]).0.as_deref(), Some("1"));
        for (key, value) in [(&b"b"[..], &b"?"[..]), (b"\xff", &stored)] {
            let error = other.load(key, value).unwrap_err();
            assert!(matches!(error, CorruptLog::Value { .. }), "{error}");
        }
    }

    #[test]
    fn who_takes_an_exclusive_lock_writes() {
        let notes = Keyed::<Notes>::default();
        assert!(notes.writes(&"a=1") && notes.writes(&"a=") && !notes.writes(&"a"));
    }
}
