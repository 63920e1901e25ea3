//! The one queue in front of a machine.
//!
//! It is bounded, and two kinds of senders meet the bound differently:
//!
//! - a caller *offers* its request and is turned away when the queue is full
//!   (`TOO_MANY_REQUESTS`): it can come again;
//! - the answer of a peer is *delivered*: it waits for its turn, since nobody
//!   would send it again. The number of those who wait is bounded by the calls
//!   that may be in flight (see [`crate::peers`]), and while one of them waits
//!   no offer is taken.
//!
//! The driver never waits for a sender, so waiting here cannot lock up a node.
//! What the log has to say does not pass through here at all: it must neither
//! wait nor be lost (see [`crate::log_news`]).

use tokio::sync::mpsc;

/// The sending end; cheap to clone.
#[derive(Debug)]
pub struct Inbox<E>(mpsc::Sender<E>);

impl<E> Clone for Inbox<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Too much is queued; come again later.
    Full,
    /// The driver has ended.
    Closed,
}

impl<E> Inbox<E> {
    /// An inbox for at most `events_max` events, and the end the driver reads.
    #[must_use]
    pub fn new(events_max: usize) -> (Self, mpsc::Receiver<E>) {
        let (sender, receiver) = mpsc::channel(events_max.max(1));
        (Self(sender), receiver)
    }

    /// Queues a request, or turns it away.
    ///
    /// # Errors
    /// [`NotTaken`]; then the machine has not seen the event and never will.
    pub fn offer(&self, event: E) -> Result<(), NotTaken> {
        self.0.try_send(event).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotTaken::Full,
            mpsc::error::TrySendError::Closed(_) => NotTaken::Closed,
        })
    }

    /// Queues what must not be lost, and waits for room if need be. When the
    /// driver has ended there is nobody left to whom it matters.
    pub async fn deliver(&self, event: E) {
        let _ = self.0.send(event).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn offers_are_turned_away_and_deliveries_wait() {
        let (inbox, mut events) = Inbox::new(1);
        assert_eq!(inbox.offer(1), Ok(()));
        assert_eq!(inbox.offer(2), Err(NotTaken::Full));
        let waiting = tokio::spawn({
            let inbox = inbox.clone();
            async move { inbox.deliver(3).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(events.recv().await, Some(1));
        assert_eq!(
            inbox.offer(4),
            Err(NotTaken::Full),
            "the room was promised to the delivery"
        );
        assert_eq!(events.recv().await, Some(3));
        waiting.await.unwrap();
        drop(events);
        assert_eq!(inbox.offer(5), Err(NotTaken::Closed));
    }
}
