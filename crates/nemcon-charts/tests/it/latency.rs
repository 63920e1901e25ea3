use nemcon_charts::{DrawError, Latency, latency};
use proptest::prelude::*;

use crate::drawing::{self, BLUE, count, inked, look, says, texts};

fn of(prepare_ms: &[f64], commit_ms: &[f64]) -> nemcon_charts::Picture {
    latency(&Latency {
        prepare_ms: prepare_ms.to_vec(),
        commit_ms: commit_ms.to_vec(),
        about: "a <test> & its \"marks\"".into(),
    })
    .unwrap()
}

#[test]
fn two_panels_have_their_bars_and_percentiles() {
    let prepare: Vec<f64> = (1..=1000).map(|it| 1.0 + f64::from(it) / 250.0).collect();
    let commit: Vec<f64> = prepare.iter().map(|it| it / 10.0).collect();
    let picture = of(&prepare, &commit);
    look(&picture, |drawn| {
        for words in [
            "Latency by phase",
            "a <test> & its \"marks\"",
            "Prepare phase",
            "Commit phase",
            "1,000 transactions",
            "p50",
            "p95",
            "p99",
            "3 ms",
            "4.80 ms",
            "4.96 ms",
            "300 µs",
            "480 µs",
            "496 µs",
            "2 ms",
            "time",
            "transactions",
        ] {
            assert!(says(drawn, words), "{words} in {:#?}", texts(drawn));
        }
        assert_eq!(count(drawn, "rect", "fill", BLUE), 2 * nemcon_charts::BINS);
    });
    assert!(
        picture
            .svg()
            .contains("<desc>Prepare phase, 1,000 transactions: p50 3 ms, p95 4.80 ms")
    );
    let inked = inked(&picture);
    assert!((0.05..0.6).contains(&inked), "{inked}");
}

#[test]
fn letters_are_drawn_without_fonts_of_the_system() {
    let title_only = of(&[], &[]);
    assert!(inked(&title_only) > 0.002);
}

#[test]
fn decades_are_drawn_on_a_scale_of_powers_and_say_so() {
    look(&of(&[0.1, 1.0, 10.0, 900.0], &[1.0, 2.0]), |drawn| {
        assert!(says(drawn, "time, logarithmic scale"));
        assert!(says(drawn, "100 ms"));
        assert!(says(drawn, "time"), "the other panel has an even scale");
    });
}

#[test]
fn a_phase_without_transactions_says_so() {
    look(&of(&[2.0], &[]), |drawn| {
        assert!(says(drawn, "No transaction went through this phase"));
        assert!(says(drawn, "1 transaction"));
        assert_eq!(count(drawn, "rect", "fill", BLUE), 1);
    });
    look(&of(&[f64::NAN, -3.0], &[]), |drawn| {
        assert!(says(drawn, "0 transactions; 2 values were no times"));
    });
}

#[test]
fn names_of_percentiles_do_not_meet() {
    for values in [
        vec![3.0],
        vec![1.0, 900.0],
        (0..200).map(|it| 5.0 + f64::from(it)).collect(),
    ] {
        look(&of(&values, &[]), |drawn| {
            let mut rows: Vec<f64> = texts(drawn)
                .iter()
                .filter(|it| ["p50", "p95", "p99"].contains(&it.text.as_str()))
                .map(|it| it.y)
                .collect();
            rows.sort_by(f64::total_cmp);
            assert_eq!(rows.len(), 3);
            assert!(rows.windows(2).all(|it| it[1] - it[0] >= 15.0), "{rows:?}");
        });
    }
}

#[test]
fn other_scales_are_refused_by_their_number() {
    let picture = of(&[1.0], &[1.0]);
    for scale in [0, 5] {
        let error = picture.png(scale).unwrap_err();
        assert!(matches!(error, DrawError::Scale(it) if it == scale));
        assert_eq!(
            error.to_string(),
            format!("scale {scale} is not between 1 and 4")
        );
    }
    let large = resvg::tiny_skia::Pixmap::decode_png(&picture.png(2).unwrap()).unwrap();
    assert_eq!((large.width(), large.height()), (2400, 1200));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the values and words: there is a picture, it is XML, and all of its
    /// words are on the paper.
    #[test]
    fn everything_can_be_drawn(
        prepare_ms in prop::collection::vec(any::<f64>(), 0..50),
        commit_ms in prop::collection::vec(0.0..1e9, 0..50),
        about in any::<String>(),
    ) {
        let picture = latency(&Latency { prepare_ms, commit_ms, about }).unwrap();
        prop_assert!(drawing::look(&picture, |drawn| says(drawn, "Prepare phase")));
    }
}
