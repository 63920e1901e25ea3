//! The bytes in the log and in the store.

use nemcon_core::codec::CorruptLog;
use nemcon_core::resource::Resource;
use nemcon_ledger::{Action, Ledger, Redo};

use crate::bank::{Bank, bank, withdraw};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stored(bank: &Bank, key: &str) -> Vec<u8> {
    bank.ledger
        .stored(key.as_bytes())
        .unwrap_or_else(|| panic!("{key} is not stored"))
}

/// A change of these bytes needs a new format version and a reader for the old.
#[test]
fn the_bytes_are_what_they_were() {
    let mut bank = bank();
    let (_, redo) = bank.prepare([withdraw("alice", 300, "r")]).unwrap();
    assert_eq!(
        hex(&bank.ledger.encode_redo(&redo)),
        "0181a165616c696365828565416c69636563435a4b1902bc00f481861b0000018bcfe5680239012b1902bc50018bcfe5680270008000000000000000026172"
    );
    bank.commit(&redo);
    assert_eq!(
        hex(&stored(&bank, "a/bob")),
        "01828563426f6263435a4b0038c7f48282000080"
    );
    assert_eq!(
        hex(&stored(&bank, "c/CZK/cash")),
        "0150fffffffffffffffffffffffffffffc18"
    );
    assert_eq!(
        hex(&stored(&bank, "r/alice/r")),
        "0150018bcfe5680270008000000000000000"
    );
}

#[test]
fn a_redo_holds_what_is_new_however_long_the_account_has_lived() {
    let mut bank = bank();
    let size = |redo: &Redo| Ledger::new().encode_redo(redo).len();
    let (_, young) = bank.prepare([withdraw("alice", 1, "new")]).unwrap();
    for batch in 0..10 {
        bank.run((0..90).map(|n| withdraw("alice", 1, &format!("r{batch}-{n}"))))
            .unwrap();
    }
    let (_, old) = bank.prepare([withdraw("alice", 1, "new")]).unwrap();
    assert!(
        size(&old) <= size(&young) && size(&old) < 100,
        "{} and {}",
        size(&old),
        size(&young)
    );
    let value = stored(&bank, "a/alice").len();
    assert!(
        value < 6_000,
        "{value} bytes, with 900 references beside it"
    );
}

#[test]
fn keys_that_are_not_there_have_no_value() {
    let bank = bank();
    for key in ["a/nobody", "r/alice/none", "c/EUR/cash", "x", ""] {
        assert_eq!(bank.ledger.stored(key.as_bytes()), None, "{key}");
    }
}

#[test]
fn what_is_no_value_of_a_ledger_is_refused_with_its_key() {
    let bank = bank();
    let value = stored(&bank, "a/bob");
    let mut ledger = Ledger::new();
    for cut in 0..value.len() {
        let error = ledger.load(b"a/bob", &value[..cut]).unwrap_err();
        assert!(
            matches!(&error, CorruptLog::Value { key, .. } if key == "a/bob"),
            "{error}"
        );
    }
    assert!(ledger.load(b"c/CZK/cash", &value).is_err());
    assert!(ledger.load(b"r/bob/x", &value).is_err());
    assert!(ledger.load(b"what/is/this", &value).is_err());
    assert_eq!(ledger, Ledger::new(), "nothing was taken");
    assert!(ledger.decode_redo(&value).is_err());
    assert!(ledger.decode_result(&value[..4]).is_err());
}

#[test]
fn an_account_whose_entries_do_not_add_up_is_not_loaded() {
    let mut bank = Bank::default();
    bank.run([Action::open("x", "", "CZK", 7, 0)]).unwrap();
    let mut value = stored(&bank, "a/x");
    let at = value.iter().position(|byte| *byte == 7).unwrap();
    value[at] = 8;
    let error = Ledger::new().load(b"a/x", &value).unwrap_err().to_string();
    assert_eq!(
        error,
        "malformed value of key a/x: I7: account x has 8, but its entries add up to 7"
    );
}
