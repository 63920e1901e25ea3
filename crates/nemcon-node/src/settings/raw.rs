//! Settings as text, with their origin.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches};

use crate::process::Program;

const CONFIG: &str = "config";
const CHECK_CONFIG: &str = "check-config";
const HEALTHCHECK: &str = "healthcheck";

/// How a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Number,
    /// Any number of texts: the flag is repeated, the environment separates by
    /// commas, the file has an array.
    List,
    /// On or off.
    Switch,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    name: &'static str,
    env: &'static str,
    kind: Kind,
    value_name: &'static str,
    default: Option<&'static str>,
    help: &'static str,
    heading: Option<&'static str>,
}

impl Field {
    const fn new(
        name: &'static str,
        env: &'static str,
        kind: Kind,
        value_name: &'static str,
    ) -> Self {
        Self {
            name,
            env,
            kind,
            value_name,
            default: None,
            help: "",
            heading: None,
        }
    }

    /// A text. `name` is the flag's; the file writes it with underscores.
    #[must_use]
    pub const fn text(name: &'static str, env: &'static str, value_name: &'static str) -> Self {
        Self::new(name, env, Kind::Text, value_name)
    }

    /// A whole number.
    #[must_use]
    pub const fn number(name: &'static str, env: &'static str, value_name: &'static str) -> Self {
        Self::new(name, env, Kind::Number, value_name)
    }

    /// Any number of texts.
    #[must_use]
    pub const fn list(name: &'static str, env: &'static str, value_name: &'static str) -> Self {
        Self::new(name, env, Kind::List, value_name)
    }

    /// On or off; off by default.
    #[must_use]
    pub const fn switch(name: &'static str, env: &'static str) -> Self {
        Self::new(name, env, Kind::Switch, "")
    }

    /// What holds where nothing is said.
    #[must_use]
    pub const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    /// A line for `--help`.
    #[must_use]
    pub const fn help(mut self, text: &'static str) -> Self {
        self.help = text;
        self
    }

    /// The heading of `--help` it stands under.
    #[must_use]
    pub const fn under(mut self, heading: &'static str) -> Self {
        self.heading = Some(heading);
        self
    }

    /// As the file writes it.
    fn key(&self) -> String {
        self.name.replace('-', "_")
    }

    fn arg(&self) -> Arg {
        let default = self
            .default
            .map(|text| format!(" [default: {text}]"))
            .unwrap_or_default();
        let arg = Arg::new(self.name)
            .long(self.name)
            .help(format!("{}{default} [env: {}]", self.help, self.env))
            .help_heading(self.heading);
        match self.kind {
            Kind::Text | Kind::Number => arg.value_name(self.value_name),
            Kind::List => arg.value_name(self.value_name).action(ArgAction::Append),
            Kind::Switch => arg.action(ArgAction::SetTrue),
        }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The file given with `--config`.
    File(PathBuf),
    /// A variable of the environment.
    Environment(&'static str),
    /// The command line.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(path) => write!(f, "from {}", path.display()),
            Self::Environment(name) => write!(f, "from the environment, {name}"),
            Self::Flag(name) => write!(f, "from the command line, --{name}"),
        }
    }
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value is not among those allowed.
    #[error("{field} is {value:?} ({origin}); want {allowed}")]
    Invalid {
        /// Which setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// Where that came from.
        origin: Source,
        /// What is allowed.
        allowed: String,
    },
    /// A setting without default was not given.
    #[error("{field} is missing; give --{field}, {env} or `{key} = …` in the file: {help}")]
    Missing {
        /// Which setting.
        field: &'static str,
        /// Its name in the environment.
        env: &'static str,
        /// Its name in the file.
        key: String,
        /// What it is.
        help: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read the settings in {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the settings in {} are not TOML", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// The file sets something that does not exist.
    #[error("{} sets {key:?}, which is no setting; there are: {known}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it sets.
        key: String,
        /// All names, separated by commas.
        known: String,
    },
    /// The file gives a setting a value of a wrong kind.
    #[error("{} sets {key} to {value}; want {wanted}", path.display())]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// Which setting.
        key: String,
        /// Its value, as TOML.
        value: String,
        /// What is wanted.
        wanted: &'static str,
    },
}

/// The command line of a program with these settings, `--config`,
/// `--check-config` and `healthcheck` included.
#[must_use]
pub fn command(program: Program, fields: &[Field]) -> clap::Command {
    clap::Command::new(program.name)
        .version(program.version)
        .about(program.about)
        .arg(
            Arg::new(CONFIG)
                .long(CONFIG)
                .value_name("FILE")
                .help("TOML file with settings: `listen = \"127.0.0.1:7100\"` and so on"),
        )
        .arg(
            Arg::new(CHECK_CONFIG)
                .long(CHECK_CONFIG)
                .action(ArgAction::SetTrue)
                .help("Print the effective settings as TOML, each with its origin, and exit"),
        )
        .args(fields.iter().map(Field::arg))
        .subcommand(
            clap::Command::new(HEALTHCHECK)
                .about("Ask the node with these settings whether it serves; exit 0 if so, 1 if not")
                .after_help(
                    "The node is asked at the address it listens on, from the same machine. \
                     Settings stand before the word:\n  \
                     NAME --listen 127.0.0.1:7110 healthcheck"
                        .replace("NAME", program.name),
                ),
        )
        .disable_help_subcommand(true)
        .after_help(format!(
            "Flags win over the environment, the environment over the file, the file over the \
             defaults.\n\n{}",
            program.examples
        ))
}

/// Whether the settings are to be looked at and nothing else.
#[must_use]
pub fn is_only_checked(matches: &ArgMatches) -> bool {
    matches.get_flag(CHECK_CONFIG)
}

/// Whether a node that runs is to be asked for its health, and none started.
#[must_use]
pub fn is_health_asked(matches: &ArgMatches) -> bool {
    matches.subcommand_name() == Some(HEALTHCHECK)
}

#[derive(Clone, Debug)]
struct Value {
    texts: Vec<String>,
    source: Source,
}

/// The settings that hold, as text.
#[derive(Debug)]
pub struct Raw {
    fields: Vec<Field>,
    values: BTreeMap<&'static str, Value>,
}

impl Raw {
    /// Gathers the settings from the four places. `environment` looks a variable
    /// up, so that a test need not change its own.
    ///
    /// # Errors
    /// [`SettingsError`] if the file cannot be read or sets what does not exist.
    pub fn gather(
        fields: Vec<Field>,
        matches: &ArgMatches,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let mut values = BTreeMap::new();
        for field in &fields {
            let default = match field.kind {
                Kind::Switch => Some("false"),
                Kind::Text | Kind::Number | Kind::List => field.default,
            };
            if let Some(text) = default {
                let texts = vec![text.to_owned()];
                values.insert(
                    field.name,
                    Value {
                        texts,
                        source: Source::Default,
                    },
                );
            }
        }
        if let Some(path) = matches.get_one::<String>(CONFIG) {
            read_file(Path::new(path), &fields, &mut values)?;
        }
        for field in &fields {
            if let Some(value) = from_flag(field, matches).or_else(|| from_env(field, environment))
            {
                values.insert(field.name, value);
            }
        }
        Ok(Self { fields, values })
    }

    /// A setting that must have a value.
    ///
    /// # Errors
    /// [`SettingsError`] if it has none, or `parse` gives `None` for it.
    pub fn required<T>(
        &self,
        name: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, SettingsError> {
        self.optional(name, allowed, parse)?.ok_or_else(|| {
            let field = self.field(name);
            SettingsError::Missing {
                field: name,
                env: field.map_or("", |field| field.env),
                key: field.map(Field::key).unwrap_or_default(),
                help: field.map_or("", |field| field.help),
            }
        })
    }

    /// A setting that may be left out.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] if `parse` gives `None` for its value.
    pub fn optional<T>(
        &self,
        name: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        Ok(self.list(name, allowed, parse)?.pop())
    }

    /// A setting with any number of values.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] if `parse` gives `None` for one of them.
    pub fn list<T>(
        &self,
        name: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, SettingsError> {
        let Some(value) = self.values.get(name) else {
            return Ok(Vec::new());
        };
        let parse = |text: &String| {
            parse(text).ok_or_else(|| SettingsError::Invalid {
                field: name,
                value: text.clone(),
                origin: value.source.clone(),
                allowed: allowed.to_owned(),
            })
        };
        value.texts.iter().map(parse).collect()
    }

    /// A whole number within bounds.
    ///
    /// # Errors
    /// [`SettingsError`] if it is missing or out of bounds.
    pub fn number(
        &self,
        name: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Result<u64, SettingsError> {
        let allowed = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        self.required(name, &allowed, |text| {
            text.parse().ok().filter(|number| bounds.contains(number))
        })
    }

    /// Whether something is on.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] if it is neither on nor off.
    pub fn switch(&self, name: &'static str) -> Result<bool, SettingsError> {
        let parse = |text: &str| match text {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" | "" => Some(false),
            _ => None,
        };
        Ok(self
            .optional(name, "true or false", parse)?
            .unwrap_or(false))
    }

    /// Whether a setting has its default, said aloud or not.
    #[must_use]
    pub fn is_default(&self, name: &str) -> bool {
        let texts = self.values.get(name).map(|value| value.texts.as_slice());
        texts.and_then(<[String]>::first).map(String::as_str)
            == self.field(name).and_then(|field| field.default)
    }

    /// The error for a value that parses, but not together with others.
    #[must_use]
    pub fn refuse(&self, name: &'static str, allowed: &str) -> SettingsError {
        let value = self.values.get(name);
        SettingsError::Invalid {
            field: name,
            value: value.map(|value| value.texts.join(",")).unwrap_or_default(),
            origin: value.map_or(Source::Default, |value| value.source.clone()),
            allowed: allowed.to_owned(),
        }
    }

    /// The effective settings as TOML, each with its origin. The output can be
    /// given back with `--config`.
    #[must_use]
    pub fn effective(&self) -> String {
        let mut text = String::new();
        for field in &self.fields {
            let line = match self.values.get(field.name) {
                Some(Value { texts, source }) => {
                    format!(
                        "{} = {} # {source}\n",
                        field.key(),
                        to_toml(field.kind, texts)
                    )
                }
                None => format!("# {} is not set\n", field.key()),
            };
            text.push_str(&line);
        }
        text
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

fn from_flag(field: &Field, matches: &ArgMatches) -> Option<Value> {
    let texts = match field.kind {
        Kind::Switch => matches
            .get_flag(field.name)
            .then(|| vec!["true".to_owned()])?,
        Kind::Text | Kind::Number | Kind::List => {
            matches.get_many::<String>(field.name)?.cloned().collect()
        }
    };
    Some(Value {
        texts,
        source: Source::Flag(field.name),
    })
}

fn from_env(field: &Field, environment: &dyn Fn(&str) -> Option<String>) -> Option<Value> {
    let text = environment(field.env)?;
    let texts = match field.kind {
        Kind::List => text
            .split(',')
            .map(str::trim)
            .filter(|t| !t.is_empty())
            .map(str::to_owned)
            .collect(),
        Kind::Text | Kind::Number | Kind::Switch => vec![text],
    };
    Some(Value {
        texts,
        source: Source::Environment(field.env),
    })
}

fn read_file(
    path: &Path,
    fields: &[Field],
    values: &mut BTreeMap<&'static str, Value>,
) -> Result<(), SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
        path: path.into(),
        source,
    })?;
    let table: toml::Table = text.parse().map_err(|source| SettingsError::NotToml {
        path: path.into(),
        source: Box::new(source),
    })?;
    for (key, value) in table {
        let Some(field) = fields.iter().find(|field| field.key() == key) else {
            let known: Vec<_> = fields.iter().map(Field::key).collect();
            return Err(SettingsError::Unknown {
                path: path.into(),
                key,
                known: known.join(", "),
            });
        };
        let texts = from_toml(field.kind, &value).map_err(|wanted| SettingsError::WrongKind {
            path: path.into(),
            key,
            value: value.to_string(),
            wanted,
        })?;
        values.insert(
            field.name,
            Value {
                texts,
                source: Source::File(path.into()),
            },
        );
    }
    Ok(())
}

/// The texts of a TOML value, or what it should have been.
fn from_toml(kind: Kind, value: &toml::Value) -> Result<Vec<String>, &'static str> {
    match (kind, value) {
        (Kind::Text | Kind::List, toml::Value::String(text)) => Ok(vec![text.clone()]),
        (Kind::Number, toml::Value::Integer(number)) => Ok(vec![number.to_string()]),
        (Kind::Switch, toml::Value::Boolean(on)) => Ok(vec![on.to_string()]),
        (Kind::List, toml::Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or("an array of texts"))
            .collect(),
        (Kind::Text, _) => Err("a text in quotes"),
        (Kind::Number, _) => Err("a whole number without quotes"),
        (Kind::Switch, _) => Err("true or false without quotes"),
        (Kind::List, _) => Err("an array of texts"),
    }
}

fn to_toml(kind: Kind, texts: &[String]) -> String {
    let quote = |text: &String| toml::Value::String(text.clone()).to_string();
    let first = texts.first().map(String::as_str).unwrap_or_default();
    match kind {
        Kind::Text => quote(&first.to_owned()),
        Kind::Number => first.to_owned(),
        Kind::Switch => matches!(first, "true" | "1" | "yes" | "on").to_string(),
        Kind::List => format!(
            "[{}]",
            texts.iter().map(quote).collect::<Vec<_>>().join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [Field; 4] = [
        Field::text("data-dir", "NEMCON_DATA_DIR", "DIR")
            .default("here")
            .help("Where."),
        Field::number("limit", "NEMCON_LIMIT", "N").default("5"),
        Field::list("coordinator", "NEMCON_COORDINATOR", "URL").help("Whom to ask."),
        Field::switch("insecure", "NEMCON_INSECURE"),
    ];

    fn gather(
        arguments: &[&str],
        environment: &[(&str, &str)],
        file: Option<&str>,
    ) -> Result<Raw, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml").display().to_string();
        let mut line = vec!["test"];
        if let Some(text) = file {
            std::fs::write(&path, text).unwrap();
            line.extend(["--config", &path]);
        }
        line.extend(arguments);
        let program = Program {
            name: "test",
            version: "1",
            about: "",
            examples: "",
        };
        let matches = command(program, &FIELDS)
            .try_get_matches_from(line)
            .unwrap();
        let environment = |name: &str| {
            environment
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).into())
        };
        Raw::gather(FIELDS.to_vec(), &matches, &environment)
            .map_err(|error| error.to_string().replace(&path, "node.toml"))
    }

    fn data_dir(raw: &Raw) -> String {
        raw.required("data-dir", "a directory", |text| Some(text.to_owned()))
            .unwrap()
    }

    #[test]
    fn each_place_wins_over_the_one_before() {
        let file = Some("data_dir = \"file\"");
        let env: &[_] = &[("NEMCON_DATA_DIR", "env")];
        assert_eq!(data_dir(&gather(&[], &[], None).unwrap()), "here");
        assert_eq!(data_dir(&gather(&[], &[], file).unwrap()), "file");
        assert_eq!(data_dir(&gather(&[], env, file).unwrap()), "env");
        assert_eq!(
            data_dir(&gather(&["--data-dir", "flag"], env, file).unwrap()),
            "flag"
        );
    }

    #[test]
    fn a_bad_value_is_named_with_its_origin_and_what_is_allowed() {
        let raw = gather(&[], &[("NEMCON_LIMIT", "many")], None).unwrap();
        assert_eq!(
            raw.number("limit", 1..=9).unwrap_err().to_string(),
            "limit is \"many\" (from the environment, NEMCON_LIMIT); want a whole number from 1 to 9"
        );
        let raw = gather(&["--limit", "10"], &[], None).unwrap();
        assert_eq!(
            raw.number("limit", 1..=9).unwrap_err().to_string(),
            "limit is \"10\" (from the command line, --limit); want a whole number from 1 to 9"
        );
        let raw = gather(&[], &[], None).unwrap();
        assert_eq!(
            raw.required("coordinator", "a URL", |_| Some(()))
                .unwrap_err()
                .to_string(),
            "coordinator is missing; give --coordinator, NEMCON_COORDINATOR or \
             `coordinator = …` in the file: Whom to ask."
        );
    }

    #[test]
    fn the_file_is_held_to_what_exists() {
        assert_eq!(
            gather(&[], &[], Some("datadir = \"x\"")).unwrap_err(),
            "node.toml sets \"datadir\", which is no setting; there are: data_dir, limit, \
             coordinator, insecure"
        );
        assert_eq!(
            gather(&[], &[], Some("limit = \"5\"")).unwrap_err(),
            "node.toml sets limit to \"5\"; want a whole number without quotes"
        );
        assert_eq!(
            gather(&[], &[], Some("limit 5")).unwrap_err(),
            "the settings in node.toml are not TOML"
        );
    }

    #[test]
    fn lists_and_switches_can_be_given_anywhere() {
        let list = |raw: &Raw| raw.list("coordinator", "", |t| Some(t.to_owned())).unwrap();
        let raw = gather(&["--coordinator", "a", "--coordinator", "b"], &[], None).unwrap();
        assert_eq!(list(&raw), ["a", "b"]);
        let raw = gather(
            &[],
            &[("NEMCON_COORDINATOR", "a, b"), ("NEMCON_INSECURE", "1")],
            None,
        );
        let raw = raw.unwrap();
        assert_eq!(list(&raw), ["a", "b"]);
        assert!(raw.switch("insecure").unwrap());
        let file = "coordinator = [\"a\", \"b\"]\ninsecure = true";
        let raw = gather(&[], &[], Some(file)).unwrap();
        assert_eq!(list(&raw), ["a", "b"]);
        assert!(raw.switch("insecure").unwrap());
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let raw = gather(&["--insecure", "--coordinator", "a\"b"], &[], None).unwrap();
        let text = raw.effective();
        assert!(
            text.contains("data_dir = \"here\" # the default\n"),
            "{text}"
        );
        let again = gather(&[], &[], Some(&text)).unwrap();
        let strip = |text: String| -> Vec<String> {
            text.lines()
                .map(|line| line.split(" # ").next().unwrap().to_owned())
                .collect()
        };
        assert_eq!(strip(again.effective()), strip(text));
    }
}
