//! What an operation of a transaction can ask of a bank, and what it answers.
//!
//! Actions hold checked values only. The constructors take fields as a client
//! wrote them and answer with a [`Refusal`] what cannot be taken, which the
//! participant turns into a no vote.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use nemcon_core::reason::Refusal;

use crate::account::{Contra, Header, Statement};
use crate::invalid::Invalid;
use crate::limits::{PAGE_ACCOUNTS_DEFAULT, PAGE_ACCOUNTS_MAX};
use crate::money::{Amount, Currency, OpeningBalance};
use crate::name::{AccountName, Owner, Reference};

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open an account. Answers [`ActionResult::Account`].
    Open(Open),
    /// Close an account whose balance is zero, for ever. Answers
    /// [`ActionResult::Account`].
    Close(AccountName),
    /// Take money from an account. Answers [`ActionResult::Account`].
    Withdraw(Movement),
    /// Put money into an account. Answers [`ActionResult::Account`].
    Deposit(Movement),
    /// Read an account, closed ones too. Answers [`ActionResult::Account`].
    Read(AccountName),
    /// Read a page of accounts in the order of their names, closed ones too.
    /// Answers [`ActionResult::Page`].
    ReadAccounts(ReadAccounts),
    /// Read the entries of an account. Answers [`ActionResult::Statement`].
    ReadEntries(AccountName),
    /// Add up all books of the bank. Answers [`ActionResult::Totals`].
    Audit,
}

/// A new account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its name.
    pub account: AccountName,
    /// Whose it is.
    pub owner: Owner,
    /// What it is kept in.
    pub currency: Currency,
    /// What it starts with, booked against cash, and its minimum.
    pub opening: OpeningBalance,
}

/// Money to be taken from an account or put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// On which account.
    pub account: AccountName,
    /// How much.
    pub amount: Amount,
    /// Where the money goes or comes from.
    pub contra: Contra,
    /// Refused if the account has seen it before.
    pub reference: Option<Reference>,
}

/// Which page of accounts to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadAccounts {
    /// At most so many.
    pub size: PageSize,
    /// Only names that come after this one.
    pub after: Option<AccountName>,
}

/// How many accounts a page holds at most: 1 to [`PAGE_ACCOUNTS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// Takes a wish: 0 means [`PAGE_ACCOUNTS_DEFAULT`], and more than
    /// [`PAGE_ACCOUNTS_MAX`] gets that many. A page may be shorter than asked for
    /// anyway, so this is no error.
    #[must_use]
    pub const fn from_wish(accounts: u32) -> Self {
        match accounts {
            0 => Self(PAGE_ACCOUNTS_DEFAULT),
            PAGE_ACCOUNTS_MAX.. => Self(PAGE_ACCOUNTS_MAX),
            _ => Self(accounts),
        }
    }

    /// Accounts.
    #[must_use]
    pub const fn accounts(self) -> usize {
        self.0 as usize
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self::from_wish(0)
    }
}

impl Action {
    /// Opens an account. Amounts are in minor units; the minimum is at most 0.
    ///
    /// # Errors
    /// A refusal with an `INVALID_…` reason that names the first bad field.
    pub fn open(
        account: &str,
        owner: &str,
        currency: &str,
        opening_balance_minor: i64,
        minimum_balance_minor: i64,
    ) -> Result<Self, Refusal> {
        Ok(Self::Open(Open {
            account: AccountName::new(account)?,
            owner: Owner::new(owner)?,
            currency: Currency::new(currency)?,
            opening: OpeningBalance::new(opening_balance_minor, minimum_balance_minor)?,
        }))
    }

    /// Closes an account.
    ///
    /// # Errors
    /// `INVALID_ACCOUNT`.
    pub fn close(account: &str) -> Result<Self, Refusal> {
        Ok(Self::Close(AccountName::new(account)?))
    }

    /// Takes money from an account. An empty reference is none.
    ///
    /// # Errors
    /// `INVALID_ACCOUNT`, `INVALID_CURRENCY`, `AMOUNT_NOT_POSITIVE` or
    /// `INVALID_REFERENCE`.
    pub fn withdraw(
        account: &str,
        amount_minor: i64,
        currency: &str,
        reference: &str,
        contra: Contra,
    ) -> Result<Self, Refusal> {
        Ok(Self::Withdraw(Movement::new(
            account,
            amount_minor,
            currency,
            reference,
            contra,
        )?))
    }

    /// Puts money into an account. An empty reference is none.
    ///
    /// # Errors
    /// As [`Action::withdraw`].
    pub fn deposit(
        account: &str,
        amount_minor: i64,
        currency: &str,
        reference: &str,
        contra: Contra,
    ) -> Result<Self, Refusal> {
        Ok(Self::Deposit(Movement::new(
            account,
            amount_minor,
            currency,
            reference,
            contra,
        )?))
    }

    /// Reads an account.
    ///
    /// # Errors
    /// `INVALID_ACCOUNT`.
    pub fn read(account: &str) -> Result<Self, Refusal> {
        Ok(Self::Read(AccountName::new(account)?))
    }

    /// Reads a page of accounts; see [`PageSize::from_wish`] for the size. An
    /// empty `after_account` starts at the first.
    ///
    /// # Errors
    /// `INVALID_ACCOUNT`.
    pub fn read_accounts(page_size: u32, after_account: &str) -> Result<Self, Refusal> {
        let after = non_empty(after_account).map(AccountName::new).transpose()?;
        Ok(Self::ReadAccounts(ReadAccounts {
            size: PageSize::from_wish(page_size),
            after,
        }))
    }

    /// Reads the entries of an account.
    ///
    /// # Errors
    /// `INVALID_ACCOUNT`.
    pub fn read_entries(account: &str) -> Result<Self, Refusal> {
        Ok(Self::ReadEntries(AccountName::new(account)?))
    }
}

impl Movement {
    fn new(
        account: &str,
        amount_minor: i64,
        currency: &str,
        reference: &str,
        contra: Contra,
    ) -> Result<Self, Invalid> {
        Ok(Self {
            account: AccountName::new(account)?,
            amount: Amount::new(amount_minor, Currency::new(currency)?)?,
            contra,
            reference: non_empty(reference).map(Reference::new).transpose()?,
        })
    }
}

/// On the wire a text that is not given is empty.
fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ActionResult {
    /// An account as it is now, the transaction's own writes included.
    #[n(0)]
    Account(#[n(0)] NamedAccount),
    /// Some accounts.
    #[n(1)]
    Page(#[n(0)] AccountPage),
    /// The entries of an account.
    #[n(2)]
    Statement(#[n(0)] Statement),
    /// The sums of the books.
    #[n(3)]
    Totals(#[n(0)] Totals),
}

/// An account and its name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NamedAccount {
    /// Its name.
    #[n(0)]
    pub name: AccountName,
    /// What is known of it.
    #[n(1)]
    pub header: Header,
}

/// Accounts in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AccountPage {
    /// The accounts.
    #[n(0)]
    pub accounts: Vec<NamedAccount>,
    /// There are more after the last.
    #[n(1)]
    pub more: bool,
}

/// The sums of a bank's books.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Totals {
    /// One line per currency the bank has ever kept an account in.
    #[n(0)]
    pub currencies: Vec<CurrencyTotal>,
    /// How many accounts there are, closed ones too.
    #[n(1)]
    pub accounts: u64,
}

/// The sums of one currency, in minor units. They add up to zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CurrencyTotal {
    /// Which.
    #[n(0)]
    pub currency: Currency,
    /// All customers' accounts.
    #[n(1)]
    pub customers_minor: i64,
    /// Money that came into the system here, negative.
    #[n(2)]
    pub cash_minor: i64,
    /// Money that went to other banks from here.
    #[n(3)]
    pub clearing_minor: i64,
}
