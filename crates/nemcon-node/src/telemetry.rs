//! What a process tells its operator. **For the `main` of binaries only**: both
//! functions here change the whole process, which a library must not do.
//!
//! In a library, and in a node within a process of many, nothing is global: a
//! node enters a span of its own on its thread, so that every line says which
//! node wrote it, and whoever owns the process decides where the lines go.

use std::io::IsTerminal;
use std::panic;

use tracing_subscriber::EnvFilter;

use crate::settings::{Field, Raw, SettingsError};

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object each, for programs.
    Json,
}

/// What is logged, and how.
#[derive(Debug)]
pub struct Settings {
    filter: EnvFilter,
    format: Format,
}

impl Settings {
    /// The fields of these settings.
    #[must_use]
    pub fn fields() -> Vec<Field> {
        vec![
            Field::text("log-level", "NEMCON_LOG_LEVEL", "LEVEL")
                .default("info")
                .under("Logging")
                .help("error, warn, info, debug or trace; finer: info,nemcon_coordinator=debug"),
            Field::text("log-format", "NEMCON_LOG_FORMAT", "FORMAT")
                .default("text")
                .under("Logging")
                .help("text for people, json for programs"),
        ]
    }

    /// Parses what [`Settings::fields`] lists.
    ///
    /// # Errors
    /// [`SettingsError`] names the field, its value and what is allowed.
    pub fn parse(raw: &Raw) -> Result<Self, SettingsError> {
        Ok(Self {
            filter: raw.required("log-level", LEVELS, filter)?,
            format: raw.required("log-format", FORMATS, format)?,
        })
    }

    /// The same from two texts: a level and a format. `None`, if the level is none of
    /// [`LEVELS`] or the format none of [`FORMATS`].
    #[must_use]
    pub fn of(level: &str, written: &str) -> Option<Self> {
        let (filter, format) = (filter(level)?, format(written)?);
        Some(Self { filter, format })
    }

    /// Sends all lines to standard error: standard output is for results. A
    /// second call in one process changes nothing.
    pub fn install(self) {
        let lines = tracing_subscriber::fmt()
            .with_env_filter(self.filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        let _ = match self.format {
            Format::Text => lines.try_init(),
            Format::Json => lines.json().try_init(),
        };
    }
}

/// The levels that there are, for error messages.
pub const LEVELS: &str =
    "error, warn, info, debug or trace, or a list such as info,nemcon_wal=debug";

/// The formats that there are, for error messages.
pub const FORMATS: &str = "text or json";

fn filter(text: &str) -> Option<EnvFilter> {
    EnvFilter::try_new(text).ok()
}

fn format(text: &str) -> Option<Format> {
    match text {
        "text" => Some(Format::Text),
        "json" => Some(Format::Json),
        _ => None,
    }
}

/// From now on a panic that the log catches is not reported: it becomes an error
/// that says what is wrong with the log and what to do about it.
pub fn leave_caught_panics_to_the_log() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !nemcon_wal::panics_are_caught() {
            report(panic);
        }
    }));
}

/// From now on a panic anywhere ends the process with exit code 101.
///
/// Async runtimes swallow the panics of their tasks, and a node that has lost
/// one of its parts is worse than a node that is down: its peers know what to
/// do about the latter. But for one that the log catches: the log then says that it
/// has failed.
pub fn stop_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        if nemcon_wal::panics_are_caught() {
            return;
        }
        tracing::error!(%panic, "a bug: the process stops, and recovers when started again");
        std::process::exit(101);
    }));
}
