//! The backends on their servers, a file for each service.
//!
//! To add one: a file with a test that calls [`run_on`] with the names of its servers and a function that makes a
//! [`Subject`] of each.

mod b2;
mod gcs;
mod local;
mod rest;
mod s3;

use testkit::servers::{Server, offered};

use super::run;
use super::subject::{Network, Subject};

/// Runs the suite on each of these servers, with and without TLS as it offers them. What does not run is skipped.
async fn run_on(servers: &[&str], subject: impl Fn(&Server, Network) -> Subject) {
    let mut failures = Vec::new();
    for server in servers.iter().filter_map(|name| offered(name)) {
        for network in networks(&server) {
            failures.extend(run(subject(&server, network)).await);
        }
    }
    assert_none(&failures);
}

fn assert_none(failures: &[String]) {
    assert!(
        failures.is_empty(),
        "{} checks failed\n{}",
        failures.len(),
        failures.join("\n")
    );
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
