//! I10 (liveness): when all faults are healed nothing stays in doubt, no lock
//! stays held, and every client can learn its outcome.

use super::Failure;
use crate::world::{Session, Told};

const NAME: &str = "I10 (liveness)";

/// Something was not finished in time.
pub(crate) fn unfinished(story: &str) -> Failure {
    let bound = crate::world::FINISHES_WITHIN / 1_000_000;
    Failure::new(NAME, format!("{bound} s after all was healed, {story}"))
}

/// Refusals that are a last word, although no outcome: the client knows that it
/// will never know, or that nothing of the kind was ever run.
const LAST_WORDS: &[&str] = &[
    "OUTCOME_FORGOTTEN",
    "UNKNOWN_PARTICIPANT",
    "TRANSACTION_ID_AHEAD",
    "UNKNOWN_TRANSACTION",
];

/// Whether a client that came back has learned what became of its transaction.
pub(crate) fn client_knows(
    session: &Session,
    one_shot: bool,
    refused: Option<&str>,
) -> Result<(), Failure> {
    let known = match (&session.told, refused) {
        (Told::Committed(_) | Told::Aborted, _) => true,
        // Nobody sends an interactive transaction again; to ask is all there is.
        (Told::Nothing | Told::Unknown, Some(_)) if !one_shot => true,
        (Told::Nothing | Told::Unknown, Some(reason)) => LAST_WORDS.contains(&reason),
        (Told::Nothing | Told::Unknown, None) => !one_shot,
    };
    if known {
        return Ok(());
    }
    let refused = refused.unwrap_or("no answer");
    let story = format!(
        "the client of {} came back and did not learn its outcome: {refused}",
        session.transaction
    );
    Err(Failure::new(NAME, story))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::session_told;

    #[test]
    fn a_client_that_does_not_learn_its_outcome_is_found() {
        let unsure = session_told(Told::Unknown);
        assert!(client_knows(&unsure, true, Some("OUTCOME_UNKNOWN")).is_err());
        assert!(client_knows(&unsure, true, None).is_err());
        assert_eq!(
            client_knows(&unsure, true, Some("OUTCOME_FORGOTTEN")),
            Ok(())
        );
        let told = session_told(Told::Aborted);
        assert_eq!(client_knows(&told, true, None), Ok(()));
    }
}
