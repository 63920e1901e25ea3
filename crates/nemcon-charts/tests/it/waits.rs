use nemcon_charts::{NODES_MAX, Picture, Wait, Waits, waits};
use proptest::prelude::*;

use crate::drawing::{VERMILION, count, inked, look, says, texts};

fn wait(waiter: &str, held_by: &[&str], behind: &[&str]) -> Wait {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    Wait {
        waiter: waiter.into(),
        waited_ms: 1_500,
        participant: "bank-a".into(),
        key: "account/alice".into(),
        held_by: owned(held_by),
        behind: owned(behind),
    }
}

fn drawn(waits: Vec<Wait>) -> Picture {
    self::waits(&Waits {
        waits,
        silent: Vec::new(),
        about: String::new(),
    })
    .unwrap()
}

#[test]
fn boxes_arrows_and_words() {
    let picture = drawn(vec![
        wait("01936b2f-9d7e-7c31-8000-0000000000b1", &["holder"], &[]),
        wait(
            "second",
            &["holder"],
            &["01936b2f-9d7e-7c31-8000-0000000000b1"],
        ),
    ]);
    look(&picture, |drawn| {
        for words in [
            "Who waits for whom",
            "holder",
            "waits for nobody",
            "…0000000000b1",
            "account/alice",
            "bank-a, 1.50 s",
            "waits for the holder",
            "waits behind in the queue",
        ] {
            assert!(says(drawn, words), "{words} in {:#?}", texts(drawn));
        }
        assert_eq!(count(drawn, "polyline", "stroke", VERMILION), 0);
        let x = |words: &str| texts(drawn).iter().find(|it| it.text == words).unwrap().x;
        assert!(x("second") < x("…0000000000b1") && x("…0000000000b1") < x("holder"));
    });
    assert!(picture.svg().contains("second waits for 01936b2f"));
    assert!(inked(&picture) > 0.005);
}

#[test]
fn a_circle_has_its_colour_and_a_title() {
    let picture = drawn(vec![
        wait("a", &["b"], &[]),
        wait("b", &["a"], &[]),
        wait("c", &["a"], &[]),
    ]);
    look(&picture, |drawn| {
        assert!(says(
            drawn,
            "Who waits for whom: a circle, a deadlock if it stays"
        ));
        assert!(says(drawn, "part of a circle"));
        // Two boxes, two arrows, one line of the legend.
        assert_eq!(count(drawn, "polyline", "stroke", VERMILION), 5);
    });
}

#[test]
fn nobody_and_no_answer_are_said() {
    look(&drawn(vec![]), |drawn| assert!(says(drawn, "Nobody waits")));
    let silent = Waits {
        silent: vec!["bank-b".into()],
        ..Waits::default()
    };
    look(&waits(&silent).unwrap(), |drawn| {
        assert!(says(
            drawn,
            "no answer from bank-b: waits there are missing"
        ));
    });
}

#[test]
fn boxes_do_not_meet() {
    let star: Vec<Wait> = (0..40)
        .map(|it| wait(&format!("w{it:02}"), &["holder"], &[]))
        .collect();
    let ring: Vec<Wait> = (0..14)
        .map(|it| {
            wait(
                &format!("w{it:02}"),
                &[&format!("w{:02}", (it + 1) % 14)],
                &[],
            )
        })
        .collect();
    for waits in [star, ring] {
        look(&drawn(waits), |drawn| {
            let names: Vec<_> = texts(drawn)
                .into_iter()
                .filter(|it| it.text.starts_with('w') && it.text.len() == 3 || it.text == "holder")
                .collect();
            assert_eq!(names.len(), NODES_MAX);
            for (place, one) in names.iter().enumerate() {
                for two in &names[..place] {
                    let apart = (one.x - two.x).abs() > 75.0 || (one.y - two.y).abs() > 30.0;
                    assert!(apart, "{one:?} and {two:?}");
                }
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is said of whoever, by whatever names.
    #[test]
    fn everything_can_be_drawn(
        all in prop::collection::vec((0_u8..12, prop::collection::vec(0_u8..12, 0..4), any::<bool>(), any::<String>()), 0..30),
    ) {
        let waits = all.into_iter().map(|(waiter, others, held, key)| {
            let names: Vec<String> = others.iter().map(|it| format!("\u{1}<{it}>")).collect();
            let (held_by, behind) = if held { (names, vec![]) } else { (vec![], names) };
            Wait { waiter: format!("\u{1}<{waiter}>"), waited_ms: u64::MAX, participant: key.clone(), key, held_by, behind }
        });
        look(&drawn(waits.collect()), |_| ());
    }
}
