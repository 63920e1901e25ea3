//! Somebody else's container, which moves in where one has moved out.
//!
//! A container that is connected again gets the lowest address that is free, and
//! that is mostly the one it had. Then nobody would notice who goes on talking to
//! an address instead of to a name. So a stranger takes the address in the
//! meantime: another coordinator, with a log of its own, which is the worst that
//! can answer there.

use super::compose::{COORDINATOR, Containers};

/// A container on the same network as the others, now and then.
pub(super) struct Lodger {
    id: String,
}

impl Lodger {
    /// Starts it; it lives nowhere yet.
    pub(super) async fn new(containers: &Containers) -> Self {
        let image = containers.inspect(COORDINATOR, "{{.Config.Image}}").await;
        let (network, label) = (containers.network(), containers.label());
        let id = containers
            .docker(&[
                "run",
                "--detach",
                "--label",
                &label,
                "--network",
                &network,
                "--env",
                "NEMCON_INSECURE=true",
                "--env",
                "NEMCON_ADVERTISE=http://lodger:7100",
                &image,
            ])
            .await;
        let lodger = Self { id };
        lodger.leave(containers).await;
        lodger
    }

    /// Moves in where a container has been, so that it will have another address
    /// when it is back. If a lower one is free, it will have that one anyway; and
    /// of two that move out at once, the first one's is taken.
    pub(super) async fn take(&self, containers: &Containers, address: &str) -> bool {
        if !self.address(containers).await.is_empty() {
            return false;
        }
        let network = containers.network();
        containers
            .docker(&["network", "connect", &network, &self.id])
            .await;
        let is_in = self.address(containers).await == address;
        if !is_in {
            self.leave(containers).await;
        }
        is_in
    }

    /// Where it lives; empty if nowhere.
    async fn address(&self, containers: &Containers) -> String {
        let question = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        containers
            .docker(&["inspect", "--format", question, &self.id])
            .await
    }

    /// Moves out.
    pub(super) async fn leave(&self, containers: &Containers) {
        let network = containers.network();
        containers
            .docker(&["network", "disconnect", &network, &self.id])
            .await;
    }
}
