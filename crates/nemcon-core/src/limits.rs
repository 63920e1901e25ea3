//! Hard limits: what no setting may raise. Softer ones are settings of the
//! machine they bound.

use crate::time::Span;

/// Bytes of a participant's name.
pub const NAME_BYTES_MAX: usize = 64;

/// Bytes of a participant's or coordinator's address (a URL).
pub const ADDRESS_BYTES_MAX: usize = 256;

/// Operations of one transaction. Each is executed in one step of a machine, so
/// this bounds how long a step takes.
pub const OPERATIONS_MAX: usize = 1_000;

/// Results of other operations that one operation may use. Each is a copy that
/// travels with it.
pub const INPUTS_MAX: usize = 32;

/// Participants of one transaction: a prepare record names them all.
pub const PARTICIPANTS_MAX: usize = 128;

/// Steps of one saga.
pub const SAGA_STEPS_MAX: usize = 1_000;

/// Bytes of a saga's definition, and as many again of the results that its steps
/// leave for others. They go into one log record each time a checkpoint passes.
pub const SAGA_BYTES_MAX: usize = 1 << 20;

/// Bytes of sagas in one page of a list, as they travel. Whoever reads it may take no
/// message above 4 MiB.
pub const SAGA_PAGE_BYTES_MAX: usize = 3 << 20;

/// Bytes of sagas in one piece of a checkpoint, and the rest of the last one. A piece
/// is made between two steps of the machine, and holds them up.
pub const SAGA_PIECE_BYTES_MAX: usize = 1 << 20;

/// Tries of a step, or of its compensation, before people are asked.
pub const TRIES_MAX: u32 = 10_000;

/// Longest pause between two tries of a step.
pub const PAUSE_MAX: Span = Span::from_secs(3_600);

/// Longest time limit of a saga or of a step: a month.
pub const SAGA_TIME_MAX: Span = Span::from_secs(31 * 24 * 3_600);

/// Decisions by hand about one saga that are kept; the oldest go first.
pub const HANDS_MAX: usize = 100;

/// How far ahead of our clock the time in a transaction id may lie. Outcomes are
/// forgotten by that time, so an id from far ahead would stay for ever.
pub const ID_AHEAD_MAX: Span = Span::from_secs(300);

/// Longest deadline of a transaction.
pub const DEADLINE_MAX: Span = Span::from_secs(300);

/// Bytes that one participant's part of a transaction may take: its results, its
/// changes and the names of its locks together. They go into one log record and
/// one answer, and both have limits of their own well above this.
pub const WORK_BYTES_MAX: usize = 2 << 20;

/// Bytes of queues in one answer, as they travel: of who waits at one participant,
/// of what is locked there, of the whole graph. Whoever reads it may take no message
/// above 4 MiB.
pub const QUEUES_BYTES_MAX: usize = 3 << 20;

/// Characters of a human reason or message that is kept in the log.
pub const MESSAGE_CHARS_MAX: usize = 500;
