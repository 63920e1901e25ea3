//! Spans of transactions, beside a machine that knows nothing of them.
//!
//! ```text
//!   the client's span
//!     └ RunTransaction ──────────── from the request to the answer
//!         ├ prepare ─────────────── from the questions to the last vote, or the abort
//!         │   ├ Prepare (bank-a)
//!         │   └ Prepare (bank-b)
//!         ├ decide ──────────────── until the decision is durable
//!         └ commit ──────────────── until all have acknowledged
//!             ├ Commit (bank-a)
//!             └ Commit (bank-b)
//! ```
//!
//! Nothing of this is asked of the machine: the request's span waits with whoever
//! waits for the answer, and a phase begins and ends with the changes that the machine
//! tells those who watch. Of a transaction that is not recorded there is nothing here,
//! and where export is off there is no table.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nemcon_core::coordinator::event::{Ending, Reply, State, View, VoteKind};
use nemcon_core::id::{AttemptId, RequestId, TransactionId};
use nemcon_core::message::{Call, Payload, ToParticipant};
use nemcon_node::replies::Replies;
use nemcon_trace::{Context, Kind, Span, Tracer};

use crate::api::Tag;

/// Recorded transactions that are followed at a time. More than run at a time unless
/// that is set otherwise; the oldest is given up then.
const OPEN_MAX: usize = 16_384;

/// What is known of the spans of transactions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Traces(Option<Arc<Shared>>);

struct Shared {
    tracer: Tracer,
    table: Mutex<Table>,
}

/// Transactions that are recorded and have not ended.
#[derive(Default)]
struct Table {
    open: BTreeMap<TransactionId, Open>,
    /// Most messages name only the attempt.
    attempts: BTreeMap<AttemptId, TransactionId>,
}

struct Open {
    /// The client's last request: what is done now is done on its behalf.
    request: Context,
    /// None before the first message.
    attempt: Option<AttemptId>,
    phase: Option<Phase>,
}

struct Phase {
    state: State,
    span: Span,
}

impl Traces {
    pub(crate) fn new(tracer: Tracer) -> Self {
        let shared = || {
            Arc::new(Shared {
                tracer: tracer.clone(),
                table: Mutex::default(),
            })
        };
        Self(tracer.is_on().then(shared))
    }

    /// A client asks for a new transaction, in the trace that `parent` reads, or in one
    /// that begins here. `None`: it is not recorded.
    pub(crate) fn opened(
        &self,
        name: &'static str,
        transaction: TransactionId,
        parent: impl FnOnce() -> Option<Context>,
    ) -> Option<Span> {
        let shared = self.0.as_ref()?;
        shared.request(name, transaction, parent().as_ref())
    }

    /// A client asks for more of a transaction. If it names no trace, that is the one
    /// that the transaction is in.
    pub(crate) fn continued(
        &self,
        name: &'static str,
        transaction: TransactionId,
        parent: impl FnOnce() -> Option<Context>,
    ) -> Option<Span> {
        let shared = self.0.as_ref()?;
        let known = || {
            let table = shared.table();
            table
                .open
                .get(&transaction)
                .map(|open| open.request.clone())
        };
        let parent = parent().or_else(known)?;
        shared.request(name, transaction, Some(&parent))
    }

    /// A request has its answer, or will have none. Nothing comes of a transaction that
    /// has no attempt by then: it was refused, or had ended long ago.
    pub(crate) fn answered(&self, transaction: TransactionId) {
        if let Some(shared) = &self.0 {
            let mut table = shared.table();
            let open = table.open.get(&transaction);
            if open.is_some_and(|open| open.attempt.is_none()) {
                table.open.remove(&transaction);
            }
        }
    }

    /// Says in the span of a request what the answer is.
    pub(crate) fn conclude(
        &self,
        replies: &Replies<Reply, Tag>,
        request: RequestId,
        reply: &Reply,
    ) {
        if self.0.is_some()
            && let Some(span) = replies.take_span(request)
        {
            conclude(span, reply);
        }
    }

    /// A transaction has changed: a phase is over, and another may begin.
    pub(crate) fn changed(&self, view: &View) {
        if let Some(shared) = &self.0 {
            shared.table().change(&shared.tracer, view);
        }
    }

    /// What a message is sent on behalf of, if that is recorded.
    pub(crate) fn behind(&self, message: &ToParticipant<Payload>) -> Option<Context> {
        self.0.as_ref()?.table().behind(message)
    }
}

impl Shared {
    fn request(
        &self,
        name: &'static str,
        transaction: TransactionId,
        parent: Option<&Context>,
    ) -> Option<Span> {
        let span = self.tracer.enter(Kind::Server, name, parent);
        // Whom a coordinator calls begins no trace, so nobody has to be told "no".
        let mut span = span.filter(Span::is_sampled)?;
        span.set("nemcon.transaction", transaction.to_string());
        self.table().request(transaction, span.context());
        Some(span)
    }

    /// A panic elsewhere cannot leave it half changed, so poison is ignored.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn request(&mut self, transaction: TransactionId, request: Context) {
        if let Some(open) = self.open.get_mut(&transaction) {
            open.request = request;
            return;
        }
        if self.open.len() >= OPEN_MAX
            && let Some((_, oldest)) = self.open.pop_first()
            && let Some(attempt) = oldest.attempt
        {
            self.attempts.remove(&attempt);
        }
        let open = Open {
            request,
            attempt: None,
            phase: None,
        };
        self.open.insert(transaction, open);
    }

    /// The transaction, if it is recorded, which has this attempt from now on.
    fn attempt(&mut self, transaction: TransactionId, attempt: AttemptId) -> Option<&mut Open> {
        let open = self.open.get_mut(&transaction)?;
        if open.attempt != Some(attempt) {
            if let Some(before) = open.attempt.replace(attempt) {
                self.attempts.remove(&before);
                open.phase = None;
            }
            self.attempts.insert(attempt, transaction);
        }
        Some(open)
    }

    fn change(&mut self, tracer: &Tracer, view: &View) {
        let Some(open) = self.attempt(view.transaction, view.attempt) else {
            return;
        };
        let state = open.phase.as_ref().map(|phase| phase.state);
        // It is told as well who waits for what: nothing has begun or ended then.
        if state == Some(view.state) {
            return;
        }
        if let Some(mut phase) = open.phase.take()
            && let Some(cause) = &view.cause
        {
            phase.span.fail(cause.refusal.reason.to_string());
        }
        if matches!(view.state, State::Committed | State::Aborted) {
            self.open.remove(&view.transaction);
            self.attempts.remove(&view.attempt);
            return;
        }
        let state = view.state;
        let span = phase_name(view).and_then(|name| {
            let span = tracer.follow(Kind::Internal, name, &open.request);
            span.map(|span| with_ids(span, view))
        });
        open.phase = span.map(|span| Phase { state, span });
    }

    fn behind(&mut self, message: &ToParticipant<Payload>) -> Option<Context> {
        let call = message.call();
        let open = match message.task() {
            Some(task) => &*self.attempt(task.transaction, task.attempt)?,
            None => self.open.get(self.attempts.get(&call.attempt()?)?)?,
        };
        // An abort leaves while the phase that it ends is still there.
        let phase = open.phase.as_ref();
        Some(match phase.filter(|_| !matches!(call, Call::Abort(_))) {
            Some(phase) => phase.span.context(),
            None => open.request.clone(),
        })
    }
}

/// What a phase is called; none while the client is at work.
fn phase_name(view: &View) -> Option<&'static str> {
    let mut branches = view.branches.iter();
    match view.state {
        State::Preparing => Some("prepare"),
        // Nobody has promised anything: there is nothing to decide.
        State::Prepared if branches.all(|it| it.vote == Some(VoteKind::ReadOnly)) => {
            Some("release")
        }
        State::Prepared => Some("decide"),
        State::Committing => Some("commit"),
        State::Aborting => Some("abort"),
        State::Init | State::Committed | State::Aborted => None,
    }
}

fn with_ids(mut span: Span, view: &View) -> Span {
    span.set("nemcon.transaction", view.transaction.to_string());
    span.set("nemcon.attempt", view.attempt.to_string());
    span
}

/// Says what the answer is, and lets the span end. That a transaction aborted is an
/// answer; that there is none is a failure.
fn conclude(mut span: Span, reply: &Reply) {
    if let Reply::Refused(refusal) = reply {
        span.fail(refusal.reason.to_string());
    }
    let Reply::Finished(report) = reply else {
        return;
    };
    match &report.ending {
        Ending::Committed(_) => span.set("nemcon.outcome", "committed"),
        Ending::Aborted(cause) => {
            span.set("nemcon.outcome", "aborted");
            span.set("nemcon.reason", cause.refusal.reason.to_string());
        }
    }
}
