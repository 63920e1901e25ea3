//! Settings of a node, from four places.
//!
//! ```text
//!   defaults  <  TOML (--config)  <  environment (NEMCON_…)  <  flags
//! ```
//!
//! A binary lists its settings once, as [`Field`]s. From that list come the
//! flags with their help, the names in the environment and in the file, and the
//! effective settings that `--check-config` prints. Values stay text until one
//! place, [`Raw`], parses them: so a bad value is reported in the same words
//! wherever it came from, and the report says where that was.

mod raw;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use nemcon_net::Address;
use nemcon_wal::Faults;
use nemcon_wal::backup::PinLimits;
use nemcon_wal::checkpoint::Due;
use nemcon_wal::faults::{Failure, Step};
pub use raw::{Field, Kind, Raw, SettingsError, Source, command, is_health_asked, is_only_checked};

/// Settings every node has.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where metrics and probes are served by HTTP.
    pub http: HttpListen,
    /// Where the log and the data live.
    pub data_dir: PathBuf,
    /// URL under which others reach this node; `None`: `http://` and the address
    /// it listens on.
    pub advertise: Option<String>,
    /// Listen beyond loopback although nothing is encrypted and nobody is asked
    /// who they are.
    pub insecure: bool,
    /// A file that gets the node's URL once it serves.
    pub ready_file: Option<PathBuf>,
    /// Where spans go, and of how many traces; off by default.
    pub traces: nemcon_trace::Settings,
    /// Limits of the shell.
    pub limits: Limits,
    /// What is wrong with the log's disk: for tests and benchmarks.
    pub faults: Faults,
}

/// Where a node serves `/metrics`, `/healthz` and `/readyz`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpListen {
    /// One port above that of gRPC; any free one where that is any free one.
    #[default]
    Next,
    /// There.
    At(SocketAddr),
    /// Nowhere.
    None,
}

/// Limits of the shell; each machine has its own besides.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests and answers queued before the machine. A full queue is a tenth
    /// of a second of work; more would only be waited for in vain.
    pub inbox_events_max: usize,
    /// Calls in flight to one peer.
    pub calls_in_flight_max: usize,
    /// When a checkpoint is due.
    pub checkpoint: Due,
    /// Bytes that have to be free under the data directory for new work to begin.
    pub free_bytes_min: u64,
    /// How long a backup may keep the log pinned.
    pub backup: PinLimits,
    /// How long a stop waits for what is in flight. 9 s by default: with the last
    /// flush and the goodbyes, a stop takes less than ten.
    pub drain_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inbox_events_max: 16_384,
            calls_in_flight_max: 4_096,
            checkpoint: Due::default(),
            free_bytes_min: nemcon_wal::Limits::default().free_bytes_min,
            backup: PinLimits::default(),
            drain_max: Duration::from_secs(9),
        }
    }
}

impl Settings {
    /// Settings for a node with the default limits.
    #[must_use]
    pub fn new(listen: SocketAddr, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen,
            http: HttpListen::default(),
            data_dir: data_dir.into(),
            advertise: None,
            insecure: false,
            ready_file: None,
            traces: nemcon_trace::Settings::default(),
            limits: Limits::default(),
            faults: Faults::default(),
        }
    }

    /// The fields of [`Settings`], with the defaults of one kind of node.
    #[must_use]
    pub fn fields(listen: &'static str, data_dir: &'static str) -> Vec<Field> {
        vec![
            Field::text("listen", "NEMCON_LISTEN", "HOST:PORT")
                .default(listen)
                .help("Address to listen on; port 0 takes any free one"),
            Field::text("http-listen", "NEMCON_HTTP_LISTEN", "HOST:PORT").help(
                "Address for /metrics, /healthz and /readyz, or none [default: one port above --listen]",
            ),
            Field::text("data-dir", "NEMCON_DATA_DIR", "DIR")
                .default(data_dir)
                .help("Directory of the log and the data, made if missing; one for each node"),
            Field::text("advertise", "NEMCON_ADVERTISE", "URL").help(
                "URL under which others reach this node [default: http:// and the address it listens on]",
            ),
            Field::switch("insecure", "NEMCON_INSECURE").help(
                "Listen beyond loopback without TLS: anyone who reaches the port can use the node",
            ),
            Field::text("ready-file", "NEMCON_READY_FILE", "PATH")
                .help("Write the node's URL to this file once it serves"),
            Field::text("otlp-endpoint", "NEMCON_OTLP_ENDPOINT", "URL")
                .under(TRACES)
                .help("Send spans to this collector, by OTLP over gRPC [default: no spans are made]"),
            Field::text("trace-ratio", "NEMCON_TRACE_RATIO", "RATIO")
                .default("1")
                .under(TRACES)
                .help("The share of traces that is recorded where no caller has decided, 0 to 1"),
            Field::number("drain-seconds", "NEMCON_DRAIN_SECONDS", "N")
                .default("9")
                .under(LIMITS)
                .help("How long a stop waits for what is in flight"),
            Field::number("inbox-events-max", "NEMCON_INBOX_EVENTS_MAX", "N")
                .default("16384")
                .under(LIMITS)
                .help("Requests that may wait in the queue; more are turned away"),
            Field::number("calls-in-flight-max", "NEMCON_CALLS_IN_FLIGHT_MAX", "N")
                .default("4096")
                .under(LIMITS)
                .help("Calls that may be in flight to one peer"),
            Field::number("checkpoint-records", "NEMCON_CHECKPOINT_RECORDS", "N")
                .default("32768")
                .under(LIMITS)
                .help("Log records after which a checkpoint is made"),
            Field::number("free-mib-min", "NEMCON_FREE_MIB_MIN", "N")
                .default("64")
                .under(LIMITS)
                .help("MiB that have to be free under the data directory for new work to begin"),
            Field::number("backup-seconds-max", "NEMCON_BACKUP_SECONDS_MAX", "N")
                .default("1800")
                .under(LIMITS)
                .help("How long a backup may take; until its end the log cannot be shortened"),
            Field::number("flush-delay-ms", "NEMCON_FLUSH_DELAY_MS", "N")
                .default("0")
                .under(EXPERIMENTS)
                .help("Make each flush of the log take so much longer, as on a slower disk"),
            Field::number("fail-flush-after", "NEMCON_FAIL_FLUSH_AFTER", "N")
                .default("0")
                .under(EXPERIMENTS)
                .help("Fail a flush of the log after so many; 0: none"),
        ]
    }

    /// Parses what [`Settings::fields`] lists.
    ///
    /// # Errors
    /// [`SettingsError`] names the field, its value, where that came from, and
    /// what is allowed.
    pub fn parse(raw: &Raw) -> Result<Self, SettingsError> {
        let settings = Self {
            listen: raw.required(
                "listen",
                "HOST:PORT, for example 127.0.0.1:7100",
                socket_address,
            )?,
            http: raw
                .optional("http-listen", HTTP_LISTEN, http_listen)?
                .unwrap_or_default(),
            data_dir: raw.required("data-dir", "a directory", path)?,
            advertise: raw.optional("advertise", URL, url)?,
            insecure: raw.switch("insecure")?,
            ready_file: raw.optional("ready-file", "a file name", path)?,
            traces: nemcon_trace::Settings {
                endpoint: raw.optional("otlp-endpoint", COLLECTOR, url)?,
                ratio: raw.required("trace-ratio", RATIO, ratio)?,
            },
            limits: Limits {
                inbox_events_max: usize_of(raw.number("inbox-events-max", 1..=1_000_000)?),
                calls_in_flight_max: usize_of(raw.number("calls-in-flight-max", 1..=1_000_000)?),
                checkpoint: Due {
                    records: raw.number("checkpoint-records", 1..=1_000_000_000)?,
                    ..Due::default()
                },
                free_bytes_min: raw.number("free-mib-min", 0..=1_048_576)? << 20,
                backup: PinLimits {
                    pinned_max: Duration::from_secs(raw.number("backup-seconds-max", 1..=86_400)?),
                    ..PinLimits::default()
                },
                drain_max: Duration::from_secs(raw.number("drain-seconds", 0..=3_600)?),
            },
            faults: Faults::default(),
        };
        let delay = raw.number("flush-delay-ms", 0..=10_000)?;
        settings.faults.slow_flushes(Duration::from_millis(delay));
        let after = raw.number("fail-flush-after", 0..=1_000_000_000)?;
        if after > 0 {
            settings.faults.fail(Failure {
                step: Step::Sync,
                after,
                done: false,
            });
        }
        settings.refuse_to_be_open_to_all(raw)?;
        Ok(settings)
    }

    /// Secure by default: without TLS a node keeps to its own machine.
    fn refuse_to_be_open_to_all(&self, raw: &Raw) -> Result<(), SettingsError> {
        if self.insecure {
            return Ok(());
        }
        if !self.listen.ip().is_loopback() {
            return Err(raw.refuse(
                "listen",
                "a loopback address such as 127.0.0.1:7100; elsewhere anyone who reaches the port \
                 could use this node, since it speaks without TLS: give --insecure if the network \
                 is trusted",
            ));
        }
        match self.http {
            HttpListen::At(address) if !address.ip().is_loopback() => Err(raw.refuse(
                "http-listen",
                "a loopback address such as 127.0.0.1:7101; elsewhere anyone who reaches the port \
                 could read the metrics: give --insecure if the network is trusted",
            )),
            HttpListen::At(_) | HttpListen::Next | HttpListen::None => Ok(()),
        }
    }
}

/// The heading of `--help` that limits stand under.
pub const LIMITS: &str = "Limits";

/// The heading for traces.
const TRACES: &str = "Traces";

/// The heading for what nobody sets who is not trying something out.
const EXPERIMENTS: &str = "Experiments";

/// What [`url`] takes, for error messages.
pub const URL: &str = "http://HOST:PORT, for example http://127.0.0.1:7100";

/// Takes the address of a node.
#[must_use]
pub fn url(text: &str) -> Option<String> {
    text.parse()
        .ok()
        .map(|address: Address| address.to_string())
}

/// What `otlp-endpoint` takes, for error messages.
const COLLECTOR: &str = "http://HOST:PORT of a collector, for example http://127.0.0.1:4317";

/// What [`ratio`] takes, for error messages.
pub const RATIO: &str = "a number from 0 (none) to 1 (all), for example 0.01";

/// Takes a share of all.
#[must_use]
pub fn ratio(text: &str) -> Option<f64> {
    let ratio = text.parse().ok()?;
    // Not a number is in no range.
    (0.0..=1.0).contains(&ratio).then_some(ratio)
}

/// What [`http_listen`] takes, for error messages.
const HTTP_LISTEN: &str = "HOST:PORT, for example 127.0.0.1:7101, or none";

fn http_listen(text: &str) -> Option<HttpListen> {
    match text {
        "none" => Some(HttpListen::None),
        _ => socket_address(text).map(HttpListen::At),
    }
}

/// Takes a socket address, or a host name that resolves to one.
#[must_use]
pub fn socket_address(text: &str) -> Option<SocketAddr> {
    text.parse()
        .ok()
        .or_else(|| text.to_socket_addrs().ok()?.next())
}

/// Takes any path but an empty one.
#[must_use]
pub fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

/// The bounds above fit everywhere.
fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Program;

    fn parse(arguments: &[&str]) -> Result<Settings, String> {
        let fields = Settings::fields("127.0.0.1:7100", "nemcon-data/test");
        let program = Program {
            name: "test",
            version: "1",
            about: "",
            examples: "",
        };
        let command = command(program, &fields);
        let arguments = std::iter::once(&"test").chain(arguments);
        let matches = command
            .try_get_matches_from(arguments)
            .map_err(|e| e.to_string())?;
        let raw = Raw::gather(fields, &matches, &|_| None).map_err(|e| e.to_string())?;
        Settings::parse(&raw).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_are_loopback_and_safe() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.listen, "127.0.0.1:7100".parse().unwrap());
        assert_eq!(settings.data_dir, PathBuf::from("nemcon-data/test"));
        assert!(!settings.insecure && settings.advertise.is_none());
        assert_eq!(
            settings.limits.inbox_events_max,
            Limits::default().inbox_events_max
        );
        assert_eq!(settings.limits.checkpoint, Due::default());
    }

    #[test]
    fn to_listen_beyond_loopback_takes_a_word() {
        let error = parse(&["--listen", "0.0.0.0:7100"]).unwrap_err();
        assert!(
            error.contains("0.0.0.0:7100") && error.contains("--insecure"),
            "{error}"
        );
        assert!(parse(&["--listen", "0.0.0.0:7100", "--insecure"]).is_ok());
    }

    #[test]
    fn metrics_keep_to_the_same_rule_and_can_be_left_out() {
        assert_eq!(parse(&[]).unwrap().http, HttpListen::Next);
        let none = parse(&["--http-listen", "none"]).unwrap();
        assert_eq!(none.http, HttpListen::None);
        let open = ["--http-listen", "0.0.0.0:7101"];
        let error = parse(&open).unwrap_err();
        assert!(
            error.contains("0.0.0.0:7101") && error.contains("--insecure"),
            "{error}"
        );
        let open = [&open[..], &["--insecure"]].concat();
        let at = HttpListen::At("0.0.0.0:7101".parse().unwrap());
        assert_eq!(parse(&open).unwrap().http, at);
        let error = parse(&["--http-listen", "7101"]).unwrap_err();
        assert!(error.contains("127.0.0.1:7101, or none"), "{error}");
    }

    #[test]
    fn traces_are_off_until_there_is_somewhere_to_send_them() {
        let off = nemcon_trace::Settings::default();
        assert_eq!(off.endpoint, None);
        assert_eq!(parse(&[]).unwrap().traces, off);
        let on = [
            "--otlp-endpoint",
            "http://collector:4317",
            "--trace-ratio=0.25",
        ];
        let on = parse(&on).unwrap().traces;
        assert_eq!(on.endpoint.as_deref(), Some("http://collector:4317"));
        assert!((on.ratio - 0.25).abs() < f64::EPSILON);
        for bad in ["1.01", "-0.1", "NaN", "half", ""] {
            let error = parse(&[&format!("--trace-ratio={bad}")]).unwrap_err();
            let names = format!("trace-ratio is {bad:?}");
            assert!(
                error.contains(&names) && error.contains("0 (none)"),
                "{error}"
            );
        }
        let error = parse(&["--otlp-endpoint", "collector:4317"]).unwrap_err();
        assert!(
            error.contains("collector:4317") && error.contains("http://127.0.0.1:4317"),
            "{error}"
        );
    }

    #[test]
    fn urls_are_checked() {
        assert_eq!(
            url("http://bank-a:7110/").as_deref(),
            Some("http://bank-a:7110")
        );
        for bad in [
            "bank-a:7110",
            "http://",
            "http://a:1/b",
            "ftp://a:1",
            "http://a",
        ] {
            assert_eq!(url(bad), None, "{bad}");
        }
    }
}
