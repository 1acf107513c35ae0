use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next `count` times after `after`, in the schedule's own zone or UTC.
fn times(schedule: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(schedule).unwrap();
    let mut now = time(after);
    let mut found = Vec::new();
    for _ in 0..count {
        now = schedule.next_after(now, &TimeZone::UTC).unwrap();
        found.push(now.to_string());
    }
    found
}

#[test]
fn the_next_time_is_strictly_later() {
    assert_eq!(
        times("*/5 * * * *", "2024-05-01T10:05:00Z", 2),
        ["2024-05-01T10:10:00Z", "2024-05-01T10:15:00Z"]
    );
    assert_eq!(
        times("*/5 * * * *", "2024-05-01T10:04:59.5Z", 1),
        ["2024-05-01T10:05:00Z"]
    );
}

#[test]
fn fields_take_lists_ranges_steps_and_names() {
    assert_eq!(
        times("30 8-10/2,22 * * MON-FRI", "2024-05-03T09:00:00Z", 4),
        [
            "2024-05-03T10:30:00Z",
            "2024-05-03T22:30:00Z",
            "2024-05-06T08:30:00Z",
            "2024-05-06T10:30:00Z"
        ]
    );
    assert_eq!(
        times("0 0 1 jan,Jul ?", "2024-05-03T09:00:00Z", 2),
        ["2024-07-01T00:00:00Z", "2025-01-01T00:00:00Z"]
    );
    assert_eq!(
        times("0 12 * * 7", "2024-05-03T09:00:00Z", 1),
        ["2024-05-05T12:00:00Z"]
    );
    assert_eq!(
        times("0 12 * * 5-7", "2024-05-03T13:00:00Z", 2),
        ["2024-05-04T12:00:00Z", "2024-05-05T12:00:00Z"]
    );
    assert_eq!(
        times("50/5 0 * * *", "2024-05-03T00:50:00Z", 2),
        ["2024-05-03T00:55:00Z", "2024-05-04T00:50:00Z"]
    );
}

#[test]
fn either_day_field_matches_when_both_are_restricted() {
    assert_eq!(
        times("0 0 13 * FRI", "2024-09-10T00:00:00Z", 3),
        [
            "2024-09-13T00:00:00Z",
            "2024-09-20T00:00:00Z",
            "2024-09-27T00:00:00Z"
        ]
    );
    assert_eq!(
        times("0 0 13 * *", "2024-09-14T00:00:00Z", 1),
        ["2024-10-13T00:00:00Z"]
    );
}

#[test]
fn names_and_intervals_are_schedules() {
    let after = "2024-05-01T10:05:30.25Z";
    assert_eq!(times("@hourly", after, 1), ["2024-05-01T11:00:00Z"]);
    assert_eq!(times("@daily", after, 1), ["2024-05-02T00:00:00Z"]);
    assert_eq!(times("@midnight", after, 1), ["2024-05-02T00:00:00Z"]);
    assert_eq!(times("@weekly", after, 1), ["2024-05-05T00:00:00Z"]);
    assert_eq!(times("@monthly", after, 1), ["2024-06-01T00:00:00Z"]);
    assert_eq!(times("@yearly", after, 1), ["2025-01-01T00:00:00Z"]);
    assert_eq!(
        times("@every 1h30m", after, 2),
        ["2024-05-01T11:35:30Z", "2024-05-01T13:05:30Z"]
    );
}

#[test]
fn a_zone_before_the_schedule_counts() {
    assert_eq!(
        times("CRON_TZ=Europe/Vienna 0 2 * * *", "2024-01-01T12:00:00Z", 1),
        ["2024-01-02T01:00:00Z"]
    );
    assert_eq!(
        times("TZ=America/New_York @daily", "2024-07-01T12:00:00Z", 1),
        ["2024-07-02T04:00:00Z"]
    );
}

#[test]
fn a_skipped_hour_runs_right_after_the_gap() {
    // Vienna jumps from 02:00 to 03:00 on 31 March 2024, which is 01:00 UTC.
    assert_eq!(
        times(
            "CRON_TZ=Europe/Vienna 30 2 * * *",
            "2024-03-30T12:00:00Z",
            2
        ),
        ["2024-03-31T01:30:00Z", "2024-04-01T00:30:00Z"]
    );
    assert_eq!(
        times(
            "CRON_TZ=Europe/Vienna 30 * * * *",
            "2024-03-31T00:00:00Z",
            2
        ),
        ["2024-03-31T00:30:00Z", "2024-03-31T01:30:00Z"]
    );
}

#[test]
fn an_hour_that_comes_twice_runs_once_unless_every_hour_is_meant() {
    // Vienna goes back from 03:00 to 02:00 on 27 October 2024, at 01:00 UTC.
    assert_eq!(
        times(
            "CRON_TZ=Europe/Vienna 30 2 * * *",
            "2024-10-26T12:00:00Z",
            2
        ),
        ["2024-10-27T00:30:00Z", "2024-10-28T01:30:00Z"]
    );
    assert_eq!(
        times(
            "CRON_TZ=Europe/Vienna 30 * * * *",
            "2024-10-27T00:00:00Z",
            3
        ),
        [
            "2024-10-27T00:30:00Z",
            "2024-10-27T01:30:00Z",
            "2024-10-27T02:30:00Z"
        ]
    );
}

#[test]
fn a_time_moved_over_midnight_is_not_lost() {
    // Cairo skips the hour after midnight on 26 April 2024, at 22:00 UTC of the day before.
    assert_eq!(
        times("CRON_TZ=Africa/Cairo 30 0 * * *", "2024-04-25T12:00:00Z", 1),
        ["2024-04-25T22:30:00Z"]
    );
}

#[test]
fn the_leap_day_is_found_across_a_century() {
    assert_eq!(
        times("0 0 29 2 *", "2096-03-01T00:00:00Z", 1),
        ["2104-02-29T00:00:00Z"]
    );
}

#[test]
fn a_schedule_that_never_runs_is_refused() {
    for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 feb ?"] {
        assert_eq!(
            Schedule::parse(text).unwrap_err(),
            ScheduleError::Never,
            "{text}"
        );
    }
    assert!(
        Schedule::parse("0 0 30 2 MON").is_ok(),
        "Mondays in February exist"
    );
}

#[test]
fn texts_that_are_no_schedule_are_refused() {
    let cases = [
        "",
        " ",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "a * * * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "*/x * * * *",
        "1,,2 * * * *",
        "-1 * * * *",
        "@often",
        "@every",
        "@every 5",
        "@every -1h",
        "@every 0s",
        "@every 10ms",
        "TZ=Moon/Base 0 0 * * *",
        "CRON_TZ=UTC",
        "0 0 * * mond",
        "99999999999 * * * *",
    ];
    for text in cases {
        assert!(Schedule::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn an_error_names_the_field_and_the_number() {
    let error = Schedule::parse("0 25 * * *").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the hour field `25` is wrong: 25 is not between 0 and 23"
    );
}
