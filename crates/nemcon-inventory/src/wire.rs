//! The border: messages of `nemcon.inventory.v1` to actions, records to messages.
//! Whatever is wrong with one is `INVALID_ACTION`, a no vote.

use nemcon_core::message::Payload;
use nemcon_core::reason::Refusal;
use nemcon_participant::{
    Decode, Keyed, invalid_action, no_inputs, pack, short_name, unknown_type, unpack,
};
use nemcon_proto::inventory::v1;

use crate::inventory::{Action, Inventory, Item, Record, ReservationId, STOCK_MAX, State};

const PACKAGE: &str = "nemcon.inventory.v1";
const TYPES: &str = "AddStock, Reserve, Confirm, Release, GetStock";

/// Reads the inventory's actions and writes its results.
pub(crate) struct Wire;

impl Decode<Keyed<Inventory>> for Wire {
    fn action(&self, it: Payload, inputs: Vec<Payload>) -> Result<Action, Refusal> {
        if !matches!(short_name(&it, PACKAGE), Some("Confirm" | "Release")) {
            no_inputs(&it.type_url, &inputs)?;
        }
        let reserved = |text| reserved(text, &inputs);
        Ok(match short_name(&it, PACKAGE) {
            Some("AddStock") => {
                let v1::AddStock { item, count } = unpack(&it)?;
                Action::Add(named(item)?, counted(count)?)
            }
            Some("Reserve") => {
                let v1::Reserve { item, count } = unpack(&it)?;
                Action::Reserve(named(item)?, counted(count)?)
            }
            Some("Confirm") => Action::Confirm(reserved(unpack::<v1::Confirm>(&it)?.reservation)?),
            Some("Release") => Action::Release(reserved(unpack::<v1::Release>(&it)?.reservation)?),
            Some("GetStock") => Action::Read(named(unpack::<v1::GetStock>(&it)?.item)?),
            _ => return Err(unknown_type(&it, PACKAGE, TYPES)),
        })
    }

    fn result(&self, record: Record) -> Payload {
        match record {
            Record::Stock(item, stock) => pack(&v1::Stock {
                item: item.to_string(),
                free: stock.free,
                held: stock.held,
                confirmed: stock.confirmed,
            }),
            Record::Reservation(id, count, state) => pack(&v1::Reservation {
                reservation: id.to_string(),
                count,
                state: match state {
                    State::Held => v1::ReservationState::Held.into(),
                    State::Confirmed => v1::ReservationState::Confirmed.into(),
                    State::Released => v1::ReservationState::Released.into(),
                },
            }),
        }
    }
}

fn named(item: String) -> Result<Item, Refusal> {
    Item::new(item).map_err(|error| invalid_action(error.to_string()))
}

fn counted(count: u32) -> Result<u32, Refusal> {
    let right = (1..=STOCK_MAX).contains(&count);
    let no = || invalid_action(format!("count {count}: want 1 to {STOCK_MAX}"));
    right.then_some(count).ok_or_else(no)
}

/// The one that is named, or that an earlier step of the saga has made.
fn reserved(text: String, inputs: &[Payload]) -> Result<ReservationId, Refusal> {
    let text = match inputs {
        [made] if text.is_empty() => unpack::<v1::Reservation>(made)?.reservation,
        inputs => no_inputs("a named reservation", inputs).map(|()| text)?,
    };
    let parts = text.split_once('/');
    let id = |(a, b): (&str, &str)| Some(ReservationId(a.parse().ok()?, b.parse().ok()?));
    let want = "want what Reserve answered, for example OK-101/7";
    let no = || invalid_action(format!("reservation {text:?}: {want}"));
    parts.and_then(id).ok_or_else(no)
}
