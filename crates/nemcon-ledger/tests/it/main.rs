//! The ledger from outside: what it answers, locks, keeps and gives back.

mod audit;
mod bank;
mod locks;
mod model;
mod movements;
mod refusals;
mod storage;
mod transfers;
