//! Standard output, where results go.
//!
//! Not `println!`, which panics when the reader has gone: `nemcon txn list | head`
//! is a fine thing to write.

use std::fmt;
use std::io::{self, Write};

/// Writes to standard output, at once. A reader that has gone has seen what it
/// wanted; the command goes on, since it may be in the middle of something.
pub(crate) fn write(text: fmt::Arguments<'_>) {
    let _ = is_read(text);
}

/// Writes to standard output, at once. Says whether anybody is left to read it: what
/// goes on until it is interrupted ends where nobody is.
pub(crate) fn is_read(text: fmt::Arguments<'_>) -> bool {
    let mut out = io::stdout().lock();
    out.write_fmt(text).and_then(|()| out.flush()).is_ok()
}

/// Writes a line to standard output.
macro_rules! say {
    () => { $crate::out::write(format_args!("\n")) };
    ($($text:tt)+) => {
        $crate::out::write(format_args!("{}\n", format_args!($($text)+)))
    };
}

pub(crate) use say;
