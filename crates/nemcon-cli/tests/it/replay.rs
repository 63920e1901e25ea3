//! Paying a file of orders, more than once.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::cluster::{Said, Up, run};

/// An order: paying account, receiving bank, minor units.
type Order = (u32, &'static str, u32);

/// A file of orders, numbered from 1.
fn file(dir: &TempDir, orders: &[Order]) -> PathBuf {
    let mut text = "order_id\taccount_id\tbank_to\taccount_to\tamount\tk_symbol\n".to_owned();
    for (id, (from, to, minor)) in (1..).zip(orders) {
        let amount = format!("{}.{:02}", minor / 100, minor % 100);
        let amount = amount
            .strip_prefix("0.")
            .map_or(amount.clone(), |cents| format!(".{cents}"));
        writeln!(text, "{id}\t{from}\t{to}\t{}\t{amount}\tSIPO  ", 1_000 + id).unwrap();
    }
    let path = dir.path().join("orders.tsv");
    std::fs::write(&path, text).unwrap();
    path
}

fn replay(up: &Up, file: &Path, more: &[&str]) -> Said {
    let file = file.to_str().unwrap();
    let arguments = [
        "bank",
        "replay",
        file,
        "--home",
        "home",
        "--opening-balance",
        "10.00",
    ];
    up.run(&[&arguments[..], more].concat())
}

#[test]
fn a_second_replay_pays_nothing_again() {
    let dir = TempDir::new().unwrap();
    let up = Up::start("home,YZ,ST", &dir.path().join("data"));
    let orders: Vec<Order> = (0..300)
        .map(|n| (n % 40, ["YZ", "ST"][(n % 2) as usize], 80 + n % 7))
        .collect();
    let total: u32 = orders.iter().map(|(_, _, minor)| minor).sum();
    let file = file(&dir, &orders);

    let first = replay(&up, &file, &["--json"]);
    let found = first.json();
    assert_eq!(first.code, Some(0), "{first:?}");
    assert_eq!(found["orders"], 300);
    assert_eq!(found["committed"], 300);
    assert_eq!(found["refused"], 0);
    assert_eq!(found["unknown"], 0);
    assert_eq!(found["moved_minor"], total);
    assert_eq!(found["accounts_opened"], 340);
    let audit = up.run(&["bank", "audit", "--json"]).json();

    let second = replay(&up, &file, &["--json"]).json();
    assert_eq!(second["committed"], 0);
    assert_eq!(second["already_paid"], 300);
    assert_eq!(second["moved_minor"], 0);
    assert_eq!(second["accounts_opened"], 0);
    assert_eq!(up.run(&["bank", "audit", "--json"]).json(), audit);
    assert_eq!(audit["total_minor"], 40 * 1_000);
    assert_eq!(audit["in_doubt"], 0);
}

#[test]
fn what_is_refused_is_what_a_reckoning_refuses() {
    let orders: Vec<Order> = (0..120).map(|n| (n % 9, "YZ", 37 + n * 13 % 250)).collect();
    let mut left = [1_000_u32; 9];
    let mut refused = Vec::new();
    let mut moved = 0;
    for (id, (from, _, minor)) in (1..).zip(&orders) {
        let balance = &mut left[*from as usize];
        match balance.checked_sub(*minor) {
            Some(rest) => (*balance, moved) = (rest, moved + minor),
            None => refused.push(format!("{id}")),
        }
    }
    assert!(!refused.is_empty() && refused.len() < orders.len());
    // Side by side too, since orders of one account keep their order.
    for in_flight in ["1", "16"] {
        let dir = TempDir::new().unwrap();
        let up = Up::start("home,YZ", &dir.path().join("data"));
        let file = file(&dir, &orders);
        let said = replay(&up, &file, &["--in-flight", in_flight, "--json"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        let found = said.json();
        assert_eq!(found["refused_orders"], json!(refused));
        assert_eq!(
            found["refused_by_reason"]["INSUFFICIENT_FUNDS"],
            refused.len()
        );
        assert_eq!(found["moved_minor"], moved);
    }
}

#[test]
fn a_malformed_line_is_reported_and_the_rest_goes_on() {
    let dir = TempDir::new().unwrap();
    let up = Up::start("home,YZ", &dir.path().join("data"));
    let file = file(&dir, &[(1, "YZ", 80), (2, "YZ", 7)]);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}3\t1\tYZ\t5\tmuch\t\n4\t1\tYZ\n")).unwrap();
    let said = replay(&up, &file, &["--rate", "1000"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.err
            .contains("line 4 is left out: amount: \"much\" is no amount"),
        "{said:?}"
    );
    assert!(
        said.err
            .contains("line 5 is left out: account_to is missing"),
        "{said:?}"
    );
    let line = |what: &str| {
        said.out
            .lines()
            .find(|line| line.starts_with(what))
            .unwrap()
    };
    assert!(line("committed ").ends_with(" 2"), "{said:?}");
    assert!(line("moved, CZK").ends_with(" 0.87"), "{said:?}");
    assert_eq!(replay(&up, &file, &["--json"]).json()["malformed"], 2);
}

#[test]
fn a_file_that_is_no_file_of_orders_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x.tsv");
    std::fs::write(&path, "a\tb\n").unwrap();
    let path = path.to_str().unwrap();
    let replay = |file| {
        run(&[
            "bank",
            "replay",
            file,
            "--home",
            "h",
            "--opening-balance",
            "1",
        ])
    };
    replay(path).failed(2, &[path, "line 1 has no column order_id"]);
    replay("/nowhere.tsv").failed(2, &["cannot read /nowhere.tsv"]);
}

#[test]
fn a_bank_that_does_not_come_is_named() {
    let dir = TempDir::new().unwrap();
    let up = Up::start("home", &dir.path().join("data"));
    let file = file(&dir, &[(1, "YZ", 80), (2, "ST", 80)]);
    replay(&up, &file, &[]).failed(
        4,
        &["banks are not registered", "ST, YZ", "nemcon up --banks"],
    );
}
