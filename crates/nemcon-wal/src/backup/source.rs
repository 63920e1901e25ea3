//! The log's side of a backup: a little at a time, between its other work.

use std::fmt;

use super::{BackupError, End, Piece, Sink, Takes};
use crate::error::OpenError;
use crate::store::Store;

/// Values or pages of one piece, so that a flush waits for it a millisecond at most.
const PIECE_COUNT: usize = 512;

/// A backup that is asked for.
pub(crate) struct Wanted(pub(crate) Box<dyn Sink>);

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wanted")
    }
}

/// A backup under way.
pub(crate) struct Backup {
    sink: Box<dyn Sink>,
    piece_bytes: usize,
    stage: Stage,
    /// Pieces that were taken, to see whether it goes on.
    pub(crate) taken: u64,
}

enum Stage {
    Values {
        after: Option<Vec<u8>>,
    },
    /// Its owner has to flush, and say where the log ends then.
    Flush,
    Pages {
        next: u64,
        end: End,
    },
}

/// What the owner of a backup has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, for now.
    Wait,
    /// Flush, then call [`Backup::flushed`].
    Flush,
    /// Drop it: it is complete, or nobody wants it any more.
    Drop,
}

impl Backup {
    /// `piece_bytes`: how large a piece becomes, roughly.
    pub(crate) fn begin(mut sink: Box<dyn Sink>, first_page: u64, piece_bytes: usize) -> Self {
        sink.put(Ok(Piece::Begun { first_page }));
        Self {
            sink,
            piece_bytes,
            stage: Stage::Values { after: None },
            taken: 1,
        }
    }

    /// Whether a piece could be handed over now, or it is over.
    pub(crate) fn is_ready(&self) -> bool {
        self.sink.takes() != Takes::Later
    }

    /// Gives it up.
    pub(crate) fn give_up(mut self, why: BackupError) {
        self.sink.put(Err(why));
    }

    /// Hands over the next piece, if it is taken.
    pub(crate) fn go_on<S: Store>(&mut self, store: &S) -> Next {
        match self.sink.takes() {
            Takes::Now => {}
            Takes::Later => return Next::Wait,
            Takes::Never => return Next::Drop,
        }
        self.taken += 1;
        match self.hand_over(store) {
            Ok(next) => next,
            Err(error) => {
                self.sink
                    .put(Err(BackupError::Unreadable(error.to_string())));
                Next::Drop
            }
        }
    }

    fn hand_over<S: Store>(&mut self, store: &S) -> Result<Next, OpenError> {
        match &mut self.stage {
            Stage::Values { after } => {
                let mut piece = Batch::new(self.piece_bytes);
                for entry in store.values_after(after.as_deref()) {
                    let (key, value) = entry?;
                    let (key, value) = (key.as_ref().to_vec(), value.as_ref().to_vec());
                    piece.push(key.len() + value.len(), (key, value));
                    if piece.is_full() {
                        break;
                    }
                }
                match piece.items.last() {
                    Some((last, _)) => {
                        *after = Some(last.clone());
                        self.sink.put(Ok(Piece::Values(piece.items)));
                        Ok(Next::Wait)
                    }
                    None => {
                        self.stage = Stage::Flush;
                        Ok(Next::Flush)
                    }
                }
            }
            Stage::Flush => Ok(Next::Flush),
            Stage::Pages { next, end } if *next > end.page => {
                let end = *end;
                self.sink.put(Ok(Piece::Ended(end)));
                Ok(Next::Drop)
            }
            Stage::Pages { next, end } => {
                let mut piece = Batch::new(self.piece_bytes);
                while *next <= end.page && !piece.is_full() {
                    let bytes = store.page(*next)?;
                    piece.push(bytes.len(), (*next, bytes));
                    *next += 1;
                }
                self.sink.put(Ok(Piece::Pages(piece.items)));
                Ok(Next::Wait)
            }
        }
    }

    /// Everything up to `end` is durable: the pages follow.
    pub(crate) fn flushed(&mut self, first_page: u64, end: End) {
        self.stage = Stage::Pages {
            next: first_page,
            end,
        };
    }
}

/// What makes up a piece.
struct Batch<T> {
    items: Vec<T>,
    bytes: usize,
    bytes_max: usize,
}

impl<T> Batch<T> {
    const fn new(bytes_max: usize) -> Self {
        Self {
            items: Vec::new(),
            bytes: 0,
            bytes_max,
        }
    }

    fn push(&mut self, bytes: usize, item: T) {
        self.bytes += bytes;
        self.items.push(item);
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max || self.items.len() >= PIECE_COUNT
    }
}
