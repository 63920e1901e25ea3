//! Records and their bytes, for every record there can be: read back as they were,
//! with fields of a later version passed over, and nonsense refused, never a panic.

use std::fmt::Debug;

use minicbor::{Decoder, Encoder};
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
use proptest::prelude::*;
use uuid::Uuid;

fn millis() -> impl Strategy<Value = Millis> {
    any::<u64>().prop_map(Millis)
}

fn position() -> impl Strategy<Value = Position> {
    any::<(u64, u64)>().prop_map(|(epoch, sequence)| Position {
        epoch: Epoch(epoch),
        sequence: Sequence(sequence),
    })
}

fn identity() -> impl Strategy<Value = CoordinatorId> {
    any::<u128>().prop_map(|id| CoordinatorId::new(Uuid::from_u128(id)))
}

fn directory() -> impl Strategy<Value = ParticipantId> {
    any::<u128>().prop_map(|id| ParticipantId::new(Uuid::from_u128(id)))
}

fn attempt() -> impl Strategy<Value = AttemptId> {
    (identity(), position()).prop_map(|(coordinator, position)| AttemptId {
        coordinator,
        position,
    })
}

fn transaction() -> impl Strategy<Value = TransactionId> {
    any::<(u64, u128)>().prop_map(|(at, chance)| TransactionId::from_parts(Millis(at), chance))
}

fn name() -> impl Strategy<Value = ParticipantName> {
    "[A-Za-z0-9][A-Za-z0-9._-]{0,20}".prop_map(|name| ParticipantName::new(name).expect("a name"))
}

fn hash() -> impl Strategy<Value = OperationsHash> {
    any::<[u8; 32]>().prop_map(OperationsHash)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Committed), Just(Outcome::Aborted)]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let reason = prop_oneof![
        prop::sample::select(Reason::ALL),
        "[A-Z0-9_]{1,64}".prop_map(|word| Reason::from_wire(&word)),
    ];
    (reason, ".{0,40}", any::<bool>()).prop_map(|(reason, message, retryable)| Refusal {
        reason,
        message,
        retryable,
    })
}

fn log_position() -> impl Strategy<Value = LogPosition> {
    any::<(u64, u64, u32)>().prop_map(|(boot, lsn, life)| LogPosition {
        boot: Boot(boot),
        lsn: Lsn(lsn),
        life,
    })
}

fn some<T: Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(of)
}

fn few<T: Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(of, 0..4)
}

fn payload() -> impl Strategy<Value = Payload> {
    (".{0,20}", few(any::<u8>())).prop_map(|(type_url, value)| Payload { type_url, value })
}

fn kept() -> impl Strategy<Value = Kept> {
    (any::<u32>(), payload()).prop_map(|(operation, value)| Kept { operation, value })
}

fn saga_id() -> impl Strategy<Value = SagaId> {
    (any::<u32>(), any::<u128>())
        .prop_map(|(at, chance)| SagaId::from_parts(Millis(u64::from(at)), chance))
}

fn step_name() -> impl Strategy<Value = StepName> {
    "[a-z0-9]{1,9}".prop_map(|name| StepName::new(name).expect("a name"))
}

fn span() -> impl Strategy<Value = Span> {
    any::<u64>().prop_map(Span)
}

fn retry() -> impl Strategy<Value = Retry> {
    (any::<u32>(), span(), span(), some(span())).prop_map(
        |(attempts, pause_first, pause_max, try_timeout)| Retry {
            attempts,
            pause_first,
            pause_max,
            try_timeout,
        },
    )
}

fn step_operations() -> impl Strategy<Value = Vec<Operation>> {
    let input =
        (step_name(), any::<u32>()).prop_map(|(step, operation)| Reference { step, operation });
    let operation = (name(), payload(), any::<bool>(), few(input)).prop_map(
        |(participant, action, read_only, inputs)| Operation {
            participant,
            action,
            read_only,
            inputs,
        },
    );
    few(operation)
}

fn definition() -> impl Strategy<Value = Definition> {
    let back = (step_operations(), retry())
        .prop_map(|(operations, retry)| Compensation { operations, retry });
    let names = (step_name(), few(step_name()));
    let work = (step_operations(), some(back), retry());
    let step = (names, work, some(span()), any::<bool>()).prop_map(
        |((name, depends_on), (operations, compensation, retry), time_limit, pivot)| Step {
            name,
            depends_on,
            operations,
            compensation,
            retry,
            time_limit,
            pivot,
        },
    );
    (few(step), some(span()), ".{0,20}").prop_map(|(steps, time_limit, label)| Definition {
        steps,
        time_limit,
        label,
    })
}

fn cause() -> impl Strategy<Value = coordinator::Cause> {
    (refusal(), some(name())).prop_map(|(refusal, participant)| coordinator::Cause {
        refusal,
        participant,
    })
}

fn hand() -> impl Strategy<Value = Hand> {
    let what = prop_oneof![
        Just(Resolution::Done),
        Just(Resolution::Compensated),
        Just(Resolution::Retry)
    ];
    (".{0,9}", ".{0,9}", millis(), some(any::<u32>()), some(what)).prop_map(
        |(who, why, at, step, resolution)| Hand {
            who,
            why,
            at,
            step,
            resolution,
        },
    )
}

fn progress() -> impl Strategy<Value = Progress> {
    let state = prop::sample::select(&[
        StepState::Waiting,
        StepState::Trying,
        StepState::Pausing,
        StepState::Done,
        StepState::Failed,
        StepState::Stuck,
        StepState::Compensating,
        StepState::CompensationPausing,
        StepState::Compensated,
        StepState::CompensationStuck,
    ]);
    let tries = (any::<u32>(), any::<u32>());
    let ids = (some(transaction()), some(transaction()));
    let times = (some(millis()), millis());
    (state, tries, ids, times, some(cause()), few(kept())).prop_map(
        |(state, (tries, tries_in_all), (last, first), (began_at, changed_at), cause, results)| {
            Progress {
                state,
                tries,
                tries_in_all,
                transaction: last,
                first,
                began_at,
                changed_at,
                cause,
                results,
            }
        },
    )
}

fn ended() -> impl Strategy<Value = Ended> {
    prop_oneof![Just(Ended::Completed), Just(Ended::Compensated)]
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let what = (hash(), ".{0,9}", some(definition()), few(step_name()));
    let turn = some((cause(), millis()).prop_map(|(cause, at)| Turn { cause, at }));
    let end = some((ended(), millis()).prop_map(|(ended, at)| End { ended, at }));
    let lists = (few(progress()), few(hand()));
    (what, millis(), turn, some(refusal()), end, lists).prop_map(
        |((hash, label, definition, names), started_at, turn, held, end, (steps, hands))| {
            Snapshot {
                hash,
                label,
                definition,
                names,
                started_at,
                turn,
                held,
                end,
                steps,
                hands,
            }
        },
    )
}

fn fact() -> impl Strategy<Value = Fact> {
    let way = || prop_oneof![Just(Way::Forward), Just(Way::Back)];
    prop_oneof![
        (definition(), hash(), millis()).prop_map(|(definition, hash, at)| Fact::Started {
            definition,
            hash,
            at
        }),
        (any::<u32>(), way(), transaction(), millis()).prop_map(|(step, way, transaction, at)| {
            Fact::Tried {
                step,
                way,
                transaction,
                at,
            }
        }),
        (any::<u32>(), way(), cause(), millis()).prop_map(|(step, way, cause, at)| Fact::Failed {
            step,
            way,
            cause,
            at
        }),
        (cause(), millis()).prop_map(|(cause, at)| Fact::Turned { cause, at }),
        hand().prop_map(Fact::ByHand),
        (ended(), millis()).prop_map(|(ended, at)| Fact::Ended { ended, at }),
        Just(Fact::Forgotten),
        snapshot().prop_map(|snapshot| Fact::Kept(Box::new(snapshot))),
    ]
}

fn decided() -> impl Strategy<Value = coordinator::Record> {
    let ids = (position(), transaction(), hash(), few(name()));
    let more = (some(few(log_position())), some(few(kept())));
    (ids, millis(), millis(), more).prop_map(
        |((attempt, transaction, hash, voters), begun_at, at, (promised, results))| {
            coordinator::Record::Decided(coordinator::Decided {
                attempt,
                transaction,
                hash,
                voters,
                begun_at,
                at,
                promised,
                results,
            })
        },
    )
}

fn aborted() -> impl Strategy<Value = coordinator::Record> {
    let ids = (position(), transaction(), hash());
    let cause = (refusal(), some(name())).prop_map(|(refusal, participant)| coordinator::Cause {
        refusal,
        participant,
    });
    (ids, cause, millis(), millis()).prop_map(
        |((attempt, transaction, hash), cause, begun_at, at)| {
            coordinator::Record::Aborted(coordinator::Aborted {
                attempt,
                transaction,
                hash,
                cause,
                begun_at,
                at,
            })
        },
    )
}

fn damaged_there() -> impl Strategy<Value = coordinator::Record> {
    let ids = (position(), some(transaction()), name());
    (ids, some(outcome()), outcome(), ".{0,20}", millis()).prop_map(
        |((attempt, transaction, participant), by_hand, decided, reason, at)| {
            coordinator::Record::Damaged(coordinator::Damaged {
                attempt,
                transaction,
                participant,
                by_hand,
                decided,
                reason,
                at,
            })
        },
    )
}

fn coordinator_record() -> impl Strategy<Value = coordinator::Record> {
    use coordinator::Record;
    let registered = (
        name(),
        directory(),
        ".{0,20}",
        some(log_position()),
        some(log_position()),
        some(any::<u64>()),
    );
    let restored = (
        any::<u64>(),
        millis(),
        millis(),
        any::<u64>(),
        some(any::<u64>()),
    );
    prop_oneof![
        (identity(), any::<u64>(), millis()).prop_map(|(identity, epoch, at)| Record::Started {
            identity,
            epoch: Epoch(epoch),
            at
        }),
        decided(),
        (position(), millis()).prop_map(|(attempt, at)| Record::Ended { attempt, at }),
        aborted(),
        millis().prop_map(|through| Record::Forgotten { through }),
        millis().prop_map(|until| Record::AloneHorizon { until }),
        registered.prop_map(|(name, id, address, began, promised, restored)| {
            Record::Registered {
                name,
                id,
                address,
                began,
                promised,
                restored,
            }
        }),
        restored.prop_map(|(id, at, lost_at, epoch, before)| Record::Restored {
            id,
            at,
            lost_at,
            epoch: Epoch(epoch),
            before: before.map(Epoch),
        }),
        name().prop_map(|name| Record::Removed { name }),
        millis().prop_map(|through| Record::SagasForgotten { through }),
        (saga_id(), fact()).prop_map(|(saga, fact)| Record::Saga {
            saga,
            fact: Box::new(fact),
        }),
        damaged_there(),
        (position(), name()).prop_map(|(attempt, participant)| Record::DamageAcknowledged {
            attempt,
            participant
        }),
    ]
}

fn prepared() -> impl Strategy<Value = participant::Record> {
    let mode = prop_oneof![Just(Mode::Shared), Just(Mode::Exclusive)];
    let lock = (any::<Vec<u8>>(), mode).prop_map(|(key, mode)| (LockKey::from(key), mode));
    let peer = (name(), ".{0,20}").prop_map(|(name, address)| Peer { name, address });
    let ids = (attempt(), transaction(), transaction(), ".{0,20}");
    let work = (few(peer), few(lock), any::<Vec<u8>>());
    (ids, work, millis(), millis()).prop_map(
        |((attempt, transaction, age, coordinator_address), (peers, locks, redo), begun_at, at)| {
            participant::Record::Prepared(participant::Prepared {
                attempt,
                transaction,
                age,
                coordinator_address,
                peers,
                locks,
                redo,
                begun_at,
                at,
            })
        },
    )
}

fn decided_alone() -> impl Strategy<Value = participant::Record> {
    use participant::AloneEnding;
    let ending = prop_oneof![
        few(any::<Vec<u8>>()).prop_map(|results| {
            AloneEnding::Committed(results.into_iter().map(Into::into).collect())
        }),
        refusal().prop_map(AloneEnding::Aborted),
    ];
    let ids = (attempt(), transaction(), hash());
    (ids, ending, any::<Vec<u8>>(), millis()).prop_map(
        |((attempt, transaction, hash), ending, redo, at)| {
            participant::Record::DecidedAlone(participant::DecidedAlone {
                attempt,
                transaction,
                hash,
                ending,
                redo,
                at,
            })
        },
    )
}

fn damaged_here() -> impl Strategy<Value = participant::Record> {
    let ids = (attempt(), some(transaction()));
    (ids, some(outcome()), outcome(), ".{0,20}", millis()).prop_map(
        |((attempt, transaction), by_hand, decided, reason, at)| {
            participant::Record::Damaged(participant::Damaged {
                attempt,
                transaction,
                by_hand,
                decided,
                reason,
                at,
            })
        },
    )
}

fn participant_record() -> impl Strategy<Value = participant::Record> {
    use participant::{Record, ResolvedByHand};
    let resolved = (attempt(), outcome(), ".{0,20}", millis());
    prop_oneof![
        (directory(), any::<u64>(), millis()).prop_map(|(id, boot, at)| Record::Started {
            id,
            boot: Boot(boot),
            at
        }),
        (identity(), any::<u64>()).prop_map(|(coordinator, epoch)| Record::EpochSeen {
            coordinator,
            epoch: Epoch(epoch)
        }),
        (identity(), position())
            .prop_map(|(coordinator, floor)| Record::FloorRaised { coordinator, floor }),
        prepared(),
        (attempt(), millis()).prop_map(|(attempt, at)| Record::Committed { attempt, at }),
        (attempt(), millis()).prop_map(|(attempt, at)| Record::Aborted { attempt, at }),
        (attempt(), millis()).prop_map(|(attempt, at)| Record::Refused { attempt, at }),
        decided_alone(),
        millis().prop_map(|through| Record::Forgotten { through }),
        resolved.prop_map(|(attempt, outcome, reason, at)| {
            Record::ResolvedByHand(ResolvedByHand {
                attempt,
                outcome,
                reason,
                at,
            })
        }),
        damaged_here(),
        attempt().prop_map(|attempt| Record::DamageAcknowledged { attempt }),
        any::<(u64, u64, u64, u64)>().prop_map(|(id, at, lost_at, boot)| Record::Restored {
            id,
            at: Millis(at),
            lost_at: Millis(lost_at),
            boot: Boot(boot),
        }),
        identity().prop_map(|coordinator| Record::Readmitted { coordinator }),
    ]
}

/// How many fields this version has: of the variant itself, and of the struct in it,
/// where it is one.
trait Fields {
    fn fields(&self) -> (u64, Option<u64>);
}

impl Fields for coordinator::Record {
    fn fields(&self) -> (u64, Option<u64>) {
        match self {
            Self::Started { .. } => (3, None),
            Self::Decided(_) => (1, Some(8)),
            Self::Ended { .. } | Self::DamageAcknowledged { .. } | Self::Saga { .. } => (2, None),
            Self::Aborted(_) => (1, Some(6)),
            Self::Forgotten { .. }
            | Self::AloneHorizon { .. }
            | Self::Removed { .. }
            | Self::SagasForgotten { .. } => (1, None),
            Self::Registered { .. } => (6, None),
            Self::Restored { .. } => (5, None),
            Self::Damaged(_) => (1, Some(7)),
        }
    }
}

impl Fields for participant::Record {
    fn fields(&self) -> (u64, Option<u64>) {
        match self {
            Self::Started { .. } => (3, None),
            Self::EpochSeen { .. }
            | Self::FloorRaised { .. }
            | Self::Committed { .. }
            | Self::Aborted { .. }
            | Self::Refused { .. } => (2, None),
            Self::Prepared(_) => (1, Some(9)),
            Self::DecidedAlone(_) => (1, Some(6)),
            Self::Forgotten { .. } | Self::DamageAcknowledged { .. } | Self::Readmitted { .. } => {
                (1, None)
            }
            Self::Restored { .. } => (4, None),
            Self::ResolvedByHand(_) => (1, Some(4)),
            Self::Damaged(_) => (1, Some(6)),
        }
    }
}

/// A value that a later version might put into a new field.
#[derive(Clone, Debug)]
enum Novelty {
    Number(u64),
    Text(String),
    Bytes(Vec<u8>),
    Nothing,
    List(Vec<Novelty>),
}

fn novelty() -> impl Strategy<Value = Novelty> {
    let leaf = prop_oneof![
        any::<u64>().prop_map(Novelty::Number),
        ".{0,8}".prop_map(Novelty::Text),
        any::<Vec<u8>>().prop_map(Novelty::Bytes),
        Just(Novelty::Nothing),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| few(inner).prop_map(Novelty::List))
}

impl Novelty {
    fn encode(&self, e: &mut Encoder<Vec<u8>>) {
        let done = match self {
            Self::Number(number) => e.u64(*number).map(drop),
            Self::Text(text) => e.str(text).map(drop),
            Self::Bytes(bytes) => e.bytes(bytes).map(drop),
            Self::Nothing => e.null().map(drop),
            Self::List(list) => {
                let header = e.array(list.len() as u64).map(drop);
                list.iter().for_each(|item| item.encode(e));
                header
            }
        };
        done.expect("memory takes everything");
    }
}

/// The array at `at`, as a later version would write it: what this version leaves out
/// at its end, because it is nothing, then new fields. Gives it with its length.
fn extended(body: &[u8], at: usize, fields: u64, new: &[Novelty]) -> (Vec<u8>, usize) {
    let mut decoder = Decoder::new(body);
    decoder.set_position(at);
    let written = decoder.array().expect("an array").expect("of known length");
    let inside = decoder.position();
    (0..written).for_each(|_| decoder.skip().expect("an item"));
    let end = decoder.position();
    let mut e = Encoder::new(Vec::new());
    e.array(fields + new.len() as u64)
        .expect("memory takes everything");
    let mut array = e.into_writer();
    array.extend_from_slice(&body[inside..end]);
    let mut e = Encoder::new(array);
    (written..fields).for_each(|_| Novelty::Nothing.encode(&mut e));
    new.iter().for_each(|novelty| novelty.encode(&mut e));
    (e.into_writer(), end)
}

/// The record with new fields in the variant, or in the struct within it.
fn as_of_later<R: Codec + Fields>(record: &R, in_struct: bool, new: &[Novelty]) -> Vec<u8> {
    let bytes = record.to_bytes();
    let body = &bytes[1..];
    let mut decoder = Decoder::new(body);
    assert_eq!(
        decoder.array().expect("an array"),
        Some(2),
        "variant and fields"
    );
    decoder.u32().expect("the variant");
    let outer = decoder.position();
    let (fields, inner_fields) = record.fields();
    let (at, fields) = match inner_fields.filter(|_| in_struct) {
        None => (outer, fields),
        Some(inner_fields) => {
            decoder.array().expect("the variant's fields");
            (decoder.position(), inner_fields)
        }
    };
    let (array, end) = extended(body, at, fields, new);
    [&[bytes[0]], &body[..at], &array, &body[end..]].concat()
}

/// Everything that must hold for one record.
fn holds<R: Codec + Fields + Debug + PartialEq>(
    record: &R,
    in_struct: bool,
    new: &[Novelty],
    damage: (prop::sample::Index, u8),
) -> Result<(), TestCaseError> {
    let bytes = record.to_bytes();
    let read = R::from_bytes(&bytes);
    prop_assert_eq!(read.as_ref(), Ok(record));
    let later = as_of_later(record, in_struct, new);
    let read = R::from_bytes(&later);
    prop_assert_eq!(read.as_ref(), Ok(record), "{:02x?}", later);
    for cut in 0..bytes.len() {
        prop_assert!(R::from_bytes(&bytes[..cut]).is_err(), "cut to {cut} bytes");
    }
    let (at, by) = damage;
    let mut damaged = bytes;
    let at = at.index(damaged.len());
    damaged[at] ^= by;
    // The log's checksums find it. Here the version must be told from damage, and what
    // can be read at all must be a record.
    let read = R::from_bytes(&damaged);
    if at == 0 {
        let found = FORMAT_VERSION ^ by;
        prop_assert_eq!(read, Err(CorruptLog::Version { found }));
    } else if let Ok(read) = read {
        let again = R::from_bytes(&read.to_bytes());
        prop_assert_eq!(again.as_ref(), Ok(&read));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn every_record_of_a_coordinator(
        record in coordinator_record(),
        in_struct: bool,
        new in few(novelty()),
        damage in (any::<prop::sample::Index>(), 1..=255_u8),
    ) {
        holds(&record, in_struct, &new, damage)?;
    }

    #[test]
    fn every_record_of_a_participant(
        record in participant_record(),
        in_struct: bool,
        new in few(novelty()),
        damage in (any::<prop::sample::Index>(), 1..=255_u8),
    ) {
        holds(&record, in_struct, &new, damage)?;
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(mut bytes: Vec<u8>, versioned: bool) {
        if versioned && let Some(first) = bytes.first_mut() {
            *first = FORMAT_VERSION;
        }
        if let Ok(read) = coordinator::Record::from_bytes(&bytes) {
            prop_assert_eq!(coordinator::Record::from_bytes(&read.to_bytes()), Ok(read));
        }
        if let Ok(read) = participant::Record::from_bytes(&bytes) {
            prop_assert_eq!(participant::Record::from_bytes(&read.to_bytes()), Ok(read));
        }
    }
}

/// A header that announces more than there is must not make us ask for that memory.
#[test]
fn a_length_beyond_all_bounds_is_an_error() {
    let huge = [0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let text = [0x7b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let bytes = [0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for announced in [&huge, &text, &bytes] {
        for variant in 0..12 {
            for before in 0..10_u8 {
                let fields = vec![0x80; usize::from(before)];
                let head = [FORMAT_VERSION, 0x82, variant, 0x80 + before + 1];
                let record = [&head[..], &fields, announced].concat();
                assert!(coordinator::Record::from_bytes(&record).is_err());
                assert!(participant::Record::from_bytes(&record).is_err());
                let inner = [FORMAT_VERSION, 0x82, variant, 0x81, 0x80 + before + 1];
                let record = [&inner[..], &fields, announced].concat();
                assert!(coordinator::Record::from_bytes(&record).is_err());
                assert!(participant::Record::from_bytes(&record).is_err());
            }
        }
    }
}

/// A new field that is nested a million deep is passed over without a stack to match.
#[test]
fn a_deep_novelty_is_passed_over() {
    let record = coordinator::Record::Removed {
        name: ParticipantName::new("b").expect("a name"),
    };
    let mut bytes = as_of_later(&record, false, &[Novelty::Nothing]);
    assert_eq!(bytes.pop(), Some(0xf6), "the new field, which is nothing");
    bytes.extend(std::iter::repeat_n(0x81, 1_000_000));
    bytes.push(0);
    assert_eq!(coordinator::Record::from_bytes(&bytes), Ok(record));
}
