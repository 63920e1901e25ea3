//! The kinds of cuts: how each is made, and how it is healed.

use std::fmt;
use std::process::Command;

use nemcon_e2e::until;

use super::compose::{Containers, Name, must};
use super::lodger::Lodger;
use super::starve::{feed, starve};
use crate::cluster::SOON;

/// A way in which a container can be cut off from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Its network is taken away. It comes back with another address.
    Disconnect,
    /// What it sends to one other, or is sent by that one, vanishes on the way;
    /// the other direction works.
    OneWay,
    /// It is frozen. Its kernel goes on taking connections and bytes for it.
    Pause,
    /// It is killed.
    Kill,
    /// Its memory is cut down to so little that the kernel kills it, or that it
    /// reads its own program from the disk again and again.
    Starve,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [
        Self::Disconnect,
        Self::OneWay,
        Self::Pause,
        Self::Kill,
        Self::Starve,
    ];

    /// Whether a container that is cut off in this way may die of it.
    pub(super) const fn may_kill(self) -> bool {
        match self {
            Self::Kill | Self::Starve => true,
            Self::Disconnect | Self::OneWay | Self::Pause => false,
        }
    }
}

/// Which direction of a one-way cut is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the other to the victim.
    In,
    /// From the victim to the other.
    Out,
}

/// One cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) kind: Kind,
    pub(super) victim: Name,
    /// For a one-way cut: from whom, or to whom.
    pub(super) other: Name,
    /// For a one-way cut: which way.
    pub(super) direction: Direction,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            victim,
            other,
            ..
        } = self;
        match (kind, self.direction) {
            (Kind::OneWay, Direction::In) => write!(f, "OneWay {other} -x-> {victim}"),
            (Kind::OneWay, Direction::Out) => write!(f, "OneWay {victim} -x-> {other}"),
            _ => write!(f, "{kind:?} {victim}"),
        }
    }
}

/// A cut that is being held, with what it takes to heal it.
pub(super) struct Held {
    pub(super) cut: Cut,
    undo: Undo,
}

enum Undo {
    /// Connect it again, and whether somebody else lives at its address.
    Connect {
        occupied: bool,
    },
    /// Delete this very rule.
    Delete {
        pid: String,
        rule: Vec<String>,
    },
    Unpause,
    Start,
    /// Give it memory again.
    Feed,
}

impl Cut {
    /// Makes the cut.
    pub(super) async fn make(self, containers: &Containers, lodger: &Lodger) -> Held {
        let id = containers.id(self.victim);
        let undo = match self.kind {
            Kind::Disconnect => {
                let address = containers.address(self.victim).await;
                let network = containers.network();
                containers
                    .docker(&["network", "disconnect", &network, id])
                    .await;
                let occupied = lodger.take(containers, &address).await;
                Undo::Connect { occupied }
            }
            Kind::OneWay => self.drop_packets(containers).await,
            Kind::Pause => {
                containers.docker(&["pause", id]).await;
                Undo::Unpause
            }
            Kind::Kill => {
                containers.docker(&["kill", "--signal", "KILL", id]).await;
                ended_by_kill(containers, self.victim).await;
                Undo::Start
            }
            Kind::Starve => {
                starve(containers, self.victim).await;
                Undo::Feed
            }
        };
        Held { cut: self, undo }
    }

    /// Adds a rule to the victim's own packet filter, from outside: the image has
    /// no tools in it.
    async fn drop_packets(self, containers: &Containers) -> Undo {
        let pid = containers.inspect(self.victim, "{{.State.Pid}}").await;
        let address = containers.address(self.other).await;
        let (chain, side) = match self.direction {
            Direction::In => ("INPUT", "--source"),
            Direction::Out => ("OUTPUT", "--destination"),
        };
        let rule = [chain, side, &address, "--jump", "DROP"];
        let rule: Vec<String> = rule.into_iter().map(str::to_owned).collect();
        filter(containers, &pid, "--append", &rule).await;
        Undo::Delete { pid, rule }
    }
}

impl Held {
    /// Heals the cut: the world is as it was, and the node may notice it now.
    pub(super) async fn heal(self, containers: &Containers, lodger: &Lodger) {
        let victim = self.cut.victim;
        let id = containers.id(victim);
        match self.undo {
            Undo::Connect { occupied } => {
                let network = containers.network();
                containers
                    .docker(&["network", "connect", "--alias", victim, &network, id])
                    .await;
                if occupied {
                    lodger.leave(containers).await;
                }
            }
            Undo::Delete { pid, rule } => filter(containers, &pid, "--delete", &rule).await,
            Undo::Unpause => drop(containers.docker(&["unpause", id]).await),
            Undo::Start => drop(containers.docker(&["start", id]).await),
            Undo::Feed => feed(containers, victim).await,
        }
    }
}

/// Changes the packet filter of the container whose process this is.
async fn filter(containers: &Containers, pid: &str, change: &str, rule: &[String]) {
    let mut command = Command::new("nsenter");
    command.args(["--target", pid, "--net", "iptables", "--wait", change]);
    must(command.args(rule), containers.dir()).await;
}

/// Waits until the daemon has noticed that a container is dead, and how it died.
async fn ended_by_kill(containers: &Containers, name: Name) {
    until(&format!("{name} is dead"), SOON, async || {
        let state = containers.state(name).await;
        if state.status == "exited" && state.exit == 137 {
            Ok(())
        } else {
            Err(format!("{state:?}"))
        }
    })
    .await;
}
