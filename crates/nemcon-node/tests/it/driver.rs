//! The driver, over a log that does only what the test lets it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nemcon_core::id::{Lsn, RequestId};
use nemcon_core::machine::{Room, Stored};
use nemcon_node::driver::{Driver, LogFailed, Perform, Replayed};
use nemcon_node::inbox::Inbox;
use nemcon_node::log_news::LogNews;
use nemcon_wal::checkpoint::Due;
use nemcon_wal::{Log, LogError, LogEvent, Notify};
use tokio::sync::{mpsc, oneshot};

use crate::toy::{Effect, Event, Toy};

/// What the log was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Append(Vec<u64>),
    Flush,
    Begin,
    WriteBack(usize),
    Close,
    CatchUp,
    Stop,
}

/// A log that writes down what it is asked and does nothing by itself.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Vec<Asked>>>);

impl Script {
    fn note(&self, asked: Asked) {
        self.0.lock().unwrap().push(asked);
    }

    /// What was asked since the last look.
    fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Log for Script {
    fn append(&mut self, records: Vec<(Lsn, Vec<u8>)>) {
        self.note(Asked::Append(
            records.iter().map(|(lsn, _)| lsn.0).collect(),
        ));
    }

    fn flush(&mut self) {
        self.note(Asked::Flush);
    }

    fn begin_checkpoint(&mut self) {
        self.note(Asked::Begin);
    }

    fn write_back(&mut self, values: Vec<Stored>) {
        self.note(Asked::WriteBack(values.len()));
    }

    fn close_checkpoint(&mut self) {
        self.note(Asked::Close);
    }

    fn catch_up(&mut self) {
        self.note(Asked::CatchUp);
    }

    fn close(self: Box<Self>) -> Result<(), LogError> {
        self.note(Asked::Stop);
        Ok(())
    }
}

/// What has been said, in order.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<Effect>>>);

impl Said {
    fn take(&self) -> Vec<Effect> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Perform<Toy> for Said {
    fn perform(&mut self, effect: Effect, _: &mut Vec<Event>) {
        self.0.lock().unwrap().push(effect);
    }

    fn ended(&mut self) {}
}

/// A driver that runs, and everything around it.
struct Bench {
    inbox: Inbox<Event>,
    script: Script,
    said: Said,
    log: Notify,
    stop: oneshot::Sender<()>,
    driver: tokio::task::JoinHandle<Result<(), LogFailed>>,
}

impl Bench {
    /// Started, with its first record durable.
    async fn started(toy: Toy, due: Due) -> Self {
        let (inbox, mut events): (_, mpsc::Receiver<Event>) = Inbox::new(64);
        let (script, said, news) = (Script::default(), Said::default(), LogNews::default());
        let replayed = Replayed {
            next_lsn: Lsn(1),
            records: 0,
            bytes: 0,
        };
        let log = Box::new(script.clone());
        let mut driver = Driver::new(toy, log, news.clone(), said.clone(), due, replayed);
        let (stop, stopped) = oneshot::channel();
        let driver = tokio::spawn(async move {
            driver.start().await?;
            driver.run(&mut events, stopped).await?.unwrap();
            driver.finish().await?.close().map_err(LogFailed::from)
        });
        let mut bench = Self {
            inbox,
            script,
            said,
            log: news.notify(),
            stop,
            driver,
        };
        bench.settle().await;
        assert_eq!(bench.script.take(), [Asked::Append(vec![1]), Asked::Flush]);
        bench.durable(1).await;
        bench
    }

    /// Lets everything happen that can happen now.
    async fn settle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    async fn send(&self, event: Event) {
        self.inbox.offer(event).unwrap();
        self.settle().await;
    }

    async fn durable(&mut self, lsn: u64) {
        (self.log)(LogEvent::Durable(Lsn(lsn)));
        self.settle().await;
    }
}

const fn say(request: u64, count: u64) -> Effect {
    Effect::Say(RequestId(request), count)
}

#[tokio::test(flavor = "current_thread")]
async fn nothing_is_promised_before_it_is_durable() {
    let mut bench = Bench::started(Toy::default(), Due::default()).await;
    bench.send(Event::Add(RequestId(1))).await;
    assert_eq!(bench.script.take(), [Asked::Append(vec![2]), Asked::Flush]);
    assert_eq!(bench.said.take(), []);

    // It goes on stepping while the flush is under way; a look promises nothing.
    bench.send(Event::Peek(RequestId(2))).await;
    assert_eq!(bench.said.take(), [say(2, 1)]);
    bench.send(Event::Add(RequestId(3))).await;
    assert_eq!(bench.script.take(), [Asked::Append(vec![3]), Asked::Flush]);
    bench.durable(2).await;
    assert_eq!(bench.said.take(), [say(1, 1)]);
    bench.durable(3).await;
    assert_eq!(bench.said.take(), [say(3, 2)]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_batch_of_requests_costs_one_append_and_one_flush() {
    let mut bench = Bench::started(Toy::default(), Due::default()).await;
    for request in 1..=3 {
        bench.inbox.offer(Event::Add(RequestId(request))).unwrap();
    }
    bench.settle().await;
    assert_eq!(
        bench.script.take(),
        [Asked::Append(vec![2, 3, 4]), Asked::Flush]
    );
    bench.durable(4).await;
    assert_eq!(bench.said.take(), [say(1, 1), say(2, 2), say(3, 3)]);
}

#[tokio::test(flavor = "current_thread")]
async fn who_can_wait_asks_for_no_flush_of_its_own_but_gets_one_in_time() {
    let mut bench = Bench::started(Toy::default(), Due::default()).await;
    bench.send(Event::AddLazily(RequestId(1))).await;
    assert_eq!(bench.script.take(), [Asked::Append(vec![2])]);
    let script = bench.script.clone();
    let flushed = async move {
        while script.take() != [Asked::Flush] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), flushed)
        .await
        .unwrap();
    bench.durable(2).await;
    assert_eq!(bench.said.take(), [say(1, 1)]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_deadline_wakes_the_machine() {
    let bench = Bench::started(Toy::default(), Due::default()).await;
    bench.send(Event::Arm).await;
    let said = bench.said.clone();
    let woken = async move {
        while said.take() != [Effect::Woken] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), woken)
        .await
        .unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn the_machine_is_told_how_much_room_there_is() {
    let mut bench = Bench::started(Toy::default(), Due::default()).await;
    let short = Room::Short { free: 1, wanted: 2 };
    for room in [short, Room::Enough] {
        (bench.log)(LogEvent::Room(room));
        bench.settle().await;
        assert_eq!(bench.said.take(), [Effect::Room(room)]);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn after_a_failed_flush_not_another_word() {
    let mut bench = Bench::started(Toy::default(), Due::default()).await;
    bench.send(Event::Add(RequestId(1))).await;
    bench.inbox.offer(Event::Peek(RequestId(2))).unwrap();
    // Even though the flush that counts has come through before.
    (bench.log)(LogEvent::Durable(Lsn(2)));
    (bench.log)(LogEvent::Failed(LogError::NoCheckpoint));
    let failed = bench.driver.await.unwrap();
    assert!(failed.is_err());
    let said = bench.said.take();
    assert!(!said.contains(&say(1, 1)), "{said:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_stop_flushes_answers_and_closes() {
    let mut bench = Bench::started(Toy::default(), Due::default()).await;
    bench.send(Event::AddLazily(RequestId(1))).await;
    bench.stop.send(()).unwrap();
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.script.take(), [Asked::Append(vec![2]), Asked::Flush]);
    (bench.log)(LogEvent::Durable(Lsn(2)));
    bench.driver.await.unwrap().unwrap();
    assert_eq!(bench.said.take(), [say(1, 1)]);
    assert_eq!(bench.script.take(), [Asked::Stop]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_checkpoint_is_made_in_pieces_and_in_order() {
    let due = Due {
        records: 3,
        bytes: u64::MAX,
    };
    let toy = Toy::with_live_records(300);
    let mut bench = Bench::started(toy, due).await;
    bench.send(Event::Add(RequestId(1))).await;
    bench.script.take();
    bench.send(Event::Add(RequestId(2))).await;

    // Each piece waits until the log has taken in the one before.
    let asked = [Asked::Append(vec![3]), Asked::Flush, Asked::Begin];
    let pieces = [
        vec![Asked::Append((4..260).collect())],
        vec![Asked::Append((260..304).collect())],
        vec![Asked::WriteBack(1)],
    ];
    let mut order = Vec::from(asked);
    for piece in pieces {
        order.extend(piece);
        order.push(Asked::CatchUp);
        assert_eq!(bench.script.take(), order);
        order.clear();
        (bench.log)(LogEvent::CaughtUp);
        bench.settle().await;
    }
    assert_eq!(bench.script.take(), [Asked::Close]);

    // One at a time: the next waits for the end of this one, and for as many new
    // records as this one repeated.
    for request in 3..=310 {
        bench.inbox.offer(Event::Add(RequestId(request))).unwrap();
        bench.settle().await;
    }
    assert!(!bench.script.take().contains(&Asked::Begin));
    (bench.log)(LogEvent::CheckpointClosed {
        first_page: 2,
        removed_pages: 1,
    });
    bench.settle().await;
    assert!(bench.script.take().contains(&Asked::Begin));
}
