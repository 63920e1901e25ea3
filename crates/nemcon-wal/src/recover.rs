//! Reading a log back, and refusing one that is not whole.
//!
//! Every value is read and checked at each start, and every page from where replay
//! starts on. Pages before that are needed no more, and nobody looks at them again.

use nemcon_core::id::Lsn;
use nemcon_core::machine::Stored;

use crate::Recovery;
use crate::error::OpenError;
use crate::extent::Extent;
use crate::page::{self, Header, Kind};
use crate::store::Store;
use crate::value;

/// What was found when the log was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The LSN the next record must have: above everything in the log, in the
    /// data and in the high-water mark.
    pub next_lsn: Lsn,
    /// Nothing was there before.
    pub fresh: bool,
    /// It was stopped cleanly the last time.
    pub clean: bool,
    /// Values handed to [`Recovery::stored`].
    pub values: u64,
    /// Records handed to [`Recovery::record`].
    pub records: u64,
    /// Pages read and checked.
    pub pages: u64,
}

/// What the writer goes on from.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) last_lsn: Lsn,
    pub(crate) last_page: u64,
    /// Where replay started.
    pub(crate) first_page: u64,
    /// The oldest page there is, if any is older than that.
    pub(crate) oldest_page: u64,
    pub(crate) mark_counter: u64,
    pub(crate) clean: bool,
    pub(crate) values: u64,
    pub(crate) records: u64,
    pub(crate) pages: u64,
}

impl Recovered {
    /// Whether no page was ever written.
    pub(crate) const fn is_empty(&self) -> bool {
        self.last_page == 0
    }

    pub(crate) const fn opened(&self, fresh: bool) -> Opened {
        Opened {
            next_lsn: self.last_lsn.next(),
            fresh,
            clean: self.clean,
            values: self.values,
            records: self.records,
            pages: self.pages,
        }
    }
}

/// Reads all of `store`, hands it to `recovery` and says where to go on.
pub(crate) fn recover<S: Store>(
    store: &S,
    recovery: &mut dyn Recovery,
) -> Result<Recovered, OpenError> {
    let mark = store.read_mark()?;
    let (values, data_lsn) = load_values(store, recovery)?;
    let replay_from = replay_start(store)?;
    let extent = store.read_extent()?;
    let log = replay(store, replay_from, extent, recovery)?;
    // A value is written back only when its record is durable, so a value newer
    // than the log is as good a witness of a lost end as the mark.
    let expected = mark.lsn.max(data_lsn);
    if log.last_lsn < expected || log.last_page < mark.page {
        return Err(OpenError::LostTail {
            dir: store.place().to_owned(),
            expected,
            found: log.last_lsn,
            expected_page: mark.page,
            found_page: log.last_page,
        });
    }
    check_extent(store, replay_from, extent, &log)?;
    Ok(Recovered {
        mark_counter: mark.counter,
        clean: mark.clean,
        values,
        ..log
    })
}

/// Reads the data tree; returns how many values it has and their newest LSN.
fn load_values<S: Store>(store: &S, recovery: &mut dyn Recovery) -> Result<(u64, Lsn), OpenError> {
    let (mut count, mut newest) = (0, Lsn(0));
    for entry in store.values() {
        let (key, bytes) = entry?;
        let key = key.as_ref();
        let escaped = || key.escape_ascii().to_string();
        let dir = || store.place().to_owned();
        let (lsn, value) = value::read(key, bytes.as_ref()).map_err(|why| OpenError::BadValue {
            dir: dir(),
            key: escaped(),
            why,
        })?;
        let stored = Stored {
            key: key.to_vec(),
            value: Some(value.to_vec()),
            lsn,
        };
        recovery
            .stored(stored)
            .map_err(|source| OpenError::RefusedValue {
                dir: dir(),
                key: escaped(),
                source,
            })?;
        count += 1;
        newest = newest.max(lsn);
    }
    Ok((count, newest))
}

/// Where the newest closed checkpoint lets replay start; page 1 without any.
/// Walks backwards, so it reads little more than what has to be replayed.
pub(crate) fn replay_start<S: Store>(store: &S) -> Result<u64, OpenError> {
    for entry in store.pages_from(1).rev() {
        let (key, bytes) = entry?;
        let page = page_number(store, key.as_ref())?;
        let header = Header::read(page, bytes.as_ref()).map_err(|source| OpenError::BadPage {
            dir: store.place().to_owned(),
            page,
            source,
        })?;
        if let Kind::CheckpointClosed { first_page } = header.kind {
            return Ok(first_page);
        }
    }
    Ok(1)
}

/// Refuses data that is not complete up to where replay starts, or further than the
/// log can follow.
fn check_extent<S: Store>(
    store: &S,
    replay_from: u64,
    extent: Option<Extent>,
    log: &Recovered,
) -> Result<(), OpenError> {
    let dir = || store.place().to_owned();
    // Before the first checkpoint the log has all there is.
    let Some(extent) = extent else {
        return match replay_from {
            1 => Ok(()),
            _ => Err(OpenError::StaleData {
                dir: dir(),
                expected: replay_from,
                found: 1,
            }),
        };
    };
    if extent.page < replay_from {
        return Err(OpenError::StaleData {
            dir: dir(),
            expected: replay_from,
            found: extent.page,
        });
    }
    // A checkpoint may have been cut short between its statement and its end. What
    // it relies on was durable in the log before.
    let next_page = log.last_page + 1;
    if extent.page > next_page {
        return Err(OpenError::LostTail {
            dir: dir(),
            expected: Lsn(extent.lsn.0.saturating_sub(1)),
            found: log.last_lsn,
            expected_page: extent.page - 1,
            found_page: log.last_page,
        });
    }
    if extent.page == next_page {
        check_place(store, extent, log.last_lsn.next())?;
    }
    Ok(())
}

/// The page that the data names begins with the record that it says, unless they
/// are of different logs.
fn check_place<S: Store>(store: &S, extent: Extent, first_lsn: Lsn) -> Result<(), OpenError> {
    if extent.lsn == first_lsn {
        return Ok(());
    }
    Err(OpenError::ForeignData {
        dir: store.place().to_owned(),
        page: extent.page,
        expected: first_lsn,
        found: extent.lsn,
    })
}

/// How far data has to be complete for this log; `None` if no checkpoint was closed.
pub(crate) fn extent_of_log<S: Store>(store: &S) -> Result<Option<Extent>, OpenError> {
    let page = replay_start(store)?;
    if page == 1 {
        return Ok(None);
    }
    let bytes = store.page(page)?;
    let header = Header::read(page, &bytes).map_err(|source| OpenError::BadPage {
        dir: store.place().to_owned(),
        page,
        source,
    })?;
    let lsn = header.first_lsn;
    Ok(Some(Extent { page, lsn }))
}

/// Checks the pages from `replay_from` on, in their order, and hands out their records.
fn replay<S: Store>(
    store: &S,
    replay_from: u64,
    extent: Option<Extent>,
    recovery: &mut dyn Recovery,
) -> Result<Recovered, OpenError> {
    let mut log = Recovered {
        last_lsn: Lsn(0),
        last_page: 0,
        first_page: replay_from,
        oldest_page: oldest_page(store)?.unwrap_or(replay_from),
        mark_counter: 0,
        clean: false,
        values: 0,
        records: 0,
        pages: 0,
    };
    for entry in store.pages_from(replay_from) {
        let (key, bytes) = entry?;
        let page = page_number(store, key.as_ref())?;
        let dir = || store.place().to_owned();
        let expected = replay_from + log.pages;
        if page != expected {
            return Err(OpenError::MissingPage {
                dir: dir(),
                expected,
                found: page,
            });
        }
        let (header, frames) =
            page::read(page, bytes.as_ref()).map_err(|source| OpenError::BadPage {
                dir: dir(),
                page,
                source,
            })?;
        // Only of a log that has lost its beginning to a checkpoint does the
        // first page say by itself where it stands.
        let expected = log.last_lsn.next();
        if (log.pages > 0 || page == 1) && header.first_lsn != expected {
            let found = header.first_lsn;
            return Err(OpenError::NotDense {
                dir: dir(),
                page,
                expected,
                found,
            });
        }
        if let Some(extent) = extent.filter(|it| it.page == page) {
            check_place(store, extent, header.first_lsn)?;
        }
        for frame in &frames {
            let lsn = frame.lsn;
            recovery
                .record(lsn, frame.bytes)
                .map_err(|source| OpenError::RefusedRecord {
                    dir: dir(),
                    page,
                    lsn,
                    source,
                })?;
        }
        log.records += u64::from(header.count);
        log.last_page = page;
        log.last_lsn = Lsn(header.next_lsn().0 - 1);
        log.pages += 1;
    }
    Ok(log)
}

fn oldest_page<S: Store>(store: &S) -> Result<Option<u64>, OpenError> {
    let oldest = store.pages_from(0).next().transpose()?;
    let number = oldest.map(|(key, _)| page_number(store, key.as_ref()));
    number.transpose()
}

pub(crate) fn page_number<S: Store>(store: &S, key: &[u8]) -> Result<u64, OpenError> {
    let bytes = key.try_into().map_err(|_| OpenError::Damaged {
        dir: store.place().to_owned(),
        what: format!("a page number of {} bytes", key.len()),
    })?;
    Ok(u64::from_be_bytes(bytes))
}
