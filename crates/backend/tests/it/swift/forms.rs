//! Every way to say who we are: that it works, and how it fails.

use backend::{Backend, ErrorKind};
use http::Request;
use serde_json::json;
use testkit::servers::{Server, offered};
use testkit::stub::{StubServer, json as answer, reply};

use super::server::{Account, Place, Settings, revoke, token_of, version_1, version_3};
use super::{assert_works, failure};
use crate::results::form_works;

/// Swift behind Keystone, and Keystone.
fn both() -> Option<(Server, Server)> {
    offered("keystone").zip(offered("swift-keystone"))
}

/// The settings with these instead of the user and the project.
fn as_other(keystone: &Server, other: &[(&'static str, &str)]) -> Settings {
    let url = format!("{}/v3", keystone.http());
    [
        ("OS_AUTH_URL", url.as_str()),
        ("OS_REGION_NAME", keystone.value("region")),
    ]
    .iter()
    .chain(other)
    .map(|(name, value)| (*name, (*value).to_owned()))
    .collect()
}

#[tokio::test]
async fn version_1_works_and_wrong_keys_are_refused() {
    let Some(server) = offered("swift") else {
        return;
    };
    let place = Place::new(version_1(&server, "user"));
    assert_works(&place).await;
    form_works("swift", &server, "version 1");
    for (name, value) in [("ST_KEY", "not-the-key"), ("ST_USER", "test:nobody")] {
        let error = failure(&place.with(name, value)).await;
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
    }
    let nowhere = format!("{}/nowhere/v1.0", server.http());
    let error = failure(&place.with("ST_AUTH", &nowhere)).await;
    assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
    // The names of Keystone's variables with an address of version 1.
    let url = format!("{}{}", server.http(), server.value("auth_path"));
    let other = vec![
        ("OS_AUTH_URL", url),
        ("OS_USERNAME", server.value("user").to_owned()),
        ("OS_PASSWORD", server.value("key").to_owned()),
    ];
    assert_works(&Place::new(other)).await;
}

#[tokio::test]
async fn version_3_takes_a_password_by_names_and_by_ids() {
    let Some((keystone, swift)) = both() else {
        return;
    };
    let place = Place::new(version_3(&keystone, ""));
    assert_works(&place).await;
    let by_ids = as_other(
        &keystone,
        &[
            ("OS_USER_ID", keystone.value("user_id")),
            ("OS_PASSWORD", keystone.value("password")),
            ("OS_PROJECT_ID", keystone.value("project_id")),
        ],
    );
    assert_works(&Place::new(by_ids)).await;
    form_works("swift", &swift, "password (version 3)");
    let root = place.with("OS_AUTH_URL", keystone.http());
    assert_works(&root).await;
    for (name, value) in [
        ("OS_PASSWORD", "not-the-password"),
        ("OS_USERNAME", "nobody"),
        ("OS_USER_DOMAIN_NAME", "Default"),
        ("OS_PROJECT_NAME", "nothing"),
        ("OS_PROJECT_DOMAIN_NAME", "People"),
    ] {
        let error = failure(&place.with(name, value)).await;
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{name} {error:?}");
    }
}

#[tokio::test]
async fn an_application_credential_is_known_by_id_and_by_name() {
    let Some((keystone, swift)) = both() else {
        return;
    };
    let secret = (
        "OS_APPLICATION_CREDENTIAL_SECRET",
        keystone.value("application_secret"),
    );
    let id = keystone.value("application_id");
    let by_id = [("OS_APPLICATION_CREDENTIAL_ID", id), secret];
    let name = keystone.value("application_name");
    let by_name = [
        ("OS_APPLICATION_CREDENTIAL_NAME", name),
        ("OS_USERNAME", keystone.value("user")),
        ("OS_USER_DOMAIN_NAME", keystone.value("user_domain")),
        secret,
    ];
    for (form, words) in [
        (by_id.as_slice(), "application credential by id"),
        (&by_name, "application credential by name"),
    ] {
        let place = Place::new(as_other(&keystone, form));
        assert_works(&place).await;
        form_works("swift", &swift, words);
        // A password that would do is not used instead.
        let wrong = place
            .with("OS_APPLICATION_CREDENTIAL_SECRET", "not-the-secret")
            .with("OS_USERNAME", keystone.value("user"))
            .with("OS_USER_DOMAIN_NAME", keystone.value("user_domain"))
            .with("OS_PASSWORD", keystone.value("password"))
            .with("OS_PROJECT_ID", keystone.value("project_id"));
        let error = failure(&wrong).await;
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
    }
}

#[tokio::test]
async fn a_trust_lets_another_user_in() {
    let Some((keystone, swift)) = both() else {
        return;
    };
    let trustee = [
        ("OS_USERNAME", keystone.value("trustee_user")),
        ("OS_PASSWORD", keystone.value("trustee_password")),
        ("OS_USER_DOMAIN_NAME", keystone.value("user_domain")),
    ];
    let place = Place::new(as_other(&keystone, &trustee));
    let trusted = place.with("OS_TRUST_ID", keystone.value("trust_id"));
    assert_works(&trusted).await;
    form_works("swift", &swift, "trust");
    // Without a project there is no catalogue.
    let error = failure(&place).await;
    assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
    assert!(format!("{error:?}").contains("project"), "{error:?}");
}

#[tokio::test]
async fn a_token_is_used_with_its_address_until_it_is_revoked() {
    let Some((keystone, swift)) = both() else {
        return;
    };
    let token = token_of(&keystone).await;
    // The side that asks Keystone each time.
    let url = format!("{}{}", swift.https(), swift.value("storage_path"));
    let settings = vec![("OS_STORAGE_URL", url), ("OS_AUTH_TOKEN", token.clone())];
    // A password beside it must not stand in.
    let all = settings.into_iter().chain(version_3(&keystone, ""));
    let place = Place::trusting(all.collect(), &swift);
    assert_works(&place).await;
    form_works("swift", &swift, "token");
    revoke(&keystone, &token).await;
    let error = failure(&place).await;
    assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
    assert!(!format!("{error:?}").contains(&token), "{error:?}");
}

#[tokio::test]
async fn the_region_and_the_interface_choose_the_address() {
    let Some((keystone, swift)) = both() else {
        return;
    };
    let place = Place::trusting(version_3(&keystone, ""), &swift);
    let secure = place
        .with("OS_REGION_NAME", swift.value("region_tls"))
        .with("OS_AUTH_URL", &format!("{}/v3", keystone.https()));
    assert_works(&secure).await;
    assert_works(&place.with("OS_INTERFACE", "internal")).await;
    assert_works(&place.with("OS_ENDPOINT_TYPE", "adminURL")).await;
    let error = failure(&place.with("OS_REGION_NAME", "Atlantis")).await;
    assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
    let text = format!("{error:?}");
    for name in ["Atlantis", swift.value("region"), swift.value("region_tls")] {
        assert!(text.contains(name), "{name} is not in {text}");
    }
    let error = failure(&secure.with("OS_INTERFACE", "internal")).await;
    assert!(format!("{error:?}").contains("only public"), "{error:?}");
}

#[tokio::test]
async fn who_may_only_read_is_told_so() {
    let Some((keystone, _)) = both() else {
        return;
    };
    let place = Place::new(version_3(&keystone, ""));
    place.backend().create().await.unwrap();
    let handle = backend::Handle::new(backend::FileKind::Pack, super::name_of(3));
    place.backend().write(&handle, "abc".into()).await.unwrap();
    let reader = Place {
        container: place.container.clone(),
        ..Place::new(version_3(&keystone, "reader"))
    };
    let backend = reader.backend();
    assert_eq!(backend.read(&handle).await.unwrap(), "abc");
    let other = backend::Handle::new(backend::FileKind::Pack, super::name_of(4));
    let written = backend.write(&other, "abc".into()).await.unwrap_err();
    let removed = backend.remove(&handle).await.unwrap_err();
    let many = backend.remove_many(&[handle.clone(), other]).await;
    for error in [&written, &removed, &many[0].1] {
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error:?}");
    }
    let elsewhere = Place::new(version_3(&keystone, "reader"));
    let error = elsewhere.backend().create().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error:?}");
}

/// Keystone no longer has version 2: its answers are invented, the object store is real.
#[tokio::test]
async fn version_2_names_the_tenant_and_reads_the_catalogue() {
    let Some(server) = offered("swift") else {
        return;
    };
    let account = Account::enter(&version_1(&server, "user")).await;
    let (url, token) = (account.url.clone(), account.token.clone());
    let keystone = StubServer::start(move |request: Request<bytes::Bytes>| {
        let asked: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
        let expected = json!({"auth": {"tenantName": "backups",
            "passwordCredentials": {"username": "me", "password": "password-of-two"}}});
        let endpoint =
            json!({"region": "north", "publicURL": url, "internalURL": "http://127.0.0.1:9"});
        let access = json!({"access": {
            "token": {"id": token, "issued_at": "2026-01-01T00:00:00.5", "expires": "2026-01-01T01:00:00Z"},
            "serviceCatalog": [{"type": "compute", "endpoints": []},
                {"type": "object-store", "endpoints": [endpoint]}],
        }});
        async move {
            match request.uri().path() {
                "/v2.0/tokens" if asked == expected => answer(200, &access),
                "/v2.0/tokens" => answer(
                    401,
                    &json!({"error": {"code": 401, "message": "not password-of-two or no user"}}),
                ),
                _ => reply(404, "text/plain", "nothing"),
            }
        }
    });
    let settings = |url: &str| {
        vec![
            ("OS_AUTH_URL", url.to_owned()),
            ("OS_USERNAME", "me".to_owned()),
            ("OS_PASSWORD", "password-of-two".to_owned()),
            ("OS_TENANT_NAME", "backups".to_owned()),
        ]
    };
    for url in [keystone.url(), format!("{}/v2.0/", keystone.url())] {
        let place = Place::new(settings(&url));
        assert_works(&place).await;
        form_works("swift", &server, "password (version 2)*");
        assert_works(&place.with("OS_REGION_NAME", "north")).await;
        let error = failure(&place.with("OS_REGION_NAME", "south")).await;
        assert!(format!("{error:?}").contains("north"), "{error:?}");
        let error = failure(&place.with("OS_USERNAME", "you")).await;
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
        let error = failure(&place.with("OS_INTERFACE", "admin")).await;
        assert!(
            format!("{error:?}").contains("internal, public"),
            "{error:?}"
        );
    }
}
