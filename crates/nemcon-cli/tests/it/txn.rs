//! Transactions as JSON, and looking at them.

use tempfile::TempDir;

use crate::cluster::Up;

fn transfer(amount_minor: u32) -> String {
    format!(
        r#"{{"operations": [
            {{"participant": "a", "action": {{
                "@type": "type.googleapis.com/nemcon.bank.v1.Withdraw",
                "account": "x", "amountMinor": {amount_minor}, "currency": "CZK"}}}},
            {{"participant": "b", "action": {{
                "@type": "type.googleapis.com/nemcon.bank.v1.Deposit",
                "account": "y", "amountMinor": "{amount_minor}", "currency": "CZK"}}}}
        ]}}"#
    )
}

fn cluster() -> (TempDir, Up) {
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
    up.run(&["bank", "open", "b/y", "--currency", "CZK"]).done();
    (dir, up)
}

#[test]
fn a_transaction_is_run_from_its_json_and_can_be_looked_at() {
    let (_dir, up) = cluster();
    let ran = up.feed(&["txn", "run", "-"], &transfer(30));
    let found = ran.json();
    assert_eq!(ran.code, Some(0));
    assert_eq!(found["outcome"], "OUTCOME_COMMITTED");
    assert_eq!(found["results"][0]["balanceMinor"], "70");
    assert_eq!(
        found["results"][1]["@type"],
        "type.googleapis.com/nemcon.bank.v1.Account"
    );

    let id = found["transactionId"].as_str().unwrap();
    // It is followed to its end, which may come after the answer.
    let watched = up.run(&["txn", "watch", id]).done();
    assert!(
        watched.lines().last().unwrap().contains("COMMITTED"),
        "{watched}"
    );
    let shown = up.run(&["txn", "show", id]).done();
    for part in ["committed", "PREPARING", "COMMITTING", "a            yes"] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let shown = up.run(&["txn", "show", id, "--json"]).json();
    assert_eq!(shown["state"], "TRANSACTION_STATE_COMMITTED");
    let listed = up.run(&["txn", "list", "--state", "committed"]).done();
    assert!(listed.contains(id), "{listed}");
    let aborted = up
        .run(&["txn", "list", "--state", "aborted", "--json"])
        .json();
    assert_eq!(aborted["transactions"], serde_json::json!([]));
    // Too late to take it back.
    up.run(&["txn", "abort", id]).failed(1, &["has committed"]);
}

#[test]
fn a_transaction_that_aborts_says_why() {
    let (_dir, up) = cluster();
    let ran = up.feed(&["txn", "run", "-"], &transfer(101));
    assert_eq!(ran.code, Some(1));
    let found = ran.json();
    assert_eq!(found["outcome"], "OUTCOME_ABORTED");
    assert_eq!(found["refusal"]["reason"], "INSUFFICIENT_FUNDS");
    assert_eq!(found["refusal"]["participant"], "a");
    let id = found["transactionId"].as_str().unwrap();
    assert_eq!(up.run(&["txn", "watch", id]).code, Some(1));
    let shown = up.run(&["txn", "show", id]).done();
    assert!(shown.contains("INSUFFICIENT_FUNDS"), "{shown}");
}

#[test]
fn the_same_id_runs_once() {
    let (_dir, up) = cluster();
    let first = up.feed(&["txn", "run", "-"], &transfer(30)).json();
    let id = first["transactionId"].as_str().unwrap();
    let named =
        |minor| transfer(minor).replacen('{', &format!("{{\"transactionId\": \"{id}\","), 1);
    let again = up.feed(&["txn", "run", "-"], &named(30));
    assert_eq!(again.json(), first);
    up.feed(&["txn", "run", "-"], &named(31))
        .failed(1, &["TRANSACTION_ID_REUSED", id]);
}

#[test]
fn json_that_makes_no_sense_is_refused_before_anybody_is_asked() {
    let (_dir, up) = cluster();
    for (text, part) in [
        ("{", "EOF"),
        ("{}", "operations"),
        (
            &transfer(1).replace("Withdraw", "Steal"),
            "nemcon.bank.v1.Steal",
        ),
    ] {
        up.feed(&["txn", "run", "-"], text)
            .failed(2, &["-: ", part]);
    }
}

#[test]
fn nothing_is_in_doubt_and_nothing_is_damaged() {
    let (_dir, up) = cluster();
    let in_doubt = up.run(&["in-doubt", "list", "--json"]).json();
    assert_eq!(in_doubt["attempts"], serde_json::json!([]));
    assert_eq!(
        up.run(&["damage", "list", "--json"]).json()["damage"],
        serde_json::json!([])
    );
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let resolve = [
        "in-doubt",
        "resolve",
        id,
        "--participant",
        "a",
        "--abort",
        "--reason",
        "test",
    ];
    up.run(&resolve).failed(1, &[id, "is not in doubt at a"]);
    up.run(&["damage", "acknowledge", id, "a"])
        .failed(1, &["no damage", "nemcon damage list"]);
}
