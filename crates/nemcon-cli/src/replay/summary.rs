//! What came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::CURRENCY;
use super::orders::Order;
use super::run::Fate;
use crate::failure::Exit;
use crate::money::Minor;
use crate::out::say;
use crate::table::Table;

/// Why a replay ended before its orders did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Somebody said so.
    Told,
    /// The coordinator has gone, for longer than anybody wants to wait.
    NobodyThere,
}

/// An order as it is listed: its line, by which it is sorted, and its id.
type Listed = (usize, String);

/// The counts of a replay.
#[derive(Debug, Default)]
pub(super) struct Summary {
    orders: usize,
    committed: usize,
    already_paid: usize,
    refused: BTreeMap<String, Vec<Listed>>,
    unknown: Vec<Listed>,
    moved: Minor,
    latencies: Vec<Duration>,
    /// Orders that were not begun.
    pub(super) not_started: usize,
    /// Lines that are no order.
    pub(super) malformed: usize,
    /// Accounts that had to be opened.
    pub(super) accounts_opened: usize,
    /// From the first order to the last.
    pub(super) took: Duration,
    /// Why it ended early, if it did.
    pub(super) stop: Option<Stop>,
}

impl Summary {
    /// Of so many orders, none of which has ended.
    pub(super) fn new(orders: usize) -> Self {
        Self {
            orders,
            ..Self::default()
        }
    }

    /// An order has ended.
    pub(super) fn count(&mut self, order: &Order, fate: &Fate, took: Duration) {
        self.latencies.push(took);
        let listed = (order.line, order.id.to_string());
        match fate {
            Fate::Committed => {
                self.committed += 1;
                self.moved = Minor(self.moved.0.saturating_add(order.amount.0));
            }
            Fate::AlreadyPaid => self.already_paid += 1,
            Fate::Refused(reason) => {
                self.refused
                    .entry(reason.to_string())
                    .or_default()
                    .push(listed);
            }
            Fate::NobodyThere(_) => {
                self.refused
                    .entry("UNREACHABLE".into())
                    .or_default()
                    .push(listed);
            }
            Fate::Unknown(..) => self.unknown.push(listed),
        }
    }

    /// An order has ended in a bug, and took its name with it.
    pub(super) fn lost(&mut self) {
        self.unknown.push((usize::MAX, "?".into()));
    }

    /// Refusals are outcomes; what was not begun or not heard of is not.
    pub(super) fn exit(&self) -> Exit {
        match self.stop {
            _ if !self.unknown.is_empty() => Exit::Unknown,
            Some(Stop::NobodyThere) => Exit::Unreachable,
            Some(Stop::Told) if self.not_started > 0 => Exit::Refused,
            Some(Stop::Told) | None => Exit::Done,
        }
    }

    /// For whatever reason.
    fn refused(&self) -> usize {
        self.refused.values().map(Vec::len).sum()
    }

    /// Only what was paid now counts as work.
    fn per_second(&self) -> f64 {
        let seconds = self.took.as_secs_f64();
        if seconds > 0.0 {
            self.committed as f64 / seconds
        } else {
            0.0
        }
    }

    /// A percentile of the time an order took, from its first start to its
    /// outcome, in milliseconds: the smallest that so many percent did not exceed.
    fn percentile_ms(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        let latency = sorted.get(rank.checked_sub(1)?)?;
        Some(latency.as_secs_f64() * 1_000.0)
    }

    /// For programs. `refused_orders` and `unknown_orders` name them.
    pub(super) fn to_json(&self) -> Value {
        let by_reason: BTreeMap<&str, usize> = self
            .refused
            .iter()
            .map(|(reason, ids)| (reason.as_str(), ids.len()))
            .collect();
        let refused = in_file_order(self.refused.values().flatten());
        let unknown = in_file_order(&self.unknown);
        json!({
            "orders": self.orders,
            "committed": self.committed,
            "refused": self.refused(),
            "refused_by_reason": by_reason,
            "refused_orders": refused,
            "already_paid": self.already_paid,
            "unknown": self.unknown.len(),
            "unknown_orders": unknown,
            "not_started": self.not_started,
            "malformed": self.malformed,
            "accounts_opened": self.accounts_opened,
            "moved_minor": self.moved.0,
            "seconds": rounded(self.took.as_secs_f64()),
            "per_second": rounded(self.per_second()),
            "p50_ms": self.percentile_ms(50).map(rounded),
            "p99_ms": self.percentile_ms(99).map(rounded),
        })
    }

    /// For people, with what to do next where something is left.
    pub(super) fn print(&self) {
        say!("{}", self.table());
        if self.malformed > 0 {
            say!("\n{} lines were left out: see above.", self.malformed);
        }
        if self.not_started > 0 || !self.unknown.is_empty() {
            say!(
                "\nNot everything is done. Run the same command again: what was paid is not paid \
                 twice."
            );
        }
    }

    /// For people.
    fn table(&self) -> Table {
        let mut table = Table::new(["", ">"]);
        let mut row = |what: &str, figure: String| table.row([what.to_owned(), figure]);
        row("orders", self.orders.to_string());
        row("committed", self.committed.to_string());
        for (reason, ids) in &self.refused {
            row(&format!("refused, {reason}"), ids.len().to_string());
        }
        if self.refused.is_empty() {
            row("refused", 0.to_string());
        }
        row("already paid", self.already_paid.to_string());
        row("unknown", self.unknown.len().to_string());
        if self.not_started > 0 {
            row("not started", self.not_started.to_string());
        }
        row("accounts opened", self.accounts_opened.to_string());
        row(&format!("moved, {CURRENCY}"), self.moved.to_string());
        row("seconds", format!("{:.1}", self.took.as_secs_f64()));
        row("committed per second", format!("{:.0}", self.per_second()));
        let millis = |percent| self.percentile_ms(percent).map(|ms| format!("{ms:.1}"));
        if let (Some(p50), Some(p99)) = (millis(50), millis(99)) {
            row("ms for an order, p50", p50);
            row("ms for an order, p99", p99);
        }
        table
    }
}

/// Orders end in any order; a list of them is that of the file.
fn in_file_order<'a>(listed: impl IntoIterator<Item = &'a Listed>) -> Vec<&'a str> {
    let mut listed: Vec<&Listed> = listed.into_iter().collect();
    listed.sort();
    listed.into_iter().map(|(_, id)| id.as_str()).collect()
}

/// To three places: more would be noise.
fn rounded(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use nemcon_core::reason::Reason;

    use super::*;

    fn order(id: &str, minor: i64) -> Order {
        Order {
            line: 0,
            id: id.parse().unwrap(),
            from: "a".parse().unwrap(),
            to: "b/x".parse().unwrap(),
            amount: Minor(minor),
        }
    }

    fn sample() -> Summary {
        let mut summary = Summary::new(5);
        let funds = Fate::Refused(Reason::business("INSUFFICIENT_FUNDS"));
        let millis = Duration::from_millis;
        summary.count(&order("1", 100), &Fate::Committed, millis(1));
        summary.count(&order("2", 50), &Fate::Committed, millis(2));
        summary.count(&order("3", 70), &funds, millis(3));
        summary.count(&order("4", 90), &Fate::AlreadyPaid, millis(4));
        summary.took = Duration::from_secs(2);
        summary
    }

    #[test]
    fn only_what_was_paid_now_has_moved() {
        let found = sample().to_json();
        assert_eq!(found["orders"], 5);
        assert_eq!(found["committed"], 2);
        assert_eq!(found["refused"], 1);
        assert_eq!(found["refused_by_reason"]["INSUFFICIENT_FUNDS"], 1);
        assert_eq!(found["refused_orders"], json!(["3"]));
        assert_eq!(found["already_paid"], 1);
        assert_eq!(found["unknown"], 0);
        assert_eq!(found["moved_minor"], 150);
        assert_eq!(found["seconds"], 2.0);
        assert_eq!(found["per_second"], 1.0);
        assert_eq!(found["p50_ms"], 2.0);
        assert_eq!(found["p99_ms"], 4.0);
        assert_eq!(Summary::new(0).to_json()["p50_ms"], Value::Null);
    }

    #[test]
    fn the_exit_code_says_whether_all_is_known() {
        let mut summary = sample();
        assert_eq!(summary.exit(), Exit::Done);
        summary.stop = Some(Stop::Told);
        assert_eq!(summary.exit(), Exit::Done);
        summary.not_started = 1;
        assert_eq!(summary.exit(), Exit::Refused);
        summary.stop = Some(Stop::NobodyThere);
        assert_eq!(summary.exit(), Exit::Unreachable);
        let unknown = Fate::Unknown(None, String::new());
        summary.count(&order("5", 1), &unknown, Duration::ZERO);
        assert_eq!(summary.exit(), Exit::Unknown);
    }

    #[test]
    fn the_table_names_each_reason() {
        let table = sample().table().to_string();
        assert!(table.contains("refused, INSUFFICIENT_FUNDS"), "{table}");
        assert!(table.contains("moved, CZK"), "{table}");
    }
}
