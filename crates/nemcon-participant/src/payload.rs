//! Protobuf messages in payloads: what a border has to do with any message.

use nemcon_core::message::Payload;
use nemcon_core::reason::Refusal;
use nemcon_proto::convert::WireError;
use prost::{Message, Name};

use crate::decode::invalid_action;

/// The name of the payload's type within a package; `None` if it is of another.
///
/// As `Any` has it, only what follows the last slash names the type. The part
/// before it says where a description could be had.
#[must_use]
pub fn short_name<'a>(payload: &'a Payload, package: &str) -> Option<&'a str> {
    let full_name = payload.type_url.rsplit('/').next()?;
    full_name.strip_prefix(package)?.strip_prefix('.')
}

/// Reads the message in a payload. What a later version of the protos adds to a
/// message is ignored, as protobuf has it.
///
/// # Errors
/// `INVALID_ACTION` for a message of another type, and for bytes that are none.
pub fn unpack<M: Message + Name + Default>(payload: &Payload) -> Result<M, Refusal> {
    if short_name(payload, M::PACKAGE) != Some(M::NAME) {
        let error = WireError::text("type", &payload.type_url, M::full_name());
        return Err(invalid_action(error.to_string()));
    }
    M::decode(&*payload.value).map_err(|error| {
        let (type_name, len) = (M::full_name(), payload.value.len());
        invalid_action(format!(
            "{len} bytes that are no {type_name} ({error}): want the message as protobuf encodes it"
        ))
    })
}

/// A message as a payload.
pub fn pack<M: Message + Name>(message: &M) -> Payload {
    Payload {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

/// The refusal of a type that is not taken. Lists what would have been right
/// (`types`, separated by commas), since whoever reads this has most likely
/// misspelt it.
#[must_use]
pub fn unknown_type(payload: &Payload, package: &str, types: &str) -> Refusal {
    let allowed = format!("{package}.X, where X is one of {types}");
    invalid_action(WireError::text("action type", &payload.type_url, allowed).to_string())
}
