//! Lists that are appended to and read: from what clients read, the order of all
//! appends can be told.

use std::collections::BTreeMap;

use nemcon_core::codec::{Codec, CorruptLog};
use nemcon_core::id::TransactionId;
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::resource::Resource;
use nemcon_core::time::Millis;

use super::{Seen, Subject};
use crate::plan::{Data, Shape, Step, What};

/// Values in the order they were appended, by key.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    lists: BTreeMap<u8, Vec<u64>>,
    /// How many values there are in all, kept by `apply`: what is applied twice
    /// or lost between log and stored values shows here.
    count: u64,
}

/// Where `count` is stored.
const COUNT: u8 = u8::MAX;

/// What can be done with a list.
#[derive(Clone, Debug)]
pub enum Action {
    /// Read it.
    Read(u8),
    /// Append to it.
    Append(u8, u64),
}

/// Lists as they will be, and how many values are new.
pub(crate) type Redo = (BTreeMap<u8, Vec<u64>>, u64);

impl Lists {
    fn list(&self, key: u8, redo: &Redo) -> Vec<u64> {
        let now = redo.0.get(&key).or_else(|| self.lists.get(&key));
        now.cloned().unwrap_or_default()
    }
}

impl Resource for Lists {
    type Action = Action;
    type Redo = Redo;
    type Result = Vec<u64>;

    fn writes(&self, action: &Action) -> bool {
        matches!(action, Action::Append(..))
    }

    fn locks(&self, action: &Action, want: &mut dyn FnMut(LockKey, Mode)) {
        match action {
            Action::Read(key) => want(LockKey::from([*key]), Mode::Shared),
            Action::Append(key, _) => want(LockKey::from([*key]), Mode::Exclusive),
        }
    }

    fn named(&self, name: &str) -> Result<LockKey, Refusal> {
        match name.parse::<u8>() {
            Ok(key) => Ok(LockKey::from([key])),
            Err(_) => Err(Refusal::new(Reason::INVALID_ACTION, "want a list's number")),
        }
    }

    fn execute(
        &self,
        _: Millis,
        _: TransactionId,
        action: &Action,
        redo: &mut Redo,
    ) -> Result<Vec<u64>, Refusal> {
        match *action {
            Action::Read(key) => Ok(self.list(key, redo)),
            Action::Append(key, value) => {
                let mut list = self.list(key, redo);
                list.push(value);
                redo.0.insert(key, list);
                redo.1 += 1;
                Ok(Vec::new())
            }
        }
    }

    fn apply(&mut self, redo: &Redo, touch: &mut dyn FnMut(&[u8]) -> bool) {
        for (key, list) in &redo.0 {
            if touch(&[*key]) {
                self.lists.insert(*key, list.clone());
            }
        }
        if redo.1 > 0 && touch(&[COUNT]) {
            self.count += redo.1;
        }
    }

    fn stored(&self, key: &[u8]) -> Option<Vec<u8>> {
        match *key.first()? {
            COUNT => Some(self.count.to_bytes()),
            key => self.lists.get(&key).map(Codec::to_bytes),
        }
    }

    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptLog> {
        match key {
            [COUNT] => self.count = u64::from_bytes(value)?,
            [key] => drop(self.lists.insert(*key, Vec::from_bytes(value)?)),
            other => return Err(CorruptLog::value(other, "want one byte")),
        }
        Ok(())
    }

    fn encode_redo(&self, redo: &Redo) -> Vec<u8> {
        redo.to_bytes()
    }

    fn decode_redo(&self, bytes: &[u8]) -> Result<Redo, CorruptLog> {
        Redo::from_bytes(bytes)
    }

    fn encode_result(&self, result: &Vec<u64>) -> Vec<u8> {
        result.to_bytes()
    }

    fn decode_result(&self, bytes: &[u8]) -> Result<Vec<u64>, CorruptLog> {
        Vec::from_bytes(bytes)
    }
}

impl Subject for Lists {
    const DATA: Data = Data::Lists;

    fn empty() -> Self {
        Self::default()
    }

    fn opening(_: usize, _: &Shape) -> Vec<Step> {
        Vec::new()
    }

    fn action(step: Step, value: u64) -> Action {
        match step.what {
            What::Read | What::ReadAll => Action::Read(step.key),
            What::Append | What::Take(_) | What::Put(_) | What::Open => {
                Action::Append(step.key, value)
            }
        }
    }

    fn lock_name(key: u8) -> String {
        key.to_string()
    }

    fn seen(step: Step, result: Vec<u64>) -> Seen {
        if step.what.writes() {
            Seen::Nothing
        } else {
            Seen::List(result)
        }
    }

    fn contents(&self) -> Vec<(u8, Seen)> {
        let all = self.lists.iter();
        all.map(|(key, list)| (*key, Seen::List(list.clone())))
            .collect()
    }

    fn sound(&self) -> Result<(), String> {
        let there: usize = self.lists.values().map(Vec::len).sum();
        if there as u64 == self.count {
            return Ok(());
        }
        Err(format!(
            "{there} values are in the lists, {} were appended",
            self.count
        ))
    }

    fn settled(_: &[&Self]) -> Result<(), String> {
        Ok(())
    }
}
