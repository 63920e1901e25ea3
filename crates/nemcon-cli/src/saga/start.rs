//! Starting a saga from a file.

use std::path::Path;

use nemcon_client::{NewSaga, new_saga_id};
use nemcon_core::saga::{Graph, State};
use nemcon_proto::convert::SagaStart;
use nemcon_proto::v1;

use super::watch;
use crate::failure::{Exit, Failure};
use crate::json::{self, Types};
use crate::out::say;
use crate::session::Session;
use crate::txn::text;

/// Reads a saga from a file, or from standard input for `-`.
pub(super) fn read(file: &Path) -> Result<NewSaga, Failure> {
    let text = text(file).map_err(|source| Failure::Unreadable {
        path: file.to_owned(),
        source,
    })?;
    parse(&text).map_err(|what| Failure::Malformed {
        path: file.to_owned(),
        what,
    })
}

/// Reads the JSON, and checks it as the coordinator will.
fn parse(text: &str) -> Result<NewSaga, String> {
    let types = Types::new().map_err(|error| error.to_string())?;
    let request: v1::StartSagaRequest = types.read(text).map_err(|error| error.to_string())?;
    let start = SagaStart::try_from(request).map_err(|error| error.to_string())?;
    Graph::new(start.definition.clone()).map_err(|invalid| invalid.to_string())?;
    Ok(NewSaga {
        id: start.saga.unwrap_or_else(new_saga_id),
        definition: start.definition,
        // Whoever names the id may have used it before.
        may_have_started: start.saga.is_some(),
        first_sent_to: start.first_sent_to,
    })
}

/// Starts it, and follows it if that is wanted.
pub(super) async fn run(
    session: &Session,
    saga: &NewSaga,
    wait: bool,
    as_json: bool,
) -> Result<Exit, Failure> {
    let view = session.client().start_saga(saga).await?;
    if wait {
        // Whoever interrupts this can find it again.
        eprintln!("saga {}", view.saga);
        return watch::until(session, view.saga, as_json, |state| state == State::Stuck).await;
    }
    if as_json {
        json::print(&Types::new()?.write(&v1::Saga::from(view))?);
    } else {
        say!("{} {}", view.saga, view.state);
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: &str = include_str!("../../../../examples/trip.json");

    #[test]
    fn the_example_is_a_saga() {
        let saga = parse(TRIP).unwrap();
        let names: Vec<&str> = saga
            .definition
            .steps
            .iter()
            .map(|step| step.name.as_str())
            .collect();
        assert_eq!(names, ["flight", "hotel", "payment", "ticket", "voucher"]);
        assert!(!saga.may_have_started);
    }

    #[test]
    fn mistakes_are_found_before_anybody_is_asked() {
        for (from, to, told) in [
            (
                "\"flights\"",
                "\"no flights\"",
                "participant \"no flights\"",
            ),
            ("\"name\": \"hotel\"", "\"name\": \"flight\"", "flight"),
            ("\"pivot\": true", "\"pivot\": false", "no compensation"),
            (
                "nemcon.inventory.v1.Reserve",
                "nemcon.x.Reserve",
                "nemcon.x.Reserve",
            ),
        ] {
            assert!(TRIP.contains(from), "{from}");
            let error = parse(&TRIP.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(told), "{to}: {error}");
        }
    }
}
