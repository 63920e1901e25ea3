//! The one shape of all machines.

use alloc::format;
use alloc::vec::Vec;
use core::fmt::Display;

use crate::codec::{Codec, CorruptLog};
use crate::id::Lsn;
use crate::output::Output;
use crate::reason::{Reason, Refusal};
use crate::time::Millis;

/// What the shell itself tells a machine, next to the machine's own events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Everything up to this record is durable.
    Durable(Lsn),
    /// The time that [`Machine::next_deadline`] named has come.
    DeadlinePassed,
    /// How much room the log has, now that this has changed.
    Room(Room),
}

/// Whether the log has room for more.
///
/// Where it is short, a machine begins nothing new that would write. What has
/// begun goes on, for to end it takes less room than to keep it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Room {
    /// There is enough.
    #[default]
    Enough,
    /// There is too little to begin anything.
    Short {
        /// Bytes that are free on the log's file system.
        free: u64,
        /// Bytes that have to be free for new work to begin.
        wanted: u64,
    },
}

impl Room {
    /// Why `node` begins nothing new, if the room is short. Nothing of what was
    /// asked for has been done.
    #[must_use]
    pub fn refusal(self, node: impl Display) -> Option<Refusal> {
        let Self::Short { free, wanted } = self else {
            return None;
        };
        let mib = |bytes: u64| bytes >> 20;
        let why = format!(
            "the disk under the data directory of {node} has {} MiB left; nothing new begins \
             there before {} MiB are free: make some room on that file system",
            mib(free),
            mib(wanted),
        );
        Some(Refusal::retryable(Reason::DISK_FULL, why))
    }
}

/// A value of the machine's data, kept outside the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; `None` removes the key.
    pub value: Option<Vec<u8>>,
    /// The record that last changed it. It must be durable before the value is
    /// written back.
    pub lsn: Lsn,
}

/// A state machine with a log.
///
/// Life: `load` every stored value, `replay` every record from the newest closed
/// checkpoint on, `recovered` once, then `step` for each event. One transition
/// table serves `step` and `replay`.
pub trait Machine {
    /// What can happen to it.
    type Event: From<Wake>;
    /// What it can ask for.
    type Effect;
    /// What it logs.
    type Record: Codec;
    /// How far a checkpoint has come; see [`Machine::live_records`].
    type Cursor: Default;

    /// Takes one event. Never fails: nonsense from a peer is answered with a
    /// refusal, a duplicate with the same answer as before.
    fn step(
        &mut self,
        now: Millis,
        event: Self::Event,
        out: &mut Output<Self::Record, Self::Effect>,
    );

    /// Takes a value that was written back before the restart.
    ///
    /// # Errors
    /// [`CorruptLog`] if it is no value of this machine.
    fn load(&mut self, stored: Stored) -> Result<(), CorruptLog>;

    /// Takes a record that was durable before the restart. A checkpoint repeats
    /// records, so each may come twice; what ended before the checkpoint began
    /// may be named by a record that stands after its beginning.
    ///
    /// # Errors
    /// [`CorruptLog`] if the record cannot follow those before it.
    fn replay(&mut self, lsn: Lsn, record: Self::Record) -> Result<(), CorruptLog>;

    /// The log has been read: start serving.
    fn recovered(&mut self, now: Millis, out: &mut Output<Self::Record, Self::Effect>);

    /// The next records a checkpoint must keep, about `max` of them, each as the
    /// state is now. Empty when the cursor has passed the end.
    ///
    /// The caller appends each piece before it steps the machine again. What
    /// comes to life behind the cursor meanwhile is in the log by itself.
    fn live_records(&self, cursor: &mut Self::Cursor, max: usize) -> Vec<Self::Record>;

    /// Takes up to `max` values that have changed, as they are now. Calls make up
    /// a round: the first settles which keys it is about, all that have changed
    /// since the last round; the one that gives nothing ends it. What changes
    /// meanwhile belongs to the next round.
    fn take_changed(&mut self, max: usize) -> Vec<Stored>;

    /// When the machine wants [`Wake::DeadlinePassed`].
    fn next_deadline(&self) -> Option<Millis>;
}
