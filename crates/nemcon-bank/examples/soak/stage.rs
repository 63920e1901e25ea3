//! A node without a network: the driver over the log, as a node builds it.

use std::path::Path;
use std::sync::Arc;

use nemcon_core::codec::{Codec, CorruptLog};
use nemcon_core::id::Lsn;
use nemcon_core::machine::{Machine, Stored};
use nemcon_node::driver::{Driver, Perform, Replayed};
use nemcon_node::log_news::LogNews;
use nemcon_wal::checkpoint::Due;
use nemcon_wal::{Options, Recovery, SledLog};
use tokio::sync::{Notify, mpsc};

use super::Failure;

/// Opens the log in `dir` and replays it into `machine`.
pub(crate) fn open<M, P>(dir: &Path, machine: M, player: P) -> Result<Driver<M, P>, Failure>
where
    M: Machine,
    P: Perform<M>,
{
    let news = LogNews::default();
    let mut replay = Replay {
        machine,
        records: 0,
        bytes: 0,
    };
    let (log, opened) = SledLog::open(dir, Options::default(), &mut replay, news.notify())?;
    let replayed = Replayed {
        next_lsn: opened.next_lsn,
        records: replay.records,
        bytes: replay.bytes,
    };
    let due = Due::default();
    Ok(Driver::new(
        replay.machine,
        Box::new(log),
        news,
        player,
        due,
        replayed,
    ))
}

struct Replay<M> {
    machine: M,
    records: u64,
    bytes: u64,
}

impl<M: Machine> Recovery for Replay<M> {
    fn stored(&mut self, stored: Stored) -> Result<(), CorruptLog> {
        self.machine.load(stored)
    }

    fn record(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), CorruptLog> {
        self.records += 1;
        self.bytes += bytes.len() as u64;
        self.machine.replay(lsn, M::Record::from_bytes(bytes)?)
    }
}

/// Starts, hands over `first`, plays until `over`, and stops cleanly.
pub(crate) async fn play<M, P>(
    mut driver: Driver<M, P>,
    first: Vec<M::Event>,
    over: Arc<Notify>,
) -> Result<(), Failure>
where
    M: Machine,
    P: Perform<M>,
{
    driver.start().await?;
    let (inbox, mut events) = mpsc::channel(first.len().max(1));
    for event in first {
        inbox
            .try_send(event)
            .map_err(|_| "the inbox is too small")?;
    }
    driver.run(&mut events, over.notified()).await?;
    driver.finish().await?.close()?;
    Ok(())
}

/// Chance that is the same each time: splitmix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit.max(1)
    }
}
