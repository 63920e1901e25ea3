//! Random transactions against a model so simple that it can be believed: all
//! entries kept, sums made afresh each time, nothing encoded.

use std::collections::BTreeMap;

use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::resource::Resource;
use nemcon_ledger::account::Contra;
use nemcon_ledger::{Action, ActionResult, Ledger, books_balance, reason};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::bank::{Asked, Bank};

/// An action as a client writes it.
#[derive(Clone, Debug)]
enum Wish {
    Open {
        account: &'static str,
        currency: &'static str,
        start: i64,
        minimum: i64,
    },
    Close {
        account: &'static str,
    },
    Move {
        account: &'static str,
        amount: i64,
        currency: &'static str,
        note: u8,
        cash: bool,
    },
    Read {
        account: &'static str,
    },
    ReadEntries {
        account: &'static str,
    },
    ReadAccounts {
        size: u32,
        after: &'static str,
    },
    Audit,
}

#[derive(Clone, Debug)]
struct Kept {
    currency: &'static str,
    minimum: i64,
    closed: bool,
    /// Amount, reference (0: none) and whether against cash.
    entries: Vec<(i64, u8, bool)>,
}

impl Kept {
    fn balance(&self) -> i128 {
        self.entries
            .iter()
            .map(|(amount, ..)| i128::from(*amount))
            .sum()
    }
}

#[derive(Clone, Default, Debug)]
struct Model(BTreeMap<&'static str, Kept>);

/// What the model expects, and what of a result it looks at.
#[derive(Debug, PartialEq)]
enum Seen {
    Account(i128, bool),
    Entries {
        sum: i128,
        count: usize,
        last: Vec<i64>,
    },
    Page(Vec<String>, bool),
    /// Customers, cash, clearing of each currency; accounts.
    Totals(BTreeMap<String, [i128; 3]>, usize),
}

impl Model {
    fn run(&mut self, wish: &Wish) -> Result<Seen, Reason> {
        match *wish {
            Wish::Open {
                account,
                currency,
                start,
                minimum,
            } => self.open(account, currency, start, minimum),
            Wish::Close { account } => {
                let kept = self.0.get_mut(account).ok_or(reason::UNKNOWN_ACCOUNT)?;
                match (kept.closed, kept.balance()) {
                    (true, _) => return Err(reason::ACCOUNT_CLOSED),
                    (false, 0) => kept.closed = true,
                    (false, _) => return Err(reason::BALANCE_NOT_ZERO),
                }
                Ok(Seen::Account(0, true))
            }
            Wish::Move {
                account,
                amount,
                currency,
                note,
                cash,
            } => self.book(account, amount, currency, note, cash),
            Wish::Read { account } => {
                let kept = self.0.get(account).ok_or(reason::UNKNOWN_ACCOUNT)?;
                Ok(Seen::Account(kept.balance(), kept.closed))
            }
            Wish::ReadEntries { account } => {
                let kept = self.0.get(account).ok_or(reason::UNKNOWN_ACCOUNT)?;
                let count = kept.entries.len();
                let last = &kept.entries[count.saturating_sub(100)..];
                let last = last.iter().map(|(amount, ..)| *amount).collect();
                Ok(Seen::Entries {
                    sum: kept.balance(),
                    count,
                    last,
                })
            }
            Wish::ReadAccounts { size, after } => {
                let names = self.0.keys().filter(|name| **name > after);
                let names: Vec<String> = names.map(|name| (*name).to_owned()).collect();
                let more = names.len() > size as usize;
                Ok(Seen::Page(
                    names.into_iter().take(size as usize).collect(),
                    more,
                ))
            }
            Wish::Audit => self.audit(),
        }
    }

    fn open(
        &mut self,
        account: &'static str,
        currency: &'static str,
        start: i64,
        minimum: i64,
    ) -> Result<Seen, Reason> {
        if start < minimum {
            return Err(reason::INVALID_OPENING_BALANCE);
        }
        if self.0.contains_key(account) {
            return Err(reason::ACCOUNT_EXISTS);
        }
        let entries = if start == 0 {
            vec![]
        } else {
            vec![(start, 0, true)]
        };
        self.0.insert(
            account,
            Kept {
                currency,
                minimum,
                closed: false,
                entries,
            },
        );
        Ok(Seen::Account(start.into(), false))
    }

    fn book(
        &mut self,
        account: &'static str,
        amount: i64,
        currency: &'static str,
        note: u8,
        cash: bool,
    ) -> Result<Seen, Reason> {
        if amount == 0 {
            return Err(reason::AMOUNT_NOT_POSITIVE);
        }
        let kept = self.0.get_mut(account).ok_or(reason::UNKNOWN_ACCOUNT)?;
        let after = kept.balance() + i128::from(amount);
        if note > 0 && kept.entries.iter().any(|(_, used, _)| *used == note) {
            Err(reason::DUPLICATE_REFERENCE)
        } else if kept.closed {
            Err(reason::ACCOUNT_CLOSED)
        } else if kept.currency != currency {
            Err(reason::CURRENCY_MISMATCH)
        } else if amount < 0 && after < kept.minimum.into() {
            Err(reason::INSUFFICIENT_FUNDS)
        } else if after > i64::MAX.into() {
            Err(reason::BALANCE_OVERFLOW)
        } else {
            kept.entries.push((amount, note, cash));
            Ok(Seen::Account(after, false))
        }
    }

    fn audit(&self) -> Result<Seen, Reason> {
        let mut totals: BTreeMap<String, [i128; 3]> = BTreeMap::new();
        for kept in self.0.values() {
            let sums = totals.entry(kept.currency.to_owned()).or_default();
            for (amount, _, cash) in &kept.entries {
                sums[0] += i128::from(*amount);
                sums[if *cash { 1 } else { 2 }] -= i128::from(*amount);
            }
        }
        if totals
            .values()
            .flatten()
            .any(|sum| i64::try_from(*sum).is_err())
        {
            return Err(reason::BALANCE_OVERFLOW);
        }
        Ok(Seen::Totals(totals, self.0.len()))
    }
}

impl Wish {
    fn ask(&self) -> Asked {
        match *self {
            Self::Open {
                account,
                currency,
                start,
                minimum,
            } => Action::open(account, "owner", currency, start, minimum),
            Self::Close { account } => Action::close(account),
            Self::Move {
                account,
                amount,
                currency,
                note,
                cash,
            } => {
                let contra = if cash { Contra::Cash } else { Contra::Clearing };
                let note = if note == 0 {
                    String::new()
                } else {
                    format!("note/{note}")
                };
                if amount < 0 {
                    Action::withdraw(account, -amount, currency, &note, contra)
                } else {
                    Action::deposit(account, amount, currency, &note, contra)
                }
            }
            Self::Read { account } => Action::read(account),
            Self::ReadEntries { account } => Action::read_entries(account),
            Self::ReadAccounts { size, after } => Action::read_accounts(size, after),
            Self::Audit => Ok(Action::Audit),
        }
    }
}

fn see(result: ActionResult) -> Seen {
    match result {
        ActionResult::Account(account) => {
            Seen::Account(account.header.balance_minor.into(), account.header.closed)
        }
        ActionResult::Statement(statement) => Seen::Entries {
            sum: statement.sum_minor(),
            count: statement.entries.len() + statement.brought_forward.count as usize,
            last: statement
                .entries
                .iter()
                .map(|entry| entry.amount_minor)
                .collect(),
        },
        ActionResult::Page(page) => {
            let names = page.accounts.iter().map(|account| account.name.to_string());
            Seen::Page(names.collect(), page.more)
        }
        ActionResult::Totals(totals) => {
            let sums = totals.currencies.iter().map(|line| {
                let sums = [line.customers_minor, line.cash_minor, line.clearing_minor];
                (line.currency.to_string(), sums.map(i128::from))
            });
            Seen::Totals(sums.collect(), totals.accounts as usize)
        }
    }
}

/// Mostly what will succeed: one refused wish undoes a whole transaction, and
/// stories must get far enough for entries to be brought forward.
fn account() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "a", "a", "a", "a", "a", "b", "b", "b", "c"])
}

/// Also one that is seldom there.
fn any_account() -> impl Strategy<Value = &'static str> {
    prop_oneof![9 => account(), 1 => Just("d")]
}

fn currency() -> impl Strategy<Value = &'static str> {
    prop_oneof![49 => Just("CZK"), 1 => Just("EUR")]
}

fn movement() -> impl Strategy<Value = Wish> {
    let amount = prop_oneof![
        300 => -300..400_i64,
        1 => Just(i64::MAX),
        1 => Just(-i64::MAX),
    ];
    let note = prop_oneof![4 => Just(0_u8), 1 => 1..=200_u8];
    (account(), amount, currency(), note, any::<bool>()).prop_map(
        |(account, amount, currency, note, cash)| Wish::Move {
            account,
            amount,
            currency,
            note,
            cash,
        },
    )
}

fn wish() -> impl Strategy<Value = Wish> {
    let open = (any_account(), currency(), -60..500_i64, -100..=0_i64);
    let page = (1..4_u32, prop_oneof![Just(""), account()]);
    prop_oneof![
        1 => open.prop_map(|(account, currency, start, minimum)| {
            Wish::Open { account, currency, start, minimum }
        }),
        1 => any_account().prop_map(|account| Wish::Close { account }),
        60 => movement(),
        2 => any_account().prop_map(|account| Wish::Read { account }),
        4 => any_account().prop_map(|account| Wish::ReadEntries { account }),
        2 => page.prop_map(|(size, after)| Wish::ReadAccounts { size, after }),
        2 => Just(Wish::Audit),
    ]
}

/// Transactions, and whether each is told to commit.
fn story() -> impl Strategy<Value = Vec<(Vec<Wish>, bool)>> {
    let start = Just(vec![
        Wish::Open {
            account: "a",
            currency: "CZK",
            start: 5_000,
            minimum: 0,
        },
        Wish::Open {
            account: "b",
            currency: "CZK",
            start: 0,
            minimum: -500,
        },
        Wish::Open {
            account: "c",
            currency: "CZK",
            start: 0,
            minimum: 0,
        },
    ]);
    let rest = prop::collection::vec(
        (
            prop::collection::vec(wish(), 1..5),
            prop::bool::weighted(0.9),
        ),
        0..300,
    );
    (start, rest).prop_map(|(start, mut rest)| {
        rest.insert(0, (start, true));
        rest
    })
}

/// Runs a story at a bank and in the model side by side.
fn tell(story: &[(Vec<Wish>, bool)]) -> (Bank, Model) {
    let (mut bank, mut model) = (Bank::default(), Model::default());
    for (wishes, commit) in story {
        let mut draft = model.clone();
        let expected: Result<Vec<Seen>, Reason> =
            wishes.iter().map(|wish| draft.run(wish)).collect();
        match bank.prepare(wishes.iter().map(Wish::ask)) {
            Ok((results, redo)) => {
                let seen: Vec<Seen> = results.into_iter().map(see).collect();
                assert_eq!(Ok(seen), expected, "{wishes:?}");
                if *commit {
                    bank.commit(&redo);
                    model = draft;
                }
            }
            Err(Refusal {
                reason, message, ..
            }) => {
                assert_eq!(Err(reason), expected, "{wishes:?}: {message}");
            }
        }
    }
    (bank, model)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The ledger answers as the model does, also within a transaction, and holds
    /// what the model holds in the end. `Bank` checks after each commit that the
    /// books balance and before it that locks cover what changes.
    #[test]
    fn the_ledger_does_what_the_model_does(story in story()) {
        let (bank, model) = tell(&story);
        let held: Vec<_> = bank
            .ledger
            .accounts()
            .map(|(name, account)| (name.as_str(), i128::from(account.header.balance_minor)))
            .collect();
        let expected: Vec<_> =
            model.0.iter().map(|(name, kept)| (*name, kept.balance())).collect();
        prop_assert_eq!(held, expected);
    }

    /// The stored values are the ledger: loading them, in whatever order, gives
    /// the same books.
    #[test]
    fn what_is_stored_is_all_there_is(story in story(), backwards: bool) {
        let (bank, _) = tell(&story);
        let mut newest: Vec<_> =
            bank.versions.iter().map(|(key, versions)| (key, &versions.last().unwrap().1)).collect();
        if backwards {
            newest.reverse();
        }
        let mut loaded = Ledger::new();
        for (key, value) in newest {
            loaded.load(key, value).unwrap();
            prop_assert_eq!(loaded.stored(key), Some(value.clone()));
        }
        prop_assert_eq!(loaded, bank.ledger);
    }

    /// A restart finds each key written back at some time of its own, or never,
    /// and replays the whole log: every redo goes to the keys that are older.
    #[test]
    fn replay_over_any_mixture_of_older_and_newer_values_ends_the_same(
        story in story(),
        choices in prop::collection::vec(any::<Index>(), 1..40),
    ) {
        let (bank, _) = tell(&story);
        let mut restarted = Ledger::new();
        let mut loaded_at = BTreeMap::new();
        for ((key, versions), choice) in bank.versions.iter().zip(choices.iter().cycle()) {
            // One more than there are versions: the key may never have been stored.
            if let Some((record, value)) = versions.get(choice.index(versions.len() + 1)) {
                restarted.load(key, value).unwrap();
                loaded_at.insert(key.clone(), *record);
            }
        }
        for (record, bytes) in (1..).zip(&bank.log) {
            let redo = restarted.decode_redo(bytes).unwrap();
            restarted.apply(&redo, &mut |key| loaded_at.get(key).is_none_or(|at| record > *at));
        }
        prop_assert_eq!(books_balance(&restarted), Ok(()));
        prop_assert_eq!(restarted, bank.ledger);
    }
}
