//! The bytes of pages, and the packer against a clerk with sheets of paper.

use super::*;
use proptest::prelude::*;

fn pack(page_bytes_max: usize, records: &[Vec<u8>]) -> Vec<Page> {
    let mut packer = Packer::new(page_bytes_max, 5, Lsn(100));
    for record in records {
        packer.push(record);
    }
    packer.end_page();
    packer.take_full()
}

#[test]
fn the_bytes_of_a_page_do_not_change_between_versions() {
    let mut packer = Packer::new(100, 3, Lsn(7));
    packer.push(b"vote");
    packer.end_page();
    let golden = [
        0x6e, 0x6c, 0x70, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x14, 0x8c, 0x0f, 0xfe, 0x6b, 0x00,
        0x00, 0x00, 0x04, 0xb7, 0x88, 0x8e, 0x5d, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07,
        0x76, 0x6f, 0x74, 0x65,
    ];
    assert_eq!(packer.take_full()[0].bytes, golden);
}

#[test]
fn a_record_longer_than_a_page_gets_one_of_its_own() {
    let pages = pack(100, &[vec![1; 10], vec![2; 1000], vec![3; 10], vec![4; 10]]);
    let counts: Vec<_> = pages
        .iter()
        .map(|p| Header::read(p.number, &p.bytes).unwrap().count)
        .collect();
    assert_eq!(counts, [1, 1, 2]);
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let mut page = pack(100, &[vec![1]]).remove(0);
    page.bytes[3] = VERSION + 1;
    assert_eq!(read(5, &page.bytes), Err(PageError::Version { found: 2 }));
}

#[test]
fn a_page_under_another_number_is_found() {
    let page = pack(100, &[vec![1]]).remove(0);
    assert_eq!(read(6, &page.bytes), Err(PageError::Misplaced(5)));
}

#[test]
fn a_closed_checkpoint_says_where_replay_starts() {
    let mut packer = Packer::new(100, 9, Lsn(41));
    packer.push(b"record");
    packer.close_checkpoint(7);
    let pages = packer.take_full();
    let (header, frames) = read(10, &pages[1].bytes).unwrap();
    assert_eq!(header.kind, Kind::CheckpointClosed { first_page: 7 });
    assert_eq!((header.first_lsn, header.next_lsn()), (Lsn(42), Lsn(42)));
    assert!(frames.is_empty());
}

/// What can be asked of a packer.
#[derive(Clone, Debug)]
enum Ask {
    /// Of so many bytes; each record is filled with its LSN.
    Push(usize),
    EndPage,
    CloseCheckpoint(u64),
    TakeFull,
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let len = prop_oneof![Just(0), 1..40_usize, 100..700_usize];
    let ask = prop_oneof![
        12 => len.prop_map(Ask::Push),
        2 => Just(Ask::EndPage),
        1 => (1..50_u64).prop_map(Ask::CloseCheckpoint),
        2 => Just(Ask::TakeFull),
    ];
    prop::collection::vec(ask, 0..60)
}

/// From just over nothing, where every record has a page of its own, to more than all
/// records of a case.
fn page_bytes_max() -> impl Strategy<Value = usize> {
    prop_oneof![1..120_usize, 120..2_000_usize, Just(100_000)]
}

/// A page as a list of records: all that a reader may rely on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sheet {
    number: u64,
    kind: Kind,
    first_lsn: Lsn,
    records: Vec<Vec<u8>>,
}

impl Sheet {
    fn bytes(&self) -> usize {
        let records = self.records.iter();
        HEADER_BYTES + records.map(|record| 16 + record.len()).sum::<usize>()
    }

    fn read(number: u64, bytes: &[u8]) -> Result<Self, PageError> {
        let (header, frames) = read(number, bytes)?;
        Ok(Self {
            number: header.page,
            kind: header.kind,
            first_lsn: header.first_lsn,
            records: frames.iter().map(|frame| frame.bytes.to_vec()).collect(),
        })
    }
}

/// The packer as a person would do it, with sheets of paper.
struct Clerk {
    page_bytes_max: usize,
    next_page: u64,
    next_lsn: Lsn,
    open: Vec<Vec<u8>>,
    full: Vec<Sheet>,
}

impl Clerk {
    fn end(&mut self, kind: Kind, records: Vec<Vec<u8>>) {
        let first_lsn = Lsn(self.next_lsn.0 - records.len() as u64);
        self.full.push(Sheet {
            number: self.next_page,
            kind,
            first_lsn,
            records,
        });
        self.next_page += 1;
    }

    fn end_page(&mut self) {
        let open = std::mem::take(&mut self.open);
        if !open.is_empty() {
            self.end(Kind::Records, open);
        }
    }

    fn push(&mut self, record: Vec<u8>) {
        let together: usize = self
            .open
            .iter()
            .chain([&record])
            .map(|r| 16 + r.len())
            .sum();
        if HEADER_BYTES + together > self.page_bytes_max {
            self.end_page();
        }
        self.open.push(record);
        self.next_lsn = self.next_lsn.next();
    }
}

/// Packs records of these lengths and gives the pages.
fn pages_of(page_bytes_max: usize, lengths: &[usize]) -> Vec<Page> {
    let records: Vec<Vec<u8>> = lengths.iter().map(|len| vec![0x5a; *len]).collect();
    pack(page_bytes_max, &records)
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![0..50_usize, 200..400_usize], 1..9)
}

proptest! {
    #[test]
    fn the_packer_does_as_a_clerk_would(asks in asks(), page_bytes_max in page_bytes_max()) {
        let mut packer = Packer::new(page_bytes_max, 5, Lsn(100));
        let mut clerk = Clerk {
            page_bytes_max,
            next_page: 5,
            next_lsn: Lsn(100),
            open: Vec::new(),
            full: Vec::new(),
        };
        let mut sheets = Vec::new();
        for ask in asks.into_iter().chain([Ask::EndPage, Ask::TakeFull]) {
            match ask {
                Ask::Push(len) => {
                    let record = vec![clerk.next_lsn.0 as u8; len];
                    packer.push(&record);
                    clerk.push(record);
                }
                Ask::EndPage => {
                    packer.end_page();
                    clerk.end_page();
                }
                Ask::CloseCheckpoint(first_page) => {
                    packer.close_checkpoint(first_page);
                    clerk.end_page();
                    clerk.end(Kind::CheckpointClosed { first_page }, Vec::new());
                }
                Ask::TakeFull => {
                    let wanted = std::mem::take(&mut clerk.full);
                    let pages = packer.take_full();
                    let read: Result<Vec<Sheet>, PageError> =
                        pages.iter().map(|page| Sheet::read(page.number, &page.bytes)).collect();
                    prop_assert_eq!(read.as_ref(), Ok(&wanted));
                    sheets.extend(wanted);
                }
            }
            prop_assert_eq!(packer.next_lsn(), clerk.next_lsn);
            prop_assert_eq!(packer.next_page(), clerk.next_page);
            let waiting: usize = clerk.full.iter().map(Sheet::bytes).sum();
            prop_assert_eq!(packer.full_bytes(), waiting);
        }
        for sheet in &sheets {
            let fits = sheet.bytes() <= page_bytes_max;
            prop_assert!(fits || sheet.records.len() <= 1, "only one record may be longer than a page");
        }
    }

    #[test]
    fn a_changed_byte_is_found(
        lengths in lengths(),
        page_bytes_max in page_bytes_max(),
        at: prop::sample::Index,
        by in 1..=255_u8,
    ) {
        for mut page in pages_of(page_bytes_max, &lengths) {
            let at = at.index(page.bytes.len());
            page.bytes[at] ^= by;
            prop_assert!(read(page.number, &page.bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_page_that_is_cut_or_has_grown_is_found(
        lengths in lengths(),
        page_bytes_max in page_bytes_max(),
        cut: prop::sample::Index,
        more in prop::collection::vec(any::<u8>(), 1..100),
    ) {
        for page in pages_of(page_bytes_max, &lengths) {
            let cut = cut.index(page.bytes.len());
            prop_assert!(read(page.number, &page.bytes[..cut]).is_err(), "cut to {cut}");
            let longer = [&page.bytes[..], &more].concat();
            prop_assert!(read(page.number, &longer).is_err(), "with {} more", more.len());
        }
    }

    /// A head that was written with one body and stands before another.
    #[test]
    fn halves_of_two_pages_are_no_page(one in lengths(), other in lengths(), at in 1..40_usize) {
        let (one, other) = (&pages_of(100_000, &one)[0], &pages_of(100_000, &other)[0]);
        let mixed = [&one.bytes[..at], &other.bytes[at.min(other.bytes.len())..]].concat();
        let read = read(5, &mixed);
        let whole = [&one.bytes, &other.bytes].into_iter().any(|bytes| *bytes == mixed);
        prop_assert_eq!(read.is_ok(), whole, "{:?}", read);
    }

    #[test]
    fn any_bytes_are_a_page_or_an_error(page: u64, bytes: Vec<u8>) {
        prop_assert!(read(page, &bytes).is_err());
    }

    /// Whoever can make checksums can make a page that says anything. It must not make
    /// us panic, nor let numbers run over.
    #[test]
    fn numbers_at_their_end_are_an_error(
        page in prop_oneof![Just(u64::MAX), any::<u64>()],
        first_lsn in prop_oneof![u64::MAX - 3..=u64::MAX, any::<u64>()],
        count in prop_oneof![0..5_u32, Just(u32::MAX)],
        framed in 0..5_u64,
        first_page: Option<u64>,
    ) {
        let mut bytes = vec![0; HEADER_BYTES];
        for at in 0..framed {
            frame::push(&mut bytes, Lsn(first_lsn.wrapping_add(at)), b"record");
        }
        let header = Header {
            kind: first_page.map_or(Kind::Records, |first_page| Kind::CheckpointClosed { first_page }),
            page,
            first_lsn: Lsn(first_lsn),
            count,
            body_bytes: (bytes.len() - HEADER_BYTES) as u32,
        };
        bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        match read(page, &bytes) {
            Ok((header, frames)) => {
                prop_assert_eq!(u64::from(count), framed);
                prop_assert_eq!(frames.len() as u64, framed);
                prop_assert!(header.next_lsn().0 < u64::MAX && page < u64::MAX, "more can follow");
            }
            Err(error) => {
                let end = first_lsn.checked_add(count.into()).is_none_or(|next| next == u64::MAX);
                let exhausted = end || page == u64::MAX;
                prop_assert!(exhausted || u64::from(count) != framed, "{error}");
            }
        }
    }
}
