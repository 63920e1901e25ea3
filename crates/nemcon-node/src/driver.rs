//! The driver: the only owner of a machine and its log.
//!
//! It takes what has happened, steps the machine, hands the records to the log,
//! and carries out what the machine asked for, each effect when its lane allows
//! it. Whatever woke it, it goes through the same end:
//!
//! ```text
//!   requests, answers ──┐
//!   durable up to … ────┼─▶ step each ─▶ append ─▶ perform `now`
//!   deadline ───────────┘                            │
//!        ▲                   park `after`, `later` ◀─┘
//!        │                        │
//!        └── perform what is ripe ◀── flush, if due
//! ```
//!
//! - Nothing in `after` or `later` leaves before the log has said "durable up
//!   to" its place. [`Parking`] keeps that promise; this code only asks it.
//! - The driver goes on stepping while a flush is under way. It waits for
//!   nothing but for something to happen.
//! - One wake-up, one append and at most one flush for each batch of events.
//! - A log that has failed ends the driver at once: not even what is ripe is
//!   performed, for nothing that is said after a failed write can be trusted to
//!   be remembered.

use std::future::Future;
use std::pin::pin;

use nemcon_core::id::Lsn;
use nemcon_core::machine::{Machine, Room, Wake};
use nemcon_core::output::Output;
use nemcon_core::parking::Parking;
use nemcon_core::time::Millis;
use nemcon_wal::checkpoint::{Checkpoints, Due, Pieces, append};
use nemcon_wal::{Log, LogError};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::log_news::{LogNews, News};
use crate::metrics::{LogPlace, Meter, Scrape};

/// Events taken at one go. More would gain nothing (an append is already shared
/// by hundreds) and let the first of them wait longer.
pub const BATCH_EVENTS_MAX: usize = 1_024;

/// Carries out what a machine asks for.
///
/// All calls come from the driver, on the node's thread, in the order of the
/// machine's wishes. None may wait.
pub trait Perform<M: Machine> {
    /// Carries out one effect, or starts to. What comes of it at once (a call
    /// that cannot be made, say) goes into `back` and is stepped next.
    fn perform(&mut self, effect: M::Effect, back: &mut Vec<M::Event>);

    /// Whether anybody watches what changes. Asked before each batch of steps.
    fn is_watched(&self) -> bool {
        false
    }

    /// A batch of effects is complete: a good moment to send off what was
    /// gathered for each peer.
    fn batch_performed(&mut self) {}

    /// Recovery is over and durable; requests will come from now on.
    fn serving(&mut self, machine: &M) {
        let _ = machine;
    }

    /// The driver has ended and no effect will follow: send away who waits.
    fn ended(&mut self);
}

/// Why a driver ended before it was told to.
#[derive(Debug, thiserror::Error)]
#[error("the log failed; nothing is said any more, and a restart recovers what was durable")]
pub struct LogFailed(#[from] LogError);

/// What was found in the log at the start.
#[derive(Clone, Copy, Debug)]
pub struct Replayed {
    /// Where the next record goes.
    pub next_lsn: Lsn,
    /// How many records were replayed.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Drives one machine.
pub struct Driver<M: Machine, P> {
    machine: M,
    log: Box<dyn Log>,
    news: LogNews,
    performer: P,
    clock: Clock,
    out: Output<M::Record, M::Effect>,
    parking: Parking<M::Effect>,
    checkpoints: Checkpoints<M::Cursor>,
    /// The log is durable up to here.
    durable: Lsn,
    room: Room,
    /// Taken, not yet stepped.
    events: Vec<M::Event>,
    /// What performing effects has brought back.
    back: Vec<M::Event>,
    /// Who measures, if anybody does.
    meter: Option<Meter<M>>,
}

impl<M: Machine, P: Perform<M>> Driver<M, P> {
    /// A driver for a machine that has replayed its log.
    #[must_use]
    pub fn new(
        machine: M,
        log: Box<dyn Log>,
        news: LogNews,
        performer: P,
        due: Due,
        replayed: Replayed,
    ) -> Self {
        let mut checkpoints = Checkpoints::new(due, Pieces::default());
        checkpoints.appended(replayed.records, replayed.bytes);
        Self {
            machine,
            log,
            news,
            performer,
            clock: Clock::start(),
            out: Output::starting_at(replayed.next_lsn),
            parking: Parking::default(),
            checkpoints,
            durable: Lsn(replayed.next_lsn.0 - 1),
            room: Room::Enough,
            events: Vec::with_capacity(BATCH_EVENTS_MAX),
            back: Vec::new(),
            meter: None,
        }
    }

    /// The same driver, measured: what the machine observes goes to the meter, and
    /// who asks it for figures is answered between two turns.
    #[must_use]
    pub fn measured_by(mut self, meter: Meter<M>) -> Self {
        self.out.keep_observations();
        self.meter = Some(meter);
        self
    }

    /// The machine, to look at.
    #[must_use]
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// Lets the machine start serving, and waits until what it wrote down about
    /// that is durable.
    ///
    /// # Errors
    /// [`LogFailed`].
    pub async fn start(&mut self) -> Result<(), LogFailed> {
        let now = self.look_at_clock();
        self.machine.recovered(now, &mut self.out);
        self.settle(now);
        self.make_durable().await?;
        self.performer.serving(&self.machine);
        Ok(())
    }

    /// Serves until `until` is ready, and gives what it gives.
    ///
    /// # Errors
    /// [`LogFailed`].
    pub async fn run<T>(
        &mut self,
        inbox: &mut mpsc::Receiver<M::Event>,
        until: impl Future<Output = T>,
    ) -> Result<T, LogFailed> {
        let mut until = pin!(until);
        loop {
            let deadline = self.next_deadline().map(|at| self.clock.until(at));
            let more_to_do = !self.events.is_empty() || self.checkpoints.is_waiting_for_its_turn();
            tokio::select! {
                given = &mut until => return Ok(given),
                // Zero would mean that no sender is left; `until` decides then.
                n = inbox.recv_many(&mut self.events, BATCH_EVENTS_MAX), if !inbox.is_closed() => {
                    tracing::trace!(events = n, "taken");
                }
                news = self.news.fetch() => self.hear(news)?,
                scrape = next_scrape(&mut self.meter) => self.answer(scrape),
                () = tokio::time::sleep(deadline.unwrap_or_default()), if deadline.is_some() => {}
                () = tokio::task::yield_now(), if more_to_do => {}
            }
            self.turn();
        }
    }

    /// Ends: makes durable what is appended, says what may then be said, and
    /// gives the log back to be closed.
    ///
    /// # Errors
    /// [`LogFailed`].
    pub async fn finish(mut self) -> Result<Box<dyn Log>, LogFailed> {
        let result = self.make_durable().await;
        self.performer.ended();
        result.map(|()| self.log)
    }

    /// Ends at once, without another word.
    pub fn abandon(mut self) {
        self.performer.ended();
    }

    /// Flushes until nothing is left to flush: what becomes durable may make the
    /// machine write once more.
    async fn make_durable(&mut self) -> Result<(), LogFailed> {
        while self.durable < self.out.appended() {
            self.log.flush();
            let news = self.news.fetch().await;
            self.hear(news)?;
            let now = self.look_at_clock();
            self.step_events(now);
            self.settle(now);
        }
        Ok(())
    }

    /// Takes in what the log said.
    fn hear(&mut self, news: News) -> Result<(), LogFailed> {
        if let Some(error) = news.failed {
            return Err(error.into());
        }
        if let Some(lsn) = news.durable.filter(|lsn| *lsn > self.durable) {
            self.durable = lsn;
            self.events.push(Wake::Durable(lsn).into());
        }
        if news.caught_up {
            self.checkpoints.caught_up();
        }
        if news.checkpoint_closed {
            self.checkpoints.closed();
        }
        if let Some(room) = news.room {
            self.room_changed(room);
        }
        Ok(())
    }

    fn room_changed(&mut self, room: Room) {
        match (self.room, room) {
            (Room::Enough, Room::Short { free, wanted }) => {
                tracing::warn!(
                    free,
                    wanted,
                    "little room is left on the disk: nothing new begins"
                );
            }
            (Room::Short { .. }, Room::Enough) => tracing::info!("there is room on the disk again"),
            (Room::Enough, Room::Enough) | (Room::Short { .. }, Room::Short { .. }) => {}
        }
        self.room = room;
        self.events.push(Wake::Room(room).into());
    }

    /// One turn of the loop, whatever began it.
    fn turn(&mut self) {
        let now = self.look_at_clock();
        if self.machine.next_deadline().is_some_and(|at| at <= now) {
            self.events.push(Wake::DeadlinePassed.into());
        }
        self.step_events(now);
        self.settle(now);
        self.checkpoints
            .advance(&mut self.machine, &mut self.out, &mut *self.log);
    }

    fn step_events(&mut self, now: Millis) {
        self.out.set_watched(self.performer.is_watched());
        for event in self.events.drain(..) {
            self.machine.step(now, event, &mut self.out);
        }
    }

    /// What follows every batch of steps.
    fn settle(&mut self, now: Millis) {
        let (records, bytes) = append(&mut self.out, &mut *self.log);
        self.checkpoints.appended(records, bytes);
        for effect in self.out.now.drain(..) {
            self.performer.perform(effect, &mut self.back);
        }
        self.parking.park(now, &mut self.out);
        if self.parking.flush_is_due(now) {
            self.log.flush();
        }
        while let Some(effect) = self.parking.pop_ripe(self.durable) {
            self.performer.perform(effect, &mut self.back);
        }
        self.performer.batch_performed();
        self.events.append(&mut self.back);
        if let Some(meter) = &self.meter {
            for observation in self.out.take_observations() {
                meter.metrics.observed(&observation);
            }
        }
    }

    /// The time, which is also that of the steps that follow.
    fn look_at_clock(&mut self) -> Millis {
        let (now, tick) = self.clock.read();
        self.out.set_tick(tick);
        now
    }

    /// Answers who asks for figures. Whoever does not wait any more is passed over.
    fn answer(&self, scrape: Scrape) {
        let Some(meter) = &self.meter else {
            return;
        };
        let log = LogPlace {
            end: self.out.appended(),
            durable: self.durable,
        };
        let standing = (meter.figures)(&self.machine, self.clock.now());
        let _ = scrape.send((log, standing));
    }

    fn next_deadline(&self) -> Option<Millis> {
        self.machine
            .next_deadline()
            .into_iter()
            .chain(self.parking.next_deadline())
            .min()
    }
}

/// The next who asks for figures; never, where nobody can.
async fn next_scrape<M>(meter: &mut Option<Meter<M>>) -> Scrape {
    let asked = match meter {
        Some(meter) => meter.scrapes.recv().await,
        None => None,
    };
    match asked {
        Some(scrape) => scrape,
        None => std::future::pending().await,
    }
}
