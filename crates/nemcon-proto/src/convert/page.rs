//! Lists that come in pages, highest id first: of transactions, of sagas.

use core::fmt::Display;
use core::str::FromStr;

use super::error::{WireError, list};
use super::id::{optional, shown};

/// At most so many on a page.
pub const LIST_MAX: u32 = 1_000;

/// So many where nothing is said.
const LIST_DEFAULT: u32 = 100;

/// Which to list, by states `S` and ids `I`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<S, I> {
    /// Only these states; empty: all.
    pub states: Vec<S>,
    /// Only ids below this one: the page token.
    pub below: Option<I>,
    /// At most so many, up to [`LIST_MAX`]; `None`: 100.
    pub max: Option<u32>,
}

impl<S, I> Default for Wanted<S, I> {
    fn default() -> Self {
        Self {
            states: Vec::new(),
            below: None,
            max: None,
        }
    }
}

impl<S, I> Wanted<S, I> {
    /// At most so many.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max.unwrap_or(LIST_DEFAULT) as usize
    }
}

impl<S, I: FromStr> Wanted<S, I> {
    /// Reads a request's `states`, `page_size` and `page_token`.
    pub(super) fn read(
        states: Vec<i32>,
        state: impl Fn(i32, &str) -> Result<S, WireError>,
        size: u32,
        token: &str,
    ) -> Result<Self, WireError> {
        if size > LIST_MAX {
            let allowed = format_args!("at most {LIST_MAX}");
            return Err(WireError::new("page_size", size, allowed));
        }
        let below = optional(token, |token| {
            let foreign = |_| {
                let allowed = "the next_page_token of the answer before";
                WireError::text("page_token", token, allowed)
            };
            token.parse().map_err(foreign)
        })?;
        let states = states.into_iter().enumerate();
        let states = states.map(|(at, number)| state(number, &format!("states[{at}]")));
        Ok(Self {
            states: states.collect::<Result<_, _>>()?,
            below,
            max: (size != 0).then_some(size),
        })
    }
}

impl<S, I: Display> Wanted<S, I> {
    /// What goes into a request: states, page size, page token.
    pub(super) fn written(self, state: impl Fn(S) -> i32) -> (Vec<i32>, u32, String) {
        let states = self.states.into_iter().map(state).collect();
        (states, self.max.unwrap_or(0), shown(self.below))
    }
}

/// Some of what was listed, highest id first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paged<V, I> {
    /// What is known of each.
    pub views: Vec<V>,
    /// There are more: ask for those [`Wanted::below`] this id.
    pub below: Option<I>,
}

impl<V, I> Paged<V, I> {
    /// These, where it is known whether there are more.
    pub(super) fn of(views: Vec<V>, more: bool, id: impl Fn(&V) -> I) -> Self {
        let below = views.last().filter(|_| more).map(id);
        Self { views, below }
    }

    /// Reads an answer's views, which stand in `field`, and its `next_page_token`.
    pub(super) fn read<W>(
        views: Vec<W>,
        field: &str,
        view: impl Fn(W) -> Result<V, WireError>,
        token: &str,
        id: impl Fn(&str, &str) -> Result<I, WireError>,
    ) -> Result<Self, WireError> {
        Ok(Self {
            views: list(views, field, LIST_MAX as usize, view)?,
            below: optional(token, |text| id(text, "next_page_token"))?,
        })
    }
}
