//! The real log: one plain thread that owns two sled databases.
//!
//! ```text
//!   node's thread                 the log's thread
//!   append ──┐                    ┌─ take everything queued
//!   flush  ──┼──▶ inbox ────────▶ │  pack, write, sync, mark
//!   …      ──┘   (bounded)        │  notify: Durable
//!                                 └─ remove a few old pages, then again
//! ```
//!
//! While a sync is under way the next batch gathers in the inbox: the slower
//! the disk, the larger the batches. That is all there is to group commit.

mod ahead;
mod database;
pub(crate) mod directory;
mod guard;
mod inbox;
mod reader;
mod ring;
mod space;
pub(crate) mod store;
mod upgrade;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nemcon_core::id::Lsn;
use nemcon_core::machine::Stored;

use self::directory::Directory;
pub use self::guard::panics_are_caught;
use self::inbox::{Inbox, Stop, Wait};
pub use self::reader::Reader;
pub use self::space::{BALLAST_BYTES, free_bytes};
use self::store::SledStore;
use crate::backup::source::Wanted;
use crate::backup::{BackupError, PinLimits, Sink};
use crate::error::{Chain, LogError, OpenError};
use crate::faults::{Faults, Faulty};
use crate::recover::{Opened, recover};
use crate::writer::{Command, Limits, Writer};
use crate::{Log, Notify, Recovery};

/// How the log uses memory and disk.
#[derive(Clone, Debug)]
pub struct Options {
    /// How pages are cut.
    pub limits: Limits,
    /// The page cache of each of the two databases, in bytes. 1 MiB: a log is
    /// written, and read only at start. sled looks at the limit now and then, in
    /// 256 places each for itself, so what it holds is a multiple of that. Its own
    /// default is 1 GiB.
    pub cache_bytes: u64,
    /// Bytes queued for the log's thread beyond which a caller waits for it.
    pub queue_bytes_max: usize,
    /// How far the high-water mark may fall behind in a power cut.
    pub mark_sync_every: Duration,
    /// What is wrong with the disk: for tests and benchmarks.
    pub faults: Faults,
    /// How long a backup may keep the log pinned.
    pub pin: PinLimits,
    #[doc(hidden)]
    pub durability: Durability,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            cache_bytes: 1 << 20,
            queue_bytes_max: 64 << 20,
            mark_sync_every: Duration::from_secs(1),
            faults: Faults::default(),
            pin: PinLimits::default(),
            durability: Durability::Synced,
        }
    }
}

/// How a flush is made durable. There is one right answer; the other is here so
/// that the test of an operating-system crash can prove that it would notice.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// `flush`, then `sync_data`.
    Synced,
    /// sled's `flush` alone, which loses acknowledged records.
    FlushOnly,
}

/// How often the log looks how much room is left.
const ROOM_EVERY: Duration = Duration::from_millis(250);

/// How often a full sink of a backup is looked at again.
const SINK_STEP: Duration = Duration::from_millis(5);

/// Lets go of the ballast of the log in `dir`, which no node may have open: so
/// that a node whose disk is full can start and end what it has begun. Returns
/// the bytes this has freed, zero if there was none.
///
/// # Errors
/// [`OpenError`] if there is no log, or it is in use.
pub fn free_ballast(dir: &Path) -> Result<u64, OpenError> {
    let directory = Directory::take_existing(dir)?;
    space::free_ballast(&directory.path).map_err(directory::failed("free the ballast of", dir))
}

/// The log on sled.
///
/// Dropping it without [`Log::close`] stops the thread without a last flush and
/// leaves the log unclean, like a crash of the process.
pub struct SledLog {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<Result<(), LogError>>>,
    dir: PathBuf,
}

impl SledLog {
    /// Opens the log in `dir`, or makes one there; reads and checks all of it,
    /// hands it to `recovery`, and makes what was read durable before it
    /// returns.
    ///
    /// `notify` is called on the log's thread; see [`Notify`] for what it must
    /// not do.
    ///
    /// # Errors
    /// [`OpenError`] for a log that is in use, of a newer format, or not whole.
    pub fn open(
        dir: &Path,
        options: Options,
        recovery: &mut dyn Recovery,
        notify: Notify,
    ) -> Result<(Self, Opened), OpenError> {
        Self::open_if_it_can_be(dir, options, recovery, notify)
            .map_err(|error| error.or_full_disk(dir))
    }

    fn open_if_it_can_be(
        dir: &Path,
        options: Options,
        recovery: &mut dyn Recovery,
        notify: Notify,
    ) -> Result<(Self, Opened), OpenError> {
        let directory = Directory::take(dir)?;
        let existed = directory.existed();
        let store = SledStore::open(directory, &options)?;
        let recovered = recover(&store, recovery)?;
        if !existed && !recovered.is_empty() {
            let path = dir.join("format");
            return Err(OpenError::UnknownFormat {
                path,
                found: String::new(),
            });
        }
        let store = Faulty {
            store,
            faults: options.faults.clone(),
        };
        let mut writer = Writer::start(store, options.limits, &recovered, notify)?;
        writer.store_mut().store.declare_whole()?;
        let ballast = space::make_ballast(dir);
        if !ballast.map_err(directory::failed("make the ballast of", dir))? {
            tracing::warn!(
                dir = %dir.display(),
                "no room for the ballast of {BALLAST_BYTES} bytes, which would help out of a full disk"
            );
        }
        let opened = recovered.opened(!existed);
        tracing::debug!(dir = %dir.display(), ?opened, "log opened");
        let log = Self::spawn(dir, writer, &options)?;
        Ok((log, opened))
    }

    fn spawn(
        dir: &Path,
        writer: Writer<Faulty<SledStore>>,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let inbox = Arc::new(Inbox::new(
            options.queue_bytes_max,
            options.limits.unflushed_bytes_max,
        ));
        let worker = Worker {
            writer,
            inbox: Arc::clone(&inbox),
            mark_every: options.mark_sync_every,
            pin: options.pin,
            pinned: None,
        };
        let thread = thread::Builder::new()
            .name("nemcon-log".to_owned())
            .spawn(move || worker.run())
            .map_err(directory::failed("start a thread for the log in", dir))?;
        Ok(Self {
            inbox,
            thread: Some(thread),
            dir: dir.to_owned(),
        })
    }

    /// Where backups of this log are asked for.
    #[must_use]
    pub fn backups(&self) -> Backups {
        Backups(Arc::clone(&self.inbox))
    }

    /// Ends the thread and says how it went.
    fn join(&mut self, stop: Stop) -> Result<(), LogError> {
        let stopped = || LogError::Stopped {
            place: self.dir.clone(),
        };
        let thread = self.thread.take().ok_or_else(stopped)?;
        self.inbox.stop(stop);
        thread.join().unwrap_or_else(|_| Err(stopped()))
    }
}

/// Where backups of a log are asked for, from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Backups(Arc<Inbox>);

impl Backups {
    /// Asks for a backup. If the log has ended, `sink` is dropped without a word.
    pub fn begin(&self, sink: Box<dyn Sink>) {
        self.0.push(Command::BackUp(Wanted(sink)));
    }
}

impl Log for SledLog {
    fn append(&mut self, records: Vec<(Lsn, Vec<u8>)>) {
        if !records.is_empty() {
            self.inbox.push(Command::Append(records));
        }
    }

    fn flush(&mut self) {
        self.inbox.push(Command::Flush);
    }

    fn begin_checkpoint(&mut self) {
        self.inbox.push(Command::BeginCheckpoint);
    }

    fn write_back(&mut self, values: Vec<Stored>) {
        if !values.is_empty() {
            self.inbox.push(Command::WriteBack(values));
        }
    }

    fn close_checkpoint(&mut self) {
        self.inbox.push(Command::CloseCheckpoint);
    }

    fn catch_up(&mut self) {
        self.inbox.push(Command::CatchUp);
    }

    fn close(mut self: Box<Self>) -> Result<(), LogError> {
        self.join(Stop::Cleanly)
    }
}

impl Drop for SledLog {
    fn drop(&mut self) {
        if self.thread.is_some()
            && let Err(error) = self.join(Stop::Abruptly)
        {
            tracing::debug!(error = %Chain(&error), "log dropped after it had failed");
        }
    }
}

/// The log's thread.
struct Worker {
    writer: Writer<Faulty<SledStore>>,
    inbox: Arc<Inbox>,
    mark_every: Duration,
    pin: PinLimits,
    pinned: Option<Pinned>,
}

/// How long a backup has been under way.
struct Pinned {
    since: Instant,
    /// When a piece was taken for the last time, and how many were.
    moved: Instant,
    taken: u64,
}

impl Worker {
    /// Works until told to stop, or until the first failure. After a failure
    /// nothing is tried again, and nothing more is written.
    fn run(mut self) -> Result<(), LogError> {
        let worked = catch_unwind(AssertUnwindSafe(|| self.work()));
        let result = worked.unwrap_or_else(|payload| {
            Err(LogError::Engine {
                place: self.writer.store().store.directory.path.clone(),
                doing: "work",
                what: guard::panic_message(payload.as_ref()),
            })
        });
        self.inbox.kill();
        if let Err(error) = &result {
            self.writer.fail(error.clone());
        }
        result
    }

    fn work(&mut self) -> Result<(), LogError> {
        let mut mark_synced = Instant::now();
        self.writer.look_at_room()?;
        let mut room_seen = Instant::now();
        loop {
            let (commands, stop) = self.inbox.take(self.wait(mark_synced));
            if stop == Some(Stop::Abruptly) {
                return Ok(());
            }
            self.writer.execute(commands)?;
            if stop == Some(Stop::Cleanly) {
                return self.writer.stop();
            }
            self.writer.remove_some()?;
            self.back_up_some()?;
            if self.writer.mark_is_unsynced() && mark_synced.elapsed() >= self.mark_every {
                self.writer.sync_mark()?;
                mark_synced = Instant::now();
            }
            if room_seen.elapsed() >= ROOM_EVERY {
                self.writer.look_at_room()?;
                room_seen = Instant::now();
            }
        }
    }

    /// Hands over a piece of a backup, and ends one that takes too long.
    fn back_up_some(&mut self) -> Result<(), LogError> {
        self.writer.back_up_some()?;
        let Some(taken) = self.writer.backed_up() else {
            self.pinned = None;
            return Ok(());
        };
        let now = Instant::now();
        let pinned = self.pinned.get_or_insert(Pinned {
            since: now,
            moved: now,
            taken,
        });
        if pinned.taken != taken {
            (pinned.taken, pinned.moved) = (taken, now);
        }
        let PinLimits {
            pinned_max,
            stalled_max,
        } = self.pin;
        if now - pinned.since > pinned_max {
            self.writer.give_up_backup(BackupError::TooLong(pinned_max))
        } else if now - pinned.moved > stalled_max {
            self.writer
                .give_up_backup(BackupError::Stalled(stalled_max))
        } else {
            Ok(())
        }
    }

    fn wait(&self, mark_synced: Instant) -> Wait {
        if self.writer.is_removing() || self.writer.can_back_up() {
            Wait::Not
        } else if self.writer.backed_up().is_some() {
            Wait::AtMost(SINK_STEP)
        } else if self.writer.mark_is_unsynced() {
            Wait::AtMost(self.mark_every.saturating_sub(mark_synced.elapsed()))
        } else if self.writer.is_short_of_room() {
            Wait::AtMost(ROOM_EVERY)
        } else {
            Wait::Forever
        }
    }
}
