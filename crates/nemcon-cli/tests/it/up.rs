//! `nemcon up`, from the first start to the second.

use std::fs::{self, File};
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

#[test]
fn what_it_logs_into_a_file_has_no_colours_and_is_json_if_wanted() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("log");
    let logged = |more: &[&str]| {
        let more = [&["--verbose"], more].concat();
        let errors = File::create(&log).unwrap().into();
        let up = Up::start_with("bank-a", &dir.path().join("data"), &more, errors);
        assert_eq!(up.stop().0, Some(0));
        fs::read_to_string(&log).unwrap()
    };
    let text = logged(&[]);
    assert!(text.contains("node{node=bank-a}"), "{text}");
    assert!(!text.contains('\x1b'), "escapes for a terminal: {text}");
    let json = logged(&["--log-format", "json"]);
    for line in json.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], "INFO", "{line}");
    }
    assert!(json.contains(r#""node":"bank-a""#), "{json}");
}

#[test]
fn a_setting_of_logs_or_traces_that_makes_no_sense_is_named() {
    run(&["up", "--log-format", "xml"]).failed(2, &["\"xml\"", "text or json"]);
    let ratio = run(&["up", "--trace-ratio", "2"]);
    assert_eq!(ratio.code, Some(2), "{ratio:?}");
    assert!(ratio.err.contains("0 (none) to 1 (all)"), "{ratio:?}");
}
