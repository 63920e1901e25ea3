//! The `main` of a binary that is one node. **For binaries only**: it reads the
//! command line and the environment, installs signal handlers and a panic hook,
//! and writes to standard output.

use std::io::Write;
use std::process::ExitCode;

use crate::node::{Chain, NodeError, NodeHandle};
use crate::settings::{self, Field, Raw, SettingsError};
use crate::{health, stop, telemetry};

/// Exit code for settings that make no sense, as for a misspelt flag.
const BAD_USAGE: u8 = 2;

/// What a program says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// How it is used; the end of `--help`.
    pub examples: &'static str,
}

/// Runs one node until the process is told to stop, or asks one that runs for its
/// health. `fields` are those of the node; those for telemetry are added here.
///
/// Exits with 0 after a clean stop and for a healthy node, 2 for bad settings, 1
/// for anything else.
pub fn run<S>(
    program: Program,
    mut fields: Vec<Field>,
    parse: impl FnOnce(&Raw) -> Result<S, SettingsError>,
    start: impl FnOnce(S) -> Result<NodeHandle, NodeError>,
) -> ExitCode {
    fields.extend(telemetry::Settings::fields());
    let command = settings::command(program, &fields);
    let matches = command.get_matches();
    let environment = |name: &str| std::env::var(name).ok();
    let settings = Raw::gather(fields, &matches, &environment).and_then(|raw| {
        let telemetry = telemetry::Settings::parse(&raw)?;
        let node = settings::Settings::parse(&raw)?;
        Ok((parse(&raw)?, node, telemetry, raw))
    });
    let (settings, node, telemetry, raw) = match settings {
        Ok(settings) => settings,
        Err(error) => return complain(program, &error, ExitCode::from(BAD_USAGE)),
    };
    if settings::is_only_checked(&matches) {
        return say(&raw.effective());
    }
    if settings::is_health_asked(&matches) {
        return match health::check(node.listen) {
            Ok(()) => say("serving\n"),
            Err(error) => complain(program, &error, ExitCode::FAILURE),
        };
    }
    telemetry.install();
    telemetry::leave_caught_panics_to_the_log();
    match start(settings).and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(program, &error, ExitCode::FAILURE),
    }
}

fn serve(node: NodeHandle) -> Result<(), NodeError> {
    telemetry::stop_on_panic();
    say(&format!("{} serves at {}\n", node.name(), node.url()));
    stop::run_until_told(vec![node])
}

/// Whoever closes our standard output does not want to hear us.
fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    ExitCode::SUCCESS
}

fn complain(program: Program, error: &dyn std::error::Error, code: ExitCode) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}: {}", program.name, Chain(error));
    code
}
