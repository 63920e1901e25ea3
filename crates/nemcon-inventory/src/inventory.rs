//! What an inventory keeps: how much there is of each item, and who took how many.

use std::fmt;

use minicbor::{Decode, Encode};
// An item is named by the same rule as a participant.
pub(crate) use nemcon_core::id::ParticipantName as Item;
use nemcon_core::lock::Mode;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_participant::{Rules, View};

/// Pieces of one item at most: no sum of them can overflow.
pub(crate) const STOCK_MAX: u32 = 1_000_000_000;

const SOLD_OUT: Reason = Reason::business("SOLD_OUT");
const TOO_MUCH: Reason = Reason::business("STOCK_TOO_LARGE");
const UNKNOWN_ITEM: Reason = Reason::business("UNKNOWN_ITEM");
const UNKNOWN: Reason = Reason::business("UNKNOWN_RESERVATION");
const RELEASED: Reason = Reason::business("RESERVATION_RELEASED");

/// Why an inventory says no; `docs/errors.md` has a heading for each.
pub static REASONS: [Reason; 5] = [SOLD_OUT, TOO_MUCH, UNKNOWN_ITEM, UNKNOWN, RELEASED];

/// `OK-101/7`: the seventh reservation ever made of OK-101. The lock on the item
/// covers it, also where there is no such reservation yet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ReservationId(#[n(0)] pub(crate) Item, #[n(1)] pub(crate) u64);

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, self.1)
    }
}

/// How far a reservation is: held, then confirmed or released. A confirmed one can
/// be released too: a trip that fails later gives its seats back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum State {
    #[n(0)]
    Held,
    #[n(1)]
    Confirmed,
    #[n(2)]
    Released,
}

/// How much there is of an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Stock {
    #[n(0)]
    pub(crate) free: u32,
    #[n(1)]
    pub(crate) held: u32,
    #[n(2)]
    pub(crate) confirmed: u32,
    /// How many reservations were ever made.
    #[n(3)]
    pub(crate) made: u64,
}

/// What is kept under a name, and what is answered: things as they are now.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Record {
    #[n(0)]
    Stock(#[n(0)] Item, #[n(1)] Stock),
    /// Whose, how many, and how far.
    #[n(1)]
    Reservation(#[n(0)] ReservationId, #[n(1)] u32, #[n(2)] State),
}

/// What can be asked. Counts are 1 to [`STOCK_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Add(Item, u32),
    Reserve(Item, u32),
    Confirm(ReservationId),
    Release(ReservationId),
    Read(Item),
}

/// The rules of the trade.
pub(crate) struct Inventory;

impl Rules for Inventory {
    type Action = Action;
    type Value = Record;
    type Result = Record;

    fn locks(action: &Action, want: &mut dyn FnMut(&str, Mode)) {
        match action {
            Action::Add(item, _) | Action::Reserve(item, _) => want(item.as_str(), Mode::Exclusive),
            Action::Confirm(id) | Action::Release(id) => want(id.0.as_str(), Mode::Exclusive),
            Action::Read(item) => want(item.as_str(), Mode::Shared),
        }
    }

    fn run(action: &Action, data: &mut View<'_, Record>) -> Result<Record, Refusal> {
        match action {
            Action::Add(item, count) => add(item, *count, data),
            Action::Reserve(item, count) => reserve(item, *count, data),
            Action::Confirm(id) => settle(id, State::Confirmed, data),
            Action::Release(id) => settle(id, State::Released, data),
            Action::Read(item) => Ok(Record::Stock(item.clone(), stock(item, data)?)),
        }
    }
}

fn stock(item: &Item, data: &View<'_, Record>) -> Result<Stock, Refusal> {
    match data.value(item.as_str()) {
        Some(Record::Stock(_, stock)) => Ok(*stock),
        _ => refuse(UNKNOWN_ITEM, format!("there was never any {item} here")),
    }
}

fn add(item: &Item, count: u32, data: &mut View<'_, Record>) -> Result<Record, Refusal> {
    let mut stock = stock(item, data).unwrap_or_default();
    let all = stock.free + stock.held + stock.confirmed;
    if count > STOCK_MAX - all {
        return refuse(
            TOO_MUCH,
            format!("{item}: {all} and {count} pass {STOCK_MAX}"),
        );
    }
    stock.free += count;
    Ok(data.set(item.as_str(), Record::Stock(item.clone(), stock)))
}

fn reserve(item: &Item, count: u32, data: &mut View<'_, Record>) -> Result<Record, Refusal> {
    let mut stock = stock(item, data)?;
    if stock.free < count {
        return refuse(
            SOLD_OUT,
            format!("{item}: {} free, {count} wanted", stock.free),
        );
    }
    stock.made += 1;
    stock.free -= count;
    stock.held += count;
    let id = ReservationId(item.clone(), stock.made);
    data.set(item.as_str(), Record::Stock(item.clone(), stock));
    Ok(data.set(id.to_string(), Record::Reservation(id, count, State::Held)))
}

/// Confirms or releases. What is so already stays so, and that is no error: a
/// compensation succeeds also where somebody has released by hand.
fn settle(id: &ReservationId, to: State, data: &mut View<'_, Record>) -> Result<Record, Refusal> {
    let Some(Record::Reservation(_, count, from)) = data.value(&id.to_string()).cloned() else {
        return refuse(UNKNOWN, format!("there is no reservation {id} here"));
    };
    if (from, to) == (State::Released, State::Confirmed) {
        return refuse(RELEASED, format!("reservation {id} was given back"));
    }
    let mut stock = stock(&id.0, data)?;
    // In the order of the states. What is released is free. Added first, since both
    // may be one pile, which others have emptied.
    let piles = [&mut stock.held, &mut stock.confirmed, &mut stock.free];
    *piles[to as usize] += count;
    *piles[from as usize] -= count;
    data.set(id.0.as_str(), Record::Stock(id.0.clone(), stock));
    Ok(data.set(id.to_string(), Record::Reservation(id.clone(), count, to)))
}

fn refuse<T>(reason: Reason, why: String) -> Result<T, Refusal> {
    Err(Refusal::new(reason, why))
}
