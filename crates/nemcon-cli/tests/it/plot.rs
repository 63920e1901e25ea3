//! Pictures of a cluster, and of files.

use std::path::Path;

use tempfile::TempDir;

use crate::cluster::{Up, run};

/// The first bytes of every PNG.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

fn at(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_cluster_is_drawn() {
    let dir = TempDir::new().unwrap();
    let up = Up::start("a,b", &dir.path().join("data"));
    let waits = at(dir.path(), "waits.svg");
    let said = up.run(&["plot", "waits", "--out", &waits]).done();
    assert_eq!(said, format!("{waits} is drawn.\n"));
    let drawn = std::fs::read_to_string(&waits).unwrap();
    assert!(
        drawn.starts_with("<svg ") && drawn.contains("Nobody waits"),
        "{drawn}"
    );

    for account in ["a/alice", "b/bob"] {
        up.run(&[
            "bank",
            "open",
            account,
            "--currency",
            "CZK",
            "--opening-balance",
            "9.00",
        ])
        .done();
    }
    let throughput = at(dir.path(), "throughput.png");
    std::fs::write(&throughput, "an older file").unwrap();
    up.run(&["plot", "throughput", "--seconds", "1", "--out", &throughput])
        .done();
    assert!(std::fs::read(&throughput).unwrap().starts_with(PNG));
    up.stop();
}

#[test]
fn files_are_drawn() {
    let dir = TempDir::new().unwrap();
    let from = at(dir.path(), "statistics.json");
    let samples =
        r#"{"samples": [{"outcome": "OUTCOME_COMMITTED", "prepareUs": "900", "commitUs": "400"}]}"#;
    std::fs::write(&from, samples).unwrap();
    let out = at(dir.path(), "latency.svg");
    run(&["plot", "latency", "--from", &from, "--out", &out]).done();
    let drawn = std::fs::read_to_string(&out).unwrap();
    for words in [
        "Prepare phase, 1 transaction: p50 900 µs",
        "the last transaction of statistics.json",
    ] {
        assert!(drawn.contains(words), "{drawn}");
    }
}

#[test]
fn mistakes_name_the_file_and_what_is_allowed() {
    let dir = TempDir::new().unwrap();
    let from = at(dir.path(), "x.json");
    let out = at(dir.path(), "x.svg");
    let nowhere = at(dir.path(), "no/x.svg");
    std::fs::write(&from, "[]").unwrap();
    std::fs::write(&out, "what was there").unwrap();
    run(&["plot", "waits", "--out", "x.gif"]).failed(2, &["x.gif ends in .gif", ".svg or .png"]);
    run(&["plot", "latency", "--from", &from, "--out", &out])
        .failed(2, &[&from, "no list \"samples\""]);
    run(&["plot", "latency", "--from", "/no/such", "--out", &out]).failed(2, &["/no/such"]);
    run(&["plot", "waits", "--from", &from, "--out", &nowhere])
        .failed(1, &["cannot write", &nowhere]);
    run(&[
        "plot", "waits", "--from", &from, "--out", &out, "--scale", "2",
    ])
    .failed(2, &["--scale is for a PNG"]);
    run(&[
        "plot", "waits", "--from", &from, "--out", "x.png", "--scale", "9",
    ])
    .failed(2, &["9", "1..=4"]);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "what was there");
}
