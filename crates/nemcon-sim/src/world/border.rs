//! Names, addresses and payloads, and what they stand for.

use nemcon_core::id::{AttemptId, CoordinatorId, ParticipantId, ParticipantName};
use nemcon_core::message::Payload;
use uuid::Uuid;

use crate::plan::Place;

const COORDINATORS: u128 = 0xc000_0000 << 96;
const PARTICIPANTS: u128 = 0xb000_0000 << 96;

pub(crate) fn name(participant: usize) -> ParticipantName {
    ParticipantName::new(format!("p{participant}")).expect("letters and digits")
}

/// Whose name it is; `usize::MAX` for none of ours.
pub(crate) fn place_of(name: &ParticipantName) -> usize {
    name.as_str()[1..].parse().unwrap_or(usize::MAX)
}

pub(crate) const fn identity(coordinator: usize) -> CoordinatorId {
    CoordinatorId::new(Uuid::from_u128(
        COORDINATORS + ((coordinator as u128) << 96),
    ))
}

pub(crate) const fn coordinator_of(attempt: AttemptId) -> usize {
    ((attempt.coordinator.uuid().as_u128() - COORDINATORS) >> 96) as usize
}

pub(crate) const fn participant_id(participant: usize) -> ParticipantId {
    ParticipantId::new(Uuid::from_u128(
        PARTICIPANTS + ((participant as u128) << 96),
    ))
}

pub(crate) fn address(place: Place) -> String {
    super::packet::place_words(place)
}

/// The node behind an address of ours.
pub(crate) fn reached(address: &str) -> Place {
    let number = address.get(1..).and_then(|digits| digits.parse().ok());
    let number = number.unwrap_or(usize::MAX);
    if address.starts_with('c') {
        Place::Coordinator(number)
    } else {
        Place::Participant(number)
    }
}

/// An action travels as its place in the world's list of actions.
pub(crate) fn action_payload(place: usize) -> Payload {
    Payload {
        type_url: String::from("action"),
        value: (place as u64).to_be_bytes().to_vec(),
    }
}

pub(crate) fn action_place(payload: &Payload) -> usize {
    let bytes = payload.value.as_slice().try_into().unwrap_or([0xff; 8]);
    u64::from_be_bytes(bytes) as usize
}

pub(crate) fn result_payload(value: Vec<u8>) -> Payload {
    Payload {
        type_url: String::from("result"),
        value,
    }
}
