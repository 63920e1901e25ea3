//! I6 (no leaked lock): no lock without a live attempt. What was begun in an epoch
//! that has ended, and is not prepared, is not alive.

use std::collections::BTreeMap;

use nemcon_core::id::{CoordinatorId, Epoch};
use nemcon_core::invariants::{self, Violation};
use nemcon_core::participant::Participant;
use nemcon_core::participant::view::Standing;
use nemcon_core::resource::Resource;

/// Looks at all locks of one participant. `epochs`: the newest that are on its
/// record, by participant and coordinator.
pub(crate) fn check<R: Resource>(
    at: usize,
    machine: &Participant<R>,
    epochs: &BTreeMap<(usize, CoordinatorId), Epoch>,
) -> Result<(), Violation> {
    invariants::no_leaked_lock(machine)?;
    let ended = machine.attempts().find(|view| {
        let newest = epochs.get(&(at, view.attempt.coordinator));
        let unprepared = matches!(view.standing, Standing::Active | Standing::Holding);
        unprepared && newest.is_some_and(|newest| view.attempt.position.epoch < *newest)
    });
    ended.map_or(Ok(()), |view| {
        Err(Violation {
            invariant: "I6 (no leaked lock)",
            story: format!(
                "attempt {} is {:?} at p{at}, and its epoch has ended",
                view.attempt, view.standing
            ),
        })
    })
}

#[cfg(test)]
mod tests {
    use nemcon_core::id::{Lsn, RequestId, Sequence, TransactionId};
    use nemcon_core::machine::Machine;
    use nemcon_core::message::{Execute, Frame, Header, Operation, Task, ToParticipant};
    use nemcon_core::output::Output;
    use nemcon_core::participant::event::Event;
    use nemcon_core::time::{Millis, Span};

    use super::super::stand_in::{attempt, promised};
    use super::*;
    use crate::plan::{Step, What};
    use crate::subject::{Lists, Subject};
    use crate::world::border::{identity, participant_id};

    #[test]
    fn work_of_an_epoch_that_has_ended_is_found() {
        let mut machine = promised(attempt(1));
        let (id, transaction) = (attempt(2), TransactionId::from_parts(Millis(3), 3));
        let step = Step {
            at: 0,
            key: 7,
            what: What::Append,
        };
        let operation = Operation {
            action: Ok(Lists::action(step, 1)),
            read_only: false,
            inputs: Vec::new(),
        };
        let task = Task {
            attempt: id,
            transaction,
            age: transaction,
            remaining: Span(1_000),
            lock_wait: Span(1_000),
            coordinator_address: String::from("c0"),
        };
        let mut floor = id.position;
        floor.sequence = Sequence(1);
        let frame = Frame {
            header: Header {
                coordinator: identity(0),
                participant: participant_id(0),
                epoch: Epoch(1),
                floor,
            },
            message: ToParticipant::Execute(Execute {
                task,
                number: 1,
                operations: vec![operation],
            }),
        };
        let request = RequestId(1);
        let event = Event::FrameReceived { request, frame };
        machine.step(Millis(4), event, &mut Output::starting_at(Lsn(9)));
        let known = |epoch| [((0, identity(0)), Epoch(epoch))].into();
        assert_eq!(check(0, &machine, &known(1)), Ok(()));
        assert!(check(0, &machine, &known(2)).is_err());
    }
}
