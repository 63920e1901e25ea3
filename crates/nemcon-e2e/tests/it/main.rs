//! Tests of the whole house: its documents, and its programs as processes.

mod architecture;
mod errors;
