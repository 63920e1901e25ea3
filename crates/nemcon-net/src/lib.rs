//! Channels, addresses, and the one mapping between our errors and gRPC status
