//! Settings of a coordinator node.

use nemcon_core::coordinator;
use nemcon_core::coordinator::statistics;
use nemcon_core::id::CoordinatorId;
use nemcon_core::limits;
use nemcon_core::time::Span;
use nemcon_node::chance;
use nemcon_node::settings::{self, Field, LIMITS, Raw, SettingsError};

/// What can be set about a coordinator node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What every node has.
    pub node: settings::Settings,
    /// Its name in this process: names the thread and marks the log lines.
    pub name: String,
    /// Deadline of a transaction that names none.
    pub timeout_default: Span,
    /// Longest wait for a lock at a participant.
    pub lock_wait: Span,
    /// How long outcomes are remembered.
    pub remember_for: Span,
    /// How many outcomes are remembered.
    pub remember_max: usize,
    /// How long sagas that ended are remembered.
    pub remember_sagas_for: Span,
    /// How many sagas that ended are remembered.
    pub remember_sagas_max: usize,
    /// How many transactions may run at a time.
    pub running_max: usize,
    /// How many of the last transactions the figures of the window cover.
    pub statistics_window: usize,
    /// How long a call may wait for a lock before deadlocks are looked for; `None`:
    /// they are not looked for.
    pub look_after: Option<Span>,
}

impl Settings {
    /// Settings with the default limits.
    #[must_use]
    pub fn new(node: settings::Settings) -> Self {
        let machine = machine_defaults();
        Self {
            node,
            name: "coordinator".into(),
            timeout_default: machine.timeout_default,
            lock_wait: machine.lock_wait,
            remember_for: machine.remember_for,
            remember_max: machine.remember_max,
            remember_sagas_for: machine.remember_sagas_for,
            remember_sagas_max: machine.remember_sagas_max,
            running_max: machine.running_max,
            statistics_window: machine.statistics_window,
            look_after: machine.look_after,
        }
    }

    /// The fields of [`Settings`].
    #[must_use]
    pub fn fields() -> Vec<Field> {
        let mut fields = settings::Settings::fields("127.0.0.1:7100", "nemcon-data/coordinator");
        fields.extend([
            Field::number("timeout-ms", "NEMCON_TIMEOUT_MS", "N")
                .default("10000")
                .under(LIMITS)
                .help("Deadline of a transaction that names none, in milliseconds"),
            Field::number("lock-wait-ms", "NEMCON_LOCK_WAIT_MS", "N")
                .default("5000")
                .under(LIMITS)
                .help("Longest wait for a lock at a participant, in milliseconds"),
            Field::number("remember-seconds", "NEMCON_REMEMBER_SECONDS", "N")
                .default("3600")
                .under(LIMITS)
                .help("How long outcomes are remembered: so long a request is safe to repeat"),
            Field::number("remember-max", "NEMCON_REMEMBER_MAX", "N")
                .default("1000000")
                .under(LIMITS)
                .help("How many outcomes are remembered"),
            Field::number(
                "remember-sagas-seconds",
                "NEMCON_REMEMBER_SAGAS_SECONDS",
                "N",
            )
            .default("86400")
            .under(LIMITS)
            .help("How long sagas that ended are remembered"),
            Field::number("remember-sagas-max", "NEMCON_REMEMBER_SAGAS_MAX", "N")
                .default("10000")
                .under(LIMITS)
                .help("How many sagas that ended are remembered, beside 64 MiB of them"),
            Field::number("running-max", "NEMCON_RUNNING_MAX", "N")
                .default("10000")
                .under(LIMITS)
                .help("How many transactions may run at a time"),
            Field::number("statistics-window", "NEMCON_STATISTICS_WINDOW", "N")
                .default("1000")
                .under(LIMITS)
                .help("How many of the last transactions `nemcon stats` sums up"),
            Field::number("look-after-ms", "NEMCON_LOOK_AFTER_MS", "N")
                .default("20")
                .under(LIMITS)
                .help(
                    "How long a call may wait for a lock before deadlocks are looked for, in \
                     milliseconds; 0: never",
                ),
        ]);
        fields
    }

    /// Parses what [`Settings::fields`] lists.
    ///
    /// # Errors
    /// [`SettingsError`] names the field, its value, where that came from, and
    /// what is allowed.
    pub fn parse(raw: &Raw) -> Result<Self, SettingsError> {
        let count = |name, bounds| {
            raw.number(name, bounds)
                .map(|count| usize::try_from(count).unwrap_or(usize::MAX))
        };
        Ok(Self {
            timeout_default: Span(raw.number("timeout-ms", 1..=limits::DEADLINE_MAX.0)?),
            lock_wait: Span(raw.number("lock-wait-ms", 0..=limits::DEADLINE_MAX.0)?),
            remember_for: Span::from_secs(raw.number("remember-seconds", 1..=31_536_000)?),
            remember_max: count("remember-max", 1..=100_000_000)?,
            remember_sagas_for: Span::from_secs(
                raw.number("remember-sagas-seconds", 1..=31_536_000)?,
            ),
            remember_sagas_max: count("remember-sagas-max", 1..=10_000_000)?,
            running_max: count("running-max", 1..=1_000_000)?,
            statistics_window: count("statistics-window", 1..=statistics::WINDOW_MAX as u64)?,
            look_after: Some(Span(
                raw.number("look-after-ms", 0..=limits::DEADLINE_MAX.0)?,
            ))
            .filter(|after| *after != Span(0)),
            ..Self::new(settings::Settings::parse(raw)?)
        })
    }

    /// Settings of the machine, which answers questions at `address`.
    pub(crate) fn machine(&self, address: String) -> coordinator::Settings {
        coordinator::Settings {
            address,
            timeout_default: self.timeout_default,
            lock_wait: self.lock_wait,
            remember_for: self.remember_for,
            remember_max: self.remember_max,
            remember_sagas_for: self.remember_sagas_for,
            remember_sagas_max: self.remember_sagas_max,
            running_max: self.running_max,
            statistics_window: self.statistics_window,
            look_after: self.look_after,
            ..machine_defaults()
        }
    }
}

/// The defaults of the machine, with a fresh identity and a seed of chance.
fn machine_defaults() -> coordinator::Settings {
    let identity = CoordinatorId::new(chance::fresh_uuid());
    coordinator::Settings::new(String::new(), identity, chance::seed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_flags_are_those_of_the_machine() {
        let program = nemcon_node::process::Program {
            name: "test",
            version: "1",
            about: "",
            examples: "",
        };
        let command = settings::command(program, &Settings::fields());
        let matches = command.try_get_matches_from(["test"]).unwrap();
        let raw = Raw::gather(Settings::fields(), &matches, &|_| None).unwrap();
        let parsed = Settings::parse(&raw).unwrap();
        let new = Settings::new(parsed.node.clone());
        assert_eq!(format!("{parsed:?}"), format!("{new:?}"));
    }
}
