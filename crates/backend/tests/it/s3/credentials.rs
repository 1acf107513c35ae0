//! Every source of credentials: that it works, that nothing replaces it when it fails, and that it is renewed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use backend::{
    Backend, BackendError, ErrorKind, FileKind, Handle, S3Backend, S3Options, Variables,
};
use bytes::Bytes;
use http::{Request, Response};
use testkit::Scratch;
use testkit::servers::offered;
use testkit::stub::{StubServer, json, reply};

use super::{backend, backend_with, fresh, keys_of, plain, trusting, variables};
use crate::results::form_works;

const EMPTY_LIST: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
const FAR: &str = "2100-01-01T00:00:00Z";
const PAST: &str = "2020-01-01T00:00:00Z";

/// A store that takes everything.
fn store() -> StubServer {
    StubServer::start(|_| async { reply(200, "application/xml", EMPTY_LIST) })
}

fn place(store: &StubServer) -> String {
    format!("{}/bucket", store.url())
}

fn answer_of_sts(action: &str, key: &str, expires: &str) -> Response<Bytes> {
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
         <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret-of-{key}</SecretAccessKey>\
         <SessionToken>token-of-{key}</SessionToken><Expiration>{expires}</Expiration></Credentials>\
         </{action}Result></{action}Response>"
    );
    reply(200, "text/xml", body)
}

/// A token service that gives these keys one after the other, each with its end.
fn sts(given: &[(&'static str, &'static str)]) -> StubServer {
    let given: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(given.iter().copied().collect()));
    StubServer::start(move |_| {
        let next = given.lock().unwrap().pop_front();
        async move {
            match next {
                Some((key, expires)) => answer_of_sts("AssumeRoleWithWebIdentity", key, expires),
                None => reply(500, "text/plain", "nothing is left"),
            }
        }
    })
}

fn refusing_sts(status: u16, code: &'static str) -> StubServer {
    StubServer::start(move |_| async move {
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>not so</Message>\
             </Error><RequestId>1</RequestId></ErrorResponse>"
        );
        reply(status, "text/xml", body)
    })
}

/// A web identity whose token lies in a file.
fn web_identity(scratch: &Scratch, sts: &str) -> Vec<(String, String)> {
    let file = scratch.join("token");
    std::fs::write(&file, "the.web.token\n").unwrap();
    [
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/backup"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_ENDPOINT_URL_STS", sts),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn of(values: &[(String, String)]) -> Variables {
    let values: Vec<(&str, &str)> = values
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    variables(&values)
}

/// An error with all its reasons.
fn words(error: &BackendError) -> String {
    let mut words = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        words = format!("{words}: {source}");
        next = source.source();
    }
    words
}

fn signed_by(store: &StubServer) -> Vec<String> {
    store
        .requests()
        .iter()
        .map(|request| {
            let text = request.headers()["authorization"].to_str().unwrap();
            let key = text.split_once("Credential=").unwrap().1;
            key.split('/').next().unwrap().to_owned()
        })
        .collect()
}

async fn list(backend: &S3Backend) -> Result<(), BackendError> {
    backend.list(FileKind::Key).await.map(|_| ())
}

async fn writes_and_reads(backend: &S3Backend) {
    backend.create().await.unwrap();
    backend.write(&Handle::config(), "x".into()).await.unwrap();
    assert_eq!(backend.read(&Handle::config()).await.unwrap(), "x");
}

#[tokio::test]
async fn a_web_identity_becomes_keys_at_the_token_service() {
    let Some(server) = offered("moto") else {
        return;
    };
    let scratch = Scratch::new();
    for address in [server.http(), server.https()] {
        let variables = of(&web_identity(&scratch, address));
        let place = format!("{address}/{}", fresh());
        writes_and_reads(&backend(&place, &variables, &trusting(&server))).await;
    }
    form_works("s3", &server, "web identity");
}

#[tokio::test]
async fn the_token_and_the_role_are_sent_and_the_keys_are_used() {
    let (store, sts, scratch) = (store(), sts(&[("KEY1", FAR)]), Scratch::new());
    let backend = backend(
        &place(&store),
        &of(&web_identity(&scratch, &sts.url())),
        &plain(),
    );
    list(&backend).await.unwrap();
    let asked = sts.requests();
    let form = String::from_utf8_lossy(asked[0].body());
    for part in [
        "Action=AssumeRoleWithWebIdentity",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fbackup",
        "WebIdentityToken=the%2Eweb%2Etoken",
    ] {
        assert!(form.contains(part), "{form}");
    }
    let sent = &store.requests()[0];
    assert_eq!(sent.headers()["x-amz-security-token"], "token-of-KEY1");
    assert_eq!(signed_by(&store), ["KEY1"]);
    let shown = format!("{backend:?} {}", backend.location());
    assert!(!shown.contains("KEY1"), "{shown}");
}

#[tokio::test]
async fn keys_are_renewed_before_their_end_and_kept_until_then() {
    let store = store();
    let sts = sts(&[("KEY1", PAST), ("KEY2", FAR)]);
    let scratch = Scratch::new();
    let variables = of(&web_identity(&scratch, &sts.url()));
    let backend = backend(&place(&store), &variables, &plain());
    for _ in 0..3 {
        list(&backend).await.unwrap();
    }
    assert_eq!(signed_by(&store), ["KEY1", "KEY2", "KEY2"]);
    assert_eq!(sts.requests().len(), 2);
}

#[tokio::test]
async fn many_requests_at_once_ask_once_for_keys() {
    let (store, sts, scratch) = (store(), sts(&[("KEY1", FAR)]), Scratch::new());
    let variables = of(&web_identity(&scratch, &sts.url()));
    let backend = backend(&place(&store), &variables, &plain());
    let results = futures::future::join_all((0..20).map(|_| list(&backend))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(sts.requests().len(), 1);
}

/// A store that calls the token of one key expired.
fn store_that_expires(key: &'static str) -> StubServer {
    StubServer::start(move |request: Request<Bytes>| async move {
        let token = request.headers()["x-amz-security-token"].to_str().unwrap();
        if token == format!("token-of-{key}") {
            let body = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.\
                        </Message></Error>";
            return reply(400, "application/xml", body);
        }
        reply(200, "application/xml", EMPTY_LIST)
    })
}

#[tokio::test]
async fn a_token_that_the_store_calls_expired_is_renewed_once() {
    let scratch = Scratch::new();
    let sts_of_two = sts(&[("KEY1", FAR), ("KEY2", FAR)]);
    let expiring = store_that_expires("KEY1");
    let variables = of(&web_identity(&scratch, &sts_of_two.url()));
    let renewing = backend(&place(&expiring), &variables, &plain());
    let results = futures::future::join_all((0..8).map(|_| list(&renewing))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(sts_of_two.requests().len(), 2);

    let sts_of_same = sts(&[("KEY1", FAR), ("KEY1", FAR), ("KEY1", FAR)]);
    let variables = of(&web_identity(&scratch, &sts_of_same.url()));
    let stuck = backend(&place(&expiring), &variables, &plain());
    let error = list(&stuck).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
    assert_eq!(sts_of_same.requests().len(), 2);

    let before = expiring.requests().len();
    let fixed = super::variables(&[
        ("AWS_ACCESS_KEY_ID", "KEY1"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token-of-KEY1"),
    ]);
    let error = list(&backend(&place(&expiring), &fixed, &plain()))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
    assert_eq!(expiring.requests().len(), before + 1, "nothing to renew");
}

/// Every weaker source is there and would work.
fn with_all_weaker_sources(
    values: &mut Vec<(String, String)>,
    scratch: &Scratch,
    weaker: &StubServer,
) {
    let folder = scratch.join(".aws");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("credentials"),
        "[default]\naws_access_key_id = WEAK\naws_secret_access_key = weak\n",
    )
    .unwrap();
    for (name, value) in [
        ("HOME", scratch.path().to_str().unwrap()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &weaker.url()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &weaker.url()),
    ] {
        if values.iter().all(|(known, _)| known != name) {
            values.push((name.to_owned(), value.to_owned()));
        }
    }
}

#[tokio::test]
async fn a_web_identity_that_fails_is_replaced_by_nothing() {
    for (status, code, kind) in [
        (400, "InvalidIdentityToken", ErrorKind::Unauthenticated),
        (400, "ExpiredTokenException", ErrorKind::Unauthenticated),
        (403, "AccessDenied", ErrorKind::PermissionDenied),
        (400, "IDPCommunicationError", ErrorKind::Temporary),
        (503, "ServiceUnavailable", ErrorKind::Temporary),
    ] {
        let (store, scratch) = (store(), Scratch::new());
        let sts = refusing_sts(status, code);
        let weaker = StubServer::start(|_| async { reply(200, "text/plain", "weak") });
        let mut values = web_identity(&scratch, &sts.url());
        with_all_weaker_sources(&mut values, &scratch, &weaker);
        let backend = backend(&place(&store), &of(&values), &plain());
        let error = list(&backend).await.unwrap_err();
        assert_eq!(error.kind, kind, "{code}: {error:?}");
        let words = words(&error);
        assert!(words.contains("web identity"), "{words}");
        assert!(
            words.contains("role/backup") && words.contains(code),
            "{words}"
        );
        assert!(!format!("{words} {error:?}").contains("the.web.token"));
        assert!(store.requests().is_empty() && weaker.requests().is_empty());
    }
}

#[tokio::test]
async fn a_missing_token_file_is_named() {
    let (store, scratch) = (store(), Scratch::new());
    let weaker = StubServer::start(|_| async { reply(200, "text/plain", "weak") });
    let mut values = web_identity(&scratch, "http://127.0.0.1:1");
    std::fs::remove_file(scratch.join("token")).unwrap();
    with_all_weaker_sources(&mut values, &scratch, &weaker);
    let error = list(&backend(&place(&store), &of(&values), &plain()))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
    assert!(words(&error).contains("token file"), "{}", words(&error));
    assert!(weaker.requests().is_empty());
}

#[tokio::test]
async fn a_profile_is_read_and_one_that_is_missing_is_replaced_by_nothing() {
    let (store, scratch) = (store(), Scratch::new());
    let weaker = StubServer::start(|_| async { reply(200, "text/plain", "weak") });
    std::fs::create_dir_all(scratch.join(".aws")).unwrap();
    std::fs::write(
        scratch.join("own"),
        "# keys\n[other]\naws_access_key_id=OTHER\n\n[backup]\naws_access_key_id = PROFILE\n\
         aws_secret_access_key = abc/def+=\naws_session_token=tok\n",
    )
    .unwrap();
    let mut values = vec![
        ("AWS_PROFILE".to_owned(), "backup".to_owned()),
        (
            "AWS_SHARED_CREDENTIALS_FILE".to_owned(),
            scratch.join("own").to_str().unwrap().to_owned(),
        ),
    ];
    with_all_weaker_sources(&mut values, &scratch, &weaker);
    list(&backend(&place(&store), &of(&values), &plain()))
        .await
        .unwrap();
    assert_eq!(signed_by(&store), ["PROFILE"]);
    for (profile, word) in [
        ("absent", "no such profile"),
        ("other", "aws_secret_access_key"),
    ] {
        profile.clone_into(&mut values[0].1);
        let error = list(&backend(&place(&store), &of(&values), &plain()))
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
        assert!(words(&error).contains(profile), "{}", words(&error));
        assert!(words(&error).contains(word), "{}", words(&error));
    }
    assert!(weaker.requests().is_empty());
    // Without a name, the profile of the user's home is better than asking the machine.
    let mut of_home = Vec::new();
    with_all_weaker_sources(&mut of_home, &scratch, &weaker);
    list(&backend(&place(&store), &of(&of_home), &plain()))
        .await
        .unwrap();
    assert_eq!(signed_by(&store).last().unwrap(), "WEAK");
    assert!(weaker.requests().is_empty());
}

fn document(key: &str) -> serde_json::Value {
    serde_json::json!({
        "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": key, "SecretAccessKey": "secret",
        "Token": "token", "Expiration": FAR,
    })
}

#[tokio::test]
async fn the_role_of_a_container_is_asked_with_its_token() {
    let (store, scratch) = (store(), Scratch::new());
    let endpoint = StubServer::start(|request: Request<Bytes>| async move {
        let is_right = request.uri().path() == "/v1/credentials"
            && request
                .headers()
                .get("authorization")
                .is_some_and(|text| text == "pod-token");
        if is_right {
            json(200, &document("CONTAINER"))
        } else {
            json(
                403,
                &serde_json::json!({"code": "AccessDenied", "message": "not you"}),
            )
        }
    });
    std::fs::write(scratch.join("token"), "pod-token\n").unwrap();
    let uri = format!("{}/v1/credentials", endpoint.url());
    let file = scratch.join("token");
    let by_file = variables(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            file.to_str().unwrap(),
        ),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint.url()),
    ]);
    list(&backend(&place(&store), &by_file, &plain()))
        .await
        .unwrap();
    assert_eq!(signed_by(&store), ["CONTAINER"]);
    let wrong = variables(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "another-token"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint.url()),
    ]);
    let before = endpoint.requests().len();
    let error = list(&backend(&place(&store), &wrong, &plain()))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
    let words = words(&error);
    assert!(
        words.contains("container") && words.contains("AccessDenied"),
        "{words}"
    );
    assert!(!words.contains("another-token"), "{words}");
    assert_eq!(
        endpoint.requests().len(),
        before + 1,
        "only the container was asked"
    );
}

#[tokio::test]
async fn the_role_of_a_virtual_machine_is_asked_with_a_session() {
    let Some(server) = offered("moto") else {
        return;
    };
    let variables = variables(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.http())]);
    let place = format!("{}/{}", server.http(), fresh());
    writes_and_reads(&backend(&place, &variables, &plain())).await;
    form_works("s3", &server, "instance role");
}

#[tokio::test]
async fn a_virtual_machine_without_a_role_and_one_that_is_busy_are_told_apart() {
    for (status, kind, word) in [
        (404, ErrorKind::Unauthenticated, "no role"),
        (403, ErrorKind::Unauthenticated, "403"),
        (503, ErrorKind::Temporary, "503"),
    ] {
        let metadata = StubServer::start(move |request: Request<Bytes>| async move {
            if request.method() == "PUT" {
                reply(200, "text/plain", "session-token")
            } else {
                assert_eq!(
                    request.headers()["x-aws-ec2-metadata-token"],
                    "session-token"
                );
                reply(status, "text/plain", "")
            }
        });
        let variables = variables(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.url())]);
        let error = list(&backend(&place(&store()), &variables, &plain()))
            .await
            .unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        let words = words(&error);
        assert!(
            words.contains("virtual machine") && words.contains(word),
            "{words}"
        );
    }
}

#[tokio::test]
async fn nothing_at_all_is_told_with_what_to_set() {
    let variables = variables(&[("AWS_EC2_METADATA_DISABLED", "true")]);
    let error = list(&backend(&place(&store()), &variables, &plain()))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
    assert!(
        words(&error).contains("AWS_ACCESS_KEY_ID"),
        "{}",
        words(&error)
    );
}

#[tokio::test]
async fn a_role_is_taken_on_with_the_keys_of_the_source() {
    let store = store();
    let sts = StubServer::start(|_| async { answer_of_sts("AssumeRole", "ROLE", FAR) });
    let variables = variables(&[
        ("AWS_ACCESS_KEY_ID", "OWN"),
        ("AWS_SECRET_ACCESS_KEY", "own-secret"),
        ("RESTIC_AWS_ASSUME_ROLE_ARN", "arn:aws:iam::1:role/backup"),
        ("RESTIC_AWS_ASSUME_ROLE_SESSION_NAME", "nightly"),
        ("RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID", "external"),
        ("RESTIC_AWS_ASSUME_ROLE_REGION", "eu-west-1"),
        ("RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT", &sts.url()),
    ]);
    list(&backend(&place(&store), &variables, &plain()))
        .await
        .unwrap();
    assert_eq!(signed_by(&store), ["ROLE"]);
    assert_eq!(signed_by(&sts), ["OWN"]);
    let asked = sts.requests();
    let signature = asked[0].headers()["authorization"].to_str().unwrap();
    assert!(
        signature.contains("/eu-west-1/sts/aws4_request"),
        "{signature}"
    );
    let form = String::from_utf8_lossy(asked[0].body());
    assert!(
        form.contains("ExternalId=external") && form.contains("RoleSessionName=nightly"),
        "{form}"
    );
}

#[tokio::test]
async fn a_role_that_is_refused_is_not_replaced_by_the_keys_below_it() {
    let (store, sts) = (store(), refusing_sts(403, "AccessDenied"));
    let variables = variables(&[
        ("AWS_ACCESS_KEY_ID", "OWN"),
        ("AWS_SECRET_ACCESS_KEY", "own-secret"),
        ("RESTIC_AWS_ASSUME_ROLE_ARN", "arn:aws:iam::1:role/backup"),
        ("RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT", &sts.url()),
    ]);
    let error = list(&backend(&place(&store), &variables, &plain()))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error:?}");
    assert!(words(&error).contains("role/backup"), "{}", words(&error));
    assert!(store.requests().is_empty());
}

#[tokio::test]
async fn wrong_keys_are_refused_at_once_and_never_shown() {
    for name in ["minio", "rgw", "moto-iam", "garage"] {
        let Some(server) = offered(name) else {
            continue;
        };
        let place = format!("{}/{}/x", server.http(), fresh());
        backend(&place, &keys_of(&server), &plain())
            .create()
            .await
            .unwrap();
        for (id, secret) in [
            (server.value("access_key_id"), "not-the-secret-at-all"),
            ("NOSUCHKEYATALL000000", "not-the-secret-at-all"),
        ] {
            let wrong = variables(&[("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)]);
            let backend = backend(&place, &wrong, &plain());
            for error in [
                backend.stat(&Handle::config()).await.unwrap_err(),
                backend.read(&Handle::config()).await.unwrap_err(),
                backend.list(FileKind::Key).await.unwrap_err(),
                backend
                    .write(&Handle::config(), "x".into())
                    .await
                    .unwrap_err(),
                backend.create().await.unwrap_err(),
            ] {
                assert_eq!(error.kind, ErrorKind::Unauthenticated, "{name}: {error:?}");
                let shown = format!("{error:?} {}", words(&error));
                assert!(!shown.contains(secret) && !shown.contains(id), "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn nobody_signs_only_when_that_is_asked_for() {
    let store = store();
    let settings = [("unsafe-anonymous-auth", "true")];
    let keys = variables(&[
        ("AWS_ACCESS_KEY_ID", "KEY"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    list(&backend_with(&place(&store), &keys, &plain(), &settings))
        .await
        .unwrap();
    assert!(!store.requests()[0].headers().contains_key("authorization"));
}

#[test]
fn half_of_a_source_is_a_mistake() {
    for (values, missing) in [
        (
            vec![("AWS_ACCESS_KEY_ID", "KEY-VALUE")],
            "AWS_SECRET_ACCESS_KEY",
        ),
        (
            vec![("AWS_SECRET_ACCESS_KEY", "KEY-VALUE")],
            "AWS_ACCESS_KEY_ID",
        ),
        (
            vec![("AWS_WEB_IDENTITY_TOKEN_FILE", "/KEY-VALUE")],
            "AWS_ROLE_ARN",
        ),
        (
            vec![(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://example.com/KEY-VALUE",
            )],
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ),
    ] {
        let error = S3Options::parse("host/bucket", &variables(&values)).unwrap_err();
        assert!(error.to_string().contains(missing), "{error}");
        assert!(error.hint.is_some());
        assert!(!format!("{error:?}").contains("KEY-VALUE"));
    }
}
