//! What a run is going to be: the cluster, what clients want, what goes wrong.
//!
//! A plan is drawn from a seed and is plain data, so that a failing one can be
//! made smaller and kept. What is left to chance while it runs (delays, how long
//! a disk takes) comes from the seed too.

mod drawing;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::chance::{Chance, Stream};

/// Milliseconds of simulated time.
pub type Ms = u64;

/// What the participants keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    /// The bank's ledger: money is conserved, balances have limits.
    Bank,
    /// Lists that are appended to and read, for histories.
    Lists,
}

/// Kinds of faults that can be left out of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nodes that die, at any record and any message.
    Crash,
    /// Messages that are lost, doubled, late; links that are cut.
    Network,
    /// Disks that are slow, fail, or fill up.
    Disk,
    /// Clocks that differ and jump, nodes that stand still.
    Clock,
    /// Participants that are away, come late or are taken out.
    Members,
    /// Decisions by hand.
    Operator,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Crash,
        Self::Network,
        Self::Disk,
        Self::Clock,
        Self::Members,
        Self::Operator,
    ];
}

/// What a campaign asks of its plans.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// How many participants; `None`: 2 to 5, drawn.
    pub participants: Option<usize>,
    /// How many coordinators; `None`: 1 or 2, drawn.
    pub coordinators: Option<usize>,
    /// Which faults there may be.
    pub faults: Vec<Kind>,
    /// Everybody wants many locks of few keys at a time: waits follow each other, and
    /// deadlocks hang together.
    pub crowded: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            participants: None,
            coordinators: None,
            faults: Kind::ALL.to_vec(),
            crowded: false,
        }
    }
}

/// The cluster and its surroundings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// What the participants keep.
    pub data: Data,
    /// How many coordinators.
    pub coordinators: usize,
    /// How many participants.
    pub participants: usize,
    /// How many of these are started only later, by a fault.
    pub late: usize,
    /// Keys, or accounts, at each participant: few make conflicts.
    pub keys: u8,
    /// How long the safety phase lasts.
    pub length_ms: Ms,
    /// Longest usual delay of a message.
    pub delay_ms: Ms,
    /// Messages lost, of a thousand.
    pub loss: u64,
    /// Messages doubled, of a thousand.
    pub double: u64,
    /// Lives of nodes that take messages from streams, of a thousand.
    #[serde(default)]
    pub streams: u64,
    /// How many outcomes nodes remember.
    pub remember_max: usize,
    /// Deadline of transactions.
    pub timeout_ms: Ms,
    /// Longest wait for a lock.
    pub lock_wait_ms: Ms,
    /// Bytes of a page of the log: small ones make a flush of several.
    pub page_bytes: usize,
    /// Records after which a checkpoint begins.
    pub checkpoint_records: u64,
    /// Largest difference of a clock from the true time.
    pub clock_skew_ms: Ms,
}

/// A place in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A coordinator.
    Coordinator(usize),
    /// A participant.
    Participant(usize),
}

/// What is done with a key of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Read it.
    Read,
    /// Lists: append a value that nobody else appends.
    Append,
    /// Bank: take money from the account.
    Take(u32),
    /// Bank: put money on the account.
    Put(u32),
    /// Bank: read all accounts.
    ReadAll,
    /// Bank: open the account.
    Open,
}

impl What {
    /// Whether it changes anything.
    #[must_use]
    pub const fn writes(self) -> bool {
        match self {
            Self::Read | Self::ReadAll => false,
            Self::Append | Self::Take(_) | Self::Put(_) | Self::Open => true,
        }
    }
}

/// One operation of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// At which participant.
    pub at: usize,
    /// On which of its keys.
    pub key: u8,
    /// What.
    pub what: What,
}

/// A lock that a client asks for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// At which participant.
    pub at: usize,
    /// On which of its keys.
    pub key: u8,
    /// To have it alone; else others may read it too.
    pub exclusive: bool,
}

/// Locks that are asked for in one request of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// How many pieces of work come before it; all, if there are fewer.
    pub after: usize,
    /// Which.
    pub locks: Vec<Claim>,
}

/// Steps of one piece of work of an interactive transaction.
pub const PIECE_STEPS: usize = 2;

/// What one request of an interactive transaction asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Work.
    Work {
        /// The place of the first of them among all steps of the order.
        first: usize,
        /// At most [`PIECE_STEPS`].
        steps: &'a [Step],
    },
    /// Locks.
    Locks(&'a [Claim]),
}

/// How a client goes about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manner {
    /// In one request.
    OneShot,
    /// Piece by piece, then a commit.
    Interactive,
    /// Piece by piece, and never heard of again.
    Vanishes,
    /// Piece by piece, then an abort.
    ThinksBetter,
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// When.
    pub at_ms: Ms,
    /// Of which coordinator.
    pub coordinator: usize,
    /// How.
    pub manner: Manner,
    /// What.
    pub steps: Vec<Step>,
    /// Locks it asks for besides, in the order of their places; only where it goes
    /// piece by piece.
    #[serde(default)]
    pub claims: Vec<Claims>,
    /// Operations that only read say so.
    pub marked: bool,
    /// How often it is sent before the client gives up.
    pub tries: u32,
    /// How long the client waits for an answer.
    pub patience_ms: Ms,
    /// Whether an abort that a rerun can help is followed by one.
    pub reruns: bool,
    /// How long after it was told the outcome the client asks again, having
    /// forgotten it; 0: it does not.
    pub repeats_after_ms: Ms,
}

/// When a node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// At once.
    Now,
    /// When it has written so many more records.
    AfterRecords(u32),
    /// When it has sent so many more messages.
    AfterMessages(u32),
}

/// What a death leaves on the disk of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    /// The power was cut: the high-water mark falls back to its last sync.
    pub power_cut: bool,
    /// Pages written since the last sync that reached the disk.
    pub pages: usize,
    /// Values that did.
    pub values: usize,
    /// How much of what was queued before the log was still carried out.
    pub queued: usize,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wrong {
    /// A node dies, and comes back.
    Crash {
        /// Which.
        node: Place,
        /// When exactly.
        moment: Moment,
        /// What is left.
        remains: Remains,
        /// How long it is down.
        down_ms: Ms,
    },
    /// All nodes die at once.
    Blackout {
        /// What is left on each.
        remains: Remains,
        /// How long.
        down_ms: Ms,
    },
    /// A node stops in an orderly way, and comes back.
    Stop {
        /// Which.
        node: Place,
        /// How long it is down.
        down_ms: Ms,
    },
    /// A node stands still, as one that is swapped out.
    Pause {
        /// Which.
        node: Place,
        /// How long.
        for_ms: Ms,
    },
    /// Messages from one node to another are lost.
    Cut {
        /// From which.
        from: Place,
        /// To which.
        to: Place,
        /// The other way as well.
        both: bool,
        /// How long.
        for_ms: Ms,
    },
    /// A node is cut off from all others, clients too.
    Isolate {
        /// Which.
        node: Place,
        /// How long.
        for_ms: Ms,
    },
    /// All connections of a node break, and what is in flight on streams with them.
    Break {
        /// Which.
        node: Place,
    },
    /// The whole network loses and delays more.
    Storm {
        /// Messages lost, of a thousand.
        loss: u64,
        /// Messages doubled, of a thousand.
        double: u64,
        /// Longest delay.
        delay_ms: Ms,
        /// How long.
        for_ms: Ms,
    },
    /// A disk is slow.
    SlowDisk {
        /// Whose.
        node: Place,
        /// What a flush takes.
        flush_ms: Ms,
        /// How long.
        for_ms: Ms,
    },
    /// A write or sync of a disk fails: the node stops, and comes back.
    FailingDisk {
        /// Whose.
        node: Place,
        /// After so many that succeed.
        after: u64,
        /// It is a write of a page, not a sync.
        write: bool,
        /// It was done all the same.
        done: bool,
        /// How long the node is down.
        down_ms: Ms,
    },
    /// A disk is nearly full.
    FullDisk {
        /// Whose.
        node: Place,
        /// How long.
        for_ms: Ms,
    },
    /// The clock of a node jumps ahead.
    ClockJump {
        /// Whose.
        node: Place,
        /// How far.
        by_ms: Ms,
    },
    /// A participant joins that was not there before.
    Join {
        /// Which.
        participant: usize,
    },
    /// A participant is taken out at a coordinator, if nothing is unfinished
    /// there. It comes back by itself.
    Remove {
        /// Which.
        participant: usize,
        /// Where.
        coordinator: usize,
    },
    /// Somebody asks for the abort of an order.
    AskAbort {
        /// Which.
        order: usize,
    },
    /// Somebody asks what became of an order.
    AskOutcome {
        /// Which.
        order: usize,
    },
    /// Somebody sends other operations under the id of an order that has committed.
    Reuse {
        /// Which.
        order: usize,
    },
    /// An operator decides what is in doubt at a participant.
    Resolve {
        /// Where.
        participant: usize,
        /// To commit.
        commit: bool,
    },
    /// An operator has seen to the damage at a participant.
    Acknowledge {
        /// Where.
        participant: usize,
    },
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When.
    pub at_ms: Ms,
    /// What.
    pub what: Wrong,
}

/// A run that is going to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What else is left to chance comes from this.
    pub seed: u64,
    /// The cluster.
    pub shape: Shape,
    /// What clients want, in the order of time.
    pub orders: Vec<Order>,
    /// What goes wrong, in the order of time.
    pub faults: Vec<Fault>,
    /// Orders that are left out, so that the others keep their places.
    #[serde(default)]
    pub left_out: BTreeSet<usize>,
}

/// Fewest orders of a drawn plan.
pub const ORDERS_MIN: u64 = 20;

/// Fewest faults of a drawn plan, where any kind is wished for.
pub const FAULTS_MIN: u64 = 10;

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64, wishes: &Wishes) -> Self {
        let mut chance = Chance::new(seed, Stream::Plan);
        let shape = Shape::draw(&mut chance, wishes);
        let orders = ORDERS_MIN + chance.skewed(30);
        let mut orders: Vec<Order> = (0..orders)
            .map(|_| Order::draw(&mut chance, &shape))
            .collect();
        orders.sort_by_key(|order| order.at_ms);
        let mut faults = Vec::new();
        if !wishes.faults.is_empty() {
            // By hand only in some runs: what must hold is less where it is done.
            let by_hand = chance.one_in(8);
            let kinds: Vec<Kind> = wishes
                .faults
                .iter()
                .copied()
                .filter(|kind| by_hand || *kind != Kind::Operator || wishes.faults.len() == 1)
                .collect();
            for _ in 0..FAULTS_MIN + chance.skewed(20) {
                let at_ms = chance.below(shape.length_ms);
                let what = Wrong::draw(&mut chance, &kinds, &shape, orders.len());
                faults.push(Fault { at_ms, what });
            }
            for participant in shape.participants - shape.late..shape.participants {
                let at_ms = chance.below(shape.length_ms);
                faults.push(Fault {
                    at_ms,
                    what: Wrong::Join { participant },
                });
            }
        }
        faults.sort_by_key(|fault| fault.at_ms);
        let mut plan = Self {
            seed,
            shape,
            orders,
            faults,
            left_out: BTreeSet::new(),
        };
        if wishes.crowded {
            plan.crowd();
        }
        plan
    }

    /// Whether somebody decides by hand, or may lose what was promised: then
    /// outcomes may differ, and are recorded as damage.
    #[must_use]
    pub fn has_operator(&self) -> bool {
        self.faults
            .iter()
            .any(|fault| matches!(fault.what, Wrong::Resolve { .. }))
    }
}

impl Shape {
    /// All nodes, coordinators first.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let coordinators = (0..self.coordinators).map(Place::Coordinator);
        coordinators
            .chain((0..self.participants).map(Place::Participant))
            .collect()
    }
}

impl Order {
    /// What it asks for piece by piece: its work, and locks before, between and
    /// after it.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece<'_>> {
        let mut claims = self.claims.iter().peekable();
        let mut pieces = Vec::new();
        for (at, steps) in self.steps.chunks(PIECE_STEPS).enumerate() {
            while let Some(it) = claims.next_if(|it| it.after <= at) {
                pieces.push(Piece::Locks(&it.locks));
            }
            let first = at * PIECE_STEPS;
            pieces.push(Piece::Work { first, steps });
        }
        pieces.extend(claims.map(|it| Piece::Locks(&it.locks)));
        pieces
    }
}

impl Wrong {
    /// Its name in the coverage table.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Crash { moment, .. } => match moment {
                Moment::Now => "crash",
                Moment::AfterRecords(_) => "crash at a record",
                Moment::AfterMessages(_) => "crash at a message",
            },
            Self::Blackout { .. } => "blackout",
            Self::Stop { .. } => "orderly stop",
            Self::Pause { .. } => "pause",
            Self::Cut { both: true, .. } => "cut both ways",
            Self::Cut { both: false, .. } => "cut one way",
            Self::Isolate { .. } => "isolate",
            Self::Break { .. } => "connections broken",
            Self::Storm { .. } => "storm",
            Self::SlowDisk { .. } => "slow disk",
            Self::FailingDisk { .. } => "failing disk",
            Self::FullDisk { .. } => "full disk",
            Self::ClockJump { .. } => "clock jump",
            Self::Join { .. } => "late participant",
            Self::Remove { .. } => "participant removed",
            Self::AskAbort { .. } => "abort asked for",
            Self::AskOutcome { .. } => "outcome asked for",
            Self::Reuse { .. } => "id used again",
            Self::Resolve { .. } => "resolved by hand",
            Self::Acknowledge { .. } => "damage acknowledged",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_come_before_between_and_after_the_work() {
        let mut order = Plan::draw(1, &Wishes::default()).orders.remove(0);
        let step = |key| Step {
            at: 0,
            key,
            what: What::Read,
        };
        let claim = |key| Claim {
            at: 1,
            key,
            exclusive: true,
        };
        let claims = |after, key| Claims {
            after,
            locks: vec![claim(key)],
        };
        order.steps = (0..5).map(step).collect();
        order.claims = vec![claims(0, 10), claims(1, 11), claims(1, 12), claims(9, 13)];
        let told: Vec<(usize, Vec<u8>)> = order
            .pieces()
            .into_iter()
            .map(|piece| match piece {
                Piece::Work { first, steps } => (first, steps.iter().map(|it| it.key).collect()),
                Piece::Locks(claims) => (99, claims.iter().map(|it| it.key).collect()),
            })
            .collect();
        let locks = |key| (99, vec![key]);
        assert_eq!(
            told,
            [
                locks(10),
                (0, vec![0, 1]),
                locks(11),
                locks(12),
                (2, vec![2, 3]),
                (4, vec![4]),
                locks(13)
            ]
        );
    }
}
