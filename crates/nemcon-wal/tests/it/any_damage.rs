//! A log of any shape, and any one damage to it: refused, and not opened short. What
//! may be lost or changed without harm is lost or changed without harm.

use nemcon_core::id::Lsn;
use nemcon_wal::mark::{SLOT_BYTES, SLOT_STRIDE};
use nemcon_wal::mem::{Image, MemLog};
use nemcon_wal::{Limits, Log, OpenError, Opened};
use proptest::prelude::*;

use crate::support::{Sink, deaf, record};

/// A log: how long its pages may be, the lengths of its records in the batches that
/// were flushed together, and after which batch a checkpoint was closed.
#[derive(Clone, Debug)]
struct Shape {
    page_bytes_max: usize,
    batches: Vec<Vec<usize>>,
    checkpoint_after: Option<usize>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let batch = prop::collection::vec(8..120_usize, 1..8);
    (
        prop_oneof![1..100_usize, 100..400_usize],
        prop::collection::vec(batch, 2..6),
        prop::option::of(0..4_usize),
    )
        .prop_map(|(page_bytes_max, batches, checkpoint_after)| Shape {
            page_bytes_max,
            batches,
            checkpoint_after,
        })
}

impl Shape {
    fn limits(&self) -> Limits {
        Limits {
            page_bytes_max: self.page_bytes_max,
            unflushed_bytes_max: 10_000,
            removed_pages_max: 100,
            ..Limits::default()
        }
    }

    /// Writes it and stops cleanly. The records are those that a start replays.
    fn written(&self) -> (Image, Vec<(Lsn, Vec<u8>)>) {
        let opened = self.open(Image::default());
        let (mut log, ..) = opened.expect("an empty disk is an empty log");
        let mut records = Vec::new();
        let mut next = 1;
        for (at, batch) in self.batches.iter().enumerate() {
            let lsns = next..;
            let fresh: Vec<(Lsn, Vec<u8>)> = lsns
                .zip(batch)
                .map(|(lsn, len)| (Lsn(lsn), record(lsn, *len)))
                .collect();
            next += batch.len() as u64;
            log.append(fresh.clone());
            log.flush();
            log.step();
            records.extend(fresh);
            if self.checkpoint_after == Some(at) {
                log.begin_checkpoint();
                log.close_checkpoint();
                log.step();
                records.clear();
            }
        }
        let (image, stopped) = log.stop();
        stopped.expect("stopped cleanly");
        (image, records)
    }

    fn open(&self, image: Image) -> Result<(MemLog, Opened, Sink), OpenError> {
        let mut sink = Sink::default();
        let (log, opened) = MemLog::open_with(image, self.limits(), &mut sink, deaf())?;
        Ok((log, opened, sink))
    }

    /// Why it is not opened, if it is not.
    fn refusal(&self, image: Image) -> Option<OpenError> {
        self.open(image).err()
    }
}

fn pages(image: &Image) -> Vec<u64> {
    image.page_numbers().collect()
}

#[derive(Clone, Debug)]
enum Damage {
    /// One byte of a page is another one.
    Byte {
        page: prop::sample::Index,
        at: prop::sample::Index,
        by: u8,
    },
    /// A page has lost its end.
    Cut {
        page: prop::sample::Index,
        at: prop::sample::Index,
    },
    /// A page is gone.
    Gone { page: prop::sample::Index },
    /// All pages from one on are gone.
    GoneFrom { page: prop::sample::Index },
    /// One page stands in the place of another.
    Copied {
        page: prop::sample::Index,
        other: prop::sample::Index,
    },
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), index(), 1..=255_u8).prop_map(|(page, at, by)| Damage::Byte { page, at, by }),
        (index(), index()).prop_map(|(page, at)| Damage::Cut { page, at }),
        index().prop_map(|page| Damage::Gone { page }),
        index().prop_map(|page| Damage::GoneFrom { page }),
        (index(), index()).prop_map(|(page, other)| Damage::Copied { page, other }),
    ]
}

impl Damage {
    /// Does it; false if that changes nothing.
    fn does(&self, image: &mut Image) -> bool {
        let pages = pages(image);
        let number = |page: &prop::sample::Index| pages[page.index(pages.len())];
        match self {
            Self::Byte { page, at, by } => {
                let bytes = image.page_mut(number(page)).expect("it is there");
                let at = at.index(bytes.len());
                bytes[at] ^= by;
            }
            Self::Cut { page, at } => {
                let bytes = image.page_mut(number(page)).expect("it is there");
                bytes.truncate(at.index(bytes.len()));
            }
            Self::Gone { page } => drop(image.remove_page(number(page))),
            Self::GoneFrom { page } => {
                let first = page.index(pages.len());
                pages[first..]
                    .iter()
                    .for_each(|page| drop(image.remove_page(*page)));
            }
            Self::Copied { page, other } => {
                let copy = image.page_mut(number(other)).expect("it is there").clone();
                *image.page_mut(number(page)).expect("it is there") = copy;
                return number(page) != number(other);
            }
        }
        true
    }
}

proptest! {
    #[test]
    fn what_was_written_comes_back(shape in shape()) {
        let (image, records) = shape.written();
        let (_, opened, sink) = shape.open(image).expect("a whole log");
        let written: usize = shape.batches.iter().map(Vec::len).sum();
        prop_assert_eq!(opened.next_lsn, Lsn(written as u64 + 1));
        prop_assert_eq!(opened.records, records.len() as u64);
        prop_assert!(opened.clean);
        prop_assert_eq!(sink.records, records);
    }

    #[test]
    fn no_damage_goes_unnoticed(shape in shape(), damage in damage()) {
        let (mut image, _) = shape.written();
        if damage.does(&mut image) {
            prop_assert!(shape.refusal(image).is_some(), "opened after {damage:?}");
        }
    }

    /// Between the two slots of the mark and behind them stands nothing.
    #[test]
    fn the_gaps_of_the_mark_mean_nothing(
        shape in shape(),
        at in SLOT_BYTES..SLOT_STRIDE,
        byte: u8,
    ) {
        let (mut image, records) = shape.written();
        image.mark_mut()[at] = byte;
        image.mark_mut()[SLOT_STRIDE + at] = byte;
        let (_, _, sink) = shape.open(image).expect("a whole log");
        prop_assert_eq!(sink.records, records);
    }

    /// One slot is enough to start; without both nobody knows how far the log had come.
    #[test]
    fn a_slot_may_be_hit_and_not_both(
        shape in shape(),
        second: bool,
        at in 0..SLOT_BYTES,
        by in 1..=255_u8,
    ) {
        let (mut image, records) = shape.written();
        let (one, other) = if second { (SLOT_STRIDE, 0) } else { (0, SLOT_STRIDE) };
        image.mark_mut()[one + at] ^= by;
        let (_, _, sink) = shape.open(image.clone()).expect("the other slot is whole");
        prop_assert_eq!(sink.records, records);
        image.mark_mut()[other + at] ^= by;
        let refusal = shape.refusal(image);
        prop_assert!(matches!(refusal, Some(OpenError::NoMark { .. })), "{refusal:?}");
    }
}
