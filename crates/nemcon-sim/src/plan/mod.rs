//! What a run is going to be: the cluster, what clients want, what goes wrong.
//!
//! A plan is drawn from a seed and is plain data, so that a failing one can be
//! made smaller and kept. What is left to chance while it runs (delays, how long
//! a disk takes) comes from the seed too.

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
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            participants: None,
            coordinators: None,
            faults: Kind::ALL.to_vec(),
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
        Self {
            seed,
            shape,
            orders,
            faults,
            left_out: BTreeSet::new(),
        }
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
    fn draw(chance: &mut Chance, wishes: &Wishes) -> Self {
        let participants = wishes
            .participants
            .unwrap_or_else(|| 2 + chance.skewed(3) as usize);
        let coordinators = wishes
            .coordinators
            .unwrap_or_else(|| 1 + usize::from(chance.one_in(3)));
        let network = wishes.faults.contains(&Kind::Network);
        let clock = wishes.faults.contains(&Kind::Clock);
        let members = wishes.faults.contains(&Kind::Members);
        let late = usize::from(members && participants > 2 && chance.one_in(4));
        let remember_max = match chance.below(4) {
            0 => chance.between(1, 5) as usize,
            _ => 1_000,
        };
        Self {
            data: if chance.one_in(2) {
                Data::Bank
            } else {
                Data::Lists
            },
            coordinators,
            participants,
            late,
            keys: chance.between(1, 4) as u8,
            length_ms: chance.between(3_000, 20_000),
            delay_ms: 1 + chance.skewed(60),
            loss: if network { chance.skewed(60) } else { 0 },
            double: if network { chance.skewed(60) } else { 0 },
            remember_max,
            timeout_ms: [1_000, 3_000, 10_000][chance.place(3)],
            lock_wait_ms: [200, 1_000, 5_000][chance.place(3)],
            page_bytes: [128, 512, 7 << 10][chance.place(3)],
            checkpoint_records: [8, 40, 1_000][chance.place(3)],
            clock_skew_ms: if clock {
                [50, 5_000, 120_000][chance.place(3)]
            } else {
                0
            },
        }
    }

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
    fn draw(chance: &mut Chance, shape: &Shape) -> Self {
        let manner = match chance.below(20) {
            0..15 => Manner::OneShot,
            15..18 => Manner::Interactive,
            18 => Manner::Vanishes,
            _ => Manner::ThinksBetter,
        };
        let (mut steps, marked) = match shape.data {
            Data::Bank => bank_steps(chance, shape),
            Data::Lists => list_steps(chance, shape),
        };
        steps.truncate(24);
        Self {
            at_ms: chance.below(shape.length_ms),
            coordinator: chance.place(shape.coordinators),
            manner,
            steps,
            marked,
            tries: chance.between(1, 4) as u32,
            patience_ms: chance.between(200, 4_000),
            reruns: chance.one_in(3),
            repeats_after_ms: match chance.below(3) {
                0 => 1 + chance.spread(5_000),
                _ => 0,
            },
        }
    }
}

fn bank_steps(chance: &mut Chance, shape: &Shape) -> (Vec<Step>, bool) {
    let at = |chance: &mut Chance| {
        (
            chance.place(shape.participants),
            chance.below(u64::from(shape.keys)) as u8,
        )
    };
    match chance.below(10) {
        // All books in one transaction that only reads.
        0 => {
            let all = (0..shape.participants).map(|at| Step {
                at,
                key: 0,
                what: What::ReadAll,
            });
            (all.collect(), true)
        }
        1 => {
            let (at, key) = at(chance);
            let what = What::Read;
            (vec![Step { at, key, what }], chance.one_in(2))
        }
        kind => {
            let (from, from_key) = at(chance);
            let (mut to, to_key) = at(chance);
            if kind == 2 {
                to = from;
            }
            // Sometimes more than there is.
            let amount = 1 + chance.skewed(150) as u32;
            let mut steps = vec![
                Step {
                    at: from,
                    key: from_key,
                    what: What::Take(amount),
                },
                Step {
                    at: to,
                    key: to_key,
                    what: What::Put(amount),
                },
            ];
            if kind == 3 {
                let (at, key) = at(chance);
                let what = What::Read;
                steps.push(Step { at, key, what });
            }
            (steps, chance.one_in(2))
        }
    }
}

fn list_steps(chance: &mut Chance, shape: &Shape) -> (Vec<Step>, bool) {
    let reads_only = chance.one_in(5);
    let count = chance.between(1, 5);
    let steps = (0..count).map(|_| Step {
        at: chance.place(shape.participants),
        key: chance.below(u64::from(shape.keys)) as u8,
        what: if reads_only || chance.one_in(2) {
            What::Read
        } else {
            What::Append
        },
    });
    (steps.collect(), chance.one_in(2))
}

impl Remains {
    fn draw(chance: &mut Chance) -> Self {
        let some = |chance: &mut Chance| match chance.below(3) {
            0 => 0,
            1 => chance.skewed(8) as usize,
            _ => usize::MAX,
        };
        Self {
            power_cut: chance.one_in(2),
            pages: some(chance),
            values: some(chance),
            queued: some(chance),
        }
    }
}

impl Wrong {
    fn draw(chance: &mut Chance, kinds: &[Kind], shape: &Shape, orders: usize) -> Self {
        let places = shape.places();
        let node = places[chance.place(places.len())];
        let participant = chance.place(shape.participants);
        let for_ms = 100 + chance.spread(8_000);
        let down_ms = 20 + chance.spread(6_000);
        match kinds.get(chance.place(kinds.len())) {
            Some(Kind::Crash) | None => Self::draw_crash(chance, node, down_ms),
            Some(Kind::Network) => Self::draw_network(chance, &places, node, for_ms),
            Some(Kind::Disk) => Self::draw_disk(chance, node, for_ms, down_ms),
            Some(Kind::Clock) => match chance.below(3) {
                0 => Self::ClockJump {
                    node,
                    by_ms: chance.spread(60_000),
                },
                _ => Self::Pause { node, for_ms },
            },
            Some(Kind::Members) => match chance.below(6) {
                0 => Self::Crash {
                    node: Place::Participant(participant),
                    moment: Moment::Now,
                    remains: Remains::draw(chance),
                    // Longer than any deadline or lease.
                    down_ms: 20_000 + chance.spread(60_000),
                },
                1 => Self::Remove {
                    participant,
                    coordinator: chance.place(shape.coordinators),
                },
                2 => Self::AskAbort {
                    order: chance.place(orders),
                },
                3 => Self::AskOutcome {
                    order: chance.place(orders),
                },
                4 => Self::Reuse {
                    order: chance.place(orders),
                },
                _ => Self::Stop { node, down_ms },
            },
            Some(Kind::Operator) => match chance.below(4) {
                0 => Self::Acknowledge { participant },
                _ => Self::Resolve {
                    participant,
                    commit: chance.one_in(2),
                },
            },
        }
    }

    fn draw_crash(chance: &mut Chance, node: Place, down_ms: Ms) -> Self {
        let remains = Remains::draw(chance);
        if chance.one_in(12) {
            return Self::Blackout { remains, down_ms };
        }
        let moment = match chance.below(3) {
            0 => Moment::Now,
            1 => Moment::AfterRecords(chance.skewed(12) as u32),
            _ => Moment::AfterMessages(chance.skewed(12) as u32),
        };
        Self::Crash {
            node,
            moment,
            remains,
            down_ms,
        }
    }

    fn draw_network(chance: &mut Chance, places: &[Place], node: Place, for_ms: Ms) -> Self {
        match chance.below(4) {
            0 => Self::Isolate { node, for_ms },
            1 => Self::Storm {
                loss: chance.spread(700),
                double: chance.skewed(300),
                delay_ms: 1 + chance.spread(2_000),
                for_ms,
            },
            _ => Self::Cut {
                from: node,
                to: places[chance.place(places.len())],
                both: chance.one_in(2),
                for_ms,
            },
        }
    }

    fn draw_disk(chance: &mut Chance, node: Place, for_ms: Ms, down_ms: Ms) -> Self {
        match chance.below(3) {
            0 => Self::SlowDisk {
                node,
                flush_ms: 1 + chance.spread(500),
                for_ms,
            },
            1 => Self::FailingDisk {
                node,
                after: chance.skewed(10),
                write: chance.one_in(3),
                done: chance.one_in(2),
                down_ms,
            },
            _ => Self::FullDisk { node, for_ms },
        }
    }

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
