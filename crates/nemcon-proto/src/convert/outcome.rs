//! Outcomes, verdicts, and the questions about them.

use nemcon_core::id::{AttemptId, ParticipantName, TransactionId};
use nemcon_core::message::{Header, Outcome, Verdict};

use super::error::{WireError, Within, choice, required};
use super::id::{attempt, optional, participant_name, shown, transaction_id};
use crate::v1;
use crate::v1::get_outcome_request::Subject;

/// What a definite outcome is chosen from.
const DEFINITE: &str = "OUTCOME_COMMITTED or OUTCOME_ABORTED";

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Committed => Self::Committed,
            Outcome::Aborted => Self::Aborted,
        }
    }
}

/// Reads an outcome that must be definite.
pub(super) fn definite(number: i32, field: &str) -> Result<Outcome, WireError> {
    choice(number, field, DEFINITE, |outcome| match outcome {
        v1::Outcome::Committed => Some(Outcome::Committed),
        v1::Outcome::Aborted => Some(Outcome::Aborted),
        v1::Outcome::Unspecified | v1::Outcome::Unknown => None,
    })
}

/// An outcome that is only there if something was done by hand.
pub(super) fn by_hand(outcome: Option<Outcome>) -> i32 {
    outcome
        .map_or(v1::Outcome::Unspecified, v1::Outcome::from)
        .into()
}

/// Reads what [`by_hand`] wrote.
pub(super) fn if_by_hand(number: i32, field: &str) -> Result<Option<Outcome>, WireError> {
    if number == i32::from(v1::Outcome::Unspecified) {
        return Ok(None);
    }
    definite(number, field).map(Some)
}

/// An outcome that may not be known yet.
pub(super) fn so_far(outcome: Option<Outcome>) -> i32 {
    outcome
        .map_or(v1::Outcome::Unknown, v1::Outcome::from)
        .into()
}

/// Reads what [`so_far`] wrote.
pub(super) fn if_known(number: i32, field: &str) -> Result<Option<Outcome>, WireError> {
    if number == i32::from(v1::Outcome::Unknown) {
        return Ok(None);
    }
    definite(number, field)
        .map(Some)
        .map_err(|error| WireError {
            allowed: format!("{DEFINITE} or OUTCOME_UNKNOWN"),
            ..error
        })
}

/// What `GetOutcome` asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What became of an attempt? Answered with a [`Verdict`].
    Attempt {
        /// Which.
        attempt: AttemptId,
        /// The participant that asks; `None` if it does not say.
        asker: Option<ParticipantName>,
    },
    /// A coordinator asks whether the participant decided this alone; in core,
    /// `ToParticipant::Inquire`.
    Inquiry {
        /// Who asks.
        header: Header,
        /// About what.
        transaction: TransactionId,
    },
}

impl From<Question> for v1::GetOutcomeRequest {
    fn from(question: Question) -> Self {
        let (subject, asker) = match question {
            Question::Attempt { attempt, asker } => {
                (Subject::Attempt(attempt.into()), shown(asker))
            }
            Question::Inquiry {
                header,
                transaction,
            } => {
                let (header, transaction_id) = (Some(header.into()), transaction.to_string());
                let inquiry = v1::Inquiry {
                    header,
                    transaction_id,
                };
                (Subject::Inquiry(inquiry), String::new())
            }
        };
        Self {
            subject: Some(subject),
            asker,
        }
    }
}

impl TryFrom<v1::GetOutcomeRequest> for Question {
    type Error = WireError;

    fn try_from(request: v1::GetOutcomeRequest) -> Result<Self, WireError> {
        let asker = |text: &str| participant_name(text.to_owned(), "asker");
        match request.subject {
            Some(Subject::Attempt(subject)) => Ok(Self::Attempt {
                attempt: attempt(Some(subject))?,
                asker: optional(&request.asker, asker)?,
            }),
            Some(Subject::Inquiry(inquiry)) => Ok(Self::Inquiry {
                header: required(inquiry.header, "header").within("inquiry")?,
                transaction: transaction_id(&inquiry.transaction_id, "transaction_id")
                    .within("inquiry")?,
            }),
            None => Err(WireError::missing("subject", "an attempt or an inquiry")),
        }
    }
}

/// The answer about an attempt.
impl From<Verdict> for v1::GetOutcomeResponse {
    fn from(verdict: Verdict) -> Self {
        let verdict = match verdict {
            Verdict::Committed => v1::Verdict::Committed,
            Verdict::Aborted => v1::Verdict::Aborted,
            Verdict::Pending => v1::Verdict::Pending,
            Verdict::Unknown => v1::Verdict::Unknown,
            Verdict::WrongCoordinator => v1::Verdict::WrongCoordinator,
        };
        Self {
            verdict: verdict.into(),
            ..Self::default()
        }
    }
}

impl TryFrom<v1::GetOutcomeResponse> for Verdict {
    type Error = WireError;

    fn try_from(response: v1::GetOutcomeResponse) -> Result<Self, WireError> {
        let allowed = "VERDICT_COMMITTED, VERDICT_ABORTED, VERDICT_PENDING, VERDICT_UNKNOWN \
                       or VERDICT_WRONG_COORDINATOR";
        choice(
            response.verdict,
            "verdict",
            allowed,
            |verdict| match verdict {
                v1::Verdict::Committed => Some(Self::Committed),
                v1::Verdict::Aborted => Some(Self::Aborted),
                v1::Verdict::Pending => Some(Self::Pending),
                v1::Verdict::Unknown => Some(Self::Unknown),
                v1::Verdict::WrongCoordinator => Some(Self::WrongCoordinator),
                v1::Verdict::Unspecified | v1::Verdict::Forgotten => None,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    const OUTCOMES: [Option<Outcome>; 3] = [None, Some(Outcome::Committed), Some(Outcome::Aborted)];

    #[test]
    fn outcomes_go_there_and_back() {
        for outcome in OUTCOMES {
            assert_eq!(if_by_hand(by_hand(outcome), "by_hand"), Ok(outcome));
            assert_eq!(if_known(so_far(outcome), "outcome"), Ok(outcome));
        }
    }

    #[test]
    fn an_outcome_that_says_nothing_is_refused() {
        assert!(if_by_hand(v1::Outcome::Unknown.into(), "damage").is_err());
        for number in [v1::Outcome::Unspecified.into(), 77, -1] {
            assert!(if_known(number, "outcome").is_err(), "{number}");
            assert!(definite(number, "outcome").is_err(), "{number}");
        }
        let shown = definite(77, "outcome").unwrap_err().to_string();
        assert_eq!(
            shown,
            "outcome 77: want OUTCOME_COMMITTED or OUTCOME_ABORTED"
        );
    }

    #[test]
    fn questions_go_there_and_back() {
        let attempt = sample::attempt();
        let (header, transaction) = (sample::header(), sample::transaction());
        let asker = Some(sample::name("bank-a"));
        for question in [
            Question::Attempt { attempt, asker },
            Question::Attempt {
                attempt,
                asker: None,
            },
            Question::Inquiry {
                header,
                transaction,
            },
        ] {
            let there = v1::GetOutcomeRequest::from(question.clone());
            assert_eq!(Question::try_from(there), Ok(question));
        }
        let error = Question::try_from(v1::GetOutcomeRequest::default()).unwrap_err();
        assert_eq!(error.field, "subject");
    }

    #[test]
    fn verdicts_go_there_and_back() {
        for verdict in [
            Verdict::Committed,
            Verdict::Aborted,
            Verdict::Pending,
            Verdict::Unknown,
            Verdict::WrongCoordinator,
        ] {
            assert_eq!(
                Verdict::try_from(v1::GetOutcomeResponse::from(verdict)),
                Ok(verdict)
            );
        }
        for number in [0, v1::Verdict::Forgotten.into(), 99] {
            let response = v1::GetOutcomeResponse {
                verdict: number,
                ..Default::default()
            };
            assert!(Verdict::try_from(response).is_err(), "{number}");
        }
    }
}
