//! The lock table against a model that is as naive as can be: two lists, and the
//! rules as sentences over them.

use std::collections::BTreeSet;

use nemcon_core::id::Boot;
use nemcon_core::lock::{Full, Grant, Limits, LockKey, Mode, Table, Token, Waiter};
use nemcon_core::planted::Planted;
use nemcon_core::time::Millis;
use proptest::prelude::*;

const BOOT: Boot = Boot(7);
const NOW: Millis = Millis(1_000);

#[derive(Clone, Debug)]
enum Move {
    Request { owner: u8, key: u8, mode: Mode },
    Release { owner: u8 },
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Shared), Just(Mode::Exclusive)]
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0..6_u8, 0..3_u8, mode())
            .prop_map(|(owner, key, mode)| Move::Request { owner, key, mode }),
        1 => (0..6_u8).prop_map(|owner| Move::Release { owner }),
    ]
}

fn key(key: u8) -> LockKey {
    LockKey::from([key])
}

/// A line in one of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    owner: u8,
    key: u8,
    mode: Mode,
}

/// All that is held, in the order of first grants; all that is waited for, in the
/// order of arrival.
#[derive(Debug, Default)]
struct Model {
    held: Vec<Line>,
    waiting: Vec<Line>,
}

impl Model {
    fn held_mode(&self, owner: u8, key: u8) -> Option<Mode> {
        let line = self.held.iter().find(|l| (l.owner, l.key) == (owner, key));
        line.map(|line| line.mode)
    }

    fn awaited(&self, owner: u8) -> Option<u8> {
        let line = self.waiting.iter().find(|line| line.owner == owner);
        line.map(|line| line.key)
    }

    /// Two owners go together if both only read.
    fn clash(one: Line, other: Line) -> bool {
        one.owner != other.owner && (one.mode, other.mode) != (Mode::Shared, Mode::Shared)
    }

    fn holders(&self, key: u8) -> Vec<Line> {
        let held = self.held.iter().filter(|line| line.key == key);
        held.copied().collect()
    }

    /// Who waits for a key, in the order of service: those first that hold it
    /// already, and within both groups as they came.
    fn queue(&self, key: u8) -> Vec<Line> {
        let waiting = self.waiting.iter().filter(|line| line.key == key);
        let (upgrades, others): (Vec<Line>, Vec<Line>) =
            waiting.partition(|line| self.held_mode(line.owner, key).is_some());
        [upgrades, others].concat()
    }

    fn fits(&self, line: Line) -> bool {
        let holders = self.holders(line.key);
        !holders.into_iter().any(|holder| Self::clash(holder, line))
    }

    fn grant(&mut self, line: Line) {
        let place = |l: &Line| (l.owner, l.key) == (line.owner, line.key);
        match self.held.iter().position(place) {
            Some(at) => self.held[at] = line,
            None => self.held.push(line),
        }
    }

    /// Whether it was granted. Nobody overtakes who waits, but for an upgrade.
    fn request(&mut self, line: Line) -> bool {
        let held = self.held_mode(line.owner, line.key);
        if held.is_some_and(|held| held >= line.mode) {
            return true;
        }
        if self.awaited(line.owner).is_some() {
            return false;
        }
        let first = held.is_some() || self.queue(line.key).is_empty();
        let granted = first && self.fits(line);
        if granted {
            self.grant(line);
        } else {
            self.waiting.push(line);
        }
        granted
    }

    /// Lets go of everything: first of the wait, then of what is held, in the order in
    /// which it was granted; each time whoever can be served is.
    fn release(&mut self, owner: u8) -> Vec<Line> {
        let mut granted = Vec::new();
        if let Some(key) = self.awaited(owner) {
            self.waiting.retain(|line| line.owner != owner);
            self.serve(key, &mut granted);
        }
        while let Some(at) = self.held.iter().position(|line| line.owner == owner) {
            let key = self.held.remove(at).key;
            self.serve(key, &mut granted);
        }
        granted
    }

    fn serve(&mut self, key: u8, granted: &mut Vec<Line>) {
        while let Some(next) = self
            .queue(key)
            .first()
            .copied()
            .filter(|next| self.fits(*next))
        {
            self.waiting.retain(|line| *line != next);
            self.grant(next);
            granted.push(next);
        }
    }

    /// Whom a waiter waits for: who holds the key or stands ahead of it, and clashes.
    fn obstacles(&self, waiter: Line) -> BTreeSet<u8> {
        let ahead = self.queue(waiter.key);
        let ahead = ahead.into_iter().take_while(|line| *line != waiter);
        let all = self.holders(waiter.key).into_iter().chain(ahead);
        let clashing = all.filter(|line| Self::clash(*line, waiter));
        clashing.map(|line| line.owner).collect()
    }
}

/// The table, the model, and what was seen of numbers that only grow.
struct Both {
    table: Table<u8>,
    model: Model,
    token: Token,
    wait: u64,
}

impl Both {
    fn new() -> Self {
        let mut table = Table::new(Boot(0), Limits::new(), Planted::none());
        table.set_boot(BOOT);
        Self {
            table,
            model: Model::default(),
            token: Token::default(),
            wait: 0,
        }
    }

    /// A grant's token is greater than every token before it, and stays what it is.
    fn saw_grant(&mut self, line: Line) -> Result<(), TestCaseError> {
        let asked = [(); 2].map(|()| {
            self.table
                .request(NOW, line.owner, &key(line.key), line.mode)
        });
        let [Grant::Granted(token), again] = asked else {
            return Err(TestCaseError::fail(format!(
                "{line:?} was granted, and is not held"
            )));
        };
        prop_assert_eq!(again, Grant::Granted(token));
        prop_assert_eq!(token.boot, BOOT);
        prop_assert!(token > self.token, "{token:?} after {:?}", self.token);
        self.token = token;
        Ok(())
    }

    fn request(&mut self, line: Line) -> Result<(), TestCaseError> {
        let held = self.model.held_mode(line.owner, line.key) >= Some(line.mode);
        let granted = self.model.request(line);
        match self
            .table
            .request(NOW, line.owner, &key(line.key), line.mode)
        {
            Grant::Granted(token) => {
                prop_assert!(granted, "{line:?} overtakes");
                if held {
                    prop_assert!(token <= self.token, "nothing was granted");
                } else {
                    self.saw_grant(line)?;
                }
            }
            Grant::Waiting(wait) => {
                prop_assert!(!granted, "{line:?} waits for nobody");
                prop_assert!(wait > self.wait, "waits are told apart");
                self.wait = wait;
                let again = self
                    .table
                    .request(NOW, line.owner, &key(line.key), line.mode);
                prop_assert_eq!(again, Grant::Waiting(wait), "asking again changes nothing");
            }
            Grant::Refused(full) => prop_assert!(false, "{line:?} is refused: {full:?}"),
        }
        Ok(())
    }

    fn release(&mut self, owner: u8) -> Result<Vec<Line>, TestCaseError> {
        let granted = self.model.release(owner);
        let owners: Vec<u8> = granted.iter().map(|line| line.owner).collect();
        prop_assert_eq!(self.table.release(NOW, owner), owners, "in this order");
        for line in &granted {
            self.saw_grant(*line)?;
        }
        prop_assert_eq!(
            self.table.release(NOW, owner),
            Vec::new(),
            "nothing is left"
        );
        Ok(granted)
    }

    fn agree(&self) -> Result<(), TestCaseError> {
        let (table, model) = (&self.table, &self.model);
        let holders: BTreeSet<u8> = model.held.iter().map(|line| line.owner).collect();
        prop_assert!(table.holders().eq(holders));
        prop_assert_eq!(table.waiters(), model.waiting.len());
        for owner in 0..6 {
            let held = table
                .held_by(owner)
                .map(|(key, mode)| (key.as_bytes()[0], mode));
            let lines = model.held.iter().filter(|line| line.owner == owner);
            let lines: Vec<_> = lines.map(|line| (line.key, line.mode)).collect();
            prop_assert_eq!(held.collect::<Vec<_>>(), lines);
            let awaited = table.awaited_by(owner).map(|(key, _)| key.as_bytes()[0]);
            prop_assert_eq!(awaited, model.awaited(owner));
            for at in 0..3 {
                let held = model.held_mode(owner, at);
                for mode in [Mode::Shared, Mode::Exclusive] {
                    prop_assert_eq!(table.holds(owner, &key(at), mode), held >= Some(mode));
                }
            }
        }
        for at in 0..3 {
            let holders: BTreeSet<u8> = model.holders(at).iter().map(|l| l.owner).collect();
            prop_assert!(table.holders_of(&key(at)).eq(holders));
        }
        for waiter in &model.waiting {
            let queue = table.queue(&key(waiter.key)).expect("it is waited for");
            let is_it = |it: &Waiter<u8>| it.owner == waiter.owner;
            let place = queue.waiters.iter().position(is_it).expect("it waits");
            let blockers: Vec<u8> = queue.blockers(place).collect();
            let obstacles = model.obstacles(*waiter);
            prop_assert!(!obstacles.is_empty(), "{waiter:?} could be served");
            prop_assert_eq!(blockers.len(), obstacles.len(), "each is named once");
            prop_assert_eq!(BTreeSet::from_iter(blockers), obstacles);
            let wait = Some(queue.waiters[place].wait);
            prop_assert_eq!(table.awaited_by(waiter.owner).map(|(_, wait)| wait), wait);
        }
        let waited: BTreeSet<u8> = model.waiting.iter().map(|line| line.key).collect();
        let contended = table.contended().map(|queue| queue.key.as_bytes()[0]);
        prop_assert!(contended.eq(waited.iter().copied()));
        for owner in 0..6 {
            let mut obstructs = model.waiting.iter().map(|line| (line.owner, line.key));
            let waited =
                obstructs.any(|(other, at)| other != owner && model.held_mode(owner, at).is_some());
            prop_assert_eq!(table.is_waited_for(owner), waited);
        }
        prop_assert_eq!(table.overtaken(), None);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_as_the_model(schedule in prop::collection::vec(moves(), 1..80)) {
        let mut both = Both::new();
        for step in schedule {
            match step {
                // An owner waits for one key at a time.
                Move::Request { owner, .. } if both.model.awaited(owner).is_some() => {}
                Move::Request { owner, key, mode } => both.request(Line { owner, key, mode })?,
                Move::Release { owner } => drop(both.release(owner)?),
            }
            both.agree()?;
        }
    }

    /// Fairness, without the model's rules: on one key and without upgrades, locks are
    /// granted in the order in which they were asked for.
    #[test]
    fn first_come_first_served(modes in prop::collection::vec(mode(), 1..20)) {
        let mut table = Table::new(BOOT, Limits::new(), Planted::none());
        let mut order = Vec::new();
        for (owner, mode) in (0_u8..).zip(&modes) {
            if matches!(table.request(NOW, owner, &key(0), *mode), Grant::Granted(_)) {
                order.push(owner);
            }
        }
        // Whoever was served first leaves first.
        let mut at = 0;
        while let Some(owner) = order.get(at).copied() {
            order.extend(table.release(NOW, owner));
            at += 1;
        }
        let came: Vec<u8> = (0_u8..).take(modes.len()).collect();
        prop_assert_eq!(order, came);
    }

    /// Whatever has happened, when everyone has let go nothing is left.
    #[test]
    fn in_the_end_nothing_is_left(schedule in prop::collection::vec(moves(), 1..80)) {
        let mut table = Table::new(BOOT, Limits::new(), Planted::none());
        for step in schedule {
            match step {
                Move::Request { owner, .. } if table.awaited_by(owner).is_some() => {}
                Move::Request { owner, key: at, mode } => drop(table.request(NOW, owner, &key(at), mode)),
                Move::Release { owner } => drop(table.release(NOW, owner)),
            }
        }
        (0..6).for_each(|owner| drop(table.release(NOW, owner)));
        prop_assert_eq!((table.holders().count(), table.waiters()), (0, 0));
        for at in 0..3 {
            let fresh = table.request(NOW, 9, &key(at), Mode::Exclusive);
            prop_assert!(matches!(fresh, Grant::Granted(_)), "key {at} is free");
        }
    }
}

#[test]
fn an_owner_may_hold_so_many_locks_and_no_more() {
    let limits = Limits {
        held: 2,
        ..Limits::new()
    };
    let mut table = Table::new(BOOT, limits, Planted::none());
    for at in 0..2 {
        let grant = table.request(NOW, 1_u8, &key(at), Mode::Shared);
        assert!(matches!(grant, Grant::Granted(_)), "{grant:?}");
    }
    let more = table.request(NOW, 1, &key(2), Mode::Shared);
    assert_eq!(more, Grant::Refused(Full::Held));
    assert_eq!(table.queue(&key(2)), None, "nothing of it is left");
    // What it holds may be made stronger, and others are not concerned.
    let upgrade = table.request(NOW, 1, &key(0), Mode::Exclusive);
    assert!(matches!(upgrade, Grant::Granted(_)), "{upgrade:?}");
    let other = table.request(NOW, 2, &key(2), Mode::Shared);
    assert!(matches!(other, Grant::Granted(_)), "{other:?}");
    // Nor can it wait for what it could not hold.
    let wait = table.request(NOW, 1, &key(2), Mode::Exclusive);
    assert_eq!(wait, Grant::Refused(Full::Held));
}

#[test]
fn so_many_may_wait_for_a_key_and_no_more() {
    let limits = Limits {
        waiters: 2,
        ..Limits::new()
    };
    let mut table = Table::new(BOOT, limits, Planted::none());
    let asked: Vec<Grant> = (1_u8..=4)
        .map(|owner| table.request(NOW, owner, &key(0), Mode::Exclusive))
        .collect();
    assert!(matches!(asked[0], Grant::Granted(_)));
    assert!(matches!(
        asked[1..3],
        [Grant::Waiting(_), Grant::Waiting(_)]
    ));
    assert_eq!(asked[3], Grant::Refused(Full::Waiters));
    assert_eq!(table.release(NOW, 1), [2]);
    let again = table.request(NOW, 4, &key(0), Mode::Exclusive);
    assert!(matches!(again, Grant::Waiting(_)), "{again:?}");
}

#[test]
fn a_queue_tells_since_when() {
    let mut table = Table::new(BOOT, Limits::new(), Planted::none());
    let _ = table.request(Millis(5), 1_u8, &key(0), Mode::Exclusive);
    let _ = table.request(Millis(7), 2, &key(0), Mode::Shared);
    let queue = table.queue(&key(0)).unwrap();
    assert_eq!(
        (queue.holders[0].owner, queue.holders[0].since),
        (1, Millis(5))
    );
    assert_eq!(
        (queue.waiters[0].owner, queue.waiters[0].since),
        (2, Millis(7))
    );
    let _ = table.release(Millis(9), 1);
    let queue = table.queue(&key(0)).unwrap();
    assert_eq!(
        (queue.holders[0].owner, queue.holders[0].since),
        (2, Millis(9))
    );
    assert!(queue.waiters.is_empty());
}
