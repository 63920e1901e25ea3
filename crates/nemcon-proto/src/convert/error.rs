//! What is wrong with a message.

use std::fmt::{Debug, Display};

use nemcon_core::reason::Reason;

/// Characters of a refused text that are repeated to its sender.
const SHOWN_CHARS_MAX: usize = 80;

/// A field that cannot be taken, shown as
/// `task.attempt.coordinator "xyz": want a UUID`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value}: want {allowed}")]
pub struct WireError {
    /// Path of the field from the message down, in the names of the protos.
    pub field: String,
    /// What was found there, quoted if it is text; `is missing` if nothing was.
    pub value: String,
    /// What is allowed there.
    pub allowed: String,
    /// The word for programs: mostly [`Reason::INVALID_REQUEST`].
    pub reason: Reason,
}

impl WireError {
    /// For a value that shows as it is: a number, or the name of an enum.
    #[must_use]
    pub fn new(field: &str, value: impl Display, allowed: impl Display) -> Self {
        Self {
            field: field.to_owned(),
            value: value.to_string(),
            allowed: allowed.to_string(),
            reason: Reason::INVALID_REQUEST,
        }
    }

    /// For a text, which is quoted and cut to a decent length.
    #[must_use]
    pub fn text(field: &str, text: &str, allowed: impl Display) -> Self {
        if text.is_empty() {
            return Self::missing(field, allowed);
        }
        let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self::new(field, format_args!("{shown:?}"), allowed)
    }

    /// For a field that is not there.
    #[must_use]
    pub fn missing(field: &str, allowed: impl Display) -> Self {
        Self::new(field, "is missing", allowed)
    }

    /// Says that the field lies inside `outer`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }

    /// Gives it a more telling word than [`Reason::INVALID_REQUEST`].
    pub(super) fn because(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }
}

/// Which of several things something is, by the name of its variant, and nothing of
/// what is in it: that may be what people send and store, and has no place in a log.
#[must_use]
pub fn kind_of(value: &impl Debug) -> String {
    let shown = format!("{value:?}");
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let end = shown.find(|letter| !is_name(letter));
    shown[..end.unwrap_or(shown.len())].to_owned()
}

/// Lets a path grow on the way out of nested messages.
pub(super) trait Within {
    /// Says that the field lies inside `outer`.
    fn within(self, outer: &str) -> Self;
}

impl<T> Within for Result<T, WireError> {
    fn within(self, outer: &str) -> Self {
        self.map_err(|error| error.within(outer))
    }
}

/// Reads a message that must be there.
pub(super) fn required<W, T>(message: Option<W>, field: &str) -> Result<T, WireError>
where
    T: TryFrom<W, Error: Into<WireError>>,
{
    let message = message.ok_or_else(|| WireError::missing(field, "a value"))?;
    T::try_from(message).map_err(|error| error.into().within(field))
}

/// Reads a list of at most `max` items, each with `read`.
pub(super) fn list<W, T>(
    items: Vec<W>,
    field: &str,
    max: usize,
    read: impl Fn(W) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    if items.len() > max {
        let found = format_args!("with {} items", items.len());
        return Err(WireError::new(field, found, format_args!("at most {max}")));
    }
    let item = |(at, item)| read(item).map_err(|error| error.within(&format!("{field}[{at}]")));
    items.into_iter().enumerate().map(item).collect()
}

/// Reads an enum, which travels as a number: `known` turns the wire's enum into
/// ours, and says no to "unspecified" and to what has no place here.
pub(super) fn choice<W, T>(
    number: i32,
    field: &str,
    allowed: &str,
    known: impl Fn(W) -> Option<T>,
) -> Result<T, WireError>
where
    W: TryFrom<i32> + Debug + Copy,
{
    let Ok(word) = W::try_from(number) else {
        return Err(WireError::new(field, number, allowed));
    };
    known(word).ok_or_else(|| WireError::new(field, format_args!("{word:?}"), allowed))
}

/// Reads a number that counts from 1, so that zero means it was left out.
pub(super) fn counted(number: u64, field: &str) -> Result<u64, WireError> {
    if number == 0 {
        return Err(WireError::new(field, number, "a number from 1"));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_named_without_what_is_in_it() {
        let held = Some("correct horse");
        assert_eq!(kind_of(&held), "Some");
        assert_eq!(kind_of(&held.filter(|_| false)), "None");
        assert_eq!(
            kind_of(&WireError::missing("account", "a name")),
            "WireError"
        );
        assert_eq!(kind_of(&"correct horse"), "");
    }

    #[test]
    fn it_reads_as_a_sentence() {
        let error = WireError::text("coordinator", "xyz", "a UUID").within("attempt");
        let shown = error.within("task").to_string();
        assert_eq!(shown, r#"task.attempt.coordinator "xyz": want a UUID"#);
        let missing = WireError::text("name", "", "a name").to_string();
        assert_eq!(missing, "name is missing: want a name");
    }

    #[test]
    fn a_long_text_is_not_repeated_in_full() {
        let error = WireError::text("name", &"ä".repeat(10_000), "a name");
        assert_eq!(
            error.value.chars().count(),
            SHOWN_CHARS_MAX + "\"…\"".chars().count()
        );
    }
}
