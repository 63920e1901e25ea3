//! The Rust client: typed calls, and retries that are safe
