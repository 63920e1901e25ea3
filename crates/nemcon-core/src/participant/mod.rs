//! The participant.
pub mod event;
pub mod record;
