//! Times as restic writes them: RFC 3339 with nanoseconds and the writer's offset.

use std::fmt;
use std::str::FromStr;

use jiff::{Timestamp, tz::Offset};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment and the offset in which it was written; two equal moments with other offsets are equal moments
/// but different calendar dates, which retention cares about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Time {
    timestamp: Timestamp,
    offset: Offset,
}
