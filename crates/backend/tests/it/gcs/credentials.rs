//! Each form of credentials: good, refused, expired and renewed, and never replaced by another.

use std::fs;

use backend::{Backend, ErrorKind, FileKind, GcsBackend, Handle};
use futures::future::join_all;
use serde_json::json;
use testkit::Scratch;
use testkit::servers::{Server, offered};
use testkit::stub::{self, reply};

use super::front::{Front, SUBJECT_TOKEN, invalid_grant};
use super::{backend, fresh_bucket, object, shown};
use crate::results::form_works;

const CLOCK_WORDS: &str = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. \
                           Check your iat and exp values in the JWT claim.";

struct Case {
    server: Server,
    front: Front,
    bucket: String,
    scratch: Scratch,
}

impl Case {
    fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
            front: Front::before(server),
            bucket: fresh_bucket(),
            scratch: Scratch::new(),
        }
    }

    fn offered() -> Option<Self> {
        Some(Self::new(&offered("fake-gcs")?))
    }

    fn backend(&self, pairs: &[(&str, &str)]) -> GcsBackend {
        let url = self.front.url();
        let mut all = vec![
            ("STORAGE_EMULATOR_HOST", url.as_str()),
            ("GOOGLE_PROJECT_ID", "project"),
        ];
        all.extend(pairs);
        backend(&format!("{}:/repository", self.bucket), &all)
    }

    fn with_text(&self, text: &str) -> GcsBackend {
        self.backend(&[("GOOGLE_SERVICE_ACCOUNT_JSON_KEY", text)])
    }

    fn with_file(&self, text: &str) -> GcsBackend {
        let file = self.scratch.join("credentials.json");
        fs::write(&file, text).unwrap();
        self.backend(&[("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())])
    }

    /// A repository's day with one token, then with another when the first is refused.
    async fn works(&self, backend: &GcsBackend, form: &str) {
        backend.create().await.unwrap();
        let (handle, data) = object(FileKind::Key, "a key");
        backend.write(&handle, data.clone()).await.unwrap();
        let asked = self.front.asked();
        let reads = join_all((0..8).map(|_| backend.read(&handle))).await;
        assert!(reads.into_iter().all(|read| read.unwrap() == data));
        assert_eq!(self.front.asked(), asked, "the token was not kept");
        self.front.expire_all();
        let reads = join_all((0..8).map(|_| backend.read(&handle))).await;
        assert!(reads.into_iter().all(|read| read.unwrap() == data));
        assert_eq!(self.front.asked(), 2 * asked, "not one renewal for all");
        self.assert_hidden(&format!("{backend:?} {}", backend.location()));
        form_works("gcs", &self.server, form);
    }

    /// The next use fails so, within one attempt, and shows nothing that is secret.
    async fn fails(&self, backend: &GcsBackend, kind: ErrorKind, words: &str) {
        let asked = self.front.asked();
        let error = backend.stat(&Handle::config()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        let text = shown(&error);
        assert!(text.contains(words), "{text}");
        self.assert_hidden(&text);
        assert!(self.front.asked() <= asked + 2, "asked again and again");
    }

    fn assert_hidden(&self, text: &str) {
        for secret in self.front.secrets() {
            assert!(!text.contains(&secret), "{secret} is shown in {text}");
        }
    }
}

#[tokio::test]
async fn a_key_of_a_service_account_works_as_text_and_as_a_file() {
    let Some(server) = offered("fake-gcs") else {
        return;
    };
    let case = Case::new(&server);
    let form = "key of a service account*";
    case.works(&case.with_text(&case.front.service_account()), form)
        .await;
    let case = Case::new(&server);
    case.works(&case.with_file(&case.front.service_account()), form)
        .await;
}

#[tokio::test]
async fn a_login_of_a_user_works() {
    let Some(case) = Case::offered() else { return };
    let backend = case.with_file(&case.front.authorized_user());
    case.works(&backend, "login of a user*").await;
}

#[tokio::test]
async fn the_metadata_server_works_and_must_be_googles() {
    let Some(server) = offered("fake-gcs") else {
        return;
    };
    let case = Case::new(&server);
    let host = case.front.host();
    let backend = case.backend(&[("GCE_METADATA_HOST", &host)]);
    case.works(&backend, "metadata server*").await;
    let case = Case::new(&server);
    let host = case.front.host();
    case.front.is_somebody_else();
    let backend = case.backend(&[("GCE_METADATA_HOST", &host)]);
    let words = "not Google's metadata server";
    case.fails(&backend, ErrorKind::Permanent, words).await;
}

#[tokio::test]
async fn another_identity_works_from_files_and_urls_with_and_without_impersonation() {
    let Some(server) = offered("fake-gcs") else {
        return;
    };
    for (is_impersonating, form) in [
        (false, "workload identity*"),
        (true, "workload identity with impersonation*"),
    ] {
        let case = Case::new(&server);
        let subject = case.scratch.join("subject");
        fs::write(&subject, format!("{SUBJECT_TOKEN}\n")).unwrap();
        let source = json!({"file": subject});
        let text = case.front.external_account(&source, is_impersonating);
        case.works(&case.with_file(&text), form).await;

        let case = Case::new(&server);
        let subject = case.scratch.join("subject");
        fs::write(&subject, json!({"token": SUBJECT_TOKEN}).to_string()).unwrap();
        let format = json!({"type": "json", "subject_token_field_name": "token"});
        let source = json!({"file": subject, "format": format});
        let text = case.front.external_account(&source, is_impersonating);
        case.works(&case.with_text(&text), form).await;

        let case = Case::new(&server);
        let format = json!({"type": "json", "subject_token_field_name": "value"});
        let url = format!("{}/subject", case.front.url());
        let source = json!({"url": url, "headers": {"X-Subject": "yes"}, "format": format});
        let text = case.front.external_account(&source, is_impersonating);
        case.works(&case.with_text(&text), form).await;
    }
}

#[tokio::test]
async fn a_subject_token_is_read_anew_for_every_exchange() {
    let Some(case) = Case::offered() else { return };
    let subject = case.scratch.join("subject");
    let source = json!({"file": subject});
    let backend = case.with_text(&case.front.external_account(&source, false));
    let words = subject.to_str().unwrap();
    case.fails(&backend, ErrorKind::Permanent, words).await;
    fs::write(&subject, "an-old-subject-token").unwrap();
    let words = "invalid_grant";
    case.fails(&backend, ErrorKind::Unauthenticated, words)
        .await;
    fs::write(&subject, "  \n").unwrap();
    case.fails(&backend, ErrorKind::Permanent, "no token").await;
    fs::write(&subject, SUBJECT_TOKEN).unwrap();
    backend.create().await.unwrap();
}

#[tokio::test]
async fn a_token_of_the_users_own_is_used_as_it_is() {
    let Some(case) = Case::offered() else { return };
    let giver = case.with_text(&case.front.service_account());
    giver.create().await.unwrap();
    let token = case.front.given().pop().unwrap();
    let asked = case.front.asked();
    let backend = case.backend(&[("GOOGLE_ACCESS_TOKEN", &format!("{token}\n"))]);
    backend.create().await.unwrap();
    let (handle, data) = object(FileKind::Key, "a key");
    backend.write(&handle, data.clone()).await.unwrap();
    assert_eq!(backend.read(&handle).await.unwrap(), data);
    form_works("gcs", &case.server, "access token*");
    case.front.expire_all();
    let requests = case.front.paths().len();
    // The front repeats the token in its refusal.
    let words = "authError";
    case.fails(&backend, ErrorKind::Unauthenticated, words)
        .await;
    assert_eq!(case.front.paths().len(), requests + 1, "it was tried again");
    assert_eq!(case.front.asked(), asked, "another source was asked");
}

#[tokio::test]
async fn refusals_of_tokens_are_told_apart() {
    let Some(case) = Case::offered() else { return };
    let busy = json!({"error": "temporarily_unavailable"});
    for (answer, kind, words) in [
        (
            invalid_grant("Invalid JWT Signature."),
            ErrorKind::Unauthenticated,
            "Invalid JWT Signature.",
        ),
        (
            invalid_grant(CLOCK_WORDS),
            ErrorKind::ClockSkew,
            "iat and exp",
        ),
        (
            stub::json(401, &json!({})),
            ErrorKind::Unauthenticated,
            "401",
        ),
        (
            stub::json(403, &json!({})),
            ErrorKind::PermissionDenied,
            "403",
        ),
        (stub::json(404, &json!({})), ErrorKind::Permanent, "404"),
        (stub::json(400, &busy), ErrorKind::Temporary, "unavailable"),
        (stub::json(503, &json!({})), ErrorKind::Temporary, "503"),
        (stub::json(429, &json!({})), ErrorKind::Temporary, "429"),
        (
            stub::json(200, &json!({})),
            ErrorKind::Temporary,
            "no token",
        ),
        (
            reply(200, "text/plain", "ya29.x"),
            ErrorKind::Temporary,
            "token",
        ),
    ] {
        case.front.refuse(answer);
        for text in [case.front.service_account(), case.front.authorized_user()] {
            case.fails(&case.with_text(&text), kind, words).await;
        }
        let host = case.front.host();
        let backend = case.backend(&[("GCE_METADATA_HOST", &host)]);
        let error = backend.stat(&Handle::config()).await.unwrap_err();
        assert!(!error.is_not_found(), "{error:?}");
    }
}

#[tokio::test]
async fn a_storm_of_tasks_asks_once_for_a_token_that_is_refused() {
    let Some(case) = Case::offered() else { return };
    case.front.refuse(invalid_grant("Invalid JWT Signature."));
    let backend = case.with_text(&case.front.service_account());
    let handle = Handle::config();
    for error in join_all((0..16).map(|_| backend.stat(&handle))).await {
        assert_eq!(error.unwrap_err().kind, ErrorKind::Unauthenticated);
    }
    assert_eq!(case.front.asked(), 1);
}

#[tokio::test]
async fn no_other_source_takes_the_place_of_one_that_fails() {
    let Some(case) = Case::offered() else { return };
    let host = case.front.host();
    let metadata = ("GCE_METADATA_HOST", host.as_str());
    let wrong = case
        .front
        .service_account()
        .replace("robot@project.example", "nobody@project.example");
    let backend = case.backend(&[("GOOGLE_SERVICE_ACCOUNT_JSON_KEY", &wrong), metadata]);
    case.fails(&backend, ErrorKind::Unauthenticated, "invalid_grant")
        .await;
    let absent = case.scratch.join("absent.json");
    let absent = absent.to_str().unwrap();
    let backend = case.backend(&[("GOOGLE_APPLICATION_CREDENTIALS", absent), metadata]);
    case.fails(&backend, ErrorKind::Permanent, absent).await;
    let backend = case.backend(&[("GOOGLE_ACCESS_TOKEN", "a-token-of-no-use"), metadata]);
    case.fails(&backend, ErrorKind::Unauthenticated, "401")
        .await;
    let backend = case.with_file(r#"{"type": "service_account", "private_key": "hidden-key"}"#);
    case.fails(&backend, ErrorKind::Permanent, "client_email")
        .await;
    assert!(case.front.given().is_empty(), "a token was given out");
}

#[tokio::test]
async fn an_expired_token_is_not_sent_and_a_new_one_is_not_renewed() {
    let Some(case) = Case::offered() else { return };
    case.front.set_lifetime(0);
    let backend = case.with_text(&case.front.service_account());
    backend.create().await.unwrap();
    let asked = case.front.asked();
    for expected in 1..=3 {
        assert!(backend.list(FileKind::Key).await.unwrap().is_empty());
        assert_eq!(case.front.asked(), asked + expected);
    }
    case.front.set_lifetime(3600);
    for _ in 0..3 {
        assert!(backend.list(FileKind::Key).await.unwrap().is_empty());
        assert_eq!(case.front.asked(), asked + 4);
    }
}

#[tokio::test]
async fn a_token_that_is_still_good_is_used_when_it_cannot_be_renewed_yet() {
    let Some(case) = Case::offered() else { return };
    case.front.set_lifetime(4);
    let backend = case.with_text(&case.front.service_account());
    backend.create().await.unwrap();
    case.front.refuse(stub::json(503, &json!({})));
    let asked = case.front.asked();
    // From 3 s on it is to be renewed; it is good for 4 s, and nothing else slows these requests down.
    while case.front.asked() == asked {
        assert!(backend.list(FileKind::Key).await.unwrap().is_empty());
    }
    assert_eq!(case.front.asked(), asked + 1);
}

#[tokio::test]
async fn nobody_has_to_authenticate_to_an_emulator() {
    let Some(server) = offered("fake-gcs") else {
        return;
    };
    let bucket = fresh_bucket();
    let pairs = [
        ("STORAGE_EMULATOR_HOST", server.http()),
        ("GOOGLE_PROJECT_ID", "project"),
    ];
    let backend = backend(&format!("{bucket}:/"), &pairs);
    backend.create().await.unwrap();
    assert!(backend.list(FileKind::Key).await.unwrap().is_empty());
}
