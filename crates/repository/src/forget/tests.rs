use super::*;
use crate::id::{BlobId, Id};

/// Snapshots at these moments, of one host; the id counts up from 1.
fn history(times: &[&str]) -> Vec<(SnapshotId, Snapshot)> {
    let snapshot = |(place, time): (usize, &&str)| {
        let json = format!(
            r#"{{"time":"{time}","tree":"{}","paths":["/a"],"hostname":"h"}}"#,
            BlobId(Id::of(b""))
        );
        let id = SnapshotId(Id::of(&place.to_be_bytes()));
        (id, Snapshot::from_json(json.as_bytes()).unwrap())
    };
    times.iter().enumerate().map(snapshot).collect()
}

fn kept(group: &ForgetGroup) -> Vec<(String, String)> {
    let pairs = group.keep.iter().zip(&group.reasons);
    pairs
        .map(|((_, snapshot), reason)| (snapshot.time.to_string(), reason.matches.join(", ")))
        .collect()
}

fn now() -> Time {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

#[test]
fn the_oldest_snapshot_fills_a_bucket_with_room() {
    let history = history(&[
        "2024-01-01T10:00:00Z",
        "2024-01-01T11:00:00Z",
        "2024-01-02T10:00:00Z",
    ]);
    let group = apply(
        history,
        &ForgetPolicy {
            daily: 5,
            ..ForgetPolicy::default()
        },
        now(),
    );
    assert_eq!(
        kept(&group),
        [
            (
                "2024-01-02T10:00:00Z".to_owned(),
                "daily snapshot".to_owned()
            ),
            (
                "2024-01-01T11:00:00Z".to_owned(),
                "daily snapshot".to_owned()
            ),
            (
                "2024-01-01T10:00:00Z".to_owned(),
                "oldest daily snapshot".to_owned()
            ),
        ]
    );
    assert_eq!(group.reasons[2].counters.daily, 2);
}

#[test]
fn each_snapshot_counts_in_its_own_offset() {
    // One hour apart, both on 2 January of their own calendars.
    let history = history(&[
        "2024-01-02T00:30:00+02:00",
        "2024-01-02T23:30:00Z",
        "2024-01-03T00:30:00+02:00",
    ]);
    let group = apply(
        history,
        &ForgetPolicy {
            daily: 2,
            ..ForgetPolicy::default()
        },
        now(),
    );
    let times: Vec<_> = kept(&group).into_iter().map(|(time, _)| time).collect();
    assert_eq!(times, ["2024-01-02T23:30:00Z", "2024-01-03T00:30:00+02:00"]);
}

#[test]
fn durations_count_from_the_latest_snapshot_that_is_not_of_the_future() {
    let history = history(&[
        "2040-01-01T00:00:00Z",
        "2024-01-10T00:00:00Z",
        "2024-01-09T00:00:01Z",
        "2024-01-09T00:00:00Z",
    ]);
    let within = "1d".parse().unwrap();
    let group = apply(
        history,
        &ForgetPolicy {
            within,
            ..ForgetPolicy::default()
        },
        now(),
    );
    assert_eq!(kept(&group).len(), 3);
    assert_eq!(group.remove[0].1.time.to_string(), "2024-01-09T00:00:00Z");
}

#[test]
fn durations_are_parsed_and_shown_as_restic_does() {
    let parse = |text: &str| text.parse::<CalendarDuration>();
    let parts = |text| {
        parse(text).map(|duration| {
            (
                duration.years,
                duration.months,
                duration.days,
                duration.hours,
            )
        })
    };
    assert_eq!(parts("1y5m7d2h").unwrap(), (1, 5, 7, 2));
    assert_eq!(parts(" 2h1y ").unwrap(), (1, 0, 0, 2));
    assert_eq!(parts("1d2d").unwrap(), (0, 0, 2, 0));
    assert_eq!(parts("-3d").unwrap(), (0, 0, -3, 0));
    assert_eq!(parse("2h7d1y").unwrap().to_string(), "1y7d2h");
    for text in [
        "5",
        "d",
        "1w",
        "1 d",
        "1y5",
        "--1d",
        "99999999999999999999d",
        "9999999999999d",
        "1ä",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn policies_are_shown_as_restic_shows_them() {
    let policy = ForgetPolicy {
        last: 3,
        daily: 1,
        weekly: -1,
        within_daily: "1y".parse().unwrap(),
        within: "1d".parse().unwrap(),
        tags: vec![vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]],
        ..ForgetPolicy::default()
    };
    assert_eq!(
        policy.to_string(),
        "keep 3 latest, 1 daily, all weekly snapshots, daily snapshots within 1y and all snapshots with tags \
         [[a, b] [c]] and all snapshots within 1d of the newest"
    );
    assert_eq!(ForgetPolicy::default().to_string(), "remove");
}

#[test]
fn a_plan_that_would_empty_a_group_is_refused() {
    let plan = |policy: &ForgetPolicy, emptied| {
        ForgetPlan::new(
            history(&["2024-01-01T10:00:00Z"]),
            GroupBy::default(),
            policy,
            emptied,
            now(),
        )
    };
    let nothing_matches = ForgetPolicy {
        tags: vec![vec!["x".to_owned()]],
        ..ForgetPolicy::default()
    };
    assert_eq!(
        plan(&nothing_matches, EmptiedGroups::Refuse),
        Err(PolicyError::KeepsNothing {
            group: "host h, path [/a]".to_owned()
        })
    );
    assert_eq!(
        plan(&ForgetPolicy::default(), EmptiedGroups::Refuse),
        Err(PolicyError::Empty)
    );
    assert_eq!(
        plan(&nothing_matches, EmptiedGroups::Allow)
            .unwrap()
            .removals()
            .len(),
        1
    );
}

#[test]
fn numbers_and_durations_that_mean_nothing_are_refused() {
    let negative = ForgetPolicy {
        weekly: -2,
        ..ForgetPolicy::default()
    };
    assert_eq!(
        negative.validate(),
        Err(PolicyError::NegativeCount { rule: "weekly" })
    );
    let backwards = ForgetPolicy {
        within_weekly: "-1d".parse().unwrap(),
        ..ForgetPolicy::default()
    };
    assert_eq!(
        backwards.validate(),
        Err(PolicyError::NegativeDuration {
            rule: "within-weekly"
        })
    );
    assert_eq!(parse_count("unlimited"), Ok(-1));
    for text in ["-1", "", "1.5", "99999999999"] {
        assert!(parse_count(text).is_err(), "{text}");
    }
}
