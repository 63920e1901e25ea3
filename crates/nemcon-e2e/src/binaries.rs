//! The programs under test.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use cargo_metadata::Message;

/// Whose programs are built.
const PACKAGES: [&str; 3] = ["nemcon-coordinator", "nemcon-bank", "nemcon-cli"];

/// The path of a program of this workspace: `nemcon-coordinator`, `nemcon-bank`
/// or `nemcon`. The first call builds them all.
///
/// Cargo builds the programs of *other* packages for no test, and what lies in
/// the target directory may be of yesterday; so they are built here, which is
/// quick where there is nothing to do.
///
/// # Panics
/// If they cannot be built, or there is none of that name.
#[must_use]
pub fn binary(name: &str) -> &'static Path {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(build);
    match built.get(name) {
        Some(path) => path,
        None => panic!(
            "{PACKAGES:?} have no program {name}; there are {:?}",
            built.keys()
        ),
    }
}

fn build() -> BTreeMap<String, PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "build",
            "--bins",
            "--message-format=json-render-diagnostics",
        ])
        .args(["--profile", &profile()])
        .stdout(Stdio::piped());
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    let output = command
        .spawn()
        .and_then(|child| child.wait_with_output())
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    Message::parse_stream(output.stdout.as_slice())
        .filter_map(|message| match message {
            Ok(Message::CompilerArtifact(artifact)) => Some((
                artifact.target.name,
                artifact.executable?.into_std_path_buf(),
            )),
            _ => None,
        })
        .collect()
}

/// The profile this test was built in: cargo keeps what it builds in
/// `target/PROFILE/deps`.
fn profile() -> String {
    let test = env::current_exe().expect("a test knows where it is");
    let directory = test
        .parent()
        .and_then(Path::parent)
        .and_then(Path::file_name);
    match directory.and_then(|name| name.to_str()) {
        // The one profile whose directory is called otherwise.
        Some("debug") | None => "dev".to_owned(),
        Some(profile) => profile.to_owned(),
    }
}
