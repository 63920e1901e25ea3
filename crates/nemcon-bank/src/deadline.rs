//! How much time a call has.
//!
//! A customer sets the deadline of a call in the way of gRPC, and it becomes that
//! of the transaction the call runs. So a customer who has stopped waiting does
//! not keep accounts locked.

use std::time::Duration;

use nemcon_core::limits;
use tonic::metadata::MetadataMap;

/// Where gRPC carries the deadline, as the time that is left.
const HEADER: &str = "grpc-timeout";

/// How long a call without a deadline is worked on: a transaction of 10 seconds,
/// the coordinators' default, and as much again by half for a coordinator that
/// restarts meanwhile.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(15);

/// What is kept for each way back, from the coordinator to us and from us to the
/// customer, so that the answer arrives before the customer hangs up: a tenth of
/// the time, and no more than this.
const WAY_BACK_MAX: Duration = Duration::from_millis(200);

/// The time a call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeLeft {
    /// How long to wait for an outcome.
    pub(crate) patience: Duration,
    /// The deadline of the transaction; `None`: the coordinator's default.
    pub(crate) transaction: Option<Duration>,
}

impl TimeLeft {
    /// Reads what a call came with.
    pub(crate) fn of(metadata: &MetadataMap) -> Self {
        let header = metadata.get(HEADER).and_then(|value| value.to_str().ok());
        match header.and_then(parse) {
            Some(left) => Self::within(left),
            None => Self {
                patience: PATIENCE_DEFAULT,
                transaction: None,
            },
        }
    }

    fn within(left: Duration) -> Self {
        let way_back = WAY_BACK_MAX.min(left / 10);
        let patience = left.saturating_sub(way_back);
        let longest = Duration::from_millis(limits::DEADLINE_MAX.0);
        let transaction = Some(patience.saturating_sub(way_back).min(longest));
        Self {
            patience,
            transaction,
        }
    }
}

/// Reads up to eight digits and a unit, as the gRPC protocol has it. What is
/// malformed counts as no deadline, as it does for the server below us.
fn parse(header: &str) -> Option<Duration> {
    let unit = header.chars().next_back()?;
    let digits = header.strip_suffix(unit)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(number * 3_600)),
        'M' => Some(Duration::from_secs(number * 60)),
        'S' => Some(Duration::from_secs(number)),
        'm' => Some(Duration::from_millis(number)),
        'u' => Some(Duration::from_micros(number)),
        'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time_left(header: &str) -> TimeLeft {
        let mut metadata = MetadataMap::new();
        metadata.insert(HEADER, header.parse().unwrap());
        TimeLeft::of(&metadata)
    }

    #[test]
    fn every_unit_is_read() {
        for (header, seconds) in [
            ("2H", 7_200.0),
            ("3M", 180.0),
            ("4S", 4.0),
            ("5m", 0.005),
            ("6u", 0.000_006),
            ("99999999n", 0.099_999_999),
        ] {
            assert_eq!(
                parse(header),
                Some(Duration::from_secs_f64(seconds)),
                "{header}"
            );
        }
    }

    #[test]
    fn nonsense_is_no_deadline() {
        for header in ["", "S", "1", "1s", "123456789S", "-1S", "1.5S", "1 S", "ž"] {
            assert_eq!(parse(header), None, "{header:?}");
        }
        let none = TimeLeft::of(&MetadataMap::new());
        assert_eq!(
            none,
            TimeLeft {
                patience: PATIENCE_DEFAULT,
                transaction: None
            }
        );
        assert_eq!(time_left("soon"), none);
    }

    #[test]
    fn the_transaction_ends_before_the_call_does() {
        let short = time_left("100m");
        assert_eq!(short.patience, Duration::from_millis(90));
        assert_eq!(short.transaction, Some(Duration::from_millis(80)));
        let usual = time_left("10S");
        assert_eq!(usual.patience, Duration::from_millis(9_800));
        assert_eq!(usual.transaction, Some(Duration::from_millis(9_600)));
    }

    #[test]
    fn no_transaction_lasts_longer_than_one_may() {
        let patient = time_left("1H");
        assert_eq!(patient.transaction, Some(Duration::from_secs(300)));
        assert_eq!(patient.patience, Duration::from_millis(3_599_800));
    }
}
