//! rest-server, the real product, in its modes.
//!
//! - `rest-server`: no authentication, with and without TLS; its folder is in the values
//! - `rest-server-auth`: TLS, two users, each with a folder of their own only (`--private-repos`)
//! - `rest-server-append-only`: TLS, one user, only locks can be removed
//! - `rest-server-unix`: no authentication, on a unix socket
//!
//! It cannot ask for client certificates.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::run::Run;
use super::{Installer, Product, Server};
use crate::command;
use crate::failure::Failure;
use crate::tools::{debian, release};
use crate::workspace::write_text;

const RELEASE: &str = "0.14.0";
/// Versions of 0.13 behave the same in everything that is tested.
const SUITES: &[&str] = &["sid", "trixie"];
/// The SHA-1 form of htpasswd files: it needs no tool that makes bcrypt hashes.
const USERS: &str =
    "alice:{SHA}KusvaLb24DJ0ziPMVrqjntyCRkM=\nbob:{SHA}Md7yGSbrVBY29morDdFNHvcmrxg=\n";

pub const PRODUCT: Product = Product {
    name: "rest-server",
    version: RELEASE,
    offers: &[
        "rest-server",
        "rest-server-auth",
        "rest-server-append-only",
        "rest-server-unix",
    ],
    needs: &[],
    install,
    start,
};

fn install(installer: &Installer) -> Result<PathBuf, Failure> {
    installer.once("package or release", |folder| {
        let run = |command: &mut Command| installer.run(command);
        let found = match debian::from_suites(folder, "restic-rest-server", SUITES, &run) {
            Ok(root) => root.join("usr/bin/restic-rest-server"),
            Err(_) => from_release(folder, &run)?,
        };
        let program = program(folder);
        std::fs::copy(&found, &program)
            .map(drop)
            .map_err(|source| Failure::Write {
                path: program,
                source,
            })
    })
}

fn from_release(folder: &Path, run: debian::Runner<'_>) -> Result<PathBuf, Failure> {
    let name = format!("rest-server_{RELEASE}_linux_{}", release::machine()?);
    let own = folder.join("release");
    let archive = format!("{name}.tar.gz");
    release::download(&own, "rest-server", RELEASE, &archive, run)?;
    run(Command::new("tar")
        .current_dir(&own)
        .arg("-xzf")
        .arg(&archive))?;
    Ok(own.join(name).join("rest-server"))
}

fn program(folder: &Path) -> PathBuf {
    folder.join("rest-server")
}

fn start(run: &Run, folder: &Path) -> Result<Vec<Server>, Failure> {
    let program = program(folder);
    let version = version(&program)?;
    let users = run.folder("users")?.join("htpasswd");
    write_text(&users, USERS)?;
    let users = users.display().to_string();
    let htpasswd = ["--htpasswd-file", users.as_str()];

    let start = |name: &str, https: bool, options: &[&str]| {
        let port = run.port()?;
        let data = run.folder(name)?;
        let mut command = Command::new(&program);
        command
            .arg("--path")
            .arg(&data)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(options);
        let mut address = format!("http://127.0.0.1:{port}/");
        if https {
            let files = run.certificates();
            command.arg("--tls").arg("--tls-cert").arg(&files.server);
            command.arg("--tls-key").arg(&files.server_key);
            address = format!("https://localhost:{port}/");
        }
        run.spawn(name, &mut command)?
            .wait_until_ready(|| run.curl(&address).answers())?;
        Ok((port, data.display().to_string()))
    };
    let private: Vec<&str> = htpasswd.into_iter().chain(["--private-repos"]).collect();
    let append_only: Vec<&str> = htpasswd.into_iter().chain(["--append-only"]).collect();
    let (plain, data) = start("http", false, &["--no-auth"])?;
    let (tls, tls_data) = start("https", true, &["--no-auth"])?;
    let (auth, auth_data) = start("auth", true, &private)?;
    let (append, append_data) = start("append-only", true, &append_only)?;
    let (socket, socket_data) = on_socket(run, &program)?;

    let server = |name: &str| Server::new(name, "rest-server", &version);
    let with_alice = |server: Server| {
        server
            .value("username", "alice")
            .value("password", "alice-secret")
    };
    Ok(vec![
        server("rest-server")
            .http(plain)
            .https(tls)
            .value("path", data)
            .value("path_https", tls_data),
        with_alice(server("rest-server-auth"))
            .https(auth)
            .value("path", auth_data)
            .value("other_username", "bob")
            .value("other_password", "bob-secret"),
        with_alice(server("rest-server-append-only"))
            .https(append)
            .value("path", append_data),
        server("rest-server-unix")
            .value("socket", socket)
            .value("path", socket_data),
    ])
}

fn on_socket(run: &Run, program: &Path) -> Result<(String, String), Failure> {
    let socket = run.socket("rest").display().to_string();
    let data = run.folder("unix")?;
    let mut command = Command::new(program);
    command
        .arg("--path")
        .arg(&data)
        .args(["--listen", &format!("unix:{socket}"), "--no-auth"]);
    run.spawn("unix", &mut command)?.wait_until_ready(|| {
        run.curl("http://localhost/")
            .options(&["--unix-socket", &socket])
            .answers()
    })?;
    Ok((socket, data.display().to_string()))
}

/// The version that the program says it has: a Debian suite may offer another than the release.
fn version(program: &Path) -> Result<String, Failure> {
    let text = command::output(Command::new(program).arg("--version"))?;
    Ok(text
        .split_whitespace()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
        .unwrap_or(RELEASE)
        .to_owned())
}
