//! Generated gRPC code of nemcon, its descriptor set, and the conversions
//! between wire and core. No logic.

/// `nemcon.v1`: coordinators and participants.
#[allow(missing_docs, unreachable_pub, clippy::all)] // generated
pub mod v1 {
    tonic::include_proto!("nemcon.v1");
}

/// `nemcon.bank.v1`: the bank and its actions.
pub mod bank {
    /// The bank and its actions.
    #[allow(missing_docs, unreachable_pub, clippy::all)] // generated
    pub mod v1 {
        tonic::include_proto!("nemcon.bank.v1");
    }
}

/// All of `proto/` as an encoded `FileDescriptorSet`: for reflection, and for
/// reading JSON.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
