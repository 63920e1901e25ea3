//! How containers end: each end is to be explained by a cut.

use std::fmt;
use std::process::Command;

use nemcon_e2e::Process;

use super::compose::{Containers, Name};

/// What a process that was killed ends with, by whoever and for whatever reason.
pub(super) const KILLED: &str = "137";

/// Listens to the daemon, for it remembers little.
pub(super) struct Deaths(Process);

/// The end of one life of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Death {
    /// Whose; empty for a stranger.
    pub(super) name: String,
    /// The exit code.
    pub(super) exit: String,
}

impl Deaths {
    /// Listens from now on.
    pub(super) fn of(containers: &Containers) -> Self {
        let label = format!("label={}", containers.label());
        let what = r#"{{index .Actor.Attributes "com.docker.compose.service"}} {{.Actor.Attributes.exitCode}}"#;
        let mut events = Command::new("docker");
        events.args(["events", "--filter", "event=die", "--filter", &label]);
        events.args(["--format", what]);
        Self(Process::spawn("deaths", &mut events, containers.dir()))
    }

    /// All so far, in their order.
    pub(super) fn so_far(&self) -> Vec<Death> {
        let told = self.0.stdout();
        let death = |line: &str| {
            let (name, exit) = line.split_once(' ')?;
            Some(Death::new(name, exit))
        };
        told.lines().filter_map(death).collect()
    }
}

impl Death {
    pub(super) fn new(name: &str, exit: &str) -> Self {
        Self {
            name: name.to_owned(),
            exit: exit.to_owned(),
        }
    }

    pub(super) fn is_of(&self, name: Name) -> bool {
        self.name == name
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ended with {}", self.name, self.exit)
    }
}
