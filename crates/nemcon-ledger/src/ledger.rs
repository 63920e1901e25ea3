//! The books themselves, and how they look with a transaction on top.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::iter;
use core::ops::Bound;

use nemcon_core::id::TransactionId;
use nemcon_core::reason::Refusal;

use crate::account::{Account, Contra, Header, Statement};
use crate::money::Currency;
use crate::name::{AccountName, Reference};
use crate::redo::Redo;
use crate::refusal;

/// All books of one bank.
///
/// Invariants (checked by [`crate::conservation::books_balance`]):
/// - per currency, customers + cash + clearing = 0;
/// - a balance is what its entries add up to, and not under its minimum;
/// - a closed account is empty;
/// - every entry's reference is remembered with the entry's transaction.
///
/// It is read through the functions here and written only through
/// [`Resource::apply`](nemcon_core::resource::Resource::apply) and `load`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Boxed: a tree that is filled in order is little more than half full, and
    /// nearly all of a bank's memory is this.
    pub(crate) accounts: BTreeMap<AccountName, Box<Account>>,
    /// Beside the accounts, not inside: stored values arrive in any order, and a
    /// reference may have been written back before its account was.
    pub(crate) references: BTreeMap<AccountName, BTreeMap<Reference, TransactionId>>,
    /// Wide enough for 2^64 movements of the greatest amount.
    pub(crate) contras: BTreeMap<(Currency, Contra), i128>,
}

/// The sums of one currency, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// All customers' accounts.
    pub customers_minor: i128,
    /// Money that came into the system here, negative.
    pub cash_minor: i128,
    /// Money that went to other banks from here.
    pub clearing_minor: i128,
}

impl Sums {
    /// All three together; zero when the books balance.
    #[must_use]
    pub const fn difference_minor(&self) -> i128 {
        // Wrapping, since a checker must be able to look at anything.
        self.customers_minor
            .wrapping_add(self.cash_minor)
            .wrapping_add(self.clearing_minor)
    }
}

impl Ledger {
    /// Books without accounts.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            accounts: BTreeMap::new(),
            references: BTreeMap::new(),
            contras: BTreeMap::new(),
        }
    }

    /// An account.
    #[must_use]
    pub fn account(&self, name: &AccountName) -> Option<&Account> {
        self.accounts.get(name).map(AsRef::as_ref)
    }

    /// All accounts in the order of their names, closed ones too.
    pub fn accounts(&self) -> impl ExactSizeIterator<Item = (&AccountName, &Account)> {
        let accounts = self.accounts.iter();
        accounts.map(|(name, account)| (name, &**account))
    }

    /// Which transaction used a reference on an account.
    #[must_use]
    pub fn user_of(&self, name: &AccountName, reference: &Reference) -> Option<TransactionId> {
        self.references.get(name)?.get(reference).copied()
    }

    /// A contra total in minor units.
    #[must_use]
    pub fn contra_minor(&self, currency: Currency, contra: Contra) -> i128 {
        self.contras
            .get(&(currency, contra))
            .copied()
            .unwrap_or_default()
    }

    /// The sums of all currencies, added up account by account.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<Currency, Sums> {
        self.with(&Redo::default()).totals()
    }

    /// The books as a transaction sees them.
    pub(crate) const fn with<'a>(&'a self, redo: &'a Redo) -> View<'a> {
        View { ledger: self, redo }
    }
}

/// The books with one transaction's own writes on top.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    ledger: &'a Ledger,
    redo: &'a Redo,
}

impl<'a> View<'a> {
    /// The header of an account, if there is such an account.
    pub(crate) fn find(self, name: &AccountName) -> Option<&'a Header> {
        match self.redo.change(name) {
            Some(change) => Some(&change.header),
            None => self
                .ledger
                .accounts
                .get(name)
                .map(|account| &account.header),
        }
    }

    /// The header of an account that must exist.
    pub(crate) fn header(self, name: &AccountName) -> Result<&'a Header, Refusal> {
        self.find(name)
            .ok_or_else(|| refusal::unknown_account(name))
    }

    /// Which transaction used a reference on an account.
    pub(crate) fn user_of(
        self,
        name: &AccountName,
        reference: &Reference,
    ) -> Option<TransactionId> {
        let committed = self.ledger.user_of(name, reference);
        committed.or_else(|| self.redo.user_of(name, reference))
    }

    /// The entries of an account that must exist.
    pub(crate) fn statement(self, name: &AccountName) -> Result<Statement, Refusal> {
        self.header(name)?;
        let committed = self.ledger.accounts.get(name);
        let mut statement = committed
            .map(|account| account.statement.clone())
            .unwrap_or_default();
        for entry in self
            .redo
            .change(name)
            .into_iter()
            .flat_map(|change| &change.entries)
        {
            statement.book(entry);
        }
        Ok(statement)
    }

    /// Accounts in the order of their names: both sides merged, the redo's header
    /// where both have one.
    pub(crate) fn headers_after(
        self,
        after: Option<&AccountName>,
    ) -> impl Iterator<Item = (&'a AccountName, &'a Header)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (from.cloned(), Bound::Unbounded);
        let committed = self.ledger.accounts.range(range.clone());
        let mut committed = committed
            .map(|(name, account)| (name, &account.header))
            .peekable();
        let own = self.redo.range(range);
        let mut own = own.map(|(name, change)| (name, &change.header)).peekable();
        iter::from_fn(move || match (committed.peek(), own.peek()) {
            (Some((theirs, _)), Some((ours, _))) if theirs < ours => committed.next(),
            (Some((theirs, _)), Some((ours, _))) => {
                if theirs == ours {
                    committed.next();
                }
                own.next()
            }
            (Some(_), None) => committed.next(),
            (None, _) => own.next(),
        })
    }

    /// The sums of every currency that has an account or a contra total.
    pub(crate) fn totals(self) -> BTreeMap<Currency, Sums> {
        let mut totals: BTreeMap<Currency, Sums> = BTreeMap::new();
        for (_, header) in self.headers_after(None) {
            let sums = totals.entry(header.currency).or_default();
            sums.customers_minor += i128::from(header.balance_minor);
        }
        let committed = self
            .ledger
            .contras
            .iter()
            .map(|(key, total)| (*key, *total));
        for ((currency, contra), total) in committed.chain(self.redo.contras()) {
            let sums = totals.entry(currency).or_default();
            let sum = match contra {
                Contra::Cash => &mut sums.cash_minor,
                Contra::Clearing => &mut sums.clearing_minor,
            };
            *sum = sum.saturating_add(total);
        }
        totals
    }

    /// How many accounts there are.
    pub(crate) fn count(self) -> usize {
        let opened = self
            .redo
            .changes()
            .filter(|(name, _)| !self.ledger.accounts.contains_key(name));
        self.ledger.accounts.len() + opened.count()
    }
}
