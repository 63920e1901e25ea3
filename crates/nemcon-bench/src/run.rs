//! Runs a plan on a cluster.

use std::sync::Arc;

use crate::accounts;
use crate::books::Books;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::error::BenchError;
use crate::load::{Load, Measured, measure};
use crate::plan::{Manner, Plan, RowPlan};
use crate::population::Population;
use crate::report::{FORMAT, Report, Row};
use crate::submit::{Submitter, Transport};
use crate::workload::{self, Ground, Workload};

/// Runs a plan. `tell` hears what is being done, in a few words, each time that
/// something else begins.
///
/// That the books do not add up is no error but a result: see
/// [`Books::add_up`](crate::Books).
///
/// # Errors
/// What keeps it from being run to its end.
pub async fn run(
    plan: &Plan,
    cluster: &Cluster,
    tell: &dyn Fn(&str),
) -> Result<Report, BenchError> {
    plan.check(cluster.banks().len())?;
    let (client, banks) = (cluster.client(), cluster.banks());
    let kinds = workload::accounts(plan.workload);
    let mut chance = Chance::new(plan.seed);
    tell("opening accounts that are missing");
    accounts::open_missing(client, banks, kinds, plan.accounts, &mut chance.fork()).await?;
    let initial = accounts::sum_minor(client, banks, kinds).await?;

    // One stream for all rows that come by one.
    let on = |transport| Ground {
        population: Population::new(banks.len(), plan.accounts, plan.skew),
        banks: banks.into(),
        submitter: Submitter::new(cluster.clients(), transport),
    };
    let (unary, stream) = (on(Transport::Unary), on(Transport::Stream));
    let rows = plan.rows();
    let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); rows.len()];
    let mut committed = 0;
    for round in 1..=plan.rounds {
        for (row, measured) in rows.iter().zip(&mut measured) {
            tell(&format!("{}, round {round} of {}", named(row), plan.rounds));
            let ground = match row.transport {
                Transport::Unary => unary.clone(),
                Transport::Stream => stream.clone(),
            };
            let workload = Workload::new(plan.workload, ground, row);
            let seed = u64::from(chance.below(u32::MAX));
            let subject = Arc::new(workload);
            let meter = cluster.meter();
            let found = measure(&subject, row.load, plan.spans, seed, &meter).await?;
            let committed_before = committed;
            committed += found.tally.committed_at_all;
            measured.push(Measured {
                committed_before,
                ..found
            });
        }
    }

    tell("adding up the books");
    let tallies = || measured.iter().flatten().map(|it| &it.tally);
    let books = Books::new(
        initial,
        tallies().map(|tally| tally.moved_low_minor).sum(),
        tallies().map(|tally| tally.moved_high_minor).sum(),
        accounts::sum_minor(client, banks, kinds).await?,
        tallies().map(|tally| tally.unknown_at_all).sum(),
    );
    let rows = rows.iter().zip(&measured);
    Ok(Report {
        format: FORMAT,
        workload: plan.workload.as_str(),
        skew: plan.skew.as_str(),
        accounts: plan.accounts,
        banks: banks.len(),
        coordinators: cluster.clients().len(),
        warm_up_seconds: plan.spans.warm_up.as_secs_f64(),
        window_seconds: plan.spans.measured.as_secs_f64(),
        rounds: plan.rounds,
        seed: plan.seed,
        setting: cluster.setting().clone(),
        rows: rows
            .map(|(row, measured)| Row {
                manner: row.manner.map(Manner::as_str),
                ..Row::new(row.load, row.transport.as_str(), row.participants, measured)
            })
            .collect(),
        books,
    })
}

/// A row in words.
fn named(row: &RowPlan) -> String {
    let load = match row.load {
        Load::InFlight(count) => format!("{count} in flight"),
        Load::Rate(rate) => format!("{rate} a second"),
    };
    let load = format!("{}, {load}", row.transport.as_str());
    match (row.participants, row.manner) {
        (Some(count), _) => format!("{count} participants, {load}"),
        (None, Some(manner)) => format!("{}, {load}", manner.as_str()),
        (None, None) => load,
    }
}
