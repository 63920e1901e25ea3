//! `nemcon up`, from the first start to the second.

use std::process::Command;

use tempfile::TempDir;

use crate::cluster::{Up, run};

#[test]
fn what_it_suggests_works_when_pasted() {
    let dir = TempDir::new().unwrap();
    let up = Up::start("bank-a,bank-b", dir.path());
    let commands: Vec<&str> = up
        .greeting
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(commands.len(), 4, "{}", up.greeting);
    let mut last = String::new();
    for command in commands {
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        last = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{command}: {last}");
    }
    assert!(last.contains("The books balance."), "{last}");
}

#[test]
fn it_stops_cleanly_and_goes_on_where_it_left_off() {
    let dir = TempDir::new().unwrap();
    let up = Up::start("bank-a", dir.path());
    let open = [
        "bank",
        "open",
        "bank-a/alice",
        "--currency",
        "CZK",
        "--opening-balance",
        "7",
    ];
    up.run(&open).done();
    let (code, last) = up.stop();
    assert_eq!(code, Some(0));
    assert!(last.contains("stopped"), "{last}");

    let up = Up::start("bank-a", dir.path());
    let shown = up.run(&["bank", "show", "bank-a/alice", "--json"]).json();
    assert_eq!(shown["balance_minor"], 700);
    assert_eq!(shown["entries"][0]["contra"], "cash");
}

#[test]
fn a_bank_of_an_earlier_time_is_pointed_out() {
    let dir = TempDir::new().unwrap();
    Up::start("bank-a,bank-b", dir.path()).stop();
    let up = Up::start("bank-a", dir.path());
    assert!(
        up.greeting
            .contains("bank-b is registered from an earlier time"),
        "{}",
        up.greeting
    );
    up.run(&["participants", "remove", "bank-b"]).done();
    let listed = up.run(&["participants", "list", "--json"]).json();
    assert_eq!(listed["participants"].as_array().unwrap().len(), 1);
}

#[test]
fn a_directory_that_is_in_use_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let up = Up::start("bank-a", dir.path());
    let data = dir.path().to_str().unwrap();
    let second = run(&["up", "--port-base", "0", "--data-dir", data]);
    second.failed(
        1,
        &[
            "coordinator: ",
            "in use by another node",
            "choose another data directory",
        ],
    );
    // The first one has not noticed.
    up.run(&["bank", "audit"]).done();
}
