//! The bytes of every record. They are on disks: a change here is a change of
//! the log's format, and needs a new version and a way to read the old one.

use std::fmt::Debug;

use nemcon_core::codec::{Codec, CorruptLog, FORMAT_VERSION};
use nemcon_core::coordinator::record as coordinator;
use nemcon_core::id::{
    AttemptId, Boot, CoordinatorId, Epoch, LogPosition, Lsn, ParticipantId, ParticipantName,
    Position, SagaId, Sequence, TransactionId,
};
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::message::{OperationsHash, Outcome, Payload, Peer};
use nemcon_core::participant::record as participant;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::saga::{
    Compensation, Definition, End, Ended, Fact, Hand, Kept, Operation, Progress, Reference,
    Resolution, Retry, Snapshot, Step, StepName, StepState, Turn, Way,
};
use nemcon_core::time::{Millis, Span};
use uuid::Uuid;

const POSITION: Position = Position {
    epoch: Epoch(3),
    sequence: Sequence(17),
};

fn identity() -> CoordinatorId {
    CoordinatorId::new(Uuid::from_u128(0xc0))
}

fn directory() -> ParticipantId {
    ParticipantId::new(Uuid::from_u128(0xd0))
}

fn attempt() -> AttemptId {
    AttemptId {
        coordinator: identity(),
        position: POSITION,
    }
}

fn transaction() -> TransactionId {
    TransactionId::from_parts(Millis(1), 2)
}

fn bank() -> ParticipantName {
    ParticipantName::new("b").expect("a name")
}

fn hash() -> OperationsHash {
    OperationsHash([7; 32])
}

fn refusal() -> Refusal {
    Refusal::retryable(Reason::LOCK_TIMEOUT, "why")
}

/// Compares every record with its bytes, and reads it back.
fn hold_to<R: Codec + Debug + PartialEq>(golden: &str, records: &[(&str, R)]) {
    let mut written = String::new();
    for (name, record) in records {
        let bytes = record.to_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        written.push_str(&format!("{name} {hex}\n"));
        assert_eq!(
            R::from_bytes(&bytes).as_ref(),
            Ok(record),
            "{name} reads back"
        );
        let mut newer = bytes.clone();
        newer[0] += 1;
        let version = CorruptLog::Version {
            found: FORMAT_VERSION + 1,
        };
        assert_eq!(
            R::from_bytes(&newer),
            Err(version),
            "{name} of a newer version"
        );
        for cut in 0..bytes.len() {
            assert!(
                R::from_bytes(&bytes[..cut]).is_err(),
                "{name} cut to {cut} bytes"
            );
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(
            R::from_bytes(&longer).is_err(),
            "{name} with a byte too many"
        );
    }
    assert_eq!(
        written, golden,
        "the format has changed; written now:\n{written}"
    );
}

fn payload() -> Payload {
    Payload {
        type_url: "t/R".into(),
        value: vec![1, 2],
    }
}

fn definition() -> Definition {
    let name = |name: &str| StepName::new(name).expect("a name");
    let operation = Operation {
        participant: bank(),
        action: payload(),
        read_only: true,
        inputs: vec![Reference {
            step: name("a"),
            operation: 1,
        }],
    };
    Definition {
        steps: vec![Step {
            name: name("b"),
            depends_on: vec![name("a")],
            operations: vec![operation.clone()],
            compensation: Some(Compensation {
                operations: vec![operation],
                retry: Retry::COMPENSATION,
            }),
            retry: Retry {
                try_timeout: Some(Span(70)),
                ..Retry::STEP
            },
            time_limit: Some(Span(80)),
            pivot: true,
        }],
        time_limit: Some(Span(90)),
        label: "trip".into(),
    }
}

#[test]
fn coordinator_records() {
    use coordinator::{Aborted, Cause, Damaged, Decided, Record};
    let at = Millis(9);
    let cause = Cause {
        refusal: refusal(),
        participant: Some(bank()),
    };
    let decided = Decided {
        attempt: POSITION,
        transaction: transaction(),
        hash: hash(),
        voters: vec![bank()],
        begun_at: Millis(8),
        at,
        promised: None,
        results: None,
    };
    let position = LogPosition {
        boot: Boot(2),
        lsn: Lsn(300),
        life: 5,
    };
    let decided_far = Decided {
        promised: Some(vec![position]),
        ..decided.clone()
    };
    let result = Kept {
        operation: 1,
        value: payload(),
    };
    let decided_with_results = Decided {
        results: Some(vec![result.clone()]),
        ..decided.clone()
    };
    let saga = |fact| Record::Saga {
        saga: SagaId::from_parts(Millis(7), 3),
        fact: Box::new(fact),
    };
    let started = Fact::Started {
        definition: definition(),
        hash: hash(),
        at,
    };
    let tried = Fact::Tried {
        step: 2,
        way: Way::Back,
        transaction: transaction(),
        at,
    };
    let failed = Fact::Failed {
        step: 2,
        way: Way::Forward,
        cause: cause.clone(),
        at,
    };
    let turned = Fact::Turned {
        cause: cause.clone(),
        at,
    };
    let hand = Hand {
        who: "ann".into(),
        why: "seen".into(),
        at,
        step: Some(2),
        resolution: Some(Resolution::Compensated),
    };
    let by_hand = Fact::ByHand(hand.clone());
    let ended = Fact::Ended {
        ended: Ended::Compensated,
        at,
    };
    let kept = Fact::Kept(Box::new(Snapshot {
        hash: hash(),
        label: "trip".into(),
        definition: Some(definition()),
        names: vec![],
        started_at: Millis(8),
        turn: Some(Turn {
            cause: cause.clone(),
            at,
        }),
        held: Some(refusal()),
        end: Some(End {
            ended: Ended::Completed,
            at,
        }),
        steps: vec![Progress {
            state: StepState::CompensationPausing,
            tries: 1,
            tries_in_all: 2,
            transaction: Some(transaction()),
            first: Some(transaction()),
            began_at: Some(at),
            changed_at: at,
            cause: Some(cause.clone()),
            results: vec![result],
        }],
        hands: vec![hand],
    }));
    let aborted = Aborted {
        attempt: POSITION,
        transaction: transaction(),
        hash: hash(),
        cause,
        begun_at: Millis(8),
        at,
    };
    let damaged = Damaged {
        attempt: POSITION,
        transaction: Some(transaction()),
        participant: bank(),
        by_hand: Some(Outcome::Aborted),
        decided: Outcome::Committed,
        reason: "why".into(),
        at,
    };
    let registered = Record::Registered {
        name: bank(),
        id: directory(),
        address: "http://b:1".into(),
        began: None,
        promised: None,
        restored: None,
    };
    let registered_far = Record::Registered {
        name: bank(),
        id: directory(),
        address: "http://b:1".into(),
        began: Some(position),
        promised: Some(position),
        restored: None,
    };
    let registered_restored = Record::Registered {
        name: bank(),
        id: directory(),
        address: "http://b:1".into(),
        began: Some(position),
        promised: None,
        restored: Some(77),
    };
    let restored = |before| Record::Restored {
        id: 77,
        at,
        lost_at: Millis(8),
        epoch: Epoch(9),
        before,
    };
    hold_to(
        include_str!("golden/coordinator.txt"),
        &[
            (
                "Started",
                Record::Started {
                    identity: identity(),
                    epoch: Epoch(3),
                    at,
                },
            ),
            ("Decided", Record::Decided(decided)),
            (
                "Ended",
                Record::Ended {
                    attempt: POSITION,
                    at,
                },
            ),
            ("Aborted", Record::Aborted(aborted)),
            ("Forgotten", Record::Forgotten { through: at }),
            ("AloneHorizon", Record::AloneHorizon { until: at }),
            ("Registered", registered),
            ("Removed", Record::Removed { name: bank() }),
            ("Damaged", Record::Damaged(damaged)),
            (
                "DamageAcknowledged",
                Record::DamageAcknowledged {
                    attempt: POSITION,
                    participant: bank(),
                },
            ),
            ("Decided", Record::Decided(decided_far)),
            ("Registered", registered_far),
            ("Registered", registered_restored),
            ("Restored", restored(None)),
            ("Restored", restored(Some(Epoch(3)))),
            ("Decided", Record::Decided(decided_with_results)),
            ("Saga", saga(started)),
            ("Saga", saga(tried)),
            ("Saga", saga(failed)),
            ("Saga", saga(turned)),
            ("Saga", saga(by_hand)),
            ("Saga", saga(ended)),
            ("Saga", saga(Fact::Forgotten)),
            ("Saga", saga(kept)),
            ("SagasForgotten", Record::SagasForgotten { through: at }),
        ],
    );
}

#[test]
fn participant_records() {
    use participant::{AloneEnding, Damaged, DecidedAlone, Prepared, Record, ResolvedByHand};
    let at = Millis(9);
    let prepared = Prepared {
        attempt: attempt(),
        transaction: transaction(),
        age: transaction(),
        coordinator_address: "http://c:1".into(),
        peers: vec![Peer {
            name: bank(),
            address: "http://b:1".into(),
        }],
        locks: vec![(LockKey::from(*b"k"), Mode::Exclusive)],
        redo: vec![1, 2],
        begun_at: Millis(8),
        at,
    };
    let alone = |ending| DecidedAlone {
        attempt: attempt(),
        transaction: transaction(),
        hash: hash(),
        ending,
        redo: vec![1, 2],
        at,
    };
    let resolved = ResolvedByHand {
        attempt: attempt(),
        outcome: Outcome::Committed,
        reason: "why".into(),
        at,
    };
    let damaged = Damaged {
        attempt: attempt(),
        transaction: None,
        by_hand: None,
        decided: Outcome::Committed,
        reason: "why".into(),
        at,
    };
    let committed = AloneEnding::Committed(vec![vec![5].into()]);
    let (coordinator, floor) = (identity(), POSITION);
    hold_to(
        include_str!("golden/participant.txt"),
        &[
            (
                "Started",
                Record::Started {
                    id: directory(),
                    boot: Boot(2),
                    at,
                },
            ),
            (
                "EpochSeen",
                Record::EpochSeen {
                    coordinator,
                    epoch: Epoch(3),
                },
            ),
            ("FloorRaised", Record::FloorRaised { coordinator, floor }),
            ("Prepared", Record::Prepared(prepared)),
            (
                "Committed",
                Record::Committed {
                    attempt: attempt(),
                    at,
                },
            ),
            (
                "Aborted",
                Record::Aborted {
                    attempt: attempt(),
                    at,
                },
            ),
            (
                "Refused",
                Record::Refused {
                    attempt: attempt(),
                    at,
                },
            ),
            ("DecidedAlone", Record::DecidedAlone(alone(committed))),
            (
                "RefusedAlone",
                Record::DecidedAlone(alone(AloneEnding::Aborted(refusal()))),
            ),
            ("Forgotten", Record::Forgotten { through: at }),
            ("ResolvedByHand", Record::ResolvedByHand(resolved)),
            ("Damaged", Record::Damaged(damaged)),
            (
                "DamageAcknowledged",
                Record::DamageAcknowledged { attempt: attempt() },
            ),
            (
                "Restored",
                Record::Restored {
                    id: 77,
                    at,
                    lost_at: Millis(8),
                    boot: Boot(9),
                },
            ),
            ("Readmitted", Record::Readmitted { coordinator }),
        ],
    );
}
