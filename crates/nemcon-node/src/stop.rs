//! When a process is told to stop. **For the `main` of binaries only.**

use crate::node::{NodeError, NodeHandle};

/// Lets the nodes run until the process is told to stop (SIGTERM, ctrl-c) or one
/// of them ends by itself; then stops all and waits for their ends. A second
/// signal meanwhile ends the process the hard way, as it would any other.
///
/// # Errors
/// The first [`NodeError`] of a node that did not end cleanly.
pub fn run_until_told(nodes: Vec<NodeHandle>) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NodeError::Thread)?;
    runtime.block_on(async {
        let mut ends = tokio::task::JoinSet::new();
        for node in &nodes {
            ends.spawn(node.ended());
        }
        let told = tokio::select! {
            told = told_to_stop() => told.map_err(NodeError::Thread),
            _ = ends.join_next(), if !nodes.is_empty() => Ok(()),
        };
        for node in &nodes {
            node.stop();
        }
        // The runtime is kept going, for it is what hears a second signal.
        while ends.join_next().await.is_some() {}
        told
    })?;
    let mut result = Ok(());
    for node in nodes {
        result = result.and(node.join());
    }
    result
}

/// Waits for the first signal to stop.
#[cfg(unix)]
async fn told_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("told to stop by SIGTERM"),
        _ = interrupt.recv() => tracing::info!("told to stop by ctrl-c"),
    }
    // From here on the second signal takes over.
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    });
    Ok(())
}

/// Waits for the first ctrl-c.
#[cfg(not(unix))]
async fn told_to_stop() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
