//! Where ids and seeds come from. Machines are given chance; this is the giver.

use nemcon_core::id::{SagaId, TransactionId};
use uuid::Uuid;

/// A new UUID, of version 7.
#[must_use]
pub fn fresh_uuid() -> Uuid {
    Uuid::now_v7()
}

/// A new transaction id, for a client that gave none.
#[must_use]
pub fn fresh_transaction() -> TransactionId {
    // Version 7 is what a transaction id is, so the loop ends at once.
    loop {
        if let Ok(id) = TransactionId::new(Uuid::now_v7()) {
            return id;
        }
    }
}

/// A new saga id, of this moment.
#[must_use]
pub fn fresh_saga() -> SagaId {
    // As above.
    loop {
        if let Ok(id) = SagaId::new(Uuid::now_v7()) {
            return id;
        }
    }
}

/// A seed for jitter, different in each node.
#[must_use]
pub fn seed() -> u64 {
    // The low half of a version 7 UUID is chance.
    fresh_uuid().as_u64_pair().1
}
