//! What the log's thread has to say, on its way to the driver.
//!
//! The log must not wait for the driver, and nothing it says may be lost. Both
//! are easy, since its news can be summed up: durable up to a higher number, one
//! more checkpoint closed, failed for good. So there is no queue here, only the
//! sum of what has not been fetched, and a bell. However many flushes end while
//! the driver is busy, it is woken once.

use std::sync::{Arc, Mutex, PoisonError};

use nemcon_core::id::Lsn;
use nemcon_core::machine::Room;
use nemcon_wal::{LogError, LogEvent};

use crate::metrics::Metrics;

/// What has happened since the news was last fetched.
#[derive(Debug, Default)]
pub struct News {
    /// The log is durable up to this record, if that is news.
    pub durable: Option<Lsn>,
    /// The checkpoint that was being closed is closed.
    pub checkpoint_closed: bool,
    /// The log has taken in what it was to catch up with.
    pub caught_up: bool,
    /// How much room the log has, if that is news.
    pub room: Option<Room>,
    /// The log has failed, and will say nothing more.
    pub failed: Option<LogError>,
}

/// Where the log leaves its news and the driver fetches it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LogNews(Arc<Board>);

#[derive(Debug, Default)]
struct Board {
    news: Mutex<News>,
    /// Who counts the flushes, if anybody does.
    metrics: Option<Arc<Metrics>>,
    bell: tokio::sync::Notify,
}

impl LogNews {
    /// News whose flushes are counted.
    #[must_use]
    pub fn counted_by(metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Board {
            metrics: Some(metrics),
            ..Board::default()
        }))
    }

    /// What the log is to call with its events.
    #[must_use]
    pub fn notify(&self) -> nemcon_wal::Notify {
        let news = self.clone();
        Box::new(move |event| news.note(event))
    }

    fn note(&self, event: LogEvent) {
        match event {
            // Comes before the `Durable` of the same flush, which rings.
            LogEvent::Flushed {
                records,
                bytes,
                took,
            } => {
                tracing::trace!(records, bytes, ?took, "flushed");
                if let Some(metrics) = &self.0.metrics {
                    metrics.flushed(records, took);
                }
                return;
            }
            LogEvent::Durable(lsn) => {
                self.with(|news| news.durable = news.durable.max(Some(lsn)));
            }
            LogEvent::CheckpointClosed {
                first_page,
                removed_pages,
            } => {
                tracing::debug!(first_page, removed_pages, "checkpoint closed");
                self.with(|news| news.checkpoint_closed = true);
            }
            LogEvent::CaughtUp => self.with(|news| news.caught_up = true),
            LogEvent::Room(room) => self.with(|news| news.room = Some(room)),
            LogEvent::Failed(error) => self.with(|news| news.failed = Some(error)),
        }
        self.0.bell.notify_one();
    }

    /// Waits until there is news, and takes it.
    pub async fn fetch(&self) -> News {
        // A bell that rang while nobody listened is heard at once.
        self.0.bell.notified().await;
        self.with(std::mem::take)
    }

    fn with<T>(&self, change: impl FnOnce(&mut News) -> T) -> T {
        change(&mut self.0.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn news_is_summed_up_and_told_once() {
        let news = LogNews::default();
        let mut notify = news.notify();
        notify(LogEvent::Durable(Lsn(3)));
        notify(LogEvent::Durable(Lsn(7)));
        let heard = news.fetch().await;
        assert_eq!(heard.durable, Some(Lsn(7)));
        assert!(!heard.checkpoint_closed && heard.failed.is_none());
        let again = tokio::time::timeout(std::time::Duration::ZERO, news.fetch()).await;
        assert!(again.is_err(), "nothing is told twice");
    }
}
