//! The log's directory: who may use it, what format it has, what is in it.
//!
//! ```text
//!   <dir>/format    "nemcon-log 3": written last, so a directory that has it is whole
//!   <dir>/lock      held while the log is open
//!   <dir>/mark      the high-water mark (see crate::mark)
//!   <dir>/ballast   takes up room, to be let go when there is none (see super::space)
//!   <dir>/sled/     the database of the log's pages; its main file is `db`
//!   <dir>/data/     the database of the data
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::backup::folder::{PREFIX, UNFINISHED};
use crate::error::OpenError;
use crate::mark::{MARK_BYTES, Mark};

/// The format this code writes, and the newest it reads.
const FORMAT: u64 = 3;

/// The format in which `sled/` has the data too. In the next the data has a database
/// of its own, and in the one after that pages have slots.
pub(crate) const ONE_DATABASE: u64 = 1;

/// How long a lock may be held by one who is just going: a process that is
/// ending, or a child of one between its fork and its exec.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(1);

/// How often that is looked at.
const LOCK_WAIT_STEP: Duration = Duration::from_millis(5);

const FORMAT_PREFIX: &str = "nemcon-log ";

/// What stands there while a backup is being restored.
const RESTORING: &str = "nemcon-restore unfinished";

/// A directory that is ours alone while this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) mark: File,
    /// The format it had when it was taken. There is a format file, so it was whole
    /// once; without one it is new.
    format: Option<u64>,
    _lock: File,
}

impl Directory {
    /// Creates the directory where it is missing, durably, and takes it.
    pub(crate) fn take(path: &Path) -> Result<Self, OpenError> {
        create_durably(path)?;
        let lock = take_lock(path)?;
        let format = read_format(path)?;
        if let Some(found) = format.filter(|found| *found > FORMAT) {
            return Err(OpenError::NewerFormat {
                dir: path.to_owned(),
                found,
                known: FORMAT,
            });
        }
        let mark = open_mark(&path.join("mark"), format.is_some())?;
        Ok(Self {
            path: path.to_owned(),
            mark,
            format,
            _lock: lock,
        })
    }

    /// Takes a directory to write a log into that exists elsewhere, and says in it
    /// that this is not done yet. `None` if there is anything in it already; a
    /// volume's own `lost+found` is nothing.
    pub(crate) fn take_empty(path: &Path) -> Result<Option<Self>, OpenError> {
        create_durably(path)?;
        for entry in fs::read_dir(path).map_err(failed("list", path))? {
            if entry.map_err(failed("list", path))?.file_name() != "lost+found" {
                return Ok(None);
            }
        }
        let format = path.join("format");
        fs::write(&format, format!("{RESTORING}\n")).map_err(failed("write", &format))?;
        sync(&format)?;
        sync(path)?;
        let lock = take_lock(path)?;
        let mark = open_mark(&path.join("mark"), false)?;
        Ok(Some(Self {
            path: path.to_owned(),
            mark,
            format: None,
            _lock: lock,
        }))
    }

    /// Takes a directory that has a log in it.
    pub(crate) fn take_existing(path: &Path) -> Result<Self, OpenError> {
        if !path.join("format").exists() {
            return Err(OpenError::NoLog {
                dir: path.to_owned(),
            });
        }
        Self::take(path)
    }

    /// Whether there was a log, of whatever format.
    pub(crate) const fn existed(&self) -> bool {
        self.format.is_some()
    }

    /// The format of its log, if that is older than what this code writes.
    pub(crate) fn older_format(&self) -> Option<u64> {
        self.format.filter(|format| *format < FORMAT)
    }

    /// Whether it says that it has the format this code writes.
    pub(crate) fn is_current(&self) -> bool {
        self.format == Some(FORMAT)
    }

    /// Refuses a log without a database that its format has: sled would make an
    /// empty one without a word. `at` is where they are, here or in a copy.
    pub(crate) fn check_databases(&self, at: &Path) -> Result<(), OpenError> {
        let mut wanted = Vec::new();
        if self.existed() {
            wanted.push(pages(at));
        }
        if self.format.is_some_and(|format| format > ONE_DATABASE) {
            wanted.push(values(at));
        }
        match wanted.into_iter().find(|path| !path.join("db").exists()) {
            Some(path) => Err(OpenError::NoDatabase { path }),
            None => Ok(()),
        }
    }

    pub(crate) fn read_mark(&self) -> Result<Mark, OpenError> {
        let path = self.path.join("mark");
        let mut bytes = vec![0; MARK_BYTES];
        match self.mark.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
                Err(failed("read", &path)(error))
            }
            // What is too short is zero from its end on, and so unreadable there.
            _ => Mark::read(&bytes).ok_or(OpenError::NoMark { path }),
        }
    }

    /// Everything else is in place and durable: says so.
    pub(crate) fn write_format(&mut self) -> Result<(), OpenError> {
        let (new, path) = (self.path.join("format.new"), self.path.join("format"));
        fs::write(&new, format!("{FORMAT_PREFIX}{FORMAT}\n")).map_err(failed("write", &new))?;
        sync(&new)?;
        fs::rename(&new, &path).map_err(failed("create", &path))?;
        sync(&self.path)?;
        self.format = Some(FORMAT);
        Ok(())
    }
}

/// Where the database of the log's pages is.
pub(crate) fn pages(at: &Path) -> PathBuf {
    at.join("sled")
}

/// Where the database of the data is.
pub(crate) fn values(at: &Path) -> PathBuf {
    at.join("data")
}

/// Bytes of the files in a directory, and in those in it.
pub(crate) fn bytes(dir: &Path) -> Result<u64, OpenError> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
        let path = entry.map_err(failed("list", dir))?.path();
        let found = fs::metadata(&path).map_err(failed("look at", &path))?;
        bytes += if found.is_dir() {
            self::bytes(&path)?
        } else {
            found.len()
        };
    }
    Ok(bytes)
}

/// Makes a file, or the entries of a directory, durable.
pub(crate) fn sync(path: &Path) -> Result<(), OpenError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(failed("sync", path))
}

/// Makes everything in a directory durable, and the directory itself.
pub(crate) fn sync_all(dir: &Path) -> Result<(), OpenError> {
    for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
        let path = entry.map_err(failed("list", dir))?.path();
        if path.is_dir() {
            sync_all(&path)?;
        } else {
            sync(&path)?;
        }
    }
    sync(dir)
}

/// For `map_err`.
pub(crate) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io {
        doing,
        path,
        source,
    }
}

/// Like `create_dir_all`, but each new entry is synced into its parent: a
/// durable log in a directory that a power cut takes away helps nobody.
fn create_durably(path: &Path) -> Result<(), OpenError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    create_durably(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(failed("create", path)(error))
        }
        _ => sync(parent),
    }
}

fn take_lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed("open", &path))?;
    let deadline = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(LOCK_WAIT_STEP);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse {
                    dir: dir.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
        }
    }
}

fn read_format(dir: &Path) -> Result<Option<u64>, OpenError> {
    let path = dir.join("format");
    let mut found = Vec::new();
    match File::open(&path).and_then(|file| file.take(64).read_to_end(&mut found)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", &path)(error)),
        Ok(_) => {}
    }
    // Whatever it is, it can be shown.
    let found = String::from_utf8_lossy(&found).into_owned();
    match found
        .strip_prefix(FORMAT_PREFIX)
        .and_then(|number| number.trim().parse().ok())
    {
        Some(number @ 1..) => Ok(Some(number)),
        _ => Err(not_a_log(dir, path, found)),
    }
}

/// What a directory is whose format file names no log.
fn not_a_log(dir: &Path, path: PathBuf, found: String) -> OpenError {
    let dir = dir.to_owned();
    if found.starts_with(PREFIX) {
        OpenError::Backup {
            dir,
            unfinished: found.trim_end().ends_with(UNFINISHED),
        }
    } else if found.trim_end() == RESTORING {
        OpenError::HalfRestored { dir }
    } else {
        OpenError::UnknownFormat { path, found }
    }
}

/// Opens the mark, or makes one where no log is yet.
fn open_mark(path: &Path, must_exist: bool) -> Result<File, OpenError> {
    let open = OpenOptions::new().read(true).write(true).open(path);
    match open {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == ErrorKind::NotFound && must_exist => Err(OpenError::NoMark {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::write(path, Mark::blank()).map_err(failed("create", path))?;
            sync(path)?;
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .map_err(failed("open", path))
        }
        Err(error) => Err(failed("open", path)(error)),
    }
}
