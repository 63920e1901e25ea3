//! The cluster of `docker-compose.yml`, as containers of a test's own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use nemcon_e2e::{Port, until};
use tempfile::TempDir;

use crate::architecture::root;
use crate::cluster::{SOON, run};

/// A container, by the name of its service.
pub(super) type Name = &'static str;

pub(super) const COORDINATOR: Name = "coordinator";
pub(super) const BANKS: [Name; 3] = ["bank-a", "bank-b", "bank-c"];

/// All of them.
pub(super) const NODES: [Name; 4] = [COORDINATOR, BANKS[0], BANKS[1], BANKS[2]];

/// How much of a container's log a failed test shows.
const TAIL_LINES: &str = "60";

/// The containers of one cluster: a project with networks, volumes and published
/// ports that no other has. Dropped, all of it goes.
pub(super) struct Containers {
    project: String,
    ports: BTreeMap<Name, Port>,
    /// A container keeps its id through every stop and start.
    ids: BTreeMap<Name, String>,
    dir: TempDir,
}

/// How a container is, as the daemon sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// `running`, `exited`, `restarting`, `paused` …
    pub(super) status: String,
    /// How its last life ended.
    pub(super) exit: i64,
}

/// `docker-compose`, or what the environment says instead.
fn compose() -> Command {
    let words = std::env::var("NEMCON_COMPOSE").unwrap_or_else(|_| "docker-compose".into());
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().expect("NEMCON_COMPOSE names a program"));
    command.args(words);
    command
}

/// The variable by which the compose file lets a port be chosen.
fn port_variable(name: Name) -> String {
    format!("NEMCON_{}_PORT", name.to_uppercase().replace('-', "_"))
}

/// Runs a program that has to work, and gives what it said.
pub(super) async fn must(command: &mut Command, dir: &Path) -> String {
    let told = run("command", command, dir).await;
    assert_eq!(told.exit, 0, "{command:?}: {}{}", told.stdout, told.stderr);
    told.stdout.trim_end().to_owned()
}

impl Containers {
    /// Starts a cluster, and waits until all of it is healthy.
    pub(super) async fn up() -> Self {
        let ports = NODES.map(|name| (name, Port::reserve()));
        let mut containers = Self {
            project: format!("nemcon-{}-{}", std::process::id(), ports[0].1.number()),
            ports: ports.into_iter().collect(),
            ids: BTreeMap::new(),
            dir: tempfile::tempdir().unwrap(),
        };
        let mut up = containers.compose(&["up", "--detach", "--no-build"]);
        must(&mut up, containers.dir()).await;
        for name in NODES {
            let mut question = containers.compose(&["ps", "--quiet", name]);
            let id = must(&mut question, containers.dir()).await;
            containers.ids.insert(name, id);
        }
        for name in NODES {
            containers.healthy(name).await;
        }
        containers
    }

    fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = compose();
        command
            .current_dir(root())
            .args(["--project-name", &self.project])
            .args(arguments);
        for (name, port) in &self.ports {
            command.env(port_variable(name), port.number().to_string());
        }
        command
    }

    /// Where files of the test may be.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The network of these containers.
    pub(super) fn network(&self) -> String {
        format!("{}_default", self.project)
    }

    /// What marks a container as one of this project.
    pub(super) fn label(&self) -> String {
        format!("com.docker.compose.project={}", self.project)
    }

    /// The id of a container.
    pub(super) fn id(&self, name: Name) -> &str {
        &self.ids[name]
    }

    /// Where a node is reached from outside, in all its lives.
    pub(super) fn url(&self, name: Name) -> String {
        self.ports[name].url()
    }

    /// Has the daemon do something.
    pub(super) async fn docker(&self, arguments: &[&str]) -> String {
        must(Command::new("docker").args(arguments), self.dir()).await
    }

    /// Asks about a container; the question is a template of `docker inspect`.
    pub(super) async fn inspect(&self, name: Name, question: &str) -> String {
        self.docker(&["inspect", "--format", question, self.id(name)])
            .await
    }

    /// How a container is.
    pub(super) async fn state(&self, name: Name) -> State {
        let told = self
            .inspect(name, "{{.State.Status}} {{.State.ExitCode}}")
            .await;
        let state = told.split_once(' ').and_then(|(status, exit)| {
            Some(State {
                status: status.to_owned(),
                exit: exit.parse().ok()?,
            })
        });
        state.unwrap_or_else(|| panic!("{name}: docker inspect: {told}"))
    }

    /// The address of a container on the network it shares with the others.
    pub(super) async fn address(&self, name: Name) -> String {
        let question = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = self.inspect(name, question).await;
        assert!(!address.is_empty(), "{name} is on no network");
        address
    }

    /// Waits until a container's own health check says that it serves.
    async fn healthy(&self, name: Name) {
        until(&format!("{name} is healthy"), SOON, async || {
            let health = self.inspect(name, "{{.State.Health.Status}}").await;
            if health == "healthy" {
                Ok(())
            } else {
                Err(health)
            }
        })
        .await;
    }

    /// All that a container has written, in all its lives.
    pub(super) async fn log(&self, name: Name) -> String {
        let told = run(
            "log",
            Command::new("docker").args(["logs", self.id(name)]),
            self.dir(),
        )
        .await;
        assert_eq!(told.exit, 0, "docker logs {name}: {}", told.stderr);
        told.stdout + &told.stderr
    }

    /// The end of every log, for somebody who wants to know why a test failed.
    fn show_logs(&self) {
        for (name, id) in &self.ids {
            let mut command = Command::new("docker");
            match command.args(["logs", "--tail", TAIL_LINES, id]).output() {
                Ok(output) => eprintln!(
                    "---- {name} ----\n{}{}",
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                ),
                Err(error) => eprintln!("---- {name} ----\n{command:?}: {error}"),
            }
        }
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        // By force: one that is paused would not hear that it is to stop.
        let mut list = Command::new("docker");
        let label = format!("label={}", self.label());
        list.args(["ps", "--all", "--quiet", "--filter", &label]);
        let list = list
            .output()
            .map(|output| output.stdout)
            .unwrap_or_default();
        let mut remove = Command::new("docker");
        remove.args(["rm", "--force", "--volumes"]);
        remove.args(String::from_utf8_lossy(&list).split_whitespace());
        let mut down = self.compose(&["down", "--volumes", "--timeout", "1"]);
        for command in [&mut remove, &mut down] {
            match command.output() {
                Ok(output) if output.status.success() => {}
                // A second panic would hide the first.
                failed => eprintln!("{command:?}: {failed:?}"),
            }
        }
    }
}

/// The images of the compose file, with their sizes in bytes.
pub(super) async fn image_sizes(dir: &Path) -> BTreeMap<String, u64> {
    let file = std::fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    let images = file
        .lines()
        .filter_map(|line| line.trim().strip_prefix("image: "));
    let mut sizes = BTreeMap::new();
    for image in images {
        let mut question = Command::new("docker");
        question.args(["image", "inspect", "--format", "{{.Size}}", image]);
        let size = must(&mut question, dir).await;
        sizes.insert(image.to_owned(), size.parse().unwrap());
    }
    sizes
}
