//! Being told to stop.

/// Waits for the first SIGTERM or ctrl-c. From then on a second one ends the
/// process at once, as it would any other.
#[cfg(unix)]
pub(crate) async fn told_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut either = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    either().await;
    tokio::spawn(async move {
        either().await;
        std::process::exit(KILLED);
    });
    Ok(())
}

/// Waits for the first ctrl-c.
#[cfg(not(unix))]
pub(crate) async fn told_to_stop() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// What a shell shows for a process that ctrl-c has ended: 128 and the number of
/// SIGINT.
#[cfg(unix)]
const KILLED: i32 = 130;
