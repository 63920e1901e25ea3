//! The setting of a measurement: without it figures mean nothing.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use serde::Serialize;

/// Where and with what was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Cores that this process may use.
    pub cores: usize,
    /// The processor, as it calls itself.
    pub processor: Option<String>,
    /// Operating system and release of its kernel.
    pub kernel: String,
    /// File system of the nodes' data; not known where the nodes were there before.
    pub file_system: Option<String>,
    /// What is synced, and how much longer that was made to take.
    pub flush: String,
    /// Whether the nodes were started for this, each a process of its own.
    pub spawned: bool,
    /// Of the command that measured.
    pub client_version: String,
    /// Of the nodes, as their programs say; empty where they were there before.
    pub node_versions: Vec<String>,
    /// Whether the command that measured was built with optimisation. The nodes
    /// are usually of the same build.
    pub optimised: bool,
}

impl Setting {
    /// What this machine says of itself. `data` is where the nodes have their data,
    /// if that is known.
    #[must_use]
    pub fn here(data: Option<&Path>, flush: String, node_versions: Vec<String>) -> Self {
        let system = rustix::system::uname();
        Self {
            cores: available_parallelism().map_or(1, std::num::NonZero::get),
            processor: processor(),
            kernel: format!(
                "{} {}",
                system.sysname().to_string_lossy(),
                system.release().to_string_lossy()
            ),
            file_system: data.and_then(file_system),
            flush,
            spawned: data.is_some(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            node_versions,
            optimised: !cfg!(debug_assertions),
        }
    }
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The type of the file system that holds a path.
fn file_system(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    type_of(&mounts, &path)
}

/// The mount whose place is the longest beginning of the path; of several at one
/// place the last, which hides the others.
fn type_of(mounts: &str, path: &Path) -> Option<String> {
    let mount = |line: &str| {
        let (place, rest) = line.split_once(" - ")?;
        let place = place.split_whitespace().nth(4)?.to_owned();
        Some((place, rest.split_whitespace().next()?.to_owned()))
    };
    let mounts = mounts.lines().filter_map(mount);
    let above = mounts.filter(|(place, _)| path.starts_with(place));
    above
        .max_by_key(|(place, _)| place.len())
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount() {
        let mounts = "\
1 0 0:1 / / rw - overlay overlay rw
2 1 0:2 / /tmp rw,nosuid shared:3 - tmpfs tmpfs rw
3 2 0:3 / /tmp/data rw - xfs /dev/a rw
4 2 0:3 / /tmp/data rw - ext4 /dev/b rw
no mount at all
";
        let found = |path: &str| type_of(mounts, Path::new(path));
        assert_eq!(found("/tmp/data/x").as_deref(), Some("ext4"));
        assert_eq!(found("/tmp/database").as_deref(), Some("tmpfs"));
        assert_eq!(found("/home").as_deref(), Some("overlay"));
        assert_eq!(type_of("", Path::new("/")), None);
    }

    #[test]
    fn this_machine_has_a_core_and_a_kernel() {
        let setting = Setting::here(None, "as the nodes are set".into(), Vec::new());
        assert!(setting.cores > 0 && !setting.kernel.trim().is_empty());
        assert!(!setting.spawned);
    }
}
