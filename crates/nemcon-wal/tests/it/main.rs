//! The log as its users see it: in memory under random schedules, on sled with
//! kills and damage, and on a file system that loses power.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod alone;
mod any_damage;
#[cfg(feature = "sled")]
mod backup;
#[cfg(feature = "sled")]
mod damage;
#[cfg(feature = "sled")]
mod failing;
#[cfg(feature = "sled")]
mod image;
#[cfg(feature = "sled")]
mod kill;
mod memory;
#[cfg(feature = "sled")]
mod on_sled;
#[cfg(feature = "sled")]
mod os_crash;
mod outcomes;
mod schedules;
#[cfg(feature = "sled")]
mod stopped;
mod support;
#[cfg(feature = "sled")]
mod upgrade;
#[cfg(feature = "sled")]
mod writer_process;
