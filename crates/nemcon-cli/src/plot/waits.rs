//! Who waits for whom.

use std::path::{Path, PathBuf};

use clap::Args;
use nemcon_charts::Wait;
use nemcon_client::Address;
use serde_json::Value;

use super::{Out, field, malformed, named, number, read};
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// End of the help text.
pub(super) const HELP: &str = "\
An arrow leads to whom is waited for. What the participants answer is not of one moment, so a \
circle need not be a deadlock; those that are are broken within a fraction of a second.

Examples:
  nemcon plot waits --out waits.svg
  nemcon waits --json > waits.json; nemcon plot waits --from waits.json --out waits.svg";

/// What to draw.
#[derive(Debug, Args)]
pub(crate) struct Waits {
    #[command(flatten)]
    out: Out,
    /// Draw a file instead, as `nemcon waits --json` prints it
    #[arg(long, value_name = "FILE.json")]
    from: Option<PathBuf>,
}

/// Draws. Where somebody did not answer the picture says so, and so does the exit code.
pub(super) async fn run(arguments: Waits, coordinator: &Address) -> Result<Exit, Failure> {
    arguments.out.check()?;
    let data = match &arguments.from {
        Some(path) => nemcon_charts::Waits {
            waits: of_file(path)?,
            silent: Vec::new(),
            about: named(path),
        },
        None => of_coordinator(coordinator).await?,
    };
    arguments.out.write(nemcon_charts::waits(&data))?;
    if data.silent.is_empty() {
        return Ok(Exit::Done);
    }
    let silent = data.silent.join(", ");
    eprintln!("nemcon: no answer from {silent}; who waits there is missing");
    Ok(Exit::Unreachable)
}

async fn of_coordinator(coordinator: &Address) -> Result<nemcon_charts::Waits, Failure> {
    let session = Session::open(coordinator).await?;
    let view = session.client().waits().await?;
    Ok(nemcon_charts::Waits {
        waits: crate::waits::drawable(&view),
        silent: view.silent.iter().map(ToString::to_string).collect(),
        about: coordinator.to_string(),
    })
}

fn of_file(path: &Path) -> Result<Vec<Wait>, Failure> {
    let file = read(path)?;
    let waits = file.as_array();
    let waits =
        waits.ok_or_else(|| malformed(path, "it is no list, as `nemcon waits --json` prints"))?;
    let read = |(place, wait): (usize, &Value)| {
        let wrong = |what: &str| malformed(path, &format!("wait {}: {what}", place + 1));
        let text = |name: &str| {
            let found = wait.get(name).and_then(Value::as_str);
            found
                .map(str::to_owned)
                .ok_or_else(|| wrong(&format!("{name} is missing, or no text")))
        };
        let ids = |name: &str| -> Result<Vec<String>, Failure> {
            let found = wait.get(name).and_then(Value::as_array);
            let list = found.ok_or_else(|| wrong(&format!("{name} is missing, or no list")))?;
            let ids = list.iter().map(|it| it.as_str().map(str::to_owned));
            ids.collect::<Option<_>>()
                .ok_or_else(|| wrong(&format!("{name} has what is no text")))
        };
        let waited = field(wait, "waitedMs", "waited_ms").and_then(number);
        Ok(Wait {
            waiter: text("transactionId")?,
            waited_ms: waited.ok_or_else(|| wrong("waitedMs is missing, or no number"))? as u64,
            participant: text("participant")?,
            key: text("key")?,
            held_by: ids("heldBy")?,
            behind: ids("behind")?,
        })
    };
    waits.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Vec<Wait>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        of_file(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_waits_prints_is_read() {
        let read = file(
            r#"[{"transactionId": "t", "waitedMs": 12, "participant": "bank-a", "key": "k",
                "heldBy": ["h"], "behind": []}]"#,
        );
        let wait = read.unwrap().remove(0);
        assert_eq!(
            (wait.waiter.as_str(), wait.waited_ms, wait.held_by),
            ("t", 12, vec!["h".to_owned()])
        );
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        for (text, said) in [
            ("{}", "it is no list, as `nemcon waits --json` prints"),
            ("[{}]", "wait 1: transactionId is missing, or no text"),
            (
                r#"[{"transactionId": "t"}]"#,
                "wait 1: waitedMs is missing, or no number",
            ),
        ] {
            let error = file(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
