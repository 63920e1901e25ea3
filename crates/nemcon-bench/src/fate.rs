//! How a try ended, and what it has done to the sum of all accounts.

use nemcon_client::{ClientError, Ending, Report};
use nemcon_core::reason::Reason;

/// How one try of a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It happened.
    Committed,
    /// The business said no: an answer that another try would not change.
    Refused(String),
    /// Somebody else held the data for longer than a lock is waited for, or too
    /// many waited already.
    Conflict(String),
    /// It waited in a circle and gave way.
    Victim,
    /// It did not happen, for another reason: a deadline, a node that was busy.
    Failed(String),
    /// It may have happened.
    Unknown,
}

impl Fate {
    /// What a reason of ours means.
    #[must_use]
    pub fn of_reason(reason: &Reason) -> Self {
        let word = || reason.to_string();
        match reason {
            r if *r == Reason::LOCK_TIMEOUT || *r == Reason::TOO_MANY_WAITERS => {
                Self::Conflict(word())
            }
            r if *r == Reason::DEADLOCK => Self::Victim,
            r if Reason::ALL.contains(r) => Self::Failed(word()),
            _ => Self::Refused(word()),
        }
    }

    /// What the client was told.
    ///
    /// # Errors
    /// What makes going on pointless: nobody is there, or nobody of ours.
    pub(crate) fn of(told: Result<Report, ClientError>) -> Result<Self, ClientError> {
        match told {
            Ok(report) => Ok(match report.ending {
                Ending::Committed(_) => Self::Committed,
                Ending::Aborted(cause) => Self::of_reason(&cause.refusal.reason),
            }),
            Err(error) => Self::of_error(error),
        }
    }

    /// What an error of the client means.
    ///
    /// # Errors
    /// As [`Fate::of`].
    pub(crate) fn of_error(error: ClientError) -> Result<Self, ClientError> {
        match error {
            ClientError::Refused(refused) => Ok(Self::of_reason(&refused.refusal.reason)),
            ClientError::Unknown { .. } => Ok(Self::Unknown),
            ClientError::Address(_)
            | ClientError::Unreachable { .. }
            | ClientError::Protocol { .. }
            | ClientError::SagaUnknown { .. } => Err(error),
        }
    }
}

/// By how much a transaction changes the sum of all accounts, in cents, if it is
/// committed. What was read while it ran may decide it, so for one whose outcome is
/// not known these are bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// At least.
    pub low_minor: i64,
    /// At most.
    pub high_minor: i64,
}

impl Effect {
    /// Exactly this.
    #[must_use]
    pub const fn of(minor: i64) -> Self {
        Self {
            low_minor: minor,
            high_minor: minor,
        }
    }

    /// One of both, and it is not known which.
    #[must_use]
    pub const fn either(self, other: Self) -> Self {
        let (low, high) = (self.low_minor, self.high_minor);
        Self {
            low_minor: if other.low_minor < low {
                other.low_minor
            } else {
                low
            },
            high_minor: if other.high_minor > high {
                other.high_minor
            } else {
                high
            },
        }
    }
}

/// One try: what was tried, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// Which kind of transaction, as the report names it.
    pub kind: &'static str,
    /// How it ended.
    pub fate: Fate,
    /// What it does if it is committed.
    pub effect: Effect,
}

impl Try {
    /// What it has done to the sum of all accounts.
    #[must_use]
    pub fn done(&self) -> Effect {
        match self.fate {
            Fate::Committed => self.effect,
            Fate::Unknown => self.effect.either(Effect::default()),
            Fate::Refused(_) | Fate::Conflict(_) | Fate::Victim | Fate::Failed(_) => {
                Effect::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nemcon_core::reason::Refusal;

    use super::*;

    #[test]
    fn conflicts_victims_and_refusals_are_told_apart() {
        let of = |reason| Fate::of_reason(&reason);
        assert_eq!(
            of(Reason::LOCK_TIMEOUT),
            Fate::Conflict("LOCK_TIMEOUT".into())
        );
        assert_eq!(of(Reason::DEADLOCK), Fate::Victim);
        assert_eq!(
            of(Reason::DEADLINE_EXCEEDED),
            Fate::Failed("DEADLINE_EXCEEDED".into())
        );
        assert_eq!(
            of(Reason::business("INSUFFICIENT_FUNDS")),
            Fate::Refused("INSUFFICIENT_FUNDS".into())
        );
    }

    #[test]
    fn a_time_out_is_never_taken_for_an_abort() {
        let unknown = ClientError::Unknown {
            transaction: nemcon_client::new_transaction_id(),
            coordinator: None,
            why: "silence".into(),
        };
        assert_eq!(Fate::of(Err(unknown)).unwrap(), Fate::Unknown);
        let refusal = Refusal::new(Reason::TOO_MANY_REQUESTS, "busy");
        let refused = ClientError::Refused(Box::new(refusal.into()));
        assert_eq!(
            Fate::of(Err(refused)).unwrap(),
            Fate::Failed("TOO_MANY_REQUESTS".into())
        );
        let nobody = ClientError::Unreachable {
            address: "http://127.0.0.1:1".parse().unwrap(),
            why: "refused".into(),
        };
        assert!(Fate::of(Err(nobody)).is_err());
    }

    #[test]
    fn what_is_not_known_has_bounds_that_hold_both_ways() {
        let tried = |fate, effect| Try {
            kind: "x",
            fate,
            effect,
        };
        let (five, six) = (Effect::of(-500), Effect::of(-600));
        assert_eq!(tried(Fate::Committed, five).done(), five);
        assert_eq!(tried(Fate::Victim, five).done(), Effect::of(0));
        let bounds = tried(Fate::Unknown, five.either(six)).done();
        assert_eq!((bounds.low_minor, bounds.high_minor), (-600, 0));
        let gain = tried(Fate::Unknown, Effect::of(130)).done();
        assert_eq!((gain.low_minor, gain.high_minor), (0, 130));
    }
}
