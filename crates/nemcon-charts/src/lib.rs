//! Pictures of nemcon: how long transactions take, how many there are, what they
//! cost, who waits for whom.
//!
//! Pure: data in, a [`Picture`] out, which is SVG and can be made a PNG. No file,
//! no clock, and no fonts of the system: the font is in the binary, so pictures are
//! the same on every machine and in a container that has nothing but the program.
//!
//! ```text
//!   latency, throughput, scale, waits ──▶ plotters ──▶ SVG ──▶ resvg ──▶ PNG
//!         │
//!         └── bins, axis: what is drawn where; numbers only
//! ```
//!
//! Whatever the data are, there is a picture: where nothing can be drawn it says
//! so. Values that are no number, or below zero, are left out and counted in the
//! picture. The colours are told apart by the colour-blind, and nothing is told by
//! colour alone.
//!
//! Trade-off: a PNG is made of the SVG instead of being drawn for itself. That
//! costs about a tenth of a second, and the two cannot differ.

mod axis;
mod bins;
mod latency;
mod names;
mod picture;
mod scale;
mod style;
mod throughput;
mod waits;

pub use axis::{Axis, Quantity, Tick};
pub use bins::{BINS, Histogram, Percentiles};
pub use latency::{Latency, latency};
pub use picture::{DrawError, HEIGHT_PX, Picture, SCALE_MAX, WIDTH_PX};
pub use scale::{Point, scale};
pub use throughput::{Run, Sample, in_flight, throughput};
pub use waits::{NODES_MAX, Wait, Waits, waits};
