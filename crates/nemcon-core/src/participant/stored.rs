//! Keys of the stored data: the resource's, and the participant's own among them.
//!
//! A key of our own begins with one byte of 0xff, which begins no text; a key of the
//! resource's that begins so too is given another in front.

use alloc::vec::Vec;

/// What sets our own keys apart.
const OWN: u8 = 0xff;

/// The stored key of a key of the resource's.
pub(super) fn key(mut resource: Vec<u8>) -> Vec<u8> {
    if resource.first() == Some(&OWN) {
        resource.insert(0, OWN);
    }
    resource
}

/// The key of the resource's that a stored key is, if it is one.
pub(super) fn resource_key(stored: &[u8]) -> Option<&[u8]> {
    match stored {
        [OWN, OWN, ..] => stored.get(1..),
        [OWN, ..] => None,
        stored => Some(stored),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_of_the_resource_is_taken_for_one_of_ours() {
        for resource in [
            &b""[..],
            b"a/alice",
            b"\xff",
            b"\xffalone/0001",
            b"\xff\xff",
        ] {
            let stored = key(resource.to_vec());
            assert_eq!(resource_key(&stored), Some(resource));
        }
        assert_eq!(resource_key(b"\xffalone/0001"), None);
    }
}
