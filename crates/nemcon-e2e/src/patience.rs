//! Waiting for what is to come.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often is looked. Short beside anything that is waited for, long beside
/// the price of a look.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks again and again until `look` has found what it looks for.
///
/// # Panics
/// If that takes longer than `within`; says what was seen last.
pub async fn until<T, E: Display>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= deadline => {
                panic!("{what}: not within {within:?}; seen last: {seen}")
            }
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}
