//! OpenStack Swift, the real product: one account, container and object server, and a proxy with and without TLS.
//!
//! `swift` knows users by version 1 (`tempauth`): `user` may do all, `guest_user` only what a container's ACL says,
//! `brief_user` as `user` (tests take its tokens away in memcached, whose port is in the values). Objects are limited to
//! `max_file_size` bytes, `policy` is a storage policy that is not the default. `settings` is the folder with the
//! configuration, in which `swift-keystone` adds its proxies.

mod configuration;
mod memcached;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::run::{Run, Spawned};
use super::{Installer, Product, Server};
use crate::command;
use crate::failure::Failure;
use crate::workspace::write_text;

pub use configuration::Proxy;

pub const PRODUCT: Product = Product {
    name: "swift",
    version: "2.38.3",
    offers: &["swift"],
    needs: &[],
    install,
    start,
};

/// Our way to start one of Swift's servers.
const PROGRAM: &str = "server.py";
const USERS: [(&str, &str, &str); 3] = [
    ("tester", "tester-key-5b1d", ".admin"),
    ("guest", "guest-key-90c2", ""),
    ("brief", "brief-key-77ae", ".admin"),
];

/// Installs Swift with the middleware for Keystone, and memcached.
pub fn install(installer: &Installer) -> Result<PathBuf, Failure> {
    let folder = installer.python(include_str!("swift/swift.txt"))?;
    memcached::install(installer)?;
    Ok(folder)
}

fn start(run: &Run, folder: &Path) -> Result<Vec<Server>, Failure> {
    let settings = run.folder("settings")?;
    let cache = run.port()?;
    let mut memory = memcached::command(folder)?;
    memory.args(["-u", "root", "-U", "0", "-l", "127.0.0.1", "-p"]);
    run.spawn("memcached", memory.arg(cache.to_string()))?
        .wait_until_ready(|| TcpStream::connect(("127.0.0.1", cache)).is_ok())?;
    start_storage(run, folder, &settings)?;

    let cache = cache.to_string();
    let (plain, tls) = (run.port()?, run.port()?);
    let files = run.certificates();
    let pair = (files.server.as_path(), files.server_key.as_path());
    let users = USERS.map(|(name, key, group)| format!("user_test_{name} = {key} {group}\n"));
    let users = users.concat();
    let sections = ["http", "https"].map(|scheme| {
        format!(
            "[filter:tempauth]\nuse = egg:swift#tempauth\nstorage_url_scheme = {scheme}\n{users}"
        )
    });
    let proxy = |port, tls, sections| Proxy {
        port,
        tls,
        guards: "tempauth",
        sections,
    };
    let proxies = [
        proxy(plain, None, &sections[0]),
        proxy(tls, Some(pair), &sections[1]),
    ];
    start_proxies(run, folder, (&settings, &cache), &proxies)?;
    let server = Server::new("swift", "OpenStack Swift", PRODUCT.version)
        .http(plain)
        .https(tls)
        .value("auth_path", "/auth/v1.0")
        .value("account", "AUTH_test")
        .value("settings", settings.display().to_string())
        .value("memcached", cache)
        .value("policy", "silver")
        .value("max_file_size", configuration::MAX_FILE_SIZE.to_string());
    let prefixes = ["", "guest_", "brief_"];
    Ok(vec![prefixes.iter().zip(USERS).fold(
        server,
        |server, (prefix, (name, key, _))| {
            server
                .value(&format!("{prefix}user"), format!("test:{name}"))
                .value(&format!("{prefix}key"), key)
        },
    )])
}

fn start_storage(run: &Run, folder: &Path, settings: &Path) -> Result<(), Failure> {
    let user = user()?;
    let kinds = ["account", "container", "object"];
    let ports = [run.port()?, run.port()?, run.port()?];
    write_text(&settings.join("swift.conf"), &configuration::common())?;
    write_text(&settings.join("node/d1/.keep"), "")?;
    write_text(&settings.join("cache/.keep"), "")?;
    write_text(&settings.join(PROGRAM), include_str!("swift/server.py"))?;
    let script = settings.join("rings.py");
    write_text(&script, include_str!("swift/rings.py"))?;
    let mut rings = Command::new(folder.join("bin/python"));
    rings.arg(&script).arg(settings);
    rings.args(ports.map(|port| port.to_string()));
    command::output(&mut rings)?;
    let mut started = Vec::new();
    for (kind, port) in kinds.into_iter().zip(ports) {
        let file = settings.join(format!("{kind}-server.conf"));
        write_text(&file, &configuration::storage(kind, port, settings, &user))?;
        let mut command = server(folder, settings, kind, &file);
        started.push((run.spawn(kind, &mut command)?, port));
    }
    for (server, port) in &mut started {
        server.wait_until_ready(|| {
            run.curl(format!("http://127.0.0.1:{port}/recon/version"))
                .answers()
        })?;
    }
    Ok(())
}

/// Starts proxies over the servers that `settings` describes, and waits for all of them. TLS is spoken by a program of
/// ours in front: Swift's own lets everybody wait for one who does not finish a handshake.
pub fn start_proxies(
    run: &Run,
    folder: &Path,
    (settings, memcached): (&Path, &str),
    proxies: &[Proxy<'_>],
) -> Result<(), Failure> {
    let user = user()?;
    let mut started: Vec<(Spawned, String)> = Vec::new();
    for proxy in proxies {
        let (name, port) = match proxy.tls {
            Some(_) => ("behind-tls", run.port()?),
            None => ("http", proxy.port),
        };
        let file = run.folder(name)?.join("proxy-server.conf");
        let text = configuration::proxy(proxy, port, settings, (memcached, &user));
        write_text(&file, &text)?;
        let mut command = server(folder, settings, "proxy", &file);
        let server = run.spawn(name, &mut command)?;
        started.push((server, format!("http://127.0.0.1:{port}/healthcheck")));
        if let Some((certificate, key)) = proxy.tls {
            let mut front = Command::new(folder.join("bin/python"));
            front.args(["-c", include_str!("swift/front.py")]);
            front.args([proxy.port.to_string(), port.to_string()]);
            let front = run.spawn("https", front.arg(certificate).arg(key))?;
            let address = format!("https://localhost:{}/healthcheck", proxy.port);
            started.push((front, address));
        }
    }
    for (server, health) in &mut started {
        server.wait_until_ready(|| run.curl(health.as_str()).succeed().is_ok())?;
    }
    Ok(())
}

/// The command that starts a server of this kind.
fn server(folder: &Path, settings: &Path, kind: &str, configuration: &Path) -> Command {
    let module = match kind {
        "object" => "swift.obj.server".to_owned(),
        kind => format!("swift.{kind}.server"),
    };
    let mut command = Command::new(folder.join("bin/python"));
    command.arg(settings.join(PROGRAM)).arg(settings);
    command.arg(module).arg(configuration);
    command
}

/// Swift becomes a user of its configuration when root starts it: it stays who it is.
fn user() -> Result<String, Failure> {
    Ok(command::output(Command::new("id").arg("-un"))?
        .trim()
        .to_owned())
}
