//! The configuration files of Swift's servers.

use std::path::Path;

/// Objects above this size need segments: far below the usual 5 GiB, so that tests reach it.
pub const MAX_FILE_SIZE: u64 = 32 << 20;

/// What all of Swift's servers read.
pub fn common() -> String {
    format!(
        "[swift-hash]
swift_hash_path_prefix = stash
swift_hash_path_suffix = tests
[storage-policy:0]
name = gold
default = yes
[storage-policy:1]
name = silver
[swift-constraints]
max_file_size = {MAX_FILE_SIZE}
"
    )
}

/// One of the three servers that hold things. Its answers are waited for long: a test machine may be busy, and an
/// object that did not reach the listing in time would stay out of it, as no daemon repairs that here.
pub fn storage(kind: &str, port: u16, folder: &Path, user: &str) -> String {
    let folder = folder.display();
    let update = if kind == "object" {
        "container_update_timeout = 60\n"
    } else {
        ""
    };
    format!(
        "[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
devices = {folder}/node
mount_check = false
disable_fallocate = true
db_preallocation = off
workers = 0
log_level = WARNING
node_timeout = 60
conn_timeout = 20
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
recon_cache_path = {folder}/cache
{update}"
    )
}

/// How a proxy listens and who it lets in.
pub struct Proxy<'a> {
    pub port: u16,
    /// Certificate and key, where it is reached by TLS.
    pub tls: Option<(&'a Path, &'a Path)>,
    /// The names of the filters that decide who may do what.
    pub guards: &'a str,
    /// Their sections.
    pub sections: &'a str,
}

/// The server that clients talk to, where it listens itself. It is patient with the others for the same reason, and with
/// the keeper of its tokens: all requests are refused for a minute after a few that took long.
pub fn proxy(
    proxy: &Proxy<'_>,
    port: u16,
    folder: &Path,
    (memcached, user): (&str, &str),
) -> String {
    let Proxy {
        guards, sections, ..
    } = proxy;
    let folder = folder.display();
    format!(
        "[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
workers = 0
log_level = WARNING
client_timeout = 60
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk {guards} copy container_quotas slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
node_timeout = 60
conn_timeout = 20
recoverable_node_timeout = 60
error_suppression_limit = 1000000
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
memcache_max_connections = 64
connect_timeout = 20
pool_timeout = 20
io_timeout = 60
error_suppression_limit = 1000000
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:copy]
use = egg:swift#copy
[filter:container_quotas]
use = egg:swift#container_quotas
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
{sections}"
    )
}
