//! REST on rest-server in its modes.

use std::path::Path;
use std::sync::Arc;

use backend::{Backend, RestBackend, RestOptions, Variables};
use secrecy::SecretString;
use testkit::servers::{Server, offered};

use super::{assert_none, run_on};
use crate::conformance::run;
use crate::conformance::subject::{Extent, Make, Network, Place, Subject, Traits};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_conforms() {
    run_on("rest-server", rest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_with_a_password_conforms() {
    run_on("rest-server-auth", |server, network, _| {
        rest(server, network, Extent::Variant)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_that_only_appends_conforms() {
    run_on("rest-server-append-only", |server, network, _| {
        rest(server, network, Extent::AppendOnly)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_on_a_unix_socket_conforms() {
    let Some(server) = offered("rest-server-unix") else {
        return;
    };
    let socket = server.value("socket").to_owned();
    let make = move |place: &Place| {
        let url = format!("http+unix://{socket}:/{}/", place.prefix);
        connect(&url, &Variables::new(), place)
    };
    let subject = subject(&server, None, Extent::Variant, Box::new(make));
    assert_none(&run(subject).await);
}

fn rest(server: &Server, network: Network, extent: Extent) -> Subject {
    let user = server.has_value("username").map(str::to_owned);
    let password = server.has_value("password").map(str::to_owned);
    // With private repositories each user has a folder.
    let folder = user
        .as_ref()
        .map_or_else(String::new, |user| format!("{user}/"));
    let make = move |place: &Place| {
        let password = password.as_deref().map(|right| place.key(right));
        let settings = [
            ("RESTIC_REST_USERNAME", user.as_deref()),
            ("RESTIC_REST_PASSWORD", password),
        ];
        let variables = Variables::new().or(settings
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), SecretString::from(value?)))));
        let url = format!("{}/{folder}{}/", place.origin, place.prefix);
        connect(&url, &variables, place)
    };
    subject(server, Some(network), extent, Box::new(make))
}

fn connect(url: &str, variables: &Variables, place: &Place) -> Arc<dyn Backend> {
    let options = RestOptions::parse(url, variables).unwrap();
    Arc::new(RestBackend::new(options, &place.http).unwrap())
}

fn subject(server: &Server, network: Option<Network>, extent: Extent, make: Make) -> Subject {
    let password = server.has_value("password").map(str::to_owned);
    let is_secure = network
        .as_ref()
        .is_some_and(|network| network.origin.starts_with("https:"));
    let root = if is_secure && server.has_http().is_some() {
        server.has_value("path_https")
    } else {
        server.has_value("path")
    };
    let user = server.has_value("username").unwrap_or_default();
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
        knows_keys: password.is_some(),
        extent,
        skew: None,
        network,
        secrets: password.into_iter().collect(),
        folder: root.map(|root| Path::new(root).join(user)),
        make,
    }
}
