//! Faults of the plan, as they come and as they end.

use nemcon_core::coordinator::event::Event as CoordinatorEvent;
use nemcon_core::message::Outcome;
use nemcon_core::participant::event::Event as ParticipantEvent;
use nemcon_core::participant::view::Standing;

use super::border::{coordinator_of, name};
use super::clients::{REUSE, Told};
use super::network::Cut;
use super::node::{Death, Micros};
use super::packet::{Ask, Waiting, place_words};
use super::{Happening, World, place_code};
use crate::plan::{Moment, Ms, Place, Remains, Wrong};
use crate::subject::Subject;

/// How long an orderly stop may take before it is a death.
const STOP_MAX: Micros = 5_000_000;

/// Turns that a node takes after it was told to stop: what is made durable may make
/// it write once more.
const LAST_TURNS: usize = 3;

/// The end of a fault that lasts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mend {
    Cut(usize),
    Storm,
    SlowDisk(Place),
    FullDisk(Place),
    /// A node that was to stop has not.
    Stop(Place, u32),
}

const fn micros(ms: Ms) -> Micros {
    ms * 1_000
}

impl<S: Subject> World<'_, S> {
    /// A fault of the plan comes.
    pub(super) fn go_wrong(&mut self, fault: usize) {
        if self.healing {
            return;
        }
        let what = self.plan.faults[fault].what;
        self.trace.event(self.now, 7, fault as u64);
        self.trace.say(self.now, || format!("FAULT {what:?}"));
        self.coverage.fault(what.name());
        match what {
            Wrong::Crash {
                node,
                moment,
                remains,
                down_ms,
            } => self.crash(node, moment, remains, micros(down_ms)),
            Wrong::Blackout { remains, down_ms } => {
                for place in self.shape.places() {
                    self.crash(place, Moment::Now, remains, micros(down_ms));
                }
            }
            Wrong::Stop { node, down_ms } => self.stop(node, micros(down_ms)),
            Wrong::Pause { node, for_ms } => {
                *self.paused_until(node) = self.now + micros(for_ms);
            }
            Wrong::Cut { .. } | Wrong::Isolate { .. } | Wrong::Storm { .. } => {
                self.network_goes_wrong(fault, what);
            }
            Wrong::Break { node } => self.break_streams_of(node),
            Wrong::SlowDisk { .. } | Wrong::FailingDisk { .. } | Wrong::FullDisk { .. } => {
                self.disk_goes_wrong(what);
            }
            Wrong::ClockJump { node, by_ms } => match node {
                Place::Coordinator(at) => self.coordinators[at].clock.jump(by_ms),
                Place::Participant(at) => self.participants[at].clock.jump(by_ms),
            },
            Wrong::Join { participant } => self.start(Place::Participant(participant)),
            Wrong::Remove { .. } | Wrong::Resolve { .. } | Wrong::Acknowledge { .. } => {
                self.operator_acts(what);
            }
            Wrong::AskAbort { order } => self.bystander_asks(order, Ask::Abort),
            Wrong::AskOutcome { order } => self.bystander_asks(order, Ask::Outcome),
            Wrong::Reuse { order } => self.reuse(order),
        }
        if let Some(node) = node_of(&what) {
            self.wake(node);
        }
    }

    fn network_goes_wrong(&mut self, fault: usize, what: Wrong) {
        let mut cut = |from, to| {
            self.network.cuts.push(Cut {
                from,
                to,
                number: fault,
            });
        };
        let (for_ms, mend) = match what {
            Wrong::Cut {
                from,
                to,
                both,
                for_ms,
            } => {
                cut(Some(Some(from)), Some(Some(to)));
                if both {
                    cut(Some(Some(to)), Some(Some(from)));
                }
                (for_ms, Mend::Cut(fault))
            }
            Wrong::Isolate { node, for_ms } => {
                cut(Some(Some(node)), None);
                cut(None, Some(Some(node)));
                (for_ms, Mend::Cut(fault))
            }
            Wrong::Storm {
                loss,
                double,
                delay_ms,
                for_ms,
            } => {
                (self.network.loss, self.network.double) = (loss, double);
                self.network.delay = micros(delay_ms);
                (for_ms, Mend::Storm)
            }
            _ => return,
        };
        self.schedule(self.now + micros(for_ms), Happening::Mended(mend));
    }

    fn disk_goes_wrong(&mut self, what: Wrong) {
        match what {
            Wrong::SlowDisk {
                node,
                flush_ms,
                for_ms,
            } => {
                *self.flush_takes(node) = micros(flush_ms);
                let at = self.now + micros(for_ms);
                self.schedule(at, Happening::Mended(Mend::SlowDisk(node)));
            }
            Wrong::FailingDisk {
                node,
                after,
                write,
                done,
                down_ms,
            } => {
                let down_until = self.now + micros(down_ms);
                match node {
                    Place::Coordinator(at) => {
                        self.coordinators[at].fail_disk(after, write, done);
                        self.coordinators[at].down_until = down_until;
                    }
                    Place::Participant(at) => {
                        self.participants[at].fail_disk(after, write, done);
                        self.participants[at].down_until = down_until;
                    }
                }
            }
            Wrong::FullDisk { node, for_ms } => {
                self.set_full(node, true);
                let at = self.now + micros(for_ms);
                self.schedule(at, Happening::Mended(Mend::FullDisk(node)));
            }
            _ => {}
        }
    }

    /// What lasted is over.
    pub(super) fn mend(&mut self, mend: Mend) {
        match mend {
            Mend::Cut(number) => self.network.cuts.retain(|cut| cut.number != number),
            Mend::Storm if self.healing => {}
            Mend::Storm => self.network.usual(self.plan),
            Mend::SlowDisk(node) => *self.flush_takes(node) = 0,
            Mend::FullDisk(node) => {
                self.set_full(node, false);
                self.look_at_room(node);
            }
            Mend::Stop(node, life) => {
                if self.life(node) == life && self.is_up(node) {
                    self.die(node, at_once(0));
                }
            }
        }
    }

    /// All is healed: from now on nothing goes wrong any more.
    pub(super) fn heal(&mut self) {
        self.healing = true;
        self.network.calm();
        for place in self.shape.places() {
            *self.paused_until(place) = 0;
            *self.flush_takes(place) = 0;
            self.set_full(place, false);
            match place {
                Place::Coordinator(at) => {
                    self.coordinators[at].dies = None;
                    self.coordinators[at].down_until = 0;
                }
                Place::Participant(at) => {
                    self.participants[at].dies = None;
                    self.participants[at].down_until = 0;
                }
            }
            self.start(place);
            self.look_at_room(place);
            self.wake(place);
        }
    }

    fn crash(&mut self, node: Place, moment: Moment, remains: Remains, down: Micros) {
        let death = Death {
            moment,
            remains,
            down,
        };
        if !self.is_up(node) {
            return;
        }
        if moment == Moment::Now {
            return self.die(node, death);
        }
        match node {
            Place::Coordinator(at) => self.coordinators[at].dies = Some(death),
            Place::Participant(at) => self.participants[at].dies = Some(death),
        }
    }

    /// A node dies: its memory is gone, and who waits for it waits in vain.
    pub(super) fn die(&mut self, place: Place, death: Death) {
        self.trace.event(self.now, 8, place_code(place));
        self.trace.say(self.now, || {
            format!(
                "{} dies; left on its disk: {:?}",
                place_words(place),
                death.remains
            )
        });
        match place {
            Place::Coordinator(at) => self.coordinators[at].die(death.remains),
            Place::Participant(at) => self.participants[at].die(death.remains),
        }
        self.gone(place, death.down);
    }

    fn gone(&mut self, place: Place, down: Micros) {
        self.break_streams_of(place);
        self.forget_requests(place);
        let until = match place {
            Place::Coordinator(at) => &mut self.coordinators[at].down_until,
            Place::Participant(at) => &mut self.participants[at].down_until,
        };
        *until = (*until).max(self.now + down);
        if self.healing {
            *until = self.now;
        }
        let until = *until;
        self.schedule(until + 1, Happening::Start(place));
    }

    /// A node is told to stop, and given some time.
    fn stop(&mut self, node: Place, down: Micros) {
        if !self.is_serving(node) {
            return;
        }
        let (life, down_until) = (self.life(node), self.now + down);
        match node {
            Place::Coordinator(at) => {
                self.coordinators[at].down_until = down_until;
                self.tell_coordinator(at, CoordinatorEvent::DrainRequested);
            }
            Place::Participant(at) => {
                self.participants[at].down_until = down_until;
                self.tell_participant(at, ParticipantEvent::DrainRequested);
            }
        }
        let at = self.now + STOP_MAX;
        self.schedule(at, Happening::Mended(Mend::Stop(node, life)));
    }

    /// A coordinator that was told to stop has nothing left to do: it says what is
    /// left to be said, and closes its log.
    pub(super) fn stop_coordinator(&mut self, at: usize) {
        let place = Place::Coordinator(at);
        for _ in 0..LAST_TURNS {
            self.coordinators[at].disk(self.now);
            let turn = self.coordinators[at].turn(self.now);
            self.coordinator_turned(at, turn);
        }
        self.coordinators[at].stop();
        self.stopped(place);
    }

    /// The same for a participant.
    pub(super) fn stop_participant(&mut self, at: usize) {
        let place = Place::Participant(at);
        for _ in 0..LAST_TURNS {
            self.participants[at].disk(self.now);
            let turn = self.participants[at].turn(self.now);
            self.participant_turned(at, turn);
        }
        self.participants[at].stop();
        self.stopped(place);
    }

    fn stopped(&mut self, place: Place) {
        self.coverage.outcome("stopped in order");
        self.trace
            .say(self.now, || format!("{} stops", place_words(place)));
        self.gone(place, 0);
    }

    fn operator_acts(&mut self, what: Wrong) {
        match what {
            Wrong::Remove {
                participant,
                coordinator,
            } if self.is_serving(Place::Coordinator(coordinator)) => {
                let place = Place::Coordinator(coordinator);
                let request = self.request(place, Waiting::Nobody);
                let event = CoordinatorEvent::RemoveRequested {
                    request,
                    name: name(participant),
                    give_up: None,
                };
                self.tell_coordinator(coordinator, event);
                self.wake(place);
                // Somebody starts it again, or it makes itself known by itself.
                let life = self.participants[participant].life;
                self.registrations.remove(&(participant, life, coordinator));
                let again = Happening::Registration {
                    participant,
                    life,
                    coordinator,
                };
                self.schedule(self.now + 500_000, again);
            }
            Wrong::Resolve {
                participant,
                commit,
            } => self.resolve(participant, commit),
            Wrong::Acknowledge { participant } => self.acknowledge(participant),
            _ => {}
        }
    }

    /// Decides by hand what has been in doubt for longest.
    fn resolve(&mut self, participant: usize, commit: bool) {
        let Some(machine) = self.participants[participant].machine() else {
            return;
        };
        let in_doubt = machine
            .attempts()
            .find(|view| view.standing == Standing::Prepared);
        let Some(view) = in_doubt else {
            return;
        };
        let place = Place::Participant(participant);
        let request = self.request(place, Waiting::Nobody);
        let outcome = if commit {
            Outcome::Committed
        } else {
            Outcome::Aborted
        };
        let event = ParticipantEvent::ResolveRequested {
            request,
            attempt: view.attempt,
            outcome,
            reason: String::from("nobody answers"),
        };
        self.tell_participant(participant, event);
        self.wake(place);
    }

    /// Somebody has seen to damage, on both sides.
    fn acknowledge(&mut self, participant: usize) {
        let damage = self.facts.damage_here.iter();
        let Some((_, attempt)) = damage.copied().find(|(at, _)| *at == participant) else {
            return;
        };
        let here = Place::Participant(participant);
        if self.is_serving(here) {
            let request = self.request(here, Waiting::Nobody);
            let event = ParticipantEvent::DamageAcknowledged { request, attempt };
            self.tell_participant(participant, event);
            self.wake(here);
        }
        let at = coordinator_of(attempt);
        let there = Place::Coordinator(at);
        if self.is_serving(there) {
            let request = self.request(there, Waiting::Nobody);
            let event = CoordinatorEvent::DamageAcknowledged {
                request,
                attempt,
                participant: name(participant),
            };
            self.tell_coordinator(at, event);
            self.wake(there);
        }
    }

    /// Somebody else asks about the transaction of an order.
    fn bystander_asks(&mut self, order: usize, ask: Ask) {
        let session = self.sessions.iter().rposition(|it| it.order == order);
        if let Some(session) = session {
            let to = self.order(session).coordinator;
            self.send(super::packet::Packet::Request {
                to,
                session,
                serial: 0,
                ask,
            });
        }
    }

    /// Somebody uses an id for something else that has committed.
    fn reuse(&mut self, order: usize) {
        let session = self.sessions.iter().position(|it| {
            let writes = self.orders[order]
                .steps
                .iter()
                .any(|step| step.what.writes());
            it.order == order && writes && matches!(it.told, Told::Committed(_))
        });
        if let Some(session) = session {
            let to = self.order(session).coordinator;
            self.send(super::packet::Packet::Request {
                to,
                session,
                serial: REUSE,
                ask: Ask::Reuse,
            });
        }
    }

    fn set_full(&mut self, node: Place, full: bool) {
        match node {
            Place::Coordinator(at) => self.coordinators[at].set_full(full),
            Place::Participant(at) => self.participants[at].set_full(full),
        }
    }

    /// The log looks how much room there is while it is short of it, whatever else
    /// it does.
    fn look_at_room(&mut self, node: Place) {
        let life = self.life(node);
        self.schedule(self.now + 1, Happening::Disk(node, life));
    }

    fn paused_until(&mut self, node: Place) -> &mut Micros {
        match node {
            Place::Coordinator(at) => &mut self.coordinators[at].paused_until,
            Place::Participant(at) => &mut self.participants[at].paused_until,
        }
    }

    fn flush_takes(&mut self, node: Place) -> &mut Micros {
        match node {
            Place::Coordinator(at) => &mut self.coordinators[at].flush_takes,
            Place::Participant(at) => &mut self.participants[at].flush_takes,
        }
    }
}

/// A death that keeps nothing back.
const fn at_once(down: Micros) -> Death {
    Death {
        moment: Moment::Now,
        remains: Remains {
            power_cut: false,
            pages: usize::MAX,
            values: usize::MAX,
            queued: usize::MAX,
        },
        down,
    }
}

/// The one node that a fault is about, if it is about one.
const fn node_of(what: &Wrong) -> Option<Place> {
    match what {
        Wrong::Crash { node, .. }
        | Wrong::Stop { node, .. }
        | Wrong::Pause { node, .. }
        | Wrong::Isolate { node, .. }
        | Wrong::SlowDisk { node, .. }
        | Wrong::FailingDisk { node, .. }
        | Wrong::FullDisk { node, .. }
        | Wrong::ClockJump { node, .. } => Some(*node),
        Wrong::Blackout { .. }
        | Wrong::Break { .. }
        | Wrong::Cut { .. }
        | Wrong::Storm { .. }
        | Wrong::Join { .. }
        | Wrong::Remove { .. }
        | Wrong::AskAbort { .. }
        | Wrong::AskOutcome { .. }
        | Wrong::Reuse { .. }
        | Wrong::Resolve { .. }
        | Wrong::Acknowledge { .. } => None,
    }
}
