//! The bank's border: bytes of others to actions of the ledger, its results to
//! bytes.
//!
//! What a bank can be asked travels as a `google.protobuf.Any` of one of the
//! messages in `proto/nemcon/bank/v1/bank.proto`. Whatever is wrong with one is a
//! [`Refusal`] and so becomes a no vote: the transaction aborts with a reason
//! that names the field, and nobody is left waiting.
//!
//! - A type that is none of ours, or bytes that are none of its: `INVALID_ACTION`.
//! - A field out of range: the ledger's own reason, since the ledger's own
//!   constructors read the fields. There is no second set of rules here.

use nemcon_core::message::Payload;
use nemcon_core::reason::Refusal;
use nemcon_ledger::account::{Contra, Entry, Statement};
use nemcon_ledger::action::{AccountPage, CurrencyTotal, NamedAccount, Totals};
use nemcon_ledger::{Action, ActionResult, Ledger};
use nemcon_participant::{
    Decode, invalid_action, no_inputs, pack, short_name, unknown_type, unpack,
};
use nemcon_proto::bank::v1;
use nemcon_proto::convert::{WireError, timestamp};
use prost::{Message, Name};

/// Reads the ledger's actions and writes its results. Has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wire;

impl Decode<Ledger> for Wire {
    fn action(&self, payload: Payload, inputs: Vec<Payload>) -> Result<Action, Refusal> {
        no_inputs(&payload.type_url, &inputs)?;
        let name = short_name(&payload, v1::Open::PACKAGE);
        let known = READERS.iter().find(|(known, _)| Some(*known) == name);
        let (_, read) = known.ok_or_else(|| not_taken(&payload))?;
        read(&payload)
    }

    fn result(&self, result: ActionResult) -> Payload {
        match result {
            ActionResult::Account(named) => pack(&v1::Account::from_ledger(named)),
            ActionResult::Page(page) => pack(&v1::AccountPage::from_ledger(page)),
            ActionResult::Statement(statement) => pack(&v1::Statement::from_ledger(statement)),
            ActionResult::Totals(totals) => pack(&v1::Totals::from_ledger(totals)),
        }
    }
}

/// Reads one type.
type Reader = fn(&Payload) -> Result<Action, Refusal>;

/// Every type the bank takes, in the order in which the protos describe them.
const READERS: &[(&str, Reader)] = &[
    (v1::Open::NAME, read::<v1::Open>),
    (v1::Close::NAME, read::<v1::Close>),
    (v1::Withdraw::NAME, read::<v1::Withdraw>),
    (v1::Deposit::NAME, read::<v1::Deposit>),
    (v1::Read::NAME, read::<v1::Read>),
    (v1::ReadAccounts::NAME, read::<v1::ReadAccounts>),
    (v1::ReadEntries::NAME, read::<v1::ReadEntries>),
    (v1::Audit::NAME, read::<v1::Audit>),
];

/// Reads a message, and then its fields.
fn read<M: ToLedger>(payload: &Payload) -> Result<Action, Refusal> {
    unpack::<M>(payload)?.to_ledger()
}

fn not_taken(payload: &Payload) -> Refusal {
    let names: Vec<&str> = READERS.iter().map(|(name, _)| *name).collect();
    unknown_type(payload, v1::Open::PACKAGE, &names.join(", "))
}

/// A message that asks a bank for something. The fields are read, and refused, by
/// the ledger's constructors.
trait ToLedger: Message + Name + Default {
    fn to_ledger(self) -> Result<Action, Refusal>;
}

impl ToLedger for v1::Open {
    fn to_ledger(self) -> Result<Action, Refusal> {
        let (opening, minimum) = (self.opening_balance_minor, self.minimum_balance_minor);
        Action::open(&self.account, &self.owner, &self.currency, opening, minimum)
    }
}

impl ToLedger for v1::Close {
    fn to_ledger(self) -> Result<Action, Refusal> {
        Action::close(&self.account)
    }
}

impl ToLedger for v1::Withdraw {
    fn to_ledger(self) -> Result<Action, Refusal> {
        let (amount, contra) = (self.amount_minor, contra(self.contra)?);
        Action::withdraw(
            &self.account,
            amount,
            &self.currency,
            &self.reference,
            contra,
        )
    }
}

impl ToLedger for v1::Deposit {
    fn to_ledger(self) -> Result<Action, Refusal> {
        let (amount, contra) = (self.amount_minor, contra(self.contra)?);
        Action::deposit(
            &self.account,
            amount,
            &self.currency,
            &self.reference,
            contra,
        )
    }
}

impl ToLedger for v1::Read {
    fn to_ledger(self) -> Result<Action, Refusal> {
        Action::read(&self.account)
    }
}

impl ToLedger for v1::ReadAccounts {
    fn to_ledger(self) -> Result<Action, Refusal> {
        Action::read_accounts(self.page_size, &self.after_account)
    }
}

impl ToLedger for v1::ReadEntries {
    fn to_ledger(self) -> Result<Action, Refusal> {
        Action::read_entries(&self.account)
    }
}

impl ToLedger for v1::Audit {
    fn to_ledger(self) -> Result<Action, Refusal> {
        Ok(Action::Audit)
    }
}

/// Reads the other side of a movement. Money between accounts is what a bank
/// moves all day, so clearing is meant where nothing is said.
fn contra(number: i32) -> Result<Contra, Refusal> {
    match v1::Contra::try_from(number) {
        Ok(v1::Contra::Unspecified | v1::Contra::Clearing) => Ok(Contra::Clearing),
        Ok(v1::Contra::Cash) => Ok(Contra::Cash),
        Err(_) => {
            let allowed = "CONTRA_CASH or CONTRA_CLEARING (if left out: CONTRA_CLEARING)";
            Err(invalid_action(
                WireError::new("contra", number, allowed).to_string(),
            ))
        }
    }
}

/// A message that answers for the ledger. Not `From`: both types are of other
/// crates. Cannot fail: what the ledger holds was checked when it came in.
pub(crate) trait FromLedger<L> {
    fn from_ledger(found: L) -> Self;
}

impl FromLedger<NamedAccount> for v1::Account {
    fn from_ledger(NamedAccount { name, header }: NamedAccount) -> Self {
        Self {
            account: name.to_string(),
            owner: header.owner.to_string(),
            currency: header.currency.to_string(),
            balance_minor: header.balance_minor,
            minimum_balance_minor: header.minimum_minor,
            closed: header.closed,
        }
    }
}

impl FromLedger<AccountPage> for v1::AccountPage {
    fn from_ledger(page: AccountPage) -> Self {
        let accounts = page
            .accounts
            .into_iter()
            .map(v1::Account::from_ledger)
            .collect();
        Self {
            accounts,
            more: page.more,
        }
    }
}

/// How many entries are summed in the brought-forward line stays here; customers
/// have no use for it.
impl FromLedger<Statement> for v1::Statement {
    fn from_ledger(statement: Statement) -> Self {
        Self {
            brought_forward_minor: statement.brought_forward.sum_minor,
            entries: statement
                .entries
                .iter()
                .map(v1::Entry::from_ledger)
                .collect(),
        }
    }
}

impl FromLedger<Entry> for v1::Entry {
    fn from_ledger(entry: Entry) -> Self {
        let contra = match entry.contra {
            Contra::Cash => v1::Contra::Cash,
            Contra::Clearing => v1::Contra::Clearing,
        };
        Self {
            booked_at: Some(timestamp(entry.booked_at)),
            amount_minor: entry.amount_minor,
            balance_minor: entry.balance_minor,
            transaction_id: entry.transaction.to_string(),
            reference: entry
                .reference
                .map(|reference| reference.to_string())
                .unwrap_or_default(),
            contra: contra.into(),
        }
    }
}

impl FromLedger<Totals> for v1::Totals {
    fn from_ledger(totals: Totals) -> Self {
        let line = |total: CurrencyTotal| v1::CurrencyTotal {
            currency: total.currency.to_string(),
            customers_minor: total.customers_minor,
            cash_minor: total.cash_minor,
            clearing_minor: total.clearing_minor,
        };
        Self {
            currencies: totals.currencies.into_iter().map(line).collect(),
            accounts: totals.accounts,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nemcon_core::id::TransactionId;
    use nemcon_core::reason::Reason;
    use nemcon_core::resource::Resource;
    use nemcon_core::time::Millis;
    use nemcon_ledger::{Redo, reason};

    use super::*;

    fn action<M: Message + Name>(message: &M) -> Result<Action, Refusal> {
        Wire.action(pack(message), Vec::new())
    }

    fn unpacked<M: Message + Name + Default>(payload: &Payload) -> M {
        assert_eq!(payload.type_url, M::type_url());
        M::decode(payload.value.as_slice()).unwrap()
    }

    fn withdraw() -> v1::Withdraw {
        v1::Withdraw {
            account: "alice".into(),
            amount_minor: 2_500,
            currency: "CZK".into(),
            reference: "order-7".into(),
            contra: v1::Contra::Cash.into(),
        }
    }

    fn open() -> v1::Open {
        v1::Open {
            account: "alice".into(),
            owner: "Alice".into(),
            currency: "CZK".into(),
            opening_balance_minor: 300,
            minimum_balance_minor: -100,
        }
    }

    #[test]
    fn results_of_others_are_of_no_use_here() {
        let read = v1::Read {
            account: "alice".to_owned(),
        };
        let refusal = Wire.action(pack(&read), vec![pack(&read)]).unwrap_err();
        assert_eq!(refusal.reason, Reason::INVALID_ACTION);
        assert_eq!(
            refusal.message,
            "1 inputs of type.googleapis.com/nemcon.bank.v1.Read: want none, since it uses no \
             results of other operations"
        );
    }

    #[test]
    fn every_action_is_read_as_it_was_meant() {
        let account = || "alice".to_owned();
        assert_eq!(
            action(&open()),
            Action::open("alice", "Alice", "CZK", 300, -100)
        );
        assert_eq!(
            action(&v1::Close { account: account() }),
            Action::close("alice")
        );
        assert_eq!(
            action(&v1::Read { account: account() }),
            Action::read("alice")
        );
        assert_eq!(
            action(&v1::ReadEntries { account: account() }),
            Action::read_entries("alice")
        );
        let page = v1::ReadAccounts {
            page_size: 7,
            after_account: account(),
        };
        assert_eq!(action(&page), Action::read_accounts(7, "alice"));
        assert_eq!(action(&v1::Audit {}), Ok(Action::Audit));
        let expected = Action::withdraw("alice", 2_500, "CZK", "order-7", Contra::Cash);
        assert_eq!(action(&withdraw()), expected);
        let v1::Withdraw {
            account,
            amount_minor,
            currency,
            reference,
            contra,
        } = withdraw();
        let deposit = v1::Deposit {
            account,
            amount_minor,
            currency,
            reference,
            contra,
        };
        let expected = Action::deposit("alice", 2_500, "CZK", "order-7", Contra::Cash);
        assert_eq!(action(&deposit), expected);
    }

    #[test]
    fn money_moves_through_clearing_unless_it_is_said_otherwise() {
        let contra_of = |number| match action(&v1::Withdraw {
            contra: number,
            ..withdraw()
        }) {
            Ok(Action::Withdraw(movement)) => Ok(movement.contra),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal),
        };
        assert_eq!(contra_of(0), Ok(Contra::Clearing));
        assert_eq!(contra_of(1), Ok(Contra::Cash));
        assert_eq!(contra_of(2), Ok(Contra::Clearing));
        let refusal = contra_of(3).unwrap_err();
        assert_eq!(refusal.reason, Reason::INVALID_ACTION);
        assert_eq!(
            refusal.message,
            "contra 3: want CONTRA_CASH or CONTRA_CLEARING (if left out: CONTRA_CLEARING)"
        );
    }

    #[test]
    fn bad_fields_get_the_ledgers_own_reasons() {
        let reason = |result: Result<Action, Refusal>| result.unwrap_err().reason;
        let with = |change: fn(&mut v1::Withdraw)| {
            let mut message = withdraw();
            change(&mut message);
            reason(action(&message))
        };
        assert_eq!(
            with(|it| it.account = "a b".into()),
            reason::INVALID_ACCOUNT
        );
        assert_eq!(with(|it| it.account.clear()), reason::INVALID_ACCOUNT);
        assert_eq!(with(|it| it.amount_minor = 0), reason::AMOUNT_NOT_POSITIVE);
        assert_eq!(
            with(|it| it.amount_minor = i64::MIN),
            reason::AMOUNT_NOT_POSITIVE
        );
        assert_eq!(
            with(|it| it.currency = "czk".into()),
            reason::INVALID_CURRENCY
        );
        assert_eq!(
            with(|it| it.reference = "\n".into()),
            reason::INVALID_REFERENCE
        );
        let with = |change: fn(&mut v1::Open)| {
            let mut message = open();
            change(&mut message);
            reason(action(&message))
        };
        assert_eq!(with(|it| it.owner = "\x1b".into()), reason::INVALID_OWNER);
        assert_eq!(
            with(|it| it.minimum_balance_minor = 1),
            reason::INVALID_MINIMUM_BALANCE
        );
        assert_eq!(
            with(|it| it.opening_balance_minor = -101),
            reason::INVALID_OPENING_BALANCE
        );
    }

    #[test]
    fn only_what_follows_the_last_slash_names_the_type() {
        let payload = |type_url: &str| Payload {
            type_url: type_url.into(),
            value: v1::Read {
                account: "alice".into(),
            }
            .encode_to_vec(),
        };
        for good in [
            "type.googleapis.com/nemcon.bank.v1.Read",
            "example.org/types/nemcon.bank.v1.Read",
            "/nemcon.bank.v1.Read",
            "nemcon.bank.v1.Read",
        ] {
            assert_eq!(
                Wire.action(payload(good), Vec::new()),
                Action::read("alice"),
                "{good}"
            );
        }
        for bad in [
            "",
            "Read",
            "nemcon.bank.v1.",
            "nemcon.bank.v1.read",
            "nemcon.bank.v1Read",
            "nemcon.bank.v2.Read",
            "type.googleapis.com/nemcon.bank.v1.Account",
            "nemcon.bank.v1.Read/",
        ] {
            let refusal = Wire.action(payload(bad), Vec::new()).unwrap_err();
            assert_eq!(refusal.reason, Reason::INVALID_ACTION, "{bad}");
        }
    }

    #[test]
    fn an_unknown_type_is_told_which_are_known() {
        let url = "type.googleapis.com/nemcon.bank.v1.Rob";
        let payload = Payload {
            type_url: url.into(),
            value: vec![],
        };
        assert_eq!(
            Wire.action(payload, Vec::new()).unwrap_err().message,
            "action type \"type.googleapis.com/nemcon.bank.v1.Rob\": want nemcon.bank.v1.X, where \
             X is one of Open, Close, Withdraw, Deposit, Read, ReadAccounts, ReadEntries, Audit"
        );
        let names: BTreeSet<&str> = READERS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), READERS.len());
    }

    #[test]
    fn bytes_that_are_no_message_are_refused() {
        let cut = v1::Read {
            account: "alice".into(),
        }
        .encode_to_vec()[..4]
            .to_vec();
        for (name, read) in &READERS[..7] {
            for bytes in [&cut[..], &[0xff], &[0x0a, 0x02, 0xff, 0xfe]] {
                let refusal = read(&Payload {
                    type_url: format!("{}.{name}", v1::Read::PACKAGE),
                    value: bytes.to_vec(),
                });
                let refusal = refusal.unwrap_err();
                assert_eq!(refusal.reason, Reason::INVALID_ACTION, "{refusal}");
            }
        }
        let type_url = v1::Read::type_url();
        let refusal = Wire
            .action(
                Payload {
                    type_url,
                    value: cut,
                },
                Vec::new(),
            )
            .unwrap_err();
        let start = "4 bytes that are no nemcon.bank.v1.Read (";
        assert!(refusal.message.starts_with(start), "{refusal}");
    }

    #[test]
    fn what_a_later_version_adds_to_a_message_is_ignored() {
        let mut payload = pack(&v1::Read {
            account: "alice".into(),
        });
        payload.value.extend([0xf8, 0x07, 0x01]); // field 127, a varint: 1
        assert_eq!(Wire.action(payload, Vec::new()), Action::read("alice"));
    }

    /// Books with one account and one withdrawal, and what they answer.
    fn answer(question: &Action) -> Payload {
        let mut ledger = Ledger::new();
        let (at, transaction) = (Millis(1_500), TransactionId::from_parts(Millis(1_000), 7));
        let mut redo = Redo::default();
        let opened = action(&v1::Open {
            opening_balance_minor: 3_000,
            ..open()
        })
        .unwrap();
        for done in [opened, action(&withdraw()).unwrap()] {
            ledger.execute(at, transaction, &done, &mut redo).unwrap();
        }
        ledger.apply(&redo, &mut |_| true);
        let result = ledger.execute(at, transaction, question, &mut Redo::default());
        Wire.result(result.unwrap())
    }

    #[test]
    fn results_are_written_field_by_field() {
        let account = v1::Account {
            account: "alice".into(),
            owner: "Alice".into(),
            currency: "CZK".into(),
            balance_minor: 500,
            minimum_balance_minor: -100,
            closed: false,
        };
        let read: v1::Account = unpacked(&answer(&Action::read("alice").unwrap()));
        assert_eq!(read, account);
        let page: v1::AccountPage = unpacked(&answer(&Action::read_accounts(0, "").unwrap()));
        assert_eq!(
            page,
            v1::AccountPage {
                accounts: vec![account],
                more: false
            }
        );
        let totals: v1::Totals = unpacked(&answer(&Action::Audit));
        let czk = v1::CurrencyTotal {
            currency: "CZK".into(),
            customers_minor: 500,
            cash_minor: -500,
            clearing_minor: 0,
        };
        assert_eq!(
            totals,
            v1::Totals {
                currencies: vec![czk],
                accounts: 1
            }
        );
    }

    #[test]
    fn a_statement_tells_of_every_entry_when_why_and_how_much() {
        let statement: v1::Statement = unpacked(&answer(&Action::read_entries("alice").unwrap()));
        assert_eq!(statement.brought_forward_minor, 0);
        let [opened, withdrawn] = &statement.entries[..] else {
            panic!("{statement:?}");
        };
        assert_eq!(
            (opened.amount_minor, opened.reference.as_str()),
            (3_000, "")
        );
        assert_eq!(
            *withdrawn,
            v1::Entry {
                booked_at: Some(timestamp(Millis(1_500))),
                amount_minor: -2_500,
                balance_minor: 500,
                transaction_id: TransactionId::from_parts(Millis(1_000), 7).to_string(),
                reference: "order-7".into(),
                contra: v1::Contra::Cash.into(),
            }
        );
    }
}
