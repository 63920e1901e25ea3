//! Who waits for which answer.
//!
//! A machine knows those who wait only as [`RequestId`]s, since it must be able
//! to live without a network. Here the number is turned back into somebody: a call
//! that waits by itself, or a stream that waits for many answers and has one queue
//! for all of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nemcon_core::id::RequestId;
use nemcon_net::Outbox;
use nemcon_trace::Span;
use tokio::sync::oneshot;
use tonic::Status;

/// The table of those who wait. Cheap to clone; all clones are one table. `K` is
/// what a stream knows its requests by.
#[derive(Debug)]
pub struct Replies<T, K = u64>(Arc<Shared<T, K>>);

#[derive(Debug)]
struct Shared<T, K> {
    table: Mutex<Table<T, K>>,
    last: AtomicU64,
}

#[derive(Debug)]
struct Table<T, K> {
    waiting: BTreeMap<RequestId, Entry<T, K>>,
    /// The queues of all streams, by their number.
    streams: BTreeMap<u64, Outbox<Told<T, K>>>,
}

/// Somebody, and the span of what was asked, if it is traced: it ends with the answer,
/// or when nobody waits for that any more.
#[derive(Debug)]
struct Entry<T, K> {
    waiter: Waiter<T, K>,
    span: Option<Span>,
}

#[derive(Debug)]
enum Waiter<T, K> {
    Call(oneshot::Sender<T>),
    Stream { stream: u64, tag: K },
}

/// What a stream is told about one of its requests.
#[derive(Debug)]
pub struct Told<T, K> {
    /// Which request.
    pub tag: K,
    /// Its answer; or how a call of its own would have ended, if the machine never
    /// saw it.
    pub answer: Result<T, Box<Status>>,
}

impl<T, K> Clone for Replies<T, K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T, K> Default for Replies<T, K> {
    fn default() -> Self {
        Self(Arc::new(Shared {
            table: Mutex::new(Table {
                waiting: BTreeMap::new(),
                streams: BTreeMap::new(),
            }),
            last: AtomicU64::new(0),
        }))
    }
}

impl<T, K> Replies<T, K> {
    /// Enters somebody who will wait; `span`: of what is asked, if it is traced.
    #[must_use]
    pub fn enter(&self, span: Option<Span>) -> Waiting<T, K> {
        let request = self.next();
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter::Call(sender);
        self.table().waiting.insert(request, Entry { waiter, span });
        Waiting {
            request,
            receiver,
            replies: self.clone(),
        }
    }

    /// Enters a stream, whose answers go into `outbox`.
    #[must_use]
    pub fn enroll(&self, outbox: Outbox<Told<T, K>>) -> Enrolled<T, K> {
        let stream = self.next().0;
        self.table().streams.insert(stream, outbox);
        Enrolled {
            stream,
            replies: self.clone(),
        }
    }

    /// Hands over an answer. Whoever no longer waits is passed over in silence:
    /// a caller may hang up at any time.
    pub fn answer(&self, request: RequestId, answer: T) {
        let mut table = self.table();
        match table.waiting.remove(&request).map(|entry| entry.waiter) {
            Some(Waiter::Call(sender)) => {
                drop(table);
                let _ = sender.send(answer);
            }
            Some(Waiter::Stream { stream, tag }) => {
                if let Some(outbox) = table.streams.get(&stream) {
                    let answer = Ok(answer);
                    outbox.settle(Told { tag, answer });
                }
            }
            None => {}
        }
    }

    /// Takes the span of what was asked, to say in it what comes of it.
    pub fn take_span(&self, request: RequestId) -> Option<Span> {
        self.table().waiting.get_mut(&request)?.span.take()
    }

    /// Sends everybody away without an answer: the node says nothing more. A
    /// stream still says what was answered, and ends.
    pub fn hang_up(&self) {
        let mut table = self.table();
        table.waiting.clear();
        for outbox in table.streams.values() {
            outbox.close();
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table().waiting.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table().waiting.is_empty()
    }

    fn next(&self) -> RequestId {
        RequestId(self.0.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A panic elsewhere cannot leave a map half changed, so poison is ignored.
    fn table(&self) -> MutexGuard<'_, Table<T, K>> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits. Dropping it takes the entry out of the table; what was asked
/// goes on all the same.
#[derive(Debug)]
pub struct Waiting<T, K = u64> {
    request: RequestId,
    receiver: oneshot::Receiver<T>,
    replies: Replies<T, K>,
}

impl<T, K> Waiting<T, K> {
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

impl<T, K> Drop for Waiting<T, K> {
    fn drop(&mut self) {
        self.replies.table().waiting.remove(&self.request);
    }
}

/// A stream that waits for many answers. Dropping it takes all of its requests out
/// of the table.
#[derive(Debug)]
pub struct Enrolled<T, K> {
    stream: u64,
    replies: Replies<T, K>,
}

impl<T, K> Enrolled<T, K> {
    /// Enters one of the stream's requests; `span`: its own, if it is traced.
    #[must_use]
    pub fn enter(&self, tag: K, span: Option<Span>) -> RequestId {
        let request = self.replies.next();
        let stream = self.stream;
        let waiter = Waiter::Stream { stream, tag };
        let mut table = self.replies.table();
        table.waiting.insert(request, Entry { waiter, span });
        drop(table);
        request
    }
}

impl<T, K> Drop for Enrolled<T, K> {
    fn drop(&mut self) {
        let mut table = self.replies.table();
        table.streams.remove(&self.stream);
        let stream = self.stream;
        table.waiting.retain(
            |_, entry| !matches!(entry.waiter, Waiter::Stream { stream: of, .. } if of == stream),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn each_gets_its_own_answer_and_leaves_no_trace() {
        let replies = Replies::<_>::default();
        let (first, second, third) = (
            replies.enter(None),
            replies.enter(None),
            replies.enter(None),
        );
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
        let waiting = replies.enter(None);
        replies.hang_up();
        assert_eq!(waiting.answer().await, None);
    }
}
