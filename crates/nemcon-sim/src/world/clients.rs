//! Clients: what they ask, how often, and what they come to know.
//!
//! A client follows the rules of the contract and no more. It sends the same id
//! again when it is not answered, always to the coordinator it went to first (or
//! names that one to another); it takes a time-out for unknown; it gives up, and
//! may come back.

use nemcon_core::coordinator::event::{AddressedOperation, Begin, Ending, Event, Reply};
use nemcon_core::id::{Epoch, RequestId, TransactionId};
use nemcon_core::lock::{Mode, Token};
use nemcon_core::message::{LockRequest, Operation, OperationsHash, Outcome};
use nemcon_core::time::Span;

use super::border::{action_payload, identity, name};
use super::clock::LocalClock;
use super::packet::{Ask, Packet};
use super::{ANSWERS, Happening, World};
use crate::checkers::Failure;
use crate::checkers::claims::Hold;
use crate::history::Moment;
use crate::plan::{Claim, Manner, Order, Piece, Step, What};
use crate::subject::{Seen, Subject};

/// The number of a request that uses another's id.
pub(super) const REUSE: u64 = u64::MAX;

/// Where the steps of such a request begin.
const REUSED_STEPS: usize = 50;

/// What became of a session, as far as its client knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing yet.
    Nothing,
    /// It committed; with what was seen, step by step, unless that is lost.
    Committed(Option<Vec<Seen>>),
    /// It aborted.
    Aborted,
    /// It was refused, or not answered: it may have happened, or may yet.
    Unknown,
}

/// One transaction of a client.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Which order of the plan; `None`: the opening of the accounts.
    pub(crate) order: usize,
    pub(crate) transaction: TransactionId,
    age: TransactionId,
    ask: Ask,
    /// The number of the request that is waited for.
    serial: u64,
    sent: u32,
    /// The epoch in which it was begun, if it is interactive.
    epoch: Epoch,
    /// What it has seen, piece by piece.
    pieces: Vec<Vec<u8>>,
    /// When the piece in hand was first asked for.
    piece_asked: u64,
    /// The locks that it was told it holds, piece by piece.
    pub(crate) holds: Vec<Hold>,
    /// When its commit was first asked for.
    pub(crate) commit_asked: Option<u64>,
    /// What its client knows.
    pub(crate) told: Told,
    /// The client has stopped waiting.
    pub(crate) over: bool,
    /// When it was first sent, and when its outcome was known.
    pub(crate) invoked: Moment,
    pub(crate) completed: Option<Moment>,
}

impl Session {
    /// Whether the client may not know all that it wanted to.
    pub(crate) const fn is_unsure(&self) -> bool {
        matches!(self.told, Told::Nothing | Told::Unknown)
    }
}

/// A session that was told this, for tests.
#[cfg(test)]
pub(crate) fn session_told(told: Told) -> Session {
    use nemcon_core::time::Millis;

    let transaction = TransactionId::from_parts(Millis(1), 1);
    let invoked = Moment {
        at_ms: 1,
        number: 1,
    };
    Session {
        order: 0,
        transaction,
        age: transaction,
        ask: Ask::Outcome,
        serial: 1,
        sent: 1,
        epoch: Epoch::default(),
        pieces: Vec::new(),
        piece_asked: 0,
        holds: Vec::new(),
        commit_asked: None,
        told,
        over: true,
        invoked,
        completed: None,
    }
}

impl<S: Subject> World<'_, S> {
    pub(super) fn order(&self, session: usize) -> &Order {
        &self.orders[self.sessions[session].order]
    }

    /// A client begins with an order.
    pub(super) fn open_session(&mut self, order: usize, age: Option<TransactionId>) -> usize {
        let transaction = self.mint();
        let ask = match self.orders[order].manner {
            Manner::OneShot => Ask::Run { sent_to: None },
            Manner::Interactive | Manner::Vanishes | Manner::ThinksBetter => Ask::Begin,
        };
        let invoked = self.next_moment();
        self.sessions.push(Session {
            order,
            transaction,
            age: age.unwrap_or(transaction),
            ask,
            serial: 0,
            sent: 0,
            epoch: Epoch::default(),
            pieces: Vec::new(),
            piece_asked: 0,
            holds: Vec::new(),
            commit_asked: None,
            told: Told::Nothing,
            over: false,
            invoked,
            completed: None,
        });
        let session = self.sessions.len() - 1;
        self.ask(session, ask);
        session
    }

    /// A new id, by a clock that is wrong like everybody's.
    fn mint(&mut self) -> TransactionId {
        let skew = self.shape.clock_skew_ms;
        let mut clock = LocalClock::default();
        clock.set(self.clients.between(0, 2 * skew) as i64 - skew as i64);
        let chance = u128::from(self.clients.number());
        TransactionId::from_parts(clock.at(self.now), chance)
    }

    /// Sends what is asked now, and waits for a while.
    pub(super) fn ask(&mut self, session: usize, ask: Ask) {
        self.serials += 1;
        let (serial, moment) = (self.serials, self.next_moment());
        let it = &mut self.sessions[session];
        if it.ask != ask {
            it.sent = 0;
            it.piece_asked = moment.number;
            if let Ask::Commit(_) = ask {
                it.commit_asked = Some(moment.number);
            }
        }
        (it.ask, it.serial) = (ask, serial);
        it.sent += 1;
        let order = &self.orders[it.order];
        let (mut to, patience) = (order.coordinator, order.patience_ms);
        if let Ask::Run { sent_to: Some(_) } = ask
            && self.shape.coordinators > 1
            && self.clients.one_in(6)
        {
            // It has lost the address, and asks another that it knows.
            to = (to + 1) % self.shape.coordinators;
        }
        self.send(Packet::Request {
            to,
            session,
            serial,
            ask,
        });
        let at = self.now + patience * 1_000;
        self.schedule(at, Happening::Patience { session, serial });
    }

    /// The client has waited long enough for an answer.
    pub(super) fn patience_over(&mut self, session: usize, serial: u64) {
        let it = &self.sessions[session];
        if it.over || it.serial != serial {
            return;
        }
        if it.sent >= self.order(session).tries {
            return self.give_up(session);
        }
        self.ask_again(session);
    }

    fn ask_again(&mut self, session: usize) {
        let coordinator = self.order(session).coordinator;
        let ask = match self.sessions[session].ask {
            Ask::Run { .. } => Ask::Run {
                sent_to: Some(coordinator),
            },
            other => other,
        };
        self.ask(session, ask);
    }

    fn give_up(&mut self, session: usize) {
        let it = &mut self.sessions[session];
        it.over = true;
        if it.told == Told::Nothing {
            it.told = Told::Unknown;
        }
    }

    /// A client that had given up asks once more.
    pub(super) fn come_back(&mut self, session: usize) {
        let coordinator = self.order(session).coordinator;
        let one_shot = self.order(session).manner == Manner::OneShot;
        let it = &mut self.sessions[session];
        (it.over, it.sent) = (false, 0);
        let ask = if one_shot {
            Ask::Run {
                sent_to: Some(coordinator),
            }
        } else {
            Ask::Outcome
        };
        self.ask(session, ask);
    }

    /// A client's request has arrived.
    pub(super) fn request_event(&mut self, session: usize, request: RequestId, ask: Ask) -> Event {
        let it = &self.sessions[session];
        let (transaction, age) = (it.transaction, it.age);
        let begin = |sent_to: Option<usize>| Begin {
            transaction,
            age,
            timeout: Some(Span(self.shape.timeout_ms)),
            first_sent_to: sent_to.map(identity),
        };
        match ask {
            Ask::Run { sent_to } => {
                let begin = begin(sent_to);
                let steps = self.order(session).steps.clone();
                Event::RunRequested {
                    request,
                    begin,
                    hash: hash_of(it.order),
                    operations: self.operations(session, 0, &steps),
                }
            }
            Ask::Begin => Event::BeginRequested {
                request,
                begin: begin(None),
            },
            Ask::Piece(number, epoch) => self.piece_event(session, request, (number, epoch)),
            Ask::Commit(epoch) => Event::CommitRequested {
                request,
                transaction,
                epoch,
            },
            Ask::Abort => Event::AbortRequested {
                request,
                transaction,
                why: String::from("thought better of it"),
            },
            Ask::Reuse => {
                let participants = self.shape.participants;
                let mut steps = self.order(session).steps.clone();
                for step in &mut steps {
                    step.at = (step.at + 1) % participants;
                }
                Event::RunRequested {
                    request,
                    begin: begin(Some(self.order(session).coordinator)),
                    hash: OperationsHash([0xff; 32]),
                    operations: self.operations(session, REUSED_STEPS, &steps),
                }
            }
            Ask::Outcome => Event::TransactionAsked {
                request,
                transaction,
            },
        }
    }

    /// A client's request for a piece of its transaction.
    fn piece_event(
        &mut self,
        session: usize,
        request: RequestId,
        (number, epoch): (u32, Epoch),
    ) -> Event {
        let transaction = self.sessions[session].transaction;
        let order = &self.orders[self.sessions[session].order];
        let piece = order.pieces().get(number as usize - 1).copied();
        let (first, steps) = match piece {
            Some(Piece::Locks(claims)) => {
                let locks = claims.iter().map(|claim| {
                    let mode = mode_of(claim.exclusive);
                    let lock = LockRequest {
                        name: S::lock_name(claim.key),
                        mode,
                    };
                    (name(claim.at), lock)
                });
                return Event::LocksRequested {
                    request,
                    transaction,
                    epoch,
                    number,
                    locks: locks.collect(),
                };
            }
            Some(Piece::Work { first, steps }) => (first, steps.to_vec()),
            None => (0, Vec::new()),
        };
        Event::ExecuteRequested {
            request,
            transaction,
            epoch,
            number,
            operations: self.operations(session, first, &steps),
        }
    }

    /// Operations of a session, the same each time. `first`: the place of the first
    /// of them among all of the order.
    fn operations(
        &mut self,
        session: usize,
        first: usize,
        steps: &[Step],
    ) -> Vec<AddressedOperation> {
        let marked = self.order(session).marked;
        let operation = |(at, step): (usize, &Step)| {
            let place = self.action_of(session, first + at, *step);
            let operation = Operation {
                action: Ok(action_payload(place)),
                read_only: marked && !step.what.writes(),
                inputs: Vec::new(),
            };
            (name(step.at), operation)
        };
        steps.iter().enumerate().map(operation).collect()
    }

    /// The action of a step: made once, then known by its place.
    fn action_of(&mut self, session: usize, step_at: usize, step: Step) -> usize {
        let key = (session, step_at);
        if let Some(place) = self.action_places.get(&key) {
            return *place;
        }
        let place = self.actions.len();
        self.actions
            .push(S::action(step, value_of(session, step_at)));
        self.action_places.insert(key, place);
        place
    }

    /// A coordinator's answer has reached the client.
    pub(super) fn answered(&mut self, session: usize, serial: u64, reply: Reply) {
        if serial == REUSE {
            return self.reuse_answered(session, &reply);
        }
        let waited_for = self.sessions[session].serial == serial && !self.sessions[session].over;
        match reply {
            Reply::Finished(report) => {
                self.learned(session, report.ending);
            }
            Reply::Transaction(view) => match view.outcome {
                Some(Outcome::Committed) => self.learned(session, Ending::Committed(None)),
                Some(Outcome::Aborted) => {
                    if let Some(cause) = view.cause {
                        self.learned(session, Ending::Aborted(cause));
                    }
                }
                None => {}
            },
            Reply::Begun { epoch } if waited_for => {
                self.sessions[session].epoch = epoch;
                self.go_on(session);
            }
            Reply::Executed(results) if waited_for => {
                self.note_holds(session, &[]);
                let it = &mut self.sessions[session];
                it.pieces
                    .extend(results.into_iter().map(|payload| payload.value));
                self.go_on(session);
            }
            Reply::LocksAcquired(tokens) if waited_for => {
                self.note_holds(session, &tokens);
                self.go_on(session);
            }
            Reply::Refused(refusal) => {
                self.coverage.reason(refusal.reason.as_str());
                if waited_for {
                    self.refused(session, refusal.reason.as_str(), refusal.retryable);
                }
            }
            Reply::Begun { .. }
            | Reply::Executed(_)
            | Reply::Transactions { .. }
            | Reply::Verdict(_)
            | Reply::Registered { .. }
            | Reply::Participants(_)
            | Reply::InDoubt(_)
            | Reply::Damage(_)
            | Reply::LocksAcquired(_)
            | Reply::Waits(_)
            | Reply::Statistics(_)
            | Reply::Saga(_)
            | Reply::Sagas { .. }
            | Reply::Done => {}
        }
    }

    /// The client knows that it holds what the piece in hand has locked: what was
    /// asked for by name has tokens, what its work needed has none.
    fn note_holds(&mut self, session: usize, tokens: &[Token]) {
        let told = self.next_moment().number;
        let it = &self.sessions[session];
        let Ask::Piece(number, _) = it.ask else {
            return;
        };
        let asked = it.piece_asked;
        let hold = |at, key, exclusive, token| Hold {
            at,
            key,
            exclusive,
            token,
            asked,
            told,
        };
        let of_claim = |(claim, token): (&Claim, &Token)| {
            hold(claim.at, claim.key, claim.exclusive, Some(*token))
        };
        let of_step = |step: &Step| match step.what {
            What::Read | What::Append | What::Take(_) | What::Put(_) => {
                Some(hold(step.at, step.key, step.what.writes(), None))
            }
            // These lock more than one key.
            What::ReadAll | What::Open => None,
        };
        let holds: Vec<Hold> = match self.orders[it.order].pieces().get(number as usize - 1) {
            Some(Piece::Locks(claims)) => {
                if claims.len() != tokens.len() {
                    let story = format!("{} locks brought {tokens:?}", claims.len());
                    return self.fail(Failure::new(ANSWERS, story));
                }
                claims.iter().zip(tokens).map(of_claim).collect()
            }
            Some(Piece::Work { steps, .. }) => steps.iter().filter_map(of_step).collect(),
            None => Vec::new(),
        };
        if holds.iter().any(|hold| hold.token.is_some()) {
            self.coverage.outcome(match holds.len() {
                1 => "one lock by name",
                _ => "several locks by name",
            });
        }
        self.sessions[session].holds.extend(holds);
    }

    /// Other operations under a known id are never run, and get nobody's outcome.
    fn reuse_answered(&mut self, session: usize, reply: &Reply) {
        match reply {
            Reply::Refused(refusal) => self.coverage.reason(refusal.reason.as_str()),
            other => {
                let story = format!(
                    "other operations under the id of {} were answered {other:?}",
                    self.sessions[session].transaction
                );
                self.fail(Failure::new("I9 (once)", story));
            }
        }
    }

    /// The next request of an interactive transaction.
    fn go_on(&mut self, session: usize) {
        let order = self.order(session);
        let (manner, pieces) = (order.manner, order.pieces().len());
        let next = match self.sessions[session].ask {
            Ask::Begin => 1,
            Ask::Piece(number, _) => number + 1,
            Ask::Run { .. } | Ask::Commit(_) | Ask::Abort | Ask::Outcome | Ask::Reuse => return,
        };
        let epoch = self.sessions[session].epoch;
        let all_done = next as usize > pieces;
        match manner {
            Manner::Vanishes if next > 1 => self.give_up(session),
            Manner::ThinksBetter if next > 1 => self.ask(session, Ask::Abort),
            _ if all_done => self.ask(session, Ask::Commit(epoch)),
            _ => self.ask(session, Ask::Piece(next, epoch)),
        }
    }

    /// The client knows the outcome.
    fn learned(&mut self, session: usize, ending: Ending) {
        let outcome = ending.outcome();
        let transaction = self.sessions[session].transaction;
        self.facts.answers.push((transaction, outcome));
        let told = match ending {
            Ending::Committed(results) => {
                self.coverage.outcome("committed");
                let one_shot = self.order(session).manner == Manner::OneShot;
                let results = if one_shot {
                    results.map(|all| all.into_iter().map(|it| it.value).collect())
                } else {
                    Some(self.sessions[session].pieces.clone())
                };
                Told::Committed(results.and_then(|results| self.seen(session, &results)))
            }
            Ending::Aborted(cause) => {
                self.coverage.outcome("aborted");
                self.coverage.reason(cause.refusal.reason.as_str());
                if cause.refusal.retryable
                    && self.order(session).reruns
                    && self.sessions[session].is_unsure()
                    && !self.healing
                {
                    let (order, age) = {
                        let it = &self.sessions[session];
                        (it.order, it.age)
                    };
                    let at = self.now + 50_000;
                    self.schedule(at, Happening::Rerun { order, age });
                }
                Told::Aborted
            }
        };
        let now = self.next_moment();
        let repeats_after = self.order(session).repeats_after_ms;
        let it = &mut self.sessions[session];
        it.over = true;
        if it.is_unsure() {
            it.completed = Some(now);
            it.told = told;
            if repeats_after > 0 && !self.healing {
                let at = self.now + repeats_after * 1_000;
                self.schedule(at, Happening::Repeat(session));
            }
        }
    }

    /// What the results say; `None` if some are missing.
    fn seen(&self, session: usize, results: &[Vec<u8>]) -> Option<Vec<Seen>> {
        let steps = &self.order(session).steps;
        if results.len() != steps.len() {
            return None;
        }
        let empty = S::empty();
        let read = |(step, bytes): (&Step, &Vec<u8>)| {
            let result = empty.decode_result(bytes).ok()?;
            Some(S::seen(*step, result))
        };
        steps.iter().zip(results).map(read).collect()
    }

    /// No outcome. What a later try can help is tried again after a while.
    fn refused(&mut self, session: usize, reason: &str, retryable: bool) {
        let later = retryable || ["OUTCOME_UNKNOWN", "WRONG_COORDINATOR"].contains(&reason);
        let it = &self.sessions[session];
        if !later || it.sent >= self.order(session).tries {
            self.refusals.insert(session, reason.to_owned());
            self.give_up(session);
        }
        // Its patience goes on, and then it asks again.
    }
}

/// A value that nobody else appends.
pub(crate) const fn value_of(session: usize, step_at: usize) -> u64 {
    session as u64 * 100 + step_at as u64
}

/// How a lock is asked for.
const fn mode_of(exclusive: bool) -> Mode {
    if exclusive {
        Mode::Exclusive
    } else {
        Mode::Shared
    }
}

/// The fingerprint of an order's operations.
fn hash_of(order: usize) -> OperationsHash {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&(order as u64).to_be_bytes());
    OperationsHash(hash)
}
