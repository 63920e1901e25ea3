//! `nemcon backup`: a node's data, taken while it works.
//!
//! ```text
//!   node ── MaintenanceService.BackUp ──▶ head, values …, pages …, end ──▶ a folder
//! ```
//!
//! The node may be on another machine, so it is asked over gRPC and the folder is
//! here. Until the end has come and everything is synced the folder says that it is
//! unfinished, and nothing takes it for a backup.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use nemcon_client::Address;
use nemcon_core::id::Lsn;
use nemcon_core::time::Millis;
use nemcon_net::{NODE_MESSAGE_BYTES_MAX, Refused};
use nemcon_proto::convert::{millis, timestamp};
use nemcon_proto::v1;
use nemcon_proto::v1::back_up_piece::Piece as WirePiece;
use nemcon_proto::v1::maintenance_service_client::MaintenanceServiceClient;
use nemcon_wal::RECORD_BYTES_MAX;
use nemcon_wal::backup::folder::{FolderError, FolderWriter, Manifest, Origin};
use nemcon_wal::backup::{End, Piece};
use prost_types::Timestamp;
use serde_json::json;
use tonic::Status;

use crate::failure::{Exit, Failure};
use crate::json;
use crate::out::say;

/// How long a node may take for the next piece. It makes them between flushes, and
/// gives a backup up by itself.
const PIECE_WAIT_MAX: Duration = Duration::from_secs(60);

/// How often the progress is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(200);

/// A piece has at least one item, and the largest is a record in a page of its own.
const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX + NODE_MESSAGE_BYTES_MAX;

/// End of the help text.
pub(crate) const HELP: &str = "\
The node goes on working. The backup has all that was acknowledged before the command began, and \
perhaps more. DIR must be new or empty; one that was interrupted says that it is unfinished, and \
cannot be restored. A backup cannot be started on either: `nemcon restore` makes a data directory \
of it, and `nemcon wal verify` checks it.

While a backup is taken the node's log cannot be shortened, so it is given up after half an hour \
(--backup-seconds-max of the node), after 30 s in which nobody takes what there is, and when the \
node's disk gets short of room.

Read docs/backup.md before you need a backup: a restored node has forgotten what it promised \
since, and says so to everyone it deals with.

Examples:
  nemcon backup backups/coordinator-monday
  nemcon backup backups/bank-a-monday --node http://127.0.0.1:7110";

/// What to back up, and where to.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Where to put it: a directory that is new or empty
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The node, coordinator or participant [default: the coordinator]
    #[arg(long, value_name = "URL")]
    node: Option<Address>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Takes a backup.
pub(crate) async fn run(arguments: Backup, coordinator: &Address) -> Result<Exit, Failure> {
    let Backup { dir, node, json } = arguments;
    let url = node.as_ref().unwrap_or(coordinator);
    let mut source = Source::open(url).await?;
    let (origin, first_page) = source.head().await?;
    let mut writer = FolderWriter::create(&dir, origin)?;
    writer.add(&Piece::Begun { first_page })?;
    let bar = progress();
    let ended_at = loop {
        match source.next().await? {
            WirePiece::Head(_) => return Err(source.nonsense("a second head")),
            WirePiece::Values(values) => {
                let values = values.values.into_iter().map(|it| (it.key, it.value));
                writer.add(&Piece::Values(values.collect()))?;
            }
            WirePiece::Pages(pages) => {
                let pages = pages.pages.into_iter().map(|it| (it.number, it.page));
                writer.add(&Piece::Pages(pages.collect()))?;
            }
            WirePiece::End(end) => {
                let (lsn, page) = (Lsn(end.last_record), end.last_page);
                writer.add(&Piece::Ended(End { lsn, page }))?;
                break source.time(end.ended_at)?;
            }
        }
        let (values, pages) = writer.amounts();
        bar.set_position(values.bytes + pages.bytes);
        bar.set_message(format!("{} values, {} pages", values.count, pages.count));
    };
    let manifest = writer.finish(ended_at.0)?;
    bar.finish_and_clear();
    if json {
        let mut said = described(&manifest);
        said["directory"] = dir.display().to_string().into();
        json::print(&said);
    } else {
        tell(&manifest, &dir.display().to_string());
    }
    Ok(Exit::Done)
}

/// A backup in words, for programs.
pub(crate) fn described(manifest: &Manifest) -> serde_json::Value {
    let Origin {
        kind,
        name,
        identity,
        program,
        begun_at_ms,
    } = &manifest.origin;
    json!({
        "kind": kind,
        "name": name,
        "identity": identity,
        "program": program,
        "begunAt": at(*begun_at_ms),
        "endedAt": at(manifest.ended_at_ms),
        "lastRecord": manifest.end.lsn.0,
        "values": manifest.values.count,
        "pages": manifest.pages.count,
        "bytes": manifest.values.bytes + manifest.pages.bytes,
    })
}

/// For people.
fn tell(manifest: &Manifest, dir: &str) {
    let Origin {
        kind,
        name,
        identity,
        begun_at_ms,
        ..
    } = &manifest.origin;
    say!("backed up {kind} {name} to {dir}");
    say!("  identity  {identity}");
    say!(
        "  state     all that was acknowledged before {}, up to record {}",
        at(*begun_at_ms),
        manifest.end.lsn
    );
    say!(
        "  size      {} values, {} pages, {} bytes",
        manifest.values.count,
        manifest.pages.count,
        manifest.values.bytes + manifest.pages.bytes
    );
    say!("  restore   nemcon restore {dir} --to DATA_DIR");
}

/// A time in milliseconds since 1970, as people write it.
pub(crate) fn at(ms: u64) -> String {
    timestamp(Millis(ms)).to_string()
}

/// Bytes that have come, on standard error if that is a terminal. How many there
/// will be the node does not know either.
fn progress() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = "{spinner} {bytes}  {bytes_per_sec:>14}  {elapsed}  {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(DRAWN_EVERY);
    bar
}

/// A backup as it comes from a node.
struct Source {
    url: String,
    pieces: tonic::Streaming<v1::BackUpPiece>,
}

impl Source {
    async fn open(url: &Address) -> Result<Self, Failure> {
        let mut client = MaintenanceServiceClient::new(nemcon_net::channel(url))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let url = url.to_string();
        let call = client.back_up(v1::BackUpRequest {});
        let pieces = match tokio::time::timeout(PIECE_WAIT_MAX, call).await {
            Ok(answer) => answer.map_err(|status| failed(&url, &status))?,
            Err(_) => return Err(silent(&url)),
        };
        let pieces = pieces.into_inner();
        Ok(Self { url, pieces })
    }

    /// What comes first.
    async fn head(&mut self) -> Result<(Origin, u64), Failure> {
        let WirePiece::Head(head) = self.next().await? else {
            return Err(self.nonsense("no head"));
        };
        let kind = match head.kind() {
            v1::NodeKind::Coordinator => "coordinator",
            v1::NodeKind::Participant => "participant",
            v1::NodeKind::Unspecified => return Err(self.nonsense("an unknown kind of node")),
        };
        let origin = Origin {
            kind: kind.to_owned(),
            // A line of the manifest each; a node has no name with such in it.
            name: head.name.replace(char::is_control, " "),
            identity: head.identity.replace(char::is_control, " "),
            program: head.program.replace(char::is_control, " "),
            begun_at_ms: self.time(head.begun_at)?.0,
        };
        Ok((origin, head.first_page))
    }

    async fn next(&mut self) -> Result<WirePiece, Failure> {
        let next = tokio::time::timeout(PIECE_WAIT_MAX, self.pieces.message()).await;
        let piece = match next {
            Err(_) => return Err(silent(&self.url)),
            Ok(Err(status)) => return Err(failed(&self.url, &status)),
            Ok(Ok(piece)) => piece,
        };
        let Some(piece) = piece else {
            return Err(Failure::Refused(format!(
                "the node at {} ended the backup before its end: it has given it up, or stopped; \
                 its log says why. Take another one",
                self.url
            )));
        };
        piece.piece.ok_or_else(|| self.nonsense("an empty piece"))
    }

    fn time(&self, at: Option<Timestamp>) -> Result<Millis, Failure> {
        let at = at.ok_or_else(|| self.nonsense("no time"))?;
        millis(at, "at").map_err(|error| self.nonsense(&error.to_string()))
    }

    fn nonsense(&self, what: &str) -> Failure {
        Failure::Nonsense(format!("the backup from {} has {what}", self.url))
    }
}

/// A no of the node is told apart from its silence.
fn failed(url: &str, status: &Status) -> Failure {
    match Refused::read(status) {
        Some(refused) => Failure::Refused(format!("the node at {url}: {refused}")),
        None => Failure::NodeSilent {
            url: url.to_owned(),
            why: status.message().to_owned(),
        },
    }
}

fn silent(url: &str) -> Failure {
    Failure::NodeSilent {
        url: url.to_owned(),
        why: format!("nothing came for {} s", PIECE_WAIT_MAX.as_secs()),
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        Self::Folder(Box::new(error))
    }
}
