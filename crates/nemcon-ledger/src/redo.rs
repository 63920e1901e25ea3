//! What a transaction will change in the books.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use nemcon_core::id::TransactionId;

use crate::account::{Contra, Entry, Header};
use crate::money::Currency;
use crate::name::{AccountName, Reference};

/// The accumulated effects of one transaction's actions at this bank.
///
/// It holds what is new and nothing else: for each account its header as it will
/// be, and the entries to append. References and contra totals are not in it:
/// both follow from the entries, so they can never disagree with them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Redo {
    #[n(0)]
    changes: BTreeMap<AccountName, Change>,
}

/// What will change about one account.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Change {
    /// The account as it will be.
    #[n(0)]
    pub header: Header,
    /// What will have moved on it.
    #[n(1)]
    pub entries: Vec<Entry>,
}

impl Redo {
    /// Whether nothing will change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What will change, by account.
    pub fn changes(&self) -> impl Iterator<Item = (&AccountName, &Change)> {
        self.changes.iter()
    }

    /// What will change about one account.
    #[must_use]
    pub fn change(&self, name: &AccountName) -> Option<&Change> {
        self.changes.get(name)
    }

    /// Changes to come about accounts whose names lie in a range.
    pub(crate) fn range(
        &self,
        range: impl core::ops::RangeBounds<AccountName>,
    ) -> btree_map::Range<'_, AccountName, Change> {
        self.changes.range(range)
    }

    /// Sets an account's header, and appends the entry that made it so.
    pub(crate) fn set(&mut self, name: &AccountName, header: Header, entry: Option<Entry>) {
        let change = match self.changes.entry(name.clone()) {
            btree_map::Entry::Occupied(slot) => {
                let change = slot.into_mut();
                change.header = header;
                change
            }
            btree_map::Entry::Vacant(slot) => slot.insert(Change {
                header,
                entries: Vec::new(),
            }),
        };
        change.entries.extend(entry);
    }

    /// Who used the reference on the account within this redo. Looks at each of
    /// its entries there: few, as a transaction's operations are limited.
    pub(crate) fn user_of(
        &self,
        name: &AccountName,
        reference: &Reference,
    ) -> Option<TransactionId> {
        let entries = &self.changes.get(name)?.entries;
        let entry = entries
            .iter()
            .find(|entry| entry.reference.as_ref() == Some(reference))?;
        Some(entry.transaction)
    }

    /// What will be added to each contra total, in minor units: the other half of
    /// every entry. Totals that stay as they are (a transfer within the bank) are
    /// left out, so that they are not written back for nothing.
    #[must_use]
    pub fn contras(&self) -> BTreeMap<(Currency, Contra), i128> {
        let mut totals = BTreeMap::new();
        for change in self.changes.values() {
            for entry in &change.entries {
                let total: &mut i128 = totals
                    .entry((change.header.currency, entry.contra))
                    .or_default();
                *total -= i128::from(entry.amount_minor);
            }
        }
        totals.retain(|_, total| *total != 0);
        totals
    }
}
