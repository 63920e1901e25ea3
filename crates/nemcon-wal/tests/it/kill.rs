//! kill -9: the process is gone, the operating system is not.

use nemcon_core::id::Lsn;
use nemcon_wal::{Durability, Options, SledLog};

use crate::support::{Sink, deaf};
use crate::writer_process::{Writer, check};

#[test]
fn a_killed_process_finds_all_that_was_acknowledged() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, notes) = (temp.path().join("log"), temp.path().join("notes"));
    let mut acknowledged = 0;
    for round in 0..6 {
        let mut writer = Writer::start(&dir, &notes, Durability::Synced);
        writer.wait_acknowledged(acknowledged + 100 + round * 37);
        writer.kill();
        acknowledged = writer.acknowledged();

        let mut sink = Sink::default();
        let opened =
            SledLog::open(&dir, Options::default(), &mut sink, deaf()).map(|(_, opened)| opened);
        let opened = opened.unwrap();
        assert!(!opened.clean);
        assert!(
            opened.next_lsn > Lsn(acknowledged),
            "{opened:?} after {acknowledged}"
        );
        check(&sink, opened.next_lsn.0 - 1).unwrap();
    }
}
