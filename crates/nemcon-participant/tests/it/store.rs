//! A resource as small as can be: whole numbers under names, none below zero.
//! The tests of the coordinator use it too.

use std::collections::BTreeMap;

use nemcon_core::codec::CorruptLog;
use nemcon_core::id::TransactionId;
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::message::Payload;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::resource::Resource;
use nemcon_core::time::Millis;
use nemcon_participant::{Decode, invalid_action};

/// What the store refuses to do.
pub(crate) const BELOW_ZERO: Reason = Reason::business("BELOW_ZERO");

/// Adds to a number; adding nothing reads it. As text: `name amount`.
#[derive(Clone, Debug)]
pub(crate) struct Add {
    name: String,
    amount: i64,
}

impl Add {
    /// Reads a number.
    #[allow(dead_code, reason = "only where the store is looked into")]
    pub(crate) fn nothing_to(name: &str) -> Self {
        Self {
            name: name.into(),
            amount: 0,
        }
    }
}

/// An action as it travels.
pub(crate) fn add(name: &str, amount: i64) -> Payload {
    let value = format!("{name} {amount}").into_bytes();
    Payload {
        type_url: "test/Add".into(),
        value,
    }
}

/// A result as it travels.
pub(crate) fn number(value: &[u8]) -> i64 {
    str::from_utf8(value).unwrap().parse().unwrap()
}

#[derive(Debug, Default)]
pub(crate) struct Store(BTreeMap<String, i64>);

impl Store {
    fn number(&self, name: &str, redo: &BTreeMap<String, i64>) -> i64 {
        redo.get(name)
            .or_else(|| self.0.get(name))
            .copied()
            .unwrap_or_default()
    }
}

impl Resource for Store {
    type Action = Add;
    type Redo = BTreeMap<String, i64>;
    type Result = i64;

    fn writes(&self, action: &Add) -> bool {
        action.amount != 0
    }

    fn locks(&self, action: &Add, want: &mut dyn FnMut(LockKey, Mode)) {
        let mode = if self.writes(action) {
            Mode::Exclusive
        } else {
            Mode::Shared
        };
        want(LockKey::from(action.name.as_bytes()), mode);
    }

    fn named(&self, name: &str) -> Result<LockKey, Refusal> {
        Ok(LockKey::from(name.as_bytes()))
    }

    fn execute(
        &self,
        _: Millis,
        _: TransactionId,
        action: &Add,
        redo: &mut Self::Redo,
    ) -> Result<i64, Refusal> {
        let number = self.number(&action.name, redo) + action.amount;
        if number < 0 {
            let message = format!("{} would be {number}; at least 0", action.name);
            return Err(Refusal::new(BELOW_ZERO, message));
        }
        if self.writes(action) {
            redo.insert(action.name.clone(), number);
        }
        Ok(number)
    }

    fn apply(&mut self, redo: &Self::Redo, touch: &mut dyn FnMut(&[u8]) -> bool) {
        for (name, number) in redo {
            if touch(name.as_bytes()) {
                self.0.insert(name.clone(), *number);
            }
        }
    }

    fn stored(&self, key: &[u8]) -> Option<Vec<u8>> {
        Some(
            self.0
                .get(str::from_utf8(key).ok()?)?
                .to_be_bytes()
                .to_vec(),
        )
    }

    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptLog> {
        let corrupt = || CorruptLog::value(key, "not a name and a number");
        let name = str::from_utf8(key).map_err(|_| corrupt())?;
        let number = value.try_into().map_err(|_| corrupt())?;
        self.0.insert(name.into(), i64::from_be_bytes(number));
        Ok(())
    }

    fn encode_redo(&self, redo: &Self::Redo) -> Vec<u8> {
        let lines: Vec<_> = redo
            .iter()
            .map(|(name, number)| format!("{name} {number}"))
            .collect();
        lines.join("\n").into_bytes()
    }

    fn decode_redo(&self, bytes: &[u8]) -> Result<Self::Redo, CorruptLog> {
        let text = String::from_utf8_lossy(bytes);
        let lines = text
            .lines()
            .map(|line| pair(line).map(|add| (add.name, add.amount)));
        lines
            .collect::<Option<_>>()
            .ok_or_else(|| CorruptLog::Malformed(text.to_string()))
    }

    fn encode_result(&self, result: &i64) -> Vec<u8> {
        result.to_string().into_bytes()
    }

    fn decode_result(&self, bytes: &[u8]) -> Result<i64, CorruptLog> {
        let text = String::from_utf8_lossy(bytes);
        text.parse()
            .map_err(|_| CorruptLog::Malformed(text.to_string()))
    }
}

fn pair(text: &str) -> Option<Add> {
    let (name, amount) = text.split_once(' ')?;
    Some(Add {
        name: name.into(),
        amount: amount.parse().ok()?,
    })
}

/// The border of the store.
pub(crate) struct Border;

impl Decode<Store> for Border {
    fn action(&self, payload: Payload, inputs: Vec<Payload>) -> Result<Add, Refusal> {
        // A number that it uses is added to its own.
        let used = match inputs.as_slice() {
            [] => 0,
            [input] => {
                let text = String::from_utf8_lossy(&input.value);
                let wanted = |_| invalid_action(format!("input {text:?}: want a number"));
                text.parse().map_err(wanted)?
            }
            more => return Err(invalid_action(format!("{} inputs", more.len()))),
        };
        let text = String::from_utf8_lossy(&payload.value);
        match payload.type_url.as_str() {
            "test/Add" => pair(&text)
                .map(|add| Add {
                    amount: add.amount + used,
                    ..add
                })
                .ok_or_else(|| invalid_action(format!("{text:?}"))),
            other => Err(invalid_action(format!(
                "no action {other:?}; there is test/Add"
            ))),
        }
    }

    fn result(&self, result: i64) -> Payload {
        Payload {
            type_url: "test/Number".into(),
            value: result.to_string().into_bytes(),
        }
    }
}
