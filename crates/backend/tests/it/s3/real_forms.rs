//! Each source of credentials with keys of a real store, and what the store says to keys that it gave up.

use backend::{Backend, BackendError, ErrorKind, FileKind, Handle, S3Backend};
use http::Request;
use testkit::Scratch;
use testkit::servers::{Server, offered};
use testkit::stub::{StubServer, json, reply};

use super::raw::{temporary_keys, with_token};
use super::{backend, backend_with, fresh, keys_of, plain, variables};
use crate::results::form_works;

fn place(server: &Server) -> String {
    format!("{}/{}/r", server.http(), fresh())
}

/// An object's life.
async fn works(backend: &S3Backend) {
    backend.create().await.unwrap();
    let handle = Handle::new(FileKind::Key, "ab".repeat(32));
    backend.write(&handle, "key".into()).await.unwrap();
    assert_eq!(backend.read(&handle).await.unwrap(), "key");
    assert_eq!(backend.list(FileKind::Key).await.unwrap().len(), 1);
    backend.remove(&handle).await.unwrap();
    assert!(backend.stat(&handle).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn keys_and_profiles_work_at_every_store() {
    for name in ["minio", "rgw", "moto", "garage"] {
        let Some(server) = offered(name) else {
            continue;
        };
        works(&backend(&place(&server), &keys_of(&server), &plain())).await;
        form_works("s3", &server, "keys");

        let scratch = Scratch::new();
        let file = scratch.join("credentials");
        let text = format!(
            "[default]\naws_access_key_id = OTHER\naws_secret_access_key = other\n\n[backup]\n\
             aws_access_key_id = {}\naws_secret_access_key = {}\n",
            server.value("access_key_id"),
            server.value("secret_access_key")
        );
        std::fs::write(&file, text).unwrap();
        let of_profile = variables(&[
            ("AWS_PROFILE", "backup"),
            ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
        ]);
        works(&backend(&place(&server), &of_profile, &plain())).await;
        form_works("s3", &server, "profile");
    }
}

#[tokio::test]
async fn temporary_keys_work_with_their_token_and_not_without() {
    let Some(server) = offered("minio") else {
        return;
    };
    let keys = temporary_keys(&server).await;
    let at = place(&server);
    works(&backend(&at, &with_token(&keys), &plain())).await;
    form_works("s3", &server, "keys with session token");
    let [id, secret, token] = &keys;
    let spoilt = token.replace('.', "x.");
    for (token, word) in [(None, "no token"), (Some(&spoilt), "a spoilt token")] {
        let mut pairs = vec![
            ("AWS_ACCESS_KEY_ID", id.as_str()),
            ("AWS_SECRET_ACCESS_KEY", secret.as_str()),
        ];
        pairs.extend(token.map(|token| ("AWS_SESSION_TOKEN", token.as_str())));
        let backend = backend(&at, &variables(&pairs), &plain());
        let error = backend.stat(&Handle::config()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{word}: {error:?}");
        let error: BackendError = backend.list(FileKind::Snapshot).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{word}: {error:?}");
        assert!(!format!("{error:?}").contains(secret), "{error:?}");
        assert!(!format!("{error:?}").contains(token.map_or(id, |token| token)));
    }
}

/// A service of the machine that gives temporary keys of the store.
fn giving([id, secret, token]: [String; 3]) -> StubServer {
    StubServer::start(move |request: Request<bytes::Bytes>| {
        let asks_well = request
            .headers()
            .get("authorization")
            .is_some_and(|text| text == "pod-token");
        let document = serde_json::json!({
            "Code": "Success", "AccessKeyId": id, "SecretAccessKey": secret, "Token": token,
            "Expiration": "2100-01-01T00:00:00Z",
        });
        async move {
            if asks_well {
                json(200, &document)
            } else {
                reply(403, "text/plain", "")
            }
        }
    })
}

#[tokio::test]
async fn the_role_of_a_container_works_at_a_real_store() {
    let Some(server) = offered("minio") else {
        return;
    };
    let endpoint = giving(temporary_keys(&server).await);
    let of_container = variables(&[
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            &format!("{}/v1/credentials", endpoint.url()),
        ),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token"),
    ]);
    works(&backend(&place(&server), &of_container, &plain())).await;
    form_works("s3", &server, "container role*");
}

#[tokio::test]
async fn a_role_works_at_real_token_services() {
    for name in ["moto", "minio"] {
        let Some(server) = offered(name) else {
            continue;
        };
        let variables = variables(&[
            ("AWS_ACCESS_KEY_ID", server.value("access_key_id")),
            ("AWS_SECRET_ACCESS_KEY", server.value("secret_access_key")),
            (
                "RESTIC_AWS_ASSUME_ROLE_ARN",
                "arn:aws:iam::123456789012:role/backup",
            ),
            ("RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT", server.http()),
        ]);
        works(&backend(&place(&server), &variables, &plain())).await;
        form_works("s3", &server, "assumed role");
    }
}

#[tokio::test]
async fn a_bucket_for_everybody_is_read_without_keys_and_not_written() {
    for name in ["minio", "rgw"] {
        let Some(server) = offered(name) else {
            continue;
        };
        let bucket = fresh();
        let at = format!("{}/{bucket}/r", server.http());
        let own = backend(&at, &keys_of(&server), &plain());
        own.create().await.unwrap();
        let handle = Handle::new(FileKind::Key, "ab".repeat(32));
        own.write(&handle, "key".into()).await.unwrap();
        let settings = [("unsafe-anonymous-auth", "true")];
        let nobody = backend_with(&at, &variables(&[]), &plain(), &settings);
        let error = nobody.read(&handle).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{name}: {error:?}");
        super::policies::set(
            &server,
            &bucket,
            "Allow",
            &["s3:GetObject", "s3:ListBucket"],
        )
        .await;
        assert_eq!(nobody.read(&handle).await.unwrap(), "key", "{name}");
        assert_eq!(nobody.list(FileKind::Key).await.unwrap().len(), 1);
        let config = Handle::config();
        let error = nobody.write(&config, "x".into()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{name}: {error:?}");
        let error = nobody.remove(&handle).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{name}: {error:?}");
        form_works("s3", &server, "anonymous");
    }
}
