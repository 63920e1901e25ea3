//! A node that dies and comes back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::binaries::binary;
use crate::mount::Mounted;
use crate::patience::until;
use crate::port::Port;
use crate::process::{Process, Signal};

/// How long a node may take from its start until it serves. Generous: tests run
/// unoptimised, beside each other, on small machines.
const SERVING_MAX: Duration = Duration::from_secs(60);

/// One node: a port and a data directory, and the process that has them now.
#[derive(Debug)]
pub struct Node {
    name: String,
    program: &'static str,
    arguments: Vec<String>,
    port: Port,
    /// Where its metrics are.
    http: Port,
    /// Where its output, its ready file and its data are.
    dir: PathBuf,
    process: Option<Process>,
    /// After the process, which has files there.
    disk: Option<Mounted>,
}

impl Node {
    /// A node that has not been started. Everything of it is in `dir`, under its
    /// name; `arguments` are added to those that every node gets.
    #[must_use]
    pub fn new(name: &str, program: &'static str, arguments: &[String], dir: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program,
            arguments: arguments.to_vec(),
            port: Port::reserve(),
            http: Port::reserve(),
            dir: dir.to_owned(),
            process: None,
            disk: None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is reached, in all its lives.
    #[must_use]
    pub fn url(&self) -> String {
        self.port.url()
    }

    /// Where its metrics and probes are, in all its lives.
    #[must_use]
    pub fn http_url(&self) -> String {
        self.http.url()
    }

    /// Where its log and its data are.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// Gives its data directory a disk of its own, for as long as the node is
    /// there, or takes the one it has.
    pub fn set_disk(&mut self, disk: Option<Mounted>) {
        self.disk = None;
        self.disk = disk;
    }

    /// The process of this life.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn process(&self) -> &Process {
        match &self.process {
            Some(process) => process,
            None => panic!("{} is not running", self.name),
        }
    }

    fn process_mut(&mut self) -> &mut Process {
        match &mut self.process {
            Some(process) => process,
            None => panic!("{} is not running", self.name),
        }
    }

    /// Adds arguments for the lives to come.
    pub fn add_arguments(&mut self, arguments: &[&str]) {
        self.arguments
            .extend(arguments.iter().map(ToString::to_string));
    }

    /// Takes an argument away again, for the lives to come.
    ///
    /// # Panics
    /// If it was not among them.
    pub fn remove_argument(&mut self, argument: &str) {
        let at = self.arguments.iter().position(|it| it == argument);
        match at {
            Some(at) => drop(self.arguments.remove(at)),
            None => panic!("{} has no argument {argument}", self.name),
        }
    }

    /// Starts it, and does not wait.
    ///
    /// # Panics
    /// If it runs already, or cannot be started.
    pub fn spawn(&mut self) {
        assert!(self.process.is_none(), "{} is running", self.name);
        // A killed life has left its ready file behind.
        let _ = fs::remove_file(self.ready_file());
        let mut command = Command::new(binary(self.program));
        command
            .arg(format!("--listen=127.0.0.1:{}", self.port.number()))
            .arg(format!("--http-listen=127.0.0.1:{}", self.http.number()))
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--ready-file")
            .arg(self.ready_file())
            .args(&self.arguments);
        self.process = Some(Process::spawn(&self.name, &mut command, &self.dir));
    }

    /// Waits until it serves.
    ///
    /// # Panics
    /// If it ends instead, or takes too long.
    pub async fn serving(&mut self) {
        let (ready, what) = (self.ready_file(), format!("{} serves", self.name));
        let process = self.process_mut();
        until(&what, SERVING_MAX, async || {
            if let Some(status) = process.status() {
                panic!("{what}: it has ended, {status}");
            }
            if ready.exists() {
                Ok(())
            } else {
                Err("no ready file")
            }
        })
        .await;
    }

    /// Waits until it serves, or has ended instead: then this is how. Its output
    /// can still be looked at.
    ///
    /// # Panics
    /// If it takes too long.
    pub async fn serving_or_ended(&mut self) -> Option<ExitStatus> {
        let (ready, what) = (self.ready_file(), format!("{} serves", self.name));
        let process = self.process_mut();
        until(&what, SERVING_MAX, async || match process.status() {
            Some(status) => Ok(Some(status)),
            None if ready.exists() => Ok(None),
            None => Err("no ready file"),
        })
        .await
    }

    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// As [`Node::spawn`] and [`Node::serving`].
    pub async fn start(&mut self) {
        self.spawn();
        self.serving().await;
    }

    /// Kills it with SIGKILL.
    ///
    /// # Panics
    /// If it is not running, or has ended by itself.
    pub fn kill(&mut self) {
        let process = self.process_mut();
        if let Some(status) = process.status() {
            panic!(
                "{} should have been running, and has ended: {status}",
                self.name
            );
        }
        process.kill();
        self.process = None;
    }

    /// Kills it and starts it again, and waits until it serves.
    ///
    /// # Panics
    /// As [`Node::kill`] and [`Node::start`].
    pub async fn restart(&mut self) {
        self.kill();
        self.start().await;
    }

    /// Tells it to stop, and waits for its end.
    ///
    /// # Panics
    /// If it does not end within that time.
    pub async fn stop(&mut self, within: Duration) -> ExitStatus {
        self.process().signal(Signal::Terminate);
        self.stopped(within).await
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end within that time.
    pub async fn stopped(&mut self, within: Duration) -> ExitStatus {
        let status = self.process_mut().ended(within).await;
        self.process = None;
        status
    }

    fn ready_file(&self) -> PathBuf {
        self.dir.join(format!("{}.url", self.name))
    }
}
