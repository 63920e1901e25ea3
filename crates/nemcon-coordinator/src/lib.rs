//! The coordinator node: runs transactions across participants
