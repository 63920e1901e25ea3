//! Which order comes next.
//!
//! Orders of one paying account wait for one another. It keeps the file's order
//! where it matters, so that what an account can no longer pay does not depend on
//! how many orders are in flight. And two transactions that are in flight never
//! hold the same paying account, so those that share both accounts cannot block
//! each other crosswise at two banks.

use std::collections::{BTreeSet, VecDeque};

use nemcon_ledger::name::AccountName;

use super::orders::Order;

/// How far ahead an order is looked for whose account is free. Bounds the search
/// in a file that pays from one account for long.
const LOOK_AHEAD: usize = 1_024;

/// The orders that are not yet started.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Order>,
    /// Paying accounts with an order in flight.
    busy: BTreeSet<AccountName>,
}

impl Queue {
    /// All orders, in the order of the file.
    pub(super) fn new(orders: Vec<Order>) -> Self {
        Self {
            waiting: orders.into(),
            busy: BTreeSet::new(),
        }
    }

    /// Whether [`Queue::take`] has an order now.
    pub(super) fn has_next(&self) -> bool {
        self.place().is_some()
    }

    /// Takes the first order whose account is free, and keeps the account until
    /// it is [released](Queue::release).
    pub(super) fn take(&mut self) -> Option<Order> {
        let order = self.waiting.remove(self.place()?)?;
        self.busy.insert(order.from.clone());
        Some(order)
    }

    /// An order of this account has ended.
    pub(super) fn release(&mut self, account: &AccountName) {
        self.busy.remove(account);
    }

    /// How many have not been taken.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Where the next order stands.
    fn place(&self) -> Option<usize> {
        let ahead = self.waiting.iter().take(LOOK_AHEAD);
        ahead
            .enumerate()
            .find(|(_, order)| !self.busy.contains(&order.from))
            .map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Minor;

    fn order(id: &str, from: &str) -> Order {
        Order {
            line: 0,
            id: id.parse().unwrap(),
            from: from.parse().unwrap(),
            to: "b/x".parse().unwrap(),
            amount: Minor(1),
        }
    }

    fn take(queue: &mut Queue) -> Option<String> {
        queue.take().map(|order| order.id.to_string())
    }

    #[test]
    fn orders_of_one_account_wait_for_one_another() {
        let orders = vec![
            order("1", "a"),
            order("2", "a"),
            order("3", "b"),
            order("4", "a"),
        ];
        let mut queue = Queue::new(orders);
        assert_eq!(take(&mut queue).as_deref(), Some("1"));
        assert_eq!(take(&mut queue).as_deref(), Some("3"));
        assert_eq!(take(&mut queue), None);
        assert!(!queue.has_next());
        queue.release(&"b".parse().unwrap());
        assert_eq!(take(&mut queue), None);
        queue.release(&"a".parse().unwrap());
        assert!(queue.has_next());
        assert_eq!(take(&mut queue).as_deref(), Some("2"));
        assert_eq!(queue.len(), 1);
    }
}
