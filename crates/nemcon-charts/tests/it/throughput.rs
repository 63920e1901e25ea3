use nemcon_charts::{Run, Sample, in_flight, throughput};
use proptest::prelude::*;

use crate::drawing::{BLUE, VERMILION, count, inked, look, says, texts};

fn steady(seconds: u32) -> Vec<Sample> {
    let sample = |second: u32| Sample {
        seconds: f64::from(second),
        committed: u64::from(second) * 1_500,
        aborted: u64::from(second) * 10,
    };
    (0..=seconds).map(sample).collect()
}

#[test]
fn both_rates_are_drawn_and_named() {
    let picture = throughput(&steady(30), "a test").unwrap();
    look(&picture, |drawn| {
        for words in [
            "Throughput",
            "committed",
            "1,500/s on average",
            "aborted",
            "10/s on average",
            "0 s",
            "30 s",
            "1,500",
            "transactions per second",
            "time since the first sample",
        ] {
            assert!(says(drawn, words), "{words} in {:#?}", texts(drawn));
        }
        assert_eq!(count(drawn, "polyline", "stroke", BLUE), 1);
        assert_eq!(count(drawn, "polyline", "stroke", VERMILION), 1);
    });
    assert!(inked(&picture) > 0.1);
}

#[test]
fn a_restart_breaks_the_line() {
    let mut samples = steady(20);
    for sample in &mut samples[10..] {
        sample.committed -= 14_000;
    }
    look(&throughput(&samples, "").unwrap(), |drawn| {
        assert_eq!(count(drawn, "polyline", "stroke", BLUE), 2);
    });
}

#[test]
fn too_little_to_draw_is_said() {
    for samples in [&steady(0)[..], &[], &[Sample::default(), Sample::default()]] {
        look(&throughput(samples, "").unwrap(), |drawn| {
            assert!(says(drawn, "There is nothing to draw"));
        });
    }
    look(&in_flight(&[], "").unwrap(), |drawn| {
        assert!(says(drawn, "no run was measured"))
    });
}

fn run(name: &str, in_flight: u64, per_second: f64) -> Run {
    Run {
        name: name.into(),
        in_flight,
        per_second,
    }
}

#[test]
fn runs_are_joined_by_their_names_in_the_order_of_those_in_flight() {
    let runs = [
        run("a", 64, 4_000.0),
        run("a", 1, 300.0),
        run("b", 16, 900.0),
        run("a", 16, 2_000.0),
    ];
    look(&in_flight(&runs, "").unwrap(), |drawn| {
        for words in [
            "a",
            "b",
            "1",
            "16",
            "64",
            "at most 4,000/s",
            "at most 900/s",
        ] {
            assert!(says(drawn, words), "{words} in {:#?}", texts(drawn));
        }
        // Of each point a white edge and itself.
        assert_eq!(
            drawn
                .descendants()
                .filter(|it| it.has_tag_name("circle"))
                .count(),
            8
        );
    });
}

#[test]
fn names_do_not_meet() {
    let runs: Vec<Run> = (0..8)
        .map(|it| run(&format!("run {it}"), 8, 1_000.0))
        .collect();
    look(&in_flight(&runs, "").unwrap(), |drawn| {
        let mut rows: Vec<f64> = texts(drawn)
            .iter()
            .filter(|it| it.text.starts_with("run "))
            .map(|it| it.y)
            .collect();
        rows.sort_by(f64::total_cmp);
        assert!(rows.windows(2).all(|it| it[1] - it[0] >= 30.0), "{rows:?}");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn everything_can_be_drawn(
        samples in prop::collection::vec((any::<f64>(), any::<u64>(), any::<u64>()), 0..20),
        runs in prop::collection::vec((any::<String>(), any::<u64>(), any::<f64>()), 0..10),
    ) {
        let samples: Vec<Sample> = samples
            .into_iter()
            .map(|(seconds, committed, aborted)| Sample { seconds, committed, aborted })
            .collect();
        look(&throughput(&samples, "").unwrap(), |_| ());
        let runs: Vec<Run> = runs.iter().map(|(name, flight, rate)| run(name, *flight, *rate)).collect();
        look(&in_flight(&runs, "").unwrap(), |_| ());
    }
}
