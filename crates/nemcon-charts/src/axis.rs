//! Axes: where a value is, and which values are named beside the axis.
//!
//! Numbers only, so that any data can be tried in tests. Positions are `f64`: the
//! value itself, or its logarithm to the base of ten.

/// What an axis, or a figure, is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Milliseconds; shown in the unit that suits, from nanoseconds to days.
    Milliseconds,
    /// Pieces, or pieces per second.
    Count,
}

/// Below this no time is drawn on a scale of powers: one nanosecond, in
/// milliseconds.
const TIME_MIN_MS: f64 = 1e-6;

/// A range that is narrower than this part of its values is widened: letters could
/// not tell its ends apart.
const NARROWEST: f64 = 1e-3;

/// From this on, times the lowest, a range is drawn on a scale of powers.
const DECADES_FROM: f64 = 20.0;

/// Values beyond are drawn at the edge. No sum of a million of them overflows.
pub(crate) const VALUE_MAX: f64 = 1e300;

/// A named place on an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// Where, as a position.
    pub at: f64,
    /// What stands there, with its unit. Empty where only a line is drawn.
    pub label: String,
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Positions of its ends; the second is greater.
    pub from: f64,
    /// See `from`.
    pub to: f64,
    /// Whether positions are logarithms.
    pub logarithmic: bool,
    /// In their order, within the ends.
    pub ticks: Vec<Tick>,
}

impl Axis {
    /// For times between two values, both in milliseconds: on a scale of powers where
    /// they span more than a decade, and none is zero. At most `ticks_max` are named, at least one.
    #[must_use]
    pub fn times(low_ms: f64, high_ms: f64, ticks_max: usize) -> Self {
        let (low, high) = sensible(low_ms, high_ms);
        if low >= TIME_MIN_MS && high >= low * DECADES_FROM {
            return Self::powers(low, high, ticks_max);
        }
        let (low, high) = widened(low, high, TIME_MIN_MS);
        Self::even(low, high, ticks_max, Quantity::Milliseconds, 0.0)
    }

    /// From nothing to a number of pieces, of which there are no halves.
    #[must_use]
    pub fn counts(high: f64, ticks_max: usize) -> Self {
        let (_, high) = sensible(0.0, high);
        Self::even(0.0, high.max(1.0), ticks_max, Quantity::Count, 1.0)
    }

    /// From nothing to a number of pieces per second.
    #[must_use]
    pub fn rates(high: f64, ticks_max: usize) -> Self {
        let (_, high) = sensible(0.0, high);
        let high = if high > 1e-3 { high } else { 1.0 };
        Self::even(0.0, high, ticks_max, Quantity::Count, 0.0)
    }

    /// From the start to a time, in milliseconds.
    #[must_use]
    pub fn elapsed(high_ms: f64, ticks_max: usize) -> Self {
        let (_, high) = sensible(0.0, high_ms);
        Self::even(0.0, high.max(1.0), ticks_max, Quantity::Milliseconds, 0.0)
    }

    /// Where a value is, never outside of the axis.
    #[must_use]
    pub fn position(&self, value: f64) -> f64 {
        let value = if value.is_nan() { 0.0 } else { value };
        let position = if self.logarithmic {
            value.max(TIME_MIN_MS).log10()
        } else {
            value
        };
        position.clamp(self.from, self.to)
    }

    fn even(low: f64, high: f64, ticks_max: usize, quantity: Quantity, step_min: f64) -> Self {
        let unit = quantity.unit(high / quantity.patience(high));
        let parts = (high - low) / unit.size;
        let step = (step(parts, ticks_max.max(1), unit.sixties) * unit.size).max(step_min);
        let first = (low / step).ceil();
        let places = places(step / unit.size);
        let mut ticks = Vec::new();
        // Counted, not added up: adding a step to a huge number may change nothing.
        for number in 0..=ticks_max {
            let value = (first + number as f64) * step;
            if value > high * (1.0 + f64::EPSILON) {
                break;
            }
            let label = unit.label(value, places);
            ticks.push(Tick {
                at: value.clamp(low, high),
                label,
            });
        }
        Self {
            from: low,
            to: high,
            logarithmic: false,
            ticks,
        }
    }

    fn powers(low: f64, high: f64, ticks_max: usize) -> Self {
        let (from, to) = (low.log10(), high.log10());
        let decades = (to - from).max(1.0);
        let ticks_max = ticks_max.max(1);
        // 1, 2 and 5 of each decade where there is room, else every so many decades.
        let between: &[f64] = if decades * 3.0 < ticks_max as f64 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let every = (decades / ticks_max as f64).ceil().max(1.0) as i64;
        let mut ticks = Vec::new();
        for decade in (from.floor() as i64)..=(to.ceil() as i64) {
            if decade.rem_euclid(every) != 0 {
                continue;
            }
            for times in between {
                let at = decade as f64 + times.log10();
                if at >= from - 1e-9 && at <= to + 1e-9 {
                    let label = Quantity::Milliseconds.tell(10f64.powf(at));
                    ticks.push(Tick {
                        at: at.clamp(from, to),
                        label,
                    });
                }
            }
        }
        Self {
            from,
            to,
            logarithmic: true,
            ticks,
        }
    }
}

/// Two values as the ends of a range, whatever they are.
fn sensible(low: f64, high: f64) -> (f64, f64) {
    let finite = |value: f64| {
        if value.is_nan() {
            0.0
        } else {
            value.clamp(0.0, VALUE_MAX)
        }
    };
    let (low, high) = (finite(low), finite(high));
    (low.min(high), low.max(high))
}

/// A range wide enough to be drawn, around what it was.
fn widened(low: f64, high: f64, least: f64) -> (f64, f64) {
    let narrowest = (high * NARROWEST).max(least);
    if high - low >= narrowest {
        return (low, high);
    }
    let middle = f64::midpoint(low, high);
    let half = (middle / 2.0).max(least);
    ((middle - half).max(0.0), middle + half)
}

/// A unit of a quantity.
#[derive(Clone, Copy, Debug)]
struct Unit {
    /// In milliseconds, or pieces.
    size: f64,
    /// What stands behind the number.
    name: &'static str,
    /// Whether sixty make the next: then steps are 15 and 30 instead of 20 and 50.
    sixties: bool,
}

const TIMES: [Unit; 7] = [
    Unit {
        size: 1e-6,
        name: "ns",
        sixties: false,
    },
    Unit {
        size: 1e-3,
        name: "µs",
        sixties: false,
    },
    Unit {
        size: 1.0,
        name: "ms",
        sixties: false,
    },
    Unit {
        size: 1e3,
        name: "s",
        sixties: true,
    },
    Unit {
        size: 6e4,
        name: "min",
        sixties: true,
    },
    Unit {
        size: 3.6e6,
        name: "h",
        sixties: false,
    },
    Unit {
        size: 8.64e7,
        name: "d",
        sixties: false,
    },
];

const COUNTS: [Unit; 4] = [
    Unit {
        size: 1.0,
        name: "",
        sixties: false,
    },
    Unit {
        size: 1e6,
        name: "M",
        sixties: false,
    },
    Unit {
        size: 1e9,
        name: "G",
        sixties: false,
    },
    Unit {
        size: 1e12,
        name: "T",
        sixties: false,
    },
];

impl Quantity {
    /// The unit for values up to this one: the largest that is not larger.
    fn unit(self, high: f64) -> Unit {
        let units: &[Unit] = match self {
            Self::Milliseconds => &TIMES,
            Self::Count => &COUNTS,
        };
        // Ten thousandths of room: 999.99 µs are told as 1 ms.
        let fits = |unit: &&Unit| unit.size <= high * 1.0001;
        *units.iter().rev().find(fits).unwrap_or(&units[0])
    }

    /// An axis goes on in seconds up to three minutes, and so on: in parts of a minute
    /// nobody reads.
    fn patience(self, high: f64) -> f64 {
        let sixties = self == Self::Milliseconds && high >= TIMES[4].size;
        if sixties { 3.0 } else { 1.0 }
    }

    /// A value in the unit that suits it, to three digits.
    #[must_use]
    pub fn tell(self, value: f64) -> String {
        let unit = self.unit(value);
        let number = value / unit.size;
        let places = match number {
            number if number >= 99.95 || number == 0.0 => 0,
            number if number >= 9.995 => 1,
            _ => 2,
        };
        // Whole numbers need no places; a value of zero needs a sensible unit.
        let whole = (number - number.round()).abs() < 1e-9 * number.max(1.0);
        if value <= 0.0 {
            let unit = if self == Self::Count { "" } else { " ms" };
            return format!("0{unit}");
        }
        unit.label(number * unit.size, if whole { 0 } else { places })
    }
}

impl Unit {
    fn label(self, value: f64, places: usize) -> String {
        let number = value / self.size;
        // Beyond, digits are noise.
        let number = if number >= 1e9 {
            format!("{number:.2e}")
        } else {
            grouped(&format!("{number:.places$}"))
        };
        match self.name {
            "" => number,
            name => format!("{number} {name}"),
        }
    }
}

/// A number with a comma between thousands.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// The smallest round step of which at most so many are in a range.
fn step(range: f64, most: usize, sixties: bool) -> f64 {
    let least = (range / most as f64).max(f64::MIN_POSITIVE);
    if sixties && least > 10.0 && least <= 30.0 {
        return if least <= 15.0 { 15.0 } else { 30.0 };
    }
    let power = 10f64.powf(least.log10().floor());
    let rounded = [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power);
    let enough = |step: &f64| *step >= least * (1.0 - 1e-9);
    rounded.into_iter().find(enough).unwrap_or(power * 10.0)
}

/// How many places behind the point a step has.
fn places(step: f64) -> usize {
    let places = (-step.log10()).ceil();
    // A step of 0.5 has one, and so has 0.1, whose logarithm is not exact.
    (places - 1e-9).ceil().clamp(0.0, 9.0) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn steps_are_round_and_have_units() {
        assert_eq!(
            labels(&Axis::times(1.2, 4.1, 6)),
            ["1.5 ms", "2.0 ms", "2.5 ms", "3.0 ms", "3.5 ms", "4.0 ms"]
        );
        assert_eq!(
            labels(&Axis::elapsed(10_000.0, 5)),
            ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]
        );
        assert_eq!(
            labels(&Axis::elapsed(60_000.0, 6)),
            ["0 s", "10 s", "20 s", "30 s", "40 s", "50 s", "60 s"]
        );
        assert_eq!(labels(&Axis::counts(1.0, 5)), ["0", "1"]);
        assert_eq!(labels(&Axis::rates(0.5, 2)), ["0.0", "0.5"]);
        assert_eq!(
            labels(&Axis::elapsed(50_000.0, 4)),
            ["0 s", "15 s", "30 s", "45 s"]
        );
        assert_eq!(
            labels(&Axis::counts(2_500.0, 5)),
            ["0", "500", "1,000", "1,500", "2,000", "2,500"]
        );
        assert_eq!(labels(&Axis::counts(3e6, 3)), ["0 M", "1 M", "2 M", "3 M"]);
    }

    #[test]
    fn decades_are_drawn_as_powers() {
        let axis = Axis::times(0.05, 3_000.0, 8);
        assert!(axis.logarithmic);
        assert_eq!(labels(&axis), ["100 µs", "1 ms", "10 ms", "100 ms", "1 s"]);
        let axis = Axis::times(1.0, 40.0, 8);
        assert_eq!(labels(&axis), ["1 ms", "2 ms", "5 ms", "10 ms", "20 ms"]);
        assert!(!Axis::times(1.0, 9.0, 8).logarithmic);
    }

    #[test]
    fn figures_have_three_digits() {
        for (ms, told) in [
            (0.0, "0 ms"),
            (0.000_25, "250 ns"),
            (0.0421, "42.1 µs"),
            (0.999_99, "1.00 ms"),
            (1.0, "1 ms"),
            (1.234, "1.23 ms"),
            (123.4, "123 ms"),
            (2_500.0, "2.50 s"),
            (90_000.0, "1.50 min"),
            (7.2e6, "2 h"),
            (1e300, "1.16e292 d"),
        ] {
            assert_eq!(Quantity::Milliseconds.tell(ms), told);
        }
        for (count, told) in [
            (0.0, "0"),
            (12_345.0, "12,345"),
            (12.34, "12.3"),
            (2.5e6, "2.50 M"),
        ] {
            assert_eq!(Quantity::Count.tell(count), told);
        }
    }

    proptest! {
        /// Whatever the data: ends in order, ticks within them, in order and not too
        /// many, and no two with one label.
        #[test]
        fn every_axis_can_be_drawn(low in any::<f64>(), high in any::<f64>(), most in 2_usize..20) {
            for axis in [
                Axis::times(low, high, most),
                Axis::counts(high, most),
                Axis::rates(high, most),
                Axis::elapsed(high, most),
            ] {
                prop_assert!(axis.from.is_finite() && axis.to.is_finite() && axis.from < axis.to, "{axis:?}");
                prop_assert!(axis.ticks.len() <= most + 1, "{axis:?}");
                for tick in &axis.ticks {
                    prop_assert!((axis.from..=axis.to).contains(&tick.at), "{axis:?}");
                }
                for pair in axis.ticks.windows(2) {
                    prop_assert!(pair[0].at < pair[1].at, "{axis:?}");
                    prop_assert_ne!(&pair[0].label, &pair[1].label);
                }
                let position = axis.position(low);
                prop_assert!((axis.from..=axis.to).contains(&position));
            }
        }

        /// The same for times as they are: at least one tick is named.
        #[test]
        fn times_have_ticks(low in 1e-3..1e6, times in 1.0..1e6) {
            let axis = Axis::times(low, low * times, 7);
            prop_assert!(!axis.ticks.is_empty(), "{axis:?}");
        }
    }
}
