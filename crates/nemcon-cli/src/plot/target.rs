//! The file that a picture goes to.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::failure::Failure;

/// What anybody may do with a new file, before the mask of the process: as with files
/// of other programs.
const MODE: u32 = 0o666;

/// A file of a kind that can be drawn.
#[derive(Clone, Debug)]
pub(super) struct Target {
    path: PathBuf,
    png: bool,
}

/// Why a file cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// It ends in something else.
    #[error("{name} ends in .{extension}; a picture is .svg or .png")]
    Extension {
        /// The file.
        name: String,
        /// What it ends in.
        extension: String,
    },
    /// It ends in nothing.
    #[error("{0} does not say what it is: a picture ends in .svg or .png")]
    NoExtension(String),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(name: &str) -> Result<Self, TargetError> {
        let path = PathBuf::from(name);
        let extension = path.extension().map(|it| it.to_string_lossy().into_owned());
        let png = match extension {
            Some(it) if it.eq_ignore_ascii_case("svg") => false,
            Some(it) if it.eq_ignore_ascii_case("png") => true,
            Some(extension) => {
                let name = name.to_owned();
                return Err(TargetError::Extension { name, extension });
            }
            None => return Err(TargetError::NoExtension(name.to_owned())),
        };
        Ok(Self { path, png })
    }
}

impl Target {
    pub(super) fn is_png(&self) -> bool {
        self.png
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn directory(&self) -> &Path {
        let parent = self.path.parent();
        parent
            .filter(|it| !it.as_os_str().is_empty())
            .unwrap_or(Path::new("."))
    }

    /// Finds out before a minute is measured that there is no such directory.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.path.is_dir() {
            let source = std::io::ErrorKind::IsADirectory.into();
            return Err(self.unwritable(source));
        }
        std::fs::metadata(self.directory())
            .map(drop)
            .map_err(|source| self.unwritable(source))
    }

    /// Writes it whole or not at all: beside, then in its place.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let write = || {
            let mut beside = tempfile::Builder::new()
                .prefix(".nemcon-plot-")
                .permissions(Permissions::from_mode(MODE))
                .tempfile_in(self.directory())?;
            beside.write_all(bytes)?;
            beside.as_file().sync_all()?;
            beside
                .persist(&self.path)
                .map(drop)
                .map_err(|error| error.error)
        };
        write().map_err(|source| self.unwritable(source))
    }

    fn unwritable(&self, source: std::io::Error) -> Failure {
        Failure::Unwritable {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_what_is_drawn() {
        assert!(!"a/b.svg".parse::<Target>().unwrap().is_png());
        assert!("b.PNG".parse::<Target>().unwrap().is_png());
        for (name, said) in [
            ("b.gif", "b.gif ends in .gif; a picture is .svg or .png"),
            (
                "svg",
                "svg does not say what it is: a picture ends in .svg or .png",
            ),
            (
                "",
                " does not say what it is: a picture ends in .svg or .png",
            ),
        ] {
            assert_eq!(name.parse::<Target>().unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn a_picture_that_cannot_be_written_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.svg");
        let target: Target = path.to_str().unwrap().parse().unwrap();
        target.write(b"old").unwrap();
        target.write(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o600, 0o600);
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left beside"
        );

        std::fs::create_dir(dir.path().join("y.svg")).unwrap();
        let directory: Target = dir.path().join("y.svg").to_str().unwrap().parse().unwrap();
        directory.check().unwrap_err();
        let error = directory.write(b"new").unwrap_err().to_string();
        assert!(error.contains("y.svg"), "{error}");
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            2,
            "nothing is left beside"
        );
    }
}
