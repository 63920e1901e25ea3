//! Paying the orders.
//!
//! Each order is one transaction, run by the client with all its patience: sent
//! again under the same id while there is no answer, run again under a new id
//! after an abort that a rerun can help. What is left here is how many at a time,
//! how fast, and when to stop.

use std::time::Duration;

use indicatif::ProgressBar;
use nemcon_client::{Client, ClientError, Ending, Report, Transaction};
use nemcon_core::id::{ParticipantName, TransactionId};
use nemcon_core::reason::Reason;
use nemcon_ledger::reason::DUPLICATE_REFERENCE;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::CURRENCY;
use super::orders::Order;
use super::queue::Queue;
use super::summary::{Stop, Summary};
use crate::bank::payment;
use crate::path::AccountPath;

/// How far behind its pace a run may be and still catch up. More would turn a
/// pause of the cluster into a burst.
const CATCH_UP_MAX: Duration = Duration::from_millis(100);

/// What became of an order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Paid now.
    Committed,
    /// Paid by an earlier transaction.
    AlreadyPaid,
    /// Not paid, and why.
    Refused(Reason),
    /// Not paid: nobody took the request in, for as long as was tried.
    NobodyThere(String),
    /// Paid or not.
    Unknown(Option<TransactionId>, String),
}

impl Fate {
    /// What an answer, or the lack of one, means for the order.
    fn of(told: Result<Report, ClientError>) -> Self {
        match told {
            Ok(report) => match report.ending {
                Ending::Committed(_) => Self::Committed,
                Ending::Aborted(cause) if cause.refusal.reason == DUPLICATE_REFERENCE => {
                    Self::AlreadyPaid
                }
                Ending::Aborted(cause) => Self::Refused(cause.refusal.reason),
            },
            Err(ClientError::Refused(refused)) => Self::Refused(refused.refusal.reason),
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Address(_))) => {
                Self::NobodyThere(error.to_string())
            }
            Err(ClientError::Unknown {
                transaction, why, ..
            }) => Self::Unknown(Some(transaction), why),
            // What cannot be read may have been "committed". A payment is no saga.
            Err(error @ (ClientError::Protocol { .. } | ClientError::SagaUnknown { .. })) => {
                Self::Unknown(None, error.to_string())
            }
        }
    }
}

/// When the next order may start.
#[derive(Debug)]
pub(super) struct Pace {
    period: Option<Duration>,
    next: Instant,
}

impl Pace {
    /// So many starts in a second; `None`: no limit.
    pub(super) fn new(per_second: Option<u32>) -> Self {
        Self {
            period: per_second.map(|rate| Duration::from_secs(1) / rate.max(1)),
            next: Instant::now(),
        }
    }

    /// Waits until an order may start.
    async fn ready(&self) {
        if self.period.is_some() {
            sleep_until(self.next).await;
        }
    }

    /// One has started.
    fn started(&mut self, now: Instant) {
        if let Some(period) = self.period {
            let earliest = now.checked_sub(CATCH_UP_MAX).unwrap_or(now);
            self.next = self.next.max(earliest) + period;
        }
    }
}

/// Pays orders.
pub(super) struct Runner {
    pub(super) client: Client,
    pub(super) home: ParticipantName,
    pub(super) in_flight: usize,
    pub(super) pace: Pace,
    pub(super) bar: ProgressBar,
}

/// An order that has ended.
struct Paid {
    order: Order,
    fate: Fate,
    took: Duration,
}

impl Runner {
    /// Pays them all, or stops when told to or when nobody is there any more.
    /// What is in flight then is waited for.
    pub(super) async fn run(mut self, orders: Vec<Order>) -> Summary {
        let mut summary = Summary::new(orders.len());
        let mut queue = Queue::new(orders);
        let mut flying: JoinSet<Paid> = JoinSet::new();
        let mut told_to_stop = std::pin::pin!(told_to_stop());
        loop {
            let starts = summary.stop.is_none() && flying.len() < self.in_flight;
            let starts = starts && queue.has_next();
            if !starts && flying.is_empty() {
                break;
            }
            tokio::select! {
                () = &mut told_to_stop, if summary.stop.is_none() => {
                    summary.stop = Some(Stop::Told);
                    self.say("stopping: waiting for what is in flight".into());
                }
                Some(ended) = flying.join_next(), if !flying.is_empty() => {
                    self.settle(ended, &mut queue, &mut summary);
                }
                () = self.pace.ready(), if starts => {
                    self.pace.started(Instant::now());
                    if let Some(order) = queue.take() {
                        flying.spawn(pay(self.client.clone(), self.home.clone(), order));
                    }
                }
            }
        }
        summary.not_started = queue.len();
        self.bar.finish_and_clear();
        summary
    }

    /// Counts an order that has ended, and lets the next one of its account go.
    fn settle(&self, ended: Result<Paid, JoinError>, queue: &mut Queue, summary: &mut Summary) {
        let Paid { order, fate, took } = match ended {
            Ok(paid) => paid,
            // A bug: that order may have been paid, and its account stays busy.
            Err(error) => {
                self.say(format!("an order's task ended with a bug: {error}"));
                summary.stop = Some(Stop::Told);
                return summary.lost();
            }
        };
        queue.release(&order.from);
        match &fate {
            Fate::Unknown(transaction, why) => {
                let id = transaction
                    .map(|id| format!(" (transaction {id})"))
                    .unwrap_or_default();
                self.say(format!("order {}{id}: outcome not known: {why}", order.id));
            }
            Fate::NobodyThere(why) => {
                if summary.stop.is_none() {
                    self.say(format!("order {}: {why}", order.id));
                }
                summary.stop = Some(Stop::NobodyThere);
            }
            Fate::Committed | Fate::AlreadyPaid | Fate::Refused(_) => {}
        }
        summary.count(&order, &fate, took);
        self.bar.inc(1);
    }

    /// Says something without tearing the progress bar.
    fn say(&self, what: String) {
        self.bar.suspend(|| eprintln!("nemcon: {what}"));
    }
}

/// Pays one order, however long the client's patience lasts.
async fn pay(client: Client, home: ParticipantName, order: Order) -> Paid {
    let began = Instant::now();
    let from = AccountPath {
        bank: home,
        account: order.from.clone(),
    };
    let operations = payment(&from, &order.to, order.amount, CURRENCY, order.id.as_str());
    let told = client.run_until_decided(Transaction::new(operations)).await;
    Paid {
        order,
        fate: Fate::of(told),
        took: began.elapsed(),
    }
}

/// Waits for ctrl-c or SIGTERM. A second one ends the process at once, which is
/// safe: the next replay finds out what was paid.
async fn told_to_stop() {
    if crate::signal::told_to_stop().await.is_err() {
        // Without signals there is nobody to tell us.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use nemcon_client::new_transaction_id;
    use nemcon_core::coordinator::record::Cause;
    use nemcon_core::reason::Refusal;

    use super::*;

    fn aborted(reason: Reason) -> Result<Report, ClientError> {
        let cause = Cause {
            refusal: Refusal::new(reason, "no"),
            participant: None,
        };
        Ok(Report {
            transaction: new_transaction_id(),
            ending: Ending::Aborted(cause),
        })
    }

    #[test]
    fn a_reference_that_was_used_means_that_it_is_paid() {
        assert_eq!(Fate::of(aborted(DUPLICATE_REFERENCE)), Fate::AlreadyPaid);
        let reason = Reason::business("INSUFFICIENT_FUNDS");
        assert_eq!(Fate::of(aborted(reason.clone())), Fate::Refused(reason));
    }

    #[test]
    fn what_is_not_certain_is_unknown() {
        let address: nemcon_client::Address = "http://127.0.0.1:1".parse().unwrap();
        let transaction = new_transaction_id();
        let unknown = ClientError::Unknown {
            transaction,
            coordinator: None,
            why: "silence".into(),
        };
        assert_eq!(
            Fate::of(Err(unknown)),
            Fate::Unknown(Some(transaction), "silence".into())
        );
        let nonsense = ClientError::Protocol {
            address: address.clone(),
            what: "?".into(),
        };
        assert!(matches!(Fate::of(Err(nonsense)), Fate::Unknown(None, _)));
        let nobody = ClientError::Unreachable {
            address,
            why: "refused".into(),
        };
        assert!(matches!(Fate::of(Err(nobody)), Fate::NobodyThere(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_kept_and_a_pause_is_not_made_good_in_one_burst() {
        let mut pace = Pace::new(Some(200));
        let began = Instant::now();
        for _ in 0..100 {
            pace.ready().await;
            pace.started(Instant::now());
        }
        assert_eq!(began.elapsed(), Duration::from_millis(99 * 5));
        tokio::time::advance(Duration::from_secs(60)).await;
        let resumed = Instant::now();
        let mut burst = 0;
        while resumed.elapsed().is_zero() {
            pace.ready().await;
            pace.started(Instant::now());
            burst += 1;
        }
        assert!((20..=22).contains(&burst), "{burst}");
    }
}
