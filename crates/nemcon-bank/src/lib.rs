//! A bank: a ledger as a participant, and a service for its customers.
//!
//! ```text
//!                 Withdraw, Deposit, … as Any
//!   coordinator ──────────────────────────────▶ wire ──▶ Ledger (nemcon-ledger)
//!        ▲                                                 ▲
//!        │ RunTransaction                             peek │
//!        └────────────────── service ──────────────────────┘
//!                               ▲
//!                               │ OpenAccount, Transfer, …
//!                           customers
//! ```
//!
//! - [`wire`] is the border: messages of `nemcon.bank.v1` to the ledger's actions.
//! - `service` is `BankService`: each call becomes one transaction, run through a
//!   coordinator like that of any other client.
//! - [`start`] puts both on one port, on a thread of their own. Nothing is
//!   global, so one process can hold many banks.
//!
//! The price of the second path is a detour: a withdrawal by a customer of this
//! bank travels to the coordinator and back before it reaches the ledger a few
//! lines away. What it buys is that there is one way into the books, and that a
//! customer's request is safe to send again wherever it was interrupted.

mod coordinators;
mod deadline;
mod service;
mod settings;
mod start;
mod status;
pub mod wire;

pub use nemcon_participant::Settings;
pub use settings::fields;
pub use start::start;
