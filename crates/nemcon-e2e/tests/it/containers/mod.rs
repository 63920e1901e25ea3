//! Containers that are cut off from each other while money moves between them.
//!
//! ```text
//!   customers ──▶ coordinator ──▶ bank-a, bank-b, bank-c
//!       │              ✂ network gone, packets dropped one way,
//!       │                frozen, killed, starved of memory
//!       └ a book of what each was told
//! ```
//!
//! The story of a round: one container is cut off, or two; for a while transfers
//! abort at their deadline, wait, or go on without whoever is away; the cut is
//! healed, and five seconds later nothing is left of it. What was in doubt is
//! settled, what was decided is acknowledged, money moves between all banks. When
//! all rounds are over, the banks have to the cent what the book says.
//!
//! The customers never stop, and never take silence for an answer: they send again,
//! under the same id, until there is an outcome.
//!
//! Run by `scripts/containers-check.sh`, which says what is needed.

mod book;
mod clear;
mod compose;
mod cut;
mod deaths;
mod load;
mod lodger;
mod plan;
mod reckoning;
mod starve;
mod tally;

use std::sync::atomic::Ordering;
use std::time::Duration;

use nemcon_e2e::until;
use tokio::time::{Instant, sleep};

use clear::{Clear, Healed};
use compose::{Containers, NODES};
use deaths::{Death, Deaths, KILLED};
use load::{Load, open_accounts};
use lodger::Lodger;
use plan::Round;
use tally::{Meanwhile, Tally};

use crate::cluster::SOON;
use crate::orders::Chance;

/// How many cuts there are unless `NEMCON_E2E_CUTS` says otherwise: one of each
/// kind.
const CUTS: usize = 5;

/// A node told to stop has ended within this time, whatever is in flight.
const STOP_MAX: Duration = Duration::from_secs(10);

/// An image may be no larger.
const IMAGE_BYTES_MAX: u64 = 30 * 1024 * 1024;

/// So many transfers commit before anything is done to a container. Then they are in
/// every stage, and not where the last cut has left them.
const COMMITTED_BEFORE: usize = 100;

fn cuts() -> usize {
    let cuts = std::env::var("NEMCON_E2E_CUTS").ok();
    cuts.map_or(CUTS, |cuts| {
        cuts.parse().expect("NEMCON_E2E_CUTS is a number")
    })
}

/// A cluster with customers at work, and a stranger who moves about in it.
struct World {
    containers: Containers,
    lodger: Lodger,
    load: Load,
    deaths: Deaths,
}

impl World {
    async fn new(chance: &mut Chance) -> Self {
        let containers = Containers::up().await;
        let deaths = Deaths::of(&containers);
        let lodger = Lodger::new(&containers).await;
        open_accounts(&containers).await;
        let load = Load::start(&containers, chance);
        Self {
            containers,
            lodger,
            load,
            deaths,
        }
    }

    /// Waits until work is in full swing.
    async fn busy(&self) {
        let enough = self.load.book.count().committed + COMMITTED_BEFORE;
        until("transfers commit", SOON, async || {
            match self.load.book.count().committed {
                committed if committed >= enough => Ok(()),
                committed => Err(committed),
            }
        })
        .await;
    }

    /// All is whole again: waits until nothing is left of what has been.
    async fn clear(&mut self, healed: Healed) -> Clear {
        let clear = healed.clear(&self.containers, &self.load.book).await;
        healed.every_outcome_is_known(&self.load.book).await;
        self.load.check();
        clear
    }

    /// Cuts, heals, and waits until all is clear.
    async fn play(&mut self, round: Round, tally: &mut Tally) {
        self.busy().await;
        tally.begin(&round);
        let before = (self.deaths.so_far().len(), self.load.book.count());
        let mut held = Vec::new();
        for cut in &round.cuts {
            held.push(cut.make(&self.containers, &self.lodger).await);
        }
        sleep(round.held).await;
        // The last that was made is the first to be healed: so two that have lost
        // their networks find each other's address free, and get that.
        while let Some(cut) = held.pop() {
            cut.heal(&self.containers, &self.lodger).await;
        }
        let healed = Healed::now();
        let open = self.load.book.open_since_before(healed.at).len();
        let clear = self.clear(healed).await;
        let deaths = self.deaths.so_far().split_off(before.0);
        for death in &deaths {
            let mut cuts = round.cuts.iter();
            let explained = cuts.any(|cut| death.is_of(cut.victim) && cut.kind.may_kill());
            assert!(explained && death.exit == KILLED, "by itself: {death}");
        }
        let meanwhile = Meanwhile {
            open,
            deaths,
            before: before.1,
            after: self.load.book.count(),
        };
        tally.end(&round, clear, &meanwhile);
    }

    /// The end of the story.
    async fn end(self) {
        let audits = self.load.audits.load(Ordering::Relaxed);
        println!("{audits} audits of all banks balanced meanwhile");
        assert!(audits > 0, "none had its locks in time");
        let book = self.load.stop().await;
        let healed = Healed::now();
        healed.clear(&self.containers, &book).await;
        reckoning::everything_adds_up(&self.containers, &book).await;
    }
}

/// The main one.
#[tokio::test(flavor = "current_thread")]
#[ignore = "needs Docker and the images: scripts/containers-check.sh"]
async fn containers_cut_off_are_clear_five_seconds_after_healing_and_nothing_is_lost() {
    let (cuts, mut chance) = (cuts(), Chance::from_environment());
    let rounds = plan::rounds(cuts, &mut chance);
    let mut world = World::new(&mut chance).await;
    let mut tally = Tally::new(cuts);
    for round in rounds {
        world.play(round, &mut tally).await;
    }
    world.end().await;
    println!("{tally}");
}

/// One after the other, each at a moment that nobody has chosen.
#[tokio::test(flavor = "current_thread")]
#[ignore = "needs Docker and the images: scripts/containers-check.sh"]
async fn a_killed_container_that_is_started_again_has_lost_nothing() {
    let mut world = World::new(&mut Chance::from_environment()).await;
    for name in NODES {
        world.busy().await;
        let (containers, id) = (&world.containers, world.containers.id(name));
        containers.docker(&["kill", "--signal", "KILL", id]).await;
        containers.docker(&["start", id]).await;
        let clear = world.clear(Healed::now()).await;
        println!("{name} killed and started: clear after {clear}");
    }
    assert_eq!(
        world.deaths.so_far(),
        NODES.map(|name| Death::new(name, KILLED))
    );
    world.end().await;
}

/// Stopped in good order, with customers at the door all the time.
#[tokio::test(flavor = "current_thread")]
#[ignore = "needs Docker and the images: scripts/containers-check.sh"]
async fn a_container_told_to_stop_under_load_ends_in_time_with_exit_code_0() {
    let mut world = World::new(&mut Chance::from_environment()).await;
    for name in NODES {
        world.busy().await;
        let (containers, id) = (&world.containers, world.containers.id(name));
        let told = Instant::now();
        // It is killed after 20 s; nothing here may need that.
        containers.docker(&["stop", "--time", "20", id]).await;
        let took = told.elapsed();
        assert!(took <= STOP_MAX, "{name} took {took:?} to stop");
        containers.docker(&["start", id]).await;
        let clear = world.clear(Healed::now()).await;
        println!("{name} stopped in {took:.2?}: clear after {clear}");
    }
    assert_eq!(
        world.deaths.so_far(),
        NODES.map(|name| Death::new(name, "0"))
    );
    world.end().await;
}

/// An image from scratch has one program in it, and nothing else has crept in.
#[tokio::test(flavor = "current_thread")]
#[ignore = "needs Docker and the images: scripts/containers-check.sh"]
async fn images_are_small() {
    let dir = tempfile::tempdir().unwrap();
    for (image, bytes) in compose::image_sizes(dir.path()).await {
        println!("{image}: {:.1} MB", bytes as f64 / 1e6);
        assert!(bytes < IMAGE_BYTES_MAX, "{image} has {bytes} bytes");
    }
}
