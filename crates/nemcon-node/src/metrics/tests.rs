use nemcon_core::coordinator::statistics::Sample;

use super::*;

fn metrics(kind: NodeKind) -> Metrics {
    let settings = Settings::new("127.0.0.1:0".parse().unwrap(), std::env::temp_dir());
    Metrics::new(kind, "a node", &settings).unwrap()
}

fn sample(reason: Option<Reason>) -> Observation {
    let aborted = reason.is_some();
    Observation::TransactionEnded(Sample {
        outcome: if aborted {
            Outcome::Aborted
        } else {
            Outcome::Committed
        },
        reason,
        prepare: Some(Elapsed(240)),
        commit: (!aborted).then_some(Elapsed(600)),
        decision: Some(Elapsed(400)),
        total: Some(Elapsed(900)),
        at: Millis(0),
    })
}

fn standing(participants: Vec<(ParticipantName, bool)>) -> (LogPlace, Figures) {
    let log = LogPlace {
        end: Lsn(12),
        durable: Lsn(11),
    };
    let figures = Figures {
        in_doubt: 2,
        in_doubt_oldest: Span(1_500),
        damage: 1,
        own: OwnFigures::Coordinator {
            running: 3,
            remembered: 40,
            sagas: vec![("running", 0), ("stuck", 2)],
            participants,
        },
    };
    (log, figures)
}

fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| {
        line.strip_prefix(series)
            .is_some_and(|it| it.starts_with(' '))
    });
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn what_was_observed_is_what_is_shown() {
    let metrics = metrics(NodeKind::Coordinator);
    metrics.observed(&sample(None));
    metrics.observed(&sample(None));
    metrics.observed(&sample(Some(Reason::DEADLOCK)));
    metrics.observed(&Observation::DeadlockBroken);
    metrics.flushed(3, Duration::from_micros(70));
    let bank = "bank-a".parse().unwrap();
    let text = metrics.text(true, Some(&standing(vec![(bank, false)])));
    let text = text.unwrap();
    for (series, expected) in [
        (
            r#"nemcon_transactions_total{outcome="committed",reason="none"}"#,
            2.0,
        ),
        (
            r#"nemcon_transactions_total{outcome="aborted",reason="DEADLOCK"}"#,
            1.0,
        ),
        (
            r#"nemcon_transactions_total{outcome="aborted",reason="other"}"#,
            0.0,
        ),
        (r#"nemcon_prepare_seconds_bucket{le="0.0001"}"#, 0.0),
        (r#"nemcon_prepare_seconds_bucket{le="0.00025"}"#, 3.0),
        ("nemcon_commit_seconds_count", 2.0),
        ("nemcon_transaction_seconds_sum", 0.0012),
        ("nemcon_deadlocks_total", 1.0),
        (r#"nemcon_wal_flush_seconds_bucket{le="0.0001"}"#, 1.0),
        (r#"nemcon_wal_batch_records_bucket{le="4"}"#, 1.0),
        (r#"nemcon_wal_batch_records_bucket{le="2"}"#, 0.0),
        (r#"nemcon_sagas{state="stuck"}"#, 2.0),
        (r#"nemcon_participant_up{participant="bank-a"}"#, 0.0),
        ("nemcon_in_doubt", 2.0),
        ("nemcon_in_doubt_oldest_seconds", 1.5),
        ("nemcon_heuristic_damage", 1.0),
        ("nemcon_transactions_running", 3.0),
        ("nemcon_wal_end_lsn", 12.0),
        ("nemcon_wal_durable_lsn", 11.0),
        ("nemcon_ready", 1.0),
    ] {
        assert!(
            (value(&text, series) - expected).abs() < 1e-9,
            "{series}\n{text}"
        );
    }
    assert!(value(&text, "nemcon_disk_free_bytes") > 0.0);
}

#[test]
fn what_only_the_machine_knows_is_not_claimed_without_it() {
    let text = metrics(NodeKind::Participant).text(false, None).unwrap();
    assert!(!text.contains("nemcon_in_doubt"), "{text}");
    assert!(text.contains("nemcon_ready 0"), "{text}");
    assert!(text.contains("nemcon_lock_wait_seconds_count 0"), "{text}");
}

#[test]
fn however_many_transactions_with_whatever_reasons_labels_have_an_end() {
    let metrics = metrics(NodeKind::Coordinator);
    let aborted = 100_000;
    for number in 0..aborted {
        // What a participant may say, and what must not get through.
        let word = match number % 4 {
            0 => format!("REASON_{number}"),
            1 => format!("\"}} 1\n# TYPE x counter\nx{{a=\"{number}"),
            2 => Reason::ALL[number % Reason::ALL.len()].to_string(),
            _ => "none".to_owned(),
        };
        metrics.observed(&sample(Some(Reason::from_wire(&word))));
    }
    let many = (0..5_000).map(|n| (format!("bank-{n}").parse().unwrap(), true));
    let text = metrics.text(true, Some(&standing(many.collect()))).unwrap();
    let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    let words = Reason::ALL.len() + 2;
    assert!(series("nemcon_transactions_total{") <= words, "{text}");
    assert_eq!(series("nemcon_participant_up{"), PARTICIPANTS_SHOWN_MAX);
    let counts = text
        .lines()
        .filter(|line| line.starts_with(r#"nemcon_transactions_total{outcome="aborted""#))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap());
    assert_eq!(counts.sum::<usize>(), aborted, "none is lost");
    let other = r#"nemcon_transactions_total{outcome="aborted",reason="other"}"#;
    assert!((value(&text, other) - 25_000.0).abs() < 0.5, "{text}");
    // Who has left is shown no more.
    let text = metrics.text(true, Some(&standing(Vec::new()))).unwrap();
    assert!(!text.contains("bank-"), "{text}");
}
