//! What clients have sent, and what they were told about it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nemcon_core::id::TransactionId;
use tokio::time::Instant;

use super::compose::Name;
use crate::outcome::Told;

/// An account at a bank.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account {
    pub(super) bank: Name,
    pub(super) name: String,
}

/// One transfer, under one id. A transfer that is run again after an abort has
/// another entry, with the same reference.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) reference: String,
    pub(super) from: Account,
    pub(super) to: Account,
    pub(super) amount: i64,
    pub(super) sent_at: Instant,
    /// `None` while there is no outcome.
    pub(super) told: Option<Told>,
}

/// How many transfers have an outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) committed: usize,
    pub(super) aborted: usize,
}

/// Every transfer of a test. Clones are the same book.
#[derive(Clone, Default)]
pub(super) struct Book(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    transfers: BTreeMap<TransactionId, Transfer>,
    count: Count,
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a transfer before it is sent.
    pub(super) fn sent(&self, id: TransactionId, transfer: Transfer) {
        let before = self.pages().transfers.insert(id, transfer);
        assert!(before.is_none(), "{id} was sent twice: {before:?}");
    }

    /// Notes an outcome.
    pub(super) fn told(&self, id: TransactionId, told: Told) {
        let mut pages = self.pages();
        match &told {
            Told::Committed => pages.count.committed += 1,
            Told::Aborted(_) => pages.count.aborted += 1,
        }
        let transfer = pages.transfers.get_mut(&id);
        transfer.expect("what is told was sent").told = Some(told);
    }

    pub(super) fn count(&self) -> Count {
        self.pages().count
    }

    /// What was sent before this moment and has no outcome yet.
    pub(super) fn open_since_before(&self, moment: Instant) -> Vec<TransactionId> {
        let pages = self.pages();
        let open = pages
            .transfers
            .iter()
            .filter(|(_, transfer)| transfer.told.is_none() && transfer.sent_at < moment);
        open.map(|(id, _)| *id).collect()
    }

    /// All of it.
    pub(super) fn transfers(&self) -> BTreeMap<TransactionId, Transfer> {
        self.pages().transfers.clone()
    }
}
