//! What an audit has found, and whether it adds up.
//!
//! Money is never made or lost: within a bank, what its customers have, what came
//! in as cash and what is on its way to other banks add up to nothing, and over
//! all banks nothing is on its way. All figures come from one transaction, so
//! even a transfer in flight must not show.

use std::collections::BTreeMap;

use nemcon_proto::bank::v1::{CurrencyTotal, Totals};
use serde_json::{Value, json};

use crate::money::Minor;
use crate::table::Table;

/// The sums of one currency. Wider than what a bank reports, since there may be
/// many banks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    customers: i128,
    cash: i128,
    clearing: i128,
}

/// One bank's books.
#[derive(Debug)]
pub(super) struct BankBooks {
    /// Its name.
    pub(super) bank: String,
    /// Its sums.
    pub(super) totals: Totals,
    /// Attempts it is in doubt about.
    pub(super) in_doubt: usize,
}

/// The books of all banks.
#[derive(Debug)]
pub(super) struct Books(pub(super) Vec<BankBooks>);

impl Sums {
    /// Adds what one bank has in this currency.
    fn add(&mut self, total: &CurrencyTotal) {
        self.customers += i128::from(total.customers_minor);
        self.cash += i128::from(total.cash_minor);
        self.clearing += i128::from(total.clearing_minor);
    }

    /// What one bank has in one currency.
    fn of(total: &CurrencyTotal) -> Self {
        let mut sums = Self::default();
        sums.add(total);
        sums
    }

    /// What the double entries leave over: zero, or something is wrong.
    const fn rest(self) -> i128 {
        self.customers + self.cash + self.clearing
    }
}

impl Books {
    /// Sums over all banks, by currency.
    fn over_all(&self) -> BTreeMap<&str, Sums> {
        let mut all: BTreeMap<&str, Sums> = BTreeMap::new();
        for total in self.0.iter().flat_map(|books| &books.totals.currencies) {
            all.entry(&total.currency).or_default().add(total);
        }
        all
    }

    /// A sentence for each sum that should be zero and is not.
    pub(super) fn imbalances(&self) -> Vec<String> {
        let mut found = Vec::new();
        for BankBooks { bank, totals, .. } in &self.0 {
            for total in &totals.currencies {
                let sums = Sums::of(total);
                if sums.rest() != 0 {
                    found.push(format!(
                        "{bank}, {}: customers {} + cash {} + clearing {} = {}, want 0.00",
                        total.currency,
                        shown(sums.customers),
                        shown(sums.cash),
                        shown(sums.clearing),
                        shown(sums.rest()),
                    ));
                }
            }
        }
        for (currency, sums) in self.over_all() {
            if sums.clearing != 0 {
                let clearing = shown(sums.clearing);
                found.push(format!(
                    "all banks, {currency}: clearing is {clearing}, want 0.00"
                ));
            }
        }
        found
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        let all = self.over_all();
        let banks: Vec<Value> = self.0.iter().map(BankBooks::to_json).collect();
        let totals: Vec<i128> = all.values().map(|sums| sums.customers).collect();
        let currencies: Vec<Value> = all
            .iter()
            .map(|(currency, sums)| currency_json(currency, *sums))
            .collect();
        json!({
            "banks": banks,
            "total_minor": only(&totals),
            "currencies": currencies,
            "in_doubt": self.0.iter().map(|books| books.in_doubt).sum::<usize>(),
            "balanced": self.imbalances().is_empty(),
        })
    }

    /// For people.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new([
            "BANK",
            ">ACCOUNTS",
            "CURRENCY",
            ">CUSTOMERS",
            ">CASH",
            ">CLEARING",
            ">IN DOUBT",
        ]);
        for BankBooks {
            bank,
            totals,
            in_doubt,
        } in &self.0
        {
            let (accounts, in_doubt) = (totals.accounts.to_string(), in_doubt.to_string());
            let mut lines: Vec<(&str, Sums)> = totals
                .currencies
                .iter()
                .map(|total| (total.currency.as_str(), Sums::of(total)))
                .collect();
            if lines.is_empty() {
                lines.push(("-", Sums::default()));
            }
            for (at, (currency, sums)) in lines.into_iter().enumerate() {
                // What is said of the bank as a whole is said once.
                let once = |text: &String| if at == 0 { text.clone() } else { String::new() };
                table.row(row(
                    once(bank),
                    once(&accounts),
                    currency,
                    sums,
                    once(&in_doubt),
                ));
            }
        }
        let accounts: u64 = self.0.iter().map(|books| books.totals.accounts).sum();
        let in_doubt: usize = self.0.iter().map(|books| books.in_doubt).sum();
        for (currency, sums) in self.over_all() {
            let all = "all banks".to_owned();
            table.row(row(
                all,
                accounts.to_string(),
                currency,
                sums,
                in_doubt.to_string(),
            ));
        }
        table
    }
}

impl BankBooks {
    /// One bank for programs. Its sums are given as such where it keeps a single
    /// currency, and by currency always.
    fn to_json(&self) -> Value {
        let sums: Vec<Sums> = self.totals.currencies.iter().map(Sums::of).collect();
        let column = |part: fn(&Sums) -> i128| only(&sums.iter().map(part).collect::<Vec<_>>());
        let currencies = self.totals.currencies.iter();
        let currencies: Vec<Value> = currencies
            .map(|total| currency_json(&total.currency, Sums::of(total)))
            .collect();
        json!({
            "bank": self.bank,
            "accounts": self.totals.accounts,
            "total_minor": column(|sums| sums.customers),
            "cash_minor": column(|sums| sums.cash),
            "clearing_minor": column(|sums| sums.clearing),
            "in_doubt": self.in_doubt,
            "currencies": currencies,
        })
    }
}

/// The sums of one currency for programs.
fn currency_json(currency: &str, sums: Sums) -> Value {
    json!({
        "currency": currency,
        "total_minor": number(sums.customers),
        "cash_minor": number(sums.cash),
        "clearing_minor": number(sums.clearing),
    })
}

/// The total where there is one: sums of different currencies cannot be added.
fn only(totals: &[i128]) -> Value {
    match totals {
        [] => 0.into(),
        [total] => number(*total),
        _ => Value::Null,
    }
}

/// A sum beyond 64 bits is written as a text rather than rounded.
fn number(sum: i128) -> Value {
    i64::try_from(sum).map_or_else(|_| sum.to_string().into(), Value::from)
}

/// A line of the table.
fn row(
    bank: String,
    accounts: String,
    currency: &str,
    sums: Sums,
    in_doubt: String,
) -> [String; 7] {
    [
        bank,
        accounts,
        currency.into(),
        shown(sums.customers),
        shown(sums.cash),
        shown(sums.clearing),
        in_doubt,
    ]
}

/// A sum for people. Beyond 64 bits it is shown in minor units, and says so.
fn shown(sum: i128) -> String {
    i64::try_from(sum).map_or_else(|_| format!("{sum} minor"), |sum| Minor(sum).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(bank: &str, totals: &[(&str, i64, i64, i64)]) -> BankBooks {
        let total =
            |(currency, customers_minor, cash_minor, clearing_minor): &(&str, i64, i64, i64)| {
                CurrencyTotal {
                    currency: (*currency).into(),
                    customers_minor: *customers_minor,
                    cash_minor: *cash_minor,
                    clearing_minor: *clearing_minor,
                }
            };
        BankBooks {
            bank: bank.into(),
            totals: Totals {
                currencies: totals.iter().map(total).collect(),
                accounts: totals.len() as u64,
            },
            in_doubt: 0,
        }
    }

    #[test]
    fn sound_books_are_reported_with_one_total() {
        let books = Books(vec![
            books("a", &[("CZK", 7_500, -10_000, 2_500)]),
            books("b", &[("CZK", 2_500, 0, -2_500)]),
            books("c", &[]),
        ]);
        assert_eq!(books.imbalances(), Vec::<String>::new());
        let found = books.to_json();
        assert_eq!(found["total_minor"], 10_000);
        assert_eq!(found["balanced"], true);
        assert_eq!(found["banks"][0]["bank"], "a");
        assert_eq!(found["banks"][0]["accounts"], 1);
        assert_eq!(found["banks"][0]["total_minor"], 7_500);
        assert_eq!(found["banks"][0]["in_doubt"], 0);
        assert_eq!(found["banks"][2]["total_minor"], 0);
        let table = books.table().to_string();
        let last = table.lines().last().unwrap();
        assert!(
            last.contains("all banks") && last.contains("100.00"),
            "{table}"
        );
    }

    #[test]
    fn currencies_are_not_added_to_one_another() {
        let books = Books(vec![
            books("a", &[("CZK", 100, -100, 0), ("EUR", 7, -7, 0)]),
            books("b", &[("EUR", 3, -3, 0)]),
        ]);
        let found = books.to_json();
        assert_eq!(found["total_minor"], Value::Null);
        assert_eq!(found["banks"][0]["total_minor"], Value::Null);
        assert_eq!(found["banks"][1]["total_minor"], 3);
        assert_eq!(found["currencies"][1]["currency"], "EUR");
        assert_eq!(found["currencies"][1]["total_minor"], 10);
    }

    #[test]
    fn money_that_is_missing_is_named_where_it_is_missing() {
        let within = Books(vec![books("a", &[("CZK", 7_500, -10_000, 2_000)])]);
        let found = within.imbalances();
        assert_eq!(
            found[0],
            "a, CZK: customers 75.00 + cash -100.00 + clearing 20.00 = -5.00, want 0.00"
        );
        assert_eq!(found[1], "all banks, CZK: clearing is 20.00, want 0.00");
        assert_eq!(within.to_json()["balanced"], false);
    }

    #[test]
    fn sums_of_many_banks_are_not_cut_off() {
        let rich = || books("a", &[("CZK", i64::MAX, -i64::MAX, 0)]);
        let books = Books(vec![rich(), rich()]);
        assert_eq!(books.imbalances(), Vec::<String>::new());
        assert_eq!(books.to_json()["total_minor"], "18446744073709551614");
    }
}
