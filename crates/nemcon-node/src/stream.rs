//! Streams of requests: many in one message, and answers as they come.
//!
//! ```text
//!   frames in ── reader ── Requests::ask ──▶ inbox ──▶ machine
//!                  │ waits for room                       │
//!   frames out ◀── Answers ◀── one queue ◀── replies ◀────┘
//! ```
//!
//! A stream costs one task, one queue and one entry for each request that is not
//! answered, however many requests there are: no task, no channel and no wake-up
//! for each. What a peer does not read stays in the queue, and the reader takes
//! nothing more while the queue is long; so a peer that is slow is met with its own
//! slowness, and its requests wait on its side.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use nemcon_core::id::RequestId;
use nemcon_net::{Frames, Outbox};
use nemcon_trace::Span;
use tokio::task::AbortHandle;
use tokio_stream::Stream;
use tonic::Status;

use crate::front::{Front, NoAnswer};
use crate::replies::{Enrolled, Told};

/// The end of a stream that asks.
#[derive(Debug)]
pub struct Requests<E, T, K> {
    front: Front<E, T, K>,
    outbox: Outbox<Told<T, K>>,
    enrolled: Arc<Enrolled<T, K>>,
}

/// The end of a stream that answers. Dropping it (the peer has hung up) ends the
/// reader as well; what was asked goes on.
#[derive(Debug)]
pub struct Answers<T, K, W> {
    frames: Frames<Told<T, K>, W>,
    /// What could not be read; said when all that is owed has left.
    unread: Option<Arc<OnceLock<Status>>>,
    reader: AbortHandle,
    /// For what is still owed when nothing more is asked.
    _enrolled: Arc<Enrolled<T, K>>,
}

impl<E, T: Send + 'static, K: Send + 'static> Requests<E, T, K> {
    /// Begins a stream. `pack` makes of an answer what is sent, and says how many
    /// bytes that has; `read` takes requests in until there are no more, or until
    /// something comes that cannot be read: with that status the stream ends, after
    /// the answers to what came before.
    ///
    /// # Errors
    /// [`NoAnswer::NotServing`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn begin<W, R>(
        front: &Front<E, T, K>,
        pack: impl FnMut(Told<T, K>) -> (W, usize) + Send + 'static,
        read: impl FnOnce(Self) -> R,
    ) -> Result<Answers<T, K, W>, NoAnswer>
    where
        R: Future<Output = Result<(), Status>> + Send + 'static,
    {
        if !front.is_open() {
            return Err(NoAnswer::NotServing);
        }
        let (outbox, frames) = Outbox::new(pack);
        let enrolled = Arc::new(front.replies().enroll(outbox.clone()));
        let front = front.clone();
        let requests = Self {
            front,
            outbox: outbox.clone(),
            enrolled: Arc::clone(&enrolled),
        };
        let read = read(requests);
        let unread = Arc::new(OnceLock::new());
        let ending = Arc::clone(&unread);
        let reader = tokio::spawn(async move {
            if let Err(status) = read.await {
                // Nobody else sets it.
                let _ = ending.set(status);
            }
            outbox.finish();
        });
        Ok(Answers {
            frames,
            unread: Some(unread),
            reader: reader.abort_handle(),
            _enrolled: enrolled,
        })
    }

    /// Waits until fewer than `unsent_max` answers wait for the peer to take them,
    /// and fewer than `open_max` requests are without an answer that has left.
    /// `false`: nobody listens any more.
    pub async fn room(&self, unsent_max: usize, open_max: usize) -> bool {
        self.outbox.room(unsent_max, open_max).await
    }

    /// Requests that the machine has not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.outbox.owed()
    }

    /// Hands in a request, and waits for room in the inbox if need be. `span`: of what is
    /// asked, if it is traced.
    pub async fn ask(&self, tag: K, span: Option<Span>, event: impl FnOnce(RequestId) -> E) {
        self.outbox.owe();
        let request = self.enrolled.enter(tag, span);
        // Once the driver has ended, it has sent all streams away.
        self.front.inbox().deliver(event(request)).await;
    }

    /// Whether the node still takes requests.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.front.is_open()
    }

    /// Answers a request that does not go to the machine.
    pub fn refuse(&self, tag: K, status: Status) {
        let answer = Err(Box::new(status));
        self.outbox.push(Told { tag, answer });
    }
}

impl<T, K, W> Stream for Answers<T, K, W> {
    type Item = Result<Vec<W>, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = ready!(Pin::new(&mut self.frames).poll_next(context));
        Poll::Ready(match frame {
            Some(frame) => Some(Ok(frame)),
            None => {
                let unread = self.unread.take();
                unread.and_then(|it| it.get().cloned()).map(Err)
            }
        })
    }
}

impl<T, K, W> Drop for Answers<T, K, W> {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio_stream::StreamExt;

    use super::*;
    use crate::front::Gate;
    use crate::inbox::Inbox;

    type Sent = (u64, Option<&'static str>);

    fn pack(told: Told<&'static str, u64>) -> (Sent, usize) {
        ((told.tag, told.answer.ok()), 1)
    }

    async fn next(answers: &mut Answers<&'static str, u64, Sent>) -> Option<Vec<Sent>> {
        answers.next().await.transpose().unwrap()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_stream_has_all_its_answers_before_it_ends_and_leaves_no_trace() {
        let (inbox, mut events) = Inbox::new(1);
        let gate = Gate::default();
        let front = Front::<RequestId, &str>::new(inbox, gate.clone());
        let nobody = Requests::begin(&front, pack, async |_| Ok(()));
        assert_eq!(nobody.err(), Some(NoAnswer::NotServing));

        gate.open();
        let ask = async |requests: Requests<_, _, u64>| {
            requests.ask(7, None, |id| id).await;
            requests.ask(8, None, |id| id).await;
            requests.refuse(9, Status::unimplemented("what?"));
            Ok(())
        };
        let mut answers = Requests::begin(&front, pack, ask).unwrap();
        // The inbox has room for one: the second waits, and so does the refusal.
        let first = events.recv().await.unwrap();
        let second = events.recv().await.unwrap();
        assert_eq!(next(&mut answers).await, Some(vec![(9, None)]));
        front.replies().answer(second, "two");
        assert_eq!(next(&mut answers).await, Some(vec![(8, Some("two"))]));
        front.replies().answer(first, "one");
        assert_eq!(next(&mut answers).await, Some(vec![(7, Some("one"))]));
        assert_eq!(next(&mut answers).await, None);
        drop(answers);
        assert!(front.replies().is_empty());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn whoever_hangs_up_is_forgotten_and_the_end_of_the_node_ends_the_stream() {
        let (inbox, mut events) = Inbox::new(4);
        let gate = Gate::default();
        gate.open();
        let front = Front::<RequestId, &str>::new(inbox, gate);
        let begin = || {
            let ask = async |requests: Requests<_, _, u64>| {
                requests.ask(1, None, |id| id).await;
                std::future::pending().await
            };
            Requests::begin(&front, pack, ask).unwrap()
        };
        let hangs_up = begin();
        let request = events.recv().await.unwrap();
        drop(hangs_up);
        tokio::task::yield_now().await;
        assert!(front.replies().is_empty());
        front.replies().answer(request, "to nobody");

        let mut stays = begin();
        events.recv().await.unwrap();
        front.replies().hang_up();
        assert_eq!(next(&mut stays).await, None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_peer_that_does_not_read_is_read_no_further() {
        let (inbox, mut events) = Inbox::new(100);
        let gate = Gate::default();
        gate.open();
        let front = Front::<RequestId, &str>::new(inbox, gate);
        let asked = Arc::new(Mutex::new(0));
        let count = Arc::clone(&asked);
        let ask = move |requests: Requests<_, _, u64>| async move {
            while requests.room(3, usize::MAX).await {
                requests.ask(0, None, |id| id).await;
                *count.lock().unwrap() += 1;
            }
            Ok(())
        };
        let mut answers = Requests::begin(&front, pack, ask).unwrap();
        for _ in 0..3 {
            let request = events.recv().await.unwrap();
            front.replies().answer(request, "unread");
        }
        // Those that came in before the third answer are there; no more come.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let before = *asked.lock().unwrap();
        while let Ok(request) = events.try_recv() {
            front.replies().answer(request, "unread");
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*asked.lock().unwrap(), before, "nobody has read");
        let frame = next(&mut answers).await;
        assert_eq!(frame.map(|frame| frame.len()), Some(before));
        while *asked.lock().unwrap() == before {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_cannot_be_read_ends_the_stream_behind_what_is_owed() {
        let (inbox, mut events) = Inbox::new(1);
        let gate = Gate::default();
        gate.open();
        let front = Front::<RequestId, &str>::new(inbox, gate);
        let ask = async |requests: Requests<_, _, u64>| {
            requests.ask(7, None, |id| id).await;
            Err(Status::invalid_argument("no frame"))
        };
        let mut answers = Requests::begin(&front, pack, ask).unwrap();
        let request = events.recv().await.unwrap();
        front.replies().answer(request, "seven");
        assert_eq!(next(&mut answers).await, Some(vec![(7, Some("seven"))]));
        let end = answers.next().await.unwrap().unwrap_err();
        assert_eq!(end.message(), "no frame");
        assert!(answers.next().await.is_none());
        drop(answers);
        assert!(front.replies().is_empty());
    }
}
