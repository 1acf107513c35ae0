//! S3 on MinIO, Ceph and Garage. moto, an emulator, is used by tests of its own.

use std::sync::Arc;

use backend::{S3Backend, S3Options, Variables};
use secrecy::SecretString;
use testkit::proxy::Answer;
use testkit::servers::Server;

use super::run_on;
use crate::conformance::subject::{Extent, Network, Subject, Traits};

const TOO_SKEWED: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>RequestTimeTooSkewed</Code>\
    <Message>The difference between the request time and the current time is too large.</Message></Error>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_on_minio_conforms() {
    run_on("minio", s3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_on_ceph_conforms() {
    run_on("rgw", s3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_on_garage_conforms() {
    run_on("garage", s3).await;
}

fn s3(server: &Server, network: Network, extent: Extent) -> Subject {
    let settings = [
        ("AWS_ACCESS_KEY_ID", "access_key_id"),
        // With a region to find out, the first request of a test would be one that is only refused.
        ("AWS_DEFAULT_REGION", "region"),
    ];
    let variables = Variables::new()
        .or(settings
            .map(|(name, value)| (name.to_owned(), SecretString::from(server.value(value)))));
    let secret = server.value("secret_access_key").to_owned();
    Subject {
        backend: "s3",
        server: server.name().to_owned(),
        title: server.title(),
        traits: Traits {
            // Garage takes the condition and does not obey it.
            is_exclusive: server.name() != "garage",
            has_places: true,
            is_self_naming: false,
            upload: ("PUT", "*/data/*"),
        },
        knows_keys: true,
        extent,
        skew: Some(Answer::new(403).body("application/xml", TOO_SKEWED)),
        network: Some(network),
        secrets: ["access_key_id", "secret_access_key"]
            .map(|name| server.value(name).to_owned())
            .to_vec(),
        folder: None,
        make: Box::new(move |place| {
            let bucket = if place.is_missing {
                format!("missing-{}", place.prefix)
            } else {
                "stash-conformance".to_owned()
            };
            let url = format!("{}/{bucket}/{}", place.origin, place.prefix);
            let variables = variables.clone().or([(
                "AWS_SECRET_ACCESS_KEY".to_owned(),
                SecretString::from(place.key(&secret)),
            )]);
            let options = S3Options::parse(&url, &variables).unwrap();
            Arc::new(S3Backend::new(options, &place.http).unwrap())
        }),
    }
}
