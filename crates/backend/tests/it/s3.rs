//! The S3 service: its ways to name a bucket, to find the region, to authenticate, and what is special about its
//! objects. What it shares with the other services is in `conformance`.

mod credentials;
mod locked;
mod objects;
mod place;
mod policies;
mod raw;
mod real_forms;
mod sharing;
mod strangers;

use backend::{HttpOptions, S3Backend, S3Options, Variables};
use secrecy::SecretString;
use testkit::servers::Server;

/// Settings by name, as the environment has them.
fn variables(values: &[(&str, &str)]) -> Variables {
    Variables::new().or(values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))))
}

/// The keys that a server takes.
fn keys_of(server: &Server) -> Variables {
    variables(&[
        ("AWS_ACCESS_KEY_ID", server.value("access_key_id")),
        ("AWS_SECRET_ACCESS_KEY", server.value("secret_access_key")),
    ])
}

fn trusting(server: &Server) -> HttpOptions {
    HttpOptions {
        ca_certificates: Some(server.ca_pem()),
        use_proxies: false,
        ..HttpOptions::default()
    }
}

fn plain() -> HttpOptions {
    HttpOptions {
        use_proxies: false,
        ..HttpOptions::default()
    }
}

/// A name for a bucket that nobody else uses.
fn fresh() -> String {
    format!("stash-{:016x}", rand::random::<u64>())
}

fn backend(place: &str, variables: &Variables, http: &HttpOptions) -> S3Backend {
    backend_with(place, variables, http, &[])
}

fn backend_with(
    place: &str,
    variables: &Variables,
    http: &HttpOptions,
    settings: &[(&str, &str)],
) -> S3Backend {
    let mut options = S3Options::parse(place, variables).unwrap();
    for (name, value) in settings {
        options.set(name, value).unwrap();
    }
    S3Backend::new(options, http).unwrap()
}
