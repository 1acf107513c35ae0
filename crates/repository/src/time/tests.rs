use jiff::tz::Offset;
use jiff::{Timestamp, civil::Date};
use proptest::prelude::*;

use super::*;

fn offset(seconds: i32) -> Offset {
    Offset::from_seconds(seconds).unwrap()
}

#[test]
fn texts_are_written_as_go_writes_them() {
    let cases = [
        (0, 0, 0, "1970-01-01T00:00:00Z"),
        (
            1_700_000_000,
            120_000_000,
            3600,
            "2023-11-14T23:13:20.12+01:00",
        ),
        (
            1_700_000_000,
            123_456_789,
            -12_600,
            "2023-11-14T18:43:20.123456789-03:30",
        ),
        (1_700_000_000, 1, 0, "2023-11-14T22:13:20.000000001Z"),
        // Seconds of an offset shape the clock time but not the zone, even when nothing is left of it.
        (0, 0, 3208, "1970-01-01T00:53:28+00:53"),
        (0, 0, 30, "1970-01-01T00:00:30+00:00"),
        (0, 0, -30, "1969-12-31T23:59:30+00:00"),
    ];
    for (seconds, nanoseconds, east, text) in cases {
        assert_eq!(
            Time::from_unix(seconds, nanoseconds, offset(east)).to_string(),
            text
        );
    }
    assert_eq!(Time::ZERO.to_string(), "0001-01-01T00:00:00Z");
}

#[test]
fn years_that_json_cannot_hold_are_clamped_and_the_rest_stays() {
    // 10000-02-29 (a leap year) becomes 1 March of 9999, which has no such day.
    assert_eq!(
        Time::from_unix(253_407_484_799, 0, Offset::UTC).to_string(),
        "9999-03-01T23:59:59Z"
    );
    assert_eq!(
        Time::from_unix(-62_167_219_201, 5, Offset::UTC).to_string(),
        "0000-12-31T23:59:59.000000005Z"
    );
    for seconds in [i64::MIN, i64::MAX] {
        for east in [-43_200, 0, 50_400] {
            let text = Time::from_unix(seconds, 0, offset(east)).to_string();
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
    }
}

#[test]
fn the_last_and_the_first_moments_survive_a_round_trip() {
    for text in [
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
        "0000-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999999-12:00",
    ] {
        assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
    }
}

#[test]
fn what_is_no_time_is_refused() {
    for text in [
        "",
        "2023",
        "2023-11-14",
        "2023-11-14 22:13:20Z",
        "2023-11-14T22:13:20",
        "2023-13-14T22:13:20Z",
        "2023-02-29T22:13:20Z",
        "2023-11-14T24:13:20Z",
        "2023-11-14T22:60:20Z",
        "2023-11-14T22:13:60Z",
        "2023-11-14T22:13:20.Z",
        "2023-11-14T22:13:20,5Z",
        "2023-11-14T22:13:20+24:00",
        "2023-11-14T22:13:20+0100",
        "2023-11-14t22:13:20z",
        "+023-11-14T22:13:20Z",
        "2023-11-14T22:13:20Zx",
        "2023-11-14T22:13:2\u{660}Z",
    ] {
        assert!(text.parse::<Time>().is_err(), "{text}");
    }
}

#[test]
fn order_and_equality_ignore_the_offset() {
    let a: Time = "2023-11-14T23:13:20+01:00".parse().unwrap();
    let b: Time = "2023-11-14T22:13:20Z".parse().unwrap();
    assert_eq!(a, b);
    assert!(a < b.add_seconds(1));
    assert_eq!((a.civil().hour, b.civil().hour), (23, 22));
}

#[test]
fn dates_that_do_not_exist_run_on_as_in_go() {
    let day = |text: &str| text.parse::<Time>().unwrap();
    assert_eq!(
        day("2024-05-31T01:02:03Z").add_date(0, -1, 0).to_string(),
        "2024-05-01T01:02:03Z"
    );
    assert_eq!(
        day("2024-02-29T01:02:03Z").add_date(-1, 0, 0).to_string(),
        "2023-03-01T01:02:03Z"
    );
    assert_eq!(
        day("2024-01-15T01:02:03+05:00")
            .add_date(-1, -13, -20)
            .to_string(),
        "2021-11-25T01:02:03+05:00"
    );
}

proptest! {
    #[test]
    fn every_time_survives_a_round_trip(
        seconds in -70_000_000_000_i64..260_000_000_000,
        nanoseconds in 0_u32..1_000_000_000,
        minutes in -1439_i32..=1439,
    ) {
        let time = Time::from_unix(seconds, nanoseconds, offset(minutes * 60));
        let parsed: Time = time.to_string().parse().unwrap();
        prop_assert_eq!(parsed, time);
        prop_assert_eq!(parsed.offset(), time.offset());
    }

    #[test]
    fn the_calendar_is_that_of_jiff(days in -719_000_i64..2_900_000, second in 0_i64..86_400) {
        let time = Time::from_unix(days * 86_400 + second, 0, Offset::UTC);
        let zoned = Timestamp::from_second(time.unix_seconds()).unwrap().to_zoned(TimeZone::UTC);
        let date: Date = zoned.date();
        let civil = time.civil();
        prop_assert_eq!(
            (civil.year, civil.month, civil.day),
            (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()))
        );
        let week = date.iso_week_date();
        prop_assert_eq!(civil.iso_week(), (i64::from(week.year()), i64::from(week.week())));
        prop_assert_eq!(time, Time::from(&zoned));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
        let _ = text.parse::<Time>();
    }
}
