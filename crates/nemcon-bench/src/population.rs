//! Whose turn it is: customers, drawn uniformly or with a preference for some.

use rand::distr::Distribution;
use rand_distr::Zipf;

use crate::chance::Chance;

/// Percent of the customers that are hot, and of the transactions that are theirs:
/// the usual setting of papers on `SmallBank`.
const HOT_CUSTOMERS_PERCENT: u32 = 4;
const HOT_TRANSACTIONS_PERCENT: u32 = 90;

/// Exponent of the Zipf distribution, as YCSB and its readers have it.
const ZIPF_EXPONENT: f64 = 0.99;

/// How customers are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// Each as often as any other.
    Uniform,
    /// 90 % of the transactions are between the first 4 % of the customers of each
    /// bank, 10 % between the others.
    Hot,
    /// The n-th customer of each bank is chosen in proportion to 1/n^0.99.
    Zipf,
}

impl Skew {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Hot => "hot",
            Self::Zipf => "zipf",
        }
    }
}

/// A customer: which bank, and which of that bank's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Customer {
    /// Place of the bank in the list of banks.
    pub(crate) bank: usize,
    /// Number of the customer there, from 0.
    pub(crate) number: u32,
}

/// All customers of all banks.
#[derive(Clone, Debug)]
pub(crate) struct Population {
    banks: usize,
    each: u32,
    skew: Skew,
    zipf: Option<Zipf<f64>>,
}

/// The customers that a transaction chooses among, by their numbers.
#[derive(Clone, Copy)]
struct Group {
    first: u32,
    count: u32,
    by_rank: bool,
}

impl Population {
    /// So many customers at each of so many banks; at least 50 at each, so that two
    /// of them are hot.
    pub(crate) fn new(banks: usize, each: u32, skew: Skew) -> Self {
        let zipf = matches!(skew, Skew::Zipf).then(|| Zipf::new(f64::from(each), ZIPF_EXPONENT));
        Self {
            banks: banks.max(1),
            each,
            skew,
            // The only errors are of an empty set and of an exponent below zero.
            zipf: zipf.and_then(Result::ok),
        }
    }

    /// How many are hot at each bank.
    fn hot(&self) -> u32 {
        (self.each * HOT_CUSTOMERS_PERCENT / 100).max(2)
    }

    /// Whom a transaction is about: chosen once, so that hot customers deal with
    /// hot ones.
    fn group(&self, chance: &mut Chance) -> Group {
        let all = Group {
            first: 0,
            count: self.each,
            by_rank: self.zipf.is_some(),
        };
        match self.skew {
            Skew::Uniform | Skew::Zipf => all,
            Skew::Hot if chance.percent(HOT_TRANSACTIONS_PERCENT) => Group {
                count: self.hot(),
                ..all
            },
            Skew::Hot => Group {
                first: self.hot(),
                count: self.each.saturating_sub(self.hot()),
                ..all
            },
        }
    }

    fn number(&self, group: Group, chance: &mut Chance) -> u32 {
        match &self.zipf {
            Some(zipf) if group.by_rank => {
                // Ranks count from 1 and are whole, so nothing is cut off.
                (zipf.sample(&mut chance.0) as u32).clamp(1, self.each) - 1
            }
            _ => group.first + chance.below(group.count),
        }
    }

    fn bank(&self, chance: &mut Chance) -> usize {
        chance.below(u32::try_from(self.banks).unwrap_or(u32::MAX)) as usize
    }

    /// One customer.
    pub(crate) fn one(&self, chance: &mut Chance) -> Customer {
        let group = self.group(chance);
        Customer {
            bank: self.bank(chance),
            number: self.number(group, chance),
        }
    }

    /// Two customers that differ, at any banks.
    pub(crate) fn two(&self, chance: &mut Chance) -> (Customer, Customer) {
        let group = self.group(chance);
        let draw = |chance: &mut Chance| Customer {
            bank: self.bank(chance),
            number: self.number(group, chance),
        };
        let (one, mut other) = (draw(chance), draw(chance));
        if one == other {
            // The neighbour, instead of drawing until they differ: bounded.
            other.number = group.first + (other.number - group.first + 1) % group.count;
        }
        (one, other)
    }

    /// One customer at each of so many different banks.
    pub(crate) fn at_different_banks(&self, count: usize, chance: &mut Chance) -> Vec<Customer> {
        let group = self.group(chance);
        let mut banks: Vec<usize> = (0..self.banks).collect();
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count && !banks.is_empty() {
            let at = chance.below(u32::try_from(banks.len()).unwrap_or(u32::MAX)) as usize;
            let bank = banks.swap_remove(at);
            let number = self.number(group, chance);
            chosen.push(Customer { bank, number });
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 100_000;

    /// How often each customer was drawn.
    fn counts(skew: Skew, each: u32) -> Vec<u32> {
        let population = Population::new(2, each, skew);
        let mut chance = Chance::new(7);
        let mut counts = vec![0; each as usize];
        for _ in 0..DRAWS {
            counts[population.one(&mut chance).number as usize] += 1;
        }
        counts
    }

    fn share(counts: &[u32]) -> f64 {
        f64::from(counts.iter().sum::<u32>()) / f64::from(DRAWS)
    }

    #[test]
    fn uniform_leaves_nobody_out_and_prefers_nobody() {
        let counts = counts(Skew::Uniform, 100);
        // 1,000 are expected, and 4.8 standard deviations are 150.
        assert!(
            counts.iter().all(|count| (850..1_150).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn four_percent_of_the_customers_have_ninety_percent_of_the_transactions() {
        let counts = counts(Skew::Hot, 1_000);
        let hot = share(&counts[..40]);
        assert!((hot - 0.9).abs() < 0.005, "{hot}");
        assert!(
            counts.iter().all(|count| *count > 0),
            "the others have a share too"
        );
    }

    #[test]
    fn zipf_falls_off_as_one_over_the_rank() {
        let counts = counts(Skew::Zipf, 1_000);
        let weight = |rank: u32| f64::from(rank).powf(-ZIPF_EXPONENT);
        let all: f64 = (1..=1_000).map(weight).sum();
        for rank in [1, 2, 3, 10] {
            let want = weight(rank) / all;
            let found = share(&counts[rank as usize - 1..rank as usize]);
            assert!(
                (found / want - 1.0).abs() < 0.1,
                "rank {rank}: {found}, want {want}"
            );
        }
    }

    #[test]
    fn two_customers_differ_and_share_their_temperature() {
        for skew in [Skew::Uniform, Skew::Hot, Skew::Zipf] {
            let population = Population::new(2, 50, skew);
            let mut chance = Chance::new(1);
            let mut apart = 0;
            for _ in 0..DRAWS {
                let (one, other) = population.two(&mut chance);
                assert_ne!(one, other);
                assert!(one.number < 50 && other.number < 50);
                if skew == Skew::Hot {
                    assert_eq!(one.number < 2, other.number < 2, "{one:?} {other:?}");
                }
                apart += u32::from(one.bank != other.bank);
            }
            // 1 − 1/P, a little more since equal customers of one bank are no pair.
            let apart = f64::from(apart) / f64::from(DRAWS);
            assert!((apart - 0.5).abs() < 0.02, "{skew:?}: {apart}");
        }
    }

    #[test]
    fn different_banks_are_different() {
        let population = Population::new(5, 50, Skew::Uniform);
        let mut chance = Chance::new(1);
        for count in 1..=5 {
            let chosen = population.at_different_banks(count, &mut chance);
            let mut banks: Vec<usize> = chosen.iter().map(|customer| customer.bank).collect();
            banks.sort_unstable();
            banks.dedup();
            assert_eq!((chosen.len(), banks.len()), (count, count));
        }
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let population = Population::new(3, 500, Skew::Zipf);
        let draws = |seed| {
            let mut chance = Chance::new(seed);
            (0..20)
                .map(|_| population.one(&mut chance).number)
                .collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }
}
