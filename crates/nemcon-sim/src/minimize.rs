//! Makes a failing plan smaller, while it fails in the same way.
//!
//! Halves of the faults and of the orders are left out, then quarters, and so on
//! (delta debugging: Zeller and Hildebrandt 2002); then the surroundings are made
//! plainer. What is left to chance while a plan runs comes from streams of their
//! own, so most of it stays as it was.

use nemcon_core::planted::Planted;

use crate::checkers::Failure;
use crate::plan::{Fault, Plan};

/// A smaller plan, and how it fails.
#[derive(Clone, Debug)]
pub struct Smaller {
    /// The plan.
    pub plan: Plan,
    /// How it fails.
    pub failure: Failure,
    /// How many plans were tried.
    pub tried: u64,
}

/// Makes a plan smaller; `None` if it does not fail. `progress` is told of each
/// plan that was tried, and how many orders and faults the smallest has.
pub fn minimize(
    plan: Plan,
    planted: Planted,
    mut progress: impl FnMut(u64, usize, usize),
) -> Option<Smaller> {
    let failure = crate::run(&plan, planted, 0).failure?;
    let mut best = Smaller {
        plan,
        failure,
        tried: 1,
    };
    let mut attempt = |best: &mut Smaller, plan: Plan| {
        best.tried += 1;
        let failure = crate::run(&plan, planted, 0).failure;
        let same = failure.filter(|it| it.invariant == best.failure.invariant);
        let found = same.is_some();
        if let Some(failure) = same {
            best.plan = plan;
            best.failure = failure;
        }
        progress(best.tried, orders_left(&best.plan), best.plan.faults.len());
        found
    };
    loop {
        let before = (orders_left(&best.plan), best.plan.faults.len());
        leave_out_faults(&mut best, &mut attempt);
        leave_out_orders(&mut best, &mut attempt);
        make_plainer(&mut best, &mut attempt);
        if before == (orders_left(&best.plan), best.plan.faults.len()) {
            return Some(best);
        }
    }
}

fn orders_left(plan: &Plan) -> usize {
    plan.orders.len() - plan.left_out.len()
}

fn leave_out_faults(best: &mut Smaller, attempt: &mut impl FnMut(&mut Smaller, Plan) -> bool) {
    let mut chunk = best.plan.faults.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < best.plan.faults.len() {
            let mut plan = best.plan.clone();
            let end = (at + chunk).min(plan.faults.len());
            let left: Vec<Fault> = plan.faults.drain(at..end).collect();
            if left.is_empty() || !attempt(best, plan) {
                at = end;
            }
        }
        chunk /= 2;
    }
}

fn leave_out_orders(best: &mut Smaller, attempt: &mut impl FnMut(&mut Smaller, Plan) -> bool) {
    let mut chunk = orders_left(&best.plan).div_ceil(2);
    while chunk > 0 {
        let mut after = 0;
        loop {
            let plan = &best.plan;
            let left = (after..plan.orders.len()).filter(|order| !plan.left_out.contains(order));
            let part: Vec<usize> = left.take(chunk).collect();
            let Some(last) = part.last() else {
                break;
            };
            after = last + 1;
            let mut plan = plan.clone();
            plan.left_out.extend(part);
            attempt(best, plan);
        }
        chunk /= 2;
    }
}

fn make_plainer(best: &mut Smaller, attempt: &mut impl FnMut(&mut Smaller, Plan) -> bool) {
    let plainer: [fn(&mut Plan); 7] = [
        |plan| plan.shape.streams = 0,
        |plan| (plan.shape.loss, plan.shape.double) = (0, 0),
        |plan| plan.orders.iter_mut().for_each(|it| it.claims.clear()),
        |plan| plan.shape.clock_skew_ms = 0,
        |plan| plan.shape.delay_ms = 1,
        |plan| plan.shape.page_bytes = 7 << 10,
        |plan| plan.shape.checkpoint_records = 1_000_000,
    ];
    for change in plainer {
        let mut plan = best.plan.clone();
        change(&mut plan);
        if plan != best.plan {
            attempt(best, plan);
        }
    }
}
