//! Where a node stands, computed when somebody asks.

use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntGauge, IntGaugeVec, Opts, Registry};

use super::{Figures, LogPlace, OwnFigures, PARTICIPANTS_SHOWN_MAX, entered, whole};
use crate::maintenance::NodeKind;

/// The gauges. Those of the machine have a registry of their own, so that they can
/// be left out as long as it cannot be asked; so has the one of the disk.
#[derive(Debug)]
pub(super) struct Standing {
    disk: Registry,
    free_bytes: IntGauge,
    machine: Registry,
    log_end: IntGauge,
    log_durable: IntGauge,
    in_doubt: IntGauge,
    in_doubt_oldest: Gauge,
    damage: IntGauge,
    own: Own,
}

#[derive(Debug)]
enum Own {
    Coordinator {
        running: IntGauge,
        remembered: IntGauge,
        sagas: IntGaugeVec,
        up: IntGaugeVec,
    },
    Participant {
        lock_waiters: IntGauge,
    },
}

impl Standing {
    pub(super) fn new(kind: NodeKind) -> Result<Self, prometheus::Error> {
        let (disk, machine) = (Registry::new(), Registry::new());
        let gauge = |name, help| entered(&machine, IntGauge::new(name, help)?);
        let in_doubt = match kind {
            NodeKind::Coordinator => "Transactions decided, and not acknowledged by everyone",
            NodeKind::Participant => "Attempts prepared here whose outcome is not known here yet",
        };
        let own = match kind {
            NodeKind::Coordinator => Own::Coordinator {
                running: gauge("nemcon_transactions_running", "Transactions without an end")?,
                remembered: gauge("nemcon_outcomes_remembered", "Outcomes that are remembered")?,
                sagas: {
                    let help = "Sagas that run or are remembered, by state";
                    let opts = Opts::new("nemcon_sagas", help);
                    entered(&machine, IntGaugeVec::new(opts, &["state"])?)?
                },
                up: {
                    let help =
                        "0 from when a participant was found unreachable until it answers, else 1";
                    let opts = Opts::new("nemcon_participant_up", help);
                    entered(&machine, IntGaugeVec::new(opts, &["participant"])?)?
                },
            },
            NodeKind::Participant => Own::Participant {
                lock_waiters: gauge("nemcon_lock_waiters", "Attempts that wait for a lock")?,
            },
        };
        let free = "Bytes that are free on the file system of the data directory";
        let oldest = "How long the longest of those in doubt has been so; 0 if none is";
        Ok(Self {
            free_bytes: entered(&disk, IntGauge::new("nemcon_disk_free_bytes", free)?)?,
            log_end: gauge("nemcon_wal_end_lsn", "The last record appended to the log")?,
            log_durable: gauge(
                "nemcon_wal_durable_lsn",
                "The last record of the log that is durable",
            )?,
            in_doubt: gauge("nemcon_in_doubt", in_doubt)?,
            in_doubt_oldest: entered(
                &machine,
                Gauge::new("nemcon_in_doubt_oldest_seconds", oldest)?,
            )?,
            damage: gauge(
                "nemcon_heuristic_damage",
                "Heuristic damage that nobody has acknowledged",
            )?,
            own,
            disk,
            machine,
        })
    }

    /// What is known now.
    pub(super) fn gather(
        &self,
        free: Option<u64>,
        now: Option<&(LogPlace, Figures)>,
    ) -> Vec<MetricFamily> {
        let mut families = Vec::new();
        if let Some(free) = free {
            self.free_bytes.set(whole(free));
            families.extend(self.disk.gather());
        }
        if let Some((log, figures)) = now {
            self.set(*log, figures);
            families.extend(self.machine.gather());
        }
        families
    }

    fn set(&self, log: LogPlace, figures: &Figures) {
        self.log_end.set(whole(log.end.0));
        self.log_durable.set(whole(log.durable.0));
        self.in_doubt.set(whole(figures.in_doubt));
        self.in_doubt_oldest
            .set(figures.in_doubt_oldest.0 as f64 / 1e3);
        self.damage.set(whole(figures.damage as u64));
        match (&self.own, &figures.own) {
            (
                Own::Coordinator {
                    running,
                    remembered,
                    sagas,
                    up,
                },
                OwnFigures::Coordinator {
                    running: now_running,
                    remembered: now_remembered,
                    sagas: now_sagas,
                    participants,
                },
            ) => {
                running.set(whole(*now_running as u64));
                remembered.set(whole(*now_remembered as u64));
                for (state, count) in now_sagas {
                    sagas.with_label_values(&[*state]).set(whole(*count as u64));
                }
                // Who was removed is shown no more.
                up.reset();
                for (name, reached) in participants.iter().take(PARTICIPANTS_SHOWN_MAX) {
                    up.with_label_values(&[name.as_str()])
                        .set((*reached).into());
                }
            }
            (Own::Participant { lock_waiters }, OwnFigures::Participant { lock_waiters: now }) => {
                lock_waiters.set(whole(*now as u64));
            }
            // A shell tells of its own kind.
            (Own::Coordinator { .. }, OwnFigures::Participant { .. })
            | (Own::Participant { .. }, OwnFigures::Coordinator { .. }) => {}
        }
    }
}
