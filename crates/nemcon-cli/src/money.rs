//! Amounts as people write them, and as nemcon moves them.
//!
//! Inside, money is a whole number of minor units. At this border it is a decimal
//! with at most two places, read digit by digit: a float would turn some cents
//! into others.
//!
//! Every currency is taken to have a hundred minor units to the major one. That
//! is wrong for some (yen have none, dinars have a thousand), and the help says
//! so; what is stored is right all the same, since banks count minor units.

use std::fmt;
use std::str::FromStr;

/// Minor units to a major one, and how many digits that takes.
const MINOR_PER_MAJOR: i64 = 100;
const PLACES_MAX: usize = 2;

/// A sum of money in minor units, without its currency. May be negative: so is
/// the minimum of an account that can be overdrawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Minor(pub(crate) i64);

/// A text that is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no amount: {why}; want a decimal with at most two places, such as 25, 25.00 or .80"
)]
pub(crate) struct AmountError {
    text: String,
    why: &'static str,
}

impl FromStr for Minor {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let refused = |why| AmountError {
            text: text.to_owned(),
            why,
        };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (major, minor) = match digits.split_once('.') {
            Some((_, "")) => return Err(refused("nothing follows the point")),
            Some(parts) => parts,
            None => (digits, ""),
        };
        if major.is_empty() && minor.is_empty() {
            return Err(refused("it has no digits"));
        }
        if major.contains(',') || minor.contains(',') {
            return Err(refused("a comma has no place in it"));
        }
        if !major
            .bytes()
            .chain(minor.bytes())
            .all(|byte| byte.is_ascii_digit())
        {
            return Err(refused("there is something in it besides digits"));
        }
        if minor.len() > PLACES_MAX {
            return Err(refused("it has more than two places"));
        }
        magnitude(major, minor)
            .and_then(|minor| {
                if negative {
                    minor.checked_neg()
                } else {
                    Some(minor)
                }
            })
            .map(Self)
            .ok_or_else(|| refused("it is larger than any account can hold"))
    }
}

/// Digits before and after the point, as minor units; `None` if they do not fit.
fn magnitude(major: &str, minor: &str) -> Option<i64> {
    let padded = format!("{minor:0<PLACES_MAX$}");
    let places = major.bytes().chain(padded.bytes());
    places
        .map(|digit| i64::from(digit - b'0'))
        .try_fold(0_i64, |sum, digit| sum.checked_mul(10)?.checked_add(digit))
}

/// An amount to move: the same, but more than nothing. For the command line,
/// where saying so at once is better than a bank's no.
pub(crate) fn positive(text: &str) -> Result<Minor, String> {
    match text.parse::<Minor>() {
        Ok(Minor(minor)) if minor <= 0 => Err(format!("{text:?} is not more than 0.00")),
        Ok(amount) => Ok(amount),
        Err(error) => Err(error.to_string()),
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        // Not `abs`: the lowest number has none.
        let minor = self.0.unsigned_abs();
        let scale = MINOR_PER_MAJOR.unsigned_abs();
        f.pad(&format!("{sign}{}.{:02}", minor / scale, minor % scale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_to_the_cent() {
        for (text, minor) in [
            ("25", 2_500),
            ("25.00", 2_500),
            ("25.5", 2_550),
            (".80", 80),
            (".8", 80),
            ("0.07", 7),
            ("0", 0),
            ("-50.00", -5_000),
            ("-.01", -1),
            ("007", 700),
            // No float holds this one.
            ("92233720368547758.07", i64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Minor(minor)), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_named_with_the_reason() {
        for (text, why) in [
            ("", "no digits"),
            ("-", "no digits"),
            (".", "nothing follows the point"),
            ("25.", "nothing follows the point"),
            ("1.234", "more than two places"),
            ("1,50", "a comma has no place"),
            ("1.5,0", "a comma has no place"),
            ("1.2.3", "besides digits"),
            ("--5", "besides digits"),
            ("+5", "besides digits"),
            ("5 CZK", "besides digits"),
            ("1e3", "besides digits"),
            ("٣", "besides digits"),
            ("92233720368547758.08", "larger than any account"),
            ("99999999999999999999999", "larger than any account"),
        ] {
            let error = text.parse::<Minor>().unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn amounts_to_move_are_more_than_nothing() {
        assert_eq!(positive("0.01"), Ok(Minor(1)));
        for bad in ["0", "0.00", "-1"] {
            assert!(positive(bad).unwrap_err().contains("not more than 0.00"));
        }
        assert!(positive("x").is_err());
    }

    #[test]
    fn amounts_are_shown_with_two_places() {
        for (minor, shown) in [
            (0, "0.00"),
            (7, "0.07"),
            (-7, "-0.07"),
            (212_289_936, "2122899.36"),
            (i64::MIN, "-92233720368547758.08"),
        ] {
            assert_eq!(Minor(minor).to_string(), shown);
        }
        assert_eq!(format!("{:>6}", Minor(80)), "  0.80");
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for minor in [0, 1, -1, 99, 100, -12_345, i64::MAX] {
            assert_eq!(Minor(minor).to_string().parse(), Ok(Minor(minor)));
        }
    }
}
