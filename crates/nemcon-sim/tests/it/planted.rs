//! Where planted mistakes are caught, on record and in the documentation.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// `planted.json` is what `nemcon-sim planted --json` has printed.
fn on_record() -> Vec<Value> {
    serde_json::from_str(include_str!("../../planted.json")).expect("planted.json")
}

/// As the last column of the table says it; of a model without its steps, which
/// differ from run to run.
fn place(caught: &Value) -> String {
    if let Some(scenario) = caught["scenario"].as_str() {
        return format!("model `{scenario}`");
    }
    let seed = caught["seed"].as_u64().expect("a seed");
    let (thousands, rest) = (seed / 1_000, seed % 1_000);
    let mut place = match thousands {
        0 => rest.to_string(),
        _ => format!("{thousands},{rest:03}"),
    };
    match (caught["crowded"] == true, caught["faults"] == true) {
        (_, true) => {}
        (true, false) => place.push_str(", crowded, without faults"),
        (false, false) => place.push_str(" without faults"),
    }
    place
}

#[test]
fn the_documentation_says_where_each_mistake_was_caught() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/testing.md");
    let page = fs::read_to_string(file).unwrap();
    let mut rows = 0;
    for caught in on_record() {
        let name = caught["name"].as_str().unwrap();
        // Those of sagas are in no table.
        if caught["caught_by"] == "sagas" {
            continue;
        }
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")));
        let cells: Vec<_> = row.expect(name).split('|').map(str::trim).collect();
        let (invariant, place) = (caught["invariant"].as_str().unwrap(), place(&caught));
        assert_eq!(cells[3], invariant, "{name}");
        let found = cells[4].split(',').next();
        let is_model = place.starts_with("model");
        let same = if is_model {
            found == Some(&*place)
        } else {
            cells[4] == place
        };
        assert!(
            same,
            "{name}: {} in docs/testing.md, {place} on record",
            cells[4]
        );
        rows += 1;
    }
    assert_eq!(rows, 64);
}
