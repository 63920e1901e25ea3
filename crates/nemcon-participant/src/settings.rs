//! Settings of a participant's node.

use nemcon_core::id::ParticipantName;
use nemcon_core::limits;
use nemcon_core::lock;
use nemcon_core::time::Span;
use nemcon_node::settings::{self, Field, LIMITS, Raw, SettingsError};

/// Unprepared work may keep others waiting for so long before its coordinator is
/// asked about it.
const SUSPECT_AFTER: Span = Span::from_secs(1);

/// What can be set about a participant's node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What every node has.
    pub node: settings::Settings,
    /// The name under which it registers.
    pub name: ParticipantName,
    /// URLs of the coordinators it registers at. With none, it waits for
    /// somebody to register it.
    pub coordinators: Vec<String>,
    /// How many locks one transaction may hold, and how many may wait for one.
    pub locks: lock::Limits,
    /// When unprepared work has kept somebody waiting for so long, its coordinator
    /// is asked whether it is still wanted; `None`: never.
    pub suspect_after: Option<Span>,
}

impl Settings {
    /// Settings with the default limits.
    #[must_use]
    pub const fn new(
        node: settings::Settings,
        name: ParticipantName,
        coordinators: Vec<String>,
    ) -> Self {
        Self {
            node,
            name,
            coordinators,
            locks: lock::Limits::new(),
            suspect_after: Some(SUSPECT_AFTER),
        }
    }

    /// The fields of [`Settings`], with the defaults of one kind of participant.
    #[must_use]
    pub fn fields(name: &'static str, listen: &'static str, data_dir: &'static str) -> Vec<Field> {
        let mut fields = vec![
            Field::text("name", "NEMCON_NAME", "NAME")
                .default(name)
                .help("Name to register under; operations are addressed to it"),
            Field::list("coordinator", "NEMCON_COORDINATOR", "URL")
                .default("http://127.0.0.1:7100")
                .help("Coordinator to register at; can be given several times"),
        ];
        fields.extend(settings::Settings::fields(listen, data_dir));
        fields.extend([
            Field::number("locks-max", "NEMCON_LOCKS_MAX", "N")
                .default("10000")
                .under(LIMITS)
                .help("How many locks one transaction may hold here"),
            Field::number("lock-waiters-max", "NEMCON_LOCK_WAITERS_MAX", "N")
                .default("1000")
                .under(LIMITS)
                .help("How many transactions may wait for one lock"),
            Field::number("suspect-after-ms", "NEMCON_SUSPECT_AFTER_MS", "N")
                .default("1000")
                .under(LIMITS)
                .help(
                    "When unprepared work has kept somebody waiting for so long, its coordinator \
                     is asked whether it is still wanted, in milliseconds; 0: never",
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
        let wanted = "1 to 64 characters of A-Z a-z 0-9 . _ -, the first a letter or a digit";
        let name = raw.required("name", wanted, |text| text.parse().ok())?;
        refuse_the_data_of_another(&name, raw)?;
        Ok(Self {
            node: settings::Settings::parse(raw)?,
            name,
            coordinators: raw.list("coordinator", settings::URL, settings::url)?,
            locks: lock::Limits {
                held: count("locks-max", 1..=1_000_000)?,
                waiters: count("lock-waiters-max", 1..=10_000)?,
            },
            suspect_after: Some(raw.number("suspect-after-ms", 0..=limits::DEADLINE_MAX.0)?)
                .filter(|after| *after != 0)
                .map(Span),
        })
    }
}

/// Whoever changes the name and forgets the directory would serve the data of the
/// participant one gets by default, under another name.
fn refuse_the_data_of_another(name: &ParticipantName, raw: &Raw) -> Result<(), SettingsError> {
    if raw.is_default("name") || !raw.is_default("data-dir") {
        return Ok(());
    }
    let allowed = format!(
        "a directory of {name}'s own, since this one is for the default name: give for example \
         --data-dir nemcon-data/{name}"
    );
    Err(raw.refuse("data-dir", &allowed))
}
