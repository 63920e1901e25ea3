//! Draws what a run is going to be.

use super::{
    Claim, Claims, Data, Kind, Manner, Moment, Ms, Order, PIECE_STEPS, Place, Plan, Remains, Shape,
    Step, What, Wishes, Wrong,
};
use crate::chance::{Chance, Stream};

/// Keys of each participant where it is crowded.
const CROWDED_KEYS: u8 = 4;

/// How long a crowd comes.
const CROWDED_MS: Ms = 3_000;

impl Plan {
    /// Lets everybody want several of few lists in a short time, over a slow network.
    pub(super) fn crowd(&mut self) {
        let mut chance = Chance::new(self.seed, Stream::Crowd);
        let shape = &mut self.shape;
        (shape.data, shape.keys) = (Data::Lists, CROWDED_KEYS);
        (shape.length_ms, shape.delay_ms) = (CROWDED_MS, 60);
        shape.timeout_ms = 10_000;
        shape.lock_wait_ms = [200, 1_000][chance.place(2)];
        let participants = shape.participants;
        let more = self.orders.clone();
        self.orders.extend(more);
        for order in &mut self.orders {
            order.at_ms = chance.below(CROWDED_MS);
            order.steps = (0..chance.between(3, 6))
                .map(|_| Step {
                    at: chance.place(participants),
                    key: chance.below(u64::from(CROWDED_KEYS)) as u8,
                    what: What::Append,
                })
                .collect();
            order.claims.clear();
            order.reruns = true;
        }
        self.orders.sort_by_key(|order| order.at_ms);
        for fault in &mut self.faults {
            fault.at_ms = fault.at_ms.min(CROWDED_MS);
        }
    }
}

impl Shape {
    pub(super) fn draw(chance: &mut Chance, wishes: &Wishes) -> Self {
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
            streams: [0, 500, 1_000][chance.place(3)],
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
}

impl Order {
    pub(super) fn draw(chance: &mut Chance, shape: &Shape) -> Self {
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
        let claims = match manner {
            Manner::OneShot => Vec::new(),
            Manner::Interactive | Manner::Vanishes | Manner::ThinksBetter => {
                claims(chance, shape, &steps)
            }
        };
        Self {
            at_ms: chance.below(shape.length_ms),
            coordinator: chance.place(shape.coordinators),
            manner,
            steps,
            claims,
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

/// Locks that are asked for by name, in half of the orders that can: some of what
/// the order touches, before or after, some of what it does not touch at all.
fn claims(chance: &mut Chance, shape: &Shape, steps: &[Step]) -> Vec<Claims> {
    if chance.one_in(2) {
        return Vec::new();
    }
    let pieces = steps.len().div_ceil(PIECE_STEPS);
    let claim = |chance: &mut Chance| {
        let (at, key) = match steps.get(chance.place(2 * steps.len())) {
            Some(step) => (step.at, step.key),
            None => (
                chance.place(shape.participants),
                chance.below(u64::from(shape.keys)) as u8,
            ),
        };
        let exclusive = chance.one_in(2);
        Claim { at, key, exclusive }
    };
    let mut all: Vec<Claims> = (0..chance.between(1, 2))
        .map(|_| Claims {
            after: chance.place(pieces + 1),
            locks: (0..chance.between(1, 4)).map(|_| claim(chance)).collect(),
        })
        .collect();
    all.sort_by_key(|claims| claims.after);
    all
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
    pub(super) fn draw(chance: &mut Chance, kinds: &[Kind], shape: &Shape, orders: usize) -> Self {
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
        match chance.below(5) {
            0 => Self::Isolate { node, for_ms },
            2 => Self::Break { node },
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
}
