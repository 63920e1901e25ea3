//! Money: whole minor units (cents) of a currency, never a fraction of one.

use alloc::string::ToString;
use core::fmt;
use core::str::FromStr;

use minicbor::decode::{Decoder, Error};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use crate::invalid::{Invalid, echo};

/// A currency: an ISO 4217 code of three letters A–Z. Whether ISO has given the
/// code out is not checked; that list changes, and a ledger outlives its edition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Checks and takes a code.
    ///
    /// # Errors
    /// [`Invalid::Currency`] for anything but three letters A–Z.
    pub fn new(code: &str) -> Result<Self, Invalid> {
        match <[u8; 3]>::try_from(code.as_bytes()) {
            Ok(letters) if letters.iter().all(u8::is_ascii_uppercase) => Ok(Self(letters)),
            _ => Err(Invalid::Currency(echo(code))),
        }
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Three ASCII letters are always text; the other arm is for the compiler.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = Invalid;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        Self::new(code)
    }
}

impl<C> Encode<C> for Currency {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.str(self.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Currency {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, Error> {
        Self::new(d.str()?).map_err(|invalid| Error::message(invalid.to_string()))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount to move: 1 to `i64::MAX` minor units of a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    minor: i64,
    currency: Currency,
}

impl Amount {
    /// Checks and takes an amount.
    ///
    /// # Errors
    /// [`Invalid::Amount`] for zero or less.
    pub const fn new(minor: i64, currency: Currency) -> Result<Self, Invalid> {
        if minor > 0 {
            Ok(Self { minor, currency })
        } else {
            Err(Invalid::Amount {
                amount_minor: minor,
                currency,
            })
        }
    }

    /// Minor units, at least 1; so its negative fits as well.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// Of what.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }
}

/// What an account starts with and what it must not go under. The minimum is at
/// most zero, and the start is not under it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpeningBalance {
    balance_minor: i64,
    minimum_minor: i64,
}

impl OpeningBalance {
    /// Checks and takes both, in minor units.
    ///
    /// # Errors
    /// [`Invalid::MinimumBalance`] for a minimum above zero,
    /// [`Invalid::OpeningBalance`] for a start under the minimum.
    pub const fn new(balance_minor: i64, minimum_minor: i64) -> Result<Self, Invalid> {
        if minimum_minor > 0 {
            Err(Invalid::MinimumBalance(minimum_minor))
        } else if balance_minor < minimum_minor {
            Err(Invalid::OpeningBalance {
                balance_minor,
                minimum_minor,
            })
        } else {
            Ok(Self {
                balance_minor,
                minimum_minor,
            })
        }
    }

    /// What the account starts with. May be negative where the minimum is: an
    /// account taken over from elsewhere with its overdraft.
    #[must_use]
    pub const fn balance_minor(self) -> i64 {
        self.balance_minor
    }

    /// What it must not go under.
    #[must_use]
    pub const fn minimum_minor(self) -> i64 {
        self.minimum_minor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn currencies_are_three_capitals() {
        assert_eq!(
            Currency::new("CZK").map(|c| c.to_string()),
            Ok("CZK".to_string())
        );
        for bad in ["", "czk", "CZ", "CZKK", "C1K", "Č1"] {
            assert!(Currency::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_are_positive() {
        let czk = Currency::new("CZK").unwrap();
        assert_eq!(Amount::new(i64::MAX, czk).map(Amount::minor), Ok(i64::MAX));
        for bad in [0, -1, i64::MIN] {
            let error = Invalid::Amount {
                amount_minor: bad,
                currency: czk,
            };
            assert_eq!(Amount::new(bad, czk), Err(error));
        }
    }

    #[test]
    fn an_account_starts_at_or_above_a_minimum_that_is_not_positive() {
        assert!(OpeningBalance::new(0, 0).is_ok());
        assert!(OpeningBalance::new(-100, -100).is_ok());
        assert!(OpeningBalance::new(i64::MIN, i64::MIN).is_ok());
        assert_eq!(OpeningBalance::new(5, 1), Err(Invalid::MinimumBalance(1)));
        let under = Invalid::OpeningBalance {
            balance_minor: -101,
            minimum_minor: -100,
        };
        assert_eq!(OpeningBalance::new(-101, -100), Err(under));
    }
}
