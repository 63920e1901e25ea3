//! Fingerprints: of a transaction's operations, of a saga's definition.

use nemcon_core::codec::Codec;
use nemcon_core::coordinator::event::AddressedOperation;
use nemcon_core::message::OperationsHash;
use nemcon_core::saga::Definition;
use sha2::{Digest, Sha256};

/// SHA-256 over the operations in their order. Every part is preceded by its
/// length, so that no two lists of operations run together into the same bytes.
/// The bytes are compared, not what they mean: a client that sends a request
/// again sends the same bytes.
pub(crate) fn operations(operations: &[AddressedOperation]) -> OperationsHash {
    let mut sha = Sha256::new();
    let mut part = |bytes: &[u8]| {
        sha.update((bytes.len() as u64).to_be_bytes());
        sha.update(bytes);
    };
    for (participant, operation) in operations {
        part(participant.as_str().as_bytes());
        part(&[u8::from(operation.read_only)]);
        match &operation.action {
            Ok(action) => {
                part(action.type_url.as_bytes());
                part(&action.value);
            }
            // The border has refused it; a request of a client cannot hold one.
            Err(refusal) => part(refusal.reason.as_str().as_bytes()),
        }
        // Not counted where there are none: the hashes of what ran before there were
        // inputs are in logs, and must stay. No name of a participant begins with a
        // zero byte, so a count is not taken for the next operation.
        if !operation.inputs.is_empty() {
            part(&(operation.inputs.len() as u64).to_be_bytes());
        }
        for input in &operation.inputs {
            part(input.type_url.as_bytes());
            part(&input.value);
        }
    }
    OperationsHash(sha.finalize().into())
}

/// SHA-256 over the definition as the log has it: with every default filled in, so
/// that whoever says aloud what holds anyway asks for the same saga.
pub(crate) fn saga(definition: &Definition) -> OperationsHash {
    OperationsHash(Sha256::digest(definition.to_bytes()).into())
}

#[cfg(test)]
mod tests {
    use nemcon_core::id::ParticipantName;
    use nemcon_core::message::{Operation, Payload};

    use super::*;

    fn operation(to: &str, type_url: &str, value: &[u8], read_only: bool) -> AddressedOperation {
        let action = Ok(Payload {
            type_url: type_url.into(),
            value: value.into(),
        });
        (
            ParticipantName::new(to).unwrap(),
            Operation {
                action,
                read_only,
                inputs: Vec::new(),
            },
        )
    }

    #[test]
    fn every_part_counts_and_parts_do_not_run_together() {
        let one = |to, type_url, value, read_only| {
            operations(&[operation(to, type_url, value, read_only)])
        };
        let base = one("a", "t", b"v", false);
        assert_eq!(base, one("a", "t", b"v", false));
        let others = [
            one("b", "t", b"v", false),
            one("a", "u", b"v", false),
            one("a", "t", b"w", false),
            one("a", "t", b"v", true),
            one("a", "tv", b"", false),
            operations(&[]),
            operations(&[
                operation("a", "t", b"v", false),
                operation("a", "t", b"v", false),
            ]),
        ];
        for other in others {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn inputs_count_and_are_told_from_what_follows() {
        let with = |inputs: &[&[u8]], rest: &[AddressedOperation]| {
            let mut first = operation("a", "t", b"v", false);
            first.1.inputs = inputs
                .iter()
                .map(|value| Payload {
                    type_url: "r".into(),
                    value: value.to_vec(),
                })
                .collect();
            let all: Vec<AddressedOperation> = [&[first], rest].concat();
            operations(&all)
        };
        let hashes = [
            with(&[], &[]),
            with(&[b"1"], &[]),
            with(&[b"2"], &[]),
            with(&[b"1", b"2"], &[]),
            with(&[b"2", b"1"], &[]),
            with(&[b"1"], &[operation("a", "t", b"v", false)]),
        ];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash), "{at}");
        }
    }

    #[test]
    fn the_order_of_operations_counts() {
        let (a, b) = (
            operation("a", "t", b"1", false),
            operation("b", "t", b"2", false),
        );
        assert_ne!(operations(&[a.clone(), b.clone()]), operations(&[b, a]));
    }
}
