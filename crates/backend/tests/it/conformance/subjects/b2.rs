//! B2 on Backblaze's simulator. Keys, versions and large files have tests of their own.

use std::sync::Arc;

use backend::{B2Backend, B2Options, Variables};
use secrecy::SecretString;
use testkit::servers::Server;

use super::run_on;
use crate::conformance::subject::{Network, Subject, Traits};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_conforms() {
    run_on(&["b2"], b2).await;
}

fn b2(server: &Server, network: Network) -> Subject {
    let secret = |name: &str| SecretString::from(server.value(name));
    let (key_id, key) = (secret("key_id"), secret("key"));
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
        network: Some(network),
        secrets: vec![server.value("key").to_owned()],
        folder: None,
        make: Box::new(move |place| {
            let variables = Variables::new().or([
                ("B2_ACCOUNT_ID".to_owned(), key_id.clone()),
                ("B2_ACCOUNT_KEY".to_owned(), key.clone()),
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
