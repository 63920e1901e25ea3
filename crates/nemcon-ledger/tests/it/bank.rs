//! A bank without a node: runs transactions one after the other, keeps their
//! redos as a log would, and every version of every stored value.

use std::collections::{BTreeMap, BTreeSet};

use nemcon_core::codec::Codec;
use nemcon_core::id::TransactionId;
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::resource::Resource;
use nemcon_core::time::Millis;
use nemcon_ledger::account::Contra;
use nemcon_ledger::action::{NamedAccount, Totals};
use nemcon_ledger::{Action, ActionResult, Ledger, Redo, books_balance, key};

/// What the constructors of an action return.
pub(crate) type Asked = Result<Action, Refusal>;

#[derive(Default)]
pub(crate) struct Bank {
    pub(crate) ledger: Ledger,
    /// Encoded redos of what committed; record n is `log[n - 1]`.
    pub(crate) log: Vec<Vec<u8>>,
    /// For each key, what was stored after which record.
    pub(crate) versions: BTreeMap<Vec<u8>, Vec<(usize, Vec<u8>)>>,
    transactions: u64,
}

impl Bank {
    /// Runs a transaction and commits it if nothing is refused.
    pub(crate) fn run(
        &mut self,
        asked: impl IntoIterator<Item = Asked>,
    ) -> Result<Vec<ActionResult>, Refusal> {
        let (results, redo) = self.prepare(asked)?;
        self.commit(&redo);
        Ok(results)
    }

    /// Runs a transaction up to its vote.
    pub(crate) fn prepare(
        &mut self,
        asked: impl IntoIterator<Item = Asked>,
    ) -> Result<(Vec<ActionResult>, Redo), Refusal> {
        self.transactions += 1;
        let (now, transaction) = (self.now(), self.transaction());
        let mut redo = Redo::default();
        let mut locked = BTreeSet::new();
        let mut results = Vec::new();
        for asked in asked {
            let action = asked?;
            self.ledger.locks(&action, &mut |key, mode| {
                locked.insert((key, mode));
            });
            results.push(self.ledger.execute(now, transaction, &action, &mut redo)?);
        }
        for (name, _) in redo.changes() {
            let lock = (key::account_lock(name), Mode::Exclusive);
            assert!(locked.contains(&lock), "{name} changed without a lock");
        }
        Ok((results, redo))
    }

    /// Applies a redo as the machine would: through its bytes, noting which keys
    /// it touches.
    pub(crate) fn commit(&mut self, redo: &Redo) {
        let bytes = self.ledger.encode_redo(redo);
        let redo = self.ledger.decode_redo(&bytes).unwrap();
        self.log.push(bytes);
        let mut touched = BTreeSet::new();
        self.ledger.apply(&redo, &mut |key| {
            assert!(
                touched.insert(key.to_vec()),
                "{} asked for twice",
                key.escape_ascii()
            );
            true
        });
        for key in touched {
            let value = self.ledger.stored(&key).expect("a touched key has a value");
            self.versions
                .entry(key)
                .or_default()
                .push((self.log.len(), value));
        }
        assert_eq!(books_balance(&self.ledger), Ok(()));
    }

    /// The reason of a transaction that must be refused.
    pub(crate) fn refused(&mut self, asked: impl IntoIterator<Item = Asked>) -> Refusal {
        let before = self.ledger.clone();
        let refusal = self.run(asked).expect_err("must be refused");
        assert_eq!(self.ledger, before, "a refused transaction changes nothing");
        assert!(!refusal.retryable, "{refusal}");
        refusal
    }

    /// Asserts that a single action is refused for a reason.
    pub(crate) fn refuses(&mut self, asked: Asked, reason: &Reason) -> String {
        let refusal = self.refused([asked]);
        assert_eq!(&refusal.reason, reason, "{refusal}");
        refusal.message
    }

    pub(crate) fn totals(&mut self) -> Totals {
        match self.run([Ok(Action::Audit)]).as_deref() {
            Ok([ActionResult::Totals(totals)]) => totals.clone(),
            other => panic!("an audit answered {other:?}"),
        }
    }

    pub(crate) fn balance(&mut self, name: &str) -> i64 {
        let results = self.run([Action::read(name)]).unwrap();
        account(&results[0]).header.balance_minor
    }

    /// The time and the transaction of what ran last.
    pub(crate) fn now(&self) -> Millis {
        Millis(1_700_000_000_000 + self.transactions)
    }

    pub(crate) fn transaction(&self) -> TransactionId {
        TransactionId::from_parts(self.now(), 0)
    }
}

/// A bank with alice (1000 CZK) and bob (0 CZK, overdraft of 200).
pub(crate) fn bank() -> Bank {
    let mut bank = Bank::default();
    let opened = bank.run([
        Action::open("alice", "Alice", "CZK", 1_000, 0),
        Action::open("bob", "Bob", "CZK", 0, -200),
    ]);
    assert!(opened.is_ok());
    bank
}

/// A withdrawal into clearing.
pub(crate) fn withdraw(name: &str, amount_minor: i64, reference: &str) -> Asked {
    Action::withdraw(name, amount_minor, "CZK", reference, Contra::Clearing)
}

/// A deposit out of clearing.
pub(crate) fn deposit(name: &str, amount_minor: i64, reference: &str) -> Asked {
    Action::deposit(name, amount_minor, "CZK", reference, Contra::Clearing)
}

/// The account in a result; also checks that results survive the log.
pub(crate) fn account(result: &ActionResult) -> &NamedAccount {
    assert_eq!(
        ActionResult::from_bytes(&result.to_bytes()).as_ref(),
        Ok(result)
    );
    match result {
        ActionResult::Account(account) => account,
        other => panic!("want an account, got {other:?}"),
    }
}

/// The locks of an action, as texts.
pub(crate) fn locks(ledger: &Ledger, action: &Action) -> Vec<(String, Mode)> {
    let mut locks = Vec::new();
    ledger.locks(action, &mut |key: LockKey, mode| {
        locks.push((key.to_string(), mode))
    });
    locks
}
