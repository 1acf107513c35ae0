//! The backends on their servers, a file for each service.
//!
//! To add one: a file, called as the backend, with a test for each server that calls [`run_on`] with its name and a
//! function that makes a [`Subject`] of it.

mod azure;
mod b2;
mod gcs;
mod local;
mod rest;
mod s3;
mod swift;

use testkit::servers::{Server, offered};

use super::run;
use super::subject::{Extent, Network, Subject};

/// Runs the suite on a server: everything by the first way to reach it, and by the second, which is TLS, what that may
/// change. A server that does not run is skipped.
async fn run_on(name: &str, subject: impl Fn(&Server, Network, Extent) -> Subject) {
    let Some(server) = offered(name) else {
        return;
    };
    let mut failures = Vec::new();
    let extents = [Extent::Whole, Extent::Variant];
    for (network, extent) in networks(&server).into_iter().zip(extents) {
        failures.extend(run(subject(&server, network, extent)).await);
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
