use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secrecy::SecretString;

use super::answers::{About, Page, accept, parse, says_which};
use super::options::{GcsOptions, Source};
use crate::ErrorKind;
use crate::http::{HttpClient, HttpOptions, Reply};
use crate::variables::Variables;

const KEY: &str =
    r#"{"type": "service_account", "client_email": "a@b", "private_key": "hidden-key"}"#;

fn variables(pairs: &[(&str, &str)]) -> Variables {
    Variables::new().or(pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))))
}

fn parsed(text: &str, pairs: &[(&str, &str)]) -> GcsOptions {
    GcsOptions::parse(text, &variables(pairs)).unwrap()
}

#[test]
fn locations_are_read_as_restic_reads_them() {
    // Each prefix is where restic 0.19.1 put its objects, except for a bucket alone, which it does not take.
    for (text, prefix) in [
        ("bucket", ""),
        ("bucket:", ""),
        ("bucket:/", ""),
        ("bucket:/a//b/", "a/b"),
        ("bucket:a", "a"),
        ("bucket://x", "x"),
        ("bucket:/../y", "y"),
        ("bucket:../z", "../z"),
        ("bucket:./q/.", "q"),
        ("bucket:/a:b", "a:b"),
    ] {
        let options = parsed(text, &[]);
        assert_eq!(
            (options.bucket.as_str(), options.prefix.as_str()),
            ("bucket", prefix),
            "{text}"
        );
        assert_eq!(options.to_string(), format!("gs:bucket:/{prefix}"));
        assert_eq!(options.origin(), "https://storage.googleapis.com");
    }
    for text in ["", ":/x", "bucket/x", "Bucket:/x", "ab:/x", "b?x=y:/"] {
        let error = GcsOptions::parse(text, &Variables::new()).unwrap_err();
        assert!(error.hint.is_some(), "{text}: {error}");
    }
}

#[test]
fn the_emulator_is_named_with_or_without_its_scheme() {
    for (text, origin) in [
        ("127.0.0.1:9201", "http://127.0.0.1:9201"),
        ("http://host:1/storage/v1/", "http://host:1"),
        ("https://localhost:9202", "https://localhost:9202"),
        ("https://[::1]:9202/", "https://[::1]:9202"),
    ] {
        let options = parsed("bucket:/", &[("STORAGE_EMULATOR_HOST", text)]);
        assert_eq!(options.origin(), origin);
        assert!(matches!(options.source, Source::Anonymous), "{text}");
    }
    for text in ["ftp://host", "http://user:secret@host", "http://"] {
        let given = variables(&[("STORAGE_EMULATOR_HOST", text)]);
        let error = GcsOptions::parse("bucket:/", &given).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn one_source_of_credentials_is_chosen() {
    let key = ("GOOGLE_SERVICE_ACCOUNT_JSON_KEY", KEY);
    let token = ("GOOGLE_ACCESS_TOKEN", " hidden-token\n");
    let file = ("GOOGLE_APPLICATION_CREDENTIALS", "/a/file.json");
    let host = ("GCE_METADATA_HOST", "127.0.0.1:1");
    let emulator = ("STORAGE_EMULATOR_HOST", "127.0.0.1:2");
    let home = ("HOME", "/home/u");
    let source = |pairs: &[(&str, &str)]| parsed("bucket:/", pairs).source;
    assert!(matches!(
        source(&[host, file, token, key, emulator]),
        Source::Text(_)
    ));
    assert!(matches!(
        source(&[host, file, token, emulator]),
        Source::Token(_)
    ));
    assert!(matches!(source(&[host, file, emulator]), Source::File(_)));
    assert!(matches!(source(&[host, emulator]), Source::Metadata(_)));
    assert!(matches!(source(&[emulator, home]), Source::Anonymous));
    let Source::Ambient(Some(login)) = source(&[home]) else {
        panic!("nothing is configured");
    };
    assert_eq!(
        login.to_str().unwrap(),
        "/home/u/.config/gcloud/application_default_credentials.json"
    );
    let shown = format!("{:?}", parsed("bucket:/", &[token, key]));
    assert!(!shown.contains("hidden"), "{shown}");
}

#[test]
fn malformed_credentials_are_refused_without_repeating_them() {
    for (text, words) in [
        ("hidden", "not JSON"),
        (r#"["hidden"]"#, "object"),
        (r#"{"client_id": "hidden"}"#, "`type`"),
        (
            r#"{"type": "service_account", "private_key": "hidden"}"#,
            "`client_email`",
        ),
        (
            r#"{"type": "service_account", "client_email": "a", "private_key": ["hidden"]}"#,
            "`private_key`",
        ),
        (
            r#"{"type": "service_account", "client_email": "a", "private_key": "hidden", "token_uri": "http://host/"}"#,
            "`token_uri`",
        ),
        (
            r#"{"type": "service_account", "client_email": "a", "private_key": "hidden", "universe_domain": "x.example"}"#,
            "`universe_domain`",
        ),
        (
            r#"{"type": "gdch_service_account", "private_key": "hidden"}"#,
            "gdch_service_account",
        ),
        (
            r#"{"type": "external_account", "audience": "a", "credential_source": {"environment_id": "aws1", "url": "hidden"}}"#,
            "AWS",
        ),
        (
            r#"{"type": "external_account", "audience": "a", "credential_source": {"executable": {"command": "hidden"}}}"#,
            "neither from a file nor from a URL",
        ),
    ] {
        let given = variables(&[("GOOGLE_SERVICE_ACCOUNT_JSON_KEY", text)]);
        let error = GcsOptions::parse("bucket:/", &given).unwrap_err();
        assert!(error.message.contains(words), "{error}");
        assert!(!error.message.contains("hidden"), "{error}");
    }
}

fn reply(status: u16, content_type: &str, body: &str) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", content_type.parse().unwrap());
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: Bytes::from(body.to_owned()),
    }
}

fn refusal(status: u16, reason: &str, message: &str) -> Reply {
    let body = serde_json::json!({"error": {
        "code": status,
        "message": message,
        "errors": [{"domain": "global", "reason": reason, "message": message}],
    }});
    reply(status, "application/json", &body.to_string())
}

fn client() -> HttpClient {
    HttpClient::new(&HttpOptions::default()).unwrap()
}

#[test]
fn refusals_mean_what_google_says_they_do() {
    use ErrorKind::{
        AlreadyExists, NotFound, Permanent, PermissionDenied, PlaceNotFound, Temporary, TooShort,
        Unauthenticated,
    };
    let http = client();
    for (status, reason, message, kind) in [
        (400, "invalid", "Invalid bucket name", Permanent),
        (
            400,
            "invalid",
            "Provided MD5 hash \"a\" doesn't match calculated MD5 hash \"b\".",
            Temporary,
        ),
        (401, "authError", "Invalid Credentials", Unauthenticated),
        (
            401,
            "required",
            "Anonymous caller does not have access",
            Unauthenticated,
        ),
        (
            403,
            "forbidden",
            "a@b does not have storage.objects.get access",
            PermissionDenied,
        ),
        (
            403,
            "retentionPolicyNotMet",
            "is subject to retention",
            PermissionDenied,
        ),
        (403, "rateLimitExceeded", "slow down", Temporary),
        (403, "userRateLimitExceeded", "slow down", Temporary),
        (404, "notFound", "No such object: bucket/x", NotFound),
        (
            404,
            "notFound",
            "The specified bucket does not exist.",
            PlaceNotFound,
        ),
        (408, "requestTimeout", "late", Temporary),
        (
            409,
            "conflict",
            "was edited during the operation",
            Temporary,
        ),
        (
            412,
            "conditionNotMet",
            "At least one of the pre-conditions",
            AlreadyExists,
        ),
        (416, "requestedRangeNotSatisfiable", "range", TooShort),
        (429, "rateLimitExceeded", "slow down", Temporary),
        (500, "backendError", "oops", Temporary),
        (503, "backendError", "oops", Temporary),
    ] {
        let answer = refusal(status, reason, message);
        let failure = accept(&http, About::Object, answer).unwrap_err();
        assert_eq!(failure.kind, kind, "{status} {reason}");
        let words = failure.source.to_string();
        assert!(words.contains(reason) && words.contains(message), "{words}");
    }
    let absent = accept(&http, About::Bucket, refusal(404, "notFound", "Not Found"));
    assert_eq!(absent.unwrap_err().kind, PlaceNotFound);
}

#[test]
fn a_404_tells_what_is_absent_or_the_bucket_has_to_be_asked_for() {
    assert!(says_which(&refusal(404, "notFound", "No such object: b/x")));
    for kind in ["text/plain", "text/html; charset=UTF-8"] {
        assert!(says_which(&reply(404, kind, "No such object: b/x")));
        assert!(!says_which(&reply(404, kind, "<p>No such object: b/x")));
    }
    assert!(says_which(&reply(
        404,
        "text/html; charset=UTF-8",
        r#"{"error": {"message": "The specified bucket does not exist."}}"#
    )));
    assert!(!says_which(&refusal(404, "notFound", "Not Found")));
    assert!(!says_which(&reply(404, "text/plain", "Not Found")));
    assert!(!says_which(&reply(404, "text/html", "<html>")));
}

#[test]
fn a_success_that_is_not_the_services_is_a_failure() {
    let http = client();
    let error = refusal(503, "backendError", "oops").body;
    for body in [
        "",
        "{}",
        "null",
        "<html>",
        r#"{"kind": "storage#objects", "items": [{"name": "x"}]}"#,
        r#"{"kind": "storage#objects", "items": [{"name": "x", "size": "y"}]}"#,
        str::from_utf8(&error).unwrap(),
    ] {
        let answer = reply(200, "application/json", body);
        let failure = parse::<Page>(&http, "storage#objects", &answer).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Temporary, "{body}");
    }
    let empty = reply(200, "application/json", r#"{"kind": "storage#objects"}"#);
    let page: Page = parse(&http, "storage#objects", &empty).unwrap();
    assert!(page.items.is_empty());
}
