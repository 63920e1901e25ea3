//! Tests with real processes only; builds the binaries it runs itself
