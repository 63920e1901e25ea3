//! Checkpoints, in small pieces between the steps of a machine.
//!
//! A checkpoint lets the log drop what stands before it. It is made while the
//! node works:
//!
//! ```text
//!   begin ─▶ piece ─▶ piece ─▶ … ─▶ write back ─▶ … ─▶ close ─▶ closed
//!            records that must be kept     changed values      the log says so
//! ```
//!
//! The order is what makes it safe, and the log keeps it, since all of this goes
//! through the one queue in front of it. The pieces come first, so that every
//! change of data they do not repeat has been made by the time the changed
//! values are taken; the log makes the records behind these durable, then the
//! values, then the end of the checkpoint; and only that lets older pages go. Each
//! piece is the state at the moment it is appended: nothing is stepped between
//! reading and appending it.
//!
//! The next piece waits until the log has taken in the one before. Nobody waits for
//! a checkpoint, and what is alive, all at once in the queue, would take as much
//! memory again as it does in the machine.

use nemcon_core::codec::Codec;
use nemcon_core::id::Lsn;
use nemcon_core::machine::Machine;
use nemcon_core::output::Output;

use crate::Log;

/// How much is done at one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// Records of one piece.
    pub records: usize,
    /// Values written back at once.
    pub values: usize,
}

impl Default for Pieces {
    /// 256 records are about a third of a millisecond of work, so that a checkpoint
    /// of a million never holds a transaction up; 512 values for the same reason.
    fn default() -> Self {
        Self {
            records: 256,
            values: 512,
        }
    }
}

/// When a checkpoint is worth its while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// After so many records.
    pub records: u64,
    /// After so many bytes of records.
    pub bytes: u64,
}

impl Default for Due {
    /// 32,768 records are replayed in about a twentieth of a second. With twice as
    /// many a bank under full load took as much of the processor, and 10 MB more of
    /// the disk.
    fn default() -> Self {
        Self {
            records: 32_768,
            bytes: 64 * 1_024 * 1_024,
        }
    }
}

/// Makes one checkpoint at a time.
#[derive(Debug)]
pub struct Checkpoints<C> {
    due: Due,
    pieces: Pieces,
    /// Appended since the last checkpoint began, its own records aside.
    appended: Volume,
    /// What the last checkpoint repeated.
    repeated: Volume,
    phase: Phase<C>,
    /// The log has not taken in the last piece yet.
    is_held: bool,
}

/// Some records.
#[derive(Clone, Copy, Debug, Default)]
struct Volume {
    records: u64,
    bytes: u64,
}

impl Volume {
    const fn add(&mut self, records: u64, bytes: u64) {
        self.records += records;
        self.bytes += bytes;
    }
}

#[derive(Debug)]
enum Phase<C> {
    Idle,
    Copying { cursor: C, repeated: Volume },
    WritingBack,
    Closing,
}

impl<C: Default> Checkpoints<C> {
    /// None is under way.
    #[must_use]
    pub const fn new(due: Due, pieces: Pieces) -> Self {
        Self {
            due,
            pieces,
            appended: Volume {
                records: 0,
                bytes: 0,
            },
            repeated: Volume {
                records: 0,
                bytes: 0,
            },
            phase: Phase::Idle,
            is_held: false,
        }
    }

    /// Counts what a restart would have to replay.
    pub const fn appended(&mut self, records: u64, bytes: u64) {
        self.appended.add(records, bytes);
    }

    /// The log has taken in the last piece.
    pub const fn caught_up(&mut self) {
        self.is_held = false;
    }

    /// The log has closed the checkpoint.
    pub fn closed(&mut self) {
        self.phase = Phase::Idle;
    }

    /// Whether [`Checkpoints::advance`] has something to do now.
    #[must_use]
    pub fn is_waiting_for_its_turn(&self) -> bool {
        match self.phase {
            Phase::Idle => self.is_due(),
            Phase::Copying { .. } | Phase::WritingBack => !self.is_held,
            Phase::Closing => false,
        }
    }

    /// With more live records than the limit, a checkpoint after each `limit`
    /// would repeat the same ones over and over; so at least as many new ones, and
    /// as many bytes of them, come between two checkpoints as the last one repeated.
    fn is_due(&self) -> bool {
        let Self {
            due,
            appended,
            repeated,
            ..
        } = self;
        appended.bytes >= repeated.bytes
            && (appended.records >= due.records.max(repeated.records)
                || appended.bytes >= due.bytes)
    }

    /// Does one piece of work, if there is one.
    pub fn advance<M>(
        &mut self,
        machine: &mut M,
        out: &mut Output<M::Record, M::Effect>,
        log: &mut dyn Log,
    ) where
        M: Machine<Cursor = C>,
    {
        let due = self.is_due();
        match &mut self.phase {
            Phase::Copying { .. } | Phase::WritingBack if self.is_held => {}
            Phase::Idle if due => {
                log.begin_checkpoint();
                self.appended = Volume::default();
                self.phase = Phase::Copying {
                    cursor: C::default(),
                    repeated: Volume::default(),
                };
            }
            Phase::Idle | Phase::Closing => {}
            Phase::Copying { cursor, repeated } => {
                let piece = machine.live_records(cursor, self.pieces.records);
                if piece.is_empty() {
                    self.repeated = *repeated;
                    self.phase = Phase::WritingBack;
                } else {
                    for record in piece {
                        out.persist(record);
                    }
                    let (records, bytes) = append(out, log);
                    repeated.add(records, bytes);
                    log.catch_up();
                    self.is_held = true;
                }
            }
            Phase::WritingBack => {
                let piece = machine.take_changed(self.pieces.values);
                if piece.is_empty() {
                    log.close_checkpoint();
                    self.phase = Phase::Closing;
                } else {
                    log.write_back(piece);
                    log.catch_up();
                    self.is_held = true;
                }
            }
        }
    }
}

/// Hands the records of a batch to the log; says how many and how large.
pub fn append<R: Codec, E>(out: &mut Output<R, E>, log: &mut dyn Log) -> (u64, u64) {
    let mut bytes = 0;
    // Written here first, so that each record is as long as it is: one that grows in
    // its own place is moved three times.
    let mut written = Vec::new();
    let encode = |(lsn, record): (Lsn, R)| {
        written.clear();
        record.write_to(&mut written);
        bytes += written.len() as u64;
        (lsn, written.clone())
    };
    let records: Vec<_> = out.take_records().into_iter().map(encode).collect();
    let count = records.len() as u64;
    if count > 0 {
        log.append(records);
    }
    (count, bytes)
}
