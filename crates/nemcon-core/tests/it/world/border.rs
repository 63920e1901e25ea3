//! Names, addresses and payloads, and what they stand for in these tests.

use super::*;

pub(crate) fn name(participant: usize) -> ParticipantName {
    ParticipantName::new(format!("p{participant}")).expect("a name")
}

pub(crate) fn place_of(name: &ParticipantName) -> usize {
    name.as_str()[1..].parse().expect("a number")
}

pub(crate) fn identity(coordinator: usize) -> CoordinatorId {
    CoordinatorId::new(Uuid::from_u128(0xc000 + coordinator as u128))
}

pub(crate) fn coordinator_of(id: CoordinatorId) -> usize {
    (id.uuid().as_u128() - 0xc000) as usize
}

pub(super) fn address_of(address: &str) -> Place {
    let number = address[1..].parse().expect("a number");
    if address.starts_with('c') {
        Place::Coordinator(number)
    } else {
        Place::Participant(number)
    }
}

pub(super) fn payload(action: Action) -> Payload {
    let (kind, register, amount) = match action {
        Action::Read(register) => (0u8, register, 0),
        Action::Add(register, amount) => (1, register, amount),
    };
    Payload {
        type_url: "action".into(),
        value: (kind, register, amount).to_bytes(),
    }
}

pub(super) fn action(payload: &Payload) -> Action {
    match <(u8, u8, i64)>::from_bytes(&payload.value).expect("an action") {
        (0, register, _) => Action::Read(register),
        (_, register, amount) => Action::Add(register, amount),
    }
}

pub(super) fn encode(value: i64) -> Payload {
    Payload {
        type_url: "result".into(),
        value: value.to_bytes(),
    }
}

pub(crate) fn decode(results: &[Payload]) -> Vec<i64> {
    results
        .iter()
        .map(|payload| i64::from_bytes(&payload.value).expect("a result"))
        .collect()
}

pub(super) fn addressed(
    (participant, act, read_only): (usize, Action, bool),
) -> AddressedOperation {
    (
        name(participant),
        Operation {
            action: Ok(payload(act)),
            read_only,
            inputs: Vec::new(),
        },
    )
}
