//! The resource of these tests: numbered registers that can be read and added
//! to, and a tally of all that was ever added, which takes no lock.

use std::collections::BTreeMap;

use nemcon_core::codec::{Codec, CorruptLog};
use nemcon_core::id::TransactionId;
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::resource::Resource;
use nemcon_core::time::Millis;

/// Registers by number; absent ones are zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registers {
    pub(crate) values: BTreeMap<u8, i64>,
    /// Changed by what is added, not set: applied twice or not at all, it would
    /// differ from the sum of the registers.
    pub(crate) tally: i64,
}

/// The tally's key.
const TALLY: u8 = u8::MAX;

/// What can be done to one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Answers its value.
    Read(u8),
    /// Adds to it; refuses to go below zero minus a hundred.
    Add(u8, i64),
}

/// Nothing goes below it.
pub(crate) const LOWEST: i64 = -100;

/// Values as they will be, and what is added to the tally.
pub(crate) type Redo = (BTreeMap<u8, i64>, i64);

impl Registers {
    fn value(&self, register: u8, redo: &Redo) -> i64 {
        redo.0
            .get(&register)
            .or_else(|| self.values.get(&register))
            .copied()
            .unwrap_or(0)
    }
}

impl Resource for Registers {
    type Action = Action;
    type Redo = Redo;
    type Result = i64;

    fn writes(&self, action: &Action) -> bool {
        matches!(action, Action::Add(..))
    }

    fn locks(&self, action: &Action, want: &mut dyn FnMut(LockKey, Mode)) {
        match action {
            Action::Read(register) => want(LockKey::from([*register]), Mode::Shared),
            Action::Add(register, _) => want(LockKey::from([*register]), Mode::Exclusive),
        }
    }

    fn named(&self, name: &str) -> Result<LockKey, Refusal> {
        match name.parse::<u8>() {
            Ok(register) => Ok(LockKey::from([register])),
            Err(_) => Err(Refusal::new(
                Reason::INVALID_ACTION,
                "want a register's number",
            )),
        }
    }

    fn execute(
        &self,
        _: Millis,
        _: TransactionId,
        action: &Action,
        redo: &mut Redo,
    ) -> Result<i64, Refusal> {
        match *action {
            Action::Read(register) => Ok(self.value(register, redo)),
            Action::Add(register, amount) => {
                let value = self.value(register, redo) + amount;
                if value < LOWEST {
                    return Err(Refusal::new(
                        Reason::business("TOO_LOW"),
                        format!("{value}"),
                    ));
                }
                redo.0.insert(register, value);
                redo.1 += amount;
                Ok(value)
            }
        }
    }

    fn apply(&mut self, redo: &Redo, touch: &mut dyn FnMut(&[u8]) -> bool) {
        for (register, value) in &redo.0 {
            if touch(&[*register]) {
                self.values.insert(*register, *value);
            }
        }
        if redo.1 != 0 && touch(&[TALLY]) {
            self.tally += redo.1;
        }
    }

    fn stored(&self, key: &[u8]) -> Option<Vec<u8>> {
        let value = match *key.first()? {
            TALLY => self.tally,
            register => *self.values.get(&register)?,
        };
        Some(value.to_be_bytes().to_vec())
    }

    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptLog> {
        let bytes = value
            .try_into()
            .map_err(|_| CorruptLog::value(key, "want 8 bytes"))?;
        match key[0] {
            TALLY => self.tally = i64::from_be_bytes(bytes),
            register => {
                self.values.insert(register, i64::from_be_bytes(bytes));
            }
        }
        Ok(())
    }

    fn encode_redo(&self, redo: &Redo) -> Vec<u8> {
        redo.to_bytes()
    }

    fn decode_redo(&self, bytes: &[u8]) -> Result<Redo, CorruptLog> {
        Redo::from_bytes(bytes)
    }

    fn encode_result(&self, result: &i64) -> Vec<u8> {
        result.to_bytes()
    }

    fn decode_result(&self, bytes: &[u8]) -> Result<i64, CorruptLog> {
        i64::from_bytes(bytes)
    }
}
