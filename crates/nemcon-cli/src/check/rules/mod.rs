//! The rules, a chapter to a file.
//!
//! Each story stands for itself: it begins with nothing open and leaves nothing
//! behind. Only those of a restart share one, since a restart is made by hand.

pub(super) mod alone;
pub(super) mod doubt;
pub(super) mod interactive;
pub(super) mod locks;
pub(super) mod order;
pub(super) mod restart;
pub(super) mod votes;
pub(super) mod waits;

use super::rule::Rule;

/// The chapters that need no restart, in their order.
pub(super) const CHAPTERS: &[(&str, &[Rule])] = &[
    ("votes and outcomes", votes::RULES),
    ("locks", locks::RULES),
    ("order", order::RULES),
    ("in doubt", doubt::RULES),
    ("one participant", alone::RULES),
    ("interactive work", interactive::RULES),
    ("waits", waits::RULES),
];

/// The chapter that needs one.
pub(super) const RESTART: &str = "restart";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_word_of_its_own() {
        let mut words: Vec<&str> = CHAPTERS
            .iter()
            .flat_map(|(_, rules)| *rules)
            .chain(restart::RULES)
            .map(|rule| rule.name)
            .collect();
        let all = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), all);
    }
}
