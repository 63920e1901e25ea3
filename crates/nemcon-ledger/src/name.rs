//! Texts the books are written with: names of accounts and owners, references.
//!
//! Each is checked when it is made, also when it is read from the log, and cheap
//! to clone: one action puts the same name into its redo, its result and its
//! locks.

use alloc::string::ToString;
use alloc::sync::Arc;
use core::fmt;
use core::str::FromStr;

use minicbor::decode::{Decoder, Error};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use crate::invalid::{Invalid, echo};
use crate::limits;

macro_rules! text {
    ($(#[$meta:meta])* $name:ident, $invalid:path, $is_legal:path) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a text.
            ///
            /// # Errors
            /// [`Invalid`] where it breaks the rule above.
            pub fn new(text: &str) -> Result<Self, Invalid> {
                if $is_legal(text) { Ok(Self(text.into())) } else { Err($invalid(echo(text))) }
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, Error> {
                Self::new(d.str()?).map_err(|invalid| Error::message(invalid.to_string()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

text! {
    /// The name of an account, unique within its bank and for ever.
    ///
    /// 1 to 64 characters of `A–Z a–z 0–9 . _ : -`, the first a letter or a digit.
    /// The absence of `/` is what makes data keys unambiguous.
    AccountName, Invalid::AccountName, is_account_name
}

text! {
    /// Whom an account belongs to: at most 200 characters, possibly none.
    ///
    /// Control characters are refused, so that a name cannot write on the terminal
    /// of the operator who lists it.
    Owner, Invalid::Owner, is_owner
}

text! {
    /// The customer's own name for a movement, unique on its account for the
    /// account's life: what makes "pay this order" safe to ask twice.
    ///
    /// 1 to 64 printable ASCII characters.
    Reference, Invalid::Reference, is_reference
}

fn is_account_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
    text.len() <= limits::ACCOUNT_NAME_CHARS_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(legal)
}

fn is_owner(text: &str) -> bool {
    text.chars().count() <= limits::OWNER_CHARS_MAX && !text.chars().any(char::is_control)
}

fn is_reference(text: &str) -> bool {
    (1..=limits::REFERENCE_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_names_are_checked() {
        for good in ["alice", "9", "CZ65:0800-1_2.x", &"x".repeat(64)] {
            assert!(AccountName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ":a", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert!(AccountName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn owners_and_references_are_checked() {
        assert!(Owner::new("").is_ok());
        assert!(Owner::new(&"ž".repeat(200)).is_ok());
        assert!(Owner::new(&"ž".repeat(201)).is_err());
        assert!(Owner::new("red \x1b[31m").is_err());
        for good in ["29401", "order 7/2 ~", &"x".repeat(64)] {
            assert!(Reference::new(good).is_ok(), "{good}");
        }
        for bad in ["", "ž", "\t", &"x".repeat(65)] {
            assert!(Reference::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_says_what_was_given_and_what_is_wanted_however_long() {
        let error = AccountName::new("a b").unwrap_err().to_string();
        assert_eq!(
            error,
            "account name \"a b\": want 1 to 64 characters of A-Z a-z 0-9 . _ : -, \
             the first a letter or a digit"
        );
        let long = AccountName::new(&"ž".repeat(5_000))
            .unwrap_err()
            .to_string();
        assert!(
            long.ends_with("a letter or a digit") && long.contains('…'),
            "{long}"
        );
    }
}
