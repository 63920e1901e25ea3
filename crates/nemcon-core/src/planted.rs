//! Deliberate mistakes, so that the proof can be tested: each must be caught.
//!
//! In a build without the feature `planted-bugs`, as every node is, a machine
//! makes none of them and the questions cost nothing.

use core::fmt;

macro_rules! bugs {
    ($($(#[doc = $story:literal])* $name:ident = $text:literal,)*) => {
        /// A mistake that a machine can be told to make.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Bug {
            $($(#[doc = $story])* $name,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name, as it is printed and asked for.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// What it does, in a sentence.
            #[must_use]
            pub const fn story(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($story),*),)*
                }
            }
        }
    };
}

bugs! {
    // Coordinator: what is forced.
    /// The client and the voters are told of a commit before the decision is durable.
    DecisionNotForced = "decision-not-forced",
    /// The client is told of an abort before its record is durable.
    AbortNotForced = "abort-not-forced",
    /// A coordinator that restarts goes on in the epoch it was in.
    EpochNotRaised = "epoch-not-raised",
    /// A transaction is sent out to be decided alone before that is declared.
    AloneNotDeclared = "alone-not-declared",
    // Coordinator: deciding.
    /// The deadline aborts a transaction whose decision is appended.
    DeadlineAbortsDecided = "deadline-aborts-decided",
    /// One vote is not waited for.
    VoteNotAwaited = "vote-not-awaited",
    /// A no is counted as a yes.
    NoCountedAsYes = "no-counted-as-yes",
    /// The first acknowledgement ends a commit.
    FirstAcknowledgementEnds = "first-acknowledgement-ends",
    /// A deadline in a one-phase commit is told as an abort.
    AloneDeadlineAborts = "alone-deadline-aborts",
    /// A reader that has lost its locks before the release counts as one that held them.
    ReleaseWithoutProof = "release-without-proof",
    // Coordinator: interactive transactions and deadlocks.
    /// Work of a participant that has restarted since its first answer counts.
    LaterBootCounts = "later-boot-counts",
    /// Nobody looks for deadlocks across participants.
    DeadlocksNotLookedFor = "deadlocks-not-looked-for",
    /// A cycle is broken that was seen once.
    FirstLookSuffices = "first-look-suffices",
    /// Somebody who is not in the cycle gives way.
    BystanderGivesWay = "bystander-gives-way",
    // Coordinator: what it tells those in doubt.
    /// An attempt that is running is said to have aborted.
    RunningSaidAborted = "running-said-aborted",
    /// An attempt that is not known is said to have committed.
    UnknownSaidCommitted = "unknown-said-committed",
    // Coordinator: ids.
    /// A transaction id that is remembered runs again.
    RememberedRunsAgain = "remembered-runs-again",
    /// A transaction id that is running runs a second time.
    RunningRunsTwice = "running-runs-twice",
    /// The outcomes that are forgotten leave no watermark.
    ForgottenWithoutWatermark = "forgotten-without-watermark",
    /// Participants are not asked about an id they may have decided alone.
    AloneNotAskedAbout = "alone-not-asked-about",
    /// Other operations under a known id get its outcome.
    HashNotCompared = "hash-not-compared",
    /// A request that went to another coordinator first is run.
    AnotherCoordinatorRuns = "another-coordinator-runs",
    // Coordinator: order and log.
    /// The floor does not wait for what is unfinished.
    FloorTooHigh = "floor-too-high",
    /// A checkpoint leaves out decisions that are not acknowledged.
    CheckpointForgetsDecision = "checkpoint-forgets-decision",
    /// A checkpoint leaves out the watermark of what is forgotten.
    CheckpointForgetsWatermark = "checkpoint-forgets-watermark",
    /// What was done by hand against the decision is not recorded.
    DamageNotRecorded = "damage-not-recorded",

    // Coordinator: sagas.
    /// A step of a saga is decided by its only participant.
    SagaOnePhase = "saga-one-phase",
    /// A step is tried again before the outcome of the last try is known.
    SagaTriedBeforeOutcome = "saga-tried-before-outcome",
    /// A try runs under the transaction of the try before it.
    SagaTryReusesAttempt = "saga-try-reuses-attempt",
    /// After a restart a step that committed is taken for one that did not.
    SagaOutcomeForgotten = "saga-outcome-forgotten",
    /// A step that failed without effect is compensated.
    SagaFailedCompensated = "saga-failed-compensated",
    /// The last compensation is left out.
    SagaCompensationSkipped = "saga-compensation-skipped",
    /// What was done first is compensated first.
    SagaCompensatedInOrder = "saga-compensated-in-order",
    /// A saga goes back although its pivot is done.
    SagaPivotLost = "saga-pivot-lost",
    /// A checkpoint leaves out sagas.
    CheckpointForgetsSagas = "checkpoint-forgets-sagas",

    // Participant: what is forced.
    /// A yes leaves before its record is durable.
    VoteNotForced = "vote-not-forced",
    /// A commit is acknowledged before its record is durable.
    AcknowledgementNotForced = "acknowledgement-not-forced",
    /// A one-phase outcome is told before its record is durable.
    AloneNotForced = "alone-not-forced",
    /// A one-phase commit lets go of its locks before its record is durable.
    AloneUnlocksEarly = "alone-unlocks-early",
    /// A question of a new epoch is answered before the epoch is durable.
    SeenEpochNotForced = "seen-epoch-not-forced",
    /// A peer is told of a refusal that is on no record.
    RefusalNotRecorded = "refusal-not-recorded",
    /// A decision by hand is carried out and not recorded.
    HandNotRecorded = "hand-not-recorded",
    // Participant: order.
    /// What a coordinator said in an earlier epoch is done.
    StaleEpochObeyed = "stale-epoch-obeyed",
    /// A newer epoch leaves unprepared work of older ones alive.
    NewEpochKeepsWork = "new-epoch-keeps-work",
    /// A newer epoch aborts what is prepared.
    NewEpochAbortsPrepared = "new-epoch-aborts-prepared",
    /// Work below the floor is begun.
    BelowFloorBegun = "below-floor-begun",
    /// What is finished is forgotten at once, whatever the floor.
    ForgottenAboveFloor = "forgotten-above-floor",
    // Participant: locks and deadlocks.
    /// A wait ends that is not the one that was part of a deadlock.
    AnyWaitFails = "any-wait-fails",
    /// A deadlock among those who wait at one participant is not seen.
    LocalDeadlockUnseen = "local-deadlock-unseen",
    /// A lock is taken from whoever is prepared.
    PreparedRobbed = "prepared-robbed",
    /// Readers overtake a writer that waits.
    QueueSkipped = "queue-skipped",
    /// A reader may write although others read.
    UpgradeIgnoresReaders = "upgrade-ignores-readers",
    /// An exclusive lock that is asked for by name is taken as a shared one.
    NamedLockShared = "named-lock-shared",
    /// Locks that are asked for by name are let go once the client is told.
    NamedLocksLetGo = "named-locks-let-go",
    /// A lock that was waited for comes with the token of the grant before it.
    TokenNotRaised = "token-not-raised",
    /// A repeated piece of work is done again.
    PieceDoneTwice = "piece-done-twice",
    /// Work that arrives after the end of its attempt is begun.
    EndedBeginsAgain = "ended-begins-again",
    // Participant: promises and doubt.
    /// After some questions in vain a prepared attempt aborts.
    DoubtTimesOut = "doubt-times-out",
    /// Who has no trace of an attempt tells a peer that it aborted.
    NoTraceSaidAborted = "no-trace-said-aborted",
    /// Who is prepared tells a peer that the attempt aborted.
    PreparedSaidAborted = "prepared-said-aborted",
    /// Who has read and forgotten tells a peer that the attempt aborted.
    ReadSaidAborted = "read-said-aborted",
    /// A restarted participant takes no locks for what is prepared.
    RestartLosesLocks = "restart-loses-locks",
    /// A checkpoint leaves out what is prepared.
    CheckpointForgetsPrepared = "checkpoint-forgets-prepared",
    /// A commit by hand that should have been an abort is not recorded as damage.
    HandDamageForgotten = "hand-damage-forgotten",
    // Participant: isolation.
    /// A writer is content with a shared lock.
    WriterSharesLock = "writer-shares-lock",
    /// In a one-shot transaction a reader among writers lets go when it has voted.
    ReaderLetsGoEarly = "reader-lets-go-early",
    /// A reader of a read-only transaction lets go before the release.
    HolderLetsGoEarly = "holder-lets-go-early",
    /// A prepared attempt lets go of its locks.
    PreparedLetsGo = "prepared-lets-go",
    /// Interactive work that a restart has lost is voted on with yes.
    LostWorkVotesYes = "lost-work-votes-yes",
    /// An attempt that ends by itself keeps its locks.
    EndedKeepsLocks = "ended-keeps-locks",
    // Participant: data and memory.
    /// A redo is applied again to values that are newer.
    AppliedTwice = "applied-twice",
    /// What was decided alone is not remembered.
    AloneNotRemembered = "alone-not-remembered",
    /// What was decided alone is forgotten without a watermark.
    AloneForgottenWithoutWatermark = "alone-forgotten-without-watermark",
}

impl Bug {
    /// Whether only sagas show it.
    #[must_use]
    pub const fn is_of_sagas(self) -> bool {
        matches!(
            self,
            Self::SagaOnePhase
                | Self::SagaTriedBeforeOutcome
                | Self::SagaTryReusesAttempt
                | Self::SagaOutcomeForgotten
                | Self::SagaFailedCompensated
                | Self::SagaCompensationSkipped
                | Self::SagaCompensatedInOrder
                | Self::SagaPivotLost
                | Self::CheckpointForgetsSagas
        )
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which mistake a machine makes, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted(#[cfg(feature = "planted-bugs")] Option<Bug>);

impl Planted {
    /// This one.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub const fn bug(bug: Bug) -> Self {
        Self(Some(bug))
    }

    /// None.
    #[must_use]
    pub const fn none() -> Self {
        #[cfg(feature = "planted-bugs")]
        return Self(None);
        #[cfg(not(feature = "planted-bugs"))]
        return Self();
    }

    /// Whether it is this one.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub fn has(self, bug: Bug) -> bool {
        self.0 == Some(bug)
    }

    /// No.
    #[cfg(not(feature = "planted-bugs"))]
    #[must_use]
    #[inline]
    pub const fn has(self, _: Bug) -> bool {
        false
    }
}
