//! Moving money.

use nemcon_client::{AddressedOperation, operation};
use nemcon_proto::bank::v1;
use serde_json::json;

use super::Transfer;
use crate::failure::{Exit, Failure};
use crate::money::Minor;
use crate::out::say;
use crate::path::AccountPath;
use crate::session::Session;

/// `nemcon bank transfer`.
pub(super) async fn run(session: &Session, arguments: Transfer) -> Result<Exit, Failure> {
    let Transfer {
        from,
        to,
        amount,
        currency,
        reference,
        json,
    } = arguments;
    if from == to {
        let why = format!("{from} cannot pay itself: name two accounts");
        return Err(Failure::Usage(why));
    }
    // Before money is asked for at one bank, the other one must be there too.
    session.bank(&to.bank)?;
    let currency = match currency {
        Some(currency) => currency.to_string(),
        None => currency_of(session, &from).await?,
    };
    let reference = reference
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let operations = payment(&from, &to, amount, &currency, &reference);
    let done = session.run(operations).await?;
    let paid: Option<v1::Account> = done.result(0)?;
    let received: Option<v1::Account> = done.result(1)?;
    let transaction = done.transaction.to_string();
    if json {
        crate::json::print(&json!({
            "transaction_id": transaction,
            "committed": true,
            "amount_minor": amount.0,
            "currency": currency,
            "from_balance_minor": paid.map(|account| account.balance_minor),
            "to_balance_minor": received.map(|account| account.balance_minor),
        }));
    } else {
        let (paid, received) = (balance(paid), balance(received));
        say!("moved {amount} {currency} from {from}{paid} to {to}{received}");
        say!("transaction {transaction}");
    }
    Ok(Exit::Done)
}

/// What pays from one account to another: the money leaves the first bank into
/// clearing, and comes out of clearing at the second.
pub(crate) fn payment(
    from: &AccountPath,
    to: &AccountPath,
    amount: Minor,
    currency: &str,
    reference: &str,
) -> Vec<AddressedOperation> {
    let withdraw = v1::Withdraw {
        account: from.account.to_string(),
        amount_minor: amount.0,
        currency: currency.into(),
        reference: reference.into(),
        contra: v1::Contra::Clearing.into(),
    };
    let deposit = v1::Deposit {
        account: to.account.to_string(),
        amount_minor: amount.0,
        currency: currency.into(),
        reference: reference.into(),
        contra: v1::Contra::Clearing.into(),
    };
    vec![
        operation(&from.bank, &withdraw, false),
        operation(&to.bank, &deposit, false),
    ]
}

/// What an account is kept in. An account's currency never changes, so it may be
/// read before the transfer and outside of it.
async fn currency_of(session: &Session, path: &AccountPath) -> Result<String, Failure> {
    let action = v1::Read {
        account: path.account.to_string(),
    };
    let account: v1::Account = session.read(&path.bank, &action).await?;
    Ok(account.currency)
}

/// After a restart of the coordinator the results may be lost, and with them the
/// new balances.
fn balance(account: Option<v1::Account>) -> String {
    let shown = |account: v1::Account| format!(" (now {})", Minor(account.balance_minor));
    account.map(shown).unwrap_or_default()
}
