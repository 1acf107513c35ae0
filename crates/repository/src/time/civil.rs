//! Calendar arithmetic in the proleptic Gregorian calendar, for years that jiff's types do not reach.

use std::ops::Range;

const DAY: i64 = 86_400;
/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;

/// Local seconds of the years 0 to 9999.
pub(super) const LOCAL_SECONDS: Range<i64> = -62_167_219_200..253_402_300_800;

/// Calendar fields of a moment in its own offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Year, 0 to 9999.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: i64,
    /// Day of the month, from 1.
    pub day: i64,
    /// Hour, 0 to 23.
    pub hour: i64,
    /// Minute.
    pub minute: i64,
    /// Second.
    pub second: i64,
}

impl Civil {
    /// The fields of so many seconds after 1970-01-01T00:00:00 of the same offset.
    pub(super) fn from_local_seconds(seconds: i64) -> Self {
        let (year, month, day) = date_of(seconds.div_euclid(DAY));
        let second_of_day = seconds.rem_euclid(DAY);
        Self {
            year,
            month,
            day,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
        }
    }

    /// The inverse; a day beyond its month runs on into the next.
    pub(super) fn to_local_seconds(self) -> i64 {
        (days_of(self.year, self.month) + self.day - 1)
            .saturating_mul(DAY)
            .saturating_add(self.hour * 3600 + self.minute * 60 + self.second)
    }

    /// Local seconds after moving the date, the surplus of a field carried into the next larger one.
    pub(super) fn add_date(mut self, years: i64, months: i64, days: i64) -> i64 {
        // Far beyond any calendar, yet small enough that no product below overflows.
        const LIMIT: i64 = 100_000_000_000;
        let months = self.month - 1 + months.clamp(-LIMIT, LIMIT);
        self.year += years.clamp(-LIMIT, LIMIT) + months.div_euclid(12);
        self.month = months.rem_euclid(12) + 1;
        self.day += days.clamp(-LIMIT, LIMIT);
        self.to_local_seconds()
    }

    /// Year and number of the ISO 8601 week.
    pub fn iso_week(&self) -> (i64, i64) {
        let day = days_of(self.year, self.month) + self.day - 1;
        // 1970-01-01 was a Thursday, and the week belongs to the year of its Thursday.
        let thursday = day - (day + 3).rem_euclid(7) + 3;
        let (year, _, _) = date_of(thursday);
        (year, (thursday - days_of(year, 1)) / 7 + 1)
    }
}

/// The date so many days after 1970-01-01. Years are counted from 1 March, so that a leap day comes last.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / (ERA_DAYS - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to the first of a month.
fn days_of(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * march_month + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * ERA_DAYS + day_of_era - 719_468
}

/// Days of a month.
pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    if month == 12 {
        31
    } else {
        days_of(year, month + 1) - days_of(year, month)
    }
}
