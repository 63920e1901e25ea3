//! Locks: who holds them, who waits for them, and who asks for them.

use nemcon_core::coordinator::event::{AddressedLock, WaitingView, WaitsView};
use nemcon_core::deadlock::Link;
use nemcon_core::id::{Boot, ParticipantName};
use nemcon_core::limits;
use nemcon_core::lock::{Holder, LockKey, Mode, Queue, Token, Waiter};
use nemcon_core::message::{LockRequest, Party, WaitsReport};
use nemcon_core::time::{Millis, Span};

use super::error::{WireError, choice, counted, list, required};
use super::id::{attempt, optional, participant_name, transaction_id};
use super::value::{span_ms, time, timestamp};
use crate::v1;

/// Bytes of a name under which a client locks something, and of a page token.
pub const LOCK_NAME_BYTES_MAX: usize = 1_024;

/// Most holders, and most waiters, of one queue: as many as transactions may run.
const PARTIES_MAX: usize = 10_000;

/// Most queues of one participant's report.
const QUEUES_MAX: usize = 100_000;

/// Most blockers of a wait that are told.
const BLOCKERS_MAX: usize = 10;

/// Most keys of one page.
pub const LOCKS_LIST_MAX: u32 = 1_000;

/// Keys of a page, where the request does not say.
const LOCKS_LIST_DEFAULT: u32 = 100;

impl From<Mode> for v1::LockMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Shared => Self::Shared,
            Mode::Exclusive => Self::Exclusive,
        }
    }
}

fn mode(number: i32) -> Result<Mode, WireError> {
    let allowed = "LOCK_MODE_SHARED or LOCK_MODE_EXCLUSIVE";
    choice(number, "mode", allowed, |mode| match mode {
        v1::LockMode::Shared => Some(Mode::Shared),
        v1::LockMode::Exclusive => Some(Mode::Exclusive),
        v1::LockMode::Unspecified => None,
    })
}

impl From<Token> for v1::LockToken {
    fn from(token: Token) -> Self {
        Self {
            boot: token.boot.0,
            counter: token.counter,
        }
    }
}

impl TryFrom<v1::LockToken> for Token {
    type Error = WireError;

    fn try_from(token: v1::LockToken) -> Result<Self, WireError> {
        Ok(Self {
            boot: Boot(counted(token.boot, "boot")?),
            counter: counted(token.counter, "counter")?,
        })
    }
}

/// Tokens as they travel.
pub(super) fn tokens_there(tokens: Vec<Token>) -> Vec<v1::LockToken> {
    tokens.into_iter().map(Into::into).collect()
}

/// Tokens as they came: there are no more of them than locks.
pub(super) fn tokens(tokens: Vec<v1::LockToken>) -> Result<Vec<Token>, WireError> {
    list(tokens, "tokens", limits::OPERATIONS_MAX, Token::try_from)
}

/// A lock on its way to the participant it is for.
impl From<LockRequest> for v1::Lock {
    fn from(lock: LockRequest) -> Self {
        Self {
            participant: String::new(),
            key: lock.name,
            mode: v1::LockMode::from(lock.mode).into(),
        }
    }
}

impl TryFrom<v1::Lock> for LockRequest {
    type Error = WireError;

    fn try_from(lock: v1::Lock) -> Result<Self, WireError> {
        let max = LOCK_NAME_BYTES_MAX;
        if !(1..=max).contains(&lock.key.len()) {
            let allowed = format_args!("a name of 1 to {max} bytes");
            return Err(WireError::text("key", &lock.key, allowed));
        }
        Ok(Self {
            name: lock.key,
            mode: mode(lock.mode)?,
        })
    }
}

impl From<AddressedLock> for v1::Lock {
    fn from((participant, lock): AddressedLock) -> Self {
        Self {
            participant: participant.to_string(),
            ..lock.into()
        }
    }
}

impl TryFrom<v1::Lock> for AddressedLock {
    type Error = WireError;

    fn try_from(lock: v1::Lock) -> Result<Self, WireError> {
        let participant = participant_name(lock.participant.clone(), "participant")?;
        Ok((participant, lock.try_into()?))
    }
}

impl From<Holder<Party>> for v1::LockHolder {
    fn from(holder: Holder<Party>) -> Self {
        let Party {
            attempt,
            transaction,
            age,
        } = holder.owner;
        Self {
            attempt: Some(attempt.into()),
            transaction_id: transaction.to_string(),
            first_transaction_id: age.to_string(),
            mode: v1::LockMode::from(holder.mode).into(),
            token: Some(holder.token.into()),
            since: Some(timestamp(holder.since)),
        }
    }
}

impl TryFrom<v1::LockHolder> for Holder<Party> {
    type Error = WireError;

    fn try_from(holder: v1::LockHolder) -> Result<Self, WireError> {
        let owner = Party {
            attempt: attempt(holder.attempt)?,
            transaction: transaction_id(&holder.transaction_id, "transaction_id")?,
            age: transaction_id(&holder.first_transaction_id, "first_transaction_id")?,
        };
        Ok(Self {
            owner,
            mode: mode(holder.mode)?,
            token: required(holder.token, "token")?,
            since: time(holder.since, "since")?,
        })
    }
}

impl From<Waiter<Party>> for v1::LockWaiter {
    fn from(waiter: Waiter<Party>) -> Self {
        let Party {
            attempt,
            transaction,
            age,
        } = waiter.owner;
        Self {
            attempt: Some(attempt.into()),
            transaction_id: transaction.to_string(),
            first_transaction_id: age.to_string(),
            mode: v1::LockMode::from(waiter.mode).into(),
            wait: waiter.wait,
            since: Some(timestamp(waiter.since)),
        }
    }
}

impl TryFrom<v1::LockWaiter> for Waiter<Party> {
    type Error = WireError;

    fn try_from(waiter: v1::LockWaiter) -> Result<Self, WireError> {
        let owner = Party {
            attempt: attempt(waiter.attempt)?,
            transaction: transaction_id(&waiter.transaction_id, "transaction_id")?,
            age: transaction_id(&waiter.first_transaction_id, "first_transaction_id")?,
        };
        Ok(Self {
            owner,
            mode: mode(waiter.mode)?,
            wait: counted(waiter.wait, "wait")?,
            since: time(waiter.since, "since")?,
        })
    }
}

/// The printable key is for people: it is not read back.
impl From<Queue<Party>> for v1::LockQueue {
    fn from(queue: Queue<Party>) -> Self {
        Self {
            key: queue.key.as_bytes().to_vec(),
            shown: queue.key.to_string(),
            holders: queue.holders.into_iter().map(Into::into).collect(),
            waiters: queue.waiters.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::LockQueue> for Queue<Party> {
    type Error = WireError;

    fn try_from(queue: v1::LockQueue) -> Result<Self, WireError> {
        Ok(Self {
            key: LockKey::from(queue.key),
            holders: list(queue.holders, "holders", PARTIES_MAX, TryInto::try_into)?,
            waiters: list(queue.waiters, "waiters", PARTIES_MAX, TryInto::try_into)?,
        })
    }
}

/// Queues as they travel.
fn queues_there(queues: Vec<Queue<Party>>) -> Vec<v1::LockQueue> {
    queues.into_iter().map(Into::into).collect()
}

/// Reads what a participant reports, whichever message it comes in.
pub(super) fn report(
    boot: u64,
    at: Option<prost_types::Timestamp>,
    queues: Vec<v1::LockQueue>,
    left_out: u64,
) -> Result<WaitsReport, WireError> {
    Ok(WaitsReport {
        boot: Boot(counted(boot, "boot")?),
        at: time(at, "at")?,
        queues: list(queues, "queues", QUEUES_MAX, Queue::try_from)?,
        left_out: usize::try_from(left_out).unwrap_or(usize::MAX),
    })
}

impl From<WaitsReport> for v1::GetWaitsForEdgesResponse {
    fn from(report: WaitsReport) -> Self {
        Self {
            boot: report.boot.0,
            at: Some(timestamp(report.at)),
            queues: queues_there(report.queues),
            left_out: report.left_out as u64,
        }
    }
}

/// Where a participant's report comes from.
impl From<(ParticipantName, WaitsReport)> for v1::ParticipantWaits {
    fn from((participant, report): (ParticipantName, WaitsReport)) -> Self {
        Self {
            participant: participant.to_string(),
            boot: report.boot.0,
            at: Some(timestamp(report.at)),
            queues: queues_there(report.queues),
            left_out: report.left_out as u64,
        }
    }
}

impl TryFrom<v1::ParticipantWaits> for (ParticipantName, WaitsReport) {
    type Error = WireError;

    fn try_from(waits: v1::ParticipantWaits) -> Result<Self, WireError> {
        let participant = participant_name(waits.participant, "participant")?;
        // One that cannot say who waits has no boot number in its report.
        let boot = waits.boot.max(1);
        let mut report = report(boot, waits.at, waits.queues, waits.left_out)?;
        report.boot = Boot(waits.boot);
        Ok((participant, report))
    }
}

impl From<WaitsView> for v1::GetWaitsForGraphResponse {
    fn from(view: WaitsView) -> Self {
        Self {
            participants: view.reports.into_iter().map(Into::into).collect(),
            silent: view.silent.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<v1::GetWaitsForGraphResponse> for WaitsView {
    type Error = WireError;

    fn try_from(response: v1::GetWaitsForGraphResponse) -> Result<Self, WireError> {
        let name = |name| participant_name(name, "name");
        let reports = response.participants;
        Ok(Self {
            reports: list(reports, "participants", PARTIES_MAX, TryInto::try_into)?,
            silent: list(response.silent, "silent", PARTIES_MAX, name)?,
        })
    }
}

impl From<WaitingView> for v1::Waiting {
    fn from(waiting: WaitingView) -> Self {
        Self {
            key: waiting.key.as_bytes().to_vec(),
            shown: waiting.key.to_string(),
            waited_ms: span_ms(waiting.waited),
            blockers: waiting.blockers.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<v1::Waiting> for WaitingView {
    type Error = WireError;

    fn try_from(waiting: v1::Waiting) -> Result<Self, WireError> {
        let id = |text: String| transaction_id(&text, "id");
        Ok(Self {
            key: LockKey::from(waiting.key),
            waited: Span(waiting.waited_ms.into()),
            blockers: list(waiting.blockers, "blockers", BLOCKERS_MAX, id)?,
        })
    }
}

impl From<Link> for v1::CycleLink {
    fn from(link: Link) -> Self {
        Self {
            transaction_id: link.waiter.to_string(),
            participant: link.participant.to_string(),
            key: link.key.as_bytes().to_vec(),
        }
    }
}

impl TryFrom<v1::CycleLink> for Link {
    type Error = WireError;

    fn try_from(link: v1::CycleLink) -> Result<Self, WireError> {
        Ok(Self {
            waiter: transaction_id(&link.transaction_id, "transaction_id")?,
            participant: participant_name(link.participant, "participant")?,
            key: LockKey::from(link.key),
        })
    }
}

/// Reads a cycle.
pub(super) fn cycle(cycle: Vec<v1::CycleLink>) -> Result<Vec<Link>, WireError> {
    list(cycle, "cycle", PARTIES_MAX, Link::try_from)
}

/// Which locks to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocksList {
    /// Only keys behind this one: the page token.
    pub after: Option<LockKey>,
    /// At most so many keys, up to [`LOCKS_LIST_MAX`]; `None`: 100.
    pub max: Option<u32>,
}

impl LocksList {
    /// At most so many keys.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max.unwrap_or(LOCKS_LIST_DEFAULT) as usize
    }
}

impl From<LocksList> for v1::ListLocksRequest {
    fn from(list: LocksList) -> Self {
        Self {
            page_size: list.max.unwrap_or(0),
            page_token: list.after.as_ref().map(token_of).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::ListLocksRequest> for LocksList {
    type Error = WireError;

    fn try_from(request: v1::ListLocksRequest) -> Result<Self, WireError> {
        let size = request.page_size;
        if size > LOCKS_LIST_MAX {
            let allowed = format_args!("at most {LOCKS_LIST_MAX}");
            return Err(WireError::new("page_size", size, allowed));
        }
        Ok(Self {
            after: optional(&request.page_token, |text| key_of(text, "page_token"))?,
            max: (size != 0).then_some(size),
        })
    }
}

/// A page token is the last key of its page, in hexadecimal digits, behind a letter:
/// a key may be empty.
fn token_of(key: &LockKey) -> String {
    use std::fmt::Write as _;
    let mut token = String::from("k");
    for byte in key.as_bytes() {
        // Writing to a string cannot fail.
        let _ = write!(token, "{byte:02x}");
    }
    token
}

fn key_of(token: &str, field: &str) -> Result<LockKey, WireError> {
    let digits = token.strip_prefix('k').filter(|digits| digits.is_ascii());
    let byte = |at: usize, digits: &str| {
        let pair = digits
            .get(at..at + 2)
            .filter(|pair| !pair.starts_with('+'))?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes = digits.and_then(|digits| {
        let bytes = (0..digits.len()).step_by(2);
        bytes
            .map(|at| byte(at, digits))
            .collect::<Option<Vec<u8>>>()
    });
    let foreign = || WireError::text(field, token, "the next_page_token of the answer before");
    bytes.map(LockKey::from).ok_or_else(foreign)
}

/// Some locks, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocksPage {
    /// The time of the participant's clock, by which it says since when.
    pub at: Millis,
    /// The keys, with who holds and who waits.
    pub queues: Vec<Queue<Party>>,
    /// There are more: ask for those [`LocksList::after`] this key.
    pub after: Option<LockKey>,
}

impl LocksPage {
    /// The answer of a participant that knows whether there are more.
    #[must_use]
    pub fn new(at: Millis, queues: Vec<Queue<Party>>, more: bool) -> Self {
        let last = queues.last().filter(|_| more);
        let after = last.map(|queue| queue.key.clone());
        Self { at, queues, after }
    }
}

impl From<LocksPage> for v1::ListLocksResponse {
    fn from(page: LocksPage) -> Self {
        Self {
            at: Some(timestamp(page.at)),
            locks: queues_there(page.queues),
            next_page_token: page.after.as_ref().map(token_of).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::ListLocksResponse> for LocksPage {
    type Error = WireError;

    fn try_from(response: v1::ListLocksResponse) -> Result<Self, WireError> {
        let max = LOCKS_LIST_MAX as usize;
        let next = |text: &str| key_of(text, "next_page_token");
        Ok(Self {
            at: time(response.at, "at")?,
            queues: list(response.locks, "locks", max, Queue::try_from)?,
            after: optional(&response.next_page_token, next)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn queues_go_there_and_back() {
        let queue = sample::queue();
        let there = v1::LockQueue::from(queue.clone());
        assert_eq!(there.shown, r"alice\x00");
        assert_eq!(Queue::try_from(there), Ok(queue));
    }

    #[test]
    fn a_queue_names_the_field_that_is_wrong() {
        let field = |change: fn(&mut v1::LockQueue)| {
            let mut queue = v1::LockQueue::from(sample::queue());
            change(&mut queue);
            Queue::<Party>::try_from(queue).unwrap_err().field
        };
        assert_eq!(field(|q| q.holders[0].mode = 0), "holders[0].mode");
        assert_eq!(field(|q| q.holders[0].token = None), "holders[0].token");
        assert_eq!(field(|q| q.waiters[0].wait = 0), "waiters[0].wait");
        assert_eq!(field(|q| q.waiters[0].since = None), "waiters[0].since");
        let many = |q: &mut v1::LockQueue| q.waiters = vec![q.waiters[0].clone(); 10_001];
        assert_eq!(field(many), "waiters");
    }

    #[test]
    fn the_graph_goes_there_and_back() {
        let view = WaitsView {
            reports: vec![(sample::name("bank-a"), sample::report())],
            silent: vec![sample::name("bank-b")],
        };
        let there = v1::GetWaitsForGraphResponse::from(view.clone());
        assert_eq!(WaitsView::try_from(there), Ok(view));
    }

    #[test]
    fn pages_of_locks_go_there_and_back() {
        let list = LocksList {
            after: Some(LockKey::from(vec![0, 255, b'k'])),
            max: Some(7),
        };
        let empty = LocksList {
            after: Some(LockKey::from(vec![])),
            max: None,
        };
        for list in [list, empty, LocksList::default()] {
            let there = v1::ListLocksRequest::from(list.clone());
            assert_eq!(LocksList::try_from(there), Ok(list));
        }
        for more in [false, true] {
            let page = LocksPage::new(Millis(5), vec![sample::queue()], more);
            assert_eq!(page.after.is_some(), more);
            let there = v1::ListLocksResponse::from(page.clone());
            assert_eq!(LocksPage::try_from(there), Ok(page));
        }
    }

    #[test]
    fn a_list_of_locks_beyond_the_limits_is_refused() {
        let field = |page_size, page_token: &str| {
            let page_token = page_token.to_owned();
            let request = v1::ListLocksRequest {
                page_size,
                page_token,
            };
            LocksList::try_from(request).unwrap_err().field
        };
        assert_eq!(field(1_001, ""), "page_size");
        for token in ["2", "k2", "kzz", "kää", "k+1"] {
            assert_eq!(field(0, token), "page_token", "{token}");
        }
    }

    #[test]
    fn a_lock_needs_a_name_and_a_mode() {
        let lock = (sample::name("bank-a"), sample::lock());
        let there = v1::Lock::from(lock.clone());
        assert_eq!(AddressedLock::try_from(there.clone()), Ok(lock));
        let field = |lock: v1::Lock| AddressedLock::try_from(lock).unwrap_err().field;
        let key = String::new();
        assert_eq!(
            field(v1::Lock {
                key,
                ..there.clone()
            }),
            "key"
        );
        let key = "x".repeat(LOCK_NAME_BYTES_MAX + 1);
        assert_eq!(
            field(v1::Lock {
                key,
                ..there.clone()
            }),
            "key"
        );
        assert_eq!(field(v1::Lock { mode: 0, ..there }), "mode");
    }
}
