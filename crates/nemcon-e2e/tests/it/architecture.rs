//! ARCHITECTURE.md has a table of crates and of what each uses of the others, and
//! docs/dependencies.md one of what comes from outside. Both are compared with
//! what cargo knows, so that a new arrow is a decision and not an accident.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Short names of the crates that a crate uses.
type Arrows = BTreeMap<String, BTreeSet<String>>;

const PREFIX: &str = "nemcon-";

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The manifests of this workspace, without those of others: needs no network.
fn workspace() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo describes this workspace")
}

fn short(name: &str) -> Option<String> {
    name.strip_prefix(PREFIX).map(str::to_owned)
}

/// Reads the rows "| `nemcon-core` | one line | what it uses |".
fn in_the_table(text: &str) -> Arrows {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let name = short(cells.next()?.trim().trim_end_matches('`'))?;
        let uses = cells.nth(1)?.split_whitespace().map(str::to_owned);
        // A dash stands for nothing.
        Some((name, uses.filter(|word| word != "–").collect()))
    };
    text.lines().filter_map(row).collect()
}

/// What the manifests say. Development dependencies are exempt: a test may use
/// whatever it needs.
fn in_the_manifests() -> Arrows {
    let metadata = workspace();
    let uses = |package: &Package| -> BTreeSet<String> {
        let counted = package.dependencies.iter().filter(|dependency| {
            dependency.path.is_some() && dependency.kind != DependencyKind::Development
        });
        counted
            .filter_map(|dependency| short(&dependency.name))
            .collect()
    };
    let packages = metadata.workspace_packages();
    packages
        .into_iter()
        .filter_map(|package| Some((short(&package.name)?, uses(package))))
        .collect()
}

/// One sentence for each difference, saying what to edit.
fn differences(table: &Arrows, manifests: &Arrows) -> Vec<String> {
    let mut found = Vec::new();
    for name in table.keys().filter(|name| !manifests.contains_key(*name)) {
        found.push(format!(
            "there is no crate {PREFIX}{name}: take its row out of the table"
        ));
    }
    for (name, used) in manifests {
        let Some(allowed) = table.get(name) else {
            found.push(format!("the table has no row for {PREFIX}{name}: add one"));
            continue;
        };
        for other in used.difference(allowed) {
            found.push(format!(
                "{PREFIX}{name} uses {PREFIX}{other}, which its row does not allow: do without, \
                 or, if the arrow is wanted, add `{other}` to the row"
            ));
        }
        for other in allowed.difference(used) {
            found.push(format!(
                "{PREFIX}{name} does not use {PREFIX}{other}: take `{other}` out of its row"
            ));
        }
    }
    found
}

#[test]
fn the_table_of_crates_is_what_the_manifests_say() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let found = differences(&in_the_table(&text), &in_the_manifests());
    assert!(
        found.is_empty(),
        "ARCHITECTURE.md, \"The crates\", differs from the Cargo.toml files:\n- {}",
        found.join("\n- ")
    );
}

#[test]
fn what_comes_from_outside_has_a_reason() {
    let text = std::fs::read_to_string(root().join("docs/dependencies.md"));
    let text = text.expect("docs/dependencies.md");
    let row = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    let explained: BTreeSet<String> = text.lines().filter_map(row).collect();
    let metadata = workspace();
    let all = metadata
        .packages
        .iter()
        .flat_map(|package| &package.dependencies);
    let foreign = all.filter(|dependency| dependency.path.is_none());
    let named: BTreeSet<String> = foreign.map(|dependency| dependency.name.clone()).collect();
    let missing: Vec<_> = named.difference(&explained).collect();
    let unused: Vec<_> = explained.difference(&named).collect();
    assert!(
        missing.is_empty() && unused.is_empty(),
        "docs/dependencies.md: add a row for {missing:?}; take out {unused:?}, which no crate uses"
    );
}

#[test]
fn every_kind_of_difference_is_told_with_what_to_edit() {
    let arrows = |rows: &[(&str, &[&str])]| -> Arrows {
        let set = |uses: &[&str]| uses.iter().map(ToString::to_string).collect();
        rows.iter()
            .map(|(name, uses)| ((*name).to_owned(), set(uses)))
            .collect()
    };
    let table = in_the_table(
        "| crate | one line | uses |\n| `nemcon-core` | decides | – |\n\
         | `nemcon-net` | speaks | core proto |\n| `nemcon-gone` | was | core |\n",
    );
    assert_eq!(
        table,
        arrows(&[
            ("core", &[]),
            ("net", &["core", "proto"]),
            ("gone", &["core"])
        ])
    );
    let manifests = arrows(&[("core", &["net"]), ("net", &["core"]), ("new", &[])]);
    assert_eq!(
        differences(&table, &manifests),
        [
            "there is no crate nemcon-gone: take its row out of the table",
            "nemcon-core uses nemcon-net, which its row does not allow: do without, or, if the \
             arrow is wanted, add `net` to the row",
            "nemcon-net does not use nemcon-proto: take `proto` out of its row",
            "the table has no row for nemcon-new: add one",
        ]
    );
    assert!(differences(&manifests, &manifests).is_empty());
}
