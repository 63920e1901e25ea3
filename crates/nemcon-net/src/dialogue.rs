//! The asking end of the streams to one peer: whether one stands, and who waits for
//! which answer on it.
//!
//! ```text
//!   way() ──▶ Stands ── ask ──▶ outbox ──▶ stream
//!     │                           who asked waits ◀── take ── answers
//!     ├─────▶ Opens     nobody has begun one: the caller does, and goes by itself
//!     └─────▶ Alone     none stands yet, or none is to be had: by itself
//! ```
//!
//! - A stream is opened when there is something to say, at most one at a time, and
//!   carries nothing before the peer has sent its headers. So a question is never sent
//!   into the void.
//! - A peer that has no such stream (`UNIMPLEMENTED`) is not asked again until
//!   [`Dialogue::look_again`].
//! - [`Opening`] and [`Talk`] are guards. However the task that has one ends, by a
//!   return, a panic, or with its runtime, the stream is closed for new questions, and
//!   whoever waits on it is let go.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Response, Status};

use crate::outbox::Outbox;

/// Pause before a stream is opened anew, after one that has ended or could not be
/// opened. Meanwhile questions go one by one, so nothing waits for it.
const REOPEN_AFTER: Duration = Duration::from_millis(100);

/// The same after one whose headers did not come: whatever stands there may never
/// send them.
const REOPEN_AFTER_SILENCE: Duration = Duration::from_secs(10);

/// What is said with one peer. `Q` is a question as it waits to leave, `W` whoever
/// waits for its answer. Dropping it closes its stream for new questions; those in
/// flight go on to their end.
#[derive(Debug)]
pub struct Dialogue<Q, W> {
    shared: Shared<Q, W>,
}

/// Where a question can go.
#[derive(Debug)]
pub enum Way<'a, Q, W> {
    /// On the stream that stands.
    Stands(Standing<'a, Q, W>),
    /// By itself. Whoever is told this opens a stream for those that come later.
    Opens(Opening<Q, W>),
    /// By itself.
    Alone,
}

/// A stream that stands. Nobody else asks while this is held.
#[derive(Debug)]
pub struct Standing<'a, Q, W> {
    shared: &'a Shared<Q, W>,
    state: MutexGuard<'a, State<Q, W>>,
    outbox: Outbox<Q>,
}

/// A question that was asked.
#[derive(Debug)]
pub struct Asked<Q, W> {
    shared: Shared<Q, W>,
    number: u64,
}

/// A stream that is to be opened.
#[derive(Debug)]
pub struct Opening<Q, W> {
    shared: Shared<Q, W>,
    /// When the next may be opened, if this one does not come to stand.
    pause: Duration,
}

/// A stream that stands, for the task that reads its answers.
#[derive(Debug)]
pub struct Talk<Q, W> {
    shared: Shared<Q, W>,
}

/// Why a stream has not come to stand.
#[derive(Debug)]
pub enum NotOpened {
    /// The peer has none.
    Absent,
    /// The peer said this, or nobody is there.
    Failed(Status),
    /// Its headers did not come.
    Silent,
    /// Nobody holds the dialogue any more.
    Unwanted,
}

type Shared<Q, W> = Arc<Mutex<State<Q, W>>>;

struct State<Q, W> {
    phase: Phase<Q>,
    /// Who has asked, or is about to, on the stream that is open.
    waiting: BTreeMap<u64, W>,
    /// The number of the last question.
    last: u64,
}

#[derive(Debug)]
enum Phase<Q> {
    /// There is no stream, and none is opened before then.
    Closed { until: Instant },
    /// It is being opened.
    Opening,
    /// It stands.
    Open(Outbox<Q>),
    /// The peer has none.
    Absent,
}

impl<Q, W> Dialogue<Q, W> {
    /// No stream yet.
    #[must_use]
    pub fn new() -> Self {
        let until = Instant::now();
        let state = State {
            phase: Phase::Closed { until },
            waiting: BTreeMap::new(),
            last: 0,
        };
        Self {
            shared: Arc::new(Mutex::new(state)),
        }
    }

    /// Where a question can go now.
    #[must_use]
    pub fn way(&self) -> Way<'_, Q, W> {
        let mut state = lock(&self.shared);
        let outbox = match &state.phase {
            Phase::Open(outbox) => outbox.clone(),
            Phase::Closed { until } if *until <= Instant::now() => {
                state.phase = Phase::Opening;
                return Way::Opens(Opening {
                    shared: Arc::clone(&self.shared),
                    pause: REOPEN_AFTER,
                });
            }
            Phase::Closed { .. } | Phase::Opening | Phase::Absent => return Way::Alone,
        };
        Way::Stands(Standing {
            shared: &self.shared,
            state,
            outbox,
        })
    }

    /// Whatever was found at the peer may be another now: one that had no stream is
    /// asked for one again.
    pub fn look_again(&self) {
        look_again(&self.shared);
    }

    /// The same, to be done later.
    pub fn looker(&self) -> impl FnOnce() + Send + 'static
    where
        Q: Send + 'static,
        W: Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        move || look_again(&shared)
    }
}

impl<Q, W> Default for Dialogue<Q, W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Q, W> Drop for Dialogue<Q, W> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        match &state.phase {
            Phase::Open(outbox) => outbox.finish(),
            // One that comes to stand finds this, and closes again.
            Phase::Closed { .. } | Phase::Opening | Phase::Absent => state.phase = Phase::Absent,
        }
    }
}

impl<Q, W> Standing<'_, Q, W> {
    /// The number that the next question will have.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.state.last + 1
    }

    /// Whether so many wait for an answer, or as many questions for their leaving:
    /// those whose asker has given up may still be among them.
    #[must_use]
    pub fn is_full(&self, max: usize) -> bool {
        self.state.waiting.len().max(self.outbox.waiting()) >= max
    }

    /// Sends a question, which has to carry the number that [`Standing::number`] gave,
    /// and notes who waits for its answer.
    pub fn ask(mut self, question: Q, who: W) -> Asked<Q, W> {
        let number = self.number();
        self.state.last = number;
        self.state.waiting.insert(number, who);
        self.outbox.push(question);
        Asked {
            shared: Arc::clone(self.shared),
            number,
        }
    }
}

impl<Q, W> Asked<Q, W> {
    /// Nobody waits for the answer any more; one that comes all the same is too late.
    pub fn give_up(&self) {
        lock(&self.shared).waiting.remove(&self.number);
    }
}

impl<Q, W> Opening<Q, W> {
    /// Waits for the peer's headers, at most so long, and gives the stream once they
    /// have come. `outbox` is where its questions are put in.
    ///
    /// # Errors
    /// [`NotOpened`]; then nothing was asked, and the next stream is opened after a
    /// pause, if at all.
    pub async fn opened<A>(
        mut self,
        outbox: Outbox<Q>,
        headers: impl Future<Output = Result<Response<A>, Status>>,
        within: Duration,
    ) -> Result<(Talk<Q, W>, A), NotOpened> {
        let answers = match tokio::time::timeout(within, headers).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) if status.code() == Code::Unimplemented => {
                lock(&self.shared).phase = Phase::Absent;
                return Err(NotOpened::Absent);
            }
            Ok(Err(status)) => return Err(NotOpened::Failed(status)),
            Err(_) => {
                self.pause = REOPEN_AFTER_SILENCE;
                return Err(NotOpened::Silent);
            }
        };
        let mut state = lock(&self.shared);
        if !matches!(state.phase, Phase::Opening) {
            return Err(NotOpened::Unwanted);
        }
        state.phase = Phase::Open(outbox);
        drop(state);
        let shared = Arc::clone(&self.shared);
        Ok((Talk { shared }, answers))
    }
}

impl<Q, W> Drop for Opening<Q, W> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        if matches!(state.phase, Phase::Opening) {
            let until = Instant::now() + self.pause;
            state.phase = Phase::Closed { until };
        }
    }
}

impl<Q, W> Talk<Q, W> {
    /// Takes out who waits for the answer of this number; nobody, if it is late.
    #[must_use]
    pub fn take(&self, number: u64) -> Option<W> {
        lock(&self.shared).waiting.remove(&number)
    }

    /// Takes out all who have waited for too long.
    #[must_use]
    pub fn take_late(&self, mut is_late: impl FnMut(&W) -> bool) -> Vec<W> {
        let mut state = lock(&self.shared);
        let late = state.waiting.extract_if(.., |_, who| is_late(who));
        late.map(|(_, who)| who).collect()
    }

    /// Closes the stream, and gives who still waits.
    #[must_use]
    pub fn end(&mut self) -> Vec<W> {
        let mut state = lock(&self.shared);
        // Whatever ended it, the peer is not left with half a stream.
        if let Phase::Open(outbox) = &state.phase {
            outbox.close();
            let until = Instant::now() + REOPEN_AFTER;
            state.phase = Phase::Closed { until };
        }
        std::mem::take(&mut state.waiting).into_values().collect()
    }
}

impl<Q, W> Drop for Talk<Q, W> {
    fn drop(&mut self) {
        // The lock is no longer held when they are dropped: that may wake somebody.
        drop(self.end());
    }
}

impl<Q, W> fmt::Debug for State<Q, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Closed { .. } => "closed",
            Phase::Opening => "opening",
            Phase::Open(_) => "open",
            Phase::Absent => "absent",
        };
        f.debug_struct("State")
            .field("phase", &phase)
            .field("waiting", &self.waiting.len())
            .field("last", &self.last)
            .finish()
    }
}

fn look_again<Q, W>(shared: &Mutex<State<Q, W>>) {
    let mut state = lock(shared);
    if matches!(state.phase, Phase::Absent) {
        let until = Instant::now();
        state.phase = Phase::Closed { until };
    }
}

/// A panic elsewhere cannot leave it half changed, so poison is ignored.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio_stream::StreamExt;

    use super::*;
    use crate::outbox::Frames;

    type Said = Dialogue<u64, oneshot::Sender<()>>;

    const WITHIN: Duration = Duration::from_secs(1);

    fn opening(said: &Said) -> Opening<u64, oneshot::Sender<()>> {
        match said.way() {
            Way::Opens(opening) => opening,
            other => panic!("not to be opened: {other:?}"),
        }
    }

    async fn talk(said: &Said) -> (Talk<u64, oneshot::Sender<()>>, Frames<u64, u64>) {
        let (outbox, frames) = Outbox::new(|number| (number, 1));
        let headers = async { Ok(Response::new(())) };
        let opened = opening(said).opened(outbox, headers, WITHIN).await;
        (opened.unwrap().0, frames)
    }

    fn ask(said: &Said) -> (Asked<u64, oneshot::Sender<()>>, oneshot::Receiver<()>) {
        let Way::Stands(standing) = said.way() else {
            panic!("no stream stands");
        };
        let (who, answer) = oneshot::channel();
        let number = standing.number();
        (standing.ask(number, who), answer)
    }

    #[tokio::test(start_paused = true)]
    async fn questions_go_alone_until_a_stream_stands_and_then_in_their_order() {
        let said = Said::new();
        let first = opening(&said);
        assert!(matches!(said.way(), Way::Alone), "one at a time");
        drop(first);
        assert!(matches!(said.way(), Way::Alone), "not at once again");
        tokio::time::advance(REOPEN_AFTER).await;
        let (talk, mut frames) = talk(&said).await;
        let (_, answer) = ask(&said);
        let (given_up, _) = ask(&said);
        assert_eq!(frames.next().await, Some(vec![1, 2]));
        given_up.give_up();
        assert!(talk.take(2).is_none(), "nobody waits for it");
        talk.take(1).unwrap().send(()).unwrap();
        assert_eq!(answer.await, Ok(()));
        drop(said);
        assert_eq!(frames.next().await, None, "nothing more is asked");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_dies_leaves_nobody_waiting() {
        let said = Said::new();
        let (talk, _frames) = talk(&said).await;
        let (_, answer) = ask(&said);
        let dies = tokio::spawn(async move {
            let _talk = talk;
            panic!("as a mistake would");
        });
        assert!(answer.await.is_err(), "no answer, and no wait for one");
        assert!(dies.await.unwrap_err().is_panic());
        assert!(matches!(said.way(), Way::Alone));
        tokio::time::advance(REOPEN_AFTER).await;
        assert!(matches!(said.way(), Way::Opens(_)), "and a new one comes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_silent_or_has_none_is_not_asked_again_at_once() {
        let said = Said::new();
        let (outbox, _frames) = Outbox::new(|number| (number, 1));
        let silent = std::future::pending::<Result<Response<()>, Status>>();
        let opened = opening(&said).opened(outbox.clone(), silent, WITHIN).await;
        assert!(matches!(opened, Err(NotOpened::Silent)));
        tokio::time::advance(REOPEN_AFTER).await;
        assert!(matches!(said.way(), Way::Alone));
        tokio::time::advance(REOPEN_AFTER_SILENCE).await;
        let none = async { Err::<Response<()>, _>(Status::unimplemented("what?")) };
        let opened = opening(&said).opened(outbox, none, WITHIN).await;
        assert!(matches!(opened, Err(NotOpened::Absent)));
        tokio::time::advance(REOPEN_AFTER_SILENCE).await;
        assert!(matches!(said.way(), Way::Alone));
        said.look_again();
        assert!(matches!(said.way(), Way::Opens(_)));
    }
}
