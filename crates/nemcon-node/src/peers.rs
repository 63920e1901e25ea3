//! Links to other nodes.
//!
//! A call is a task of its own with a time limit; what comes of it, answer or
//! failure, goes back into the inbox. The number of calls in flight at one peer
//! is bounded: a peer that has stopped answering costs so much memory and no
//! more, and further calls fail at once, to be tried again by the machine.
//!
//! A coordinator sends most of its calls to participants otherwise, many in one
//! message on an `Exchange` stream, which is its own business. This is the way for
//! all that is asked seldom, and for peers without such a stream.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::inbox::Inbox;

/// There are too many calls in flight on this link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFull;

/// The way to one peer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Link {
    address: String,
    channel: Channel,
    room: Arc<Semaphore>,
}

impl Link {
    /// A link over a channel, for at most `calls_max` calls at a time.
    #[must_use]
    pub fn new(address: impl Into<String>, channel: Channel, calls_max: usize) -> Self {
        let room = Arc::new(Semaphore::new(calls_max.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            address: address.into(),
            channel,
            room,
        }
    }

    /// The peer's URL.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts a call of at most `limit`. Its result becomes an event and is
    /// delivered to `inbox`. What a status means for what the peer may have done
    /// is for [`nemcon_net::Unanswered`] to judge.
    ///
    /// # Errors
    /// [`LinkFull`]; then nothing was sent.
    pub fn call<T, E, F>(
        &self,
        limit: Duration,
        inbox: &Inbox<E>,
        call: impl FnOnce(Channel) -> F,
        event: impl FnOnce(Result<T, Status>) -> E + Send + 'static,
    ) -> Result<(), LinkFull>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: Future<Output = Result<Response<T>, Status>> + Send + 'static,
    {
        let room = Arc::clone(&self.room)
            .try_acquire_owned()
            .map_err(|_| LinkFull)?;
        let (answer, inbox) = (call(self.channel.clone()), inbox.clone());
        tokio::spawn(async move {
            let result = nemcon_net::call(limit, answer).await;
            // The room is given back only when the result has found its place:
            // so those who wait before the inbox are bounded too.
            inbox.deliver(event(result)).await;
            drop(room);
        });
        Ok(())
    }
}

/// Links by key, at most so many; the one that was not used for longest makes
/// room. For peers whose addresses come from others, who may name any number.
#[derive(Debug)]
pub struct Links<K> {
    links: BTreeMap<K, (u64, Link)>,
    links_max: usize,
    uses: u64,
}

impl<K: Ord + Clone> Links<K> {
    /// No links yet.
    #[must_use]
    pub const fn new(links_max: usize) -> Self {
        Self {
            links: BTreeMap::new(),
            links_max,
            uses: 0,
        }
    }

    /// The link under this key.
    pub fn link(&mut self, key: &K) -> Option<&Link> {
        self.uses += 1;
        let (used, link) = self.links.get_mut(key)?;
        *used = self.uses;
        Some(link)
    }

    /// Sets the link under a key, in place of any other. Calls in flight on the
    /// old one go on.
    pub fn set(&mut self, key: K, link: Link) {
        self.uses += 1;
        self.links.insert(key, (self.uses, link));
        if self.links.len() > self.links_max {
            let oldest = self.links.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.links.remove(&key);
            }
        }
    }

    /// Lets go of a link.
    pub fn remove(&mut self, key: &K) {
        self.links.remove(key);
    }
}
