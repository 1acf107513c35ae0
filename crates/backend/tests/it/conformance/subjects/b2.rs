//! B2 on Backblaze's simulator. Keys, versions and large files have tests of their own.

use std::sync::Arc;

use backend::{B2Backend, B2Options, Variables};
use secrecy::SecretString;
use testkit::servers::Server;

use super::run_on;
use crate::conformance::subject::{Extent, Network, Subject, Traits};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_conforms() {
    run_on("b2", b2).await;
}

fn b2(server: &Server, network: Network, extent: Extent) -> Subject {
    let key_id = SecretString::from(server.value("key_id"));
    let key = server.value("key").to_owned();
    Subject {
        backend: "b2",
        server: server.name().to_owned(),
        title: server.title(),
        traits: Traits {
            is_exclusive: true,
            has_places: true,
            is_self_naming: true,
            upload: ("POST", "/upload/*"),
        },
        knows_keys: true,
        extent,
        skew: None,
        network: Some(network),
        secrets: vec![key.clone()],
        folder: None,
        make: Box::new(move |place| {
            let variables = Variables::new().or([
                ("B2_ACCOUNT_ID".to_owned(), key_id.clone()),
                ("B2_ACCOUNT_KEY".to_owned(), place.key(&key).into()),
                ("B2_ENDPOINT".to_owned(), place.origin.as_str().into()),
            ]);
            let text = if place.is_missing {
                format!("{}:repository", place.prefix)
            } else {
                format!("conformance:{}", place.prefix)
            };
            let options = B2Options::parse(&text, &variables).unwrap();
            Arc::new(B2Backend::new(options, &place.http).unwrap())
        }),
    }
}
