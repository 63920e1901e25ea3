//! Containers without memory.
//!
//! A node needs little: most of what it uses is its own program, which the kernel
//! can drop and read again. So a limit alone makes it slow, and lets it live. What
//! kills it is to be given something to hold on top: some large requests, which it
//! would refuse once it had read them.

use std::process::Command;
use std::time::Duration;

use nemcon_e2e::until;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::compose::{Containers, Name};
use crate::cluster::{SOON, channel, run};

/// Memory for a starving container, at first. The daemon takes no less. Where the
/// kernel refuses to go below what is in use (cgroups of version 1), it is asked for
/// a little more, again and again; elsewhere it kills at once.
const BYTES: u64 = 6 * 1024 * 1024;
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Enough for anybody. The daemon has no word for "no limit any more".
const ENOUGH_BYTES: u64 = 1024 * 1024 * 1024;

/// What a starving node is given to hold: together far more than it has.
const BURDENS: usize = 6;
const BURDEN_BYTES: usize = 3 * 1024 * 1024;

/// How long it is given that. By then it has read it, or is dead.
const BURDEN_MAX: Duration = Duration::from_secs(2);

fn memory(bytes: u64) -> [String; 2] {
    // Both, or the rest would be swapped.
    [
        format!("--memory={bytes}"),
        format!("--memory-swap={bytes}"),
    ]
}

/// Cuts the memory of a container down to as little as it can be made to have, and
/// asks much of it.
pub(super) async fn starve(containers: &Containers, name: Name) {
    let id = containers.id(name);
    let mut bytes = BYTES;
    loop {
        let mut update = Command::new("docker");
        update.arg("update").args(memory(bytes)).arg(id);
        let told = run("update", &mut update, containers.dir()).await;
        if told.exit == 0 {
            break;
        }
        bytes += bytes / 8;
        assert!(bytes <= BYTES_MAX, "{name}: {update:?}: {told:?}");
    }
    let limit = containers.inspect(name, "{{.HostConfig.Memory}}").await;
    assert_eq!(limit, bytes.to_string(), "{name} has a limit");
    for _ in 0..BURDENS {
        let mut health = HealthClient::new(channel(&containers.url(name)));
        let service = "x".repeat(BURDEN_BYTES);
        tokio::spawn(async move {
            // What comes of it matters to nobody.
            let check = health.check(HealthCheckRequest { service });
            let _ = nemcon_net::call(BURDEN_MAX, check).await;
        });
    }
}

/// Gives a container its memory back, and its life if it has lost that.
pub(super) async fn feed(containers: &Containers, name: Name) {
    let id = containers.id(name);
    // Refused while the container is just dying, or being started by the daemon.
    until(&format!("{name} has memory again"), SOON, async || {
        let mut update = Command::new("docker");
        update.arg("update").args(memory(ENOUGH_BYTES)).arg(id);
        let told = run("update", &mut update, containers.dir()).await;
        if told.exit == 0 {
            Ok(())
        } else {
            Err(format!("{told:?}"))
        }
    })
    .await;
    let state = containers.state(name).await;
    if state.status != "running" {
        // The daemon starts it again and again, with longer and longer pauses in
        // between. It would not be told that this is a good moment; so it is told
        // to stop that first.
        containers.docker(&["stop", id]).await;
        containers.docker(&["start", id]).await;
    }
    until(&format!("{name} runs again"), SOON, async || {
        let state = containers.state(name).await;
        if state.status == "running" {
            Ok(())
        } else {
            Err(format!("{state:?}"))
        }
    })
    .await;
}
