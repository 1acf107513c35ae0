//! When a backup runs: cron expressions, named schedules and intervals, each with an optional time zone.
//!
//! The syntax is that of Kubernetes' CronJobs: five fields (minute, hour, day of the month, month, day of the
//! week) with `*`, `?`, names, lists, ranges and steps; `@hourly`, `@daily` and their kin; `@every DURATION`.
//! `CRON_TZ=Zone ` or `TZ=Zone ` may precede a schedule. As in cron, a day matches either day field when both
//! are restricted.
//!
//! Clock changes: a fixed hour that is skipped runs right after the gap, moved by its length, and one that comes
//! twice runs the first time only. Schedules for every hour follow real time in both cases.

mod field;

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::duration::{DurationError, GoDuration};
use crate::schedule::field::{Bits, FieldKind, parse_field};

/// A schedule that has at least one time it runs at.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    zone: Option<TimeZone>,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    Every { interval: SignedDuration },
    Cron(Cron),
}

#[derive(Debug, Clone)]
struct Cron {
    minutes: Bits,
    hours: Bits,
    days: Bits,
    months: Bits,
    weekdays: Bits,
    /// The hour field begins with a star: the schedule follows real time through clock changes.
    every_hour: bool,
    /// A day field that begins with a star restricts nothing by itself.
    any_day: bool,
    any_weekday: bool,
}

/// Why a text is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Nothing but white space.
    #[error("the schedule is empty")]
    Empty,
    /// Not five fields.
    #[error(
        "a cron expression has 5 fields (minute, hour, day of month, month, day of week), this has {count}"
    )]
    FieldCount {
        /// How many fields there are.
        count: usize,
    },
    /// One of the five fields is wrong.
    #[error("the {field} field `{text}` is wrong: {problem}")]
    Field {
        /// Which field: `minute`, `hour`, `day of month`, `month` or `day of week`.
        field: &'static str,
        /// The field as written.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A word behind `@` that is no schedule.
    #[error("`{name}` is not a schedule")]
    UnknownName {
        /// The word as written.
        name: String,
    },
    /// The duration behind `@every` is wrong.
    #[error("`@every` is not followed by a duration")]
    Interval(#[source] DurationError),
    /// The duration behind `@every` is shorter than a second.
    #[error("the interval must be at least 1s")]
    ShortInterval,
    /// The time zone is not in the database.
    #[error("`{name}` is not a time zone")]
    UnknownZone {
        /// The zone as written.
        name: String,
    },
    /// No date matches, such as 30 February.
    #[error("the schedule never runs: no date matches")]
    Never,
}

/// The Gregorian calendar with its days of the week repeats after this many years.
const CALENDAR_CYCLE_YEARS: i16 = 400;

impl Schedule {
    /// Reads a schedule; refuses one that never runs.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let trimmed = text.trim();
        let (zone, expression) = split_zone(trimmed)?;
        if expression.is_empty() {
            return Err(ScheduleError::Empty);
        }
        let rule = match expression.strip_prefix('@') {
            Some(name) => parse_named(name)?,
            None => Rule::Cron(parse_cron(expression)?),
        };
        if let Rule::Cron(cron) = &rule
            && !cron.matches_some_date()
        {
            return Err(ScheduleError::Never);
        }
        Ok(Self {
            text: trimmed.to_owned(),
            zone,
            rule,
        })
    }

    /// The zone written before the schedule, if any.
    pub fn zone(&self) -> Option<&TimeZone> {
        self.zone.as_ref()
    }

    /// The schedule as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time the schedule runs that is later than `after`.
    ///
    /// `default_zone` counts where the schedule names none. An interval counts from `after` itself, cut to whole
    /// seconds. Missed times are found by asking again with each answer. `None` only at the end of time.
    pub fn next_after(&self, after: Timestamp, default_zone: &TimeZone) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every { interval } => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(*interval).ok()
            }
            Rule::Cron(cron) => cron.next_after(after, self.zone.as_ref().unwrap_or(default_zone)),
        }
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        Self::parse(text)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Takes `CRON_TZ=Zone ` or `TZ=Zone ` off the front.
fn split_zone(text: &str) -> Result<(Option<TimeZone>, &str), ScheduleError> {
    let Some(rest) = text
        .strip_prefix("CRON_TZ=")
        .or_else(|| text.strip_prefix("TZ="))
    else {
        return Ok((None, text));
    };
    let (name, expression) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let zone = TimeZone::get(name).map_err(|_| ScheduleError::UnknownZone {
        name: name.to_owned(),
    })?;
    Ok((Some(zone), expression.trim()))
}

fn parse_named(name: &str) -> Result<Rule, ScheduleError> {
    if let Some(interval) = name.strip_prefix("every ") {
        let duration: GoDuration = interval.trim().parse().map_err(ScheduleError::Interval)?;
        let interval = SignedDuration::from_secs(duration.nanoseconds() / 1_000_000_000);
        if interval < SignedDuration::from_secs(1) {
            return Err(ScheduleError::ShortInterval);
        }
        return Ok(Rule::Every { interval });
    }
    let expression = match name {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        "every" => return Err(ScheduleError::Interval(DurationError::Empty)),
        _ => {
            return Err(ScheduleError::UnknownName {
                name: format!("@{name}"),
            });
        }
    };
    parse_cron(expression).map(Rule::Cron)
}

fn parse_cron(expression: &str) -> Result<Cron, ScheduleError> {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let &[minute, hour, day, month, weekday] = fields.as_slice() else {
        return Err(ScheduleError::FieldCount {
            count: fields.len(),
        });
    };
    let is_star = |text: &str| text.starts_with(['*', '?']);
    Ok(Cron {
        minutes: parse_field(FieldKind::Minute, minute)?,
        hours: parse_field(FieldKind::Hour, hour)?,
        days: parse_field(FieldKind::Day, day)?,
        months: parse_field(FieldKind::Month, month)?,
        weekdays: parse_field(FieldKind::Weekday, weekday)?,
        every_hour: is_star(hour),
        any_day: is_star(day),
        any_weekday: is_star(weekday),
    })
}

impl Cron {
    fn matches(&self, date: Date) -> bool {
        let day = self.days.contains(unsigned(date.day()));
        let weekday = self
            .weekdays
            .contains(unsigned(date.weekday().to_sunday_zero_offset()));
        let matches_day = if self.any_day || self.any_weekday {
            day && weekday
        } else {
            day || weekday
        };
        self.months.contains(unsigned(date.month())) && matches_day
    }

    /// Whether any date of the calendar's whole cycle matches.
    fn matches_some_date(&self) -> bool {
        let Ok(first) = Date::new(2000, 1, 1) else {
            return false;
        };
        let end = Date::new(2000 + CALENDAR_CYCLE_YEARS, 1, 1).unwrap_or(Date::MAX);
        first
            .series(1.day())
            .take_while(|date| *date < end)
            .any(|date| self.matches(date))
    }

    fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = zone.to_datetime(after).date();
        // A time moved out of a gap may land on the day behind the one it is written for.
        let first = today.yesterday().unwrap_or(today);
        let end_year = today.year().saturating_add(CALENDAR_CYCLE_YEARS + 1);
        first
            .series(1.day())
            .take_while(|date| date.year() <= end_year)
            .filter(|date| self.matches(*date))
            .find_map(|date| self.first_of_day_after(date, after, zone))
    }

    /// The earliest time of one date that is later than `after`.
    fn first_of_day_after(
        &self,
        date: Date,
        after: Timestamp,
        zone: &TimeZone,
    ) -> Option<Timestamp> {
        let mut earliest: Option<Timestamp> = None;
        for hour in self.hours.iter() {
            for minute in self.minutes.iter() {
                let local = date.to_datetime(Time::constant(signed(hour), signed(minute), 0, 0));
                for time in self.instants(local, zone).into_iter().flatten() {
                    if time > after && earliest.is_none_or(|present| time < present) {
                        earliest = Some(time);
                    }
                }
            }
        }
        earliest
    }

    /// When a local time happens: once, or with a clock change never or twice.
    fn instants(&self, local: DateTime, zone: &TimeZone) -> [Option<Timestamp>; 2] {
        let ambiguous = zone.to_ambiguous_timestamp(local);
        match ambiguous.offset() {
            AmbiguousOffset::Gap { .. } if self.every_hour => [None, None],
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Gap { .. } => {
                [ambiguous.compatible().ok(), None]
            }
            AmbiguousOffset::Fold { .. } => {
                let second = if self.every_hour {
                    ambiguous.later().ok()
                } else {
                    None
                };
                [ambiguous.earlier().ok(), second]
            }
        }
    }
}

fn unsigned(number: i8) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn signed(number: u32) -> i8 {
    i8::try_from(number).unwrap_or(i8::MAX)
}

#[cfg(test)]
mod tests;
