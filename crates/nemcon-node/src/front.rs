//! The front of a node: where its gRPC services hand in requests and wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use nemcon_core::id::RequestId;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_trace::Span;

use crate::inbox::{Inbox, NotTaken};
use crate::replies::Replies;

/// How far the node is in its life, as far as callers are concerned.
///
/// While it drains, the gate stays open: the machine itself refuses new work by
/// then, and must go on answering questions about what is not finished.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicU8>);

const CLOSED: u8 = 0;
const OPEN: u8 = 1;

impl Gate {
    /// Recovery is over.
    pub fn open(&self) {
        self.0.store(OPEN, Ordering::Release);
    }

    /// The node takes nothing more.
    pub fn close(&self) {
        self.0.store(CLOSED, Ordering::Release);
    }

    /// Whether requests are taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == OPEN
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The node is recovering or has stopped. The request was not looked at.
    #[error("the node is starting or stopping; send again")]
    NotServing,
    /// The node's queue is full. The request was not looked at.
    #[error("the node has too many requests in its queue; send again later, and fewer")]
    Busy,
    /// The node stopped while it worked on the request. What came of it is not
    /// known here.
    #[error("the node stopped before it answered; ask for the outcome by id")]
    Lost,
}

impl From<NoAnswer> for Refusal {
    fn from(no_answer: NoAnswer) -> Self {
        let reason = match no_answer {
            NoAnswer::NotServing => Reason::NOT_SERVING,
            NoAnswer::Busy => Reason::TOO_MANY_REQUESTS,
            NoAnswer::Lost => Reason::OUTCOME_UNKNOWN,
        };
        Self::retryable(reason, no_answer.to_string())
    }
}

/// Takes requests of type `E` in and brings answers of type `T` back. Streams know
/// their requests by a `K`.
#[derive(Debug)]
pub struct Front<E, T, K = u64> {
    inbox: Inbox<E>,
    replies: Replies<T, K>,
    gate: Gate,
}

impl<E, T, K> Clone for Front<E, T, K> {
    fn clone(&self) -> Self {
        Self {
            inbox: self.inbox.clone(),
            replies: self.replies.clone(),
            gate: self.gate.clone(),
        }
    }
}

impl<E, T, K> Front<E, T, K> {
    /// A front before an inbox. Whoever performs the machine's effects answers
    /// through [`Front::replies`].
    #[must_use]
    pub fn new(inbox: Inbox<E>, gate: Gate) -> Self {
        Self {
            inbox,
            replies: Replies::default(),
            gate,
        }
    }

    /// The table of those who wait.
    #[must_use]
    pub const fn replies(&self) -> &Replies<T, K> {
        &self.replies
    }

    /// Whether requests are taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.gate.is_open()
    }

    /// Where events go.
    pub(crate) const fn inbox(&self) -> &Inbox<E> {
        &self.inbox
    }

    /// Hands in a request and waits for its answer.
    ///
    /// Dropping the future (the caller hung up, its deadline has passed) drops
    /// only the waiting: what was asked for goes on.
    ///
    /// # Errors
    /// [`NoAnswer`]. Only [`NoAnswer::Lost`] leaves open what happened.
    pub async fn ask(&self, event: impl FnOnce(RequestId) -> E) -> Result<T, NoAnswer> {
        self.ask_within(None, event).await
    }

    /// The same, within a span, if it is traced.
    ///
    /// # Errors
    /// As [`Front::ask`].
    pub async fn ask_within(
        &self,
        span: Option<Span>,
        event: impl FnOnce(RequestId) -> E,
    ) -> Result<T, NoAnswer> {
        if !self.gate.is_open() {
            return Err(NoAnswer::NotServing);
        }
        let waiting = self.replies.enter(span);
        match self.inbox.offer(event(waiting.request())) {
            Ok(()) => waiting.answer().await.ok_or(NoAnswer::Lost),
            Err(NotTaken::Full) => Err(NoAnswer::Busy),
            Err(NotTaken::Closed) => Err(NoAnswer::NotServing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_request_meets_the_gate_the_queue_and_the_end_of_the_node() {
        let (inbox, mut events) = Inbox::new(1);
        let gate = Gate::default();
        let front = Front::<RequestId, &str, u64>::new(inbox, gate.clone());
        assert_eq!(front.ask(|id| id).await, Err(NoAnswer::NotServing));

        gate.open();
        let asked = tokio::spawn({
            let front = front.clone();
            async move { front.ask(|id| id).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(front.ask(|id| id).await, Err(NoAnswer::Busy));
        let request = events.recv().await.unwrap();
        front.replies().answer(request, "done");
        assert_eq!(asked.await.unwrap(), Ok("done"));

        let asked = tokio::spawn({
            let front = front.clone();
            async move { front.ask(|id| id).await }
        });
        tokio::task::yield_now().await;
        front.replies().hang_up();
        assert_eq!(asked.await.unwrap(), Err(NoAnswer::Lost));
        drop(events);
        assert_eq!(front.ask(|id| id).await, Err(NoAnswer::NotServing));
    }
}
