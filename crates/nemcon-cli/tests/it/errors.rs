//! What goes wrong on the way, and what is said then.

use std::net::{Ipv4Addr, TcpListener};

use tempfile::TempDir;

use crate::cluster::{Nodes, Up, run};

#[test]
fn mistakes_in_names_and_amounts_are_told_apart_by_their_exit_codes() {
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
    for (line, code, parts) in [
        (
            "bank transfer a/x b/nobody 1",
            1,
            ["UNKNOWN_ACCOUNT", "nemcon bank open"],
        ),
        (
            "bank transfer a/nobody b/x 1",
            1,
            ["UNKNOWN_ACCOUNT", "nemcon bank accounts"],
        ),
        ("bank show a/nobody", 1, ["UNKNOWN_ACCOUNT", "nobody"]),
        (
            "bank transfer a/x z/y 1",
            1,
            ["no bank z is registered", "there are a, b"],
        ),
        (
            "bank accounts --bank z",
            1,
            ["no bank z is registered", "nemcon participants list"],
        ),
        (
            "bank open a/x --currency CZK",
            1,
            ["ACCOUNT_EXISTS", "nemcon bank show"],
        ),
        (
            "bank transfer a/x a/x 1",
            2,
            ["a/x cannot pay itself", "two accounts"],
        ),
        (
            "bank transfer a/x b/y 1,50",
            2,
            ["1,50", "such as 25, 25.00 or .80"],
        ),
        (
            "bank transfer x b/y 1",
            2,
            ["'x'", "for example bank-a/alice"],
        ),
        ("participants remove z", 1, ["UNKNOWN_PARTICIPANT", "a, b"]),
        (
            "txn show 01890a5d-ac96-774b-bcce-b302099a8057",
            1,
            ["UNKNOWN_TRANSACTION", "not known"],
        ),
        (
            "txn run /nowhere/t.json",
            2,
            ["/nowhere/t.json", "cannot read"],
        ),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        up.run(&arguments).failed(code, &parts);
    }
    // None of it has moved anything.
    assert_eq!(
        up.run(&["bank", "audit", "--json"]).json()["total_minor"],
        100
    );
}

#[test]
fn a_wrong_address_is_found_out_at_once() {
    // A port that was free a moment ago.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{free}");
    for command in [["bank", "audit"], ["txn", "list"], ["participants", "list"]] {
        let said = run(&[&["--coordinator", &url], &command[..]].concat());
        said.failed(
            4,
            &[
                "no coordinator answers at",
                &url,
                "`nemcon up`",
                "--coordinator",
            ],
        );
    }
}

#[test]
fn somebody_else_at_the_address_is_not_taken_for_a_coordinator() {
    let nodes = Nodes::start();
    let bank = nodes.bank("bank-a");
    let said = run(&["--coordinator", bank.url(), "bank", "audit"]);
    said.failed(
        4,
        &["no coordinator", bank.url(), "a bank may have that port"],
    );
}

#[test]
fn a_bank_that_is_down_is_named() {
    let nodes = Nodes::start();
    let (a, b) = (nodes.bank("a"), nodes.bank("b"));
    nodes
        .run(&[
            "bank",
            "open",
            "a/x",
            "--currency",
            "CZK",
            "--opening-balance",
            "1",
        ])
        .done();
    nodes
        .run(&["bank", "open", "b/y", "--currency", "CZK"])
        .done();
    let url = b.url().to_owned();
    b.stop();
    b.join().unwrap();
    for line in ["bank transfer a/x b/y 1", "bank show b/y", "bank audit"] {
        let arguments: Vec<&str> = line.split(' ').collect();
        nodes
            .run(&arguments)
            .failed(4, &["bank b does not answer at", &url]);
    }
    // Whoever asks first finds it out for the coordinator.
    let c = nodes.bank("c");
    nodes
        .run(&["bank", "open", "c/z", "--currency", "CZK"])
        .done();
    let url = c.url().to_owned();
    c.stop();
    c.join().unwrap();
    nodes
        .run(&["bank", "show", "c/z"])
        .failed(4, &["bank c does not answer at", &url]);
    // The other bank is not concerned.
    let shown = nodes.run(&["bank", "show", "a/x", "--json"]).json();
    assert_eq!(shown["balance_minor"], 100);
    drop(a);
}

#[test]
fn a_port_that_is_taken_is_named_before_anything_is_started() {
    let dir = TempDir::new().unwrap();
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    let data = dir.path().join("data");
    let base = port.to_string();
    let arguments = ["up", "--banks", "a", "--port-base", &base, "--data-dir"];
    let said = run(&[&arguments[..], &[data.to_str().unwrap()]].concat());
    if port <= u16::MAX - 10 {
        said.failed(
            1,
            &[
                &format!("port {port} for coordinator is taken"),
                "--port-base",
            ],
        );
    }
    assert!(!data.exists());
}

#[test]
fn help_names_the_exit_codes() {
    let help = run(&["--help"]).done();
    assert!(help.contains("3 outcome unknown"), "{help}");
    assert_eq!(run(&[]).code, Some(2));
    assert_eq!(run(&["bank"]).code, Some(2));
    assert!(run(&["--version"]).done().starts_with("nemcon "));
}
