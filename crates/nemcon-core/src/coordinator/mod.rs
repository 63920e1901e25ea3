//! The coordinator.
pub mod event;
pub mod record;
pub mod statistics;
