//! Payloads, times, refusals, operations.

use nemcon_core::coordinator::event::AddressedOperation;
use nemcon_core::coordinator::record::Cause;
use nemcon_core::limits;
use nemcon_core::message::{Operation, Payload};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::time::{Millis, Span};
use prost_types::{Any, Timestamp};

use super::error::{WireError, list};
use super::id::{optional, participant_name, shown};
use crate::v1;

const MILLIS_PER_SECOND: u64 = 1_000;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// A payload as it travels.
#[must_use]
pub fn any(payload: Payload) -> Any {
    Any {
        type_url: payload.type_url,
        value: payload.value,
    }
}

/// A payload as it came. Nothing can be wrong with it here: only who knows the
/// type can tell.
#[must_use]
pub fn payload(any: Any) -> Payload {
    Payload {
        type_url: any.type_url,
        value: any.value,
    }
}

/// Results of operations as they travel.
pub(super) fn anys(payloads: Vec<Payload>) -> Vec<Any> {
    payloads.into_iter().map(any).collect()
}

/// Results of operations: there are no more of them than operations.
pub(super) fn payloads(anys: Vec<Any>) -> Result<Vec<Payload>, WireError> {
    super::error::list(anys, "results", limits::OPERATIONS_MAX, |any| {
        Ok(payload(any))
    })
}

/// A time as it travels.
#[must_use]
pub fn timestamp(at: Millis) -> Timestamp {
    Timestamp {
        // 2^64 milliseconds are fewer than 2^63 seconds, and a second has fewer
        // than 2^31 nanoseconds: neither conversion can fail.
        seconds: i64::try_from(at.0 / MILLIS_PER_SECOND).unwrap_or(i64::MAX),
        nanos: i32::try_from(at.0 % MILLIS_PER_SECOND * NANOS_PER_MILLI).unwrap_or(0),
    }
}

/// A time as it came, cut to milliseconds; `field` is where it stands.
///
/// # Errors
/// [`WireError`] if it lies before 1970 or is no legal timestamp.
pub fn millis(at: Timestamp, field: &str) -> Result<Millis, WireError> {
    let read = || {
        let seconds = u64::try_from(at.seconds).ok()?;
        let nanos = u64::try_from(at.nanos)
            .ok()
            .filter(|nanos| *nanos < 1_000_000_000)?;
        let whole = seconds.checked_mul(MILLIS_PER_SECOND)?;
        Some(Millis(whole.checked_add(nanos / NANOS_PER_MILLI)?))
    };
    read().ok_or_else(|| {
        let found = format_args!("{} s {} ns", at.seconds, at.nanos);
        WireError::new(
            field,
            found,
            "a time from 1970 on, with 0 to 999,999,999 ns",
        )
    })
}

/// Reads a time that must be there.
pub(super) fn time(at: Option<Timestamp>, field: &str) -> Result<Millis, WireError> {
    millis(
        at.ok_or_else(|| WireError::missing(field, "a time"))?,
        field,
    )
}

/// A span as it travels: what does not fit is cut, and it is far above any
/// limit.
pub(super) fn span_ms(span: Span) -> u32 {
    u32::try_from(span.0).unwrap_or(u32::MAX)
}

/// Reads a sentence of a person, which is kept in the log.
pub(super) fn sentence(text: String, field: &str) -> Result<String, WireError> {
    let max = limits::MESSAGE_CHARS_MAX;
    if text.chars().nth(max).is_some() {
        return Err(WireError::text(
            field,
            &text,
            format_args!("at most {max} characters"),
        ));
    }
    Ok(text)
}

/// Reads a sentence that must be there.
pub(super) fn required_sentence(text: String, field: &str) -> Result<String, WireError> {
    if text.trim().is_empty() {
        let allowed = format_args!("1 to {} characters", limits::MESSAGE_CHARS_MAX);
        return Err(WireError::missing(field, allowed));
    }
    sentence(text, field)
}

impl From<Refusal> for v1::Refusal {
    fn from(refusal: Refusal) -> Self {
        Self {
            reason: refusal.reason.to_string(),
            message: refusal.message,
            retryable: refusal.retryable,
            participant: String::new(),
        }
    }
}

/// Never fails: a word that is none becomes [`Reason::PEER_REFUSED`], and a long
/// message is cut. A no remains a no, however clumsy.
impl From<v1::Refusal> for Refusal {
    fn from(refusal: v1::Refusal) -> Self {
        let new = if refusal.retryable {
            Self::retryable
        } else {
            Self::new
        };
        new(Reason::from_wire(&refusal.reason), refusal.message)
    }
}

impl From<Cause> for v1::Refusal {
    fn from(cause: Cause) -> Self {
        Self {
            participant: shown(cause.participant),
            ..cause.refusal.into()
        }
    }
}

impl TryFrom<v1::Refusal> for Cause {
    type Error = WireError;

    fn try_from(refusal: v1::Refusal) -> Result<Self, WireError> {
        let participant = optional(&refusal.participant, |name| {
            participant_name(name.to_owned(), "participant")
        })?;
        Ok(Self {
            refusal: refusal.into(),
            participant,
        })
    }
}

/// Reads the refusal that goes with a no.
pub(super) fn refusal(refusal: Option<v1::Refusal>) -> Result<Refusal, WireError> {
    let allowed = "a reason, since the answer is no";
    refusal
        .map(Refusal::from)
        .ok_or_else(|| WireError::missing("refusal", allowed))
}

impl From<AddressedOperation> for v1::Operation {
    fn from((participant, operation): AddressedOperation) -> Self {
        Self {
            participant: participant.to_string(),
            ..unaddressed(operation)
        }
    }
}

/// Reads an operation of a client.
impl TryFrom<v1::Operation> for AddressedOperation {
    type Error = WireError;

    fn try_from(operation: v1::Operation) -> Result<Self, WireError> {
        let participant = participant_name(operation.participant, "participant")?;
        let example = "what to do, for example {\"@type\": \
                       \"type.googleapis.com/nemcon.bank.v1.Read\", \"account\": \"alice\"}";
        let action = operation
            .action
            .ok_or_else(|| WireError::missing("action", example))?;
        if action.type_url.is_empty() {
            return Err(WireError::missing(
                "action.type_url",
                "the type of the action",
            ));
        }
        let read_only = operation.read_only;
        let inputs = list(operation.inputs, "inputs", limits::INPUTS_MAX, given)?;
        Ok((
            participant,
            Operation {
                action: Ok(payload(action)),
                read_only,
                inputs,
            },
        ))
    }
}

/// Reads an input that has its value: outside of a saga's definition there are no
/// steps to name.
fn given(input: v1::Input) -> Result<Payload, WireError> {
    if !input.step.is_empty() {
        let allowed = "no step: only the definition of a saga has steps whose results can be \
                       named; here an input has its value";
        return Err(WireError::text("step", &input.step, allowed));
    }
    if input.operation != 0 {
        let allowed = "0 where no step is named";
        return Err(WireError::new("operation", input.operation, allowed));
    }
    let value = input
        .value
        .ok_or_else(|| WireError::missing("value", "the result that the action is to use"))?;
    Ok(payload(value))
}

/// An input as it travels outside of a saga's definition.
fn input(value: Payload) -> v1::Input {
    v1::Input {
        value: Some(any(value)),
        ..v1::Input::default()
    }
}

/// An operation on its way to the participant it is for. One that was not
/// understood travels without an action, and is not understood there either.
pub(super) fn unaddressed(operation: Operation<Payload>) -> v1::Operation {
    v1::Operation {
        participant: String::new(),
        action: operation.action.ok().map(any),
        read_only: operation.read_only,
        inputs: operation.inputs.into_iter().map(input).collect(),
    }
}

/// Reads an operation at the participant it is for. A missing action, or an input
/// that is none, makes the vote no; it does not make the question go unanswered.
pub(super) fn received(operation: v1::Operation) -> Operation<Payload> {
    let missing = || {
        let message = "action is missing: want what to do, as google.protobuf.Any";
        Refusal::new(Reason::INVALID_ACTION, message)
    };
    let action = operation.action.map(payload).ok_or_else(missing);
    let (action, inputs) = match list(operation.inputs, "inputs", limits::INPUTS_MAX, given) {
        Ok(inputs) => (action, inputs),
        Err(error) => {
            let refusal = Refusal::new(Reason::INVALID_ACTION, error.to_string());
            (action.and(Err(refusal)), Vec::new())
        }
    };
    Operation {
        action,
        read_only: operation.read_only,
        inputs,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::super::sample;
    use super::*;

    proptest! {
        #[test]
        fn times_go_there_and_back(at: u64) {
            prop_assert_eq!(millis(timestamp(Millis(at)), "at"), Ok(Millis(at)));
        }

        #[test]
        fn no_timestamp_panics(seconds: i64, nanos: i32) {
            let legal = seconds >= 0 && (0..1_000_000_000).contains(&nanos);
            let read = millis(Timestamp { seconds, nanos }, "at");
            prop_assert!(legal || read.is_err());
        }

        #[test]
        fn payloads_go_there_and_back(type_url: String, value: Vec<u8>) {
            let payload_there = Payload { type_url, value };
            prop_assert_eq!(payload(any(payload_there.clone())), payload_there);
        }
    }

    #[test]
    fn refusals_go_there_and_back() {
        for cause in sample::causes() {
            let there = v1::Refusal::from(cause.clone());
            assert_eq!(Cause::try_from(there.clone()), Ok(cause.clone()));
            assert_eq!(Refusal::from(there), cause.refusal);
        }
    }

    #[test]
    fn a_clumsy_refusal_is_still_one() {
        let wire = v1::Refusal {
            reason: "no!".into(),
            ..v1::Refusal::default()
        };
        assert_eq!(Refusal::from(wire), Refusal::new(Reason::PEER_REFUSED, ""));
        let wire = v1::Refusal {
            participant: "a b".into(),
            ..v1::Refusal::default()
        };
        assert_eq!(Cause::try_from(wire).unwrap_err().field, "participant");
    }

    #[test]
    fn operations_go_there_and_back() {
        let operation = sample::operation("bank-a");
        let there = v1::Operation::from(operation.clone());
        assert_eq!(AddressedOperation::try_from(there), Ok(operation.clone()));
        assert_eq!(received(unaddressed(operation.1.clone())), operation.1);
    }

    #[test]
    fn inputs_are_values_outside_of_sagas() {
        let with = |input: v1::Input| v1::Operation {
            inputs: vec![input],
            ..v1::Operation::from(sample::operation("bank-a"))
        };
        let value = || Some(any(sample::payload(9)));
        let step = v1::Input {
            step: "order".into(),
            value: value(),
            ..v1::Input::default()
        };
        let error = AddressedOperation::try_from(with(step.clone())).unwrap_err();
        assert_eq!(error.field, "inputs[0].step");
        assert!(
            error.to_string().contains("definition of a saga"),
            "{error}"
        );
        let refusal = received(with(step)).action.unwrap_err();
        assert_eq!(refusal.reason, Reason::INVALID_ACTION);

        let empty = with(v1::Input::default());
        let error = AddressedOperation::try_from(empty.clone()).unwrap_err();
        assert_eq!(error.field, "inputs[0].value");
        assert!(received(empty).action.is_err());

        let number = v1::Input {
            operation: 1,
            value: value(),
            ..v1::Input::default()
        };
        let error = AddressedOperation::try_from(with(number)).unwrap_err();
        assert_eq!(error.field, "inputs[0].operation");

        let mut many = with(input(sample::payload(9)));
        many.inputs = vec![many.inputs[0].clone(); limits::INPUTS_MAX + 1];
        let error = AddressedOperation::try_from(many.clone()).unwrap_err();
        assert_eq!(error.to_string(), "inputs with 33 items: want at most 32");
        assert!(received(many).action.is_err());
    }

    #[test]
    fn a_missing_action_is_refused_at_the_client_and_voted_on_at_the_participant() {
        let wire = v1::Operation {
            participant: "bank-a".into(),
            ..v1::Operation::default()
        };
        let error = AddressedOperation::try_from(wire.clone()).unwrap_err();
        assert_eq!(error.field, "action");
        let refusal = received(wire.clone()).action.unwrap_err();
        assert_eq!(refusal.reason, Reason::INVALID_ACTION);

        let untyped = v1::Operation {
            action: Some(Any::default()),
            ..wire
        };
        let error = AddressedOperation::try_from(untyped).unwrap_err();
        assert_eq!(error.field, "action.type_url");
        let unknown = v1::Operation {
            action: Some(Any::default()),
            ..v1::Operation::default()
        };
        assert_eq!(
            AddressedOperation::try_from(unknown).unwrap_err().field,
            "participant"
        );
    }

    #[test]
    fn sentences_have_a_limit() {
        let longest = "ä".repeat(limits::MESSAGE_CHARS_MAX);
        assert_eq!(sentence(longest.clone(), "reason"), Ok(longest.clone()));
        assert!(sentence(longest + "x", "reason").is_err());
        assert!(required_sentence("  ".into(), "reason").is_err());
    }
}
