//! What somebody meets who has never seen this project: the first five minutes,
//! and every error on the way. Each must be one line that names the thing and
//! says what to do. `--nocapture` shows them all.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nemcon_e2e::{Port, Process, Signal, binary, until};

use crate::cluster::{Cluster, SOON, Told, nemcon, run};
use crate::hold::Hold;
use crate::ids::under_way;
use crate::money::withdraw;

const DONE: i32 = 0;
const REFUSED: i32 = 1;
const USAGE: i32 = 2;
const UNKNOWN: i32 = 3;
const UNREACHABLE: i32 = 4;

/// Checks an error: its exit code, that it is one line, and that it has these
/// words in it.
#[track_caller]
fn assert_error(told: &Told, exit: i32, words: &[&str]) {
    println!("{exit}: {}", told.stderr.trim_end());
    assert_eq!(told.exit, exit, "{told:?}");
    assert_eq!(told.stderr.lines().count(), 1, "one line: {told:?}");
    for word in words {
        assert!(told.stderr.contains(word), "{word:?} is missing: {told:?}");
    }
}

/// Checks that it worked, and gives what it said.
#[track_caller]
fn done(told: Told) -> String {
    assert_eq!(told.exit, DONE, "{told:?}");
    assert_eq!(told.stderr, "", "{told:?}");
    told.stdout
}

/// Two banks, with alice at `a` and bob at `b`, opened as a newcomer does.
async fn small_town() -> Cluster {
    let cluster = Cluster::start(&["a", "b"]).await;
    for line in [
        "bank open a/alice --currency CZK --opening-balance 100.00",
        "bank open b/bob --currency CZK",
    ] {
        done(cluster.nemcon(&words(line)).await);
    }
    cluster
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Runs a node's program, which ought to end by itself.
async fn node(program: &str, arguments: &[&str], dir: &Path) -> Told {
    run(
        "node",
        Command::new(binary(program))
            .args(arguments)
            .current_dir(dir),
        dir,
    )
    .await
}

/// Starts `nemcon up`, does what it says, and stops it.
#[tokio::test(flavor = "current_thread")]
async fn what_up_prints_can_be_pasted_and_works() {
    // For its room; its nodes are not started.
    let unused = Cluster::new(&[]).await;
    let mut command = Command::new(binary("nemcon"));
    command
        .current_dir(unused.dir())
        .args(["up", "--port-base", "0"]);
    let mut up = Process::spawn("up", &mut command, unused.dir());
    let greeting = until("it is up", SOON, async || {
        if let Some(status) = up.status() {
            panic!("it has ended: {status}");
        }
        let said = up.stdout();
        if said.contains("Stop with ctrl-c") {
            Ok(said)
        } else {
            Err(said)
        }
    })
    .await;
    println!("{greeting}");
    let program = binary("nemcon").display().to_string();
    let to_paste: Vec<&str> = greeting
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with(&program))
        .collect();
    assert_eq!(to_paste.len(), 4, "{greeting}");
    for line in to_paste {
        let told = run("sh", Command::new("sh").args(["-c", line]), unused.dir()).await;
        println!("$ {line}\n{}", done(told));
    }
    up.signal(Signal::Terminate);
    assert_eq!(
        up.ended(Duration::from_secs(10)).await.code(),
        Some(DONE),
        "{}",
        up.tail()
    );
}

/// A command line with a mistake in it, how it ends, and words of what is said:
/// the value, what is wrong with it, what to do.
type Mistake = (&'static str, i32, [&'static str; 3]);

/// Mistakes of somebody with accounts `a/alice` (75.00 CZK) and `b/bob`.
const MISTAKES: &[Mistake] = &[
    // Amounts.
    (
        "bank transfer a/alice b/bob 1,50",
        USAGE,
        ["1,50", "comma", "such as 25"],
    ),
    (
        "bank transfer a/alice b/bob 1.234",
        USAGE,
        ["1.234", "two places", "25.00"],
    ),
    (
        "bank transfer a/alice b/bob lots",
        USAGE,
        ["lots", "no amount", "25.00"],
    ),
    (
        "bank transfer a/alice b/bob -5",
        USAGE,
        ["-5", "not more than 0.00", "--help"],
    ),
    (
        "bank transfer a/alice b/bob 0",
        USAGE,
        ["0", "not more than 0.00", "--help"],
    ),
    (
        "bank transfer a/alice b/bob 75.01",
        REFUSED,
        ["INSUFFICIENT_FUNDS", "alice", "nothing has been done"],
    ),
    // Accounts.
    (
        "bank transfer a/alica b/bob 1.00",
        REFUSED,
        ["alica", "UNKNOWN_ACCOUNT", "nemcon bank open"],
    ),
    (
        "bank transfer a/alice b/bobby 1.00",
        REFUSED,
        ["bobby", "UNKNOWN_ACCOUNT", "nemcon bank open"],
    ),
    (
        "bank show a/alica",
        REFUSED,
        ["alica", "UNKNOWN_ACCOUNT", "nemcon bank accounts"],
    ),
    (
        "bank transfer alice b/bob 1.00",
        USAGE,
        ["alice", "BANK/ACCOUNT", "--help"],
    ),
    (
        "bank transfer a/alice a/alice 1.00",
        USAGE,
        ["a/alice", "itself", "two accounts"],
    ),
    (
        "bank open a/alice --currency CZK",
        REFUSED,
        ["alice", "ACCOUNT_EXISTS", "another name"],
    ),
    (
        "bank open a/carol --currency czk",
        USAGE,
        ["czk", "three letters", "--currency"],
    ),
    (
        "bank transfer a/alice b/bob 1.00 --currency EUR",
        REFUSED,
        ["EUR", "CURRENCY_MISMATCH", "--currency"],
    ),
    // Banks.
    (
        "bank transfer a/alice c/bob 1.00",
        REFUSED,
        ["bank c", "a, b", "participants list"],
    ),
    (
        "bank open c/carol --currency CZK",
        REFUSED,
        ["bank c", "a, b", "participants list"],
    ),
    // Commands.
    (
        "bank pay a/alice b/bob 1.00",
        USAGE,
        ["pay", "unrecognized", "--help"],
    ),
    (
        "txn show 01890a5d-ac96-774b-bcce-b302099a8057",
        REFUSED,
        [
            "01890a5d-ac96-774b-bcce-b302099a8057",
            "UNKNOWN_TRANSACTION",
            "nemcon txn list",
        ],
    ),
];

#[tokio::test(flavor = "current_thread")]
async fn a_transfer_and_its_mistakes() {
    let cluster = small_town().await;
    let moved = done(
        cluster
            .nemcon(&words("bank transfer a/alice b/bob 25.00"))
            .await,
    );
    assert!(
        moved.contains("25.00 CZK") && moved.contains("75.00"),
        "{moved}"
    );
    done(cluster.nemcon(&words("bank audit")).await);

    for (line, exit, said) in MISTAKES {
        assert_error(&cluster.nemcon(&words(line)).await, *exit, said);
    }
    assert_eq!(cluster.balance("a/alice").await, 7_500);
    assert_eq!(cluster.balance("b/bob").await, 2_500);
}

#[tokio::test(flavor = "current_thread")]
async fn a_wrong_port_is_told_from_a_wrong_program() {
    let cluster = small_town().await;
    let at = async |url: &str| {
        let line = format!("bank transfer a/alice b/bob 1.00 --coordinator {url}");
        nemcon(cluster.dir(), &words(&line)).await
    };
    let nobody = Port::reserve().url();
    assert_error(
        &at(&nobody).await,
        UNREACHABLE,
        &[&nobody, "nemcon up", "--coordinator"],
    );
    let bank = cluster.bank("a").url();
    assert_error(
        &at(&bank).await,
        UNREACHABLE,
        &[&bank, "no coordinator", "--coordinator"],
    );
    // Somebody who takes the connection and never says a word.
    let silent = Port::reserve();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, silent.number())).unwrap();
    assert_error(
        &at(&silent.url()).await,
        UNREACHABLE,
        &[&silent.url(), "--coordinator"],
    );
    drop(listener);
    assert_error(
        &at("localhost:7100").await,
        USAGE,
        &["localhost:7100", "http://"],
    );
    assert_eq!(cluster.balance("a/alice").await, 10_000);
}

#[tokio::test(flavor = "current_thread")]
async fn a_bank_that_is_down_is_named_and_nothing_is_done() {
    let mut cluster = small_town().await;
    cluster.bank_mut("b").kill();
    let url = cluster.bank("b").url();
    // At first the coordinator does not know it yet, and then it does.
    for _ in 0..2 {
        let told = cluster
            .nemcon(&words("bank transfer a/alice b/bob 1.00"))
            .await;
        assert_error(&told, UNREACHABLE, &["bank b", &url, "is it running"]);
    }
    cluster.bank_mut("b").start().await;
    cluster.complete().await;
    assert_eq!(cluster.balance("a/alice").await, 10_000);
    done(
        cluster
            .nemcon(&words("bank transfer a/alice b/bob 1.00"))
            .await,
    );
    assert_eq!(cluster.balance("b/bob").await, 100);
}

/// The coordinator dies while a transfer is under way, and does not come back for
/// as long as anybody would wait.
#[tokio::test(flavor = "current_thread")]
async fn an_outcome_that_is_not_known_is_not_called_a_failure() {
    let mut cluster = small_town().await;
    let hold = Hold::on(&cluster, "a", &withdraw("alice", 1)).await;
    let line = words("bank transfer a/alice b/bob 1.00 --currency CZK");
    let mut transfer = cluster.spawn_nemcon("transfer", &line);
    let client = cluster.client();
    let id = until("it is under way", SOON, async || {
        let page = client
            .transactions(nemcon_client::List::default())
            .await
            .unwrap();
        let running = page.views.iter().find(|view| view.outcome.is_none());
        running.map(|view| view.transaction).ok_or("nothing runs")
    })
    .await;
    under_way(&cluster, id).await;
    cluster.coordinator.kill();
    hold.abort().await;
    let status = transfer.ended(SOON * 2).await;
    let told = Told {
        exit: status.code().unwrap(),
        stdout: transfer.stdout(),
        stderr: transfer.stderr(),
    };
    let id = id.to_string();
    assert_error(&told, UNKNOWN, &[&id, "not known", "nemcon txn show"]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_port_that_is_taken_is_named_and_nothing_is_touched() {
    let cluster = small_town().await;
    let (dir, taken) = (cluster.dir(), cluster.bank("a").url());
    let listen = taken.trim_start_matches("http://");
    for program in ["nemcon-bank", "nemcon-coordinator"] {
        let told = node(program, &["--listen", listen, "--data-dir", "other"], dir).await;
        assert_error(&told, REFUSED, &[listen, "taken", "--listen", program]);
    }
    let base = cluster.coordinator.url();
    let base = base.rsplit(':').next().unwrap();
    let told = nemcon(dir, &["up", "--data-dir", "up", "--port-base", base]).await;
    assert_error(&told, REFUSED, &[base, "taken", "--port-base"]);
    assert!(!dir.join("other").exists() && !dir.join("up").exists());
}

#[tokio::test(flavor = "current_thread")]
async fn a_data_directory_has_one_node_and_a_name_has_one_data_directory() {
    let cluster = small_town().await;
    let dir = cluster.dir();
    let used = cluster.bank("a").data_dir().display().to_string();
    for program in ["nemcon-bank", "nemcon-coordinator"] {
        let told = node(program, &["--listen=127.0.0.1:0", "--data-dir", &used], dir).await;
        let said = [&used, "in use", "another data directory", program];
        assert_last_line(&told, REFUSED, &said);
    }
    let coordinator = cluster.coordinator.url();
    let another = ["--listen=127.0.0.1:0", "--data-dir=empty", "--name=a"];
    let arguments = [&another[..], &["--coordinator", &coordinator]].concat();
    let told = node("nemcon-bank", &arguments, dir).await;
    let said = [&coordinator, "another data directory", "--name"];
    assert_last_line(&told, REFUSED, &said);
    assert_eq!(cluster.balance("a/alice").await, 10_000);
}

#[tokio::test(flavor = "current_thread")]
async fn a_setting_that_makes_no_sense_is_named_with_what_is_allowed() {
    // For its room; its nodes are not started.
    let unused = Cluster::new(&[]).await;
    for (setting, value, allowed) in [
        ("--listen", "0.0.0.0:7110", "--insecure"),
        ("--listen", "seventy", "HOST:PORT"),
        ("--name", "my bank", "A-Z a-z 0-9"),
        ("--coordinator", "localhost:7100", "http://HOST:PORT"),
        ("--advertise", "bank-a", "http://HOST:PORT"),
        ("--drain-seconds", "soon", "whole number"),
        ("--log-level", "=loud", "info"),
    ] {
        let told = node("nemcon-bank", &[setting, value], unused.dir()).await;
        assert_error(
            &told,
            USAGE,
            &[value, setting.trim_start_matches("--"), allowed],
        );
    }
}

/// As [`assert_error`], for a node that had begun to log: the last line counts.
#[track_caller]
fn assert_last_line(told: &Told, exit: i32, words: &[&str]) {
    let last = Told {
        exit: told.exit,
        stdout: String::new(),
        stderr: told.stderr.lines().last().unwrap_or_default().to_owned(),
    };
    assert_error(&last, exit, words);
}
