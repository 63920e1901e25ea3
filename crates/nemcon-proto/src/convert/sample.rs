//! Values for the round-trip tests: each field differs from its default and from
//! its neighbours, so that what is swapped or dropped shows.

use nemcon_core::coordinator::event::AddressedOperation;
use nemcon_core::coordinator::record::Cause;
use nemcon_core::id::{
    AttemptId, Boot, CoordinatorId, Epoch, ParticipantId, ParticipantName, Position, Sequence,
    TransactionId,
};
use nemcon_core::lock::{Holder, LockKey, Mode, Queue, Token, Waiter};
use nemcon_core::message::{
    Header, LockRequest, Operation, Party, Payload, Peer, Task, WaitsReport,
};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::time::{Millis, Span};
use uuid::Uuid;

pub(super) fn coordinator() -> CoordinatorId {
    CoordinatorId::new(Uuid::from_u128(0xc0))
}

pub(super) fn participant() -> ParticipantId {
    ParticipantId::new(Uuid::from_u128(0xba))
}

pub(super) fn attempt() -> AttemptId {
    let position = Position {
        epoch: Epoch(3),
        sequence: Sequence(17),
    };
    AttemptId {
        coordinator: coordinator(),
        position,
    }
}

pub(super) fn transaction() -> TransactionId {
    TransactionId::from_parts(Millis(1_700_000_000_123), 0x1234)
}

pub(super) fn first_transaction() -> TransactionId {
    TransactionId::from_parts(Millis(1_600_000_000_321), 0x4321)
}

pub(super) fn name(text: &str) -> ParticipantName {
    ParticipantName::new(text).unwrap()
}

pub(super) fn peer(text: &str) -> Peer {
    Peer {
        name: name(text),
        address: format!("http://{text}:7110"),
    }
}

pub(super) fn payload(byte: u8) -> Payload {
    Payload {
        type_url: "type.googleapis.com/test.Action".into(),
        value: vec![byte, 0, 255],
    }
}

pub(super) fn operation(to: &str) -> AddressedOperation {
    (
        name(to),
        Operation {
            action: Ok(payload(2)),
            read_only: true,
            inputs: vec![payload(7)],
        },
    )
}

pub(super) fn lock() -> LockRequest {
    LockRequest {
        name: "alice".into(),
        mode: Mode::Exclusive,
    }
}

pub(super) fn token() -> Token {
    Token {
        boot: Boot(6),
        counter: 9,
    }
}

pub(super) fn queue() -> Queue<Party> {
    let owner = Party {
        attempt: attempt(),
        transaction: transaction(),
        age: first_transaction(),
    };
    let waiting = Party {
        transaction: first_transaction(),
        ..owner
    };
    Queue {
        key: LockKey::from(b"alice\0".to_vec()),
        holders: vec![Holder {
            owner,
            mode: Mode::Shared,
            token: token(),
            since: Millis(1_234),
        }],
        waiters: vec![Waiter {
            owner: waiting,
            mode: Mode::Exclusive,
            wait: 77,
            since: Millis(2_345),
        }],
    }
}

pub(super) fn report() -> WaitsReport {
    WaitsReport {
        boot: Boot(6),
        at: Millis(3_456),
        queues: vec![queue()],
        left_out: 2,
    }
}

pub(super) fn header() -> Header {
    let floor = Position {
        epoch: Epoch(2),
        sequence: Sequence(5),
    };
    Header {
        coordinator: coordinator(),
        participant: participant(),
        epoch: Epoch(4),
        floor,
    }
}

pub(super) fn task() -> Task {
    Task {
        attempt: attempt(),
        transaction: transaction(),
        age: first_transaction(),
        remaining: Span(9_876),
        lock_wait: Span(5_000),
        coordinator_address: "http://127.0.0.1:7100".into(),
    }
}

pub(super) fn causes() -> [Cause; 2] {
    let refusal = Refusal::new(Reason::business("INSUFFICIENT_FUNDS"), "alice has 1.00");
    let by_someone = Cause {
        refusal,
        participant: Some(name("bank-a")),
    };
    let refusal = Refusal::retryable(Reason::DEADLINE_EXCEEDED, "10000 ms are over");
    [
        by_someone,
        Cause {
            refusal,
            participant: None,
        },
    ]
}
