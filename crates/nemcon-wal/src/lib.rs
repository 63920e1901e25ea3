//! The write-ahead log: framing, checksums, group commit on sled, and a log in memory that can crash
