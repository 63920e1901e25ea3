//! What waits to leave on a stream, and leaves in frames.
//!
//! ```text
//!   push, push, push ──▶ queue ──▶ Frames ── one frame: all that waits ──▶ stream
//!                                     │
//!   room() ◀──────── taken ───────────┘  (when the peer has room for it)
//! ```
//!
//! There is no timer: whoever carries the stream takes all that is queued as soon
//! as the peer has room, and what comes meanwhile waits for the next frame. So a
//! frame holds one item while little is to be done, and hundreds under load, and
//! whoever pushes wakes the stream once for each frame and not for each item.
//!
//! Nobody waits in [`Outbox::push`]. Whoever feeds an outbox bounds it: by
//! refusing when [`Outbox::waiting`] is too much, or by waiting for
//! [`Outbox::room`]. A peer that reads slowly takes fewer frames, so it is met
//! with one or the other.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio_stream::Stream;

/// Bytes from which a frame is complete. Enough to make the cost of a frame (some
/// 15 µs) small against that of its hundreds of items, and so little that nothing
/// waits long behind it. A single longer item is a frame by itself.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// The end that is pushed to. Cheap to clone; all clones are one queue.
#[derive(Debug)]
pub struct Outbox<T>(Arc<Mutex<Queue<T>>>);

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<T>,
    /// Pushed and not yet in a frame.
    waiting: usize,
    /// Answers that will still be pushed.
    owed: usize,
    life: Life,
    /// Whoever carries the stream.
    carrier: Option<Waker>,
    /// Whoever waits for room.
    feeder: Option<Waker>,
}

/// In the order in which a stream goes through them; it may skip some, and never goes
/// back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    /// Takes items.
    Open,
    /// Ends when nothing waits and nothing is owed.
    Finishing,
    /// Ends when nothing waits.
    Closed,
    /// Nobody carries the stream any more.
    Gone,
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Outbox<T> {
    /// An outbox, and its frames; `pack` makes of an item what is sent, and says
    /// how many bytes that has.
    #[must_use]
    pub fn new<W>(pack: impl FnMut(T) -> (W, usize) + Send + 'static) -> (Self, Frames<T, W>) {
        let queue = Queue {
            items: VecDeque::new(),
            waiting: 0,
            owed: 0,
            life: Life::Open,
            carrier: None,
            feeder: None,
        };
        let outbox = Self(Arc::new(Mutex::new(queue)));
        let frames = Frames {
            outbox: outbox.clone(),
            taken: VecDeque::new(),
            next: None,
            pack: Box::new(pack),
        };
        (outbox, frames)
    }

    /// Queues an item. It is dropped if the stream is closed.
    pub fn push(&self, item: T) {
        let mut queue = self.queue();
        if matches!(queue.life, Life::Closed | Life::Gone) {
            return;
        }
        queue.items.push_back(item);
        queue.waiting += 1;
        let carrier = queue.carrier.take();
        drop(queue);
        wake(carrier);
    }

    /// Notes that an item will be pushed with [`Outbox::settle`].
    pub fn owe(&self) {
        self.queue().owed += 1;
    }

    /// Queues an item that is owed.
    pub fn settle(&self, item: T) {
        let mut queue = self.queue();
        queue.owed = queue.owed.saturating_sub(1);
        drop(queue);
        self.push(item);
    }

    /// Items that wait to leave.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue().waiting
    }

    /// Items that are owed.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.queue().owed
    }

    /// Waits until fewer than `waiting_max` wait to leave, and fewer than `owed_max`
    /// are owed or wait. `false`: the stream has ended, and nobody will read more.
    ///
    /// Only one may wait here at a time.
    pub async fn room(&self, waiting_max: usize, owed_max: usize) -> bool {
        poll_fn(|context| {
            let mut queue = self.queue();
            if matches!(queue.life, Life::Closed | Life::Gone) {
                return Poll::Ready(false);
            }
            if queue.waiting < waiting_max && queue.waiting + queue.owed < owed_max {
                return Poll::Ready(true);
            }
            queue.feeder = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Nothing more is asked for: the stream ends when what is owed has left.
    pub fn finish(&self) {
        self.end(Life::Finishing);
    }

    /// Ends the stream when what waits has left. What is owed never comes.
    pub fn close(&self) {
        self.end(Life::Closed);
    }

    fn end(&self, life: Life) {
        let mut queue = self.queue();
        queue.life = queue.life.max(life);
        let (carrier, feeder) = (queue.carrier.take(), queue.feeder.take());
        drop(queue);
        wake(carrier);
        wake(feeder);
    }

    /// A panic elsewhere cannot leave a queue half changed, so poison is ignored.
    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The end that leaves: a stream of frames, each with at least one item and about
/// [`FRAME_BYTES_MAX`] at most. Dropping it tells whoever pushes that nobody
/// listens.
pub struct Frames<T, W> {
    outbox: Outbox<T>,
    /// Out of the queue, and not yet in a frame.
    taken: VecDeque<T>,
    /// Did not fit into the frame before.
    next: Option<(W, usize)>,
    pack: Box<dyn FnMut(T) -> (W, usize) + Send>,
}

impl<T, W> Frames<T, W> {
    /// Takes one frame's worth of what was taken from the queue.
    fn frame(&mut self) -> Vec<W> {
        let mut bytes = 0;
        let mut frame = Vec::with_capacity(self.taken.len().min(256) + 1);
        let mut next = self.next.take();
        loop {
            let packed = next
                .take()
                .or_else(|| self.taken.pop_front().map(&mut self.pack));
            let Some((item, size)) = packed else {
                return frame;
            };
            bytes += size;
            if bytes > FRAME_BYTES_MAX && !frame.is_empty() {
                self.next = Some((item, size));
                return frame;
            }
            frame.push(item);
        }
    }
}

/// Nothing in it is ever pinned.
impl<T, W> Unpin for Frames<T, W> {}

impl<T, W> Stream for Frames<T, W> {
    type Item = Vec<W>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Vec<W>>> {
        let this = Pin::into_inner(self);
        if this.taken.is_empty() {
            let mut queue = this.outbox.queue();
            std::mem::swap(&mut queue.items, &mut this.taken);
            if this.taken.is_empty() && this.next.is_none() {
                let over = match queue.life {
                    Life::Open => false,
                    Life::Finishing => queue.owed == 0,
                    Life::Closed | Life::Gone => true,
                };
                if over {
                    return Poll::Ready(None);
                }
                queue.carrier = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        let frame = this.frame();
        let mut queue = this.outbox.queue();
        queue.waiting = queue.waiting.saturating_sub(frame.len());
        let feeder = queue.feeder.take();
        drop(queue);
        wake(feeder);
        Poll::Ready(Some(frame))
    }
}

impl<T, W> Drop for Frames<T, W> {
    fn drop(&mut self) {
        let mut queue = self.outbox.queue();
        queue.life = Life::Gone;
        let items = std::mem::take(&mut queue.items);
        let feeder = queue.feeder.take();
        drop(queue);
        drop(items);
        wake(feeder);
    }
}

impl<T, W> std::fmt::Debug for Frames<T, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames")
            .field("taken", &self.taken.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    /// Items that say themselves how long they are.
    fn outbox() -> (Outbox<usize>, Frames<usize, usize>) {
        Outbox::new(|bytes| (bytes, bytes))
    }

    /// The stream as it is now: a frame, its end, or nothing yet.
    fn look<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        match future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(ready) => Some(ready),
            Poll::Pending => None,
        }
    }

    #[test]
    fn all_that_waits_leaves_in_one_frame_and_in_its_order() {
        let (outbox, mut frames) = outbox();
        assert_eq!(look(frames.next()), None);
        for item in [3, 1, 2] {
            outbox.push(item);
        }
        assert_eq!(outbox.waiting(), 3);
        assert_eq!(look(frames.next()), Some(Some(vec![3, 1, 2])));
        assert_eq!((outbox.waiting(), look(frames.next())), (0, None));
    }

    #[test]
    fn a_frame_has_its_bytes_and_an_item_that_is_longer_is_one_by_itself() {
        let (outbox, mut frames) = outbox();
        let half = FRAME_BYTES_MAX / 2;
        for item in [half, half, 1, 3 * FRAME_BYTES_MAX, 1] {
            outbox.push(item);
        }
        let mut next = || look(frames.next()).unwrap().unwrap();
        assert_eq!(next(), [half, half]);
        assert_eq!(next(), [1]);
        assert_eq!(next(), [3 * FRAME_BYTES_MAX]);
        assert_eq!(next(), [1]);
        assert_eq!((outbox.waiting(), look(frames.next())), (0, None));
    }

    #[test]
    fn whoever_feeds_waits_for_the_peer_to_take() {
        let (outbox, mut frames) = outbox();
        outbox.push(1);
        outbox.owe();
        assert_eq!(look(outbox.room(2, 3)), Some(true));
        assert_eq!(look(outbox.room(1, 3)), None, "one waits to leave");
        assert_eq!(look(outbox.room(2, 2)), None, "and one is owed");
        assert!(look(frames.next()).is_some());
        assert_eq!(look(outbox.room(1, 2)), Some(true));
        drop(frames);
        assert_eq!(look(outbox.room(1, 2)), Some(false), "nobody listens");
        outbox.push(7);
        assert_eq!(outbox.waiting(), 0, "and nothing is kept for nobody");
    }

    #[test]
    fn a_closed_stream_waits_for_nothing_whoever_finishes_it_after() {
        let (outbox, mut frames) = outbox();
        outbox.owe();
        outbox.close();
        outbox.finish();
        assert_eq!(look(frames.next()), Some(None));
    }

    #[test]
    fn a_stream_that_finishes_waits_for_what_is_owed() {
        let (outbox, mut frames) = outbox();
        outbox.owe();
        outbox.finish();
        assert_eq!(look(frames.next()), None);
        outbox.settle(5);
        assert_eq!(look(frames.next()), Some(Some(vec![5])));
        assert_eq!(look(frames.next()), Some(None));
    }

    #[test]
    fn a_stream_that_closes_says_what_waits_and_no_more() {
        let (outbox, mut frames) = outbox();
        outbox.push(1);
        outbox.owe();
        outbox.close();
        outbox.settle(2);
        assert_eq!(look(frames.next()), Some(Some(vec![1])));
        assert_eq!(look(frames.next()), Some(None));
    }
}
