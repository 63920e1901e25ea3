//! Who waits for which answer.
//!
//! A machine knows those who wait only as [`RequestId`]s, since it must be able
//! to live without a network. Here the number is turned back into somebody.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nemcon_core::id::RequestId;
use tokio::sync::oneshot;

/// The table of those who wait. Cheap to clone; all clones are one table.
#[derive(Debug)]
pub struct Replies<T>(Arc<Table<T>>);

#[derive(Debug)]
struct Table<T> {
    waiting: Mutex<BTreeMap<RequestId, oneshot::Sender<T>>>,
    last: AtomicU64,
}

impl<T> Clone for Replies<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Replies<T> {
    fn default() -> Self {
        Self(Arc::new(Table {
            waiting: Mutex::default(),
            last: AtomicU64::new(0),
        }))
    }
}

impl<T> Replies<T> {
    /// Enters somebody who will wait.
    #[must_use]
    pub fn enter(&self) -> Waiting<T> {
        let request = RequestId(self.0.last.fetch_add(1, Ordering::Relaxed) + 1);
        let (sender, receiver) = oneshot::channel();
        self.table().insert(request, sender);
        Waiting {
            request,
            receiver,
            replies: self.clone(),
        }
    }

    /// Hands over an answer. Whoever no longer waits is passed over in silence:
    /// a caller may hang up at any time.
    pub fn answer(&self, request: RequestId, answer: T) {
        if let Some(sender) = self.table().remove(&request) {
            let _ = sender.send(answer);
        }
    }

    /// Sends everybody away without an answer: the node says nothing more.
    pub fn hang_up(&self) {
        self.table().clear();
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table().len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table().is_empty()
    }

    /// A panic elsewhere cannot leave a map half changed, so poison is ignored.
    fn table(&self) -> MutexGuard<'_, BTreeMap<RequestId, oneshot::Sender<T>>> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits. Dropping it takes the entry out of the table; what was asked
/// goes on all the same.
#[derive(Debug)]
pub struct Waiting<T> {
    request: RequestId,
    receiver: oneshot::Receiver<T>,
    replies: Replies<T>,
}

impl<T> Waiting<T> {
    /// The number by which the machine knows this one.
    #[must_use]
    pub const fn request(&self) -> RequestId {
        self.request
    }

    /// Waits. `None` if the node ended without an answer.
    pub async fn answer(mut self) -> Option<T> {
        (&mut self.receiver).await.ok()
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.replies.table().remove(&self.request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn each_gets_its_own_answer_and_leaves_no_trace() {
        let replies = Replies::default();
        let (first, second, third) = (replies.enter(), replies.enter(), replies.enter());
        replies.answer(second.request(), "two");
        replies.answer(first.request(), "one");
        assert_eq!(first.answer().await, Some("one"));
        assert_eq!(second.answer().await, Some("two"));
        drop(third);
        assert!(replies.is_empty(), "who hangs up is forgotten");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn when_the_node_ends_nobody_waits_on() {
        let replies = Replies::<()>::default();
        let waiting = replies.enter();
        replies.hang_up();
        assert_eq!(waiting.answer().await, None);
    }
}
