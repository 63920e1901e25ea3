//! The high-water mark: how far the log was said to be durable.
//!
//! A store may lose its newest part without noticing: sled silently opens a
//! file whose end was cut off. The mark notices. It is written after each sync
//! and before "durable" is said, into one of two slots in turn, so that a torn
//! write leaves the other. It is synced only once a second and at a clean stop,
//! which costs nothing per flush: after a kill it is exact (the operating system
//! has it), after a power cut at most that second behind, and it is never ahead.
//!
//! ```text
//!   0      4             12            20            28   29     33
//!   ├──────┼─────────────┼─────────────┼─────────────┼────┼──────┤
//!   │"nlm1"│ counter     │ LSN         │ page        │clean│ crc │   big-endian
//!   └──────┴─────────────┴─────────────┴─────────────┴────┴──────┘
//! ```

use nemcon_core::id::Lsn;

/// From the start of one slot to that of the other. Disks write 512 or 4,096
/// bytes at once, so no torn write reaches both.
pub const SLOT_STRIDE: usize = 4096;

/// Bytes of the whole mark.
pub const MARK_BYTES: usize = 2 * SLOT_STRIDE;

/// Bytes of a slot that mean something.
pub const SLOT_BYTES: usize = 33;

const MAGIC: &[u8; 4] = b"nlm1";
const SUMMED_BYTES: usize = SLOT_BYTES - 4;

/// What is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Grows with each mark; tells the newer slot, and which one is next.
    pub counter: u64,
    /// The last durable record.
    pub lsn: Lsn,
    /// The last durable page.
    pub page: u64,
    /// The log was stopped cleanly here.
    pub clean: bool,
}

impl Mark {
    /// Where in the mark's bytes this one belongs.
    #[must_use]
    pub const fn offset(&self) -> usize {
        (self.counter % 2) as usize * SLOT_STRIDE
    }

    /// The bytes of its slot.
    #[must_use]
    pub fn to_bytes(self) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        slot[..4].copy_from_slice(MAGIC);
        slot[4..12].copy_from_slice(&self.counter.to_be_bytes());
        slot[12..20].copy_from_slice(&self.lsn.0.to_be_bytes());
        slot[20..28].copy_from_slice(&self.page.to_be_bytes());
        slot[28] = u8::from(self.clean);
        let sum = crc32c::crc32c(&slot[..SUMMED_BYTES]);
        slot[SUMMED_BYTES..].copy_from_slice(&sum.to_be_bytes());
        slot
    }

    /// The newer of the two marks in `bytes`; `None` if both are unreadable.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let slots = [
            bytes.get(..SLOT_BYTES),
            bytes.get(SLOT_STRIDE..SLOT_STRIDE + SLOT_BYTES),
        ];
        slots
            .into_iter()
            .flatten()
            .filter_map(Self::read_slot)
            .max_by_key(|mark| mark.counter)
    }

    /// A new mark's bytes, with nothing durable yet.
    #[must_use]
    pub fn blank() -> Vec<u8> {
        let mut bytes = vec![0; MARK_BYTES];
        bytes[..SLOT_BYTES].copy_from_slice(&Self::default().to_bytes());
        bytes
    }

    fn read_slot(slot: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&slot[at..at + 8]);
            u64::from_be_bytes(bytes)
        };
        let sum = crc32c::crc32c(&slot[..SUMMED_BYTES]).to_be_bytes();
        (slot[..4] == *MAGIC && slot[SUMMED_BYTES..] == sum).then(|| Self {
            counter: number(4),
            lsn: Lsn(number(12)),
            page: number(20),
            clean: slot[28] == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(bytes: &mut [u8], mark: Mark) {
        bytes[mark.offset()..mark.offset() + SLOT_BYTES].copy_from_slice(&mark.to_bytes());
    }

    fn mark(counter: u64) -> Mark {
        Mark {
            counter,
            lsn: Lsn(counter * 10),
            page: counter,
            clean: false,
        }
    }

    #[test]
    fn the_bytes_of_a_mark_do_not_change_between_versions() {
        let mark = Mark {
            counter: 5,
            lsn: Lsn(7),
            page: 3,
            clean: true,
        };
        let golden = [
            0x6e, 0x6c, 0x6d, 0x31, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00,
            0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03,
            0x01, 0xd7, 0xed, 0xb5, 0x50,
        ];
        assert_eq!(mark.to_bytes(), golden);
        assert_eq!(mark.offset(), SLOT_STRIDE);
    }

    #[test]
    fn the_newer_slot_counts() {
        let mut bytes = Mark::blank();
        assert_eq!(Mark::read(&bytes), Some(Mark::default()));
        for counter in 1..5 {
            write(&mut bytes, mark(counter));
            assert_eq!(Mark::read(&bytes), Some(mark(counter)));
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let mut bytes = Mark::blank();
        write(&mut bytes, mark(1));
        write(&mut bytes, mark(2));
        bytes[20] ^= 1;
        assert_eq!(Mark::read(&bytes), Some(mark(1)));
        bytes[SLOT_STRIDE + 20] ^= 1;
        assert_eq!(Mark::read(&bytes), None);
        assert_eq!(Mark::read(&bytes[..10]), None);
    }

    /// What happens to a mark.
    #[derive(Clone, Debug)]
    enum Act {
        Write {
            lsn: u64,
            page: u64,
            clean: bool,
        },
        /// A write of which only so many bytes reach the disk, and a restart.
        Tear(usize),
        /// A byte outside of what the slots mean.
        Gap {
            at: prop::sample::Index,
            byte: u8,
        },
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            4 => any::<(u64, u64, bool)>().prop_map(|(lsn, page, clean)| Act::Write { lsn, page, clean }),
            2 => (0..=SLOT_BYTES).prop_map(Act::Tear),
            1 => any::<(prop::sample::Index, u8)>().prop_map(|(at, byte)| Act::Gap { at, byte }),
        ];
        prop::collection::vec(act, 0..20)
    }

    proptest! {
        #[test]
        fn a_mark_comes_back_as_it_was(counter: u64, lsn: u64, page: u64, clean: bool) {
            let mark = Mark { counter, lsn: Lsn(lsn), page, clean };
            let mut bytes = vec![0; MARK_BYTES];
            write(&mut bytes, mark);
            prop_assert_eq!(Mark::read(&bytes), Some(mark));
        }

        /// The newest mark that reached the disk whole is what is read, whatever
        /// became of the one after it.
        #[test]
        fn what_was_written_whole_is_not_lost(acts in acts()) {
            let mut bytes = Mark::blank();
            let mut newest = Mark::default();
            for act in acts {
                match act {
                    Act::Write { lsn, page, clean } => {
                        newest = Mark { counter: newest.counter + 1, lsn: Lsn(lsn), page, clean };
                        write(&mut bytes, newest);
                    }
                    Act::Tear(reached) => {
                        let torn = Mark { lsn: Lsn(u64::MAX), ..mark(newest.counter + 1) };
                        let at = torn.offset();
                        bytes[at..at + reached].copy_from_slice(&torn.to_bytes()[..reached]);
                        // Its last bytes may be those that stood there.
                        if bytes[at..at + SLOT_BYTES] == torn.to_bytes() {
                            newest = torn;
                        }
                    }
                    Act::Gap { at, byte } => {
                        let gap = at.index(SLOT_STRIDE - SLOT_BYTES);
                        bytes[SLOT_BYTES + gap] = byte;
                        bytes[SLOT_STRIDE + SLOT_BYTES + gap] = byte;
                    }
                }
                prop_assert_eq!(Mark::read(&bytes), Some(newest));
            }
        }

        /// A changed byte in one slot leaves the other; a mark ahead of the truth would
        /// be worse than none.
        #[test]
        fn a_changed_byte_takes_one_slot(
            counter in 1..1_000_u64,
            at in 0..SLOT_BYTES,
            by in 1..=255_u8,
            newest_is_hit: bool,
        ) {
            let (older, newer) = (mark(counter), mark(counter + 1));
            let mut bytes = vec![0; MARK_BYTES];
            write(&mut bytes, older);
            write(&mut bytes, newer);
            let (hit, left) = if newest_is_hit { (newer, older) } else { (older, newer) };
            bytes[hit.offset() + at] ^= by;
            prop_assert_eq!(Mark::read(&bytes), Some(left));
        }

        #[test]
        fn a_file_that_is_cut_has_the_slots_that_are_left(counter in 1..1_000_u64, cut in 0..=MARK_BYTES) {
            let (older, newer) = (mark(counter), mark(counter + 1));
            let mut bytes = vec![0; MARK_BYTES];
            write(&mut bytes, older);
            write(&mut bytes, newer);
            let whole = [older, newer].into_iter().filter(|mark| mark.offset() + SLOT_BYTES <= cut);
            prop_assert_eq!(Mark::read(&bytes[..cut]), whole.max_by_key(|mark| mark.counter));
        }

        #[test]
        fn any_bytes_are_no_mark(bytes in prop::collection::vec(any::<u8>(), 0..2 * SLOT_BYTES)) {
            prop_assert_eq!(Mark::read(&bytes), None);
        }
    }
}
