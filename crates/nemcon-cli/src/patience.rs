//! Lengths of time as people write them: `500ms`, `30s`, `5m`, `2h`.

use std::time::Duration;

/// Units, and how many milliseconds each has. The longest suffix first, so that
/// `ms` is not read as `s`.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Longest time that can be asked for. More than a week of waiting is a mistake.
const MILLIS_MAX: u64 = 7 * 24 * 3_600_000;

/// Reads a length of time, for the command line.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let millis = UNITS.iter().find_map(|(unit, scale)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*scale)
    });
    millis
        .filter(|millis| (1..=MILLIS_MAX).contains(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!("{text:?} is no length of time; want 500ms, 30s, 5m or 2h, at most 168h")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_number_and_a_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)));
        }
        for bad in [
            "",
            "5",
            "m",
            "0s",
            "-1s",
            "1.5m",
            "5 m",
            "169h",
            "99999999999999999999h",
        ] {
            assert!(parse(bad).unwrap_err().contains("want 500ms"), "{bad}");
        }
    }
}
