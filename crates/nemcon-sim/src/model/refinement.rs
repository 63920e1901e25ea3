//! Our protocol as textbook two-phase commit sees it.
//!
//! A participant is prepared, committed or aborted when its disk says so; what
//! is only in memory a crash may undo, and what it declines without a record it
//! may yet prepare. The coordinator is what it would tell whoever asks. A
//! promise has been made once it was on disk; it has been heard while the
//! coordinator counts it, and stays heard once that has decided.

use nemcon_core::message::{Outcome, Verdict};
use nemcon_core::participant::view::Standing;

use super::two_phase::{Decision, Manager, State};

/// A node's part in the transaction that is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Coordinator {
        verdict: Verdict,
        /// Whose yes it counts, a bit for each.
        heard: u8,
    },
    Participant {
        /// What is on disk.
        standing: Option<Standing>,
        /// It was prepared on disk, now or before.
        promised: bool,
    },
}

/// The textbook's states after a node has come to these parts, one after the
/// other. The last one is where it stands now.
pub(super) fn states(before: &State, at: Option<usize>, parts: &[Part]) -> Vec<State> {
    let mut states = Vec::new();
    let mut state = before.clone();
    for part in parts {
        match part {
            Part::Coordinator { verdict, heard } => match (state.decision, verdict.outcome()) {
                (Decision::Open, None) => state.heard = *heard,
                // Aborted since somebody has refused, which it cannot know.
                (Decision::Aborted, None) => {}
                (Decision::Committed, None) => state.decision = Decision::Open,
                (_, Some(Outcome::Committed)) => state.decision = Decision::Committed,
                (_, Some(Outcome::Aborted)) => state.decision = Decision::Aborted,
            },
            Part::Participant { standing, promised } => {
                let Some(at) = at else { continue };
                if *promised {
                    state.promised |= 1 << at;
                }
                state.managers[at] = match standing {
                    Some(Standing::Prepared) => Manager::Prepared,
                    Some(Standing::Ended(Outcome::Committed)) => Manager::Committed,
                    Some(Standing::Ended(Outcome::Aborted)) => Manager::Aborted,
                    _ => Manager::Working,
                };
            }
        }
        states.push(state.clone());
        // A participant that has refused for good has decided for all: nobody
        // can hear its promise any more.
        let refused =
            |at: usize| state.managers[at] == Manager::Aborted && state.promised & (1 << at) == 0;
        if state.decision == Decision::Open && at.is_some_and(refused) {
            state.decision = Decision::Aborted;
            states.push(state.clone());
        }
    }
    states
}
