//! `nemcon wal dump`: every record, in words.

use clap::Args;
use nemcon_core::id::Lsn;
use nemcon_wal::page::Kind as PageKind;
use nemcon_wal::{OpenError, Reader};
use serde_json::{Map, Value, json};

use super::Place;
use super::describe::{Kind, describe};
use super::verify::Kinds;
use crate::failure::{Exit, Failure, complain};
use crate::out::say;

/// What to print.
#[derive(Debug, Args)]
pub(crate) struct Dump {
    #[command(flatten)]
    place: Place,
    /// Begin at this record
    #[arg(long, value_name = "LSN", default_value_t = 1)]
    from: u64,
    /// Print the values of the data too
    #[arg(long)]
    values: bool,
    /// Print JSON, an object to a line
    #[arg(long)]
    json: bool,
}

/// Prints what is in a log, whole or not.
pub(super) fn run(arguments: &Dump) -> Result<Exit, Failure> {
    let (reader, _scratch) = arguments.place.open()?;
    let printer = Printer {
        kind: kind(&reader)?,
        from: Lsn(arguments.from),
        json: arguments.json,
    };
    let mut exit = Exit::Done;
    if !arguments.json {
        say!("{:>8}  {:>10}  {:<18}  WHAT", "PAGE", "LSN", "RECORD");
    }
    reader.for_each_page(|page| match page {
        Ok((header, frames)) => {
            for frame in frames {
                exit = worse(exit, printer.record(header.page, frame.lsn, frame.bytes));
            }
            if let PageKind::CheckpointClosed { first_page } = header.kind {
                printer.checkpoint(header.page, header.first_lsn, first_page);
            }
        }
        Err(error) => exit = worse(exit, unreadable(&error)),
    })?;
    if arguments.values {
        if !arguments.json {
            say!("\n{:>10}  {:<40}  VALUE", "LSN", "KEY");
        }
        reader.for_each_value(|key, value| match value {
            Ok((lsn, value)) => printer.value(key, lsn, value),
            Err(why) => {
                let key = key.escape_ascii();
                complain(&Failure::Refused(format!("the value of key {key}: {why}")));
                exit = Exit::Refused;
            }
        })?;
    }
    Ok(exit)
}

/// Whose log it is: as a coordinator's if nothing tells.
fn kind(reader: &Reader) -> Result<Kind, Failure> {
    let mut kinds = Kinds::default();
    reader.for_each_page(|page| {
        for frame in page.into_iter().flat_map(|(_, frames)| frames) {
            // A record of neither kind is told when it is printed.
            let _ = kinds.see(frame.bytes);
        }
    })?;
    Ok(kinds.kind().unwrap_or(Kind::Coordinator))
}

fn worse(one: Exit, other: Exit) -> Exit {
    if one == Exit::Done { other } else { one }
}

fn unreadable(error: &OpenError) -> Exit {
    complain(&Failure::Refused(
        nemcon_node::node::Chain(error).to_string(),
    ));
    Exit::Refused
}

struct Printer {
    kind: Kind,
    from: Lsn,
    json: bool,
}

impl Printer {
    fn record(&self, page: u64, lsn: Lsn, bytes: &[u8]) -> Exit {
        if lsn < self.from {
            return Exit::Done;
        }
        let said = match describe(self.kind, bytes) {
            Ok(said) => said,
            Err(error) => {
                let what = format!("record {lsn} (page {page}): {error}");
                complain(&Failure::Refused(what));
                return Exit::Refused;
            }
        };
        if self.json {
            let fields = said.fields.into_iter();
            let fields: Map<String, Value> = fields
                .map(|(name, value)| (name.replace(' ', "_"), value.into()))
                .collect();
            let line = json!({
                "page": page, "lsn": lsn.0, "record": said.record, "fields": fields,
            });
            say!("{line}");
        } else {
            let fields: Vec<String> = said
                .fields
                .into_iter()
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            say!(
                "{page:>8}  {:>10}  {:<18}  {}",
                lsn.0,
                said.record,
                fields.join("  ")
            );
        }
        Exit::Done
    }

    fn checkpoint(&self, page: u64, lsn: Lsn, first_page: u64) {
        if lsn < self.from {
        } else if self.json {
            let line = json!({ "page": page, "checkpoint_closed": { "replay_from": first_page } });
            say!("{line}");
        } else {
            let what = format!("replay begins at page {first_page}");
            say!("{page:>8}  {:>10}  {:<18}  {what}", "", "checkpoint closed");
        }
    }

    fn value(&self, key: &[u8], lsn: Lsn, value: &[u8]) {
        let key = key.escape_ascii().to_string();
        if self.json {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            let line = json!({ "key": key, "lsn": lsn.0, "value": hex });
            say!("{line}");
        } else {
            say!("{:>10}  {key:<40}  {} bytes", lsn.0, value.len());
        }
    }
}
