//! A participant's node, from within its own process.

use std::sync::{Arc, OnceLock};

use nemcon_core::id::{ParticipantId, ParticipantName};
use nemcon_core::message::Answer;
use nemcon_core::participant::event::{Event, Reply};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::resource::Resource;
use nemcon_node::front::Front;
use nemcon_proto::convert::{Method, kind_of};
use nemcon_trace::Tracer;

/// What the machine says to somebody who waits.
#[derive(Debug)]
pub(crate) enum Said<R> {
    /// To a coordinator.
    Answer(Answer<R>),
    /// To anyone else.
    Reply(Reply<R>),
}

/// What a stream knows a call by: its number, and which it is, if this version knows
/// it.
pub(crate) type Tag = (u64, Option<Method>);

/// Requests in, answers out.
pub(crate) type ParticipantFront<R> =
    Front<Event<<R as Resource>::Action>, Said<<R as Resource>::Result>, Tag>;

/// The node for services of your own on its port. Cheap to clone.
///
/// It only reads. Whatever writes must go through a coordinator, or through the
/// client that asks one.
pub struct Handle<R: Resource> {
    pub(crate) front: ParticipantFront<R>,
    pub(crate) name: Arc<ParticipantName>,
    pub(crate) url: Arc<str>,
    /// Known once the log has been read.
    pub(crate) id: Arc<OnceLock<ParticipantId>>,
    pub(crate) tracer: Tracer,
}

impl<R: Resource> Clone for Handle<R> {
    fn clone(&self) -> Self {
        Self {
            front: self.front.clone(),
            name: Arc::clone(&self.name),
            url: Arc::clone(&self.url),
            id: Arc::clone(&self.id),
            tracer: self.tracer.clone(),
        }
    }
}

/// What reading without locks has found.
#[derive(Debug)]
pub struct Peeked<R> {
    /// What is committed.
    pub committed: Result<R, Refusal>,
    /// What would be if all that is prepared committed; `None`: the same.
    pub pending: Option<Result<R, Refusal>>,
}

impl<R: Resource> Handle<R> {
    /// The name the participant is registered under.
    #[must_use]
    pub fn name(&self) -> &ParticipantName {
        &self.name
    }

    /// The URL under which others reach the node.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Begins the node's spans, or none: for those of your own services.
    #[must_use]
    pub const fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// The identity of its data directory; none while the log is being read.
    #[must_use]
    pub fn id(&self) -> Option<ParticipantId> {
        self.id.get().copied()
    }

    /// Reads without taking locks and without waiting for anyone: a look, not a
    /// read that a decision may rest on.
    ///
    /// # Errors
    /// A [`Refusal`] if the node does not serve or has too much to do.
    pub async fn peek(&self, action: R::Action) -> Result<Peeked<R::Result>, Refusal> {
        let reply = self
            .ask(|request| Event::PeekRequested { request, action })
            .await?;
        match reply {
            Reply::Peeked { committed, pending } => Ok(Peeked { committed, pending }),
            other => Err(misfit(&other)),
        }
    }

    /// Asks for a reply; a refusal of the machine becomes an error.
    pub(crate) async fn ask(
        &self,
        event: impl FnOnce(nemcon_core::id::RequestId) -> Event<R::Action>,
    ) -> Result<Reply<R::Result>, Refusal> {
        match self.front.ask(event).await? {
            Said::Reply(Reply::Refused(refusal)) => Err(refusal),
            Said::Reply(reply) => Ok(reply),
            Said::Answer(answer) => Err(misfit(&answer)),
        }
    }
}

/// An answer that does not fit its question: a bug of ours, which must not take
/// the node down.
pub(crate) fn misfit(answer: &impl std::fmt::Debug) -> Refusal {
    let answer = kind_of(answer);
    tracing::error!(answer, "a bug: this answers another question");
    Refusal::new(
        Reason::INTERNAL,
        "the node gave an answer to another question: a bug",
    )
}
