//! Participants in a known state, for the tests of what must not be.

use nemcon_core::id::{AttemptId, Epoch, Lsn, Position, Sequence, TransactionId};
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::machine::Machine;
use nemcon_core::output::Output;
use nemcon_core::participant::record::{Prepared, Record};
use nemcon_core::participant::{Participant, Settings};
use nemcon_core::time::Millis;

use crate::subject::{Lists, Subject};
use crate::world::border::{identity, name, participant_id};

pub(super) fn attempt(sequence: u64) -> AttemptId {
    AttemptId {
        coordinator: identity(0),
        position: Position {
            epoch: Epoch(1),
            sequence: Sequence(sequence),
        },
    }
}

pub(super) fn key(number: u8) -> LockKey {
    LockKey::from([number])
}

/// A participant that has promised one attempt, with a lock on key 1.
pub(super) fn promised(attempt: AttemptId) -> Participant<Lists> {
    let settings = Settings::new(name(0), participant_id(0), 1);
    let mut machine = Participant::new(settings, Lists::empty());
    let transaction = TransactionId::from_parts(Millis(1), 1);
    let record = Record::Prepared(Prepared {
        attempt,
        transaction,
        age: transaction,
        coordinator_address: String::from("c0"),
        peers: Vec::new(),
        locks: vec![(key(1), Mode::Exclusive)],
        redo: Vec::new(),
        begun_at: Millis(1),
        at: Millis(1),
    });
    machine
        .replay(Lsn(1), record)
        .expect("a promise can be read back");
    machine.recovered(Millis(2), &mut Output::starting_at(Lsn(2)));
    machine
}
