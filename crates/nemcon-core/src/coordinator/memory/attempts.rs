//! A set of attempts, one bit for each: nearly all numbers of an epoch are in it.

use alloc::collections::BTreeMap;

use crate::id::{Epoch, Position};

const WORDS: usize = 4;
const BITS: u64 = WORDS as u64 * 64;

/// The set.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts(BTreeMap<(Epoch, u64), [u64; WORDS]>);

impl Attempts {
    pub(super) fn insert(&mut self, attempt: Position) {
        let (block, word, bit) = place(attempt);
        self.0.entry(block).or_default()[word] |= bit;
    }

    /// Takes in several, of which neighbours have nearly the same numbers.
    pub(super) fn extend(&mut self, attempts: impl IntoIterator<Item = Position>) {
        let mut found = None;
        for attempt in attempts {
            let (block, word, bit) = place(attempt);
            let words = match found.take() {
                Some((at, words)) if at == block => words,
                _ => self.0.entry(block).or_default(),
            };
            words[word] |= bit;
            found = Some((block, words));
        }
    }

    pub(super) fn remove(&mut self, attempt: Position) {
        let (block, word, bit) = place(attempt);
        if let Some(words) = self.0.get_mut(&block) {
            words[word] &= !bit;
            if *words == [0; WORDS] {
                self.0.remove(&block);
            }
        }
    }

    pub(super) fn contains(&self, attempt: Position) -> bool {
        let (block, word, bit) = place(attempt);
        self.0
            .get(&block)
            .is_some_and(|words| words[word] & bit != 0)
    }
}

fn place(attempt: Position) -> ((Epoch, u64), usize, u64) {
    let number = attempt.sequence.0;
    // Below the number of words, whatever the platform's `usize`.
    let word = (number % BITS / 64) as usize;
    ((attempt.epoch, number / BITS), word, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Sequence;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((1_u64..3, 0_u64..600, any::<bool>()), 0..999)) {
            let (mut set, mut model) = (Attempts::default(), BTreeSet::new());
            for (epoch, sequence, insert) in steps {
                let attempt = Position { epoch: Epoch(epoch), sequence: Sequence(sequence) };
                if insert && sequence % 3 == 0 {
                    let more = (0..40).map(|step| {
                        let sequence = Sequence(sequence + step * 17 % 60);
                        Position { sequence, ..attempt }
                    });
                    set.extend(more.clone());
                    model.extend(more);
                } else if insert {
                    set.insert(attempt);
                    model.insert(attempt);
                } else {
                    set.remove(attempt);
                    model.remove(&attempt);
                }
                prop_assert_eq!(set.contains(attempt), insert);
            }
            for epoch in 1..3 {
                for sequence in 0..700 {
                    let attempt = Position { epoch: Epoch(epoch), sequence: Sequence(sequence) };
                    prop_assert_eq!(set.contains(attempt), model.contains(&attempt));
                }
            }
            let blocks: BTreeSet<_> = model.iter().map(|it| (it.epoch, it.sequence.0 / BITS)).collect();
            prop_assert_eq!(set.0.len(), blocks.len());
        }
    }
}
