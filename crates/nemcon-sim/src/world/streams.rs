//! Streams: messages that leave many in one frame, and arrive in their order.
//!
//! ```text
//!   asker ── calls that wait ──▶ frame, frame ──▶ node      one connection: what is
//!         ◀── frame, frame ◀── answers that wait ──         late holds up the rest
//! ```
//!
//! As the nodes and the client have them (`Exchange`, `RunTransactions`): a stream is
//! opened when there is something to say, and carries nothing before it stands; what
//! is said meanwhile, or where the other side has none, goes message by message
//! through the [network](super::network). The calls on one that ends have failed, and
//! are made again by whoever made them. The transport hides losses by being late; it
//! breaks where it has been silent for too long, and now and then for no reason.

use std::collections::{BTreeMap, VecDeque};

use nemcon_core::message::Failure;

use super::node::Micros;
use super::packet::{End, Packet, place_words};
use super::{Happening, World};
use crate::chance::{Chance, Stream as Draws};
use crate::plan::{Place, Plan};
use crate::subject::Subject;

/// Pause before a stream is opened anew, after one that has ended or could not be
/// opened.
const REOPEN_AFTER: Micros = 100_000;

/// The same after one of which nothing was heard.
const REOPEN_AFTER_SILENCE: Micros = 11_000_000;

/// How long a call that waits for no lock may take.
const CALL_TIME: Micros = 1_000_000;

/// When the transport first sends again what was not acknowledged; then after twice
/// as long, and so on.
const SENT_AGAIN_AFTER: Micros = 200_000;

/// How often that doubles, at most.
const DOUBLINGS_MAX: u32 = 3;

/// A connection that has been silent for so long is given up.
const GIVEN_UP_AFTER: Micros = 4_000_000;

/// A reader that has no room looks again after this.
const LOOKS_FOR_ROOM: Micros = 10_000;

/// Messages in one frame at most.
const FRAME_MAX: usize = 64;

/// A sender that has other things to do lets what waits for it wait for so long at
/// most, and more comes together.
const PAUSE_MAX: Micros = 20_000;

/// Of so many frames that are lost, one takes the connection with it.
const BREAKS_ONE_IN: u64 = 8;

/// Who asks on a stream, and who answers. `None` asks for all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) asker: End,
    pub(crate) at: Place,
}

/// The call on a stream that an answer is to. It travels by that stream, or not at
/// all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    line: Line,
    stream: u64,
    number: u64,
}

/// Which way along a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Calls,
    Answers,
}

/// What happens to streams.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// One that was to be opened stands, or not.
    Opened(Line, u64),
    /// What waits leaves.
    Leaves(Line, u64, Lane),
    /// A frame may have arrived.
    Arrives(Line, u64, Lane),
    /// A call has taken too long.
    Overdue(Ticket),
}

/// All streams of a world.
pub(super) struct Streams {
    chance: Chance,
    /// Lives of nodes that have streams, of a thousand.
    permille: u64,
    /// Calls without an answer that a stream may have.
    window: usize,
    /// Answers that may wait to leave before nothing more is read.
    unread_max: usize,
    /// Frames that may be on their way.
    frames_max: usize,
    /// How long a message waits for others, at most.
    pause: Micros,
    lines: BTreeMap<Line, Phase>,
    /// Whether a node has streams, in one of its lives.
    able: BTreeMap<(Place, u32), bool>,
    /// Counts those that were begun.
    last: u64,
}

enum Phase {
    /// There is none, and none is opened before then.
    Closed { until: Micros },
    /// It is being opened.
    Opening(u64),
    /// It stands.
    Open(Box<Stream>),
    /// The other side has none.
    Absent,
}

#[derive(Default)]
struct Stream {
    number: u64,
    /// Who waits for which answer.
    pending: BTreeMap<u64, Owed>,
    calls: u64,
    out: Queue,
    back: Queue,
}

/// What becomes of a call when no answer comes.
enum Owed {
    /// A node is told this.
    Call(Box<Packet>),
    /// A client asks again.
    Client { session: usize, serial: u64 },
}

/// One lane of a stream.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Letter>,
    leaving: bool,
    in_flight: VecDeque<Sent>,
    /// When the last that is on its way arrives.
    last_at: Micros,
}

struct Letter {
    number: u64,
    packet: Packet,
}

/// A frame on its way.
struct Sent {
    left_at: Micros,
    at: Micros,
    /// How often it was sent again.
    again: u32,
    letters: Vec<Letter>,
}

impl Streams {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut chance = Chance::new(plan.seed, Draws::Frames);
        let shape = &plan.shape;
        // Small windows only where things go wrong: behind a full one the search for
        // deadlocks is late as well.
        let window = match chance.below(3) {
            0 if !plan.faults.is_empty() => 1 + chance.below(8) as usize,
            _ => 4_096,
        };
        Self {
            permille: shape.streams,
            window,
            unread_max: [1, 8, 4_096][chance.place(3)],
            frames_max: [1, 2, 8][chance.place(3)],
            pause: chance.skewed(PAUSE_MAX),
            chance,
            lines: BTreeMap::new(),
            able: BTreeMap::new(),
            last: 0,
        }
    }

    fn stream(&mut self, line: Line, number: u64) -> Option<&mut Stream> {
        match self.lines.get_mut(&line)? {
            Phase::Open(stream) if stream.number == number => Some(stream),
            Phase::Open(_) | Phase::Closed { .. } | Phase::Opening(_) | Phase::Absent => None,
        }
    }

    fn queue(&mut self, line: Line, number: u64, lane: Lane) -> Option<&mut Queue> {
        self.stream(line, number).map(|it| it.queue(lane))
    }

    /// Whatever was found there before may be another now.
    pub(super) fn look_again(&mut self, line: Line) {
        if let Some(phase) = self.lines.get_mut(&line)
            && matches!(phase, Phase::Absent)
        {
            *phase = Phase::Closed { until: 0 };
        }
    }
}

impl Stream {
    const fn queue(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Calls => &mut self.out,
            Lane::Answers => &mut self.back,
        }
    }
}

impl Queue {
    /// Messages on their way, or about to leave.
    fn letters(&self) -> usize {
        let sent = self.in_flight.iter().map(|sent| sent.letters.len());
        self.waiting.len() + sent.sum::<usize>()
    }
}

impl Line {
    /// From where to where messages of a lane go.
    const fn way(self, lane: Lane) -> (End, End) {
        match lane {
            Lane::Calls => (self.asker, Some(self.at)),
            Lane::Answers => (Some(self.at), self.asker),
        }
    }

    fn words(self) -> String {
        let asker = self.asker.map_or(String::from("clients"), place_words);
        format!("the stream from {asker} to {}", place_words(self.at))
    }
}

impl<S: Subject> World<'_, S> {
    /// Sends a call on its stream, if that stands, and gives it back if it has to be
    /// made by itself. Opens the stream for those that come later.
    pub(super) fn send_on_stream(&mut self, packet: Packet) -> Option<Packet> {
        let Some(line) = packet.line().filter(|_| self.streams.permille > 0) else {
            return Some(packet);
        };
        let now = self.now;
        let phase = self.streams.lines.entry(line);
        let stream = match phase.or_insert(Phase::Closed { until: 0 }) {
            Phase::Open(stream) => stream,
            Phase::Closed { until } if *until <= now => {
                self.open_stream(line);
                return Some(packet);
            }
            Phase::Closed { .. } | Phase::Opening(_) | Phase::Absent => {
                self.coverage
                    .outcome("called one by one for want of a stream");
                return Some(packet);
            }
        };
        let owed = match &packet {
            Packet::Request {
                session, serial, ..
            } => Some(Owed::Client {
                session: *session,
                serial: *serial,
            }),
            other => other
                .failed(Failure::TimedOut)
                .map(|it| Owed::Call(Box::new(it))),
        };
        let Some(owed) = owed else {
            return Some(packet);
        };
        if stream.pending.len().max(stream.out.waiting.len()) >= self.streams.window {
            self.coverage.outcome("window full");
            return match owed {
                Owed::Client { .. } => Some(packet),
                // A call that cannot leave has failed at once.
                Owed::Call(failed) => {
                    self.send(*failed);
                    None
                }
            };
        }
        stream.calls += 1;
        let (number, stream_number) = (stream.calls, stream.number);
        stream.pending.insert(number, owed);
        let ticket = Ticket {
            line,
            stream: stream_number,
            number,
        };
        if let Packet::Frame { frame, .. } = &packet {
            let lock_wait = self.shape.lock_wait_ms * 1_000;
            let waits = frame.message.task().map_or(0, |_| lock_wait);
            let at = now + CALL_TIME + waits;
            self.schedule(at, Happening::Stream(Event::Overdue(ticket)));
        }
        self.post(ticket, Lane::Calls, packet);
        None
    }

    /// Sends an answer the way its question came.
    pub(super) fn send_back(&mut self, ticket: Option<Ticket>, answer: Packet) {
        match ticket {
            Some(ticket) => self.post(ticket, Lane::Answers, answer),
            None => self.send(answer),
        }
    }

    pub(super) fn stream_event(&mut self, event: Event) {
        match event {
            Event::Opened(line, number) => self.opened(line, number),
            Event::Leaves(line, number, lane) => self.frame_leaves(line, number, lane),
            Event::Arrives(line, number, lane) => self.frame_arrives(line, number, lane),
            Event::Overdue(ticket) => {
                let stream = self.streams.stream(ticket.line, ticket.stream);
                let owed = stream.and_then(|it| it.pending.remove(&ticket.number));
                if let Some(owed) = owed {
                    self.coverage.outcome("call on a stream timed out");
                    self.unanswered(owed);
                }
            }
        }
    }

    /// All streams of a node break.
    pub(super) fn break_streams_of(&mut self, place: Place) {
        let lines = self.streams.lines.keys().copied();
        let concerned = lines.filter(|line| line.asker == Some(place) || line.at == place);
        for line in concerned.collect::<Vec<_>>() {
            self.break_stream(line);
        }
    }

    fn open_stream(&mut self, line: Line) {
        self.streams.last += 1;
        let number = self.streams.last;
        self.streams.lines.insert(line, Phase::Opening(number));
        let at = self.now + self.takes() + self.takes();
        self.schedule(at, Happening::Stream(Event::Opened(line, number)));
    }

    fn takes(&mut self) -> Micros {
        1 + self.streams.chance.skewed(self.network.delay)
    }

    /// The headers of a stream have come, or something else instead.
    fn opened(&mut self, line: Line, number: u64) {
        if !matches!(self.streams.lines.get(&line), Some(Phase::Opening(it)) if *it == number) {
            return;
        }
        let silent = [Lane::Calls, Lane::Answers]
            .into_iter()
            .any(|lane| self.network.is_cut(line.way(lane)));
        let phase = if silent {
            let until = self.now + REOPEN_AFTER_SILENCE;
            Phase::Closed { until }
        } else if !self.is_serving(line.at) {
            let until = self.now + REOPEN_AFTER;
            Phase::Closed { until }
        } else if !self.has_streams(line.at) {
            self.coverage.outcome("no stream to be had");
            Phase::Absent
        } else {
            self.coverage.outcome("stream opened");
            self.trace
                .say(self.now, || format!("{} stands", line.words()));
            Phase::Open(Box::new(Stream {
                number,
                ..Stream::default()
            }))
        };
        self.streams.lines.insert(line, phase);
    }

    /// Whether a node takes its calls from streams in this life.
    fn has_streams(&mut self, place: Place) -> bool {
        let life = self.life(place);
        let Streams {
            able,
            chance,
            permille,
            ..
        } = &mut self.streams;
        let able = able.entry((place, life));
        *able.or_insert_with(|| chance.permille(*permille))
    }

    /// Lets a message wait for the next frame; it is lost if its stream has ended.
    fn post(&mut self, ticket: Ticket, lane: Lane, packet: Packet) {
        let Ticket {
            line,
            stream,
            number,
        } = ticket;
        let Some(queue) = self.streams.queue(line, stream, lane) else {
            return self.coverage.outcome("answer without its stream");
        };
        queue.waiting.push_back(Letter { number, packet });
        self.hurry(line, stream, lane);
    }

    /// Sees to it that what waits leaves, if there is room on the way.
    fn hurry(&mut self, line: Line, number: u64, lane: Lane) {
        let frames_max = self.streams.frames_max;
        let Some(queue) = self.streams.queue(line, number, lane) else {
            return;
        };
        let room = queue.in_flight.len() < frames_max;
        if queue.leaving || queue.waiting.is_empty() || !room {
            return;
        }
        queue.leaving = true;
        let at = self.now + 1 + self.streams.chance.below(self.streams.pause);
        self.schedule(at, Happening::Stream(Event::Leaves(line, number, lane)));
    }

    fn frame_leaves(&mut self, line: Line, number: u64, lane: Lane) {
        let mut takes = self.takes();
        if self.streams.chance.permille(self.network.loss) {
            if self.streams.chance.one_in(BREAKS_ONE_IN) {
                return self.break_stream(line);
            }
            self.coverage.fault("frame sent again");
            takes += SENT_AGAIN_AFTER;
        }
        let now = self.now;
        let Some(queue) = self.streams.queue(line, number, lane) else {
            return;
        };
        queue.leaving = false;
        let count = queue.waiting.len().min(FRAME_MAX);
        let letters: Vec<Letter> = queue.waiting.drain(..count).collect();
        let at = (now + takes).max(queue.last_at + 1);
        queue.last_at = at;
        queue.in_flight.push_back(Sent {
            left_at: now,
            at,
            again: 0,
            letters,
        });
        self.coverage.outcome(match count {
            0 | 1 => "frame of one message",
            _ => "frame of several messages",
        });
        self.schedule(at, Happening::Stream(Event::Arrives(line, number, lane)));
        self.hurry(line, number, lane);
    }

    /// Takes in the frames that have arrived, up to the first that has not.
    fn frame_arrives(&mut self, line: Line, number: u64, lane: Lane) {
        loop {
            let (now, is_cut) = (self.now, self.network.is_cut(line.way(lane)));
            let unread_max = self.streams.unread_max;
            let Some(stream) = self.streams.stream(line, number) else {
                return;
            };
            let is_full = lane == Lane::Calls && stream.back.waiting.len() >= unread_max;
            let queue = stream.queue(lane);
            let Some(first) = queue.in_flight.front_mut().filter(|it| it.at <= now) else {
                return;
            };
            if is_cut && now - first.left_at >= GIVEN_UP_AFTER {
                return self.break_stream(line);
            }
            if is_cut || is_full {
                first.at = now
                    + if is_cut {
                        SENT_AGAIN_AFTER << first.again.min(DOUBLINGS_MAX)
                    } else {
                        LOOKS_FOR_ROOM
                    };
                first.again += u32::from(is_cut);
                let at = first.at;
                queue.last_at = queue.last_at.max(at);
                if !is_cut {
                    self.coverage.outcome("reader without room");
                }
                return self.schedule(at, Happening::Stream(Event::Arrives(line, number, lane)));
            }
            let frame = queue.in_flight.pop_front();
            for letter in frame.into_iter().flat_map(|frame| frame.letters) {
                let Some(stream) = self.streams.stream(line, number) else {
                    return;
                };
                let is_awaited = match lane {
                    Lane::Calls => true,
                    Lane::Answers => stream.pending.remove(&letter.number).is_some(),
                };
                self.open_letter(line, number, letter, is_awaited);
            }
            self.read_all(line, lane);
            self.hurry(line, number, lane);
        }
    }

    /// Takes in one message of a frame, if its receiver is there. An answer that
    /// nobody waits for is late, and its call has failed already.
    fn open_letter(&mut self, line: Line, stream: u64, letter: Letter, is_awaited: bool) {
        let Letter { number, packet } = letter;
        if !is_awaited {
            return self.coverage.outcome("answer too late");
        }
        if packet.receiver().is_some_and(|it| !self.is_serving(it)) {
            return;
        }
        let ticket = Ticket {
            line,
            stream,
            number,
        };
        self.take_in(packet, Some(ticket));
    }

    /// Whoever has taken a frame gets a turn, one for all that was in it.
    fn read_all(&mut self, line: Line, lane: Lane) {
        if let (_, Some(place)) = line.way(lane) {
            self.wake(place);
        }
    }

    /// A stream ends, and with it all that is in flight or waits to leave, but for the
    /// first frames, which may just have arrived. Who waits for an answer asks again.
    fn break_stream(&mut self, line: Line) {
        let until = self.now + REOPEN_AFTER;
        let Some(phase) = self.streams.lines.get_mut(&line) else {
            return;
        };
        let Phase::Open(mut stream) = std::mem::replace(phase, Phase::Closed { until }) else {
            return;
        };
        let in_flight = stream.out.letters() + stream.back.letters();
        self.coverage.fault(match in_flight {
            0 => "connection broke",
            _ => "connection broke with messages in flight",
        });
        self.trace.say(self.now, || {
            format!("{} breaks, with {in_flight} messages on it", line.words())
        });
        for lane in [Lane::Calls, Lane::Answers] {
            let Queue {
                waiting, in_flight, ..
            } = std::mem::take(stream.queue(lane));
            let sent = in_flight.into_iter().map(|sent| sent.letters);
            let mut frames: Vec<Vec<Letter>> = sent.collect();
            frames.push(waiting.into());
            if self.network.is_cut(line.way(lane)) {
                continue;
            }
            let arrived = self.streams.chance.place(frames.len() + 1);
            for letter in frames.into_iter().take(arrived).flatten() {
                let is_awaited = match lane {
                    Lane::Calls => true,
                    Lane::Answers => stream.pending.remove(&letter.number).is_some(),
                };
                self.open_letter(line, stream.number, letter, is_awaited);
            }
            self.read_all(line, lane);
        }
        for (_, owed) in std::mem::take(&mut stream.pending) {
            self.unanswered(owed);
        }
    }

    fn unanswered(&mut self, owed: Owed) {
        match owed {
            Owed::Call(failed) => self.send(*failed),
            Owed::Client { session, serial } => {
                let at = self.now + 1;
                self.schedule(at, Happening::Patience { session, serial });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nemcon_core::id::{AttemptId, Boot, Epoch, Position, Sequence};
    use nemcon_core::message::{FailWait, Frame, Header, ToParticipant};
    use nemcon_core::planted::Planted;

    use super::super::border::{identity, participant_id};
    use super::super::network::Cut;
    use super::*;
    use crate::coverage::Coverage;
    use crate::plan::Wishes;
    use crate::subject::Lists;

    const LINE: Line = Line {
        asker: Some(Place::Coordinator(0)),
        at: Place::Participant(0),
    };

    /// A quiet cluster in which everything has streams.
    fn plan() -> Plan {
        let wishes = Wishes {
            participants: Some(2),
            coordinators: Some(1),
            faults: Vec::new(),
            ..Wishes::default()
        };
        let mut plan = Plan::draw(1, &wishes);
        plan.shape.streams = 1_000;
        plan
    }

    /// The world of that plan, in which everybody knows everybody and the stream of
    /// [`LINE`] stands.
    fn world(plan: &Plan) -> World<'_, Lists> {
        let mut world = World::new(plan, Planted::none(), u64::MAX);
        for place in plan.shape.places() {
            world.start(place);
        }
        world.run_until(1_000_000);
        world.send(call(0));
        world.run_until(2_000_000);
        assert!(matches!(
            world.streams.lines.get(&LINE),
            Some(Phase::Open(_))
        ));
        world
    }

    /// A call that changes nothing: whoever is to give way waits for nothing.
    fn call(number: u64) -> Packet {
        let position = Position {
            epoch: Epoch(1),
            sequence: Sequence(number),
        };
        let victim = AttemptId {
            coordinator: identity(0),
            position,
        };
        let header = Header {
            coordinator: identity(0),
            participant: participant_id(0),
            epoch: Epoch(1),
            floor: Position {
                epoch: Epoch(1),
                sequence: Sequence(1),
            },
        };
        let message = ToParticipant::FailWait(FailWait {
            victim,
            boot: Boot(1),
            wait: 0,
            cycle: Vec::new(),
        });
        Packet::Frame {
            from: 0,
            life: 1,
            to: 0,
            frame: Frame { header, message },
        }
    }

    /// The lines of the story that hold all these words.
    fn told(world: World<'_, Lists>, words: &[&str]) -> Vec<String> {
        let story = world.trace.into_story().into_iter();
        let has_all = |line: &String| words.iter().all(|word| line.contains(word));
        story.filter(has_all).collect()
    }

    /// How often something was seen.
    fn seen(world: &World<'_, Lists>, what: &str) -> u64 {
        let Coverage {
            outcomes, faults, ..
        } = &world.coverage;
        let count = outcomes.get(what).or_else(|| faults.get(what));
        count.copied().unwrap_or(0)
    }

    #[test]
    fn what_is_sent_leaves_in_frames_and_arrives_in_its_order() {
        let plan = plan();
        let mut world = world(&plan);
        for number in 1..=200 {
            world.send(call(number));
        }
        world.run_until(3_000_000);
        assert!(seen(&world, "frame of several messages") > 2);
        let heard = told(world, &["c0 \u{2192} p0", "gives way"]);
        assert_eq!(heard.len(), 201);
        for (number, line) in heard.iter().enumerate() {
            assert!(line.contains(&format!("1.{number} gives way")), "{line}");
        }
    }

    #[test]
    fn a_stream_that_breaks_leaves_no_call_without_an_end_and_none_with_two() {
        let plan = plan();
        for after in [0, 50, 200, 400, 800] {
            let mut world = world(&plan);
            for number in 1..=100 {
                world.send(call(number));
            }
            world.run_until(2_000_000 + after);
            world.break_streams_of(Place::Participant(0));
            // What comes now goes by itself.
            world.send(call(101));
            world.run_until(5_000_000);
            let broke = [
                "connection broke",
                "connection broke with messages in flight",
            ];
            let broke: u64 = broke.iter().map(|what| seen(&world, what)).sum();
            assert_eq!(broke, 1);
            let ends = told(world, &["p0"]).into_iter().filter(|line| {
                line.contains("c0 hears that p0 TimedOut") || line.contains("WaitFailed")
            });
            assert_eq!(ends.count(), 102, "broken after {after} us");
        }
    }

    #[test]
    fn a_cut_holds_frames_up_and_one_that_lasts_breaks_the_stream() {
        let plan = plan();
        let cut = Cut {
            from: Some(LINE.asker),
            to: Some(Some(LINE.at)),
            number: 0,
        };
        for (lasts, breaks) in [(2_000_000, 0), (9_000_000, 1)] {
            let mut world = world(&plan);
            world.network.cuts.push(cut);
            world.send(call(1));
            world.run_until(2_000_000 + lasts);
            world.network.cuts.clear();
            world.run_until(2_000_000 + lasts + 2_000_000);
            let broke = seen(&world, "connection broke with messages in flight");
            assert_eq!(broke, breaks, "cut for {lasts} us");
            let arrived = told(world, &["c0 \u{2192} p0", "1.1 gives way"]).len();
            assert_eq!(arrived as u64, 1 - breaks, "cut for {lasts} us");
        }
    }
}
