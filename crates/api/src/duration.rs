//! Durations as manifests write them: Go's `time.Duration` text, such as `1h30m`, `90s` or `1.5h`.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A signed length of time with nanosecond resolution, read and written as Go does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GoDuration {
    nanoseconds: i64,
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing, or nothing but a sign.
    #[error("the duration is empty")]
    Empty,
    /// A number has no unit behind it.
    #[error("the number `{number}` has no unit")]
    MissingUnit {
        /// The number as written.
        number: String,
    },
    /// The unit is none of Go's.
    #[error("`{unit}` is not a unit")]
    UnknownUnit {
        /// The unit as written.
        unit: String,
    },
    /// A number was expected.
    #[error("a number is expected at `{rest}`")]
    MissingNumber {
        /// What stands there instead.
        rest: String,
    },
    /// The duration is negative where it must not be.
    #[error("the duration is negative")]
    Negative,
    /// The value exceeds 64 bits of nanoseconds, about 292 years.
    #[error("the duration is longer than 292 years")]
    TooLong,
}

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl GoDuration {
    /// The duration of that many nanoseconds.
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self { nanoseconds }
    }

    /// The duration of that many whole seconds; saturates at about 292 years.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self {
            nanoseconds: seconds.saturating_mul(1_000_000_000),
        }
    }

    /// The length in nanoseconds; negative durations exist.
    pub const fn nanoseconds(self) -> i64 {
        self.nanoseconds
    }

    /// Whether the duration is longer than nothing.
    pub const fn is_positive(self) -> bool {
        self.nanoseconds > 0
    }

    /// The duration for Rust's clocks; `None` when it is negative.
    pub fn to_std(self) -> Option<std::time::Duration> {
        u64::try_from(self.nanoseconds)
            .ok()
            .map(std::time::Duration::from_nanos)
    }

    /// The nearest duration to one of Rust's; saturates at about 292 years.
    pub fn from_std(duration: std::time::Duration) -> Self {
        Self {
            nanoseconds: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX),
        }
    }

    /// The same duration rounded to whole seconds, halves away from zero.
    #[must_use]
    pub fn rounded_to_seconds(self) -> Self {
        let half = if self.nanoseconds < 0 {
            -500_000_000
        } else {
            500_000_000
        };
        Self::from_seconds(self.nanoseconds.saturating_add(half) / 1_000_000_000)
    }
}

/// Reads a duration that must not be negative, for Rust's clocks.
pub fn parse(text: &str) -> Result<std::time::Duration, DurationError> {
    text.parse::<GoDuration>()?
        .to_std()
        .ok_or(DurationError::Negative)
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if unsigned == "0" {
            return Ok(Self::default());
        }
        if unsigned.is_empty() {
            return Err(DurationError::Empty);
        }
        let mut total: i128 = 0;
        let mut rest = unsigned;
        while !rest.is_empty() {
            let (term, behind) = parse_term(rest)?;
            total += term;
            if total > i128::from(i64::MAX) {
                return Err(DurationError::TooLong);
            }
            rest = behind;
        }
        let signed = if negative { -total } else { total };
        i64::try_from(signed)
            .map(Self::from_nanoseconds)
            .map_err(|_| DurationError::TooLong)
    }
}

/// One number with its unit, in nanoseconds, and the text behind it.
fn parse_term(text: &str) -> Result<(i128, &str), DurationError> {
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, behind) = text.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(DurationError::MissingNumber {
            rest: text.to_owned(),
        });
    }
    let unit_end = behind
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(behind.len());
    let (unit, rest) = behind.split_at(unit_end);
    if unit.is_empty() {
        return Err(DurationError::MissingUnit {
            number: number.to_owned(),
        });
    }
    let scale = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, scale)| i128::from(*scale))
        .ok_or_else(|| DurationError::UnknownUnit {
            unit: unit.to_owned(),
        })?;
    let whole: i128 = match whole {
        "" => 0,
        digits if digits.len() > 19 => return Err(DurationError::TooLong),
        digits => digits.parse().map_err(|_| DurationError::TooLong)?,
    };
    // More than 15 digits of a fraction cannot change the nanoseconds of an hour.
    let digits = &fraction[..fraction.len().min(15)];
    let numerator: i128 = if digits.is_empty() {
        0
    } else {
        digits.parse().unwrap_or(0)
    };
    let denominator = 10_i128.pow(u32::try_from(digits.len()).unwrap_or(0));
    Ok((whole * scale + numerator * scale / denominator, rest))
}

impl fmt::Display for GoDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.nanoseconds.unsigned_abs();
        let sign = if self.nanoseconds < 0 { "-" } else { "" };
        let text = match magnitude {
            0 => "0s".to_owned(),
            1..1_000 => format!("{magnitude}ns"),
            1_000..1_000_000 => format!("{}µs", decimal(magnitude, 1_000)),
            1_000_000..1_000_000_000 => format!("{}ms", decimal(magnitude, 1_000_000)),
            _ => {
                let minutes = magnitude / 60_000_000_000;
                let seconds = decimal(magnitude % 60_000_000_000, 1_000_000_000);
                match (minutes / 60, minutes % 60) {
                    (0, 0) => format!("{seconds}s"),
                    (0, minutes) => format!("{minutes}m{seconds}s"),
                    (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
                }
            }
        };
        write!(formatter, "{sign}{text}")
    }
}

/// `value / unit` without trailing zeros behind the point.
fn decimal(value: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let text = format!("{}.{:0digits$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GoDuration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "duration" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let cases = [
            ("0", 0),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("-2m", -120_000_000_000),
            ("+3us", 3_000),
            ("3µs", 3_000),
            ("1h1ns", 3_600_000_000_001),
        ];
        for (text, nanoseconds) in cases {
            assert_eq!(
                text.parse(),
                Ok(GoDuration::from_nanoseconds(nanoseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn texts_that_are_no_duration_are_refused() {
        for text in [
            "",
            "-",
            "5",
            "1d",
            "h",
            "1.2.3s",
            "5 m",
            "1h ",
            "10m5",
            "9999999999999h",
            ".s",
        ] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let cases = [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (5_400_000_000_000, "1h30m0s"),
            (-3_600_000_000_000, "-1h0m0s"),
        ];
        for (nanoseconds, text) in cases {
            assert_eq!(GoDuration::from_nanoseconds(nanoseconds).to_string(), text);
        }
    }
}
