use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use testkit::Scratch;
use testkit::stub::{StubServer, json, reply};

use super::instance::Instance;
use super::profile::read_section;
use super::*;
use crate::variables::Variables;

fn options() -> HttpOptions {
    HttpOptions {
        use_proxies: false,
        ..HttpOptions::default()
    }
}

fn credentials(values: &[(&str, &str)]) -> Credentials {
    let variables = Variables::new().or(values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))));
    let sts = StsPlace::from_variables(&variables, None);
    let source = Source::choose(&variables, &sts).unwrap();
    let http = HttpClient::new(&options()).unwrap();
    Credentials::new(source, None, (&http, &options())).unwrap()
}

/// Keys that are due for renewal.
async fn give_due_keys(credentials: &Credentials, valid_for: Duration) {
    let now = Timestamp::now();
    let expires = Some(now + valid_for);
    let keys = super::keys("OLD".to_owned(), "secret".to_owned(), None, None).unwrap();
    *credentials.cached.lock().await = Some(Cached {
        keys: Arc::new(Keys { expires, ..keys }),
        renew_at: Some(now - Duration::from_secs(1)),
    });
}

#[tokio::test]
async fn keys_that_still_work_are_used_while_the_source_is_away_but_not_when_it_refuses() {
    static STATUS: AtomicU16 = AtomicU16::new(503);
    let stub = StubServer::start(|_| async {
        match STATUS.load(Ordering::SeqCst) {
            200 => json(
                200,
                &serde_json::json!({"AccessKeyId": "NEW", "SecretAccessKey": "secret"}),
            ),
            status => reply(status, "text/plain", ""),
        }
    });
    let credentials = credentials(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &stub.url())]);
    let asked = || stub.requests().len();
    give_due_keys(&credentials, AHEAD).await;
    assert_eq!(credentials.current().await.unwrap().id, "OLD");
    assert_eq!(credentials.current().await.unwrap().id, "OLD");
    assert_eq!(
        asked(),
        1,
        "a source that is away is not asked at every request"
    );

    give_due_keys(&credentials, PAUSE / 2).await;
    let failure = credentials.current().await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Temporary);

    STATUS.store(403, Ordering::SeqCst);
    give_due_keys(&credentials, AHEAD).await;
    let failure = credentials.current().await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Unauthenticated);

    STATUS.store(200, Ordering::SeqCst);
    assert_eq!(credentials.current().await.unwrap().id, "NEW");
}

#[tokio::test]
async fn a_machine_without_metadata_service_is_told_to_set_keys() {
    let http = HttpClient::new(&options()).unwrap();
    for (is_given, kind) in [
        (false, ErrorKind::Unauthenticated),
        (true, ErrorKind::Temporary),
    ] {
        let instance = Instance::at("http://127.0.0.1:1".to_owned(), is_given);
        let failure = instance.load(&http).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure:?}");
        let is_told = failure.source.to_string().contains("AWS_ACCESS_KEY_ID");
        assert_eq!(is_told, !is_given, "{failure:?}");
    }
}

#[tokio::test]
async fn a_metadata_service_that_has_given_keys_may_be_asked_again_later() {
    static IS_AWAY: AtomicBool = AtomicBool::new(false);
    let stub = StubServer::start(|request| async move {
        let path = request.uri().path();
        if IS_AWAY.load(Ordering::SeqCst) {
            reply(503, "text/plain", "")
        } else if path.ends_with("/role") {
            let keys = serde_json::json!({"Code": "Success", "AccessKeyId": "ID", "SecretAccessKey": "secret"});
            json(200, &keys)
        } else if path.ends_with("/token") {
            reply(200, "text/plain", "the-token")
        } else {
            reply(200, "text/plain", "role")
        }
    });
    let http = HttpClient::new(&options()).unwrap();
    let instance = Instance::at(stub.url(), false);
    assert_eq!(instance.load(&http).await.unwrap().id, "ID");
    IS_AWAY.store(true, Ordering::SeqCst);
    let failure = instance.clone().load(&http).await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Temporary, "{failure:?}");
    let failure = Instance::at(stub.url(), false).load(&http).await;
    assert_eq!(failure.unwrap_err().kind, ErrorKind::Unauthenticated);
}

/// The outcome with these contents of the files of the user's own, and the node's role beside them.
async fn beside_a_role(stub: &StubServer, files: &[(&str, &str)]) -> Result<String, HttpFailure> {
    let home = Scratch::new();
    let folder = home.join(".aws");
    std::fs::create_dir(&folder).unwrap();
    for (name, text) in files {
        match *text {
            // Whoever runs this may read everything, but nobody reads a folder as a file.
            "unreadable" => std::fs::create_dir(folder.join(name)).unwrap(),
            text => std::fs::write(folder.join(name), text).unwrap(),
        }
    }
    let home = home.path().display().to_string();
    let credentials = credentials(&[
        ("HOME", &home),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &stub.url()),
    ]);
    let keys = credentials.current().await?;
    Ok(keys.id.clone())
}

#[tokio::test]
async fn a_role_stands_in_for_files_that_say_nothing_and_for_no_others() {
    let stub = StubServer::start(|_| async {
        let keys = serde_json::json!({"AccessKeyId": "ROLE", "SecretAccessKey": "secret"});
        json(200, &keys)
    });
    let own = "[default]\naws_access_key_id = OWN\naws_secret_access_key = secret\n";
    for (files, id) in [
        (vec![], "ROLE"),
        (
            vec![("credentials", "[other]\naws_access_key_id = X\n")],
            "ROLE",
        ),
        (vec![("config", "[default]\nregion = eu-west-1\n")], "ROLE"),
        (vec![("credentials", own)], "OWN"),
        (vec![("config", own)], "OWN"),
    ] {
        assert_eq!(beside_a_role(&stub, &files).await.unwrap(), id, "{files:?}");
    }
    let asked = stub.requests().len();
    for (files, word) in [
        (vec![("credentials", "unreadable")], "cannot read"),
        (
            vec![("config", "unreadable"), ("credentials", own)],
            "cannot read",
        ),
        (
            vec![("credentials", "[default]\naws_access_key_id = OWN\n")],
            "not supported",
        ),
        (
            vec![(
                "config",
                "[default]\nrole_arn = arn:x\nsource_profile = y\n",
            )],
            "not supported",
        ),
        (
            vec![("config", "[default]\nsso_session = x\nsso_account_id = 1\n")],
            "not supported",
        ),
    ] {
        let failure = beside_a_role(&stub, &files).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Unauthenticated, "{failure:?}");
        let shown = format!("{failure:?}");
        assert!(shown.contains(word), "{shown}");
        let words = failure.source.to_string();
        assert!(words.starts_with("the profile default of "), "{words}");
    }
    assert_eq!(stub.requests().len(), asked, "the role is not asked");
}

#[test]
fn the_address_of_a_container_is_a_secret() {
    let credentials = credentials(&[(
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "/v2/credentials/hidden-path",
    )]);
    let shown = format!("{credentials:?} {}", credentials.source);
    assert!(shown.contains("169.254.170.2"), "{shown}");
    assert!(!shown.contains("hidden"), "{shown}");
}

#[test]
fn keys_are_renewed_minutes_before_their_end_or_at_three_quarters_of_a_short_life() {
    let now = Timestamp::now();
    let hour = Duration::from_hours(1);
    assert_eq!(renew_at(now, now + hour), now + hour - AHEAD);
    let minute = Duration::from_mins(1);
    assert_eq!(renew_at(now, now + minute), now + minute * 3 / 4);
    assert_eq!(renew_at(now, now - hour), now - hour);
}

#[test]
fn sections_of_profiles_are_told_apart() {
    let text = "aws_access_key_id = STRAY\n[default]\naws_access_key_id = A\n; x = y\n\n\
        [profile \"two words\"]\nAWS_Access_Key_Id=B\ns3 =\n  region = inner\nregion = outer\n";
    let of = |name: &str| read_section(text, name);
    assert_eq!(of("default")["aws_access_key_id"], "A");
    assert_eq!(of("default").len(), 1);
    let two = of("profile two words");
    assert_eq!(two["aws_access_key_id"], "B");
    assert_eq!(two["region"], "outer");
    assert!(of("absent").is_empty());
}

#[test]
fn the_token_service_is_that_of_the_region_unless_it_is_named() {
    let url = |values: &[(&str, &str)], region| {
        let variables = Variables::new().or(values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))));
        format!("{:?}", StsPlace::from_variables(&variables, region))
    };
    for (values, region, host) in [
        (vec![], None, "https://sts.amazonaws.com\""),
        (
            vec![],
            Some("eu-west-1"),
            "https://sts.eu-west-1.amazonaws.com\"",
        ),
        (
            vec![],
            Some("cn-north-1"),
            "https://sts.cn-north-1.amazonaws.com.cn\"",
        ),
        (
            vec![("AWS_STS_REGIONAL_ENDPOINTS", "legacy")],
            Some("eu-west-1"),
            "https://sts.amazonaws.com\"",
        ),
        (
            vec![("AWS_ENDPOINT_URL_STS", "https://own")],
            Some("eu-west-1"),
            "https://own\"",
        ),
        (vec![], Some("evil.example/"), "https://sts.amazonaws.com\""),
    ] {
        assert!(url(&values, region).contains(host), "{region:?} {host}");
    }
}
