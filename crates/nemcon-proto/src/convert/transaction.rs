//! What clients ask of a coordinator, and what they are told.

use nemcon_core::coordinator::event::{
    AddressedOperation, BranchView, Ending, Report, State, View, VoteKind,
};
use nemcon_core::history::History;
use nemcon_core::id::{CoordinatorId, TransactionId};
use nemcon_core::limits;
use nemcon_core::message::{Outcome, Payload};

use super::error::{WireError, Within, choice, list, required};
use super::id::{attempt, coordinator_id, optional, participant_name, shown, transaction_id};
use super::interactive::{Opening, addressed};
use super::outcome::{definite, if_known, so_far};
use super::page::{Paged, Wanted};
use super::value::{anys, payloads, sentence, time, timestamp};
use crate::v1;
use crate::v1::watch_transactions_response::Event;

/// A one-shot transaction as a client asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its circumstances.
    pub opening: Opening,
    /// What to do, and where.
    pub operations: Vec<AddressedOperation>,
}

impl From<Run> for v1::RunTransactionRequest {
    fn from(run: Run) -> Self {
        let v1::BeginTransactionRequest {
            transaction_id,
            timeout_ms,
            coordinator_id,
            first_transaction_id,
        } = run.opening.into();
        Self {
            transaction_id,
            operations: run.operations.into_iter().map(Into::into).collect(),
            timeout_ms,
            coordinator_id,
            first_transaction_id,
        }
    }
}

impl TryFrom<v1::RunTransactionRequest> for Run {
    type Error = WireError;

    fn try_from(request: v1::RunTransactionRequest) -> Result<Self, WireError> {
        let opening = v1::BeginTransactionRequest {
            transaction_id: request.transaction_id,
            timeout_ms: request.timeout_ms,
            coordinator_id: request.coordinator_id,
            first_transaction_id: request.first_transaction_id,
        };
        Ok(Self {
            opening: opening.try_into()?,
            operations: addressed(request.operations, "operations")?,
        })
    }
}

/// The outcome, and which coordinator says so.
impl From<(CoordinatorId, Report)> for v1::RunTransactionResponse {
    fn from((coordinator, report): (CoordinatorId, Report)) -> Self {
        let outcome = v1::Outcome::from(report.ending.outcome()).into();
        let (refusal, results) = match report.ending {
            Ending::Committed(results) => (None, results),
            Ending::Aborted(cause) => (Some(cause.into()), Some(Vec::new())),
        };
        Self {
            transaction_id: report.transaction.to_string(),
            outcome,
            refusal,
            results_lost: results.is_none(),
            results: anys(results.unwrap_or_default()),
            coordinator_id: coordinator.to_string(),
        }
    }
}

impl TryFrom<v1::RunTransactionResponse> for (CoordinatorId, Report) {
    type Error = WireError;

    fn try_from(response: v1::RunTransactionResponse) -> Result<Self, WireError> {
        let results = if response.results_lost {
            None
        } else {
            Some(response.results)
        };
        let ending = ending(response.outcome, response.refusal, results)?;
        let transaction = transaction_id(&response.transaction_id, "transaction_id")?;
        let coordinator = coordinator_id(&response.coordinator_id, "coordinator_id")?;
        Ok((
            coordinator,
            Report {
                transaction,
                ending,
            },
        ))
    }
}

/// Reads an outcome with its particulars.
pub(super) fn ending(
    outcome: i32,
    no: Option<v1::Refusal>,
    results: Option<Vec<prost_types::Any>>,
) -> Result<Ending, WireError> {
    match definite(outcome, "outcome")? {
        Outcome::Committed => {
            let results: Option<Vec<Payload>> = results.map(payloads).transpose()?;
            Ok(Ending::Committed(results))
        }
        Outcome::Aborted => required(no, "refusal").map(Ending::Aborted),
    }
}

/// What an abort led to. The results of a transaction that it came too late for
/// are not repeated.
impl From<Ending> for v1::AbortTransactionResponse {
    fn from(ending: Ending) -> Self {
        let outcome = v1::Outcome::from(ending.outcome()).into();
        let refusal = match ending {
            Ending::Committed(_) => None,
            Ending::Aborted(cause) => Some(cause.into()),
        };
        Self { outcome, refusal }
    }
}

impl TryFrom<v1::AbortTransactionResponse> for Ending {
    type Error = WireError;

    fn try_from(response: v1::AbortTransactionResponse) -> Result<Self, WireError> {
        ending(response.outcome, response.refusal, None)
    }
}

/// Which transaction to abort, and the reason given.
impl TryFrom<v1::AbortTransactionRequest> for (TransactionId, String) {
    type Error = WireError;

    fn try_from(request: v1::AbortTransactionRequest) -> Result<Self, WireError> {
        let transaction = transaction_id(&request.transaction_id, "transaction_id")?;
        Ok((transaction, sentence(request.reason, "reason")?))
    }
}

impl TryFrom<v1::GetTransactionRequest> for TransactionId {
    type Error = WireError;

    fn try_from(request: v1::GetTransactionRequest) -> Result<Self, WireError> {
        transaction_id(&request.transaction_id, "transaction_id")
    }
}

impl From<View> for v1::GetTransactionResponse {
    fn from(view: View) -> Self {
        Self {
            transaction: Some(view.into()),
        }
    }
}

impl TryFrom<v1::GetTransactionResponse> for View {
    type Error = WireError;

    fn try_from(response: v1::GetTransactionResponse) -> Result<Self, WireError> {
        required(response.transaction, "transaction")
    }
}

/// Which transactions to list.
pub type List = Wanted<State, TransactionId>;

impl From<List> for v1::ListTransactionsRequest {
    fn from(list: List) -> Self {
        let state = |state| v1::TransactionState::from(state).into();
        let (states, page_size, page_token) = list.written(state);
        Self {
            states,
            page_size,
            page_token,
        }
    }
}

impl TryFrom<v1::ListTransactionsRequest> for List {
    type Error = WireError;

    fn try_from(request: v1::ListTransactionsRequest) -> Result<Self, WireError> {
        let (size, token) = (request.page_size, &request.page_token);
        Self::read(request.states, state, size, token)
    }
}

/// Some transactions, highest id first.
pub type Page = Paged<View, TransactionId>;

impl Page {
    /// The answer of a coordinator that knows whether there are more.
    #[must_use]
    pub fn new(views: Vec<View>, more: bool) -> Self {
        Self::of(views, more, |view| view.transaction)
    }
}

impl From<Page> for v1::ListTransactionsResponse {
    fn from(page: Page) -> Self {
        Self {
            transactions: page.views.into_iter().map(Into::into).collect(),
            next_page_token: shown(page.below),
        }
    }
}

impl TryFrom<v1::ListTransactionsResponse> for Page {
    type Error = WireError;

    fn try_from(response: v1::ListTransactionsResponse) -> Result<Self, WireError> {
        let (views, token) = (response.transactions, &response.next_page_token);
        Self::read(views, "transactions", View::try_from, token, transaction_id)
    }
}

/// Which transaction to watch; `None`: all.
impl TryFrom<v1::WatchTransactionsRequest> for Option<TransactionId> {
    type Error = WireError;

    fn try_from(request: v1::WatchTransactionsRequest) -> Result<Self, WireError> {
        optional(&request.transaction_id, |text| {
            transaction_id(text, "transaction_id")
        })
    }
}

impl From<Option<TransactionId>> for v1::WatchTransactionsRequest {
    fn from(transaction: Option<TransactionId>) -> Self {
        Self {
            transaction_id: shown(transaction),
        }
    }
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A transaction as it is after a change of state.
    Transaction(View),
    /// So many changes were missed, because the watcher could not keep up.
    Missed(u64),
}

impl From<Change> for v1::WatchTransactionsResponse {
    fn from(change: Change) -> Self {
        let event = match change {
            Change::Transaction(view) => Event::Transaction(view.into()),
            Change::Missed(count) => Event::Missed(count),
        };
        Self { event: Some(event) }
    }
}

impl TryFrom<v1::WatchTransactionsResponse> for Change {
    type Error = WireError;

    fn try_from(response: v1::WatchTransactionsResponse) -> Result<Self, WireError> {
        match response.event {
            Some(Event::Transaction(transaction)) => View::try_from(transaction)
                .within("transaction")
                .map(Self::Transaction),
            Some(Event::Missed(count)) => Ok(Self::Missed(count)),
            None => Err(WireError::missing("event", "a transaction or a count")),
        }
    }
}

impl From<State> for v1::TransactionState {
    fn from(state: State) -> Self {
        match state {
            State::Init => Self::Init,
            State::Preparing => Self::Preparing,
            State::Prepared => Self::Prepared,
            State::Committing => Self::Committing,
            State::Committed => Self::Committed,
            State::Aborting => Self::Aborting,
            State::Aborted => Self::Aborted,
        }
    }
}

fn state(number: i32, field: &str) -> Result<State, WireError> {
    let allowed = "TRANSACTION_STATE_INIT, _PREPARING, _PREPARED, _COMMITTING, _COMMITTED, \
                   _ABORTING or _ABORTED";
    choice(number, field, allowed, |state| match state {
        v1::TransactionState::Init => Some(State::Init),
        v1::TransactionState::Preparing => Some(State::Preparing),
        v1::TransactionState::Prepared => Some(State::Prepared),
        v1::TransactionState::Committing => Some(State::Committing),
        v1::TransactionState::Committed => Some(State::Committed),
        v1::TransactionState::Aborting => Some(State::Aborting),
        v1::TransactionState::Aborted => Some(State::Aborted),
        v1::TransactionState::Unspecified => None,
    })
}

impl From<View> for v1::Transaction {
    fn from(view: View) -> Self {
        let entered = |(state, at)| v1::StateChange {
            state: v1::TransactionState::from(state).into(),
            entered_at: Some(timestamp(at)),
        };
        Self {
            transaction_id: view.transaction.to_string(),
            state: v1::TransactionState::from(view.state).into(),
            outcome: so_far(view.outcome),
            refusal: view.cause.map(Into::into),
            attempt: Some(view.attempt.into()),
            history: view.history.iter().map(entered).collect(),
            participants: view.branches.into_iter().map(Into::into).collect(),
            deadline: view.deadline.map(timestamp),
            decided_by_participant: view.decided_by_participant,
        }
    }
}

impl TryFrom<v1::Transaction> for View {
    type Error = WireError;

    fn try_from(transaction: v1::Transaction) -> Result<Self, WireError> {
        let branches = transaction.participants;
        let deadline = transaction.deadline;
        Ok(Self {
            transaction: transaction_id(&transaction.transaction_id, "transaction_id")?,
            attempt: attempt(transaction.attempt)?,
            state: state(transaction.state, "state")?,
            outcome: if_known(transaction.outcome, "outcome")?,
            cause: transaction
                .refusal
                .map(TryInto::try_into)
                .transpose()
                .within("refusal")?,
            history: history(transaction.history)?,
            branches: list(
                branches,
                "participants",
                limits::PARTICIPANTS_MAX,
                BranchView::try_from,
            )?,
            deadline: deadline.map(|at| time(Some(at), "deadline")).transpose()?,
            decided_by_participant: transaction.decided_by_participant,
        })
    }
}

/// Reads when a transaction entered which state.
fn history(changes: Vec<v1::StateChange>) -> Result<History<State>, WireError> {
    let mut history = History::default();
    for (at, change) in changes.into_iter().enumerate() {
        let within = format!("history[{at}]");
        let entered_at = time(change.entered_at, "entered_at").within(&within)?;
        history.enter(state(change.state, "state").within(&within)?, entered_at);
    }
    Ok(history)
}

impl From<BranchView> for v1::Branch {
    fn from(branch: BranchView) -> Self {
        let vote = match branch.vote {
            Some(VoteKind::Yes) => v1::Vote::Yes,
            Some(VoteKind::No) => v1::Vote::No,
            Some(VoteKind::ReadOnly) => v1::Vote::ReadOnly,
            None => v1::Vote::Unspecified,
        };
        Self {
            participant: branch.participant.to_string(),
            vote: vote.into(),
            acknowledged: branch.acknowledged,
            waiting: branch.waiting.map(Into::into),
        }
    }
}

impl TryFrom<v1::Branch> for BranchView {
    type Error = WireError;

    fn try_from(branch: v1::Branch) -> Result<Self, WireError> {
        // Here "unspecified" has a meaning: the vote is not in.
        let allowed = "VOTE_YES, VOTE_NO, VOTE_READ_ONLY or none";
        let vote = choice(branch.vote, "vote", allowed, |vote| match vote {
            v1::Vote::Yes => Some(Some(VoteKind::Yes)),
            v1::Vote::No => Some(Some(VoteKind::No)),
            v1::Vote::ReadOnly => Some(Some(VoteKind::ReadOnly)),
            v1::Vote::Unspecified => Some(None),
        })?;
        Ok(Self {
            participant: participant_name(branch.participant, "participant")?,
            vote,
            acknowledged: branch.acknowledged,
            waiting: branch
                .waiting
                .map(TryInto::try_into)
                .transpose()
                .within("waiting")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use nemcon_core::coordinator::event::WaitingView;
    use nemcon_core::lock::LockKey;
    use nemcon_core::reason::Reason;
    use nemcon_core::time::{Millis, Span};

    use super::super::sample;
    use super::*;

    const STATES: [State; 7] = [
        State::Init,
        State::Preparing,
        State::Prepared,
        State::Committing,
        State::Committed,
        State::Aborting,
        State::Aborted,
    ];

    fn run() -> Run {
        Run {
            opening: Opening {
                transaction: Some(sample::transaction()),
                age: Some(sample::first_transaction()),
                timeout: Some(Span(1_234)),
                first_sent_to: Some(sample::coordinator()),
            },
            operations: vec![sample::operation("bank-a"), sample::operation("bank-b")],
        }
    }

    fn view(state: State) -> View {
        let mut history = History::default();
        history.enter(State::Preparing, Millis(1_000));
        history.enter(state, Millis(2_345));
        let branch = |vote| BranchView {
            participant: sample::name("bank-a"),
            vote,
            acknowledged: vote == Some(VoteKind::Yes),
            waiting: vote.is_none().then(|| WaitingView {
                key: LockKey::from(b"alice".to_vec()),
                waited: Span(1_200),
                blockers: vec![sample::first_transaction()],
            }),
        };
        let [cause, _] = sample::causes();
        View {
            transaction: sample::transaction(),
            attempt: sample::attempt(),
            state,
            outcome: (state == State::Aborted).then_some(Outcome::Aborted),
            cause: (state == State::Aborted).then_some(cause),
            history,
            branches: [
                None,
                Some(VoteKind::Yes),
                Some(VoteKind::No),
                Some(VoteKind::ReadOnly),
            ]
            .map(branch)
            .to_vec(),
            deadline: (state == State::Init).then_some(Millis(12_345)),
            decided_by_participant: state == State::Preparing,
        }
    }

    #[test]
    fn a_run_goes_there_and_back() {
        let bare = Run {
            opening: Opening::default(),
            operations: vec![sample::operation("bank-a")],
        };
        for run in [run(), bare] {
            let there = v1::RunTransactionRequest::from(run.clone());
            assert_eq!(Run::try_from(there), Ok(run));
        }
    }

    #[test]
    fn a_transaction_is_as_old_as_its_first_try() {
        let id = sample::transaction();
        let opening = run().opening;
        assert_eq!(opening.begin(id).age, sample::first_transaction());
        let first = Opening {
            age: None,
            ..opening
        };
        assert_eq!(first.begin(id).age, id);
    }

    fn refused(change: impl FnOnce(&mut v1::RunTransactionRequest)) -> WireError {
        let mut request = run().into();
        change(&mut request);
        Run::try_from(request).unwrap_err()
    }

    #[test]
    fn a_run_beyond_the_limits_is_refused() {
        let operation = || v1::Operation::from(sample::operation("bank-a"));
        assert_eq!(refused(|r| r.operations.clear()).field, "operations");
        let many = vec![operation(); limits::OPERATIONS_MAX + 1];
        let shown = refused(|r| r.operations = many).to_string();
        assert_eq!(shown, "operations with 1001 items: want at most 1000");
        let at = |i| v1::Operation {
            participant: format!("bank-{i}"),
            ..operation()
        };
        let shown = refused(|r| r.operations = (0..129).map(at).collect()).to_string();
        assert_eq!(shown, "operations at 129 participants: want at most 128");
        assert_eq!(refused(|r| r.timeout_ms = 300_001).field, "timeout_ms");
        assert_eq!(
            refused(|r| r.coordinator_id = "c".into()).field,
            "coordinator_id"
        );
        assert_eq!(
            refused(|r| r.operations[1].action = None).field,
            "operations[1].action"
        );
        let error = refused(|r| r.transaction_id = "t".into());
        assert_eq!(error.field, "transaction_id");
        assert_eq!(error.reason, Reason::TRANSACTION_ID_INVALID);
    }

    #[test]
    fn reports_go_there_and_back() {
        let [cause, other] = sample::causes();
        for ending in [
            Ending::Committed(Some(vec![sample::payload(1), sample::payload(2)])),
            Ending::Committed(None),
            Ending::Aborted(cause),
            Ending::Aborted(other),
        ] {
            let report = Report {
                transaction: sample::transaction(),
                ending,
            };
            let told = (sample::coordinator(), report.clone());
            let there = v1::RunTransactionResponse::from(told.clone());
            assert_eq!(there.try_into(), Ok(told));
            let there = v1::AbortTransactionResponse::from(report.ending.clone());
            let back = Ending::try_from(there).unwrap();
            assert_eq!(back.outcome(), report.ending.outcome());
        }
    }

    #[test]
    fn a_response_without_an_outcome_is_none() {
        for outcome in [v1::Outcome::Unspecified, v1::Outcome::Unknown] {
            let outcome = outcome.into();
            let response = v1::AbortTransactionResponse {
                outcome,
                refusal: None,
            };
            assert_eq!(Ending::try_from(response).unwrap_err().field, "outcome");
        }
        let outcome = v1::Outcome::Aborted.into();
        let response = v1::AbortTransactionResponse {
            outcome,
            refusal: None,
        };
        assert_eq!(Ending::try_from(response).unwrap_err().field, "refusal");
    }

    #[test]
    fn views_go_there_and_back() {
        for state in STATES {
            let view = view(state);
            let there = v1::GetTransactionResponse::from(view.clone());
            assert_eq!(View::try_from(there), Ok(view.clone()));
            let change = Change::Transaction(view);
            let there = v1::WatchTransactionsResponse::from(change.clone());
            assert_eq!(Change::try_from(there), Ok(change));
        }
        let there = v1::WatchTransactionsResponse::from(Change::Missed(7));
        assert_eq!(Change::try_from(there), Ok(Change::Missed(7)));
    }

    #[test]
    fn half_a_view_is_refused_by_name() {
        let field = |change: fn(&mut v1::Transaction)| {
            let mut transaction = v1::Transaction::from(view(State::Preparing));
            change(&mut transaction);
            View::try_from(transaction).unwrap_err().field
        };
        assert_eq!(field(|t| t.state = 0), "state");
        assert_eq!(field(|t| t.state = 99), "state");
        assert_eq!(field(|t| t.outcome = 0), "outcome");
        assert_eq!(field(|t| t.attempt = None), "attempt");
        assert_eq!(
            field(|t| t.participants[1].vote = 9),
            "participants[1].vote"
        );
        assert_eq!(
            field(|t| t.history[0].entered_at = None),
            "history[0].entered_at"
        );
        assert_eq!(field(|t| t.history[0].state = 0), "history[0].state");
        let empty = v1::GetTransactionResponse { transaction: None };
        assert_eq!(View::try_from(empty).unwrap_err().field, "transaction");
        let empty = v1::WatchTransactionsResponse { event: None };
        assert_eq!(Change::try_from(empty).unwrap_err().field, "event");
    }

    #[test]
    fn lists_and_pages_go_there_and_back() {
        let list = List {
            states: STATES.to_vec(),
            below: Some(sample::transaction()),
            max: Some(7),
        };
        for list in [list, List::default()] {
            let there = v1::ListTransactionsRequest::from(list.clone());
            assert_eq!(List::try_from(there), Ok(list));
        }
        assert_eq!(List::default().max(), 100);
        for more in [false, true] {
            let page = Page::new(vec![view(State::Committed)], more);
            assert_eq!(page.below.is_some(), more);
            let there = v1::ListTransactionsResponse::from(page.clone());
            assert_eq!(Page::try_from(there), Ok(page));
        }
    }

    #[test]
    fn a_list_beyond_the_limits_is_refused() {
        let field =
            |request: v1::ListTransactionsRequest| List::try_from(request).unwrap_err().field;
        let empty = v1::ListTransactionsRequest::default;
        let request = v1::ListTransactionsRequest {
            page_size: 1_001,
            ..empty()
        };
        assert_eq!(field(request), "page_size");
        let request = v1::ListTransactionsRequest {
            page_token: "2".into(),
            ..empty()
        };
        assert_eq!(field(request), "page_token");
        let request = v1::ListTransactionsRequest {
            states: vec![1, 0],
            ..empty()
        };
        assert_eq!(field(request), "states[1]");
    }

    #[test]
    fn what_is_asked_about_goes_there_and_back() {
        for watched in [None, Some(sample::transaction())] {
            let there = v1::WatchTransactionsRequest::from(watched);
            assert_eq!(there.try_into(), Ok(watched));
        }
        let transaction_id = sample::transaction().to_string();
        let request = v1::GetTransactionRequest {
            transaction_id: transaction_id.clone(),
        };
        assert_eq!(request.try_into(), Ok(sample::transaction()));
        let reason = "x".repeat(501);
        let request = v1::AbortTransactionRequest {
            transaction_id,
            reason,
        };
        let error = <(TransactionId, String)>::try_from(request).unwrap_err();
        assert_eq!(error.field, "reason");
    }
}
