//! The rules of the trade, without a node.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use nemcon_core::id::TransactionId;
use nemcon_core::message::Payload;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::resource::Resource;
use nemcon_core::time::Millis;
use nemcon_participant::{Decode, Keyed, pack};
use nemcon_proto::inventory::v1;
use proptest::prelude::*;

use crate::inventory::{
    Action, Inventory, Item, REASONS, Record, ReservationId, STOCK_MAX, State, Stock,
};
use crate::wire::Wire;

type Data = Keyed<Inventory>;
type Redo = <Data as Resource>::Redo;

fn item() -> Item {
    "OK-101".parse().unwrap()
}

fn reservation(number: u64) -> ReservationId {
    ReservationId(item(), number)
}

fn run(data: &Data, action: &Action, redo: &mut Redo) -> Result<Record, Refusal> {
    let transaction = TransactionId::from_parts(Millis(1), 7);
    data.execute(Millis(1), transaction, action, redo)
}

/// Runs actions as one transaction each, all of which commit.
fn done(data: &mut Data, actions: &[Action]) -> Result<Record, Refusal> {
    let mut last = None;
    for action in actions {
        let mut redo = Redo::default();
        last = Some(run(data, action, &mut redo)?);
        data.apply(&redo, &mut |_| true);
    }
    Ok(last.unwrap())
}

fn stock(data: &Data) -> Stock {
    match run(data, &Action::Read(item()), &mut Redo::default()) {
        Ok(Record::Stock(_, stock)) => stock,
        other => panic!("{other:?}"),
    }
}

fn word(told: Result<Record, Refusal>) -> String {
    told.unwrap_err().reason.to_string()
}

#[test]
fn a_reservation_is_held_and_then_confirmed_or_released() {
    let mut data = Data::default();
    let actions = [
        Action::Add(item(), 5),
        Action::Reserve(item(), 2),
        Action::Reserve(item(), 1),
    ];
    let second = done(&mut data, &actions).unwrap();
    assert_eq!(second, Record::Reservation(reservation(2), 1, State::Held));
    let confirmed = done(&mut data, &[Action::Confirm(reservation(1))]).unwrap();
    assert_eq!(
        confirmed,
        Record::Reservation(reservation(1), 2, State::Confirmed)
    );
    let expected = Stock {
        free: 2,
        held: 1,
        confirmed: 2,
        made: 2,
    };
    assert_eq!(stock(&data), expected);
    done(&mut data, &[Action::Release(reservation(2))]).unwrap();
    assert_eq!(
        stock(&data),
        Stock {
            free: 3,
            held: 0,
            ..expected
        }
    );
    // A trip that failed after the seat was confirmed gives it back.
    done(&mut data, &[Action::Release(reservation(1))]).unwrap();
    assert_eq!(
        stock(&data),
        Stock {
            free: 5,
            held: 0,
            confirmed: 0,
            made: 2
        }
    );
}

#[test]
fn what_is_so_already_stays_so() {
    let mut data = Data::default();
    done(
        &mut data,
        &[Action::Add(item(), 5), Action::Reserve(item(), 2)],
    )
    .unwrap();
    for action in [
        Action::Confirm(reservation(1)),
        Action::Release(reservation(1)),
    ] {
        let first = done(&mut data, std::slice::from_ref(&action));
        let after = stock(&data);
        assert_eq!(done(&mut data, &[action]), first);
        assert_eq!(stock(&data), after);
    }
}

/// Shrunk by the property test below: the pile that the pieces are in may be empty.
#[test]
fn a_second_release_finds_the_pieces_taken_by_others() {
    let mut data = Data::default();
    let actions = [
        Action::Add(item(), 2),
        Action::Reserve(item(), 1),
        Action::Release(reservation(1)),
        Action::Reserve(item(), 2),
        Action::Release(reservation(1)),
    ];
    done(&mut data, &actions).unwrap();
    assert_eq!((stock(&data).free, stock(&data).held), (0, 2));
}

#[test]
fn every_no_has_its_word() {
    let mut data = Data::default();
    let mut no = |action| word(done(&mut data, &[action]));
    assert_eq!(no(Action::Read(item())), "UNKNOWN_ITEM");
    assert_eq!(no(Action::Reserve(item(), 1)), "UNKNOWN_ITEM");
    assert_eq!(no(Action::Release(reservation(1))), "UNKNOWN_RESERVATION");
    done(
        &mut data,
        &[Action::Add(item(), STOCK_MAX), Action::Reserve(item(), 1)],
    )
    .unwrap();
    let mut no = |action| word(done(&mut data, &[action]));
    assert_eq!(no(Action::Add(item(), 1)), "STOCK_TOO_LARGE");
    assert_eq!(no(Action::Reserve(item(), STOCK_MAX)), "SOLD_OUT");
    assert_eq!(no(Action::Confirm(reservation(2))), "UNKNOWN_RESERVATION");
    done(&mut data, &[Action::Release(reservation(1))]).unwrap();
    let told = done(&mut data, &[Action::Confirm(reservation(1))]);
    assert_eq!(word(told), "RESERVATION_RELEASED");
    for reason in &REASONS {
        assert_eq!(&Reason::from_wire(reason.as_str()), reason);
        assert!(!Reason::ALL.contains(reason), "{reason}");
    }
}

fn read(message: &Payload) -> Result<Action, Refusal> {
    Wire.action(message.clone(), Vec::new())
}

#[test]
fn every_action_is_read_as_it_was_meant() {
    let (id, name) = ("OK-101/7".to_owned(), "OK-101".to_owned());
    let add = v1::AddStock {
        item: name.clone(),
        count: 3,
    };
    assert_eq!(read(&pack(&add)), Ok(Action::Add(item(), 3)));
    let reserve = v1::Reserve {
        item: name.clone(),
        count: STOCK_MAX,
    };
    assert_eq!(
        read(&pack(&reserve)),
        Ok(Action::Reserve(item(), STOCK_MAX))
    );
    let confirm = v1::Confirm {
        reservation: id.clone(),
    };
    assert_eq!(read(&pack(&confirm)), Ok(Action::Confirm(reservation(7))));
    let release = v1::Release { reservation: id };
    assert_eq!(read(&pack(&release)), Ok(Action::Release(reservation(7))));
    assert_eq!(
        read(&pack(&v1::GetStock { item: name })),
        Ok(Action::Read(item()))
    );
}

#[test]
fn a_reservation_can_be_the_result_of_an_earlier_step() {
    let made = pack(&v1::Reservation {
        reservation: "OK-101/7".into(),
        ..v1::Reservation::default()
    });
    let release = |id: &str, inputs| {
        let release = v1::Release {
            reservation: id.into(),
        };
        Wire.action(pack(&release), inputs)
    };
    let expected = Ok(Action::Release(reservation(7)));
    assert_eq!(release("", vec![made.clone()]), expected);
    let stock = pack(&v1::Stock::default());
    for (bad, want) in [
        (release("", vec![]), "reservation \"\": want what Reserve"),
        (
            release("OK-101/7", vec![made.clone()]),
            "1 inputs of a named reservation: want none",
        ),
        (release("", vec![made.clone(), made.clone()]), "2 inputs of"),
        (
            release("", vec![stock]),
            "nemcon.inventory.v1.Stock\": want nemcon.inventory.v1.Reservation",
        ),
        (
            Wire.action(pack(&v1::GetStock::default()), vec![made]),
            "1 inputs of",
        ),
    ] {
        let refusal = bad.unwrap_err();
        assert_eq!(refusal.reason, Reason::INVALID_ACTION);
        assert!(refusal.message.contains(want), "{refusal}");
    }
}

#[test]
fn nonsense_is_a_no_that_says_what_is_wanted() {
    let reserve = |item: &str, count| {
        pack(&v1::Reserve {
            item: item.into(),
            count,
        })
    };
    let release = |id: &str| {
        pack(&v1::Release {
            reservation: id.into(),
        })
    };
    let mut cut = reserve("OK-101", 1);
    cut.value.truncate(4);
    for (bad, want) in [
        (reserve("OK 101", 1), "want 1 to 64 characters"),
        (reserve("OK-101", 0), "count 0: want 1 to 1000000000"),
        (
            reserve("OK-101", STOCK_MAX + 1),
            "count 1000000001: want 1 to 1000000000",
        ),
        (
            release("OK-101"),
            "reservation \"OK-101\": want what Reserve answered",
        ),
        (release("OK-101/-7"), "for example OK-101/7"),
        (release("OK 101/7"), "for example OK-101/7"),
        (cut, "4 bytes that are no nemcon.inventory.v1.Reserve"),
        (
            pack(&v1::Stock::default()),
            "want nemcon.inventory.v1.X, where X is one of AddStock, Reserve, Confirm, Release, GetStock",
        ),
    ] {
        let refusal = read(&bad).unwrap_err();
        assert_eq!(refusal.reason, Reason::INVALID_ACTION);
        assert!(refusal.message.contains(want), "{refusal}");
    }
}

/// What a random customer asks for; reservations that were never made are asked for
/// too.
fn action() -> impl Strategy<Value = Action> {
    let name =
        prop_oneof![Just("OK-101"), Just("OK-102")].prop_map(|name| name.parse::<Item>().unwrap());
    let count = 1..=6u32;
    (name, count, 0..8u64, 0..6u8).prop_map(|(item, count, number, kind)| {
        let id = ReservationId(item.clone(), number);
        match kind {
            0 => Action::Add(item, count),
            1 | 2 => Action::Reserve(item, count),
            3 => Action::Confirm(id),
            4 => Action::Release(id),
            _ => Action::Read(item),
        }
    })
}

proptest! {
    /// Whatever is asked for, in transactions that commit or abort: nothing is
    /// taken twice, the three piles hold what was added and what the reservations
    /// say, and a node that restarts has the same.
    #[test]
    fn nothing_is_given_to_two_people(
        transactions in prop::collection::vec((prop::collection::vec(action(), 1..6), any::<bool>()), 0..30),
    ) {
        let mut data = Data::default();
        let mut added = BTreeMap::<Item, u32>::new();
        let mut stored = BTreeMap::<Vec<u8>, Vec<u8>>::new();
        for (actions, wanted) in transactions {
            let mut redo = Redo::default();
            let all: Vec<_> = actions.iter().map(|action| run(&data, action, &mut redo)).collect();
            if !wanted || all.iter().any(Result::is_err) {
                continue; // it aborts: the redo is dropped
            }
            for action in &actions {
                if let Action::Add(item, count) = action {
                    *added.entry(item.clone()).or_default() += count;
                }
            }
            let redo = data.decode_redo(&data.encode_redo(&redo)).unwrap();
            let mut keys = Vec::new();
            data.apply(&redo, &mut |key| { keys.push(key.to_vec()); true });
            for key in keys {
                let value = data.stored(&key).unwrap();
                stored.insert(key, value);
            }
        }
        let mut restarted = Data::default();
        for (key, value) in &stored {
            restarted.load(key, value).unwrap();
        }
        for (item, added) in added {
            let question = Action::Read(item.clone());
            let found = run(&data, &question, &mut Redo::default()).unwrap();
            prop_assert_eq!(&run(&restarted, &question, &mut Redo::default()).unwrap(), &found);
            let Record::Stock(_, stock) = found else { panic!("{found:?}") };
            prop_assert_eq!(stock.free + stock.held + stock.confirmed, added);
            // Releasing says how many a reservation has and leaves the data alone.
            let mut taken = 0;
            let mut redo = Redo::default();
            for number in 1..=stock.made {
                let release = Action::Release(ReservationId(item.clone(), number));
                prop_assert!(run(&restarted, &release, &mut redo).is_ok());
            }
            if let Ok(Record::Stock(_, after)) = run(&restarted, &question, &mut redo) {
                taken = after.free - stock.free;
            }
            prop_assert_eq!(taken, stock.held + stock.confirmed);
        }
    }
}
