//! Hard limits of the books: what no setting may raise.

/// Characters (ASCII, so bytes too) of an account's name. It is part of lock and
/// data keys, which are held in memory many times over.
pub const ACCOUNT_NAME_CHARS_MAX: usize = 64;

/// Characters of an owner's name. It travels in every redo of the account.
pub const OWNER_CHARS_MAX: usize = 200;

/// Characters (ASCII, so bytes too) of a reference. References are kept for
/// their account's life, so their size is what memory grows by.
pub const REFERENCE_CHARS_MAX: usize = 64;

/// Entries an account keeps; older ones are summed in the brought-forward line.
/// Bounds the stored value of an account, which is rewritten as a whole.
pub const ENTRIES_KEPT: usize = 100;

/// Accounts on a page for a reader who does not say how many.
pub const PAGE_ACCOUNTS_DEFAULT: u32 = 100;

/// Accounts on a page at most: each is locked, and the page is one message.
pub const PAGE_ACCOUNTS_MAX: u32 = 1_000;

/// Characters of a refused text that its error repeats, so that what is allowed
/// still fits into the message after it.
pub const ECHO_CHARS_MAX: usize = 80;
