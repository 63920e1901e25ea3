//! The event log of a run: a number that stands for all of it, and its story in
//! words for whoever wants to read it.

use super::node::Micros;

/// 64-bit FNV-1a (Fowler, Noll, Vo): the same on every machine, and quick on the
/// few bytes of an event.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// The event log.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    /// Where the story ends; 0: it is not told.
    until: u64,
    story: Vec<String>,
}

impl Trace {
    /// `until`: tells the story up to so many events; 0 tells none.
    pub(crate) const fn new(until: u64) -> Self {
        Self {
            hash: FNV_OFFSET,
            events: 0,
            until,
            story: Vec::new(),
        }
    }

    /// An event has happened.
    pub(crate) fn event(&mut self, now: Micros, kind: u8, detail: u64) {
        self.events += 1;
        self.mix(now ^ u64::from(kind) << 56);
        self.mix(detail);
    }

    pub(crate) fn mix(&mut self, word: u64) {
        for byte in word.to_le_bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
    }

    /// A line of the story, if it is told.
    pub(crate) fn say(&mut self, now: Micros, line: impl FnOnce() -> String) {
        if self.events < self.until {
            let (seconds, millis) = (now / 1_000_000, now % 1_000_000);
            self.story.push(format!(
                "{:>6} {seconds:>4}.{millis:06} {}",
                self.events,
                line()
            ));
        }
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn into_story(self) -> Vec<String> {
        self.story
    }
}
