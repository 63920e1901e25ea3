//! What is shown of the cuts: a line for each, and a table of all.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

use super::book::Count;
use super::clear::Clear;
use super::cut::Kind;
use super::deaths::Death;
use super::plan::Round;

/// What happened while a cut was held.
pub(super) struct Meanwhile {
    /// Transfers without outcome at the moment of healing.
    pub(super) open: usize,
    /// Who has died of it.
    pub(super) deaths: Vec<Death>,
    pub(super) before: Count,
    pub(super) after: Count,
}

/// The rounds so far.
pub(super) struct Tally {
    began: Instant,
    cuts: usize,
    made: usize,
    /// How long it took until all was clear after cuts of this kind; a round of
    /// two kinds counts for both.
    clear: BTreeMap<Kind, Vec<Duration>>,
    total: Count,
}

impl Tally {
    pub(super) fn new(cuts: usize) -> Self {
        Self {
            began: Instant::now(),
            cuts,
            made: 0,
            clear: BTreeMap::new(),
            total: Count::default(),
        }
    }

    /// Shows a round that begins.
    pub(super) fn begin(&mut self, round: &Round) {
        self.made += round.cuts.len();
        let who: Vec<String> = round.cuts.iter().map(ToString::to_string).collect();
        print!(
            "cut {}/{}: {}, held {:.1} s",
            self.made,
            self.cuts,
            who.join(" + "),
            round.held.as_secs_f64(),
        );
        // If the test fails now, it is to be seen in what.
        let _ = std::io::stdout().flush();
    }

    /// Notes how a round ended, and shows it.
    pub(super) fn end(&mut self, round: &Round, clear: Clear, meanwhile: &Meanwhile) {
        let Meanwhile {
            open,
            deaths,
            before,
            after,
        } = meanwhile;
        for cut in &round.cuts {
            self.clear.entry(cut.kind).or_default().push(clear.after);
        }
        self.total = *after;
        println!(
            ", {open} without outcome, clear after {clear}, {} committed, {} aborted{}",
            after.committed - before.committed,
            after.aborted - before.aborted,
            deaths
                .iter()
                .map(|death| format!(", {death}"))
                .collect::<String>(),
        );
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kind        cuts  clear after: median  longest")?;
        for (kind, times) in &self.clear {
            let mut times = times.clone();
            times.sort_unstable();
            let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
            writeln!(
                f,
                "{:<10}  {:>4}  {:>18.2} s  {:>5.2} s",
                format!("{kind:?}"),
                times.len(),
                median.as_secs_f64(),
                longest.as_secs_f64(),
            )?;
        }
        write!(
            f,
            "{} cuts in {} s, {} transfers committed, {} aborted",
            self.made,
            self.began.elapsed().as_secs(),
            self.total.committed,
            self.total.aborted,
        )
    }
}
