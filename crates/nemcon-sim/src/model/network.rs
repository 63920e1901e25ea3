//! What was said, by number.

/// A set of packets. It only grows: what was said once can arrive any number of
/// times, or never.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Network(Vec<u64>);

impl Network {
    /// Adds a packet; false if it is there.
    pub(super) fn insert(&mut self, number: usize) -> bool {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    /// The packets' numbers.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> + '_ {
        let bits = |(at, word): (usize, &u64)| {
            let word = *word;
            let set = (0..64).filter(move |bit| word & (1 << bit) != 0);
            set.map(move |bit| at * 64 + bit)
        };
        self.0.iter().enumerate().flat_map(bits)
    }

    /// Whether the other has all of these.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        self.0.len() <= other.0.len() && pairs.into_iter().all(|(ours, theirs)| ours & !theirs == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_grows() {
        let mut network = Network::default();
        assert!(network.insert(70));
        let before = network.clone();
        assert!(!network.insert(70));
        assert_eq!(network, before);
        assert!(network.insert(3));
        assert_eq!(network.numbers().collect::<Vec<_>>(), [3, 70]);
        assert!(before.is_within(&network));
        assert!(!network.is_within(&before));
    }
}
