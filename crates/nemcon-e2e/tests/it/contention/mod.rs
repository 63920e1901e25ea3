//! Many want the same: rings of waits, a few accounts that everybody wants, clients
//! that vanish with locks in their hands.
//!
//! `scripts/contention.sh` runs the long form, in which times are held to what is
//! promised; beside other tests they could not be.

mod hot;
mod rings;
mod vanished;

use nemcon_client::AddressedOperation;
use nemcon_client::operation;

use crate::cluster::name;
use crate::money::{deposit, withdraw};

/// Whether this is the long form.
fn is_long() -> bool {
    std::env::var_os("NEMCON_CONTENTION").is_some_and(|form| form == "long")
}

/// So many in the long form, and so many in the short one.
fn sized(long: usize, short: usize) -> usize {
    if is_long() { long } else { short }
}

fn take(bank: &str, account: &str, amount_minor: i64) -> AddressedOperation {
    operation(&name(bank), &withdraw(account, amount_minor), false)
}

fn put(bank: &str, account: &str, amount_minor: i64) -> AddressedOperation {
    operation(&name(bank), &deposit(account, amount_minor), false)
}
