//! Three ways of making records durable.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use nemcon_core::codec::CorruptLog;
use nemcon_core::id::Lsn;
use nemcon_core::machine::Stored;
use nemcon_wal::checkpoint::Due;
use nemcon_wal::{Log, LogEvent, Options, Recovery, SledLog};

use crate::{Failure, RECORD_BYTES};

/// Somebody who makes records durable, in order, many at a time.
pub(crate) trait Contestant: Sized {
    const NAME: &'static str;

    fn open(dir: &Path) -> Result<Self, Failure>;

    /// Takes records with these numbers, and makes them durable soon.
    fn append(&mut self, records: RangeInclusive<u64>);

    /// Waits for news, and says up to which number all is durable.
    fn durable(&mut self) -> Result<u64, Failure>;

    fn close(self) -> Result<(), Failure>;
}

fn record() -> Vec<u8> {
    vec![7; RECORD_BYTES]
}

/// The log of this crate.
pub(crate) struct Ours {
    log: Box<SledLog>,
    events: Receiver<LogEvent>,
    /// Records since the last checkpoint.
    since: u64,
}

struct Ignore;

impl Recovery for Ignore {
    fn stored(&mut self, _: Stored) -> Result<(), CorruptLog> {
        Ok(())
    }

    fn record(&mut self, _: Lsn, _: &[u8]) -> Result<(), CorruptLog> {
        Ok(())
    }
}

impl Contestant for Ours {
    const NAME: &'static str = "nemcon-wal";

    fn open(dir: &Path) -> Result<Self, Failure> {
        let (sender, events) = channel();
        let notify = Box::new(move |event| drop(sender.send(event)));
        let (log, _) = SledLog::open(dir, Options::default(), &mut Ignore, notify)?;
        Ok(Self {
            log: Box::new(log),
            events,
            since: 0,
        })
    }

    fn append(&mut self, records: RangeInclusive<u64>) {
        self.since += records.end() - records.start() + 1;
        let records = records.map(|lsn| (Lsn(lsn), record()));
        self.log.append(records.collect());
        self.log.flush();
        // As a node does, whose log would grow for ever.
        if self.since >= Due::default().records {
            self.since = 0;
            self.log.begin_checkpoint();
            self.log.close_checkpoint();
        }
    }

    fn durable(&mut self) -> Result<u64, Failure> {
        loop {
            match self.events.recv()? {
                LogEvent::Durable(lsn) => return Ok(lsn.0),
                LogEvent::Failed(error) => return Err(error.into()),
                LogEvent::Flushed { .. }
                | LogEvent::CheckpointClosed { .. }
                | LogEvent::CaughtUp
                | LogEvent::Room(_) => {}
            }
        }
    }

    fn close(self) -> Result<(), Failure> {
        Ok(self.log.close()?)
    }
}

/// Writes batches on a thread of its own.
struct Batches {
    queue: Sender<(u64, Vec<Vec<u8>>)>,
    durable: Receiver<u64>,
    thread: JoinHandle<Result<(), String>>,
}

impl Batches {
    /// `write` makes a batch durable; it is given the number of its first record.
    fn spawn(
        mut write: impl FnMut(u64, Vec<Vec<u8>>) -> Result<(), String> + Send + 'static,
    ) -> Self {
        let (queue, queued) = channel::<(u64, Vec<Vec<u8>>)>();
        let (said, durable) = channel();
        let thread = thread::spawn(move || {
            while let Ok((first, mut batch)) = queued.recv() {
                batch.extend(queued.try_iter().flat_map(|(_, more)| more));
                let last = first + batch.len() as u64 - 1;
                write(first, batch)?;
                // Whoever has seen enough is gone.
                let _ = said.send(last);
            }
            Ok(())
        });
        Self {
            queue,
            durable,
            thread,
        }
    }

    fn append(&self, records: RangeInclusive<u64>) {
        let first = *records.start();
        let batch = records.map(|_| record()).collect();
        // A thread that has failed is noticed by who waits for it.
        let _ = self.queue.send((first, batch));
    }

    fn close(self) -> Result<(), Failure> {
        drop(self.queue);
        self.thread
            .join()
            .map_err(|_| "the thread panicked")?
            .map_err(Into::into)
    }
}

/// A file, appended to, with one sync for each batch: length, checksum, record.
pub(crate) struct AppendFile(Batches);

impl Contestant for AppendFile {
    const NAME: &'static str = "append file, by hand";

    fn open(dir: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(dir)?;
        let path = dir.join("log");
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        File::open(dir)?.sync_all()?;
        let mut bytes = Vec::new();
        Ok(Self(Batches::spawn(move |_, batch| {
            bytes.clear();
            for record in batch {
                let len = u32::try_from(record.len()).map_err(|error| error.to_string())?;
                bytes.extend_from_slice(&len.to_be_bytes());
                bytes.extend_from_slice(&crc32c::crc32c(&record).to_be_bytes());
                bytes.extend_from_slice(&record);
            }
            file.write_all(&bytes)
                .and_then(|()| file.sync_data())
                .map_err(|error| error.to_string())
        })))
    }

    fn append(&mut self, records: RangeInclusive<u64>) {
        self.0.append(records);
    }

    fn durable(&mut self) -> Result<u64, Failure> {
        Ok(self.0.durable.recv()?)
    }

    fn close(self) -> Result<(), Failure> {
        self.0.close()
    }
}

/// sled, with a value for each record, and made durable as the log does it.
pub(crate) struct OnePerRecord(Batches);

impl Contestant for OnePerRecord {
    const NAME: &'static str = "sled, value per record";

    fn open(dir: &Path) -> Result<Self, Failure> {
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(Options::default().cache_bytes)
            .flush_every_ms(None)
            .open()?;
        let main = File::open(dir.join("db"))?;
        Ok(Self(Batches::spawn(move |first, records| {
            let mut batch = sled::Batch::default();
            for (number, record) in (first..).zip(records) {
                batch.insert(&number.to_be_bytes(), record);
            }
            db.apply_batch(batch)
                .and_then(|()| db.flush())
                .map_err(|error| error.to_string())?;
            main.sync_data().map_err(|error| error.to_string())
        })))
    }

    fn append(&mut self, records: RangeInclusive<u64>) {
        self.0.append(records);
    }

    fn durable(&mut self) -> Result<u64, Failure> {
        Ok(self.0.durable.recv()?)
    }

    fn close(self) -> Result<(), Failure> {
        self.0.close()
    }
}
