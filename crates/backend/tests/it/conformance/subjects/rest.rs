//! REST on rest-server. What its append-only mode and its socket do has tests of its own.

use std::path::Path;
use std::sync::Arc;

use backend::{RestBackend, RestOptions, Variables};
use secrecy::SecretString;
use testkit::servers::Server;

use super::run_on;
use crate::conformance::subject::{Network, Subject, Traits};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_conforms() {
    run_on(&["rest-server", "rest-server-auth"], rest).await;
}

fn rest(server: &Server, network: Network) -> Subject {
    let user = server.has_value("username").map(str::to_owned);
    let password = server.has_value("password").map(str::to_owned);
    let variables = Variables::new().or([
        ("RESTIC_REST_USERNAME", user.clone()),
        ("RESTIC_REST_PASSWORD", password.clone()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), SecretString::from(value?)))));
    let is_secure = network.origin.starts_with("https:") && server.has_http().is_some();
    let root = server.has_value(if is_secure { "path_https" } else { "path" });
    // With private repositories each user has a folder.
    let folder = user.map_or_else(String::new, |user| format!("{user}/"));
    Subject {
        backend: "rest",
        server: server.name().to_owned(),
        title: server.title(),
        traits: Traits {
            is_exclusive: true,
            has_places: false,
            is_self_naming: false,
            upload: ("POST", "*/data/*"),
        },
        network: Some(network),
        secrets: password.into_iter().collect(),
        folder: root.map(|root| Path::new(root).join(&folder)),
        make: Box::new(move |place| {
            let url = format!("{}/{folder}{}/", place.origin, place.prefix);
            let options = RestOptions::parse(&url, &variables).unwrap();
            Arc::new(RestBackend::new(options, &place.http).unwrap())
        }),
    }
}
