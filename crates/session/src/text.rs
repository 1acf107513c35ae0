//! Numbers as the published status fields show them (reference 3.8.4).

use std::time::Duration;

/// Bytes: `1.250 GiB`; plain bytes up to and including one KiB.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    UNITS.iter().find(|(unit, _)| bytes > *unit).map_or_else(
        || format!("{bytes} B"),
        |(unit, word)| format!("{:.3} {word}", bytes as f64 / *unit as f64),
    )
}

/// Processing time: `m:ss` or `h:mm:ss`.
pub fn processing_time(span: Duration) -> String {
    let seconds = span.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{rest:02}")
    } else {
        format!("{minutes}:{rest:02}")
    }
}

/// The end of a long error text, at most `limit` bytes, cut at a character.
pub fn error_tail(text: &str, limit: usize) -> &str {
    let mut start = text.len().saturating_sub(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_change_unit_strictly_above_it() {
        assert_eq!(size(1024), "1024 B");
        assert_eq!(size(1025), "1.001 KiB");
        assert_eq!(size(3 << 30), "3.000 GiB");
    }

    #[test]
    fn times_grow_an_hour_when_they_need_it() {
        assert_eq!(processing_time(Duration::from_secs(61)), "1:01");
        assert_eq!(processing_time(Duration::from_hours(1)), "1:00:00");
    }

    #[test]
    fn a_tail_never_splits_a_character() {
        assert_eq!(error_tail("äöü", 3), "ü");
        assert_eq!(error_tail("abc", 10), "abc");
    }
}
