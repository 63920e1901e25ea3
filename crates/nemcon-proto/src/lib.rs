//! Generated gRPC code of nemcon, its descriptor set, and the conversions
//! between wire and core. No logic.
//!
//! ```text
//!            v1::PrepareRequest            Frame<Payload>
//!   peer ───────────────────────▶ convert ────────────────▶ machine
//!                                   │
//!                                   └─ WireError: field, value, what is allowed
//! ```
//!
//! Everything that comes from outside is parsed here, once: behind
//! [`convert`] an id is an id, a count is within its limit, and an enum has no
//! "unspecified". What a later version adds to the protos and this one does not
//! know is ignored in messages (as protobuf has it) and refused in enums, since
//! half an answer is worse than none.

pub mod convert;

/// `nemcon.v1`: coordinators and participants.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("nemcon.v1");
}

/// `nemcon.bank.v1`: the bank and its actions.
pub mod bank {
    /// The bank and its actions.
    #[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("nemcon.bank.v1");
    }
}

/// `nemcon.inventory.v1`: the actions of an inventory.
pub mod inventory {
    /// The actions of an inventory.
    #[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("nemcon.inventory.v1");
    }
}

/// All of `proto/` as an encoded `FileDescriptorSet`: for reflection, and for
/// reading JSON.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
