//! Azure on Azurite. Each way to say who we are has tests of its own.

use std::sync::Arc;

use backend::{AzureBackend, AzureOptions, Variables};
use testkit::proxy::Answer;
use testkit::servers::Server;

use super::run_on;
use crate::conformance::subject::{Extent, Network, Subject, Traits};

/// The detail alone tells it from a wrong key.
const TOO_OLD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>AuthenticationFailed</Code>\
    <Message>Server failed to authenticate the request.</Message>\
    <AuthenticationErrorDetail>Request date header too old: 'Mon, 01 Jan 2024 00:00:00 GMT'\
    </AuthenticationErrorDetail></Error>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_conforms() {
    run_on("azurite", azure).await;
}

fn azure(server: &Server, network: Network, extent: Extent) -> Subject {
    let account = server.value("account").to_owned();
    let key = server.value("key").to_owned();
    Subject {
        backend: "azure",
        server: server.name().to_owned(),
        title: server.title(),
        traits: Traits {
            is_exclusive: true,
            has_places: true,
            is_self_naming: false,
            upload: ("PUT", "*/data/*"),
        },
        knows_keys: true,
        extent,
        skew: Some(Answer::new(403).body("application/xml", TOO_OLD)),
        network: Some(network),
        secrets: vec![key.clone()],
        folder: None,
        make: Box::new(move |place| {
            let endpoint = format!("{}/{account}", place.origin);
            let variables = Variables::new().or([
                ("AZURE_ACCOUNT_NAME".to_owned(), account.as_str().into()),
                ("AZURE_ACCOUNT_KEY".to_owned(), place.key(&key).into()),
                ("AZURE_ENDPOINT".to_owned(), endpoint.into()),
            ]);
            let container = if place.is_missing {
                place.prefix.as_str()
            } else {
                "conformance"
            };
            let text = format!("{container}:/{}", place.prefix);
            let options = AzureOptions::parse(&text, &variables).unwrap();
            Arc::new(AzureBackend::new(options, &place.http).unwrap())
        }),
    }
}
