use super::*;

const JSON: &str = concat!(
    r#"{"time":"2024-03-01T10:20:30.123456789+01:00","parent":"0000000000000000000000000000000000000000000000000000000000000001","#,
    r#""tree":"0000000000000000000000000000000000000000000000000000000000000002","paths":["/a\u003cb\u003e\u0026\u2028"],"#,
    r#""hostname":"h","username":"u","uid":1000,"gid":100,"excludes":["*.tmp"],"tags":["x","y"],"#,
    r#""original":"0000000000000000000000000000000000000000000000000000000000000003","program_version":"restic 0.18.0","#,
    r#""summary":{"backup_start":"2024-03-01T10:20:30Z","backup_end":"2024-03-01T10:20:31Z","files_new":1,"#,
    r#""files_changed":2,"files_unmodified":3,"dirs_new":4,"dirs_changed":5,"dirs_unmodified":6,"data_blobs":7,"#,
    r#""tree_blobs":8,"data_added":9,"data_added_packed":10,"total_files_processed":11,"total_bytes_processed":12}}"#,
);

fn snapshot() -> Snapshot {
    Snapshot::from_json(JSON.as_bytes()).unwrap()
}

fn with_tags(tags: &[&str]) -> Snapshot {
    Snapshot {
        tags: strings(tags),
        ..snapshot()
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn every_field_is_written_as_restic_writes_it() {
    assert_eq!(String::from_utf8(snapshot().to_json()).unwrap(), JSON);
}

#[test]
fn a_snapshot_of_the_oldest_version_is_read_and_written_back() {
    let json = concat!(
        r#"{"time":"2015-01-01T00:00:00Z","tree":"0000000000000000000000000000000000000000000000000000000000000002","#,
        r#""paths":["/"]}"#
    );
    assert_eq!(
        String::from_utf8(Snapshot::from_json(json.as_bytes()).unwrap().to_json()).unwrap(),
        json
    );
}

#[test]
fn null_lists_are_empty_and_a_missing_tree_is_an_error() {
    let json = JSON
        .replace(r#"["x","y"]"#, "null")
        .replace(r#"["*.tmp"]"#, "null");
    let read = Snapshot::from_json(json.as_bytes()).unwrap();
    assert!(read.tags.is_empty() && read.excludes.is_empty());
    for damaged in [
        JSON.replace("\"tree\"", "\"bush\""),
        JSON.replace("10:20:30", "10:20:61"),
        "{}".to_owned(),
        "[]".to_owned(),
    ] {
        assert!(Snapshot::from_json(damaged.as_bytes()).is_err());
    }
}

#[test]
fn tags_filter_as_in_restic() {
    let matches = |tags: &[&str], lists: &[&str]| {
        let tags_of_filter = lists.iter().map(|list| parse_tag_list(list)).collect();
        SnapshotFilter {
            tags: tags_of_filter,
            ..SnapshotFilter::default()
        }
        .matches(&with_tags(tags))
    };
    assert!(matches(&["a", "b"], &["a, b"]));
    assert!(!matches(&["a"], &["a,b"]));
    assert!(matches(&["a"], &["b", "a"]));
    assert!(matches(&[], &[""]));
    assert!(!matches(&["a"], &[""]));
    assert!(matches(&["a"], &[]));
    // The empty tag decides at once for a snapshot without tags, whatever follows it.
    assert!(matches(&[], &[",a"]));
    assert!(!matches(&[], &["a,"]));
}

#[test]
fn hosts_are_alternatives_and_paths_are_all_needed() {
    let mut snapshot = snapshot();
    snapshot.paths = strings(&["/a", "/b"]);
    let filter = |hosts: &[&str], paths: &[&str]| SnapshotFilter {
        hosts: strings(hosts),
        paths: strings(paths),
        tags: Vec::new(),
    };
    assert!(filter(&["g", "h"], &["/b", "/a"]).matches(&snapshot));
    assert!(!filter(&["g"], &[]).matches(&snapshot));
    assert!(!filter(&[], &["/a", "/c"]).matches(&snapshot));
    assert!(!filter(&[], &["/a/"]).matches(&snapshot));
}

#[test]
fn references_split_at_the_first_colon() {
    let parse = |text: &str| {
        let parsed = SnapshotRef::parse(text);
        (parsed.snapshot, parsed.subfolder)
    };
    assert_eq!(parse("latest"), ("latest".to_owned(), None));
    assert_eq!(
        parse("ab12:/etc:x"),
        ("ab12".to_owned(), Some("/etc:x".to_owned()))
    );
    assert_eq!(parse("ab12:"), ("ab12".to_owned(), None));
    assert_eq!(SnapshotRef::parse("ab12:/etc").to_string(), "ab12:/etc");
}

#[test]
fn groupings_are_parsed_and_shown_as_restic_does() {
    assert_eq!("".parse::<GroupBy>().unwrap(), GroupBy::NONE);
    assert_eq!("hosts,path".parse::<GroupBy>().unwrap(), GroupBy::default());
    assert_eq!(
        "tags,host".parse::<GroupBy>().unwrap().to_string(),
        "host,tags"
    );
    assert!("host, paths".parse::<GroupBy>().is_err());
}

#[test]
fn group_keys_are_sorted_and_null_where_not_grouped_by() {
    let mut snapshot = with_tags(&["b", "a"]);
    snapshot.paths = strings(&["/z", "/a&b"]);
    let key = |text: &str| GroupKey::of(&snapshot, text.parse().unwrap());
    assert_eq!(
        key("host,paths").to_json(),
        r#"{"hostname":"h","paths":["/a\u0026b","/z"],"tags":null}"#
    );
    assert_eq!(
        key("tags").to_json(),
        r#"{"hostname":"","paths":null,"tags":["a","b"]}"#
    );
    assert_eq!(
        key("host,paths,tags").to_string(),
        "host h, path [/a&b /z], tags [a b]"
    );
    assert_eq!(key("").to_string(), "");
}

#[test]
fn an_identified_snapshot_ends_in_its_id() {
    let id: SnapshotId = "12345678".repeat(8).parse().unwrap();
    let json = String::from_utf8(json::to_vec(&IdentifiedSnapshot::new(id, &snapshot()))).unwrap();
    assert!(json.starts_with(&JSON[..JSON.len() - 1]));
    assert!(json.ends_with(&format!(",\"id\":\"{id}\",\"short_id\":\"12345678\"}}")));
}
