//! Messages as JSON, the way grpcurl reads and writes them.
//!
//! The descriptors of all messages are in the binary, so that a
//! `google.protobuf.Any` is written out with its `@type` instead of as bytes.
//! Types of participants other than the bank are known only from a descriptor set
//! that somebody names: otherwise they are refused by name as input, and shown as
//! bytes in results.

use std::path::{Path, PathBuf};

use nemcon_core::message::Payload;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::{Value, json};

use crate::out::say;

/// What can go wrong between a message and its JSON.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonError {
    /// The text is no JSON, or not of this message.
    #[error("not the JSON of a {message}: {source}")]
    Unreadable {
        /// The message it should have been.
        message: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The message cannot be written.
    #[error("a {message} cannot be written as JSON: {why}")]
    Unwritable {
        /// The message.
        message: String,
        /// Why not.
        why: String,
    },
    /// A file of descriptors cannot be used.
    #[error("no descriptor set can be read from {}: {why}", path.display())]
    Descriptors {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The binary does not hold what it should: a bug.
    #[error("the descriptors in this binary lack {0}: a bug")]
    NoDescriptor(String),
}

/// Everything this binary knows of messages.
pub(crate) struct Types(DescriptorPool);

impl Types {
    /// Reads the descriptors that were compiled in.
    pub(crate) fn new() -> Result<Self, JsonError> {
        DescriptorPool::decode(nemcon_proto::DESCRIPTORS)
            .map(Self)
            .map_err(|error| JsonError::NoDescriptor(error.to_string()))
    }

    /// The same, and what a descriptor set in a file adds, as `protoc
    /// --include_imports --descriptor_set_out` writes it.
    pub(crate) fn with(path: &Path) -> Result<Self, JsonError> {
        let Self(mut pool) = Self::new()?;
        let unusable = |why: String| JsonError::Descriptors {
            path: path.to_owned(),
            why,
        };
        let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        pool.decode_file_descriptor_set(bytes.as_slice())
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self(pool))
    }

    /// A message by its full name.
    fn descriptor(&self, name: &str) -> Result<MessageDescriptor, JsonError> {
        self.0
            .get_message_by_name(name)
            .ok_or_else(|| JsonError::NoDescriptor(name.to_owned()))
    }

    /// Reads one message. Field names are taken in both spellings
    /// (`amountMinor`, `amount_minor`); what is no field is refused, since a
    /// misspelt one would otherwise be a transaction of another meaning.
    pub(crate) fn read<M: Message + Name + Default>(&self, text: &str) -> Result<M, JsonError> {
        let unreadable = |source| JsonError::Unreadable {
            message: M::full_name(),
            source,
        };
        let mut reader = serde_json::Deserializer::from_str(text);
        let message = DynamicMessage::deserialize(self.descriptor(&M::full_name())?, &mut reader)
            .map_err(unreadable)?;
        reader.end().map_err(unreadable)?;
        message
            .transcode_to()
            .map_err(|error| JsonError::NoDescriptor(error.to_string()))
    }

    /// Writes one message.
    pub(crate) fn write<M: Message + Name>(&self, message: &M) -> Result<Value, JsonError> {
        self.write_bytes(&M::full_name(), &message.encode_to_vec())
    }

    /// Writes the result of an operation, with its `@type`. One of an unknown
    /// type is shown as hexadecimal `bytes`.
    pub(crate) fn write_result(&self, payload: &Payload) -> Value {
        let name = payload.type_url.rsplit('/').next().unwrap_or_default();
        match self.write_bytes(name, &payload.value) {
            Ok(Value::Object(mut fields)) => {
                fields.insert("@type".into(), payload.type_url.clone().into());
                Value::Object(fields)
            }
            Ok(other) => json!({ "@type": payload.type_url, "value": other }),
            Err(_) => json!({ "@type": payload.type_url, "bytes": hex(&payload.value) }),
        }
    }

    /// Writes a message that is still encoded.
    fn write_bytes(&self, name: &str, bytes: &[u8]) -> Result<Value, JsonError> {
        let unwritable = |why: String| JsonError::Unwritable {
            message: name.to_owned(),
            why,
        };
        let message = DynamicMessage::decode(self.descriptor(name)?, bytes)
            .map_err(|error| unwritable(error.to_string()))?;
        serde_json::to_value(&message).map_err(|error| unwritable(error.to_string()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Prints a value for programs that read it and people who look over their
/// shoulder.
pub(crate) fn print(value: &Value) {
    // The alternate form of a value is its indented JSON.
    say!("{value:#}");
}

#[cfg(test)]
mod tests {
    use nemcon_proto::bank::v1::{Account, Withdraw};
    use nemcon_proto::v1::{RunTransactionRequest, RunTransactionResponse};

    use super::*;

    const TRANSFER: &str = r#"{
        "operations": [{
            "participant": "bank-a",
            "action": {
                "@type": "type.googleapis.com/nemcon.bank.v1.Withdraw",
                "account": "alice", "amountMinor": 2500, "currency": "CZK"
            }
        }],
        "timeoutMs": 500
    }"#;

    fn read(text: &str) -> Result<RunTransactionRequest, String> {
        Types::new()
            .unwrap()
            .read(text)
            .map_err(|error| error.to_string())
    }

    fn withdrawal() -> Withdraw {
        Withdraw {
            account: "alice".into(),
            amount_minor: 2_500,
            currency: "CZK".into(),
            ..Withdraw::default()
        }
    }

    #[test]
    fn actions_are_read_by_their_type() {
        let request = read(TRANSFER).unwrap();
        assert_eq!(request.timeout_ms, 500);
        let action = request.operations[0].action.as_ref().unwrap();
        assert_eq!(
            action.type_url,
            "type.googleapis.com/nemcon.bank.v1.Withdraw"
        );
        assert_eq!(Withdraw::decode(action.value.as_slice()), Ok(withdrawal()));
    }

    #[test]
    fn what_grpcurl_would_write_is_read_the_same() {
        let spelt = TRANSFER.replace("amountMinor\": 2500", "amount_minor\": \"2500\"");
        assert_eq!(read(&spelt), read(TRANSFER));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("", "EOF"),
            ("[]", "invalid type"),
            ("{\"operation\": []}", "operation"),
            ("{} {}", "trailing"),
            (&TRANSFER.replace("nemcon.bank.v1.Withdraw", "x.Y"), "x.Y"),
            (&TRANSFER.replace("amountMinor", "ammount"), "ammount"),
            (&TRANSFER.replace("2500", "25.5"), "expected integer"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.contains("nemcon.v1.RunTransactionRequest"), "{error}");
        }
    }

    #[test]
    fn results_are_written_with_their_type() {
        let types = Types::new().unwrap();
        let account = Account {
            account: "alice".into(),
            balance_minor: 7_500,
            ..Account::default()
        };
        let payload = Payload {
            type_url: Account::type_url(),
            value: account.encode_to_vec(),
        };
        let expected = json!({
            "@type": "type.googleapis.com/nemcon.bank.v1.Account",
            "account": "alice",
            // 64-bit numbers are texts in the JSON of protobuf.
            "balanceMinor": "7500",
        });
        assert_eq!(types.write_result(&payload), expected);
        let foreign = Payload {
            type_url: "type.googleapis.com/x.Y".into(),
            value: vec![0, 255],
        };
        assert_eq!(types.write_result(&foreign)["bytes"], "00ff");
    }

    #[test]
    fn messages_are_written() {
        let response = RunTransactionResponse {
            transaction_id: "t".into(),
            outcome: 1,
            ..RunTransactionResponse::default()
        };
        let written = Types::new().unwrap().write(&response).unwrap();
        assert_eq!(
            written,
            json!({ "transactionId": "t", "outcome": "OUTCOME_COMMITTED" })
        );
    }
}
