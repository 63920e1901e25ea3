//! What is explored: who takes part, what clients want, and how often what goes
//! wrong.

use nemcon_core::id::TransactionId;
use nemcon_core::time::{Millis, Span};

use super::node::NOW;
use super::registers::Action;

/// A cluster, what is asked of it, and the bounds of what may go wrong.
///
/// Messages may be lost, doubled and late without bound, timers fire at any time
/// and disks are as slow as they like: only what is counted here is bounded.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What it is about, in a line.
    pub about: &'static str,
    pub(super) coordinators: usize,
    pub(super) participants: usize,
    pub(super) orders: Vec<Order>,
    /// How many crashes there are in all.
    pub(super) crashes: u8,
    /// Who crashes.
    pub(super) who_crashes: Who,
    /// Which messages may fail with the knowledge that they did.
    pub(super) failures: Failures,
    /// How often an operator decides about an attempt in doubt.
    pub(super) by_hand: u8,
    /// How many outcomes nodes remember.
    pub(super) remember_max: usize,
    /// How many attempts must have finished before a floor is logged.
    pub(super) forget_batch: usize,
    /// How many attempts a coordinator begins in one epoch.
    pub(super) attempts_max: u64,
    /// How often a coordinator looks for deadlocks. If it does at all, the numbers of
    /// looks and of waits tell states apart.
    pub(super) looks_max: u64,
    /// Whether deadlines and leases run out.
    pub(super) deadlines: bool,
    /// Whether each step is compared with textbook two-phase commit.
    pub(super) refines: bool,
    /// What must be seen at least once.
    pub(super) sights: &'static [Sight],
}

/// Which nodes crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Everyone,
    Coordinators,
    Participants,
}

/// What may fail so that the sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failures {
    None,
    /// What participants in doubt ask.
    Questions,
    /// Calls of coordinators too.
    All,
}

/// A transaction that a client wants.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) transaction: TransactionId,
    pub(super) coordinator: usize,
    /// To which participant, what, and whether it is marked `read_only`.
    pub(super) operations: Vec<(usize, Action, bool)>,
    /// It is sent once the outcome of this one is told.
    pub(super) after: Option<usize>,
    /// It is sent once the first piece of this one is done.
    pub(super) once_locked: Option<usize>,
    /// How often it is sent at most.
    pub(super) sends: u8,
    /// How often its abort is asked for at most.
    pub(super) aborts: u8,
    /// It is interactive, and each operation a piece of its own.
    pub(super) piecewise: bool,
}

impl Order {
    fn new(number: u128, coordinator: usize, operations: Vec<(usize, Action, bool)>) -> Self {
        Self {
            transaction: TransactionId::from_parts(NOW, number),
            coordinator,
            operations,
            after: None,
            once_locked: None,
            sends: 1,
            aborts: 0,
            piecewise: false,
        }
    }

    /// One from each participant but the first goes to the first.
    fn transfer(number: u128, coordinator: usize, participants: usize) -> Self {
        let take = |at| (at, Action::Add(0, -1), false);
        let mut operations = vec![(0, Action::Add(0, participants as i64 - 1), false)];
        operations.extend((1..participants).map(take));
        Self::new(number, coordinator, operations)
    }

    /// The same way back.
    fn back(number: u128, coordinator: usize) -> Self {
        let give = (0, Action::Add(0, -1), false);
        let take = (1, Action::Add(0, 1), false);
        Self::new(number, coordinator, vec![give, take])
    }

    /// A transfer that the second participant refuses.
    fn too_much(number: u128, coordinator: usize) -> Self {
        let give = (1, Action::Add(0, -9), false);
        let take = (0, Action::Add(0, 9), false);
        Self::new(number, coordinator, vec![give, take])
    }

    /// Reads what transfers change, at each participant.
    fn audit(number: u128, coordinator: usize, participants: usize) -> Self {
        let read = |at| (at, Action::Read(0), true);
        Self::new(number, coordinator, (0..participants).map(read).collect())
    }

    /// One goes from one register to another, at one participant.
    fn shift(number: u128, coordinator: usize, participant: usize) -> Self {
        let give = (participant, Action::Add(0, -1), false);
        let take = (participant, Action::Add(1, 1), false);
        Self::new(number, coordinator, vec![give, take])
    }

    const fn sent(mut self, times: u8) -> Self {
        self.sends = times;
        self
    }

    /// Sent once the outcome of another is told.
    const fn once_told(mut self, other: usize) -> Self {
        self.after = Some(other);
        self
    }

    /// Sent once another has its first piece done.
    const fn once_locked(mut self, other: usize) -> Self {
        self.once_locked = Some(other);
        self
    }

    const fn aborted(mut self, times: u8) -> Self {
        self.aborts = times;
        self
    }

    const fn piecewise(mut self) -> Self {
        self.piecewise = true;
        self
    }

    /// With an id from so much later: one that cannot have been decided alone
    /// before a restart.
    fn minted_later(mut self, span: Span, number: u128) -> Self {
        self.transaction = TransactionId::from_parts(Millis(NOW.0 + span.0), number);
        self
    }

    pub(super) fn only_reads(&self) -> bool {
        self.operations.iter().all(|(_, _, reads)| *reads)
    }
}

/// Something that a scenario must show at least once: a model in which nothing
/// ever happens keeps every promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sight {
    /// A client is told "committed".
    Committed,
    /// A client is told "aborted".
    Aborted,
    /// A participant starts again with a promise it has given before.
    CrashInDoubt,
    /// Something is committed after a crash.
    CommitAfterCrash,
    /// A participant learns from a peer what became of an attempt.
    PeerKnows,
    /// A participant refuses an attempt for good, since a peer asks.
    PeerRefuses,
    /// A message of an epoch that has ended is refused.
    StaleEpoch,
    /// Work on an attempt that is over is refused.
    LateDuplicate,
    /// Unknown work below the floor is refused.
    BelowFloor,
    /// A client is told that its id is forgotten.
    Forgotten,
    /// A client is told that nobody knows now.
    Unknown,
    /// A client is told that its id was used for something else.
    Reused,
    /// A coordinator learns from a participant what became of an id.
    Traced,
    /// A reader that cannot prove it held its locks makes the others read again.
    ReadAgain,
    /// Somebody waits for a lock in vain.
    LockTimeout,
    /// Work that a restart has lost is missed.
    WorkLost,
    /// A client is told that nothing was done, since its coordinator has restarted.
    NothingDone,
    /// Somebody gives way to a deadlock across participants.
    Deadlock,
    /// Damage is on record on both sides.
    Damage,
}

impl Scenario {
    fn new(name: &'static str, about: &'static str, orders: Vec<Order>) -> Self {
        let everyone = orders.iter().flat_map(|order| &order.operations);
        Self {
            name,
            about,
            coordinators: 1,
            participants: 1 + everyone.map(|(at, ..)| *at).max().unwrap_or(0),
            orders,
            crashes: 0,
            who_crashes: Who::Everyone,
            failures: Failures::None,
            by_hand: 0,
            remember_max: 8,
            forget_batch: 64,
            attempts_max: 3,
            looks_max: 0,
            deadlines: true,
            refines: false,
            sights: &[],
        }
    }

    /// Up to so many crashes, instead of what CI has time for.
    #[must_use]
    pub const fn with_crashes(mut self, crashes: u8) -> Self {
        self.crashes = crashes;
        self
    }

    /// All of them, roughly the smallest first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![
            Self::peers(),
            Self::refusing_peers(),
            Self::reused_alone(),
            Self::forgotten(),
            Self::reused_id(),
            Self::late_duplicates(),
            Self::interactive(),
            Self::interactive_reads(),
            Self::one_phase(),
            Self::reads(),
            Self::by_hand(),
            Self::two_crashes(),
            Self::three_participants(),
            Self::two_coordinators(),
            Self::repeats(),
            Self::read_while_written(),
        ]
    }

    fn two_crashes() -> Self {
        let about = "a transfer between two participants, with two crashes";
        Self {
            crashes: 2,
            refines: true,
            sights: &[
                Sight::Committed,
                Sight::Aborted,
                Sight::CrashInDoubt,
                Sight::CommitAfterCrash,
                Sight::StaleEpoch,
            ],
            ..Self::new("two-crashes", about, vec![Order::transfer(1, 0, 2)])
        }
    }

    fn three_participants() -> Self {
        let about = "a transfer among three participants, with one crash";
        Self {
            crashes: 1,
            refines: true,
            sights: &[
                Sight::Committed,
                Sight::Aborted,
                Sight::CrashInDoubt,
                Sight::CommitAfterCrash,
            ],
            ..Self::new("three-participants", about, vec![Order::transfer(1, 0, 3)])
        }
    }

    /// Both want the same registers, so one waits for the other, or each for the
    /// other.
    fn two_coordinators() -> Self {
        let about = "two coordinators with transfers between the same two participants";
        let orders = vec![Order::transfer(1, 0, 2), Order::transfer(2, 1, 2)];
        Self {
            coordinators: 2,
            sights: &[Sight::Committed, Sight::Aborted, Sight::LockTimeout],
            ..Self::new("two-coordinators", about, orders)
        }
    }

    /// Nodes that forget as soon as they may.
    fn late_duplicates() -> Self {
        let about = "two transfers, one after the other, at nodes that remember little";
        let first = Order::transfer(1, 0, 2);
        let orders = vec![first, Order::shift(2, 0, 0).once_told(0)];
        Self {
            remember_max: 1,
            forget_batch: 1,
            sights: &[
                Sight::Committed,
                Sight::Aborted,
                Sight::BelowFloor,
                Sight::LateDuplicate,
            ],
            ..Self::new("late-duplicates", about, orders)
        }
    }

    /// Those that take minutes: explored by hand, and for mistakes that no other shows.
    #[must_use]
    pub fn large() -> Vec<Self> {
        vec![Self::deadlock()]
    }

    fn peers() -> Self {
        let about = "a transfer whose participants ask each other";
        Self {
            failures: Failures::Questions,
            refines: true,
            sights: &[Sight::PeerKnows],
            ..Self::new("peers", about, vec![Order::transfer(1, 0, 2)])
        }
    }

    fn refusing_peers() -> Self {
        let about = "a transfer that one refuses, and the other asks it, with a crash of either";
        Self {
            crashes: 1,
            who_crashes: Who::Participants,
            failures: Failures::Questions,
            refines: true,
            sights: &[Sight::PeerKnows, Sight::PeerRefuses],
            ..Self::new("refusing-peers", about, vec![Order::too_much(1, 0)])
        }
    }

    fn one_phase() -> Self {
        let about = "transactions of one participant, sent again, with a crash";
        // Its id lies beyond what was declared at the start.
        let later = Order::shift(2, 0, 0).minted_later(Span::from_secs(20), 2);
        let orders = vec![Order::shift(1, 0, 0).sent(2), later];
        Self {
            crashes: 1,
            failures: Failures::All,
            sights: &[Sight::Committed, Sight::Unknown, Sight::Traced],
            ..Self::new("one-phase", about, orders)
        }
    }

    /// Who has decided an id alone is asked about it, wherever the id goes next.
    fn reused_alone() -> Self {
        let about = "one id at one participant and then at another, with two crashes";
        let later = Span::from_secs(20);
        let first = Order::shift(1, 0, 0).minted_later(later, 1);
        let other = Order::shift(1, 0, 1).minted_later(later, 1);
        Self {
            crashes: 2,
            sights: &[Sight::Committed, Sight::Reused, Sight::Traced],
            ..Self::new("reused-alone", about, vec![first, other])
        }
    }

    /// Nodes that remember one outcome.
    fn forgotten() -> Self {
        let about = "transactions of one participant at nodes that remember little, sent again";
        let first = Order::shift(1, 0, 0).sent(2);
        let orders = vec![first, Order::shift(2, 0, 0).once_told(0)];
        Self {
            remember_max: 1,
            forget_batch: 1,
            crashes: 1,
            sights: &[Sight::Committed, Sight::Forgotten, Sight::Unknown],
            ..Self::new("forgotten", about, orders)
        }
    }

    fn repeats() -> Self {
        let about = "a transfer that is sent again and aborted, with a crash of its coordinator";
        let orders = vec![Order::transfer(1, 0, 2).sent(2).aborted(1)];
        Self {
            crashes: 1,
            who_crashes: Who::Coordinators,
            sights: &[Sight::Committed, Sight::Aborted],
            ..Self::new("repeats", about, orders)
        }
    }

    fn reused_id() -> Self {
        let about = "two transfers under one id, sent again and aborted";
        let order = Order::transfer(1, 0, 2).sent(2).aborted(1);
        let orders = vec![order, Order::back(1, 0)];
        Self {
            sights: &[Sight::Committed, Sight::Aborted, Sight::Reused],
            ..Self::new("reused-id", about, orders)
        }
    }

    fn reads() -> Self {
        let about = "what two participants have is read together, while one of them crashes";
        let orders = vec![Order::audit(1, 0, 2)];
        Self {
            crashes: 1,
            who_crashes: Who::Participants,
            attempts_max: 2,
            sights: &[Sight::Committed, Sight::Aborted, Sight::ReadAgain],
            ..Self::new("reads", about, orders)
        }
    }

    fn read_while_written() -> Self {
        let about = "what two participants have is read together, while a transfer is under way";
        let orders = vec![Order::transfer(1, 0, 2), Order::audit(2, 0, 2)];
        Self {
            attempts_max: 2,
            sights: &[Sight::Committed, Sight::LockTimeout],
            ..Self::new("read-while-written", about, orders)
        }
    }

    fn by_hand() -> Self {
        let about = "a transfer about which an operator decides by hand";
        Self {
            by_hand: 1,
            crashes: 1,
            who_crashes: Who::Participants,
            sights: &[Sight::Committed, Sight::Damage],
            ..Self::new("by-hand", about, vec![Order::transfer(1, 0, 2)])
        }
    }

    fn interactive() -> Self {
        let about = "an interactive transfer, with a crash";
        Self {
            crashes: 1,
            sights: &[
                Sight::Committed,
                Sight::Aborted,
                Sight::WorkLost,
                Sight::NothingDone,
            ],
            ..Self::new(
                "interactive",
                about,
                vec![Order::transfer(1, 0, 2).piecewise()],
            )
        }
    }

    /// What is read piece by piece has to be true together.
    fn interactive_reads() -> Self {
        let about = "two registers are read piece by piece while one goes to the other, with a crash of their participant";
        let reads = [0, 1].map(|register| (0, Action::Read(register), true));
        let reader = Order::new(2, 0, reads.to_vec()).piecewise();
        Self {
            crashes: 1,
            who_crashes: Who::Participants,
            sights: &[Sight::Committed, Sight::Aborted, Sight::WorkLost],
            ..Self::new(
                "interactive-reads",
                about,
                vec![Order::shift(1, 0, 0), reader],
            )
        }
    }

    /// One has a register at p0 and wants one at p1, the other the other way round. The
    /// younger one waits last.
    fn deadlock() -> Self {
        let about = "two transfers, one of them interactive, each in the other's way";
        let there = Order::transfer(2, 0, 2).piecewise();
        let back = Order::back(1, 0).once_locked(0);
        Self {
            deadlines: false,
            looks_max: 2,
            sights: &[
                Sight::Committed,
                Sight::Aborted,
                Sight::LockTimeout,
                Sight::Deadlock,
            ],
            ..Self::new("deadlock", about, vec![there, back])
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut known = Self::all().into_iter().chain(Self::large());
        known.find(|it| it.name == name)
    }
}
