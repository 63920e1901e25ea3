//! Changes of transactions and sagas, for whoever watches.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nemcon_core::coordinator::event::View;
use nemcon_core::id::{SagaId, TransactionId};
use nemcon_proto::convert::Change;
use nemcon_proto::v1::WatchTransactionsResponse;
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError::Lagged;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

/// Changes that a watcher may lag behind before it misses some. A watcher costs
/// the coordinator nothing: who is too slow is told how much it has missed.
const LAG_MAX: usize = 4_096;

/// The end that tells. When it is gone, all watches end.
#[derive(Debug)]
pub(crate) struct Teller {
    transactions: broadcast::Sender<Arc<View>>,
    sagas: Arc<SagaBells>,
}

/// The end that watches begin at. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Watches {
    transactions: broadcast::WeakSender<Arc<View>>,
    sagas: Weak<SagaBells>,
}

/// A bell for each saga that somebody watches. What one saga does wakes nobody who
/// watches another.
#[derive(Debug, Default)]
struct SagaBells(Mutex<BTreeMap<SagaId, watch::Sender<()>>>);

impl SagaBells {
    /// Nobody panics with the lock; and if so, the map is whole all the same.
    fn all(&self) -> MutexGuard<'_, BTreeMap<SagaId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears when something about one saga may be new. What, it has to ask.
#[derive(Debug)]
pub(crate) struct SagaWatch {
    saga: SagaId,
    bell: watch::Receiver<()>,
    bells: Weak<SagaBells>,
}

impl SagaWatch {
    /// Waits until something may be new since the last time; false: the node has ended.
    pub(crate) async fn rang(&mut self) -> bool {
        self.bell.changed().await.is_ok()
    }
}

impl Drop for SagaWatch {
    /// The last one takes the bell down.
    fn drop(&mut self) {
        let Some(bells) = self.bells.upgrade() else {
            return;
        };
        let mut all = bells.all();
        if all
            .get(&self.saga)
            .is_some_and(|bell| bell.receiver_count() <= 1)
        {
            all.remove(&self.saga);
        }
    }
}

/// What one watcher sees.
pub(crate) type Watch =
    Pin<Box<dyn Stream<Item = Result<WatchTransactionsResponse, Status>> + Send>>;

impl Teller {
    pub(crate) fn new() -> (Self, Watches) {
        let teller = Self {
            transactions: broadcast::Sender::new(LAG_MAX),
            sagas: Arc::default(),
        };
        let watches = Watches {
            transactions: teller.transactions.downgrade(),
            sagas: Arc::downgrade(&teller.sagas),
        };
        (teller, watches)
    }

    /// Whether anybody watches transactions.
    pub(crate) fn has_listeners(&self) -> bool {
        self.transactions.receiver_count() > 0
    }

    /// Tells all watchers, if there are any.
    pub(crate) fn tell(&self, view: View) {
        if self.has_listeners() {
            let _ = self.transactions.send(Arc::new(view));
        }
    }

    /// Tells all who watch a saga that something about it is new. What, they ask.
    pub(crate) fn tell_of_saga(&self, saga: SagaId) {
        if let Some(bell) = self.sagas.all().get(&saga) {
            bell.send_replace(());
        }
    }
}

impl Watches {
    /// Watches one transaction, or all, from now on. `None`: the node has ended.
    pub(crate) fn begin(&self, only: Option<TransactionId>) -> Option<Watch> {
        let changes = BroadcastStream::new(self.transactions.upgrade()?.subscribe());
        Some(Box::pin(changes.filter_map(move |change| {
            let change = match change {
                Ok(view) if only.is_none_or(|only| only == view.transaction) => {
                    Change::Transaction(Arc::unwrap_or_clone(view))
                }
                Ok(_) => return None,
                Err(Lagged(missed)) => Change::Missed(missed),
            };
            Some(Ok(change.into()))
        })))
    }
}

impl Watches {
    /// Watches one saga from now on, whether there is one of this id or not. `None`: the
    /// node has ended.
    pub(crate) fn of_saga(&self, saga: SagaId) -> Option<SagaWatch> {
        let bells = self.sagas.upgrade()?;
        let bell = bells.all().entry(saga).or_default().subscribe();
        Some(SagaWatch {
            saga,
            bell,
            bells: Weak::clone(&self.sagas),
        })
    }
}

#[cfg(test)]
mod tests {
    use nemcon_core::coordinator::event::State;
    use nemcon_core::history::History;
    use nemcon_core::id::{AttemptId, CoordinatorId, Position};
    use nemcon_core::time::Millis;
    use nemcon_proto::v1::watch_transactions_response::Event;

    use super::*;

    fn view(number: u64) -> View {
        let coordinator = CoordinatorId::new(nemcon_node::chance::fresh_uuid());
        View {
            transaction: TransactionId::from_parts(Millis(number), 7),
            attempt: AttemptId {
                coordinator,
                position: Position::default(),
            },
            state: State::Preparing,
            outcome: None,
            cause: None,
            history: History::default(),
            branches: Vec::new(),
            deadline: None,
            decided_by_participant: false,
        }
    }

    async fn next(watch: &mut Watch) -> Option<Event> {
        watch
            .next()
            .await
            .map(|change| change.unwrap().event.unwrap())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_watcher_sees_what_it_asked_for_until_the_node_ends() {
        let (teller, watches) = Teller::new();
        teller.tell(view(1));
        let mut all = watches.begin(None).unwrap();
        let mut second = watches.begin(Some(view(2).transaction)).unwrap();
        teller.tell(view(1));
        teller.tell(view(2));
        drop(teller);
        assert!(watches.begin(None).is_none());
        let id = |event| match event {
            Some(Event::Transaction(transaction)) => transaction.transaction_id,
            other => panic!("{other:?}"),
        };
        assert_eq!(id(next(&mut all).await), view(1).transaction.to_string());
        assert_eq!(id(next(&mut all).await), view(2).transaction.to_string());
        assert_eq!(next(&mut all).await, None);
        assert_eq!(id(next(&mut second).await), view(2).transaction.to_string());
        assert_eq!(next(&mut second).await, None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_one_saga_does_wakes_nobody_who_watches_another() {
        let (teller, watches) = Teller::new();
        let [first, second] = [1, 2].map(|number| SagaId::from_parts(Millis(number), 7));
        teller.tell_of_saga(first);
        let mut one = watches.of_saga(first).unwrap();
        let mut other = watches.of_saga(second).unwrap();
        let mut other_too = watches.of_saga(second).unwrap();
        teller.tell_of_saga(second);
        teller.tell_of_saga(second);
        assert!(
            !one.bell.has_changed().unwrap(),
            "of its own saga nothing is new"
        );
        assert!(other.rang().await);
        assert!(!other.bell.has_changed().unwrap(), "one look sees both");
        assert!(other_too.rang().await);
        teller.tell_of_saga(first);
        assert!(one.rang().await);
        drop(other);
        assert_eq!(teller.sagas.all().len(), 2);
        drop(other_too);
        assert_eq!(
            teller.sagas.all().len(),
            1,
            "what nobody watches is let go of"
        );
        drop(teller);
        assert!(!one.rang().await, "the node has ended");
        assert!(watches.of_saga(first).is_none());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_watcher_that_is_too_slow_is_told_what_it_missed() {
        let (teller, watches) = Teller::new();
        let mut all = watches.begin(None).unwrap();
        for number in 0..LAG_MAX as u64 + 5 {
            teller.tell(view(number));
        }
        assert_eq!(next(&mut all).await, Some(Event::Missed(5)));
    }
}
