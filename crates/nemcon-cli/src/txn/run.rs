//! Running a transaction from a file.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use nemcon_client::{Ending, Report, Transaction, new_transaction_id};
use nemcon_core::id::TransactionId;
use nemcon_proto::convert::Run;
use nemcon_proto::v1;
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::json::{self, Types};
use crate::session::Session;

/// Longest file. A request of more bytes would not be taken in.
const FILE_BYTES_MAX: u64 = nemcon_net::MESSAGE_BYTES_MAX as u64;

/// Reads a transaction from a file, or from standard input for `-`.
pub(super) fn read(file: &Path) -> Result<Transaction, Failure> {
    let text = text(file).map_err(|source| Failure::Unreadable {
        path: file.to_owned(),
        source,
    })?;
    parse(&text).map_err(|what| Failure::Malformed {
        path: file.to_owned(),
        what,
    })
}

/// Reads a file, or standard input for `-`: no more of it than could be sent.
pub(crate) fn text(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin()
            .take(FILE_BYTES_MAX)
            .read_to_string(&mut text)?;
    } else {
        std::fs::File::open(file)?
            .take(FILE_BYTES_MAX)
            .read_to_string(&mut text)?;
    }
    Ok(text)
}

/// Reads the JSON, and checks it as the coordinator will.
fn parse(text: &str) -> Result<Transaction, String> {
    let types = Types::new().map_err(|error| error.to_string())?;
    let request: v1::RunTransactionRequest = types.read(text).map_err(|error| error.to_string())?;
    let run = Run::try_from(request).map_err(|error| error.to_string())?;
    let Run {
        opening,
        operations,
    } = run;
    let id = opening.transaction;
    let transaction = Transaction {
        id: id.unwrap_or_else(new_transaction_id),
        first: opening.age,
        operations,
        timeout: opening
            .timeout
            .map(|timeout| Duration::from_millis(timeout.0)),
        // Whoever names the id may have used it before.
        may_have_run: id.is_some(),
        first_sent_to: opening.first_sent_to,
        trace: None,
    };
    Ok(transaction)
}

/// Runs it, once, and prints what became of it.
pub(super) async fn run(session: &Session, transaction: Transaction) -> Result<Exit, Failure> {
    let report = session.client().run(&transaction).await?;
    let exit = match report.ending {
        Ending::Committed(_) => Exit::Done,
        Ending::Aborted(_) => Exit::Refused,
    };
    json::print(&written(&Types::new()?, report));
    Ok(exit)
}

/// The outcome as grpcurl would show it. The results are written one by one: a
/// type that is not known here must not hide the outcome.
fn written(types: &Types, report: Report) -> Value {
    let Report {
        transaction,
        ending,
    } = report;
    match ending {
        Ending::Committed(Some(results)) => {
            let results: Vec<Value> = results
                .iter()
                .map(|payload| types.write_result(payload))
                .collect();
            committed(transaction, "results", results.into())
        }
        Ending::Committed(None) => committed(transaction, "resultsLost", true.into()),
        Ending::Aborted(cause) => {
            let refusal = v1::Refusal::from(cause);
            json!({
                "transactionId": transaction.to_string(),
                "outcome": "OUTCOME_ABORTED",
                "refusal": types.write(&refusal).unwrap_or_else(|_| refusal.message.into()),
            })
        }
    }
}

/// An outcome with what else is known: the results, or that they are lost.
fn committed(transaction: TransactionId, field: &str, value: Value) -> Value {
    json!({
        "transactionId": transaction.to_string(),
        "outcome": "OUTCOME_COMMITTED",
        field: value,
    })
}

#[cfg(test)]
mod tests {
    use nemcon_core::coordinator::record::Cause;
    use nemcon_core::reason::{Reason, Refusal};

    use super::*;

    const READ: &str = r#"{"operations": [{"participant": "bank-a", "readOnly": true, "action":
        {"@type": "type.googleapis.com/nemcon.bank.v1.Read", "account": "alice"}}]}"#;

    #[test]
    fn a_transaction_without_an_id_is_given_one() {
        let transaction = parse(READ).unwrap();
        assert!(!transaction.may_have_run);
        assert_eq!(transaction.operations.len(), 1);
        assert!(transaction.operations[0].1.read_only);
        assert_ne!(transaction.id, parse(READ).unwrap().id);
    }

    #[test]
    fn a_transaction_with_an_id_may_have_run() {
        let id = new_transaction_id();
        let text = READ.replacen('{', &format!("{{\"transactionId\": \"{id}\", "), 1);
        let transaction = parse(&text).unwrap();
        assert_eq!(transaction.id, id);
        assert!(transaction.may_have_run);
    }

    #[test]
    fn a_field_out_of_range_is_named() {
        for (text, field) in [
            ("{}", "operations"),
            (&READ.replace("bank-a", "bank a"), "participant"),
            (
                &READ.replacen('{', "{\"timeoutMs\": 400000, ", 1),
                "timeout_ms",
            ),
            (
                &READ.replacen('{', "{\"transactionId\": \"7\", ", 1),
                "transaction_id",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(field), "{text}: {error}");
        }
    }

    #[test]
    fn the_outcome_is_written_with_its_reason() {
        let transaction = new_transaction_id();
        let cause = Cause {
            refusal: Refusal::new(Reason::business("NO_LUCK"), "no luck today"),
            participant: Some("bank-a".parse().unwrap()),
        };
        let ending = Ending::Aborted(cause);
        let written = written(
            &Types::new().unwrap(),
            Report {
                transaction,
                ending,
            },
        );
        assert_eq!(written["outcome"], "OUTCOME_ABORTED");
        assert_eq!(written["refusal"]["reason"], "NO_LUCK");
        assert_eq!(written["refusal"]["participant"], "bank-a");
    }
}
