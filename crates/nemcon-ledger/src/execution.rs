//! How each action runs: checks first, then one change to the redo. A refused
//! action leaves the redo as it was.

use nemcon_core::id::TransactionId;
use nemcon_core::reason::Refusal;
use nemcon_core::time::Millis;

use crate::account::{Contra, Entry, Header};
use crate::action::{
    AccountPage, CurrencyTotal, Movement, NamedAccount, Open, ReadAccounts, Totals,
};
use crate::ledger::{Ledger, Sums, View};
use crate::money::Currency;
use crate::name::AccountName;
use crate::redo::Redo;
use crate::refusal;

/// Which way money moves on the customer's account.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    Out,
    In,
}

/// When something is booked, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct Booking {
    pub(crate) at: Millis,
    pub(crate) transaction: TransactionId,
}

impl Ledger {
    pub(crate) fn open(
        &self,
        booking: Booking,
        open: &Open,
        redo: &mut Redo,
    ) -> Result<NamedAccount, Refusal> {
        let name = &open.account;
        if let Some(existing) = self.with(redo).find(name) {
            return Err(refusal::account_exists(name, existing.closed));
        }
        let balance_minor = open.opening.balance_minor();
        let header = Header {
            owner: open.owner.clone(),
            currency: open.currency,
            balance_minor,
            minimum_minor: open.opening.minimum_minor(),
            closed: false,
        };
        let entry = (balance_minor != 0).then_some(Entry {
            booked_at: booking.at,
            amount_minor: balance_minor,
            balance_minor,
            transaction: booking.transaction,
            contra: Contra::Cash,
            reference: None,
        });
        redo.set(name, header.clone(), entry);
        Ok(NamedAccount {
            name: name.clone(),
            header,
        })
    }

    pub(crate) fn close(
        &self,
        name: &AccountName,
        redo: &mut Redo,
    ) -> Result<NamedAccount, Refusal> {
        let header = self.with(redo).header(name)?;
        if header.closed {
            return Err(refusal::account_closed(name));
        }
        if header.balance_minor != 0 {
            return Err(refusal::balance_not_zero(name, header));
        }
        let header = Header {
            closed: true,
            ..header.clone()
        };
        redo.set(name, header.clone(), None);
        Ok(NamedAccount {
            name: name.clone(),
            header,
        })
    }

    /// The reference is looked at before all else that may have changed since it
    /// was used: who repeats a payment must hear that it was made, even if the
    /// account is empty or closed by now.
    pub(crate) fn book(
        &self,
        booking: Booking,
        movement: &Movement,
        direction: Direction,
        redo: &mut Redo,
    ) -> Result<NamedAccount, Refusal> {
        let Movement {
            account: name,
            amount,
            contra,
            reference,
        } = movement;
        let view = self.with(redo);
        let header = view.header(name)?;
        if let Some(reference) = reference
            && let Some(first) = view.user_of(name, reference)
        {
            return Err(refusal::duplicate_reference(name, reference, first));
        }
        if header.closed {
            return Err(refusal::account_closed(name));
        }
        if header.currency != amount.currency() {
            return Err(refusal::currency_mismatch(
                name,
                header.currency,
                amount.currency(),
            ));
        }
        let (amount_minor, balance_minor) = match direction {
            Direction::Out => {
                let balance = header.balance_minor.checked_sub(amount.minor());
                let balance = balance.filter(|balance| *balance >= header.minimum_minor);
                let refuse = || refusal::insufficient_funds(name, header, *amount);
                (-amount.minor(), balance.ok_or_else(refuse)?)
            }
            Direction::In => {
                let balance = header.balance_minor.checked_add(amount.minor());
                let refuse = || refusal::balance_overflow(name, header, *amount);
                (amount.minor(), balance.ok_or_else(refuse)?)
            }
        };
        let header = Header {
            balance_minor,
            ..header.clone()
        };
        let entry = Entry {
            booked_at: booking.at,
            amount_minor,
            balance_minor,
            transaction: booking.transaction,
            contra: *contra,
            reference: reference.clone(),
        };
        redo.set(name, header.clone(), Some(entry));
        Ok(NamedAccount {
            name: name.clone(),
            header,
        })
    }
}

impl View<'_> {
    pub(crate) fn read(self, name: &AccountName) -> Result<NamedAccount, Refusal> {
        let header = self.header(name)?.clone();
        Ok(NamedAccount {
            name: name.clone(),
            header,
        })
    }

    pub(crate) fn page(self, read: &ReadAccounts) -> AccountPage {
        let mut headers = self.headers_after(read.after.as_ref());
        let accounts = headers.by_ref().take(read.size.accounts());
        let named = |(name, header): (&AccountName, &Header)| NamedAccount {
            name: name.clone(),
            header: header.clone(),
        };
        AccountPage {
            accounts: accounts.map(named).collect(),
            more: headers.next().is_some(),
        }
    }

    pub(crate) fn audit(self) -> Result<Totals, Refusal> {
        let totals = self.totals();
        let currencies = totals
            .iter()
            .map(|(currency, sums)| currency_total(*currency, sums));
        Ok(Totals {
            currencies: currencies.collect::<Result<_, _>>()?,
            accounts: self.count() as u64,
        })
    }
}

/// Narrows the sums to what a message can carry.
fn currency_total(currency: Currency, sums: &Sums) -> Result<CurrencyTotal, Refusal> {
    let narrow = |what, total_minor| {
        i64::try_from(total_minor).map_err(|_| refusal::total_overflow(what, currency, total_minor))
    };
    Ok(CurrencyTotal {
        currency,
        customers_minor: narrow("customers", sums.customers_minor)?,
        cash_minor: narrow("cash", sums.cash_minor)?,
        clearing_minor: narrow("clearing", sums.clearing_minor)?,
    })
}
