//! Settings of a participant's node.

use nemcon_core::id::ParticipantName;
use nemcon_node::settings::{self, Field, Raw, SettingsError};

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
        fields
    }

    /// Parses what [`Settings::fields`] lists.
    ///
    /// # Errors
    /// [`SettingsError`] names the field, its value, where that came from, and
    /// what is allowed.
    pub fn parse(raw: &Raw) -> Result<Self, SettingsError> {
        let name = "1 to 64 characters of A-Z a-z 0-9 . _ -, the first a letter or a digit";
        Ok(Self {
            node: settings::Settings::parse(raw)?,
            name: raw.required("name", name, |text| text.parse().ok())?,
            coordinators: raw.list("coordinator", settings::URL, settings::url)?,
        })
    }
}
