//! Swift with users of its own, and behind Keystone. Each way to log in has tests of its own.

use std::sync::Arc;

use backend::{SwiftBackend, SwiftOptions, Variables};
use secrecy::SecretString;
use testkit::servers::{Server, offered};

use super::run_on;
use crate::conformance::subject::{Extent, Network, Place, Subject, Traits};
use crate::swift::server::{Account, token_of, version_1};

/// A way to the server, and how much is tried by it.
type Reach = (Network, Extent);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swift_conforms() {
    let Some(server) = offered("swift") else {
        return;
    };
    let account = Account::enter(&version_1(&server, "user")).await;
    run_on("swift", |server, network, extent| {
        swift(server, (network, extent), &account)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swift_behind_keystone_conforms() {
    let Some(keystone) = offered("keystone") else {
        return;
    };
    let token = token_of(&keystone).await;
    run_on("swift-keystone", |server, network, extent| {
        behind_keystone(server, (network, extent), &token)
    })
    .await;
}

fn swift(server: &Server, (network, extent): Reach, account: &Account) -> Subject {
    let value = |name: &str| SecretString::from(server.value(name));
    let user = value("user");
    let key = server.value("key").to_owned();
    let token = account.token.clone();
    let path = server.value("auth_path").to_owned();
    let is_secure = network.origin.starts_with("https:");
    // A secret that is not in use cannot be recognised: where the network is secure, the tests' proxies are not.
    let secret = if is_secure {
        &token
    } else {
        server.value("key")
    };
    let secrets = vec![secret.to_owned()];
    subject(server, (network, extent), secrets, move |place| {
        let origin = &place.origin;
        // Swift names its own address with the scheme that it has been told: where a test reaches it by the other
        // one, only a token goes.
        if origin.starts_with("https:") == is_secure {
            let url = SecretString::from(format!("{origin}{path}"));
            vec![
                ("ST_AUTH", url),
                ("ST_USER", user.clone()),
                ("ST_KEY", SecretString::from(place.key(&key))),
            ]
        } else {
            with_token(format!("{origin}/v1/AUTH_test"), place.key(&token))
        }
    })
}

/// With a token and the address that belongs to it: Keystone's catalogue knows nothing of the weather before the
/// object store.
fn behind_keystone(server: &Server, reach: Reach, token: &str) -> Subject {
    let token = token.to_owned();
    let path = server.value("storage_path").to_owned();
    subject(server, reach, vec![token.clone()], move |place| {
        with_token(format!("{}{path}", place.origin), place.key(&token))
    })
}

fn with_token(url: String, token: &str) -> Vec<(&'static str, SecretString)> {
    vec![
        ("OS_STORAGE_URL", SecretString::from(url)),
        ("OS_AUTH_TOKEN", SecretString::from(token)),
    ]
}

fn subject(
    server: &Server,
    (network, extent): Reach,
    secrets: Vec<String>,
    variables: impl Fn(&Place) -> Vec<(&'static str, SecretString)> + Send + Sync + 'static,
) -> Subject {
    Subject {
        backend: "swift",
        server: server.name().to_owned(),
        title: server.title(),
        traits: Traits {
            is_exclusive: true,
            has_places: true,
            is_self_naming: true,
            upload: ("PUT", "*/data/*"),
        },
        knows_keys: true,
        extent,
        skew: None,
        network: Some(network),
        secrets,
        folder: None,
        make: Box::new(move |place| {
            let variables = variables(place)
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value));
            let container = if place.is_missing {
                format!("missing-{}", place.prefix)
            } else {
                "stash-conformance".to_owned()
            };
            let text = format!("{container}:/{}", place.prefix);
            let options = SwiftOptions::parse(&text, &Variables::new().or(variables)).unwrap();
            Arc::new(SwiftBackend::new(options, &place.http).unwrap())
        }),
    }
}
