//! The data of these participants: how often each step has taken effect.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use nemcon_core::codec::{Codec, CorruptLog};
use nemcon_core::id::TransactionId;
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::resource::Resource;
use nemcon_core::time::Millis;

/// What a step, or its compensation, does at a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Action {
    /// Which step.
    #[n(0)]
    pub(super) step: u32,
    /// 1, or -1 to take it back.
    #[n(1)]
    pub(super) amount: i64,
    /// How many results of other steps it has to be given.
    #[n(2)]
    pub(super) inputs: u32,
}

/// Effects by step; absent ones are zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(pub(super) BTreeMap<u32, i64>);

impl Resource for Tally {
    type Action = Action;
    type Redo = BTreeMap<u32, i64>;
    type Result = i64;

    fn writes(&self, _: &Action) -> bool {
        true
    }

    fn locks(&self, action: &Action, want: &mut dyn FnMut(LockKey, Mode)) {
        want(LockKey::from(action.step.to_be_bytes()), Mode::Exclusive);
    }

    fn named(&self, _: &str) -> Result<LockKey, Refusal> {
        Err(Refusal::new(Reason::INVALID_ACTION, "nothing has a name"))
    }

    fn execute(
        &self,
        _: Millis,
        _: TransactionId,
        action: &Action,
        redo: &mut BTreeMap<u32, i64>,
    ) -> Result<i64, Refusal> {
        let before = redo.get(&action.step).or_else(|| self.0.get(&action.step));
        let value = before.copied().unwrap_or(0) + action.amount;
        redo.insert(action.step, value);
        Ok(value)
    }

    fn apply(&mut self, redo: &BTreeMap<u32, i64>, touch: &mut dyn FnMut(&[u8]) -> bool) {
        for (step, value) in redo {
            if touch(&step.to_be_bytes()) {
                self.0.insert(*step, *value);
            }
        }
    }

    fn stored(&self, key: &[u8]) -> Option<Vec<u8>> {
        let step = u32::from_be_bytes(key.try_into().ok()?);
        Some(self.0.get(&step)?.to_bytes())
    }

    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptLog> {
        let step = key
            .try_into()
            .map_err(|_| CorruptLog::value(key, "want 4 bytes"))?;
        self.0
            .insert(u32::from_be_bytes(step), i64::from_bytes(value)?);
        Ok(())
    }

    fn encode_redo(&self, redo: &BTreeMap<u32, i64>) -> Vec<u8> {
        redo.to_bytes()
    }

    fn decode_redo(&self, bytes: &[u8]) -> Result<BTreeMap<u32, i64>, CorruptLog> {
        Codec::from_bytes(bytes)
    }

    fn encode_result(&self, result: &i64) -> Vec<u8> {
        result.to_bytes()
    }

    fn decode_result(&self, bytes: &[u8]) -> Result<i64, CorruptLog> {
        i64::from_bytes(bytes)
    }
}
