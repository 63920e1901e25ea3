//! A report for people.

use std::collections::BTreeMap;

use nemcon_bench::{Fates, Figures, Report, Row, Setting};

use crate::money::Minor;
use crate::table::Table;

/// The whole report.
pub(super) fn report(report: &Report) -> String {
    let mut parts = vec![head(report), rows(report).to_string()];
    let kinds = kinds(report);
    if kinds.len() > 1 {
        parts.push(by_kind(&kinds).to_string());
    }
    parts.extend(reasons(report));
    parts.push(books(report));
    parts.join("\n\n")
}

/// What was measured, and where.
fn head(report: &Report) -> String {
    let Report {
        workload,
        skew,
        accounts,
        banks,
        coordinators,
        warm_up_seconds,
        window_seconds,
        rounds,
        setting,
        ..
    } = report;
    let by = match coordinators {
        1 => String::new(),
        many => format!(", {many} coordinators"),
    };
    format!(
        "{workload}: {accounts} at each of {banks} banks, chosen {skew}{by}\n\
         rounds: {rounds}, each {window_seconds} s after {warm_up_seconds} s of warm-up; figures \
         are medians\n{}",
        place(setting)
    )
}

/// The setting, without which figures mean nothing.
fn place(setting: &Setting) -> String {
    let processor = setting
        .processor
        .as_deref()
        .unwrap_or("processor not known");
    let file_system = setting.file_system.as_deref().unwrap_or("not known");
    let nodes = match setting.node_versions.as_slice() {
        [] => "nodes that were there".to_owned(),
        versions => format!("{}, each a process of its own", versions.join(", ")),
    };
    let build = if setting.optimised {
        ""
    } else {
        ", built WITHOUT optimisation: these are no figures of its speed"
    };
    format!(
        "{} cores ({processor}), {}; file system of the data: {file_system}\n\
         flush: {}\n\
         client nemcon {}{build}; {nodes}",
        setting.cores, setting.kernel, setting.flush, setting.client_version
    )
}

fn rows(report: &Report) -> Table {
    let mut table = Table::new([
        "BY",
        "LOAD",
        ">PER SECOND",
        ">RANGE",
        ">P50 MS",
        ">P99 MS",
        ">P99.9 MS",
        ">CPU µs",
        ">MB",
        ">REFUSED",
        ">CONFLICTS",
        ">VICTIMS",
        ">FAILED",
        ">UNKNOWN",
        ">NOT STARTED",
    ]);
    for row in &report.rows {
        let Figures {
            per_second,
            p50_ms,
            p99_ms,
            p999_ms,
            nodes_cpu_us,
            client_cpu_us,
            nodes_memory_mb,
            committed_before: _,
        } = row.median;
        let (lowest, highest) = row.per_second_range;
        let millis = |figure: Option<f64>| figure.map_or("-".into(), |ms| format!("{ms:.2}"));
        let cpu = nodes_cpu_us.zip(client_cpu_us);
        table.row([
            row.transport.to_owned(),
            load(row),
            format!("{per_second:.0}"),
            format!("{lowest:.0}-{highest:.0}"),
            millis(p50_ms),
            millis(p99_ms),
            millis(p999_ms),
            cpu.map_or("-".into(), |(nodes, client)| {
                format!("{nodes:.0}+{client:.0}")
            }),
            nodes_memory_mb.map_or("-".into(), |mb| format!("{mb:.0}")),
            row.fates.refused.to_string(),
            row.fates.conflicts.to_string(),
            row.fates.deadlock_victims.to_string(),
            row.fates.failed.to_string(),
            row.fates.unknown.to_string(),
            row.not_started.to_string(),
        ]);
    }
    table
}

fn load(row: &Row) -> String {
    let load = match (row.in_flight, row.rate) {
        (Some(count), _) => format!("{count} in flight"),
        (None, Some(rate)) => format!("{rate} a second"),
        (None, None) => "-".to_owned(),
    };
    match (row.participants, row.manner) {
        (Some(count), _) => format!("{count} participants, {load}"),
        (None, Some(manner)) => format!("{manner}, {load}"),
        (None, None) => load,
    }
}

/// All rows together, by kind.
fn kinds(report: &Report) -> BTreeMap<&'static str, Fates> {
    let mut all: BTreeMap<&'static str, Fates> = BTreeMap::new();
    for (kind, fates) in report.rows.iter().flat_map(|row| &row.kinds) {
        all.entry(kind).or_default().add(fates);
    }
    all
}

fn by_kind(kinds: &BTreeMap<&'static str, Fates>) -> Table {
    let mut table = Table::new([
        "KIND",
        ">COMMITTED",
        ">REFUSED",
        ">CONFLICTS",
        ">VICTIMS",
        ">FAILED",
        ">UNKNOWN",
    ]);
    for (kind, fates) in kinds {
        table.row([
            (*kind).to_owned(),
            fates.committed.to_string(),
            fates.refused.to_string(),
            fates.conflicts.to_string(),
            fates.deadlock_victims.to_string(),
            fates.failed.to_string(),
            fates.unknown.to_string(),
        ]);
    }
    table
}

/// Why tries did not commit, if any did not.
fn reasons(report: &Report) -> Option<String> {
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, count) in report.rows.iter().flat_map(|row| &row.reasons) {
        *all.entry(reason).or_default() += count;
    }
    let each: Vec<String> = all
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    (!each.is_empty()).then(|| format!("reasons: {}", each.join(", ")))
}

/// What the accounts hold.
fn books(report: &Report) -> String {
    let books = &report.books;
    let shown = |minor: i128| {
        let fits = i64::try_from(minor);
        fits.map_or_else(
            |_| format!("{minor} minor"),
            |minor| Minor(minor).to_string(),
        )
    };
    format!(
        "books: {} before, {} after, in XTS: they {}",
        shown(books.initial_minor),
        shown(books.found_minor),
        if books.add_up {
            "add up"
        } else {
            "do NOT add up"
        }
    )
}
