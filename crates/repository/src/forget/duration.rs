//! Durations of the calendar, as restic's `--keep-within` takes them: `1y5m7d2h`.

use std::fmt;
use std::str::FromStr;

use crate::time::Time;

/// Years, months, days and hours; how long that is depends on the date it is counted from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CalendarDuration {
    /// Years.
    pub years: i64,
    /// Months.
    pub months: i64,
    /// Days.
    pub days: i64,
    /// Hours.
    pub hours: i64,
}

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// Digits were expected.
    #[error("no number found in duration `{0}` where one is expected")]
    Number(String),
    /// A number too large.
    #[error("a number in duration `{0}` is too large")]
    TooLarge(String),
    /// The text ends after a number.
    #[error("no unit found in duration `{0}` after number {1}: y, m, d or h is expected")]
    NoUnit(String, i64),
    /// Not one of the four units.
    #[error("invalid unit `{unit}` in duration `{text}`: y, m, d or h is expected")]
    Unit {
        /// The whole text.
        text: String,
        /// What stands in place of a unit.
        unit: char,
    },
}

impl CalendarDuration {
    /// Whether every part is zero; a rule of such a duration is off.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a part counts backwards.
    pub const fn is_negative(&self) -> bool {
        self.years < 0 || self.months < 0 || self.days < 0 || self.hours < 0
    }

    /// The moment this long before another: first the date in the moment's offset, then the hours.
    pub fn before(&self, moment: &Time) -> Time {
        let date = moment.add_date(-self.years, -self.months, -self.days);
        date.add_seconds(self.hours.saturating_mul(-3600))
    }
}

impl FromStr for CalendarDuration {
    type Err = ParseDurationError;

    /// Parts in any order; a unit that comes twice counts as written last, as in restic.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(60).collect::<String>();
        let mut duration = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let digits = rest.strip_prefix('-').unwrap_or(rest);
            let length = digits.bytes().take_while(u8::is_ascii_digit).count();
            if length == 0 {
                return Err(ParseDurationError::Number(shown()));
            }
            let number: i64 = digits[..length]
                .parse()
                .map_err(|_| ParseDurationError::TooLarge(shown()))?;
            // Calendar arithmetic stays exact far beyond any date at this bound.
            if number > 1_000_000_000 {
                return Err(ParseDurationError::TooLarge(shown()));
            }
            let number = if digits.len() < rest.len() {
                -number
            } else {
                number
            };
            rest = &digits[length..];
            let Some(unit) = rest.chars().next() else {
                return Err(ParseDurationError::NoUnit(shown(), number));
            };
            match unit {
                'y' => duration.years = number,
                'm' => duration.months = number,
                'd' => duration.days = number,
                'h' => duration.hours = number,
                unit => {
                    return Err(ParseDurationError::Unit {
                        text: shown(),
                        unit,
                    });
                }
            }
            rest = &rest[1..];
        }
        Ok(duration)
    }
}

impl fmt::Display for CalendarDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, unit) in [
            (self.years, 'y'),
            (self.months, 'm'),
            (self.days, 'd'),
            (self.hours, 'h'),
        ] {
            if number != 0 {
                write!(formatter, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}
