//! The simulator as a whole.

mod campaign;
mod model;
mod regressions;
mod repeat;
mod sagas;
