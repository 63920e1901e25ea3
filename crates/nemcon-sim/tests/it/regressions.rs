//! Plans that once failed, made small and kept: each must hold for ever.

use std::fs;
use std::path::Path;

use nemcon_core::planted::Planted;
use nemcon_sim::plan::Plan;

#[test]
fn what_once_failed_holds() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut held = 0;
    for entry in fs::read_dir(&dir).expect("the directory of regressions") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a file");
        let plan: Plan = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{} is no plan: {error}", path.display()));
        let failure = nemcon_sim::run(&plan, Planted::none(), 0).failure;
        assert_eq!(failure, None, "{}", path.display());
        held += 1;
    }
    assert!(held > 0, "there is no plan in {}", dir.display());
}
