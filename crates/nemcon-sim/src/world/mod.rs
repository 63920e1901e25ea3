//! A cluster in which everything goes wrong, in one place and in one thread.
//!
//! ```text
//!   clients ──┐                                ┌── machine (core)
//!   operator ─┼──▶ happenings, by time ──▶ node ┼── parking (core)
//!   faults ───┘      ▲            │            └── log (wal, in memory)
//!                    └── network ◀┘ effects
//! ```
//!
//! Everything that happens is in one queue, in the order of simulated time; what
//! falls on the same microsecond is ordered by chance. All chance comes from the
//! plan's seed, so a run repeats bit for bit.

pub(crate) mod border;
mod clients;
mod clock;
mod coordinators;
mod facts;
mod faults;
mod network;
mod node;
pub(crate) mod observe;
mod packet;
mod participants;
mod phases;
mod streams;
mod trace;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use nemcon_core::coordinator::{self, Coordinator};
use nemcon_core::id::{RequestId, TransactionId};
use nemcon_core::participant::{self, Participant};
use nemcon_core::planted::Planted;
use nemcon_core::time::Span;
use nemcon_wal::OpenError;
use nemcon_wal::checkpoint::{Due, Pieces};

use self::border::{address, identity, name, participant_id};
use self::node::{Make, Micros, Node};
use self::packet::{Packet, Waiting};
use self::trace::Trace;
use crate::chance::{Chance, Stream};
use crate::checkers::{Failure, deadlocks};
use crate::coverage::Coverage;
use crate::history::Moment;
use crate::plan::{Order, Place, Plan, Shape};
use crate::subject::Subject;

#[cfg(test)]
pub(crate) use clients::session_told;
pub(crate) use clients::{Session, Told, value_of};
pub(crate) use facts::{Facts, Locks};
pub use observe::Row;
pub(crate) use phases::FINISHES_WITHIN;

/// The length of a turn at most after something has come in: what comes meanwhile
/// shares it.
const TURN_MAX: Micros = 300;

/// A flush of a healthy disk, at most.
const FLUSH_MAX: Micros = 400;

/// What can happen in the world.
#[derive(Debug)]
enum Happening {
    /// A message arrives.
    Arrival(Box<Packet>),
    /// Something about messages that travel in frames.
    Stream(streams::Event),
    /// A node's driver takes a turn, in the life it had then.
    Turn(Place, u32),
    /// A node's disk does what is queued.
    Disk(Place, u32),
    /// A node that is down starts.
    Start(Place),
    /// A participant tries to make itself known.
    Registration {
        participant: usize,
        life: u32,
        coordinator: usize,
    },
    /// A client begins with an order.
    Order(usize),
    /// A client has waited long enough.
    Patience { session: usize, serial: u64 },
    /// A client runs an order again that was aborted.
    Rerun { order: usize, age: TransactionId },
    /// A client asks again, although it was told.
    Repeat(usize),
    /// A fault of the plan.
    Fault(usize),
    /// The end of a fault that lasts.
    Mended(faults::Mend),
    /// Somebody looks whether all invariants hold.
    Look,
}

/// A happening and its time.
struct Scheduled {
    at: Micros,
    /// Who is first at the same time.
    tie: u64,
    what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    /// The earliest is the greatest, as the heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.tie).cmp(&(self.at, self.tie))
    }
}

/// The world of one run.
pub(crate) struct World<'a, S: Subject> {
    pub(crate) plan: &'a Plan,
    planted: Planted,
    pub(crate) shape: &'a Shape,
    now: Micros,
    queue: BinaryHeap<Scheduled>,
    scheduled: u64,
    pub(crate) coordinators: Vec<Node<Coordinator>>,
    pub(crate) participants: Vec<Node<Participant<S>>>,
    network: network::Network,
    streams: streams::Streams,
    waiting: BTreeMap<(Place, RequestId), Waiting>,
    /// Participants, their lives, and the coordinators that know them in these.
    registrations: BTreeSet<(usize, u32, usize)>,
    requests: u64,
    serials: u64,
    pub(crate) orders: Vec<Order>,
    pub(crate) sessions: Vec<Session>,
    actions: Vec<S::Action>,
    action_places: BTreeMap<(usize, usize), usize>,
    /// Why sessions were refused at last.
    pub(crate) refusals: BTreeMap<usize, String>,
    pub(crate) facts: Facts,
    deadlocks: deadlocks::Watch,
    /// Since when nothing goes wrong; `None` while something may.
    calm_since: Option<Micros>,
    pub(crate) coverage: Coverage,
    trace: Trace,
    /// All faults are over.
    healing: bool,
    /// Counts what clients did and heard.
    moments: u64,
    failure: Option<Failure>,
    disks: Chance,
    ties: Chance,
    clients: Chance,
    nodes: Chance,
}

/// What a run has come to.
#[derive(Debug)]
pub struct Run {
    /// What did not hold, if anything.
    pub failure: Option<Failure>,
    /// Stands for the whole event log.
    pub hash: u64,
    /// How much happened.
    pub events: u64,
    /// Simulated time, in milliseconds.
    pub simulated_ms: u64,
    /// What was reached.
    pub coverage: Coverage,
    /// The story in words, if it was asked for.
    pub story: Vec<String>,
}

impl<'a, S: Subject> World<'a, S> {
    /// A world that has not begun. `story_until`: tells its story up to so many
    /// events.
    pub(crate) fn new(plan: &'a Plan, planted: Planted, story_until: u64) -> Self {
        let shape = &plan.shape;
        let mut disks = Chance::new(plan.seed, Stream::Disk);
        let mut make = || Make {
            page_bytes: shape.page_bytes,
            due: Due {
                records: shape.checkpoint_records,
                bytes: 64 << 20,
            },
            pieces: Pieces {
                records: disks.between(1, 20) as usize,
                values: disks.between(1, 20) as usize,
            },
        };
        Self {
            coordinators: (0..shape.coordinators).map(|_| Node::new(make())).collect(),
            participants: (0..shape.participants).map(|_| Node::new(make())).collect(),
            plan,
            planted,
            shape,
            now: 0,
            queue: BinaryHeap::new(),
            scheduled: 0,
            network: network::Network::new(plan),
            streams: streams::Streams::new(plan),
            waiting: BTreeMap::new(),
            registrations: BTreeSet::new(),
            requests: 0,
            serials: 0,
            orders: plan.orders.clone(),
            sessions: Vec::new(),
            actions: Vec::new(),
            action_places: BTreeMap::new(),
            refusals: BTreeMap::new(),
            facts: Facts::new(shape.participants),
            deadlocks: deadlocks::Watch::default(),
            calm_since: (plan.faults.is_empty() && shape.loss == 0).then_some(0),
            coverage: Coverage::default(),
            trace: Trace::new(story_until),
            healing: false,
            moments: 0,
            failure: None,
            disks,
            ties: Chance::new(plan.seed, Stream::Order),
            clients: Chance::new(plan.seed, Stream::Clients),
            nodes: Chance::new(plan.seed, Stream::Nodes),
        }
    }

    fn schedule(&mut self, at: Micros, what: Happening) {
        self.scheduled += 1;
        // Chance first, then the order in which it was scheduled.
        let tie = self.ties.number() << 32 | self.scheduled & 0xffff_ffff;
        self.queue.push(Scheduled { at, tie, what });
    }

    /// Lets the world go on until then, or until something does not hold.
    fn run_until(&mut self, end: Micros) {
        while self.failure.is_none()
            && let Some(next) = self.queue.peek()
            && next.at <= end
            && let Some(next) = self.queue.pop()
        {
            self.now = self.now.max(next.at);
            self.happen(next.what);
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Arrival(packet) => self.arrive(*packet),
            Happening::Stream(event) => self.stream_event(event),
            Happening::Turn(place, life) => self.turn(place, life),
            Happening::Disk(place, life) => self.disk(place, life),
            Happening::Start(place) => self.start(place),
            Happening::Registration {
                participant,
                life,
                coordinator,
            } => self.register(participant, life, coordinator),
            Happening::Order(order) => {
                self.trace.event(self.now, 5, order as u64);
                self.open_session(order, None);
            }
            Happening::Patience { session, serial } => self.patience_over(session, serial),
            Happening::Rerun { order, age } => {
                self.trace.event(self.now, 6, order as u64);
                self.open_session(order, Some(age));
            }
            Happening::Repeat(session) => self.come_back(session),
            Happening::Fault(fault) => self.go_wrong(fault),
            Happening::Mended(mend) => self.mend(mend),
            Happening::Look => {
                self.look();
                if !self.healing {
                    self.schedule(self.now + LOOK_EVERY, Happening::Look);
                }
            }
        }
    }

    /// Now, as histories have it.
    pub(crate) const fn moment(&self) -> Moment {
        Moment {
            at_ms: self.now / 1_000,
            number: self.moments + 1,
        }
    }

    /// The moment that follows.
    pub(crate) const fn moment_after(&self, moment: Moment) -> Moment {
        Moment {
            at_ms: moment.at_ms,
            number: moment.number + 1,
        }
    }

    fn next_moment(&mut self) -> Moment {
        self.moments += 1;
        self.moment()
    }

    fn life(&self, place: Place) -> u32 {
        match place {
            Place::Coordinator(at) => self.coordinators[at].life,
            Place::Participant(at) => self.participants[at].life,
        }
    }

    pub(crate) fn is_serving(&self, place: Place) -> bool {
        match place {
            Place::Coordinator(at) => self.coordinators.get(at).is_some_and(Node::is_serving),
            Place::Participant(at) => self.participants.get(at).is_some_and(Node::is_serving),
        }
    }

    fn is_up(&self, place: Place) -> bool {
        match place {
            Place::Coordinator(at) => self.coordinators[at].up.is_some(),
            Place::Participant(at) => self.participants[at].up.is_some(),
        }
    }

    /// A node that is down starts, unless it is to be down for longer.
    fn start(&mut self, place: Place) {
        if self.is_up(place) {
            return;
        }
        self.trace.event(self.now, 1, place_code(place));
        self.trace.say(self.now, || {
            format!("{} starts", packet::place_words(place))
        });
        let (seed, skew) = (self.nodes.number(), self.shape.clock_skew_ms);
        let ahead_ms = self.nodes.between(0, 2 * skew) as i64 - skew as i64;
        let started = match place {
            Place::Coordinator(at) => {
                let machine = self.coordinator(at, seed);
                let node = &mut self.coordinators[at];
                if node.down_until > self.now {
                    return;
                }
                node.clock.set(ahead_ms);
                let turn = node.start(self.now, machine);
                turn.map(|turn| self.coordinator_turned(at, turn))
            }
            Place::Participant(at) => {
                let machine = self.participant(at, seed);
                let node = &mut self.participants[at];
                if node.down_until > self.now {
                    return;
                }
                node.clock.set(ahead_ms);
                let turn = node.start(self.now, machine);
                turn.map(|turn| self.participant_turned(at, turn))
            }
        };
        if let Err(error) = started {
            self.refused_to_start(place, &error);
        }
        self.wake(place);
    }

    /// No fault of ours damages what was durable, so every node must start.
    fn refused_to_start(&mut self, place: Place, error: &OpenError) {
        let story = format!("{} does not start: {error}", packet::place_words(place));
        self.fail(Failure::new("log (what was durable is read back)", story));
    }

    fn fail(&mut self, failure: Failure) {
        self.trace.say(self.now, || format!("FAILED {failure}"));
        self.failure.get_or_insert(failure);
    }

    fn coordinator(&self, at: usize, seed: u64) -> Coordinator {
        let place = Place::Coordinator(at);
        let mut settings = coordinator::Settings::new(address(place), identity(at), seed);
        settings.remember_max = self.shape.remember_max;
        settings.results_max = self.shape.remember_max.div_ceil(2);
        settings.lock_wait = Span(self.shape.lock_wait_ms);
        settings.planted = self.planted;
        Coordinator::new(settings)
    }

    fn participant(&self, at: usize, seed: u64) -> Participant<S> {
        let mut settings = participant::Settings::new(name(at), participant_id(at), seed);
        settings.remember_max = self.shape.remember_max;
        // So that the floor in the log lags behind the one that was seen.
        settings.forget_batch = 1 + at % 3 * 2;
        settings.planted = self.planted;
        Participant::new(settings, S::empty())
    }

    /// A node's driver takes a turn.
    fn turn(&mut self, place: Place, life: u32) {
        if self.life(place) != life {
            return;
        }
        match place {
            Place::Coordinator(at) => {
                let node = &mut self.coordinators[at];
                if !node.takes_its_turn(self.now) {
                    return self.wake(place);
                }
                let turn = node.turn(self.now);
                self.coordinator_turned(at, turn);
            }
            Place::Participant(at) => {
                let node = &mut self.participants[at];
                if !node.takes_its_turn(self.now) {
                    return self.wake(place);
                }
                let turn = node.turn(self.now);
                self.participant_turned(at, turn);
            }
        }
        self.wake(place);
    }

    fn disk(&mut self, place: Place, life: u32) {
        if self.life(place) != life {
            return;
        }
        match place {
            Place::Coordinator(at) => self.coordinators[at].disk(self.now),
            Place::Participant(at) => self.participants[at].disk(self.now),
        }
        self.wake(place);
    }

    /// Sees to it that a node gets its next turn, and its disk too.
    fn wake(&mut self, place: Place) {
        let (turn_at, disk_at, life);
        let jitter = self.disks.below(FLUSH_MAX);
        let turn_takes = self.ties.below(TURN_MAX);
        match place {
            Place::Coordinator(at) => {
                (turn_at, disk_at) = wake(&mut self.coordinators[at], self.now, turn_takes, jitter);
                life = self.coordinators[at].life;
            }
            Place::Participant(at) => {
                (turn_at, disk_at) = wake(&mut self.participants[at], self.now, turn_takes, jitter);
                life = self.participants[at].life;
            }
        }
        if let Some(at) = turn_at {
            self.schedule(at, Happening::Turn(place, life));
        }
        if let Some(at) = disk_at {
            self.schedule(at, Happening::Disk(place, life));
        }
    }

    fn request(&mut self, at: Place, waiting: Waiting) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.waiting.insert((at, request), waiting);
        request
    }

    /// Whoever waits for a node that has died hears of it, or not.
    fn forget_requests(&mut self, place: Place) {
        let gone: Vec<_> = self
            .waiting
            .range((place, RequestId(0))..=(place, RequestId(u64::MAX)))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.waiting.remove(&key);
        }
    }
}

/// When a node wants a turn, and its disk, that are not scheduled yet.
fn wake<M: observe::Observed>(
    node: &mut Node<M>,
    now: Micros,
    turn_takes: Micros,
    jitter: Micros,
) -> (Option<Micros>, Option<Micros>) {
    let deadline = node.next_deadline(now);
    let has_work = node.disk_has_work();
    let (flush_takes, paused_until) = (node.flush_takes, node.paused_until);
    let Some(up) = &mut node.up else {
        return (None, None);
    };
    let wanted = deadline.map(|at| if at <= now { now + turn_takes } else { at });
    let wanted = wanted.map(|at| at.max(paused_until));
    let turn_at = wanted.filter(|at| up.turn_at.is_none_or(|set| *at < set));
    if let Some(at) = turn_at {
        up.turn_at = Some(at);
    }
    let disk_at = (has_work && up.disk_at.is_none()).then(|| now + 1 + jitter + flush_takes);
    if let Some(at) = disk_at {
        up.disk_at = Some(at);
    }
    (turn_at, disk_at)
}

/// What is not numbered, for it goes without saying.
const ANSWERS: &str = "answers (everyone gets one that fits)";

/// How often all invariants are looked at.
const LOOK_EVERY: Micros = 250_000;

pub(crate) const fn place_code(place: Place) -> u64 {
    match place {
        Place::Coordinator(at) => at as u64,
        Place::Participant(at) => 0x100 + at as u64,
    }
}
