//! What happens to a node that remembers: anything in any order, and each crash of a
//! checkpoint.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    /// Payments with times about now.
    Pay {
        count: usize,
        spread: u64,
    },
    Acknowledge(prop::sample::Index),
    Work {
        calls: usize,
    },
    Checkpoint {
        max: usize,
    },
    Again(prop::sample::Index),
    Wait(u64),
    Crash {
        pages: prop::sample::Index,
        values: prop::sample::Index,
        mark_kept: bool,
    },
    Stop,
}

fn act() -> impl Strategy<Value = Act> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (1..90_usize, prop_oneof![Just(0), 1..5_000_u64])
            .prop_map(|(count, spread)| Act::Pay { count, spread }),
        6 => index().prop_map(Act::Acknowledge),
        10 => (1..9_usize).prop_map(|calls| Act::Work { calls }),
        16 => (1..9_usize).prop_map(|max| Act::Checkpoint { max }),
        2 => index().prop_map(Act::Again),
        2 => (1..20_000_u64).prop_map(Act::Wait),
        3 => (index(), index(), any::<bool>())
            .prop_map(|(pages, values, mark_kept)| Act::Crash { pages, values, mark_kept }),
        1 => Just(Act::Stop),
    ]
}

fn play(world: &mut World, act: &Act, chance: &mut u128) {
    match act {
        Act::Pay { count, spread } => {
            for _ in 0..*count {
                *chance = chance.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let late = (*chance >> 40) as u64 % (spread + 1);
                let minted = Millis(world.now.0 - late);
                world.send(TransactionId::from_parts(minted, *chance));
            }
        }
        Act::Acknowledge(up_to) => {
            let count = up_to.index(world.commits.len() + 1);
            world.acknowledge(count);
        }
        Act::Work { calls } => world.work(*calls),
        Act::Checkpoint { max } => world.life().advance(*max),
        Act::Again(which) if !world.sent.is_empty() => {
            let transaction = *world
                .sent
                .keys()
                .nth(which.index(world.sent.len()))
                .unwrap();
            world.send(transaction);
        }
        Act::Again(_) => {}
        Act::Wait(span) => {
            world.now = world.now + Span(*span);
            world.turn();
        }
        Act::Crash {
            pages,
            values,
            mark_kept,
        } => {
            let unsynced = world.life().log.unsynced();
            let crash = Crash {
                pages_kept: pages.index(unsynced + 1),
                values_kept: values.index(unsynced + 1),
                mark_kept: *mark_kept,
            };
            world.crash(crash);
        }
        Act::Stop => {
            let life = world.life.take().unwrap();
            world.commits.clear();
            let (image, stopped) = life.log.stop();
            stopped.unwrap();
            world.start(image);
        }
    }
}

/// All ends, and what is left on the disk is what is remembered and nothing else.
fn finish(world: &mut World) {
    world.settle();
    // What is sent again after a crash comes back too.
    for _ in 0..2 {
        let all = world.commits.len();
        world.acknowledge(all);
        world.settle();
    }
    world.check();
    world.checkpoint_all();
    let before: Vec<_> = world.sent.keys().map(|id| (*id, world.view(*id))).collect();
    let remembered = world.life().machine.held().remembered;
    world.crash(Crash::default());
    assert!(world.values <= remembered, "{} chunks", world.values);
    for (transaction, before) in before {
        let is = |view: View| (view.attempt, view.outcome, view.cause);
        assert_eq!(world.view(transaction).map(is), before.map(is));
    }
    world.check();
    // Nobody is ever served twice.
    for transaction in world.told.keys().copied().collect::<Vec<_>>() {
        world.send(transaction);
    }
    world.settle();
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_was_told_stays_so_and_no_id_runs_twice(
        remember_max in prop_oneof![1..8_usize, 30..300_usize, Just(100_000)],
        acts in prop::collection::vec(act(), 20..120),
    ) {
        let (mut world, mut chance) = (World::new(remember_max), 1);
        for act in &acts {
            play(&mut world, act, &mut chance);
            world.check();
        }
        finish(&mut world);
    }
}

/// A node with outcomes of all kinds, and a checkpoint that has come so far that
/// the log has done `writes` calls of it; whether the checkpoint is closed.
fn in_a_checkpoint(writes: usize) -> (World, bool) {
    let (mut world, mut chance) = (World::new(120), 7);
    let pay = Act::Pay {
        count: 100,
        spread: 800,
    };
    // The first two are in chunks then; the third makes the first be forgotten.
    for round in 0..3 {
        play(&mut world, &pay, &mut chance);
        world.settle();
        let most = world.commits.len() - 20;
        world.acknowledge(most);
        if round < 2 {
            world.checkpoint_all();
        }
        world.now = world.now + Span(1_000);
    }
    world.check();
    assert!(world.forgotten.len() > 120, "{}", world.forgotten.len());
    let mut left = writes;
    loop {
        world.life().advance(1);
        while left > 0 && world.life().log.has_work() {
            world.work(1);
            left -= 1;
        }
        if matches!(world.life().phase, Phase::Idle) {
            return (world, true);
        }
        if left == 0 {
            return (world, false);
        }
    }
}

#[test]
fn a_crash_between_any_two_writes_of_a_checkpoint_forgets_nothing() {
    let (mut crashes, mut writes) = (0, 0);
    loop {
        let (mut world, closed) = in_a_checkpoint(writes);
        let unsynced = world.life().log.unsynced();
        for kept in 0..=unsynced {
            let (mut world, _) = in_a_checkpoint(writes);
            world.crash(Crash::process(kept, kept));
            world.check();
            // And what it writes from now on is no worse.
            world.checkpoint_all();
            world.crash(Crash::default());
            world.check();
            crashes += 1;
        }
        if closed {
            break;
        }
        writes += 1;
    }
    assert!(crashes > 50, "{crashes}");
}

/// What is forgotten after a checkpoint has repeated the watermark and before it
/// writes outcomes back is in none of its records and in no chunk. Nothing is left
/// over that the next life would forget too, and so learn the watermark again.
#[test]
fn what_is_forgotten_while_a_checkpoint_runs_stays_forgotten() {
    for in_a_chunk in [false, true] {
        let (mut world, mut chance) = (World::new(10), 7);
        let pay = Act::Pay {
            count: 10,
            spread: 0,
        };
        let mut pay_and_end = |world: &mut World| {
            play(world, &pay, &mut chance);
            world.settle();
            let all = world.commits.len();
            world.acknowledge(all);
            world.settle();
            world.now = world.now + Span(1_000);
        };
        pay_and_end(&mut world);
        if in_a_chunk {
            world.checkpoint_all();
        }
        world.life().advance(1);
        world.life().advance(1);
        assert!(matches!(world.life().phase, Phase::Copying(_)));
        pay_and_end(&mut world);
        world.check();
        assert_eq!(world.forgotten.len(), 10);
        while !matches!(world.life().phase, Phase::Closing) {
            world.life().advance(16);
        }
        world.settle();
        world.crash(Crash::default());
        assert_eq!(world.life().machine.held().remembered, 10);
        world.check();
    }
}

/// Until outcomes were stored in chunks, each checkpoint repeated them as records.
#[test]
fn a_log_whose_checkpoint_repeats_outcomes_as_records_is_read() {
    let ids = [3, 5].map(|number| TransactionId::from_parts(BEGINNING, number));
    let hash = |transaction: TransactionId| OperationsHash([transaction.uuid().as_bytes()[15]; 32]);
    let position = |sequence| Position {
        epoch: Epoch(1),
        sequence: Sequence(sequence),
    };
    let registered = |number: usize| Record::Registered {
        name: bank(number),
        id: ParticipantId::new(uuid(number as u128)),
        address: String::from("p"),
        began: None,
        promised: None,
        restored: None,
    };
    let Vote::No(refusal) = vote(ids[1]) else {
        panic!("it is voted down");
    };
    let cause = Cause {
        refusal,
        participant: Some(bank(0)),
    };
    let through = Millis(BEGINNING.0 - 60_000);
    let records = [
        Record::Started {
            identity: CoordinatorId::new(uuid(0xc0)),
            epoch: Epoch(1),
            at: Millis(0),
        },
        Record::Forgotten { through },
        Record::AloneHorizon { until: BEGINNING },
        registered(0),
        registered(1),
        Record::Decided(Decided {
            attempt: position(1),
            transaction: ids[0],
            hash: hash(ids[0]),
            voters: Vec::new(),
            begun_at: BEGINNING,
            at: BEGINNING,
            promised: None,
            results: None,
        }),
        Record::Ended {
            attempt: position(1),
            at: BEGINNING,
        },
        Record::Aborted(Aborted {
            attempt: position(2),
            transaction: ids[1],
            hash: hash(ids[1]),
            cause: cause.clone(),
            begun_at: BEGINNING,
            at: BEGINNING,
        }),
        Record::Forgotten { through },
    ];
    let (mut log, _) = MemLog::open(Image::default(), &mut Sink::default(), deaf()).unwrap();
    let bytes = |(lsn, record): (u64, Record)| (Lsn(lsn), record.to_bytes());
    log.append((1..).zip(records).map(bytes).collect());
    log.flush();
    let (image, stopped) = log.stop();
    stopped.unwrap();

    let mut world = World::empty(100);
    world.start(image);
    // Now as records, then as chunks.
    for values in [0, 1] {
        assert_eq!(world.values, values);
        for transaction in ids {
            world.send(transaction);
        }
        world.settle();
        assert_eq!(world.told[&ids[0]].outcome, Outcome::Committed);
        assert_eq!(world.told[&ids[1]].cause.as_ref(), Some(&cause));
        assert_eq!(world.view(ids[0]).unwrap().attempt.position, position(1));
        world.check();
        let older = TransactionId::from_parts(through, 1);
        assert!(world.life().machine.may_have_forgotten(older));
        world.checkpoint_all();
        world.crash(Crash::default());
    }
}
