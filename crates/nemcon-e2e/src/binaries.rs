//! The programs under test.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use cargo_metadata::Message;

use crate::process::spawn;

/// The path of a program of this workspace: `nemcon-coordinator`, `nemcon-bank`,
/// `nemcon-inventory` or `nemcon`. The first call builds them all.
///
/// For a test, cargo builds the programs of its own package and no others, and
/// what lies in the target directory may be of yesterday. So they are built here,
/// which takes no time where there is nothing to do.
///
/// # Panics
/// If they cannot be built, or there is none of that name.
#[must_use]
pub fn binary(name: &str) -> &'static Path {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(build);
    match built.get(name) {
        Some(path) => path,
        None => panic!("no program {name} was built, only {:?}", built.keys()),
    }
}

/// Has cargo build all programs, as what the integration tests of their packages
/// need.
///
/// `cargo build` would do as well, and would build half of the dependencies a
/// second time: tests use features of them that programs do not, and what cargo
/// builds with other features is another build. Asked for in this way, after a
/// `cargo test --workspace` all is there.
fn build() -> BTreeMap<String, PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["test", "--workspace", "--no-run", "--test", "it"])
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    if let Some(profile) = profile() {
        command.args(["--profile", &profile]);
    }
    let output = spawn(&mut command)
        .and_then(|child| child.wait_with_output())
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    Message::parse_stream(output.stdout.as_slice())
        .filter_map(|message| match message {
            Ok(Message::CompilerArtifact(artifact)) if artifact.target.is_bin() => {
                let executable = artifact.executable?.into_std_path_buf();
                Some((artifact.target.name, executable))
            }
            _ => None,
        })
        .collect()
}

/// The profile this test was built in, if it is not the usual one: cargo keeps
/// what it builds in `target/PROFILE/deps`.
fn profile() -> Option<String> {
    let test = env::current_exe().expect("a test knows where it is");
    let directory = test.parent()?.parent()?.file_name()?.to_str()?;
    // The one profile whose directory is called otherwise.
    (directory != "debug").then(|| directory.to_owned())
}
