//! Times as restic writes them: RFC 3339 with nanoseconds and the writer's offset.
//!
//! Owns the moment with its offset, its text form and its calendar fields. Reading the clock and finding
//! the offset of this machine's zone is left to callers.

mod civil;
#[cfg(test)]
mod tests;
mod text;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::civil::Civil;
pub use self::text::ParseTimeError;

/// A moment and the offset in which it was written.
///
/// Equality, order and hash look at the moment only; calendar fields, which retention cares about, are those
/// of the offset. The year in the offset is always within 0 and 9999, as restic clamps it.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    /// Since 1970-01-01T00:00:00Z, without leap seconds.
    unix_seconds: i64,
    /// Within the second, below 1,000,000,000.
    nanoseconds: u32,
    /// East of Greenwich.
    offset_seconds: i32,
}

impl Time {
    /// What Go calls the zero time, `0001-01-01T00:00:00Z`; restic writes it for times it does not know.
    pub const ZERO: Self = Self {
        unix_seconds: -62_135_596_800,
        nanoseconds: 0,
        offset_seconds: 0,
    };

    /// A moment from seconds since the epoch and nanoseconds within the second (both as `stat` gives them).
    /// A year beyond 0 to 9999 in the offset becomes the nearer of the two, everything else of the date
    /// stays, as restic does it; nanoseconds beyond a second are cut.
    pub fn from_unix(seconds: i64, nanoseconds: u32, offset: Offset) -> Self {
        let offset_seconds = offset.seconds();
        let nanoseconds = nanoseconds.min(999_999_999);
        let mut local = seconds.saturating_add(i64::from(offset_seconds));
        if !civil::LOCAL_SECONDS.contains(&local) {
            let mut clamped = Civil::from_local_seconds(local);
            clamped.year = if local < 0 { 0 } else { 9999 };
            local = clamped.to_local_seconds();
        }
        Self {
            unix_seconds: local - i64::from(offset_seconds),
            nanoseconds,
            offset_seconds,
        }
    }

    /// A moment with the offset that this zone has at it.
    pub fn from_unix_in(seconds: i64, nanoseconds: u32, zone: &TimeZone) -> Self {
        let offset =
            Timestamp::from_second(seconds).map_or(Offset::UTC, |moment| zone.to_offset(moment));
        Self::from_unix(seconds, nanoseconds, offset)
    }

    /// A moment in an offset.
    pub fn new(timestamp: Timestamp, offset: Offset) -> Self {
        // jiff's fraction has the sign of the whole; ours always counts forward.
        let (mut seconds, mut nanoseconds) = (timestamp.as_second(), timestamp.subsec_nanosecond());
        if nanoseconds < 0 {
            seconds -= 1;
            nanoseconds += 1_000_000_000;
        }
        Self::from_unix(
            seconds,
            u32::try_from(nanoseconds).unwrap_or_default(),
            offset,
        )
    }

    /// Seconds since the epoch, rounded down.
    pub const fn unix_seconds(&self) -> i64 {
        self.unix_seconds
    }

    /// Nanoseconds within the second.
    pub const fn nanoseconds(&self) -> u32 {
        self.nanoseconds
    }

    /// Seconds east of Greenwich.
    pub const fn offset_seconds(&self) -> i32 {
        self.offset_seconds
    }

    /// The offset.
    pub fn offset(&self) -> Offset {
        Offset::from_seconds(self.offset_seconds).unwrap_or(Offset::UTC)
    }

    /// The moment; jiff's last representable one for the final two days of the year 9999.
    pub fn timestamp(&self) -> Timestamp {
        let nanoseconds = i32::try_from(self.nanoseconds).unwrap_or_default();
        Timestamp::new(self.unix_seconds, nanoseconds).unwrap_or(Timestamp::MAX)
    }

    /// The same moment written in another offset.
    #[must_use]
    pub fn with_offset(&self, offset: Offset) -> Self {
        Self::from_unix(self.unix_seconds, self.nanoseconds, offset)
    }

    /// The calendar fields in the time's own offset.
    pub fn civil(&self) -> Civil {
        Civil::from_local_seconds(self.local_seconds())
    }

    /// Moves the date by years, months and days in the time's own offset, normalising what does not exist
    /// forwards (31 April is 1 May) as Go's `AddDate` does.
    #[must_use]
    pub fn add_date(&self, years: i64, months: i64, days: i64) -> Self {
        let local = self.civil().add_date(years, months, days);
        let seconds = local.saturating_sub(i64::from(self.offset_seconds));
        Self {
            unix_seconds: seconds,
            ..*self
        }
    }

    /// Moves the moment.
    #[must_use]
    pub fn add_seconds(&self, seconds: i64) -> Self {
        Self {
            unix_seconds: self.unix_seconds.saturating_add(seconds),
            ..*self
        }
    }

    /// Appends the text form.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        text::write(self, out);
    }

    fn local_seconds(&self) -> i64 {
        self.unix_seconds
            .saturating_add(i64::from(self.offset_seconds))
    }
}

impl From<&Zoned> for Time {
    fn from(zoned: &Zoned) -> Self {
        Self::new(zoned.timestamp(), zoned.offset())
    }
}

impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Time {}

impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Time {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.unix_seconds, self.nanoseconds).cmp(&(other.unix_seconds, other.nanoseconds))
    }
}

impl Hash for Time {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.unix_seconds, self.nanoseconds).hash(state);
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(text::LONGEST);
        self.write_to(&mut out);
        formatter.write_str(&String::from_utf8_lossy(&out))
    }
}

impl FromStr for Time {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text::parse(text)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TimeVisitor)
    }
}

/// Reads without copying the text; trees hold three times per node.
struct TimeVisitor;

impl serde::de::Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a time")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Time, E> {
        text.parse().map_err(E::custom)
    }
}
