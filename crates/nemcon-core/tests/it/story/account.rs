//! The account of a story: who has written, forced, said and answered what, and how
//! everything stands.

use std::collections::BTreeSet;

use nemcon_core::coordinator::record::Record;
use nemcon_core::id::{AttemptId, Lsn};
use nemcon_core::lock::{self, LockKey, Mode};
use nemcon_core::participant::view::Standing;

use super::stage::Stage;
use super::words;
use crate::world::{Overheard, Place};

/// How far the account of one node has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    records: usize,
    forced: usize,
    durable: Lsn,
}

impl Stage {
    /// Says what is new.
    pub(super) fn report(&mut self) {
        for node in &self.world.coordinators {
            for (_, record) in &node.appended {
                if let Record::Saga { saga, fact } = record {
                    self.names.learn_try(*saga, fact);
                }
            }
        }
        for packet in &self.world.network()[self.messages..] {
            self.names.learn(packet);
        }
        for place in self.world.places() {
            self.report_log(place);
        }
        for overheard in std::mem::take(&mut self.world.overheard) {
            // Who watches is told of each step; a reader hears of the whole.
            if let Overheard::SagaChanged(_, saga, state) = overheard
                && self.watched.insert(saga, state) == Some(state)
            {
                continue;
            }
            self.lines.extend(self.names.overheard(&overheard));
        }
        let new = &self.world.network()[self.messages..];
        let new = new.iter().filter(|packet| !words::is_failure(packet));
        let said: Vec<_> = new.map(|packet| self.names.packet(packet)).collect();
        // The same to several at once is one line.
        let mut left = said.as_slice();
        while let [(from, _, what), ..] = left {
            let mut to: Vec<String> = Vec::new();
            for (also_from, place, also) in left {
                let place = self.names.node(*place);
                if also_from != from || also != what || to.contains(&place) {
                    break;
                }
                to.push(place);
            }
            left = &left[to.len()..];
            let from = self.names.node(*from);
            self.lines
                .push(format!("{from} → {}: {what}", to.join(", ")));
        }
        self.messages = self.world.in_flight();
    }

    /// Says what a node has written, and what of it its disk has now.
    fn report_log(&mut self, place: Place) {
        let seen = self.seen[&place];
        let records = self.records(place);
        let name = self.names.node(place);
        self.catch_up(place);
        let now = self.seen[&place];
        let new = records[seen.records..].join(", ");
        let is_durable = now.durable >= Lsn(self.last_lsn(place));
        let forced = now.forced > seen.forced;
        if !new.is_empty() {
            let how = if is_durable && !forced {
                ", and has it on disk"
            } else if forced {
                ", and waits for the disk"
            } else {
                ""
            };
            self.lines.push(format!("{name} writes {new}{how}"));
        } else if now.durable > seen.durable {
            let fresh = self.records_between(place, seen.durable, now.durable);
            self.lines
                .push(format!("{name} has {} on disk", fresh.join(", ")));
        }
    }

    pub(super) fn catch_up(&mut self, place: Place) {
        let records = self.records(place).len();
        let (forced, durable) = match place {
            Place::Coordinator(at) => {
                let node = &self.world.coordinators[at];
                (node.forced, node.durable())
            }
            Place::Participant(at) => {
                let node = &self.world.participants[at];
                (node.forced, node.durable())
            }
        };
        let seen = Seen {
            records,
            forced,
            durable,
        };
        self.seen.insert(place, seen);
    }

    fn numbered_records(&self, place: Place) -> Vec<(Lsn, String)> {
        match place {
            Place::Coordinator(at) => self.world.coordinators[at]
                .appended
                .iter()
                .map(|(lsn, record)| (*lsn, self.names.coordinator_record(at, record)))
                .collect(),
            Place::Participant(at) => self.world.participants[at]
                .appended
                .iter()
                .map(|(lsn, record)| (*lsn, self.names.participant_record(record)))
                .collect(),
        }
    }

    pub(super) fn records(&self, place: Place) -> Vec<String> {
        let records = self.numbered_records(place).into_iter();
        records.map(|(_, record)| record).collect()
    }

    fn records_between(&self, place: Place, above: Lsn, through: Lsn) -> Vec<String> {
        let records = self.numbered_records(place).into_iter();
        records
            .filter(|(lsn, _)| above < *lsn && *lsn <= through)
            .map(|(_, record)| record)
            .collect()
    }

    fn last_lsn(&self, place: Place) -> u64 {
        self.numbered_records(place)
            .last()
            .map_or(0, |(lsn, _)| lsn.0)
    }

    /// A node as it stands.
    pub(super) fn look(&self, place: Place) -> String {
        let name = self.names.node(place);
        match place {
            Place::Coordinator(at) => self.look_at_coordinator(at).map_or_else(
                || format!("{name} is down"),
                |facts| format!("{name}: {}", facts.join("; ")),
            ),
            Place::Participant(at) => self
                .look_at_bank(at)
                .map_or_else(|| format!("{name} is down"), |facts| facts.join("; ")),
        }
    }

    fn look_at_coordinator(&self, at: usize) -> Option<Vec<String>> {
        let machine = self.world.coordinators[at].machine.as_ref()?;
        let states = machine.states().map(|(id, state)| {
            format!("{} is {}", self.names.transaction(id), words::state(state))
        });
        let mut facts: Vec<String> = states.collect();
        if facts.is_empty() {
            facts.push("nothing is running".to_owned());
        }
        facts.extend(self.look_at_sagas());
        Some(facts)
    }

    fn look_at_bank(&self, at: usize) -> Option<Vec<String>> {
        let machine = self.world.participants[at].machine.as_ref()?;
        let mut values = machine.resource().values.clone();
        values.entry(1).or_default();
        let values = values.iter();
        let accounts =
            values.map(|(account, value)| format!("{} has {value}", self.account(at, *account)));
        let mut facts: Vec<String> = accounts.collect();
        for view in machine.attempts() {
            let locks = self.locks(at, machine.locks(), view.attempt);
            let is = match view.standing {
                Standing::Active => "is at work".to_owned(),
                Standing::Holding => "has read".to_owned(),
                Standing::Prepared => "is in doubt".to_owned(),
                Standing::ByHand(outcome) => format!("was {} by hand", words::outcome(outcome)),
                Standing::Ended(_) | Standing::Declined | Standing::Read if locks.is_empty() => {
                    continue;
                }
                Standing::Ended(_) | Standing::Declined | Standing::Read => "is over".to_owned(),
            };
            facts.push(format!("{} {is}{locks}", self.names.attempt(view.attempt)));
        }
        Some(facts)
    }

    /// As operations name it: `b`, `b2`.
    fn account(&self, bank: usize, account: u8) -> String {
        let bank = self.names.node(Place::Participant(bank));
        match account {
            1 => bank,
            account => format!("{bank}{account}"),
        }
    }

    fn locks(&self, bank: usize, table: &lock::Table<AttemptId>, attempt: AttemptId) -> String {
        let account = |key: &LockKey| self.account(bank, key.as_bytes()[0]);
        let held = table.held_by(attempt).map(|(key, mode)| match mode {
            Mode::Shared => format!(", reads {}", account(key)),
            Mode::Exclusive => format!(", locks {}", account(key)),
        });
        let mut locks: String = held.collect();
        if let Some((key, _)) = table.awaited_by(attempt)
            && let Some(queue) = table.queue(key)
        {
            let place = queue.waiters.iter().position(|it| it.owner == attempt);
            let ahead = place.into_iter().flat_map(|place| queue.blockers(place));
            let ahead: BTreeSet<String> = ahead.map(|it| self.names.attempt(it)).collect();
            let ahead = Vec::from_iter(ahead).join(", ");
            locks.push_str(&format!(", waits for {} behind {ahead}", account(key)));
        }
        locks
    }

    /// How everything stands when the story ends.
    pub(crate) fn ending(&mut self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .world
            .places()
            .into_iter()
            .map(|place| self.look(place))
            .collect();
        let outcomes: Vec<String> = self
            .told
            .iter()
            .map(|(name, told)| {
                let outcome = self.world.outcome(told.id());
                match outcome {
                    Some(outcome) => format!("{name} is {}", words::outcome(outcome)),
                    None => format!("no answer for {name}"),
                }
            })
            .collect();
        if !outcomes.is_empty() {
            lines.push(format!("client: {}", outcomes.join("; ")));
        }
        lines
    }
}

/// What is said several times within one command is said once: how often depends on
/// the pauses between tries, which no story is about.
pub(super) fn merge_repeats(lines: Vec<String>) -> Vec<String> {
    let mut merged: Vec<(String, usize)> = Vec::new();
    for line in lines {
        match merged.iter_mut().find(|(said, _)| *said == line) {
            Some((_, times)) => *times += 1,
            None => merged.push((line, 1)),
        }
    }
    let again = |(line, times)| match times {
        1 => line,
        2 => format!("{line} (twice)"),
        _ => format!("{line} (again and again)"),
    };
    merged.into_iter().map(again).collect()
}
