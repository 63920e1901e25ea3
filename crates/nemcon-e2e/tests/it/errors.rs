//! Every reason a caller can be given is explained in docs/errors.md, and nothing
//! else is.

use std::collections::BTreeSet;
use std::path::Path;

use nemcon_core::reason::Reason;

/// The headings "### LOCK_TIMEOUT", in their order.
fn headings(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect()
}

fn reasons() -> BTreeSet<&'static str> {
    let all = Reason::ALL.iter().chain(nemcon_ledger::reason::ALL);
    let all = all.chain(&nemcon_inventory::REASONS);
    all.map(Reason::as_str).collect()
}

#[test]
fn every_reason_has_its_heading_and_every_heading_is_a_reason() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let text = std::fs::read_to_string(path).expect("docs/errors.md");
    let headings = headings(&text);
    let (once, reasons): (BTreeSet<&str>, _) = (headings.iter().copied().collect(), reasons());
    let missing: Vec<_> = reasons.difference(&once).collect();
    let unknown: Vec<_> = once.difference(&reasons).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "docs/errors.md: add a section (### WORD) for {missing:?}; take out {unknown:?}, which \
         no code gives"
    );
    assert_eq!(
        once.len(),
        headings.len(),
        "docs/errors.md has a heading twice"
    );
}

#[test]
fn every_section_says_what_to_do() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let text = std::fs::read_to_string(path).expect("docs/errors.md");
    for section in text.split("\n### ").skip(1) {
        let word = section.lines().next().unwrap_or_default();
        for part in ["*Travels as*", "*Again?*", "*Do*"] {
            assert!(
                section.contains(part),
                "docs/errors.md: {word} lacks the line {part}"
            );
        }
    }
}
