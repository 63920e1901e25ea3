//! Tests of the machines together: costs, client ids, random schedules.

mod away;
mod clients;
mod codec;
mod costs;
mod deadlocks;
mod doubt;
mod golden;
mod lessons;
mod locks;
mod node;
mod old_copies;
mod promises;
mod registers;
mod restored;
mod room;
mod saga_definitions;
mod sagas;
mod sagas_restored;
mod schedules;
mod story;
mod world;
