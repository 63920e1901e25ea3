//! Whether the money is all there.

use serde::Serialize;

/// The sum of all accounts before and after, in cents, and what the transactions
/// should have made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Books {
    /// Before the first transaction.
    pub initial_minor: i128,
    /// What the committed ones have changed it by.
    pub moved_low_minor: i128,
    /// The same: at most. Differs only where the outcome of some is not known.
    pub moved_high_minor: i128,
    /// After the last.
    pub found_minor: i128,
    /// Transactions whose outcome is not known.
    pub unknown: u64,
    /// Whether what was found is what should be there.
    pub add_up: bool,
}

impl Books {
    /// Judges.
    #[must_use]
    pub fn new(
        initial: i128,
        moved_low: i128,
        moved_high: i128,
        found: i128,
        unknown: u64,
    ) -> Self {
        Self {
            initial_minor: initial,
            moved_low_minor: moved_low,
            moved_high_minor: moved_high,
            found_minor: found,
            unknown,
            add_up: (initial + moved_low..=initial + moved_high).contains(&found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cent_too_much_or_too_little_is_found() {
        for (found, add_up) in [(629, false), (630, true), (631, false)] {
            assert_eq!(Books::new(1_000, -370, -370, found, 0).add_up, add_up);
        }
        // One check whose outcome is not known, nor whether it was fined.
        for (found, add_up) in [
            (399, false),
            (400, true),
            (500, true),
            (1_000, true),
            (1_001, false),
        ] {
            assert_eq!(
                Books::new(1_000, -600, 0, found, 1).add_up,
                add_up,
                "{found}"
            );
        }
    }
}
