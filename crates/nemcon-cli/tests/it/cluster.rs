//! Clusters to run commands against.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use nemcon_node::node::NodeHandle;
use nemcon_node::settings::Settings;
use serde_json::Value;
use tempfile::TempDir;

/// What a command has said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// How it ended, for messages about it.
    #[expect(dead_code, reason = "shown by Debug")]
    status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Its output, where it did what it was asked to.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// Its output as JSON, whatever its exit code.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that it failed with this code and one line that says all of this.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.starts_with("nemcon: "), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "no {part:?} in {self:?}");
        }
    }
}

/// A command line of the binary, with nothing of the environment that could
/// change its meaning.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nemcon"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("NEMCON_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> Said {
    said(command(arguments).output().unwrap())
}

fn said(output: std::process::Output) -> Said {
    Said {
        code: output.status.code(),
        status: output.status,
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Tells a process to stop.
pub(crate) fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args([name, &pid]).status().unwrap();
    assert!(sent.success());
}

/// `nemcon up` as a process.
pub(crate) struct Up {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// The coordinator's URL.
    pub(crate) url: String,
    /// All that it has printed until it was up.
    pub(crate) greeting: String,
}

impl Up {
    /// Starts one and waits until it is up.
    pub(crate) fn start(banks: &str, data_dir: &Path) -> Self {
        Self::start_with(banks, data_dir, &[], Stdio::inherit())
    }

    /// The same with more arguments, and with somewhere for its standard error.
    pub(crate) fn start_with(banks: &str, data_dir: &Path, more: &[&str], errors: Stdio) -> Self {
        let dir = data_dir.to_str().unwrap();
        let usual = [
            "up",
            "--banks",
            banks,
            "--port-base",
            "0",
            "--data-dir",
            dir,
        ];
        let mut command = command(&[&usual, more].concat());
        command.stderr(errors);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        while !greeting.ends_with("Stop with ctrl-c.\n") {
            let read = lines.read_line(&mut greeting).unwrap();
            if read == 0 {
                let status = child.wait().unwrap();
                panic!("it ended before it was up ({status}): {greeting}");
            }
        }
        let line = greeting
            .lines()
            .find(|line| line.starts_with("coordinator "))
            .unwrap();
        let url = line.split_whitespace().nth(1).unwrap().to_owned();
        Self {
            child,
            lines,
            url,
            greeting,
        }
    }

    /// Runs a command against it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        run(&[&["--coordinator", &self.url], arguments].concat())
    }

    /// Runs a command against it that reads this from standard input.
    pub(crate) fn feed(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = command(&[&["--coordinator", &self.url], arguments].concat());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        said(child.wait_with_output().unwrap())
    }

    /// Stops it as an operator does. Gives the exit code and what it said last.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        signal(&self.child, "-TERM");
        let mut last = String::new();
        self.lines.read_to_string(&mut last).unwrap();
        (self.child.wait().unwrap().code(), last)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // One that has gone by itself explains why the test failed.
        if let (true, Ok(Some(status))) = (std::thread::panicking(), self.child.try_wait()) {
            eprintln!("`nemcon up` had ended before: {status}");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster of nodes in this process, each of which can be stopped by itself.
pub(crate) struct Nodes {
    dir: TempDir,
    coordinator: NodeHandle,
}

impl Nodes {
    /// A coordinator.
    pub(crate) fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let settings = Settings::new(anywhere(), dir.path().join("coordinator"));
        let settings = nemcon_coordinator::Settings::new(settings);
        let coordinator = nemcon_coordinator::start(settings).unwrap();
        Self { dir, coordinator }
    }

    /// A bank beside it, once it is registered.
    pub(crate) fn bank(&self, name: &str) -> NodeHandle {
        let settings = Settings::new(anywhere(), self.dir.path().join(name));
        let urls = vec![self.coordinator.url().to_owned()];
        let settings = nemcon_bank::Settings::new(settings, name.parse().unwrap(), urls);
        let bank = nemcon_bank::start(settings).unwrap();
        let registered = || {
            self.run(&["participants", "list"])
                .done()
                .contains(bank.url())
        };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !registered() {
            assert!(
                std::time::Instant::now() < deadline,
                "{name} did not register"
            );
        }
        bank
    }

    /// Runs a command against it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        run(&[&["--coordinator", self.coordinator.url()], arguments].concat())
    }
}

fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
