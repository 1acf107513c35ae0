use std::collections::BTreeMap;

use http::StatusCode;
use secrecy::SecretString;

use super::account::part_bytes;
use super::answers::{Authorization, Version, parse};
use super::failure::{Request, meaning};
use super::options::B2Options;

use super::upload::{Stored, encode, is_large};
use super::versions::{Settlement, settle};
use crate::ErrorKind;
use crate::http::Reply;
use crate::variables::Variables;

fn variables(endpoint: &str) -> Variables {
    Variables::new().or([
        ("B2_ACCOUNT_ID".to_owned(), SecretString::from("id")),
        ("B2_ACCOUNT_KEY".to_owned(), SecretString::from("K00secret")),
        ("B2_ENDPOINT".to_owned(), SecretString::from(endpoint)),
    ])
}

#[test]
fn places_are_read_as_restic_reads_them() {
    for (text, shown) in [
        ("bucket", "b2:bucket"),
        ("bucket:", "b2:bucket"),
        ("bucket:/", "b2:bucket"),
        ("bucket:x", "b2:bucket:x"),
        ("bucket:/x", "b2:bucket:x"),
        ("bucket://x/./y//", "b2:bucket:x/y"),
        ("Bucket-1:a:b", "b2:Bucket-1:a:b"),
    ] {
        let options = B2Options::parse(text, &variables("")).unwrap();
        assert_eq!(options.to_string(), shown, "{text}");
        assert_eq!(options.endpoint.as_str(), "https://api.backblazeb2.com/");
        assert!(!format!("{options:?}").contains("K00secret"));
    }
}

#[test]
fn what_is_missing_or_malformed_is_named_without_repeating_secrets() {
    for text in ["", ":x", "under_score", "b/x", &"b".repeat(64)] {
        let error = B2Options::parse(text, &variables("")).unwrap_err();
        assert!(error.hint.is_some(), "{text}: {error}");
    }
    let error = B2Options::parse("bucket", &Variables::new()).unwrap_err();
    assert!(error.to_string().contains("B2_ACCOUNT_ID"), "{error}");
    for endpoint in [
        "localhost:1",
        "ftp://host",
        "https://bob:K00secret@host",
        "https://host/?K00secret",
    ] {
        let error = B2Options::parse("bucket", &variables(endpoint)).unwrap_err();
        assert!(error.to_string().contains("B2_ENDPOINT"), "{error}");
        assert!(!error.to_string().contains("K00secret"), "{error}");
    }
}

#[test]
fn names_are_encoded_but_for_slashes() {
    assert_eq!(
        encode("a b/ü+%?#&=~._-1"),
        "a%20b/%C3%BC%2B%25%3F%23%26%3D~._-1"
    );
}

#[test]
fn real_accounts_never_split_what_one_request_may_carry() {
    const MEGABYTE: u64 = 1_000_000;
    let real = part_bytes(100 * MEGABYTE, 5 * MEGABYTE);
    assert_eq!(real, 100 * MEGABYTE);
    assert_eq!(part_bytes(5 * MEGABYTE, 5 * MEGABYTE), 100 * MEGABYTE);
    assert_eq!(part_bytes(500 * MEGABYTE, 5 * MEGABYTE), 500 * MEGABYTE);
    assert!(!is_large(128 * 1024 * 1024, real, None), "the largest pack");
    assert!(is_large(201 * MEGABYTE, real, None));
    assert!(!is_large(200, real, Some(100)), "of one part");
    // Those of a simulator are taken as they are.
    assert_eq!(part_bytes(200, 200), 200);
    assert_eq!(part_bytes(0, 0), 1);
    assert!(is_large(201, 200, Some(100)));
    assert!(!is_large(200, 200, Some(100)));
}

#[test]
fn every_refusal_has_the_kind_that_its_code_says() {
    use ErrorKind as Kind;
    use Request::{Authorization, Call, Deletion, Download, Upload};
    for (request, status, code, kind) in [
        (Authorization, 401, "unauthorized", Kind::Unauthenticated),
        (Authorization, 401, "bad_auth_token", Kind::Unauthenticated),
        (Authorization, 404, "", Kind::Permanent),
        (Authorization, 503, "service_unavailable", Kind::Temporary),
        (Call, 401, "bad_auth_token", Kind::Unauthenticated),
        (Call, 401, "expired_auth_token", Kind::Unauthenticated),
        (Call, 401, "unauthorized", Kind::PermissionDenied),
        (Call, 400, "bad_bucket_id", Kind::PlaceNotFound),
        (Authorization, 404, "not_found", Kind::Permanent),
        (Authorization, 410, "", Kind::Permanent),
        (Call, 404, "not_found", Kind::Permanent),
        (Call, 400, "file_not_present", Kind::Permanent),
        (Upload, 404, "not_found", Kind::Permanent),
        (Deletion, 400, "file_not_present", Kind::NotFound),
        (Deletion, 400, "no_such_file", Kind::NotFound),
        (Deletion, 404, "not_found", Kind::NotFound),
        (Deletion, 404, "", Kind::Permanent),
        (Call, 400, "bad_request", Kind::Permanent),
        (Call, 403, "access_denied", Kind::PermissionDenied),
        (Call, 403, "transaction_cap_exceeded", Kind::Permanent),
        (Call, 408, "request_timeout", Kind::Temporary),
        (Call, 429, "too_many_requests", Kind::Temporary),
        (Call, 500, "internal_error", Kind::Temporary),
        (Call, 503, "service_error", Kind::Temporary),
        (Upload, 401, "expired_auth_token", Kind::Temporary),
        (Upload, 401, "bad_auth_token", Kind::Temporary),
        (Upload, 401, "unauthorized", Kind::PermissionDenied),
        (Upload, 403, "cap_exceeded", Kind::NoSpace),
        (Upload, 403, "storage_cap_exceeded", Kind::NoSpace),
        (Upload, 400, "auth_token_limit", Kind::Temporary),
        (Download, 401, "", Kind::Unauthenticated),
        (Download, 403, "download_cap_exceeded", Kind::Permanent),
        (Download, 404, "not_found", Kind::NotFound),
        (Download, 416, "range_not_satisfiable", Kind::TooShort),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let (found, _) = meaning(request, status, code, "");
        assert_eq!(found, kind, "{request:?} {status} {code}");
    }
    let bad = StatusCode::BAD_REQUEST;
    let words = "Sha1 did not match data received";
    assert_eq!(
        meaning(Upload, bad, "bad_request", words).0,
        Kind::Temporary
    );
    let words = "Bucket does not exist: b";
    let (kind, _) = meaning(Download, StatusCode::NOT_FOUND, "not_found", words);
    assert_eq!(kind, Kind::PlaceNotFound);
}

#[test]
fn an_answer_that_cannot_be_read_is_not_repeated() {
    for body in [
        r#"{"accountId": "a", "authorizationToken": "K00secret"}"#,
        r#"{"accountId": {"K00secret": 1}}"#,
        r#""K00secret""#,
        "<html>K00secret</html>",
    ] {
        let reply = Reply {
            status: StatusCode::OK,
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
        };
        let Err(failure) = parse::<Authorization>(&reply, ErrorKind::Permanent) else {
            panic!("{body} is no authorization");
        };
        assert_eq!(failure.kind, ErrorKind::Permanent);
        let text = format!("{failure:?}");
        assert!(!text.contains("K00secret"), "{text}");
    }
}

/// Versions from words like `upload:A`, `hide`, `start`; the ids are the places, the digest is the letter.
fn versions(words: &str) -> Vec<Version> {
    let version = |(index, word): (usize, &str)| {
        let (action, content) = word.split_once(':').unwrap_or((word, ""));
        Version {
            file_id: Some(index.to_string()),
            file_name: "name".to_owned(),
            action: Some(action.to_owned()),
            content_length: Some(1),
            content_sha1: Some(content.to_owned()),
            file_info: BTreeMap::new(),
            upload_timestamp: 0,
        }
    };
    words.split(' ').enumerate().map(version).collect()
}

#[test]
fn after_an_upload_one_version_stays_and_nothing_of_others_goes() {
    // Newest first; the uploaded contents are A, at the given place.
    for (words, place, is_unique, has_lost, superfluous) in [
        ("upload:A", 0, false, false, vec![]),
        ("upload:A upload:A", 0, false, false, vec![1]),
        ("upload:A upload:A", 1, false, false, vec![1]),
        ("upload:A upload:A upload:A", 1, false, false, vec![2, 1]),
        // Taken in the meantime: the older contents stay.
        ("upload:A upload:B", 0, false, true, vec![0]),
        ("upload:B upload:A", 1, false, false, vec![]),
        ("upload:B upload:A", 1, true, false, vec![0]),
        ("upload:A upload:B", 0, true, true, vec![0]),
        // What was hidden and is the same goes with its marker; anything else stays hidden.
        ("upload:A hide upload:A", 0, false, false, vec![2, 1]),
        ("upload:A hide upload:B", 0, false, false, vec![]),
        ("upload:A hide upload:A upload:B", 0, false, false, vec![2]),
        ("upload:A hide", 0, false, false, vec![1]),
        // Somebody hid it since.
        ("hide upload:A upload:A", 1, false, false, vec![]),
        // Unfinished files may be somebody's upload under way.
        ("start upload:A start", 1, false, false, vec![]),
    ] {
        let ours = Stored {
            file_id: place.to_string(),
            sha1: "A".to_owned(),
            bytes: 1,
        };
        let expected = Settlement {
            has_lost,
            superfluous,
        };
        let found = settle(&versions(words), &ours, is_unique);
        assert_eq!(found, expected, "{words}, {place}, {is_unique}");
    }
}

#[test]
fn an_upload_that_is_gone_again_was_too_late_where_only_one_may_be() {
    let ours = Stored {
        file_id: "gone".to_owned(),
        sha1: "A".to_owned(),
        bytes: 1,
    };
    assert!(!settle(&versions("upload:B"), &ours, false).has_lost);
    assert!(settle(&versions("upload:B"), &ours, true).has_lost);
}

#[test]
fn of_equal_uploads_the_newest_stays_whoever_settles_in_whatever_order() {
    // Three writers saw different stages; each deletes by what it saw.
    let all = versions("upload:A upload:A upload:A");
    for (place, seen) in [(2, &all[2..]), (1, &all[1..]), (0, &all[..])] {
        let ours = Stored {
            file_id: place.to_string(),
            sha1: "A".to_owned(),
            bytes: 1,
        };
        for index in settle(seen, &ours, false).superfluous {
            assert_ne!(seen[index].file_id.as_deref(), Some("0"));
        }
    }
}
