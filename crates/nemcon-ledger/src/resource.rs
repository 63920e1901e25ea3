//! The ledger as what a participant guards: locks, effects, stored values.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Bound;

use minicbor::{Decode, Encode};
use nemcon_core::codec::{Codec, CorruptLog};
use nemcon_core::id::TransactionId;
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::resource::Resource;
use nemcon_core::time::Millis;

use crate::account::{Account, Statement};
use crate::action::{Action, ActionResult};
use crate::conservation;
use crate::execution::{Booking, Direction};
use crate::key::{self, DataKey};
use crate::ledger::Ledger;
use crate::name::AccountName;
use crate::redo::Redo;

/// A contra total as it is stored: CBOR integers end at 64 bits, so it is 16
/// bytes, the most significant first.
#[derive(Encode, Decode)]
#[cbor(transparent)]
struct StoredTotal(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl Resource for Ledger {
    type Action = Action;
    type Redo = Redo;
    type Result = ActionResult;

    fn writes(&self, action: &Action) -> bool {
        match action {
            Action::Open(_) | Action::Close(_) | Action::Withdraw(_) | Action::Deposit(_) => true,
            Action::Read(_) | Action::ReadAccounts(_) | Action::ReadEntries(_) | Action::Audit => {
                false
            }
        }
    }

    /// `Close` leaves the set of accounts alone: the name stays in it, and what
    /// changes is covered by the account's own lock. The readers of many accounts
    /// name those that exist now; if one is opened before they hold the set, they
    /// name it when they are asked again.
    fn locks(&self, action: &Action, want: &mut dyn FnMut(LockKey, Mode)) {
        match action {
            Action::Open(open) => {
                want(key::accounts_lock(), Mode::Exclusive);
                want(key::account_lock(&open.account), Mode::Exclusive);
            }
            Action::Close(name) => want(key::account_lock(name), Mode::Exclusive),
            Action::Withdraw(movement) | Action::Deposit(movement) => {
                want(key::account_lock(&movement.account), Mode::Exclusive);
            }
            Action::Read(name) | Action::ReadEntries(name) => {
                want(key::account_lock(name), Mode::Shared);
            }
            Action::ReadAccounts(read) => {
                want(key::accounts_lock(), Mode::Shared);
                let from = read.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
                let after = self.accounts.range((from, Bound::Unbounded));
                for (name, _) in after.take(read.size.accounts()) {
                    want(key::account_lock(name), Mode::Shared);
                }
            }
            Action::Audit => {
                want(key::accounts_lock(), Mode::Shared);
                for name in self.accounts.keys() {
                    want(key::account_lock(name), Mode::Shared);
                }
            }
        }
    }

    fn named(&self, name: &str) -> Result<LockKey, Refusal> {
        let account = AccountName::new(name)
            .map_err(|error| Refusal::new(Reason::INVALID_ACTION, error.to_string()))?;
        Ok(key::account_lock(&account))
    }

    fn execute(
        &self,
        now: Millis,
        transaction: TransactionId,
        action: &Action,
        redo: &mut Redo,
    ) -> Result<ActionResult, Refusal> {
        let booking = Booking {
            at: now,
            transaction,
        };
        match action {
            Action::Open(open) => self.open(booking, open, redo).map(ActionResult::Account),
            Action::Close(name) => self.close(name, redo).map(ActionResult::Account),
            Action::Withdraw(movement) => self
                .book(booking, movement, Direction::Out, redo)
                .map(ActionResult::Account),
            Action::Deposit(movement) => self
                .book(booking, movement, Direction::In, redo)
                .map(ActionResult::Account),
            Action::Read(name) => self.with(redo).read(name).map(ActionResult::Account),
            Action::ReadAccounts(read) => Ok(ActionResult::Page(self.with(redo).page(read))),
            Action::ReadEntries(name) => {
                self.with(redo).statement(name).map(ActionResult::Statement)
            }
            Action::Audit => self.with(redo).audit().map(ActionResult::Totals),
        }
    }

    /// Asks `touch` exactly once per key: whoever answers may note the key as
    /// changed, and say no to the second question.
    ///
    /// Contra totals are the one thing that is added to and not replaced, without
    /// a lock. So redos must be applied in the order of the records they are
    /// stored under, or a total could carry the number of a later record while an
    /// earlier one is still to come.
    fn apply(&mut self, redo: &Redo, touch: &mut dyn FnMut(&[u8]) -> bool) {
        for (name, change) in redo.changes() {
            if touch(&key::account(name)) {
                let account = self.accounts.entry(name.clone()).or_insert_with(|| {
                    Box::new(Account {
                        header: change.header.clone(),
                        statement: Statement::default(),
                    })
                });
                account.header = change.header.clone();
                let entries = change.entries.iter();
                entries.for_each(|entry| account.statement.book(entry));
            }
            for entry in &change.entries {
                if let Some(reference) = &entry.reference
                    && touch(&key::reference(name, reference))
                {
                    let references = self.references.entry(name.clone()).or_default();
                    references.insert(reference.clone(), entry.transaction);
                }
            }
        }
        for ((currency, contra), delta) in redo.contras() {
            if touch(&key::contra(currency, contra)) {
                let total = self.contras.entry((currency, contra)).or_default();
                *total = total.saturating_add(delta);
            }
        }
    }

    fn stored(&self, key: &[u8]) -> Option<Vec<u8>> {
        match DataKey::parse(key).ok()? {
            DataKey::Account(name) => self.accounts.get(&name).map(|account| account.to_bytes()),
            DataKey::Contra(currency, contra) => {
                let total = self.contras.get(&(currency, contra))?;
                Some(StoredTotal(total.to_be_bytes()).to_bytes())
            }
            DataKey::Reference(name, reference) => self
                .user_of(&name, &reference)
                .map(|transaction| transaction.to_bytes()),
        }
    }

    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptLog> {
        match DataKey::parse(key)? {
            DataKey::Account(name) => {
                let account: Account = read(key, value)?;
                conservation::account_balances(&name, &account)
                    .map_err(|imbalance| CorruptLog::value(key, imbalance.to_string()))?;
                self.accounts.insert(name, Box::new(account));
            }
            DataKey::Contra(currency, contra) => {
                let StoredTotal(bytes) = read(key, value)?;
                self.contras
                    .insert((currency, contra), i128::from_be_bytes(bytes));
            }
            DataKey::Reference(name, reference) => {
                let transaction = read(key, value)?;
                self.references
                    .entry(name)
                    .or_default()
                    .insert(reference, transaction);
            }
        }
        Ok(())
    }

    fn encode_redo(&self, redo: &Redo) -> Vec<u8> {
        redo.to_bytes()
    }

    fn decode_redo(&self, bytes: &[u8]) -> Result<Redo, CorruptLog> {
        Redo::from_bytes(bytes)
    }

    fn encode_result(&self, result: &ActionResult) -> Vec<u8> {
        result.to_bytes()
    }

    fn decode_result(&self, bytes: &[u8]) -> Result<ActionResult, CorruptLog> {
        ActionResult::from_bytes(bytes)
    }
}

/// Reads a value and names its key if it cannot be read.
fn read<T: Codec>(key: &[u8], value: &[u8]) -> Result<T, CorruptLog> {
    T::from_bytes(value).map_err(|error| CorruptLog::value(key, error.to_string()))
}
