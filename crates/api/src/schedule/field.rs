//! One field of a cron expression: the numbers it allows.

use crate::schedule::ScheduleError;

/// A set of numbers below 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bits(u64);

impl Bits {
    pub(super) fn contains(self, number: u32) -> bool {
        number < 64 && self.0 & (1 << number) != 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = u32> {
        (0..64).filter(move |number| self.contains(*number))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldKind {
    Minute,
    Hour,
    Day,
    Month,
    Weekday,
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl FieldKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day of month",
            Self::Month => "month",
            Self::Weekday => "day of week",
        }
    }

    /// The smallest and the largest number, both allowed. Sunday may be 0 or 7.
    const fn range(self) -> (u32, u32) {
        match self {
            Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::Day => (1, 31),
            Self::Month => (1, 12),
            Self::Weekday => (0, 7),
        }
    }

    /// The number of a name such as `jan` or `Sun`.
    fn named(self, text: &str) -> Option<u32> {
        let (names, first): (&[&str], u32) = match self {
            Self::Month => (&MONTHS, 1),
            Self::Weekday => (&WEEKDAYS, 0),
            _ => return None,
        };
        let position = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text))?;
        Some(first + u32::try_from(position).ok()?)
    }
}

/// Reads a list such as `1-5,10,*/15`.
pub(super) fn parse_field(kind: FieldKind, text: &str) -> Result<Bits, ScheduleError> {
    let mut bits = 0;
    for part in text.split(',') {
        bits |= parse_part(kind, part).map_err(|problem| ScheduleError::Field {
            field: kind.name(),
            text: text.to_owned(),
            problem,
        })?;
    }
    if kind == FieldKind::Weekday && bits & (1 << 7) != 0 {
        bits = (bits & !(1 << 7)) | 1;
    }
    Ok(Bits(bits))
}

fn parse_part(kind: FieldKind, part: &str) -> Result<u64, String> {
    let (lowest, _) = kind.range();
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(parse_step(step)?)),
        None => (part, None),
    };
    let (start, end) = match range {
        "*" | "?" => (lowest, last(kind)),
        _ => match range.split_once('-') {
            Some((start, end)) => (parse_number(kind, start)?, parse_number(kind, end)?),
            None => {
                let start = parse_number(kind, range)?;
                // `5/15` means from 5 to the end in steps of 15.
                (
                    start,
                    if step.is_some() {
                        last(kind).max(start)
                    } else {
                        start
                    },
                )
            }
        },
    };
    if start > end {
        return Err(format!("the range `{range}` ends before it begins"));
    }
    Ok((start..=end)
        .step_by(step.unwrap_or(1))
        .fold(0, |bits, number| bits | 1 << number))
}

/// The largest number that is not a second name of another one.
const fn last(kind: FieldKind) -> u32 {
    match kind {
        FieldKind::Weekday => 6,
        _ => kind.range().1,
    }
}

fn parse_step(text: &str) -> Result<usize, String> {
    match digits(text) {
        Some(0) => Err("the step must not be 0".to_owned()),
        Some(step) => Ok(step as usize),
        None => Err(format!("the step `{text}` is not a number")),
    }
}

fn parse_number(kind: FieldKind, text: &str) -> Result<u32, String> {
    let (lowest, highest) = kind.range();
    match kind.named(text).or_else(|| digits(text)) {
        Some(number) if (lowest..=highest).contains(&number) => Ok(number),
        Some(number) => Err(format!("{number} is not between {lowest} and {highest}")),
        None if text.is_empty() => Err("a number is missing".to_owned()),
        None => Err(format!("`{text}` is not a number")),
    }
}

fn digits(text: &str) -> Option<u32> {
    let all_digits =
        !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok()).flatten()
}
