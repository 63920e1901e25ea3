//! Tests of the machines together: costs, client ids, random schedules.

mod clients;
mod costs;
mod doubt;
mod golden;
mod lessons;
mod locks;
mod node;
mod promises;
mod registers;
mod schedules;
mod world;
