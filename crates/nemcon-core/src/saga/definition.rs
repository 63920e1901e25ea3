//! A saga as the client asks for it, and as the log keeps it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Encode};

use crate::id::ParticipantName;
use crate::limits;
use crate::message::Payload;
use crate::time::Span;

/// The name of a step, unique in its saga.
///
/// 1 to 64 characters of `A–Z a–z 0–9 . _ -`, the first a letter or a digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
#[cbor(transparent)]
pub struct StepName(#[n(0)] String);

/// Why a text is not the name of a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "step name {name:?}: want 1 to {} characters of A-Z a-z 0-9 . _ -, the first a letter or a digit",
    limits::NAME_BYTES_MAX
)]
pub struct StepNameError {
    /// The text that was refused.
    pub name: String,
}

impl StepName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`StepNameError`] where it breaks the rule above.
    pub fn new(name: impl Into<String>) -> Result<Self, StepNameError> {
        let name = name.into();
        // One rule for all names: whoever has learnt it once knows it.
        match ParticipantName::new(name.as_str()) {
            Ok(_) => Ok(Self(name)),
            Err(_) => Err(StepNameError { name }),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StepName {
    type Err = StepNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl<'b, C> Decode<'b, C> for StepName {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::new(d.str()?).map_err(|e| minicbor::decode::Error::message(e.to_string()))
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A result that an operation uses, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Reference {
    /// The step whose result it is.
    #[n(0)]
    pub step: StepName,
    /// Which of its operations, from 0.
    #[n(1)]
    pub operation: u32,
}

/// One thing to do at one participant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Operation {
    /// Where.
    #[n(0)]
    pub participant: ParticipantName,
    /// What.
    #[n(1)]
    pub action: Payload,
    /// The client says that it writes nothing.
    #[n(2)]
    pub read_only: bool,
    /// Results that it uses, in the order in which they are attached.
    #[n(3)]
    pub inputs: Vec<Reference>,
}

/// How often something is tried, and with what pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Retry {
    /// Tries in all, the first included: 1 to [`limits::TRIES_MAX`].
    #[n(0)]
    pub attempts: u32,
    /// Pause after the first failure; each later one is twice as long, and all are
    /// drawn from their upper half.
    #[n(1)]
    pub pause_first: Span,
    /// Longest pause; at least the first, at most [`limits::PAUSE_MAX`].
    #[n(2)]
    pub pause_max: Span,
    /// Longest time that one try may take: the deadline of its transaction. `None`:
    /// the coordinator's default. At most [`limits::DEADLINE_MAX`].
    #[n(3)]
    pub try_timeout: Option<Span>,
}

impl Retry {
    /// Of a step that says nothing else: 5 tries in some seconds, since whoever asked
    /// for the saga may wait for it.
    pub const STEP: Self = Self {
        attempts: 5,
        pause_first: Span(200),
        pause_max: Span::from_secs(5),
        try_timeout: None,
    };

    /// Of a compensation that says nothing else: 60 tries in 20 to 27 minutes, for
    /// it has to succeed, and people are asked if it does not.
    pub const COMPENSATION: Self = Self {
        attempts: 60,
        pause_first: Span(200),
        pause_max: Span::from_secs(30),
        try_timeout: None,
    };
}

/// What takes the effect of a step back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Compensation {
    /// What to do, all in one transaction. Inputs may be results of the step itself
    /// and of those before it.
    #[n(0)]
    pub operations: Vec<Operation>,
    /// How often it is tried before people are asked. It is tried again whatever it
    /// failed of.
    #[n(1)]
    pub retry: Retry,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Step {
    /// Its name.
    #[n(0)]
    pub name: StepName,
    /// The steps that have to be done before it begins.
    #[n(1)]
    pub depends_on: Vec<StepName>,
    /// What to do, all in one transaction. Inputs may be results of steps before it.
    #[n(2)]
    pub operations: Vec<Operation>,
    /// What takes it back. A step that only reads needs none, nor does a pivot or
    /// what comes after one.
    #[n(3)]
    pub compensation: Option<Compensation>,
    /// How often it is tried, where a rerun can help; after a pivot in any case.
    #[n(4)]
    pub retry: Retry,
    /// Longest time from its first try: when it has passed no other try begins.
    /// After a pivot it does not count. At most [`limits::SAGA_TIME_MAX`].
    #[n(5)]
    pub time_limit: Option<Span>,
    /// When this step is done the saga only goes forward. Every other step has to
    /// be before or after it.
    #[n(6)]
    pub pivot: bool,
}

impl Step {
    /// Whether it writes nothing, by the client's word.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        self.operations.iter().all(|operation| operation.read_only)
    }
}

/// A saga as the client asks for it. [`Graph::new`](super::Graph::new) checks it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Definition {
    /// The steps, in any order.
    #[n(0)]
    pub steps: Vec<Step>,
    /// Longest time from the start until the last step is done. When it has passed
    /// the saga compensates, unless a pivot is done. At most
    /// [`limits::SAGA_TIME_MAX`].
    #[n(1)]
    pub time_limit: Option<Span>,
    /// What people call it.
    #[n(2)]
    pub label: String,
}
