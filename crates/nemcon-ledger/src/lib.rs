//! A bank's books: a double-entry ledger that votes.
//!
//! This crate is what a bank guards, as a [`Resource`](nemcon_core::resource::Resource)
//! for the participant machine: it names the locks of an [`action::Action`], runs it
//! or says no for a reason of its business, and makes what committed part of the
//! books. Like the core it is pure: no clock, no chance, no hash map, no file.
//!
//! ```text
//!   Action ──▶ Ledger::locks ──▶ Ledger::execute ──▶ ActionResult, or a Refusal
//!                                     │ grows
//!                                     ▼
//!                 the log ◀───────── Redo ──────▶ Ledger::apply ──▶ a/alice
//!             (with the vote)                    (on commit)        r/alice/order-7
//!                                                                   c/CZK/clearing
//! ```
//!
//! # Double entry
//!
//! Every movement of a customer's money is one [`account::Entry`] with its
//! [`account::Contra`]: `cash` for money that enters or leaves the system,
//! `clearing` for money on its way between accounts or banks. The contra side is
//! never written by hand: it is the negative of the entry, so no redo can hold
//! one side without the other. Per bank and currency, customers + cash +
//! clearing = 0; over all banks clearing = 0 when nothing is in flight.
//! [`conservation`] checks both, as invariant I7.
//!
//! # Locks
//!
//! An action locks the accounts it names, known or not: that an account does
//! *not* exist is a fact a transaction may rest on. The set of accounts has a
//! lock of its own, which `Open` takes against the readers of the whole book.
//! Contra totals take no lock and have no limit, so that a bank's transfers do
//! not queue behind one another; only `Audit` reads them, and it holds every
//! account, without which no contra total moves.
//!
//! # Trade-offs
//!
//! - Everything is in memory; the stored form is one small value per reference
//!   and per contra total, and one value per account that holds its last
//!   [`limits::ENTRIES_KEPT`] entries (about 4 KiB when full). Those are
//!   rewritten when the account changes, which happens once per write-back and
//!   not once per movement.
//! - References are kept for an account's life: memory grows by about 100 bytes
//!   for each movement that carries one.
//! - `Open` is exclusive against other opens until it has committed. Many
//!   accounts are opened faster in one transaction than in many.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod account;
pub mod action;
pub mod conservation;
pub mod entries;
mod execution;
pub mod invalid;
pub mod key;
pub mod ledger;
pub mod limits;
pub mod money;
pub mod name;
pub mod reason;
pub mod redo;
mod refusal;
mod resource;
pub mod workload;

pub use crate::action::{Action, ActionResult};
pub use crate::conservation::{books_balance, clearing_is_settled};
pub use crate::ledger::Ledger;
pub use crate::redo::Redo;
