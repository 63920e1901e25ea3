//! What must be over within five seconds after a healing.
//!
//! Only what is of before the healing is looked at: new transactions come all the
//! time, and at any moment some of them are rightly in doubt.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nemcon_client::{Client, Settings, Transaction};
use nemcon_core::coordinator::event::State;
use nemcon_core::time::Millis;
use nemcon_e2e::until;
use nemcon_proto::v1;
use nemcon_proto::v1::participant_admin_service_client::ParticipantAdminServiceClient;
use tokio::time::{Instant, sleep, timeout};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::book::{Book, Transfer};
use super::compose::{BANKS, COORDINATOR, Containers, NODES, Name};
use super::load::{movements, pulse};
use crate::cluster::{DOUBT_MAX, channel};
use crate::outcome::{Told, outcome};

/// How long one question of a test may take, before it is put again on another
/// connection: what is asked here is how the nodes are, not how old connections are.
const QUESTION_MAX: Duration = Duration::from_secs(1);

/// Pause between two looks. What is looked at has two processors to share.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// After a healing, a transfer that was sent before it has an outcome within this
/// time. Its call lasts as long as the transaction may, 10 s, and a second; then
/// the client pauses for 2 s at most; and then it asks nodes that have been clear
/// for long, where nothing is left to wait for but a lock, for 5 s.
const OUTCOME_MAX: Duration = Duration::from_secs(11 + 2 + 5);

/// The moment of a healing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Healed {
    pub(super) at: Instant,
    /// The same by the clock on the wall, which the containers share.
    on_the_wall: Millis,
}

/// How long after a healing something was clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Clear {
    pub(super) after: Duration,
    what: &'static str,
}

impl fmt::Display for Clear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s ({})", self.after.as_secs_f64(), self.what)
    }
}

impl Healed {
    /// Just now.
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            at: Instant::now(),
            on_the_wall: Millis(since.as_millis() as u64),
        }
    }

    fn left(self, of: Duration) -> Duration {
        (self.at + of).saturating_duration_since(Instant::now())
    }

    /// Waits until everything is clear, five seconds at most, and tells what took
    /// longest.
    ///
    /// # Panics
    /// If it takes longer.
    pub(super) async fn clear(self, containers: &Containers, book: &Book) -> Clear {
        let (nodes, doubt, decided, money) = tokio::join!(
            Box::pin(self.every_node_serves(containers)),
            Box::pin(self.nothing_in_doubt(containers)),
            Box::pin(self.nothing_unacknowledged(containers)),
            Box::pin(self.money_moves(containers, book)),
        );
        nodes.max(doubt).max(decided).max(money)
    }

    fn clear_now(self, what: &'static str) -> Clear {
        let after = self.at.elapsed();
        assert!(after <= DOUBT_MAX, "{what}: only after {after:?}");
        Clear { after, what }
    }

    /// Looks until it is found to be so.
    async fn seen(
        self,
        what: &'static str,
        mut look: impl AsyncFnMut() -> Result<(), String>,
    ) -> Clear {
        until(what, self.left(DOUBT_MAX), async || {
            let seen = look().await;
            if seen.is_err() {
                sleep(LOOK_PAUSE).await;
            }
            seen
        })
        .await;
        self.clear_now(what)
    }

    async fn every_node_serves(self, containers: &Containers) -> Clear {
        self.seen("every node serves", async || {
            for name in NODES {
                let mut health = HealthClient::new(channel(&containers.url(name)));
                let check = health.check(HealthCheckRequest::default());
                let told = nemcon_net::call(QUESTION_MAX, check).await;
                match told.map(|told| told.status()) {
                    Ok(ServingStatus::Serving) => {}
                    other => return Err(format!("{name}: {other:?}")),
                }
            }
            Ok(())
        })
        .await
    }

    /// At every bank, what was promised before the healing has its outcome.
    async fn nothing_in_doubt(self, containers: &Containers) -> Clear {
        self.seen("nothing is in doubt", async || {
            for bank in BANKS {
                let url = containers.url(bank);
                let mut service = ParticipantAdminServiceClient::new(channel(&url));
                let list = service.list_in_doubt(v1::ListAttemptsInDoubtRequest {});
                let told = nemcon_net::call(QUESTION_MAX, list).await;
                let attempts = told.map_err(|status| format!("{bank}: {status}"))?.attempts;
                let before = attempts.into_iter().filter(|attempt| {
                    let prepared_at = attempt.prepared_at.expect("it says when");
                    let millis =
                        prepared_at.seconds * 1_000 + i64::from(prepared_at.nanos) / 1_000_000;
                    millis <= self.on_the_wall.0 as i64
                });
                match before.collect::<Vec<_>>().as_slice() {
                    [] => {}
                    attempts => return Err(format!("{bank}: {attempts:?}")),
                }
            }
            Ok(())
        })
        .await
    }

    /// At the coordinator, what was decided before the healing is acknowledged.
    async fn nothing_unacknowledged(self, containers: &Containers) -> Clear {
        self.seen("every decision is acknowledged", async || {
            let settings = Settings {
                give_up_after: Duration::ZERO,
                call_timeout: QUESTION_MAX,
                ..Settings::default()
            };
            let client = Client::new(containers.url(COORDINATOR).parse().unwrap(), settings);
            let views = client.in_doubt().await.map_err(|error| error.to_string())?;
            let before = views.into_iter().filter(|view| {
                let mut history = view.history.iter();
                history.any(|(state, at)| state == State::Committing && at <= self.on_the_wall)
            });
            match before.collect::<Vec<_>>().as_slice() {
                [] => Ok(()),
                views => Err(format!("{views:?}")),
            }
        })
        .await
    }

    /// Between any two banks a new transfer commits.
    async fn money_moves(self, containers: &Containers, book: &Book) -> Clear {
        let [a, b, c] = BANKS;
        let (one, two, three) = tokio::join!(
            self.money_moves_between(a, b, containers, book),
            self.money_moves_between(b, c, containers, book),
            self.money_moves_between(c, a, containers, book),
        );
        one.max(two).max(three)
    }

    async fn money_moves_between(
        self,
        from: Name,
        to: Name,
        containers: &Containers,
        book: &Book,
    ) -> Clear {
        let what = "money moves between all banks";
        let settings = Settings {
            give_up_after: DOUBT_MAX,
            pause_max: Duration::from_millis(200),
            ..Settings::default()
        };
        let client = Client::new(containers.url(COORDINATOR).parse().unwrap(), settings);
        let mut tries = Vec::new();
        let moves = async {
            loop {
                let transfer = Transfer {
                    reference: format!("pulse-{}-{}", self.on_the_wall.0, tries.len()),
                    from: pulse(from, to),
                    to: pulse(to, from),
                    amount: 1,
                    sent_at: Instant::now(),
                    told: None,
                };
                let transaction = Transaction::new(movements(&transfer));
                book.sent(transaction.id, transfer);
                let (told, _) = outcome(&client, &transaction).await;
                book.told(transaction.id, told.clone());
                if told == Told::Committed {
                    return;
                }
                tries.push(told);
            }
        };
        if timeout(self.left(DOUBT_MAX), moves).await.is_err() {
            panic!("no money moves from {from} to {to} within {DOUBT_MAX:?}: {tries:?}");
        }
        self.clear_now(what)
    }

    /// Waits until every transfer that was sent before the healing has an outcome.
    pub(super) async fn every_outcome_is_known(self, book: &Book) {
        let what = "every transfer of before the healing has an outcome";
        until(what, self.left(OUTCOME_MAX), async || {
            let open = book.open_since_before(self.at);
            if open.is_empty() {
                return Ok(());
            }
            sleep(LOOK_PAUSE).await;
            Err(format!("{open:?}"))
        })
        .await;
    }
}
