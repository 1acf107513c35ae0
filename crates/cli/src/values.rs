//! Parsers of option values that several verbs share.

use std::time::Duration;

/// A Go duration of hours, minutes, seconds and milliseconds: `1h30m`, `45s`, `500ms`.
pub fn duration(text: &str) -> Result<Duration, String> {
    api::duration::parse(text).map_err(|error| error.to_string())
}
