//! For whoever writes a participant in Rust.
//!
//! Implement two traits and call [`serve`]; the protocol, the log, the locks,
//! the network and the recovery are here.
//!
//! ```text
//!                    Any                      Action
//!   coordinator ────────────▶ Decode ───────────────────────▶ Resource
//!               ◀──────────── (yours) ◀─────────────────────── (yours)
//!                    Any                      Result             ▲
//!                      │                                         │ owns
//!                      └──── services ──▶ Participant machine ───┘
//!                                         (nemcon-core)
//! ```
//!
//! - [`Resource`](nemcon_core::resource::Resource) is the data: which locks an
//!   action needs, how it runs, how it takes effect. It is pure: no clock, no
//!   waiting, no locks of its own.
//! - [`Decode`] is the border: bytes of others to actions, results to bytes.
//!
//! The node that [`serve`] starts registers itself at its coordinators, asks
//! about what is in doubt after a restart, and stops cleanly. What you add is
//! more services of your own on the same port, through [`Handle`].
//!
//! The data must fit in memory: that is what lets an action run between two
//! steps of a machine without waiting.

mod api;
mod decode;
mod handle;
mod keyed;
mod payload;
mod perform;
mod registration;
mod serve;
mod settings;
mod traces;

pub use decode::{Decode, invalid_action, no_inputs};
pub use handle::{Handle, Peeked};
pub use keyed::{Keyed, Rules, View};
pub use payload::{pack, short_name, unknown_type, unpack};
pub use serve::{ServeResource, serve};
pub use settings::Settings;
