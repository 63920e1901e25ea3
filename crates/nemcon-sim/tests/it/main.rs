//! The simulator as a whole.

mod campaign;
mod model;
mod planted;
mod regressions;
mod repeat;
mod sagas;
