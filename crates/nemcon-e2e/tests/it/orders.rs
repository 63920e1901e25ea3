//! Orders to pay, and what must come of them by a plain sequential reckoning:
//! a second opinion, which shares nothing with the programs under test.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the paying accounts are.
pub(crate) const HOME: &str = "home";

/// One order of a file.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) from: String,
    pub(crate) bank_to: String,
    pub(crate) to: String,
    pub(crate) minor: i64,
}

/// What every account of a bank has in the end.
pub(crate) type Balances = BTreeMap<String, BTreeMap<String, i64>>;

/// Reads a file of orders with the columns order_id, account_id, bank_to,
/// account_to, amount and others.
pub(crate) fn read(text: &str) -> Vec<Order> {
    let order = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let (major, minor) = cells[4].split_once('.').unwrap();
        assert_eq!(minor.len(), 2, "{line}");
        Order {
            id: cells[0].to_owned(),
            from: cells[1].to_owned(),
            bank_to: cells[2].to_owned(),
            to: cells[3].to_owned(),
            // There are amounts such as ".80".
            minor: format!("{major}{minor}").parse().unwrap(),
        }
    };
    text.lines().skip(1).map(order).collect()
}

/// Writes a file of orders.
pub(crate) fn write(orders: &[Order]) -> String {
    let mut text = "order_id\taccount_id\tbank_to\taccount_to\tamount\tk_symbol\n".to_owned();
    for order in orders {
        let Order {
            id,
            from,
            bank_to,
            to,
            minor,
        } = order;
        let (major, rest) = (minor / 100, minor % 100);
        writeln!(text, "{id}\t{from}\t{bank_to}\t{to}\t{major}.{rest:02}\t").unwrap();
    }
    text
}

/// Pays the orders one after the other, as far as there is money. Returns what
/// every account has then, and the orders that were refused.
pub(crate) fn reckon(orders: &[Order], opening_minor: i64) -> (Balances, Vec<String>) {
    let mut balances = Balances::new();
    for Order {
        from, bank_to, to, ..
    } in orders
    {
        let payer = balances.entry(HOME.to_owned()).or_default();
        payer.insert(from.clone(), opening_minor);
        let receiving = balances.entry(bank_to.clone()).or_default();
        receiving.entry(to.clone()).or_default();
    }
    let mut refused = Vec::new();
    for order in orders {
        let payer = balances
            .get_mut(HOME)
            .unwrap()
            .get_mut(&order.from)
            .unwrap();
        if *payer < order.minor {
            refused.push(order.id.clone());
            continue;
        }
        *payer -= order.minor;
        let receiving = balances.get_mut(&order.bank_to).unwrap();
        *receiving.get_mut(&order.to).unwrap() += order.minor;
    }
    (balances, refused)
}

/// Chance from a seed: splitmix64 (Steele, Lea, Flood 2014).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// Another each time; shown, so that it can be had again from the variable
    /// `NEMCON_E2E_SEED`.
    pub(crate) fn from_environment() -> Self {
        let since = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = std::env::var("NEMCON_E2E_SEED").ok();
        let seed = seed.map_or_else(
            || u64::from(since().subsec_nanos()),
            |seed| seed.parse().expect("NEMCON_E2E_SEED is a number"),
        );
        println!("chance: NEMCON_E2E_SEED={seed}");
        Self(seed)
    }

    /// A number from 0 up to, and without, `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Puts things in another order.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            things.swap(last, other);
        }
    }
}

/// Orders as they might be: few paying accounts with several orders each, and
/// receiving ones that are paid by many.
pub(crate) fn made_up(count: usize, banks: &[&str], chance: &mut Chance) -> Vec<Order> {
    let order = |id: usize| Order {
        id: format!("{}", 1_000 + id),
        from: format!("{}", 1 + chance.below(40)),
        bank_to: banks[chance.below(banks.len() as u64) as usize].to_owned(),
        to: format!("{}", 700 + chance.below(60)),
        minor: 1 + chance.below(20_000) as i64,
    };
    (0..count).map(order).collect()
}
