//! The text form, as Go's `time.RFC3339Nano`: the fraction without trailing zeros, `Z` for offset zero.

use super::Time;
use super::civil::{Civil, days_in_month};

/// Bytes of `9999-12-31T23:59:59.999999999+23:59`.
pub(super) const LONGEST: usize = 35;

/// A text that is not a time as restic writes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time like 2006-01-02T15:04:05.999999999+07:00")]
pub struct ParseTimeError(pub String);

/// Appends the text of a time.
pub(super) fn write(time: &Time, out: &mut Vec<u8>) {
    let civil = time.civil();
    // Arithmetic may leave the clamped years; four digits always come out.
    let year = civil.year.clamp(0, 9999);
    let mut buffer = *b"0000-00-00T00:00:00";
    two(&mut buffer[0..2], year / 100);
    two(&mut buffer[2..4], year % 100);
    two(&mut buffer[5..7], civil.month);
    two(&mut buffer[8..10], civil.day);
    two(&mut buffer[11..13], civil.hour);
    two(&mut buffer[14..16], civil.minute);
    two(&mut buffer[17..19], civil.second);
    out.extend_from_slice(&buffer);
    if time.nanoseconds > 0 {
        let mut fraction = *b".000000000";
        let mut rest = i64::from(time.nanoseconds);
        for digit in fraction[1..].iter_mut().rev() {
            *digit = ascii_digit(rest % 10);
            rest /= 10;
        }
        let used = fraction
            .iter()
            .rposition(|&byte| byte != b'0')
            .map_or(0, |last| last + 1);
        out.extend_from_slice(&fraction[..used]);
    }
    if time.offset_seconds == 0 {
        out.push(b'Z');
        return;
    }
    // Seconds of an offset are dropped from the text, as Go drops them.
    let minutes = i64::from(time.offset_seconds / 60);
    let mut zone = if minutes < 0 { *b"-00:00" } else { *b"+00:00" };
    two(&mut zone[1..3], minutes.abs() / 60);
    two(&mut zone[4..6], minutes.abs() % 60);
    out.extend_from_slice(&zone);
}

/// Reads the text of a time.
pub(super) fn parse(text: &str) -> Result<Time, ParseTimeError> {
    parse_bytes(text.as_bytes()).ok_or_else(|| ParseTimeError(text.chars().take(60).collect()))
}

fn parse_bytes(bytes: &[u8]) -> Option<Time> {
    let (head, tail) = bytes.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(place, byte)| head[place] != byte) {
        return None;
    }
    let civil = Civil {
        year: number(&head[0..4])?,
        month: number(&head[5..7])?,
        day: number(&head[8..10])?,
        hour: number(&head[11..13])?,
        minute: number(&head[14..16])?,
        second: number(&head[17..19])?,
    };
    let is_valid = (1..=12).contains(&civil.month)
        && (1..=days_in_month(civil.year, civil.month)).contains(&civil.day)
        && civil.hour < 24
        && civil.minute < 60
        && civil.second < 60;
    let (nanoseconds, zone) = fraction(tail)?;
    let offset_seconds = offset(zone)?;
    let unix_seconds = civil.to_local_seconds() - i64::from(offset_seconds);
    is_valid.then_some(Time {
        unix_seconds,
        nanoseconds,
        offset_seconds,
    })
}

/// Nanoseconds of the fraction, digits beyond the ninth dropped, and what follows it.
fn fraction(tail: &[u8]) -> Option<(u32, &[u8])> {
    let Some(digits) = tail.strip_prefix(b".") else {
        return Some((0, tail));
    };
    let length = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if length == 0 {
        return None;
    }
    let mut nanoseconds = 0;
    let padded = digits[..length].iter().chain(std::iter::repeat(&b'0'));
    for digit in padded.take(9) {
        nanoseconds = nanoseconds * 10 + u32::from(digit - b'0');
    }
    Some((nanoseconds, &digits[length..]))
}

/// Seconds east of `Z` or `±hh:mm`.
fn offset(zone: &[u8]) -> Option<i32> {
    if zone == b"Z" {
        return Some(0);
    }
    if zone.len() != 6 || zone[3] != b':' {
        return None;
    }
    let (hours, minutes) = (number(&zone[1..3])?, number(&zone[4..6])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    match zone[0] {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit()
            .then(|| value * 10 + i64::from(byte - b'0'))
    })
}

fn two(place: &mut [u8], value: i64) {
    place[0] = ascii_digit(value / 10);
    place[1] = ascii_digit(value % 10);
}

fn ascii_digit(value: i64) -> u8 {
    b'0' + u8::try_from(value % 10).unwrap_or_default()
}
