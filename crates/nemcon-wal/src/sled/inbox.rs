//! The queue between the node and the log's thread.
//!
//! Bounded by bytes: who puts more in than the thread can take waits. The
//! thread is woken once per batch. An append alone wakes nobody, because nobody
//! waits for it, until there is enough to be worth a write.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::writer::Command;

/// How the thread is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Flush all and mark the log clean.
    Cleanly,
    /// Leave everything as it is, the queue undone.
    Abruptly,
}

/// How long [`Inbox::take`] waits for something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Not,
    AtMost(Duration),
    Forever,
}

#[derive(Debug)]
pub(super) struct Inbox {
    /// Bytes beyond which a caller waits.
    bytes_max: usize,
    /// Bytes beyond which an append wakes the thread.
    idle_bytes_max: usize,
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    commands: Vec<Command>,
    bytes: usize,
    /// Something is queued that somebody waits for.
    urgent: bool,
    stop: Option<Stop>,
    /// The thread has ended; whatever comes is dropped.
    dead: bool,
}

impl Inbox {
    pub(super) fn new(bytes_max: usize, idle_bytes_max: usize) -> Self {
        Self {
            bytes_max,
            idle_bytes_max,
            state: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
        }
    }

    /// Queues a command; waits while the queue is full.
    pub(super) fn push(&self, command: Command) {
        let bytes = payload_bytes(&command);
        let mut state = self.lock();
        while state.bytes > self.bytes_max && !state.dead {
            // A full queue that nobody flushes would otherwise wait for ever.
            state.urgent = true;
            self.work.notify_one();
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.dead {
            return;
        }
        state.bytes += bytes;
        let idle = matches!(command, Command::Append(_)) && state.bytes <= self.idle_bytes_max;
        state.commands.push(command);
        if !idle && !state.urgent {
            state.urgent = true;
            self.work.notify_one();
        }
    }

    /// Asks the thread to end.
    pub(super) fn stop(&self, stop: Stop) {
        let mut state = self.lock();
        state.stop.get_or_insert(stop);
        state.urgent = true;
        self.work.notify_one();
    }

    /// Takes all that is queued, and whether this is the end.
    pub(super) fn take(&self, wait: Wait) -> (Vec<Command>, Option<Stop>) {
        let mut state = self.lock();
        match wait {
            Wait::Not => {}
            Wait::AtMost(limit) => {
                let waited = self
                    .work
                    .wait_timeout_while(state, limit, |state| !state.urgent);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            Wait::Forever => {
                let waited = self.work.wait_while(state, |state| !state.urgent);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
        state.urgent = false;
        state.bytes = 0;
        self.room.notify_all();
        (std::mem::take(&mut state.commands), state.stop)
    }

    /// The thread has ended: nobody waits for it any more.
    pub(super) fn kill(&self) {
        let mut state = self.lock();
        state.dead = true;
        state.commands.clear();
        self.room.notify_all();
    }

    /// A panic in another thread leaves the queue as good as it was: every
    /// change to it is a single push or take.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a command keeps in memory, roughly.
fn payload_bytes(command: &Command) -> usize {
    const OVERHEAD: usize = 64;
    match command {
        Command::Append(records) => records
            .iter()
            .map(|(_, bytes)| OVERHEAD + bytes.len())
            .sum(),
        Command::WriteBack(values) => values
            .iter()
            .map(|stored| OVERHEAD + stored.key.len() + stored.value.as_ref().map_or(0, Vec::len))
            .sum(),
        Command::Flush
        | Command::BeginCheckpoint
        | Command::CloseCheckpoint
        | Command::CatchUp
        | Command::BackUp(_) => OVERHEAD,
    }
}
