//! A backup as a folder: plain files, that no version of a storage engine is
//! needed for to read.
//!
//! ```text
//!   <dir>/format     "nemcon-backup 1"; with " unfinished" behind it until it is whole
//!   <dir>/manifest   whose backup it is, where it ends, and sums of the other two
//!   <dir>/values     key length (4), value length (4), key, value; again and again
//!   <dir>/pages      page number (8), page length (4), page; again and again
//! ```
//!
//! Numbers are big-endian, and values and pages are as they are stored, with the
//! checksums of their own. A folder is never changed once it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use nemcon_core::id::Lsn;

use super::{End, Piece};

/// The format this code writes, and the newest it reads.
pub const FORMAT: u64 = 1;

/// What the file `format` of every backup begins with.
pub(crate) const PREFIX: &str = "nemcon-backup ";

/// What follows the number until the backup is whole.
pub(crate) const UNFINISHED: &str = " unfinished";

/// Bytes of the longest key, value or page that is believed: what is longer is
/// damage, and not asked memory for.
const ITEM_BYTES_MAX: usize = 256 << 20;

/// Why a folder could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is something in it already.
    #[error("{} is not empty: a backup needs a directory of its own, a new or an empty one", .0.display())]
    NotEmpty(PathBuf),
    /// It is no backup.
    #[error("{} is no backup: want a directory that `nemcon backup` wrote, which has a file `format`", .0.display())]
    NoBackup(PathBuf),
    /// Its end never came.
    #[error("the backup in {} was never finished, and what is missing nobody knows; take another one", .0.display())]
    Unfinished(PathBuf),
    /// Written by a newer version of this program.
    #[error("the backup in {} has format version {found}; this program reads up to {FORMAT}", dir.display())]
    NewerFormat {
        /// The folder.
        dir: PathBuf,
        /// The version that was found.
        found: u64,
    },
    /// It is not as it was written.
    #[error("the backup in {} is damaged: {what}. Use another copy of it, or an older backup", dir.display())]
    Damaged {
        /// The folder.
        dir: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The operating system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io {
        doing,
        path,
        source,
    }
}

/// Whose backup it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// `coordinator` or `participant`.
    pub kind: String,
    /// The node's name.
    pub name: String,
    /// The identity of its data directory.
    pub identity: String,
    /// The version of the program that it ran.
    pub program: String,
    /// When the backup began, in milliseconds since 1970 by the node's clock.
    pub begun_at_ms: u64,
}

/// How much of one sort there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The file's CRC32C.
    pub sum: u32,
}

/// What a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Whose it is.
    pub origin: Origin,
    /// The first page.
    pub first_page: u64,
    /// Where it ends.
    pub end: End,
    /// When it ended, in milliseconds since 1970 by the node's clock: it has all
    /// that was acknowledged before it began.
    pub ended_at_ms: u64,
    /// Its values.
    pub values: Amount,
    /// Its pages.
    pub pages: Amount,
}

impl Manifest {
    fn to_text(&self) -> String {
        let Self {
            origin,
            first_page,
            end,
            ended_at_ms,
            values,
            pages,
        } = self;
        let amount = |it: &Amount| format!("{} {} {:08x}", it.count, it.bytes, it.sum);
        let mut text = format!(
            "kind {}\nname {}\nidentity {}\nprogram {}\nbegun-at-ms {}\nended-at-ms {ended_at_ms}\n\
             first-page {first_page}\nlast-page {}\nlast-record {}\nvalues {}\npages {}\n",
            origin.kind,
            origin.name,
            origin.identity,
            origin.program,
            origin.begun_at_ms,
            end.page,
            end.lsn,
            amount(values),
            amount(pages),
        );
        let sum = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!("sum {sum:08x}\n"));
        text
    }

    /// `None` if it is not what [`Manifest::to_text`] wrote. Lines that are not
    /// known are let pass: a later version may add some.
    fn from_text(text: &str) -> Option<Self> {
        let (said, sum) = text.strip_suffix('\n')?.rsplit_once("\nsum ")?;
        let said = format!("{said}\n");
        if u32::from_str_radix(sum, 16).ok()? != crc32c::crc32c(said.as_bytes()) {
            return None;
        }
        let line = |name: &str| {
            let mut lines = said.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        };
        let number = |name: &str| line(name)?.parse().ok();
        let amount = |name: &str| {
            let mut words = line(name)?.split(' ');
            Some(Amount {
                count: words.next()?.parse().ok()?,
                bytes: words.next()?.parse().ok()?,
                sum: u32::from_str_radix(words.next()?, 16).ok()?,
            })
        };
        Some(Self {
            origin: Origin {
                kind: line("kind")?.to_owned(),
                name: line("name")?.to_owned(),
                identity: line("identity")?.to_owned(),
                program: line("program")?.to_owned(),
                begun_at_ms: number("begun-at-ms")?,
            },
            first_page: number("first-page")?,
            end: End {
                lsn: Lsn(number("last-record")?),
                page: number("last-page")?,
            },
            ended_at_ms: number("ended-at-ms")?,
            values: amount("values")?,
            pages: amount("pages")?,
        })
    }
}

/// A file of the folder that is being written.
struct Part {
    path: PathBuf,
    file: BufWriter<File>,
    amount: Amount,
}

impl Part {
    fn create(path: PathBuf) -> Result<Self, FolderError> {
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = BufWriter::new(file.map_err(failed("create", &path))?);
        Ok(Self {
            path,
            file,
            amount: Amount::default(),
        })
    }

    fn write(&mut self, parts: [&[u8]; 4]) -> Result<(), FolderError> {
        for bytes in parts {
            self.amount.bytes += bytes.len() as u64;
            self.amount.sum = crc32c::crc32c_append(self.amount.sum, bytes);
            self.file
                .write_all(bytes)
                .map_err(failed("write", &self.path))?;
        }
        self.amount.count += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<Amount, FolderError> {
        let written = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all());
        written.map_err(failed("write", &self.path))?;
        Ok(self.amount)
    }
}

/// Writes a folder. One that is dropped before [`FolderWriter::finish`] is and
/// stays unfinished, and says so.
pub struct FolderWriter {
    dir: PathBuf,
    manifest: Manifest,
    values: Part,
    pages: Part,
}

impl FolderWriter {
    /// Begins a folder in a directory that is new or empty.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn create(dir: &Path, origin: Origin) -> Result<Self, FolderError> {
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
        let mut there = fs::read_dir(dir).map_err(failed("list", dir))?;
        if there.next().is_some() {
            return Err(FolderError::NotEmpty(dir.to_owned()));
        }
        write_synced(dir, "format", &format!("{PREFIX}{FORMAT}{UNFINISHED}\n"))?;
        Ok(Self {
            dir: dir.to_owned(),
            manifest: Manifest {
                origin,
                ..Manifest::default()
            },
            values: Part::create(dir.join("values"))?,
            pages: Part::create(dir.join("pages"))?,
        })
    }

    /// Adds what came. An end is kept for [`FolderWriter::finish`].
    ///
    /// # Errors
    /// [`FolderError`]; the folder stays unfinished.
    pub fn add(&mut self, piece: &Piece) -> Result<(), FolderError> {
        match piece {
            Piece::Begun { first_page } => self.manifest.first_page = *first_page,
            Piece::Values(values) => {
                for (key, value) in values {
                    let (keys, bytes) = (length(key), length(value));
                    self.values.write([&keys, &bytes, key, value])?;
                }
            }
            Piece::Pages(pages) => {
                for (page, bytes) in pages {
                    let number = page.to_be_bytes();
                    self.pages.write([&number, &length(bytes), bytes, &[]])?;
                }
            }
            Piece::Ended(end) => self.manifest.end = *end,
        }
        Ok(())
    }

    /// What there is so far: values and pages.
    #[must_use]
    pub const fn amounts(&self) -> (Amount, Amount) {
        (self.values.amount, self.pages.amount)
    }

    /// All has come: seals the folder.
    ///
    /// # Errors
    /// [`FolderError`]; the folder stays unfinished.
    pub fn finish(self, ended_at_ms: u64) -> Result<Manifest, FolderError> {
        let Self {
            dir,
            mut manifest,
            values,
            pages,
        } = self;
        manifest.ended_at_ms = ended_at_ms;
        manifest.values = values.finish()?;
        manifest.pages = pages.finish()?;
        write_synced(&dir, "manifest", &manifest.to_text())?;
        write_synced(&dir, "format", &format!("{PREFIX}{FORMAT}\n"))?;
        Ok(manifest)
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Writes a small file so that it is there as a whole or not at all.
fn write_synced(dir: &Path, name: &str, text: &str) -> Result<(), FolderError> {
    let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
    fs::write(&new, text).map_err(failed("write", &new))?;
    let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all());
    sync(&new).map_err(failed("sync", &new))?;
    fs::rename(&new, &path).map_err(failed("create", &path))?;
    sync(dir).map_err(failed("sync", dir))
}

/// A folder that is whole, to be read.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    manifest: Manifest,
}

impl Folder {
    /// Opens a folder. Its sums are checked while it is read.
    ///
    /// # Errors
    /// [`FolderError`] if it is no backup, an unfinished one, or of a newer format.
    pub fn open(dir: &Path) -> Result<Self, FolderError> {
        let path = dir.join("format");
        let format = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(FolderError::NoBackup(dir.to_owned()));
            }
            read => read.map_err(failed("read", &path))?,
        };
        let Some(said) = format.trim_end().strip_prefix(PREFIX) else {
            return Err(FolderError::NoBackup(dir.to_owned()));
        };
        let number = said.strip_suffix(UNFINISHED);
        match (number.unwrap_or(said).parse(), number) {
            (Ok(found), _) if found > FORMAT => Err(FolderError::NewerFormat {
                dir: dir.to_owned(),
                found,
            }),
            (Ok(_), Some(_)) => Err(FolderError::Unfinished(dir.to_owned())),
            (Ok(_), None) => {
                let path = dir.join("manifest");
                let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
                let manifest = Manifest::from_text(&text)
                    .ok_or_else(|| damaged(dir, "its manifest's sum does not fit"))?;
                Ok(Self {
                    dir: dir.to_owned(),
                    manifest,
                })
            }
            (Err(_), _) => Err(FolderError::NoBackup(dir.to_owned())),
        }
    }

    /// Whose backup it is, and what it holds.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads all values, in the order of their keys.
    ///
    /// # Errors
    /// [`FolderError`], or what `see` says.
    pub fn for_each_value<E: From<FolderError>>(
        &self,
        mut see: impl FnMut(Vec<u8>, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut part = Reading::open(&self.dir, "values")?;
        for _ in 0..self.manifest.values.count {
            let (key, value) = (part.number()?, part.number()?);
            see(part.bytes(key)?, part.bytes(value)?)?;
        }
        Ok(part.end(self.manifest.values)?)
    }

    /// Reads all pages, in order.
    ///
    /// # Errors
    /// [`FolderError`], or what `see` says.
    pub fn for_each_page<E: From<FolderError>>(
        &self,
        mut see: impl FnMut(u64, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut part = Reading::open(&self.dir, "pages")?;
        for _ in 0..self.manifest.pages.count {
            let (high, low) = (part.number()?, part.number()?);
            let length = part.number()?;
            let number = (u64::from(high) << 32) | u64::from(low);
            see(number, part.bytes(length)?)?;
        }
        Ok(part.end(self.manifest.pages)?)
    }

    /// Reads all of it and checks its sums, without doing anything with it.
    ///
    /// # Errors
    /// [`FolderError`] for the first thing that is wrong.
    pub fn check(&self) -> Result<(), FolderError> {
        self.for_each_value(|_, _| Ok::<_, FolderError>(()))?;
        self.for_each_page(|_, _| Ok::<_, FolderError>(()))
    }
}

fn damaged(dir: &Path, what: impl Into<String>) -> FolderError {
    FolderError::Damaged {
        dir: dir.to_owned(),
        what: what.into(),
    }
}

/// A file of the folder that is being read.
struct Reading {
    dir: PathBuf,
    name: &'static str,
    file: BufReader<File>,
    read: Amount,
}

impl Reading {
    fn open(dir: &Path, name: &'static str) -> Result<Self, FolderError> {
        let path = dir.join(name);
        let file = File::open(&path).map_err(failed("open", &path))?;
        Ok(Self {
            dir: dir.to_owned(),
            name,
            file: BufReader::new(file),
            read: Amount::default(),
        })
    }

    fn number(&mut self) -> Result<u32, FolderError> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn bytes(&mut self, length: u32) -> Result<Vec<u8>, FolderError> {
        let length = length as usize;
        if length > ITEM_BYTES_MAX {
            let what = format!("`{}` has an item of {length} bytes", self.name);
            return Err(damaged(&self.dir, what));
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), FolderError> {
        let path = self.dir.join(self.name);
        match self.file.read_exact(bytes) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                let what = format!("`{}` was cut off", self.name);
                return Err(damaged(&self.dir, what));
            }
            read => read.map_err(failed("read", &path))?,
        }
        self.read.bytes += bytes.len() as u64;
        self.read.sum = crc32c::crc32c_append(self.read.sum, bytes);
        Ok(())
    }

    /// All has been read: compares it with what was written.
    fn end(mut self, written: Amount) -> Result<(), FolderError> {
        let more = self
            .file
            .read(&mut [0])
            .map_err(failed("read", &self.dir.join(self.name)))?;
        if more > 0 || self.read.bytes != written.bytes || self.read.sum != written.sum {
            let what = format!("the sum of `{}` does not fit", self.name);
            return Err(damaged(&self.dir, what));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            kind: "participant".into(),
            name: "bank-a".into(),
            identity: "0199".into(),
            program: "0.1.0".into(),
            begun_at_ms: 5,
        }
    }

    fn write(dir: &Path) -> Manifest {
        let mut writer = FolderWriter::create(dir, origin()).unwrap();
        let pieces = [
            Piece::Begun { first_page: 3 },
            Piece::Values(vec![(b"alice".to_vec(), b"100".to_vec())]),
            Piece::Values(vec![(b"bob".to_vec(), Vec::new())]),
            Piece::Pages(vec![(3, b"page three".to_vec()), (4, b"four".to_vec())]),
            Piece::Ended(End {
                lsn: Lsn(9),
                page: 4,
            }),
        ];
        for piece in &pieces {
            writer.add(piece).unwrap();
        }
        writer.finish(7).unwrap()
    }

    fn read(folder: &Folder) -> (usize, Vec<u64>) {
        let (mut bytes, mut pages) = (0, Vec::new());
        let value = |key: Vec<u8>, value: Vec<u8>| {
            bytes += key.len() + value.len();
            Ok::<_, FolderError>(())
        };
        folder.for_each_value(value).unwrap();
        let page = |page, _| {
            pages.push(page);
            Ok::<_, FolderError>(())
        };
        folder.for_each_page(page).unwrap();
        (bytes, pages)
    }

    #[test]
    fn a_folder_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let written = write(dir.path());
        let folder = Folder::open(dir.path()).unwrap();
        assert_eq!(folder.manifest(), &written);
        assert_eq!(folder.manifest().origin, origin());
        assert_eq!(read(&folder), (11, vec![3, 4]));
        let format = fs::read_to_string(dir.path().join("format")).unwrap();
        assert_eq!(format, "nemcon-backup 1\n");
    }

    #[test]
    fn one_that_was_not_finished_says_so() {
        let dir = tempfile::tempdir().unwrap();
        drop(FolderWriter::create(dir.path(), origin()).unwrap());
        let error = Folder::open(dir.path()).unwrap_err();
        assert!(matches!(error, FolderError::Unfinished(_)), "{error}");
        let again = FolderWriter::create(dir.path(), origin());
        assert!(matches!(again, Err(FolderError::NotEmpty(_))));
    }

    #[test]
    fn every_changed_byte_is_found() {
        for name in ["values", "pages", "manifest"] {
            let whole = tempfile::tempdir().unwrap();
            write(whole.path());
            let bytes = fs::read(whole.path().join(name)).unwrap();
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                fs::write(whole.path().join(name), &changed).unwrap();
                let found = Folder::open(whole.path()).and_then(|folder| folder.check());
                assert!(found.is_err(), "{name} at {at}");
            }
            for cut in [0, bytes.len() / 2, bytes.len() - 1] {
                fs::write(whole.path().join(name), &bytes[..cut]).unwrap();
                let found = Folder::open(whole.path()).and_then(|folder| folder.check());
                assert!(found.is_err(), "{name} cut to {cut}");
            }
        }
    }

    #[test]
    fn a_newer_format_and_no_backup_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let open = |format: &str| {
            fs::write(dir.path().join("format"), format).unwrap();
            Folder::open(dir.path()).unwrap_err()
        };
        let newer = open("nemcon-backup 2\n");
        assert!(matches!(newer, FolderError::NewerFormat { found: 2, .. }));
        let other = open("nemcon-log 1\n");
        assert!(matches!(other, FolderError::NoBackup(_)));
    }
}
