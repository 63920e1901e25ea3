//! An account: what is known of it, and what has moved on it.

use minicbor::{Decode, Encode};
use nemcon_core::id::TransactionId;
use nemcon_core::time::Millis;

use crate::entries::Entries;
use crate::limits::ENTRIES_KEPT;
use crate::money::Currency;
use crate::name::{Owner, Reference};

/// The other side of an entry. Contra accounts take no lock and have no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Contra {
    /// Money that enters or leaves the system.
    #[n(1)]
    Cash,
    /// Money on its way between accounts or banks.
    #[n(2)]
    Clearing,
}

impl Contra {
    /// The contra account's name, as data keys have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cash => "cash",
            Self::Clearing => "clearing",
        }
    }
}

/// What is known of an account besides its entries. Small: a redo carries the
/// header as it will be, so that applying it needs nothing of what was before.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Header {
    /// Whose it is.
    #[n(0)]
    pub owner: Owner,
    /// What it is kept in.
    #[n(1)]
    pub currency: Currency,
    /// What is on it, in minor units.
    #[n(2)]
    pub balance_minor: i64,
    /// What the balance never goes under, in minor units; at most 0.
    #[n(3)]
    pub minimum_minor: i64,
    /// Nothing moves on it any more. Its balance is zero.
    #[n(4)]
    pub closed: bool,
}

/// A movement of a customer's money. Its other half is the same amount with the
/// other sign on the contra account.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// When the bank executed it, by its own clock.
    #[n(0)]
    pub booked_at: Millis,
    /// Minor units; positive: received.
    #[n(1)]
    pub amount_minor: i64,
    /// The balance after it, in minor units.
    #[n(2)]
    pub balance_minor: i64,
    /// The client's transaction.
    #[n(3)]
    pub transaction: TransactionId,
    /// Where the money came from or went.
    #[n(4)]
    pub contra: Contra,
    /// The customer's name for it.
    #[n(5)]
    pub reference: Option<Reference>,
}

/// Entries that are no longer kept, in one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct BroughtForward {
    /// Their sum in minor units: the balance after the last of them.
    #[n(0)]
    pub sum_minor: i64,
    /// How many they were.
    #[n(1)]
    pub count: u64,
}

/// The last [`ENTRIES_KEPT`] entries of an account, oldest first, and what went
/// before them.
///
/// Invariant: brought forward and entries add up to the account's balance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Statement {
    /// What went before.
    #[n(0)]
    pub brought_forward: BroughtForward,
    /// What is kept.
    #[n(1)]
    pub entries: Entries,
}

impl Statement {
    /// Appends an entry; the oldest goes into the brought-forward line when there
    /// are too many.
    pub fn book(&mut self, entry: &Entry) {
        while self.entries.len() >= ENTRIES_KEPT
            && let Some(oldest) = self.entries.pop_first()
        {
            // The sum is a balance the account once had, so it fits; saturating,
            // because applying what is decided must not be able to fail.
            let line = &mut self.brought_forward;
            line.sum_minor = line.sum_minor.saturating_add(oldest.amount_minor);
            line.count = line.count.saturating_add(1);
        }
        self.entries.push(entry);
    }

    /// Brought forward and entries together, in minor units: must be the balance.
    #[must_use]
    pub fn sum_minor(&self) -> i128 {
        let kept = self.entries.amounts_minor().map(i128::from);
        i128::from(self.brought_forward.sum_minor) + kept.sum::<i128>()
    }
}

/// An account with its entries; the value of one data key.
///
/// The references it has used live beside it and not in it: they are kept for
/// the account's life, and this value is rewritten with every change.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Account {
    /// What is known of it.
    #[n(0)]
    pub header: Header,
    /// What has moved on it.
    #[n(1)]
    pub statement: Statement,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_are_summed_and_the_sum_stays() {
        let mut statement = Statement::default();
        for n in 1..=250_i64 {
            statement.book(&Entry {
                booked_at: Millis(0),
                amount_minor: n,
                balance_minor: n * (n + 1) / 2,
                transaction: TransactionId::from_parts(Millis(0), 0),
                contra: Contra::Cash,
                reference: None,
            });
        }
        assert_eq!(statement.entries.len(), ENTRIES_KEPT);
        assert_eq!(statement.brought_forward.count, 150);
        assert_eq!(statement.brought_forward.sum_minor, 150 * 151 / 2);
        assert_eq!(statement.sum_minor(), 250 * 251 / 2);
        assert_eq!(statement.entries.first().map(|e| e.amount_minor), Some(151));
    }
}
