//! What a participant answers a coordinator.
//!
//! A refusal has no message of its own: it travels as the status of the call,
//! which is the business of the crate that knows about channels.

use nemcon_core::id::{Boot, Lsn, ParticipantName, TransactionId};
use nemcon_core::message::{Alone, Answer, Outcome, Payload, Trace, Vote};
use nemcon_core::reason::Refusal;

use super::error::{WireError, choice, counted, kind_of};
use super::frame::{number, operations_hash};
use super::id::attempt;
use super::lock::{report, tokens, tokens_there};
use super::outcome::{by_hand, definite, if_by_hand};
use super::value::{anys, payloads, refusal};
use crate::v1;

/// Why an answer does not go into the response of a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoResponse {
    /// It is a refusal, which travels as a status.
    #[error("refused")]
    Refused(#[source] Refusal),
    /// It answers another call: a bug of the node that gives it.
    #[error("an answer {answer} does not fit a {response}")]
    Mismatched {
        /// What was to be written.
        response: &'static str,
        /// The answer.
        answer: String,
    },
}

impl NoResponse {
    fn new(response: &'static str, answer: Answer<Payload>) -> Self {
        match answer {
            Answer::Refused { refusal, .. } => Self::Refused(refusal),
            other => Self::Mismatched {
                response,
                answer: kind_of(&other),
            },
        }
    }
}

/// To `Hello`; the participant says its name as well.
impl TryFrom<(&ParticipantName, Answer<Payload>)> for v1::GetStatusResponse {
    type Error = NoResponse;

    fn try_from((name, answer): (&ParticipantName, Answer<Payload>)) -> Result<Self, NoResponse> {
        match answer {
            Answer::Welcome { boot } => Ok(Self {
                name: name.to_string(),
                boot: boot.0,
            }),
            other => Err(NoResponse::new("GetStatusResponse", other)),
        }
    }
}

impl TryFrom<v1::GetStatusResponse> for Answer<Payload> {
    type Error = WireError;

    fn try_from(response: v1::GetStatusResponse) -> Result<Self, WireError> {
        Ok(Self::Welcome {
            boot: Boot(counted(response.boot, "boot")?),
        })
    }
}

impl TryFrom<Answer<Payload>> for v1::ExecuteResponse {
    type Error = NoResponse;

    fn try_from(answer: Answer<Payload>) -> Result<Self, NoResponse> {
        match answer {
            Answer::Executed {
                attempt,
                number,
                boot,
                results,
            } => {
                let refusal = results.as_ref().err().cloned().map(Into::into);
                Ok(Self {
                    attempt: Some(attempt.into()),
                    number,
                    boot: boot.0,
                    results: anys(results.unwrap_or_default()),
                    refusal,
                })
            }
            other => Err(NoResponse::new("ExecuteResponse", other)),
        }
    }
}

impl TryFrom<v1::ExecuteResponse> for Answer<Payload> {
    type Error = WireError;

    fn try_from(response: v1::ExecuteResponse) -> Result<Self, WireError> {
        let results = match response.refusal {
            Some(refusal) => Err(refusal.into()),
            None => Ok(payloads(response.results)?),
        };
        Ok(Self::Executed {
            attempt: attempt(response.attempt)?,
            number: number(response.number)?,
            boot: Boot(counted(response.boot, "boot")?),
            results,
        })
    }
}

impl TryFrom<Answer<Payload>> for v1::AcquireAttemptLocksResponse {
    type Error = NoResponse;

    fn try_from(answer: Answer<Payload>) -> Result<Self, NoResponse> {
        match answer {
            Answer::LocksAcquired {
                attempt,
                number,
                boot,
                tokens,
            } => {
                let refusal = tokens.as_ref().err().cloned().map(Into::into);
                Ok(Self {
                    attempt: Some(attempt.into()),
                    number,
                    boot: boot.0,
                    tokens: tokens_there(tokens.unwrap_or_default()),
                    refusal,
                })
            }
            other => Err(NoResponse::new("AcquireAttemptLocksResponse", other)),
        }
    }
}

impl TryFrom<v1::AcquireAttemptLocksResponse> for Answer<Payload> {
    type Error = WireError;

    fn try_from(response: v1::AcquireAttemptLocksResponse) -> Result<Self, WireError> {
        let tokens = match response.refusal {
            Some(refusal) => Err(refusal.into()),
            None => Ok(tokens(response.tokens)?),
        };
        Ok(Self::LocksAcquired {
            attempt: attempt(response.attempt)?,
            number: number(response.number)?,
            boot: Boot(counted(response.boot, "boot")?),
            tokens,
        })
    }
}

impl TryFrom<Answer<Payload>> for v1::GetWaitsForEdgesResponse {
    type Error = NoResponse;

    fn try_from(answer: Answer<Payload>) -> Result<Self, NoResponse> {
        match answer {
            Answer::Waits { look: _, report } => Ok(report.into()),
            other => Err(NoResponse::new("GetWaitsForEdgesResponse", other)),
        }
    }
}

/// Reads the answer to `ReportWaits`, which does not repeat which question it was.
///
/// # Errors
/// [`WireError`] if it makes no sense.
pub fn waits(
    look: u64,
    response: v1::GetWaitsForEdgesResponse,
) -> Result<Answer<Payload>, WireError> {
    let report = report(
        response.boot,
        response.at,
        response.queues,
        response.left_out,
    )?;
    Ok(Answer::Waits { look, report })
}

impl TryFrom<Answer<Payload>> for v1::FailWaitResponse {
    type Error = NoResponse;

    fn try_from(answer: Answer<Payload>) -> Result<Self, NoResponse> {
        match answer {
            Answer::WaitFailed { victim, failed } => Ok(Self {
                attempt: Some(victim.into()),
                failed,
            }),
            other => Err(NoResponse::new("FailWaitResponse", other)),
        }
    }
}

impl TryFrom<v1::FailWaitResponse> for Answer<Payload> {
    type Error = WireError;

    fn try_from(response: v1::FailWaitResponse) -> Result<Self, WireError> {
        Ok(Self::WaitFailed {
            victim: attempt(response.attempt)?,
            failed: response.failed,
        })
    }
}

impl TryFrom<Answer<Payload>> for v1::PrepareResponse {
    type Error = NoResponse;

    fn try_from(answer: Answer<Payload>) -> Result<Self, NoResponse> {
        let (attempt, boot, log_end, life, vote) = match answer {
            Answer::Voted {
                attempt,
                boot,
                log_end,
                life,
                vote,
            } => (attempt, boot, log_end, life, vote),
            other => return Err(NoResponse::new("PrepareResponse", other)),
        };
        let (kind, results, refusal, results_lost) = match vote {
            Vote::Yes(Some(results)) => (v1::Vote::Yes, results, None, false),
            Vote::Yes(None) => (v1::Vote::Yes, Vec::new(), None, true),
            Vote::ReadOnly(results) => (v1::Vote::ReadOnly, results, None, false),
            Vote::No(refusal) => (v1::Vote::No, Vec::new(), Some(refusal.into()), false),
        };
        Ok(Self {
            attempt: Some(attempt.into()),
            vote: kind.into(),
            boot: boot.0,
            refusal,
            results: anys(results),
            results_lost,
            log_end: log_end.0,
            life,
        })
    }
}

impl TryFrom<v1::PrepareResponse> for Answer<Payload> {
    type Error = WireError;

    fn try_from(response: v1::PrepareResponse) -> Result<Self, WireError> {
        let allowed = "VOTE_YES, VOTE_NO or VOTE_READ_ONLY";
        let kind = choice(response.vote, "vote", allowed, |vote| {
            (vote != v1::Vote::Unspecified).then_some(vote)
        })?;
        let vote = match kind {
            v1::Vote::Yes if response.results_lost => Vote::Yes(None),
            v1::Vote::Yes => Vote::Yes(Some(payloads(response.results)?)),
            // Whoever voted read-only forgets it with a restart: such a vote
            // always has its results.
            v1::Vote::ReadOnly if response.results_lost => {
                return Err(WireError::new(
                    "results_lost",
                    true,
                    "false with VOTE_READ_ONLY",
                ));
            }
            v1::Vote::ReadOnly => Vote::ReadOnly(payloads(response.results)?),
            v1::Vote::No | v1::Vote::Unspecified => Vote::No(refusal(response.refusal)?),
        };
        Ok(Self::Voted {
            attempt: attempt(response.attempt)?,
            boot: Boot(counted(response.boot, "boot")?),
            log_end: Lsn(response.log_end),
            life: response.life,
            vote,
        })
    }
}

/// Responses that acknowledge, and tell of damage.
macro_rules! acknowledgement {
    ($($response:ident),* $(,)?) => {$(
        impl TryFrom<Answer<Payload>> for v1::$response {
            type Error = NoResponse;

            fn try_from(answer: Answer<Payload>) -> Result<Self, NoResponse> {
                match answer {
                    Answer::Acknowledged { attempt, damage } => {
                        Ok(Self { attempt: Some(attempt.into()), damage: by_hand(damage) })
                    }
                    other => Err(NoResponse::new(stringify!($response), other)),
                }
            }
        }

        impl TryFrom<v1::$response> for Answer<Payload> {
            type Error = WireError;

            fn try_from(response: v1::$response) -> Result<Self, WireError> {
                Ok(Self::Acknowledged {
                    attempt: attempt(response.attempt)?,
                    damage: if_by_hand(response.damage, "damage")?,
                })
            }
        }
    )*};
}

acknowledgement!(CommitResponse, AbortResponse);

impl TryFrom<Answer<Payload>> for v1::ReleaseResponse {
    type Error = NoResponse;

    fn try_from(answer: Answer<Payload>) -> Result<Self, NoResponse> {
        match answer {
            Answer::Released { attempt, boot } => Ok(Self {
                attempt: Some(attempt.into()),
                boot: boot.map_or(0, |boot| boot.0),
            }),
            other => Err(NoResponse::new("ReleaseResponse", other)),
        }
    }
}

impl TryFrom<v1::ReleaseResponse> for Answer<Payload> {
    type Error = WireError;

    fn try_from(response: v1::ReleaseResponse) -> Result<Self, WireError> {
        let boot = (response.boot != 0).then_some(Boot(response.boot));
        Ok(Self::Released {
            attempt: attempt(response.attempt)?,
            boot,
        })
    }
}

impl TryFrom<Answer<Payload>> for v1::CommitOnePhaseResponse {
    type Error = NoResponse;

    fn try_from(answer: Answer<Payload>) -> Result<Self, NoResponse> {
        match answer {
            Answer::DecidedAlone { attempt, alone } => {
                let (outcome, refusal, results) = alone_parts(alone);
                let attempt = Some(attempt.into());
                Ok(Self {
                    attempt,
                    outcome: v1::Outcome::from(outcome).into(),
                    refusal,
                    results,
                })
            }
            other => Err(NoResponse::new("CommitOnePhaseResponse", other)),
        }
    }
}

impl TryFrom<v1::CommitOnePhaseResponse> for Answer<Payload> {
    type Error = WireError;

    fn try_from(response: v1::CommitOnePhaseResponse) -> Result<Self, WireError> {
        let outcome = definite(response.outcome, "outcome")?;
        let alone = alone(outcome, response.refusal, response.results)?;
        Ok(Self::DecidedAlone {
            attempt: attempt(response.attempt)?,
            alone,
        })
    }
}

/// To `Inquire`.
impl TryFrom<Answer<Payload>> for v1::GetOutcomeResponse {
    type Error = NoResponse;

    fn try_from(answer: Answer<Payload>) -> Result<Self, NoResponse> {
        let trace = match answer {
            Answer::Traced { trace, .. } => trace,
            other => return Err(NoResponse::new("GetOutcomeResponse", other)),
        };
        let only = |verdict: v1::Verdict| Self {
            verdict: verdict.into(),
            ..Self::default()
        };
        Ok(match trace {
            Trace::None => only(v1::Verdict::Unknown),
            Trace::Forgotten => only(v1::Verdict::Forgotten),
            Trace::Decided { hash, alone } => {
                let (outcome, refusal, results) = alone_parts(alone);
                let verdict = match outcome {
                    Outcome::Committed => v1::Verdict::Committed,
                    Outcome::Aborted => v1::Verdict::Aborted,
                };
                let operations_hash = hash.0.to_vec();
                Self {
                    verdict: verdict.into(),
                    operations_hash,
                    refusal,
                    results,
                }
            }
        })
    }
}

/// Reads the answer to `Inquire`, which does not repeat what was asked.
///
/// # Errors
/// [`WireError`] if it is no answer to an inquiry.
pub fn traced(
    transaction: TransactionId,
    response: v1::GetOutcomeResponse,
) -> Result<Answer<Payload>, WireError> {
    let allowed = "VERDICT_COMMITTED, VERDICT_ABORTED, VERDICT_UNKNOWN or VERDICT_FORGOTTEN";
    /// What is told apart before the rest is read.
    enum Kind {
        Decided(Outcome),
        Unknown,
        Forgotten,
    }
    let kind = choice(
        response.verdict,
        "verdict",
        allowed,
        |verdict| match verdict {
            v1::Verdict::Committed => Some(Kind::Decided(Outcome::Committed)),
            v1::Verdict::Aborted => Some(Kind::Decided(Outcome::Aborted)),
            v1::Verdict::Unknown => Some(Kind::Unknown),
            v1::Verdict::Forgotten => Some(Kind::Forgotten),
            v1::Verdict::Unspecified | v1::Verdict::Pending | v1::Verdict::WrongCoordinator => None,
        },
    )?;
    let trace = match kind {
        Kind::Unknown => Trace::None,
        Kind::Forgotten => Trace::Forgotten,
        Kind::Decided(outcome) => Trace::Decided {
            hash: operations_hash(&response.operations_hash)?,
            alone: alone(outcome, response.refusal, response.results)?,
        },
    };
    Ok(Answer::Traced { transaction, trace })
}

/// What a lone decision consists of on the wire.
type AloneParts = (Outcome, Option<v1::Refusal>, Vec<prost_types::Any>);

fn alone_parts(alone: Alone<Payload>) -> AloneParts {
    match alone {
        Alone::Committed(results) => (Outcome::Committed, None, anys(results)),
        Alone::Aborted(refusal) => (Outcome::Aborted, Some(refusal.into()), Vec::new()),
    }
}

fn alone(
    outcome: Outcome,
    no: Option<v1::Refusal>,
    results: Vec<prost_types::Any>,
) -> Result<Alone<Payload>, WireError> {
    match outcome {
        Outcome::Committed => payloads(results).map(Alone::Committed),
        Outcome::Aborted => refusal(no).map(Alone::Aborted),
    }
}

#[cfg(test)]
mod tests {
    use nemcon_core::message::{Call, OperationsHash};
    use nemcon_core::reason::Reason;

    use super::super::sample;
    use super::*;

    fn results() -> Vec<Payload> {
        vec![sample::payload(1), Payload::default()]
    }

    fn no() -> Refusal {
        Refusal::retryable(Reason::LOCK_TIMEOUT, "account alice: waited 5000 ms")
    }

    #[test]
    fn votes_go_there_and_back() {
        for vote in [
            Vote::Yes(Some(results())),
            Vote::Yes(Some(vec![])),
            Vote::Yes(None),
            Vote::ReadOnly(results()),
            Vote::No(no()),
        ] {
            let answer = Answer::Voted {
                attempt: sample::attempt(),
                boot: Boot(3),
                log_end: Lsn(8),
                life: 5,
                vote,
            };
            let there = v1::PrepareResponse::try_from(answer.clone()).unwrap();
            assert_eq!(Answer::try_from(there), Ok(answer));
        }
    }

    #[test]
    fn acknowledgements_go_there_and_back() {
        for damage in [None, Some(Outcome::Committed), Some(Outcome::Aborted)] {
            let answer = Answer::Acknowledged {
                attempt: sample::attempt(),
                damage,
            };
            let there = v1::CommitResponse::try_from(answer.clone()).unwrap();
            assert_eq!(Answer::try_from(there), Ok(answer.clone()));
            let there = v1::AbortResponse::try_from(answer.clone()).unwrap();
            assert_eq!(Answer::try_from(there), Ok(answer));
        }
    }

    #[test]
    fn the_other_answers_go_there_and_back() {
        let (attempt, name) = (sample::attempt(), sample::name("bank-a"));
        let answer = Answer::Welcome { boot: Boot(9) };
        let there = v1::GetStatusResponse::try_from((&name, answer.clone())).unwrap();
        assert_eq!(Answer::try_from(there), Ok(answer));
        for boot in [None, Some(Boot(9))] {
            let answer = Answer::Released { attempt, boot };
            let there = v1::ReleaseResponse::try_from(answer.clone()).unwrap();
            assert_eq!(Answer::try_from(there), Ok(answer));
        }
        for alone in [Alone::Committed(results()), Alone::Aborted(no())] {
            let answer = Answer::DecidedAlone { attempt, alone };
            let there = v1::CommitOnePhaseResponse::try_from(answer.clone()).unwrap();
            assert_eq!(Answer::try_from(there), Ok(answer));
        }
    }

    #[test]
    fn answers_to_pieces_go_there_and_back() {
        let (attempt, number, boot) = (sample::attempt(), 4, Boot(3));
        for results in [Ok(results()), Ok(vec![]), Err(no())] {
            let answer = Answer::Executed {
                attempt,
                number,
                boot,
                results,
            };
            let there = v1::ExecuteResponse::try_from(answer.clone()).unwrap();
            assert_eq!(Answer::try_from(there), Ok(answer));
        }
        for tokens in [Ok(vec![sample::token()]), Ok(vec![]), Err(no())] {
            let answer = Answer::LocksAcquired {
                attempt,
                number,
                boot,
                tokens,
            };
            let there = v1::AcquireAttemptLocksResponse::try_from(answer.clone()).unwrap();
            assert_eq!(Answer::try_from(there), Ok(answer));
        }
    }

    #[test]
    fn waits_go_there_and_back() {
        let report = sample::report();
        let answer = Answer::Waits { look: 7, report };
        let there = v1::GetWaitsForEdgesResponse::try_from(answer.clone()).unwrap();
        assert_eq!(waits(7, there), Ok(answer));
        for failed in [false, true] {
            let victim = sample::attempt();
            let answer = Answer::WaitFailed { victim, failed };
            let there = v1::FailWaitResponse::try_from(answer.clone()).unwrap();
            assert_eq!(Answer::try_from(there), Ok(answer));
        }
    }

    #[test]
    fn traces_go_there_and_back() {
        let (transaction, hash) = (sample::transaction(), OperationsHash([9; 32]));
        for trace in [
            Trace::None,
            Trace::Forgotten,
            Trace::Decided {
                hash,
                alone: Alone::Committed(results()),
            },
            Trace::Decided {
                hash,
                alone: Alone::Aborted(no()),
            },
        ] {
            let answer = Answer::Traced { transaction, trace };
            let there = v1::GetOutcomeResponse::try_from(answer.clone()).unwrap();
            assert_eq!(traced(transaction, there), Ok(answer));
        }
    }

    #[test]
    fn a_refusal_is_no_response() {
        let refused = Answer::Refused {
            call: Call::Hello,
            refusal: no(),
        };
        let error = v1::CommitResponse::try_from(refused).unwrap_err();
        assert_eq!(error, NoResponse::Refused(no()));
        let welcome = Answer::Welcome { boot: Boot(1) };
        let error = v1::ReleaseResponse::try_from(welcome).unwrap_err();
        assert!(matches!(
            error,
            NoResponse::Mismatched {
                response: "ReleaseResponse",
                ..
            }
        ));
    }

    #[test]
    fn half_a_vote_is_refused() {
        let yes = || v1::PrepareResponse {
            attempt: Some(sample::attempt().into()),
            vote: v1::Vote::Yes.into(),
            boot: 1,
            ..Default::default()
        };
        let field = |response: v1::PrepareResponse| {
            Answer::<Payload>::try_from(response).unwrap_err().field
        };
        assert_eq!(field(v1::PrepareResponse { vote: 0, ..yes() }), "vote");
        assert_eq!(field(v1::PrepareResponse { vote: 44, ..yes() }), "vote");
        assert_eq!(field(v1::PrepareResponse { boot: 0, ..yes() }), "boot");
        assert_eq!(
            field(v1::PrepareResponse {
                attempt: None,
                ..yes()
            }),
            "attempt"
        );
        let vote = v1::Vote::No.into();
        assert_eq!(field(v1::PrepareResponse { vote, ..yes() }), "refusal");
        let (vote, results_lost) = (v1::Vote::ReadOnly.into(), true);
        assert_eq!(
            field(v1::PrepareResponse {
                vote,
                results_lost,
                ..yes()
            }),
            "results_lost"
        );
    }

    #[test]
    fn an_inquiry_is_not_answered_with_a_verdict_on_an_attempt() {
        let response = v1::GetOutcomeResponse {
            verdict: v1::Verdict::Pending.into(),
            ..Default::default()
        };
        assert_eq!(
            traced(sample::transaction(), response).unwrap_err().field,
            "verdict"
        );
    }
}
