//! The backends on their servers.

use std::path::Path;
use std::sync::Arc;

use backend::{LocalBackend, RestBackend, RestOptions, Variables};
use secrecy::SecretString;
use testkit::servers::{Server, Servers};
use testkit::{Scratch, skip};

use super::subject::{Network, Subject, Traits};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_folder_conforms() {
    let scratch = Scratch::new();
    let folder = scratch.join("places");
    super::run(Subject {
        backend: "local",
        server: "folder".to_owned(),
        title: "folder".to_owned(),
        traits: Traits {
            is_exclusive: true,
            has_places: false,
            is_self_naming: false,
            upload: ("", ""),
        },
        network: None,
        secrets: Vec::new(),
        folder: Some(folder.clone()),
        make: Box::new(move |place| Arc::new(LocalBackend::new(folder.join(&place.prefix)))),
    })
    .await;
}

/// The servers of this run whose names begin so; says what is skipped when there are none.
fn offered(product: &str) -> Vec<Server> {
    let servers = Servers::offered();
    let found: Vec<Server> = servers
        .iter()
        .flat_map(|servers| servers.names().filter_map(|name| servers.get(name)))
        .filter(|server| server.name().starts_with(product))
        .collect();
    if found.is_empty() {
        skip(format!("conformance on {product}: no such server runs"));
    }
    found
}

/// The ways to reach a server: without TLS and with it.
fn networks(server: &Server) -> Vec<Network> {
    [server.has_http(), server.has_https()]
        .into_iter()
        .flatten()
        .map(|origin| Network {
            origin: origin.to_owned(),
            authority: server.ca_pem(),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_conforms() {
    for server in offered("rest-server") {
        if server.name().contains("append") {
            // Its own tests show what it refuses.
            continue;
        }
        for network in networks(&server) {
            super::run(rest(&server, network)).await;
        }
    }
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
