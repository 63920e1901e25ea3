//! What a rule is, and how it turns out.

use std::future::Future;
use std::pin::Pin;

use super::stage::Stage;

/// One promise of a participant, and the story that puts it to the test.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    /// Its word; `docs/write-a-participant.md` has a row for each.
    pub(super) name: &'static str,
    /// What a participant does that keeps it.
    pub(super) says: &'static str,
    pub(super) story: Story,
}

/// Plays a coordinator until the rule has been kept or broken.
pub(super) type Story = for<'a> fn(&'a mut Stage) -> Pin<Box<dyn Future<Output = Told> + 'a>>;

/// How a story ends. `Ok`: the rule was kept.
pub(super) type Told<T = ()> = Result<T, Ended>;

/// Why a story did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The rule is broken: what was done, what was answered, what is right.
    Broken(String),
    /// It could not be tested: what is missing.
    Skipped(&'static str),
    /// The participant does not answer. There is no sense in going on.
    Silent(String),
}

/// A rule that is broken, in the words of `format!`.
macro_rules! broken {
    ($($text:tt)+) => { $crate::check::rule::Ended::Broken(format!($($text)+)) };
}

/// A table of rules: word, what is right, story.
macro_rules! rules {
    ($($name:literal $says:literal $story:ident),* $(,)?) => {
        pub(in crate::check) const RULES: &[$crate::check::rule::Rule] = &[$(
            $crate::check::rule::Rule {
                name: $name,
                says: $says,
                story: |stage| Box::pin($story(stage)),
            },
        )*];
    };
}

pub(super) use {broken, rules};
