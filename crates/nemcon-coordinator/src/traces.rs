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

    /// Whether anything can be recorded.
    pub(crate) const fn are_on(&self) -> bool {
        self.0.is_some()
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

#[cfg(test)]
mod tests {
    use nemcon_core::coordinator::record::Cause;
    use nemcon_core::history::History;
    use nemcon_core::id::{CoordinatorId, Epoch, Position, Sequence};
    use nemcon_core::reason::{Reason, Refusal};
    use nemcon_core::time::Millis;
    use uuid::Uuid;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

    fn context(flags: &str) -> Context {
        Context::parse(&format!("{PARENT}-{flags}"), "").unwrap()
    }

    fn transaction(number: u64) -> TransactionId {
        TransactionId::from_parts(Millis(number), 7)
    }

    fn attempt(sequence: u64) -> AttemptId {
        AttemptId {
            coordinator: CoordinatorId::new(Uuid::from_u128(1)),
            position: Position {
                epoch: Epoch(1),
                sequence: Sequence(sequence),
            },
        }
    }

    fn view(number: u64, sequence: u64, state: State) -> View {
        let aborts = matches!(state, State::Aborting | State::Aborted);
        View {
            transaction: transaction(number),
            attempt: attempt(sequence),
            state,
            outcome: None,
            cause: aborts.then(|| Cause {
                refusal: Refusal::new(Reason::DEADLOCK, "no"),
                participant: None,
            }),
            history: History::default(),
            branches: Vec::new(),
            deadline: None,
            decided_by_participant: false,
        }
    }

    /// The ids of those that are followed, and how many attempts are known.
    fn followed(table: &Table) -> (Vec<TransactionId>, usize) {
        (table.open.keys().copied().collect(), table.attempts.len())
    }

    #[test]
    fn a_transaction_is_followed_from_its_request_to_its_end_through_all_its_attempts() {
        let mut table = Table::default();
        let tracer = Tracer::off();
        let commit = |sequence| ToParticipant::Commit(attempt(sequence));
        table.change(&tracer, &view(1, 1, State::Preparing));
        assert_eq!(followed(&table), (vec![], 0), "it is not recorded");

        table.request(transaction(1), context("01"));
        table.change(&tracer, &view(1, 1, State::Preparing));
        assert_eq!(table.behind(&commit(1)), Some(context("01")));
        // It is run again as another attempt.
        table.change(&tracer, &view(1, 2, State::Preparing));
        assert_eq!(table.behind(&commit(1)), None);
        assert_eq!(table.behind(&commit(2)), Some(context("01")));
        assert_eq!(followed(&table), (vec![transaction(1)], 1));
        table.change(&tracer, &view(1, 2, State::Aborting));
        table.change(&tracer, &view(1, 2, State::Aborted));
        assert_eq!(followed(&table), (vec![], 0));
    }

    #[test]
    fn the_table_has_a_bound_and_the_oldest_goes_first() {
        let mut table = Table::default();
        for number in 1..=OPEN_MAX as u64 + 1 {
            table.request(transaction(number), context("01"));
            table.change(&Tracer::off(), &view(number, number, State::Preparing));
        }
        let (open, attempts) = followed(&table);
        assert_eq!((open.len(), attempts), (OPEN_MAX, OPEN_MAX));
        assert_eq!(open.first(), Some(&transaction(2)));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn nothing_stays_of_what_is_refused_or_not_recorded_or_not_wanted() {
        let (tracer, export) = Tracer::start(
            &nemcon_trace::Settings {
                // Nobody is there, and nothing is sent: the export has ended before any span.
                endpoint: Some("http://127.0.0.1:9".into()),
                ratio: 0.0,
            },
            &nemcon_trace::Service {
                name: "test".into(),
                kind: "test",
                version: "1",
            },
        )
        .unwrap();
        drop(export);
        let traces = Traces::new(tracer);
        let open = || traces.0.as_ref().unwrap().table().open.len();
        for decided in [None, Some(context("00"))] {
            let span = traces.opened("RunTransaction", transaction(1), || decided);
            assert!(span.is_none());
        }
        let unknown = traces.continued("CommitTransaction", transaction(1), || None);
        assert!(unknown.is_none() && open() == 0);

        let wanted = || Some(context("01"));
        let span = traces.opened("RunTransaction", transaction(1), wanted);
        assert!(span.is_some() && open() == 1);
        let more = traces.continued("CommitTransaction", transaction(1), || None);
        let place = more.unwrap().context().traceparent();
        assert_eq!(place[..36], PARENT[..36], "in the same trace");
        traces.answered(transaction(1));
        assert_eq!(open(), 0, "it was refused");
        assert!(Traces::new(Tracer::off()).0.is_none());
    }
}
