//! Draws every picture with made-up data, as PNG, into a directory: to look at.
//!
//!     cargo run -p nemcon-charts --example gallery -- DIRECTORY

use std::path::Path;

use nemcon_charts::{
    Latency, Picture, Run, Sample, Wait, Waits, in_flight, latency, throughput, waits,
};

/// Numbers that look like chance and are the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About a bell, of middle 0 and width 1.
    fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("name a directory")?;
    for (name, picture) in pictures()? {
        std::fs::write(
            Path::new(&directory).join(format!("{name}.png")),
            picture.png(1)?,
        )?;
        std::fs::write(
            Path::new(&directory).join(format!("{name}.svg")),
            picture.svg(),
        )?;
    }
    Ok(())
}

fn pictures() -> Result<Vec<(&'static str, Picture)>, nemcon_charts::DrawError> {
    let mut chance = Chance(7);
    let mut times = |middle: f64, wide: f64| -> Vec<f64> {
        (0..1000)
            .map(|_| middle * (wide * chance.bell()).exp())
            .collect()
    };
    let about = || "the last 1,000 transactions of a made-up coordinator".to_owned();
    let latencies = |prepare_ms, commit_ms| {
        latency(&Latency {
            prepare_ms,
            commit_ms,
            about: about(),
        })
    };
    let rate = |it: u32| f64::from(it) * 0.9 + 300.0 * (f64::from(it) / 9.0).sin().abs();
    let mut total = (0.0, 0.0);
    let samples: Vec<Sample> = (0..=60)
        .map(|it| {
            total.0 += 900.0 + rate(it);
            total.1 += if it == 33 { 400.0 } else { 12.0 };
            Sample {
                seconds: f64::from(it),
                committed: total.0 as u64,
                aborted: total.1 as u64,
            }
        })
        .collect();
    let runs = |name: &str, top: f64| -> Vec<Run> {
        let run = |power: u32| {
            let in_flight = 1 << power;
            let per_second = top * (1.0 - (-(in_flight as f64) / 24.0).exp());
            Run {
                name: name.into(),
                in_flight,
                per_second,
            }
        };
        (0..8).map(run).collect()
    };
    let graph = |waits: Vec<Wait>| {
        self::waits(&Waits {
            waits,
            about: "http://127.0.0.1:7100".into(),
            silent: vec![],
        })
    };
    Ok(vec![
        ("latency", latencies(times(1.8, 0.25), times(0.9, 0.3))?),
        (
            "latency-decades",
            latencies(times(2.0, 1.2), times(0.2, 0.9))?,
        ),
        ("latency-one", latencies(vec![3.2], vec![])?),
        (
            "latency-huge",
            latencies(vec![1.0, 1e9, 1e300, -4.0], vec![0.0; 5])?,
        ),
        (
            "throughput",
            throughput(
                &samples,
                "a coordinator and three banks, 16 transactions in flight",
            )?,
        ),
        ("throughput-short", throughput(&samples[..3], "")?),
        ("throughput-none", throughput(&[], "nothing was sampled")?),
        (
            "in-flight",
            in_flight(&runs("nemcon", 6000.0), "a coordinator and five banks")?,
        ),
        (
            "in-flight-two",
            in_flight(
                &[
                    runs("nemcon", 6000.0),
                    runs("another", 2500.0),
                    runs("a third one with a long name", 2400.0),
                ]
                .concat(),
                "",
            )?,
        ),
        ("waits", graph(mixed())?),
        (
            "waits-pair",
            graph(vec![wait(1, &[2], &[]), wait(2, &[1], &[])])?,
        ),
        (
            "waits-star",
            graph((1..20).map(|it| wait(it, &[0], &[])).collect())?,
        ),
        (
            "waits-queue",
            graph(
                (1..20)
                    .map(|it| wait(it, &[0], &(1..it).collect::<Vec<u64>>()))
                    .collect(),
            )?,
        ),
        (
            "waits-ring",
            graph((0..9).map(|it| wait(it, &[(it + 1) % 9], &[])).collect())?,
        ),
        ("waits-none", graph(vec![])?),
    ])
}

fn wait(waiter: u64, held_by: &[u64], behind: &[u64]) -> Wait {
    let id = |number: &u64| {
        format!(
            "01936b2f-9d7e-7c31-8000-{:012x}",
            number * 7_919 + 3_000_000_000
        )
    };
    Wait {
        waiter: id(&waiter),
        waited_ms: 40 + waiter * 173,
        participant: "bank-a".into(),
        key: format!(
            "account/{}",
            ["alice", "bob", "carol-of-the-long-name"][waiter as usize % 3]
        ),
        held_by: held_by.iter().map(id).collect(),
        behind: behind.iter().map(id).collect(),
    }
}

fn mixed() -> Vec<Wait> {
    vec![
        wait(1, &[2], &[]),
        wait(2, &[3], &[]),
        wait(3, &[1], &[]),
        wait(4, &[1], &[]),
        wait(5, &[3], &[4]),
        wait(6, &[7], &[]),
        wait(8, &[7], &[6]),
        wait(9, &[10], &[]),
        wait(11, &[10, 7], &[]),
    ]
}
