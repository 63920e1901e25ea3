//! Accounts, transfers and the audit.

use tempfile::TempDir;

use crate::cluster::Up;

#[test]
fn money_moves_between_banks_and_the_audit_sees_all_of_it() {
    let dir = TempDir::new().unwrap();
    let up = Up::start("bank-a,bank-b", dir.path());
    let opened = up.run(&[
        "bank",
        "open",
        "bank-a/alice",
        "--currency",
        "CZK",
        "--opening-balance",
        "100.00",
        "--owner",
        "Alice Nováková",
    ]);
    assert_eq!(opened.done(), "opened bank-a/alice with 100.00 CZK\n");
    up.run(&[
        "bank",
        "open",
        "bank-b/bob",
        "--currency",
        "CZK",
        "--minimum-balance",
        "-50",
    ])
    .done();

    let moved = up
        .run(&["bank", "transfer", "bank-a/alice", "bank-b/bob", "25.5"])
        .done();
    let told = "moved 25.50 CZK from bank-a/alice (now 74.50) to bank-b/bob (now 25.50)\n";
    assert!(moved.starts_with(told), "{moved}");
    let overdrawn = [
        "bank",
        "transfer",
        "bank-b/bob",
        "bank-a/alice",
        "75.50",
        "--json",
    ];
    let back = up.run(&overdrawn).json();
    assert_eq!(back["from_balance_minor"], -5_000);
    assert_eq!(back["to_balance_minor"], 15_000);

    let audit = up.run(&["bank", "audit", "--json"]);
    let found = audit.json();
    assert_eq!(audit.code, Some(0));
    assert_eq!(found["total_minor"], 10_000);
    assert_eq!(found["balanced"], true);
    for (at, bank, total) in [(0, "bank-a", 15_000), (1, "bank-b", -5_000)] {
        let found = &found["banks"][at];
        assert_eq!(found["bank"], bank);
        assert_eq!(found["accounts"], 1);
        assert_eq!(found["total_minor"], total);
        assert_eq!(found["in_doubt"], 0);
    }

    let accounts = up.run(&["bank", "accounts"]).done();
    assert!(
        accounts.contains("bank-a/alice  Alice Nováková   150.00"),
        "{accounts}"
    );
    let shown = up
        .run(&["bank", "show", "bank-b/bob", "--entries", "1"])
        .done();
    assert!(
        shown.contains("brought forward") && shown.contains("-75.50"),
        "{shown}"
    );
}

#[test]
fn a_reference_pays_once() {
    let dir = TempDir::new().unwrap();
    let up = Up::start("a", dir.path());
    up.run(&[
        "bank",
        "open",
        "a/x",
        "--currency",
        "CZK",
        "--opening-balance",
        "9",
    ])
    .done();
    up.run(&["bank", "open", "a/y", "--currency", "CZK"]).done();
    let pay = [
        "bank",
        "transfer",
        "a/x",
        "a/y",
        ".80",
        "--reference",
        "order-7",
    ];
    up.run(&pay).done();
    up.run(&pay).failed(
        1,
        &["DUPLICATE_REFERENCE", "order-7", "nothing has been done"],
    );
    let shown = up.run(&["bank", "show", "a/y", "--json"]).json();
    assert_eq!(shown["balance_minor"], 80);
}

#[test]
fn an_account_is_closed_when_it_is_empty() {
    let dir = TempDir::new().unwrap();
    let up = Up::start("a", dir.path());
    up.run(&[
        "bank",
        "open",
        "a/x",
        "--currency",
        "CZK",
        "--opening-balance",
        "1",
    ])
    .done();
    up.run(&["bank", "close", "a/x"])
        .failed(1, &["BALANCE_NOT_ZERO", "nemcon bank transfer"]);
    up.run(&["bank", "open", "a/y", "--currency", "CZK"]).done();
    up.run(&["bank", "transfer", "a/x", "a/y", "1"]).done();
    up.run(&["bank", "close", "a/x"]).done();
    let accounts = up
        .run(&["bank", "accounts", "--bank", "a", "--json"])
        .json();
    assert_eq!(accounts["accounts"][0]["closed"], true);
    assert_eq!(accounts["accounts"][1]["closed"], false);
}

#[test]
fn currencies_are_audited_each_for_itself() {
    let dir = TempDir::new().unwrap();
    let up = Up::start("a,b", dir.path());
    up.run(&[
        "bank",
        "open",
        "a/x",
        "--currency",
        "CZK",
        "--opening-balance",
        "1",
    ])
    .done();
    up.run(&[
        "bank",
        "open",
        "b/y",
        "--currency",
        "EUR",
        "--opening-balance",
        "2",
    ])
    .done();
    let found = up.run(&["bank", "audit", "--json"]).json();
    assert!(found["total_minor"].is_null(), "{found}");
    assert_eq!(found["currencies"][1]["currency"], "EUR");
    assert_eq!(found["currencies"][1]["total_minor"], 200);
    let wrong = up.run(&["bank", "transfer", "a/x", "b/y", "1"]);
    wrong.failed(1, &["b: ", "CURRENCY_MISMATCH", "--currency"]);
}
