//! What several of the tests use.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
#[cfg(feature = "sled")]
use std::time::Duration;

use nemcon_core::codec::CorruptLog;
use nemcon_core::id::Lsn;
use nemcon_core::machine::Stored;
use nemcon_wal::{LogEvent, Notify, Recovery};

/// Longer than any wait that ends well.
#[cfg(feature = "sled")]
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps what a log hands over at open.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) values: BTreeMap<Vec<u8>, (Lsn, Vec<u8>)>,
    pub(crate) records: Vec<(Lsn, Vec<u8>)>,
}

impl Recovery for Sink {
    fn stored(&mut self, stored: Stored) -> Result<(), CorruptLog> {
        assert!(self.records.is_empty(), "values come before records");
        let value = stored.value.expect("never a removal");
        assert!(
            self.values
                .insert(stored.key, (stored.lsn, value))
                .is_none()
        );
        Ok(())
    }

    fn record(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), CorruptLog> {
        if let Some((last, _)) = self.records.last() {
            assert_eq!(lsn, last.next(), "records come in order");
        }
        self.records.push((lsn, bytes.to_vec()));
        Ok(())
    }
}

/// A notifier and the end where its events come out.
pub(crate) fn events() -> (Notify, Receiver<LogEvent>) {
    let (sender, receiver) = channel();
    // A test that has seen enough drops its end.
    (Box::new(move |event| drop(sender.send(event))), receiver)
}

/// For who does not listen.
pub(crate) fn deaf() -> Notify {
    Box::new(drop)
}

/// Waits until the log says that `lsn` is durable.
#[cfg(feature = "sled")]
#[track_caller]
pub(crate) fn wait_durable(events: &Receiver<LogEvent>, lsn: Lsn) {
    loop {
        match events.recv_timeout(PATIENCE).expect("an event in time") {
            LogEvent::Durable(durable) if durable >= lsn => return,
            LogEvent::Failed(error) => panic!("the log failed: {error}"),
            _ => {}
        }
    }
}

/// A record of `len` bytes that can be told from all others.
pub(crate) fn record(lsn: u64, len: usize) -> Vec<u8> {
    lsn.to_be_bytes()
        .into_iter()
        .cycle()
        .take(len.max(8))
        .collect()
}

/// `count` such records from `first` on.
pub(crate) fn records(first: u64, count: u64, len: usize) -> Vec<(Lsn, Vec<u8>)> {
    (first..first + count)
        .map(|lsn| (Lsn(lsn), record(lsn, len)))
        .collect()
}

/// A value to write back.
pub(crate) fn value(key: &str, value: &[u8], lsn: u64) -> Stored {
    Stored {
        key: key.into(),
        value: Some(value.to_vec()),
        lsn: Lsn(lsn),
    }
}
