//! The data of the model: a few numbered registers that are read and added to.

use std::collections::BTreeMap;

use nemcon_core::codec::{Codec, CorruptLog};
use nemcon_core::id::TransactionId;
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::message::Payload;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::resource::Resource;
use nemcon_core::time::Millis;

/// No register goes below it.
const LOWEST: i64 = -2;

/// The key of the tally.
const TALLY: u8 = u8::MAX;

/// What is done to one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// Answers its value.
    Read(u8),
    /// Adds to it, and answers its new value.
    Add(u8, i64),
}

/// Registers by number; absent ones are zero.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Registers {
    values: BTreeMap<u8, i64>,
    /// Changed by what is added, not set: applied twice or not at all, it would
    /// differ from the sum of the registers.
    tally: i64,
}

/// Values as they will be, and what is added to the tally.
pub(super) type Redo = (BTreeMap<u8, i64>, i64);

impl Registers {
    /// The sum of all registers.
    pub(super) fn sum(&self) -> i64 {
        self.values.values().sum()
    }

    /// What was added, one change after the other.
    pub(super) const fn tally(&self) -> i64 {
        self.tally
    }

    fn value(&self, register: u8, redo: &Redo) -> i64 {
        let value = redo.0.get(&register).or_else(|| self.values.get(&register));
        value.copied().unwrap_or(0)
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
                    let why = format!("register {register} would go down to {value}");
                    return Err(Refusal::new(Reason::business("TOO_LOW"), why));
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
        Some(value.to_bytes())
    }

    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptLog> {
        let value = i64::from_bytes(value)?;
        match key {
            [TALLY] => self.tally = value,
            [register] => {
                self.values.insert(*register, value);
            }
            _ => return Err(CorruptLog::value(key, "a register has one byte")),
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

/// An action as the coordinator carries it.
pub(super) fn payload(action: Action) -> Payload {
    let (kind, register, amount) = match action {
        Action::Read(register) => (0_u8, register, 0),
        Action::Add(register, amount) => (1, register, amount),
    };
    Payload {
        type_url: String::new(),
        value: (kind, register, amount).to_bytes(),
    }
}

/// Reads what [`payload`] wrote.
pub(super) fn action(payload: &Payload) -> Result<Action, Refusal> {
    let read = <(u8, u8, i64)>::from_bytes(&payload.value);
    match read.map_err(|e| Refusal::new(Reason::INVALID_ACTION, e.to_string()))? {
        (0, register, _) => Ok(Action::Read(register)),
        (_, register, amount) => Ok(Action::Add(register, amount)),
    }
}

/// A result as the coordinator carries it.
pub(super) fn result(value: i64) -> Payload {
    Payload {
        type_url: String::new(),
        value: value.to_bytes(),
    }
}

/// The sum of results.
pub(super) fn sum(results: &[Payload]) -> i64 {
    let values = results.iter().map(|it| i64::from_bytes(&it.value));
    values.filter_map(Result::ok).sum()
}
