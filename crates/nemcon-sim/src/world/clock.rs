//! What a node takes for the time.

use nemcon_core::time::Millis;

use super::node::Micros;

/// The true time at the beginning, in milliseconds since 1970: any other would do.
pub(crate) const EPOCH_MS: u64 = 1_800_000_000_000;

/// A clock that is wrong by a fixed amount, and may jump ahead. It does not run
/// backwards while a node lives; at a start it may be set to anything.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LocalClock {
    ahead_ms: i64,
}

impl LocalClock {
    pub(crate) const fn set(&mut self, ahead_ms: i64) {
        self.ahead_ms = ahead_ms;
    }

    pub(crate) const fn jump(&mut self, by_ms: u64) {
        self.ahead_ms += by_ms as i64;
    }

    /// What it shows.
    pub(crate) const fn at(&self, now: Micros) -> Millis {
        Millis((EPOCH_MS + now / 1_000).saturating_add_signed(self.ahead_ms))
    }

    /// When it will show this.
    pub(crate) const fn when(&self, at: Millis) -> Micros {
        at.0.saturating_add_signed(-self.ahead_ms)
            .saturating_sub(EPOCH_MS)
            .saturating_mul(1_000)
    }
}
