//! Swift's proxies in front of the storage of `swift`, with the users of `keystone`.
//!
//! Keystone's catalogue names the proxy without TLS in one region, by all interfaces, and the one with TLS in another
//! (`region_tls`), for the public only. That one asks Keystone about every token each time, so that a revoked token
//! is refused at once; the other may believe in one for some minutes.

use std::path::{Path, PathBuf};

use super::keystone::{Identities, REGION, REGION_TLS, SERVICE_PASSWORD};
use super::run::Run;
use super::swift::{self, Proxy, start_proxies};
use super::{Installer, Product, Server};
use crate::failure::Failure;

pub const PRODUCT: Product = Product {
    name: "swift-keystone",
    version: swift::PRODUCT.version,
    offers: &["swift-keystone"],
    needs: &["swift", "keystone"],
    install,
    start,
};

/// The program is Swift's.
fn install(installer: &Installer) -> Result<PathBuf, Failure> {
    swift::install(&Installer::new(&swift::PRODUCT, installer.is_asked_for())?)
}

fn start(run: &Run, folder: &Path) -> Result<Vec<Server>, Failure> {
    let (storage, keystone) = (run.server("swift")?, run.server("keystone")?);
    let value = |name: &str| storage.values.get(name).cloned().unwrap_or_default();
    let (settings, memcached) = (PathBuf::from(value("settings")), value("memcached"));
    let address = keystone.http.unwrap_or_default();

    let (plain, tls) = (run.port()?, run.port()?);
    let files = run.certificates();
    let pair = (files.server.as_path(), files.server_key.as_path());
    let sections = [300, -1].map(|seconds| guards(&address, seconds));
    let proxy = |port, tls, sections| Proxy {
        port,
        tls,
        guards: "authtoken keystoneauth",
        sections,
    };
    let proxies = [
        proxy(plain, None, &sections[0]),
        proxy(tls, Some(pair), &sections[1]),
    ];
    start_proxies(run, folder, (&settings, &memcached), &proxies)?;

    let identities = Identities::enter(run, &format!("{address}/v3"))?;
    let storage_url = |address: String| format!("{address}/v1/AUTH_$(project_id)s");
    identities.publish(
        ("object-store", "swift"),
        &storage_url(format!("http://127.0.0.1:{plain}")),
        &storage_url(format!("https://localhost:{tls}")),
    )?;
    let project = keystone
        .values
        .get("project_id")
        .cloned()
        .unwrap_or_default();
    Ok(vec![
        Server::new("swift-keystone", "OpenStack Swift", PRODUCT.version)
            .http(plain)
            .https(tls)
            .value("region", REGION)
            .value("region_tls", REGION_TLS)
            .value("storage_path", format!("/v1/AUTH_{project}")),
    ])
}

/// Who may come in: users with the role `member` do everything in their project, those with `reader` read.
fn guards(keystone: &str, seconds: i32) -> String {
    format!(
        "[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {keystone}/v3
auth_url = {keystone}/v3
auth_type = password
username = swift
password = {SERVICE_PASSWORD}
user_domain_id = default
project_name = service
project_domain_id = default
delay_auth_decision = True
include_service_catalog = False
cache = swift.cache
token_cache_time = {seconds}
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
project_reader_roles = reader
"
    )
}
