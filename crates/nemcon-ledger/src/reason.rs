//! Why a bank says no: the words for programs. The sentences for people are made
//! where the no is, and name the account, its figures and what is allowed.
//!
//! None of them is marked retryable. The same operations may succeed on another
//! day (someone pays in), but nothing the protocol can do brings that day nearer.

use nemcon_core::reason::Reason;

macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        $($(#[$meta])* pub const $name: Reason = Reason::business(stringify!($name));)*

        /// All reasons of a bank's business; `docs/errors.md` has a heading for
        /// each.
        pub const ALL: &[Reason] = &[$($name),*];
    };
}

reasons! {
    /// The withdrawal would bring the balance under the account's minimum.
    INSUFFICIENT_FUNDS,
    /// The account is kept in another currency.
    CURRENCY_MISMATCH,
    /// No account of that name was ever opened at this bank.
    UNKNOWN_ACCOUNT,
    /// The account is closed: nothing moves on it any more, and it is not closed
    /// again. It can still be read.
    ACCOUNT_CLOSED,
    /// The name is taken. A closed account keeps its name, since its references
    /// live on under it: nobody opens it again.
    ACCOUNT_EXISTS,
    /// The reference was used on this account before. The message names the
    /// transaction that used it: what the caller wants is already done.
    DUPLICATE_REFERENCE,
    /// An amount of zero or less. Direction is chosen by the action, not by sign.
    AMOUNT_NOT_POSITIVE,
    /// The sum does not fit into 64 bits.
    BALANCE_OVERFLOW,
    /// Only an account with a balance of zero can be closed.
    BALANCE_NOT_ZERO,
    /// The text is no account's name.
    INVALID_ACCOUNT,
    /// The text is no owner's name.
    INVALID_OWNER,
    /// The text is no currency's code.
    INVALID_CURRENCY,
    /// The text is no reference.
    INVALID_REFERENCE,
    /// A minimum balance above zero: an empty account could not exist.
    INVALID_MINIMUM_BALANCE,
    /// An opening balance under the account's own minimum.
    INVALID_OPENING_BALANCE,
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn reasons_are_distinct_travel_unchanged_and_are_not_the_protocols() {
        let words: BTreeSet<&str> = ALL.iter().map(Reason::as_str).collect();
        assert_eq!(words.len(), ALL.len());
        for reason in ALL {
            assert_eq!(&Reason::from_wire(reason.as_str()), reason);
            assert!(!Reason::ALL.contains(reason), "{reason}");
        }
    }
}
