//! GCS on fake-gcs-server. Credentials, large objects and what only the real service says have tests of their own.

use std::sync::Arc;

use backend::{GcsBackend, GcsOptions, Variables};
use testkit::servers::Server;

use super::run_on;
use crate::conformance::subject::{Extent, Network, Subject, Traits};

/// This server takes any.
const TOKEN: &str = "token-of-the-conformance-suite";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gcs_conforms() {
    run_on("fake-gcs", gcs).await;
}

fn gcs(server: &Server, network: Network, extent: Extent) -> Subject {
    let project = server.value("project").to_owned();
    Subject {
        backend: "gcs",
        server: server.name().to_owned(),
        title: server.title(),
        traits: Traits {
            is_exclusive: true,
            has_places: true,
            is_self_naming: false,
            upload: ("POST", "/upload/*"),
        },
        knows_keys: false,
        extent,
        skew: None,
        network: Some(network),
        secrets: vec![TOKEN.to_owned()],
        folder: None,
        make: Box::new(move |place| {
            let variables = Variables::new().or([
                (
                    "STORAGE_EMULATOR_HOST".to_owned(),
                    place.origin.as_str().into(),
                ),
                ("GOOGLE_PROJECT_ID".to_owned(), project.as_str().into()),
                ("GOOGLE_ACCESS_TOKEN".to_owned(), TOKEN.into()),
            ]);
            let bucket = if place.is_missing {
                place.prefix.as_str()
            } else {
                "conformance"
            };
            let text = format!("{bucket}:/{}", place.prefix);
            let options = GcsOptions::parse(&text, &variables).unwrap();
            Arc::new(GcsBackend::new(options, &place.http).unwrap())
        }),
    }
}
