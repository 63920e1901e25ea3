//! A bank as a participant, with a service for its customers
