//! Where the nodes of a cluster go, checked before any of them starts.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use nemcon_core::id::ParticipantName;

use crate::failure::Failure;

/// The coordinator's port, where nothing else is said.
pub(super) const PORT_BASE: u16 = 7100;

/// From one node's port to the next one's. Each has a second one after it, for its
/// metrics.
const PORT_STEP: u16 = 10;

/// The directory of the coordinator, beside those of the banks.
const COORDINATOR: &str = "coordinator";

/// Most banks: as many participants as a transaction may have, since an audit is
/// one transaction over all of them.
const BANKS_MAX: usize = nemcon_core::limits::PARTICIPANTS_MAX;

/// How far another port base is looked for, to be suggested.
const BASES_TRIED: u16 = 50;

/// A node to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its name.
    pub(super) name: String,
    /// Where it listens.
    pub(super) listen: SocketAddr,
    /// Its own directory.
    pub(super) dir: PathBuf,
}

impl Place {
    /// Which of its two ports somebody else has. Where any free one will do, none.
    fn taken_port(&self) -> Option<u16> {
        let port = self.listen.port();
        let both = [Some(port), port.checked_add(1)].into_iter().flatten();
        let mut both = both.filter(|_| port != 0);
        both.find(|port| is_taken(SocketAddr::new(self.listen.ip(), *port)))
    }
}

/// A cluster to start.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    banks: Vec<ParticipantName>,
    data_dir: PathBuf,
    port_base: u16,
}

impl Plan {
    /// Checks what can be checked without touching anything.
    pub(super) fn new(
        banks: Vec<ParticipantName>,
        data_dir: PathBuf,
        port_base: u16,
    ) -> Result<Self, Failure> {
        if banks.len() > BANKS_MAX {
            let why = format!(
                "--banks names {} banks; want at most {BANKS_MAX}",
                banks.len()
            );
            return Err(Failure::Usage(why));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = banks.iter().find(|name| !seen.insert(*name)) {
            let why = format!("--banks names {twice} twice; each bank has a name of its own");
            return Err(Failure::Usage(why));
        }
        if banks.iter().any(|name| name.as_str() == COORDINATOR) {
            let why = "a bank cannot be called coordinator: that is the coordinator's directory";
            return Err(Failure::Usage(why.into()));
        }
        let plan = Self {
            banks,
            data_dir,
            port_base,
        };
        if plan.port(plan.banks.len()).is_none() {
            let (last, count) = (plan.last_port(), plan.banks.len());
            let why = format!(
                "--port-base {port_base} leaves no room for {count} banks: the last port would \
                 be {last}, and 65535 is the highest"
            );
            return Err(Failure::Usage(why));
        }
        Ok(plan)
    }

    /// The directory that holds those of all nodes.
    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where the coordinator goes.
    pub(super) fn coordinator(&self) -> Place {
        self.place(COORDINATOR, 0)
    }

    /// Where the banks go.
    pub(super) fn banks(&self) -> impl Iterator<Item = (&ParticipantName, Place)> {
        let numbered = self.banks.iter().zip(1..);
        numbered.map(|(name, number)| (name, self.place(name.as_str(), number)))
    }

    /// All nodes, in the order of their ports.
    fn places(&self) -> Vec<Place> {
        let banks = self.banks().map(|(_, place)| place);
        std::iter::once(self.coordinator()).chain(banks).collect()
    }

    /// The n-th node. [`Plan::new`] has seen to it that the port exists.
    fn place(&self, name: &str, number: usize) -> Place {
        let port = self.port(number).unwrap_or_default();
        Place {
            name: name.to_owned(),
            listen: (Ipv4Addr::LOCALHOST, port).into(),
            dir: self.data_dir.join(name),
        }
    }

    /// The port of the n-th node, counted from the coordinator; `None` beyond the
    /// last there is. With base 0, any free one.
    fn port(&self, number: usize) -> Option<u16> {
        if self.port_base == 0 {
            return Some(0);
        }
        let step = u16::try_from(number).ok()?.checked_mul(PORT_STEP)?;
        let port = self.port_base.checked_add(step)?;
        // The next one is for metrics.
        (port < u16::MAX).then_some(port)
    }

    /// What the last port would be, whether it exists or not.
    fn last_port(&self) -> usize {
        usize::from(self.port_base) + self.banks.len() * usize::from(PORT_STEP)
    }

    /// Whether all ports are free, before any node has started. One that is taken
    /// after this look is found out by the node itself.
    pub(super) fn check_ports(&self) -> Result<(), Failure> {
        let taken = |place: &Place| Some((place.clone(), place.taken_port()?));
        match self.places().iter().find_map(taken) {
            Some((place, port)) => Err(self.port_taken(&place, port)),
            None => Ok(()),
        }
    }

    /// What to say about a port that is taken.
    pub(super) fn port_taken(&self, place: &Place, port: u16) -> Failure {
        let name = &place.name;
        let advice = match self.free_base() {
            Some(base) => format!("choose other ports, for example --port-base {base}"),
            None => "choose other ports with --port-base".to_owned(),
        };
        Failure::Refused(format!(
            "port {port} for {name} is taken by another program, perhaps by a cluster that runs \
             already (then use that one: `nemcon participants list`); stop it, or {advice}"
        ))
    }

    /// Another base under which all ports are free just now.
    fn free_base(&self) -> Option<u16> {
        let bases = (1..=BASES_TRIED).map_while(|n| self.port_base.checked_add(n * 100));
        let mut moved = bases.map(|port_base| Self {
            port_base,
            ..self.clone()
        });
        let free = moved.find(|plan| {
            plan.port(plan.banks.len()).is_some()
                && !plan
                    .places()
                    .iter()
                    .any(|place| place.taken_port().is_some())
        });
        free.map(|plan| plan.port_base)
    }

    /// Three commands to begin with, to be pasted into another terminal.
    pub(super) fn things_to_try(&self, coordinator: &str, program: &str) -> String {
        let first = self.banks.first().map_or("BANK", ParticipantName::as_str);
        let second = self.banks.get(1).map_or(first, ParticipantName::as_str);
        let elsewhere = format!("http://127.0.0.1:{PORT_BASE}") != coordinator;
        let there = if elsewhere {
            format!(" --coordinator {coordinator}")
        } else {
            String::new()
        };
        let nemcon = format!("{program}{there}");
        format!(
            "Three things to try, in another terminal:\n\n  \
             # open two accounts\n  \
             {nemcon} bank open {first}/alice --currency CZK --opening-balance 100.00\n  \
             {nemcon} bank open {second}/bob --currency CZK\n\n  \
             # move money between them: everywhere, or nowhere\n  \
             {nemcon} bank transfer {first}/alice {second}/bob 25.00\n\n  \
             # see that none was made or lost\n  \
             {nemcon} bank audit\n"
        )
    }
}

/// Whether somebody listens there. Other troubles are left to the node, which
/// has the words for them.
fn is_taken(address: SocketAddr) -> bool {
    let bound = TcpListener::bind(address);
    bound.is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<ParticipantName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn plan(banks: &[&str], port_base: u16) -> Result<Plan, String> {
        Plan::new(names(banks), "data".into(), port_base).map_err(|error| error.to_string())
    }

    #[test]
    fn ports_and_directories_are_in_their_order() {
        let plan = plan(&["bank-a", "bank-b"], 7100).unwrap();
        let places = plan.places();
        let ports: Vec<u16> = places.iter().map(|place| place.listen.port()).collect();
        assert_eq!(ports, [7100, 7110, 7120]);
        assert_eq!(places[0].dir, Path::new("data/coordinator"));
        assert_eq!(places[2].dir, Path::new("data/bank-b"));
        assert!(places.iter().all(|place| place.listen.ip().is_loopback()));
    }

    #[test]
    fn port_base_zero_takes_any_free_ports() {
        let plan = plan(&["bank-a", "bank-b"], 0).unwrap();
        assert!(plan.places().iter().all(|place| place.listen.port() == 0));
        assert!(plan.check_ports().is_ok());
    }

    #[test]
    fn what_cannot_work_is_told_at_once() {
        let many: Vec<String> = (0..129).map(|n| format!("b{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (banks, base, why) in [
            (vec!["a", "b", "a"], 7100, "names a twice"),
            (vec!["coordinator"], 7100, "cannot be called coordinator"),
            (vec!["a", "b"], 65_520, "the last port would be 65540"),
            (many, 7100, "129 banks; want at most 128"),
        ] {
            let error = plan(&banks, base).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(plan(&["a"], 65_520).is_ok());
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_its_node_and_a_way_out() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let Ok(plan) = plan(&["bank-a"], port) else {
            // The highest ports leave no room for a bank.
            return;
        };
        let error = plan.check_ports().unwrap_err().to_string();
        assert!(
            error.contains(&format!("port {port} for coordinator is taken")),
            "{error}"
        );
        assert!(error.contains("--port-base"), "{error}");
    }

    #[test]
    fn what_is_suggested_names_the_coordinator_where_it_must() {
        let plan = plan(&["home", "AB"], 7100).unwrap();
        let usual = plan.things_to_try("http://127.0.0.1:7100", "nemcon");
        assert!(
            usual.contains("  nemcon bank transfer home/alice AB/bob 25.00\n"),
            "{usual}"
        );
        let moved = plan.things_to_try("http://127.0.0.1:7200", "target/release/nemcon");
        let audit = "target/release/nemcon --coordinator http://127.0.0.1:7200 bank audit\n";
        assert!(moved.contains(audit), "{moved}");
    }
}
