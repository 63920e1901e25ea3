//! The cluster under load: one that is there, or one that is started for it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nemcon_client::{Address, Client, Settings};
use nemcon_core::coordinator::event::ParticipantView;
use nemcon_core::id::ParticipantName;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::accounts;
use crate::cpu::Meter;
use crate::error::BenchError;
use crate::setting::Setting;

/// How long a node may take from its start until it serves, and a bank until it is
/// registered. Generous: programs without optimisation on a busy machine.
const SERVING_MAX: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long is looked for banks of a cluster that is there.
const THERE_MAX: Duration = Duration::from_secs(5);

/// How long an outcome is asked for. Longer than a transaction may take: one that
/// stays unknown makes the books vague.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// How much of what a node said is shown when it does not serve.
const SAID_LINES: usize = 5;

/// A cluster to start.
#[derive(Clone, Debug)]
pub struct Spawn {
    /// How many coordinators; each bank is registered with all of them.
    pub coordinators: u8,
    /// How many banks.
    pub banks: u8,
    /// Where the programs are.
    pub programs: PathBuf,
    /// In which directory the nodes get one that is thrown away.
    pub dir: PathBuf,
    /// How much longer each flush of a log is made to take.
    pub flush_delay: Duration,
}

/// Coordinators and their banks. What was started for it ends with it.
#[derive(Debug)]
pub struct Cluster {
    /// Of each coordinator; one at least.
    clients: Vec<Client>,
    banks: Vec<ParticipantName>,
    setting: Setting,
    // Before the directory, which they write to.
    nodes: Vec<Node>,
    _dir: Option<TempDir>,
}

/// A process of ours.
#[derive(Debug)]
struct Node {
    name: String,
    child: Child,
    ready: PathBuf,
    said: PathBuf,
}

impl Cluster {
    /// One that is there: these banks, or all that are registered and can be reached.
    ///
    /// # Errors
    /// [`BenchError::BanksMissing`] or what the client says.
    pub async fn there(
        coordinator: &Address,
        banks: &[ParticipantName],
    ) -> Result<Self, BenchError> {
        let client = Client::new(coordinator.clone(), patience(THERE_MAX));
        let all = client.participants().await?;
        let names = match banks {
            [] => {
                let here = all.into_iter().filter(|view| view.reachable);
                accounts::banks(&client, here.map(|view| view.name).collect()).await?
            }
            named => named.to_vec(),
        };
        registered(&client, &names, THERE_MAX).await?;
        let flush = "as the nodes are set".to_owned();
        Ok(Self {
            clients: vec![client.with_settings(patience(ANSWER_MAX))],
            banks: names,
            setting: Setting::here(None, flush, Vec::new()),
            nodes: Vec::new(),
            _dir: None,
        })
    }

    /// Starts one, each node a process of its own, and waits until it serves.
    ///
    /// # Errors
    /// [`BenchError::NoProgram`], [`BenchError::NotServing`],
    /// [`BenchError::BanksMissing`], or what the operating system says.
    pub async fn start(spawn: &Spawn) -> Result<Self, BenchError> {
        let at = spawn.dir.display();
        let dir = TempDir::with_prefix_in("nemcon-bench-", &spawn.dir)
            .map_err(BenchError::system(format!("make a directory in {at}")))?;
        let coordinator = program(spawn, "nemcon-coordinator")?;
        let bank = program(spawn, "nemcon-bank")?;
        let versions = vec![version(&coordinator)?, version(&bank)?];
        let mut nodes = Vec::new();
        let mut urls = Vec::new();
        for number in 1..=spawn.coordinators.max(1) {
            let name = match spawn.coordinators {
                0 | 1 => "coordinator".to_owned(),
                _ => format!("coordinator-{number}"),
            };
            let mut node = Node::start(&name, &coordinator, &[], spawn, dir.path())?;
            urls.push(node.serving().await?);
            nodes.push(node);
        }
        let mut banks = Vec::new();
        for number in 1..=spawn.banks {
            let name = format!("bank-{number}");
            let mut arguments = vec![format!("--name={name}")];
            arguments.extend(urls.iter().map(|url| format!("--coordinator={url}")));
            nodes.push(Node::start(&name, &bank, &arguments, spawn, dir.path())?);
            banks.push(name);
        }
        for node in &mut nodes[urls.len()..] {
            node.serving().await?;
        }
        let mut clients = Vec::new();
        for url in urls {
            let address: Address = url.parse().map_err(nemcon_client::ClientError::from)?;
            clients.push(Client::new(address, patience(ANSWER_MAX)));
        }
        let banks: Result<Vec<ParticipantName>, _> = banks.iter().map(|it| it.parse()).collect();
        let banks = banks
            .map_err(|error: nemcon_core::id::NameError| BenchError::Plan(error.to_string()))?;
        for client in &clients {
            registered(client, &banks, SERVING_MAX).await?;
        }
        Ok(Self {
            clients,
            banks,
            setting: Setting::here(Some(dir.path()), flush(spawn.flush_delay), versions),
            nodes,
            _dir: Some(dir),
        })
    }

    /// A client of each coordinator.
    pub(crate) fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// A client of the first.
    pub(crate) fn client(&self) -> &Client {
        &self.clients[0]
    }

    /// Its banks.
    #[must_use]
    pub fn banks(&self) -> &[ParticipantName] {
        &self.banks
    }

    /// Where and with what it is measured.
    pub(crate) fn setting(&self) -> &Setting {
        &self.setting
    }

    /// Looks at the processor's time of its processes, if they are ours.
    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self.nodes.iter().map(|node| node.child.id()).collect())
    }
}

fn patience(give_up_after: Duration) -> Settings {
    Settings {
        give_up_after,
        ..Settings::default()
    }
}

/// What is synced, in words.
fn flush(delay: Duration) -> String {
    let synced = "every promise is synced (fdatasync) before it is given";
    if delay.is_zero() {
        return synced.to_owned();
    }
    format!("{synced}; each flush takes {} ms longer", delay.as_millis())
}

fn program(spawn: &Spawn, name: &str) -> Result<PathBuf, BenchError> {
    let path = spawn
        .programs
        .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if path.is_file() {
        Ok(path)
    } else {
        Err(BenchError::NoProgram(path))
    }
}

/// What a program says of its version.
fn version(program: &Path) -> Result<String, BenchError> {
    let output = bare(program).arg("--version").output();
    let output = output.map_err(BenchError::system(format!("run {}", program.display())))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A command that inherits none of the settings that nodes take from the
/// environment.
fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("NEMCON_") {
            command.env_remove(key);
        }
    }
    command
}

/// Waits until these are registered and have answered.
async fn registered(
    client: &Client,
    names: &[ParticipantName],
    within: Duration,
) -> Result<(), BenchError> {
    let until = Instant::now() + within;
    loop {
        let views = client.participants().await?;
        let answers = |view: &ParticipantView| view.reachable && view.boot.is_some();
        let here = |name: &ParticipantName| {
            let mut views = views.iter();
            views.any(|view| view.name == *name && answers(view))
        };
        let missing: Vec<ParticipantName> =
            names.iter().filter(|name| !here(name)).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(BenchError::BanksMissing {
                names: missing,
                url: client.address().to_string(),
                seconds: within.as_secs(),
            });
        }
        sleep(LOOK_AGAIN).await;
    }
}

impl Node {
    fn start(
        name: &str,
        program: &Path,
        arguments: &[String],
        spawn: &Spawn,
        dir: &Path,
    ) -> Result<Self, BenchError> {
        let (ready, said) = (
            dir.join(format!("{name}.url")),
            dir.join(format!("{name}.log")),
        );
        let log = File::create(&said).map_err(BenchError::system("write a log"))?;
        let both = log.try_clone().map_err(BenchError::system("write a log"))?;
        let child = bare(program)
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.join(name))
            .arg("--ready-file")
            .arg(&ready)
            .arg(format!(
                "--flush-delay-ms={}",
                spawn.flush_delay.as_millis()
            ))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both)
            .spawn()
            .map_err(BenchError::system(format!("start {}", program.display())))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            ready,
            said,
        })
    }

    /// Waits until it serves, and gives its URL.
    async fn serving(&mut self) -> Result<String, BenchError> {
        let until = Instant::now() + SERVING_MAX;
        loop {
            // Written in one piece, by renaming; but an empty one is none.
            let url = fs::read_to_string(&self.ready).unwrap_or_default();
            if !url.trim().is_empty() {
                return Ok(url.trim().to_owned());
            }
            let ended = self.child.try_wait();
            if let Some(status) = ended.map_err(BenchError::system("look after a node"))? {
                return Err(self.not_serving(status.to_string()));
            }
            if Instant::now() >= until {
                let seconds = SERVING_MAX.as_secs();
                return Err(self.not_serving(format!("nothing for {seconds} s")));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    fn not_serving(&self, what: String) -> BenchError {
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        BenchError::NotServing {
            node: self.name.clone(),
            what,
            said: lines[lines.len().saturating_sub(SAID_LINES)..].join("; "),
        }
    }
}

impl Drop for Node {
    /// Its data are thrown away, so it need not end in good order.
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let spawn = Spawn {
            coordinators: 1,
            banks: 2,
            programs: dir.path().to_owned(),
            dir: dir.path().to_owned(),
            flush_delay: Duration::ZERO,
        };
        let error = Cluster::start(&spawn).await.unwrap_err().to_string();
        assert!(
            error.contains("nemcon-coordinator") && error.contains("NEMCON_BIN_DIR"),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_node_that_ends_instead_is_quoted() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        for name in ["nemcon-coordinator", "nemcon-bank"] {
            let path = dir.path().join(name);
            fs::write(&path, "#!/bin/sh\necho no room on the disk >&2\nexit 3\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let spawn = Spawn {
            coordinators: 1,
            banks: 1,
            programs: dir.path().to_owned(),
            dir: dir.path().to_owned(),
            flush_delay: Duration::ZERO,
        };
        let error = Cluster::start(&spawn).await.unwrap_err().to_string();
        for part in [
            "coordinator does not serve",
            "exit status: 3",
            "no room on the disk",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
