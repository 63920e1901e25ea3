//! How much of the processor others and we have used, and what memory others take.

use std::fs;

/// Processor time since processes began, in seconds, of the user and of the
/// system for it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// Of the measuring process itself, which is the client.
    pub client_seconds: f64,
    /// Of all processes that are measured.
    pub nodes_seconds: f64,
}

impl Cpu {
    /// What was used since an earlier look.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            client_seconds: self.client_seconds - earlier.client_seconds,
            nodes_seconds: self.nodes_seconds - earlier.nodes_seconds,
        }
    }
}

/// Looks at the processor time of these processes and of our own, and at their memory.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    nodes: Vec<u32>,
}

impl Meter {
    /// Of these processes, by their ids; of none where they run elsewhere.
    #[must_use]
    pub fn new(nodes: Vec<u32>) -> Self {
        Self { nodes }
    }

    /// Looks; `None` where there are none, or the system does not say.
    #[must_use]
    pub fn look(&self) -> Option<Cpu> {
        if self.nodes.is_empty() {
            return None;
        }
        let nodes: Option<Vec<f64>> = self.nodes.iter().map(|id| used(*id)).collect();
        Some(Cpu {
            client_seconds: used(std::process::id())?,
            nodes_seconds: nodes?.iter().sum(),
        })
    }
}

impl Meter {
    /// The memory of all these processes in bytes, as far as it is resident; `None`
    /// where there are none, or the system does not say.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<u64> {
        if self.nodes.is_empty() {
            return None;
        }
        self.nodes.iter().map(|id| resident_bytes(*id)).sum()
    }
}

/// What a process has of its memory in the machine's.
fn resident_bytes(process: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// What a process has used, in steps of a hundredth of a second.
fn used(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let ticks = ticks(&stat)?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// `PID (NAME) STATE …`: the name may hold anything but the last bracket, and the
/// 14th and 15th field are the ticks of the user and of the system.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 90 0 0 0 250 50 0 0 20 0 3 0 5 6 7";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (a) S 1"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn our_own_time_grows_and_nobody_has_none() {
        assert_eq!(Meter::default().look(), None);
        assert_eq!(Meter::default().memory_bytes(), None);
        let meter = Meter::new(vec![std::process::id()]);
        if cfg!(target_os = "linux") {
            assert!(meter.memory_bytes().unwrap() > 1 << 20);
        }
        if let Some(before) = meter.look() {
            let used = meter.look().unwrap().since(before);
            assert!(used.nodes_seconds >= 0.0 && used.client_seconds >= 0.0);
        }
    }
}
