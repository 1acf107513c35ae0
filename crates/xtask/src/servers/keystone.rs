//! OpenStack Keystone, the real product, on SQLite: with and without TLS, with the users of the tests.
//!
//! The values name a user with a password, an application credential of that user, and the project, each by id and
//! by name; user and project are of two domains, neither of them the default one. `reader_user` has the role `reader`
//! there only, and a trust (`trust_id`) lets `trustee_user` act as the user. `admin_user` of the project `admin`
//! may do everything. The catalogue names Keystone itself; who starts an object store adds that.

mod identities;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::run::{Run, Spawned};
use super::{Installer, Product, Server};
use crate::command;
use crate::failure::Failure;
use crate::workspace::write_text;

pub use identities::{Identities, SERVICE_PASSWORD};

pub const PRODUCT: Product = Product {
    name: "keystone",
    version: "30.0.0",
    offers: &["keystone"],
    needs: &[],
    install,
    start,
};

pub const ADMIN_PASSWORD: &str = "admin-password-31f0";
/// The database and keys that every run begins with; making them takes long.
const TEMPLATE: &str = "database";
/// The region of the addresses without TLS.
pub const REGION: &str = "RegionOne";
/// The region of the addresses with TLS, which are for the public only.
pub const REGION_TLS: &str = "RegionTLS";

fn settings(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "[DEFAULT]
log_file =
[database]
connection = sqlite:///{folder}/keystone.db
[token]
provider = fernet
[fernet_tokens]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/credential
[cache]
enabled = false
"
    )
}

fn install(installer: &Installer) -> Result<PathBuf, Failure> {
    let folder = installer.python(include_str!("keystone/keystone.txt"))?;
    installer.part(TEMPLATE, |fresh| set_up(&folder, fresh))?;
    Ok(folder)
}

fn start(run: &Run, folder: &Path) -> Result<Vec<Server>, Failure> {
    let own = run.folder("data")?;
    let file = own.join("keystone.conf");
    write_text(
        &own.join("stash_keystone.py"),
        include_str!("keystone/wsgi.py"),
    )?;
    command::run(
        Command::new("cp")
            .args(["-R", "-p"])
            .arg(folder.join(TEMPLATE).join("."))
            .arg(&own),
    )?;
    write_text(&file, &settings(&own))?;
    let (plain, tls) = (run.port()?, run.port()?);

    let files = run.certificates();
    let listen = |name: &str, port: u16| -> Result<Spawned, Failure> {
        let mut command = Command::new(folder.join("bin/gunicorn"));
        command
            .args(["-w", "1", "--threads", "4", "--no-control-socket"])
            .args(["-b", &format!("127.0.0.1:{port}")])
            .arg("--chdir")
            .arg(&own)
            .env("KEYSTONE_SETTINGS", &file);
        if name == "https" {
            command.arg("--certfile").arg(&files.server);
            command.arg("--keyfile").arg(&files.server_key);
        }
        run.spawn(name, command.arg("stash_keystone:application"))
    };
    let mut started = [
        (
            listen("http", plain)?,
            format!("http://127.0.0.1:{plain}/v3"),
        ),
        (listen("https", tls)?, format!("https://localhost:{tls}/v3")),
    ];
    for (server, address) in &mut started {
        server.wait_until_ready(|| run.curl(address.as_str()).answers())?;
    }
    let server = Server::new("keystone", "OpenStack Keystone", PRODUCT.version)
        .http(plain)
        .https(tls)
        .value("auth_path", "/v3")
        .value("region", REGION)
        .value("admin_user", "admin")
        .value("admin_password", ADMIN_PASSWORD);
    let [(_, plain_url), (_, tls_url)] = &started;
    let identities = Identities::enter(run, plain_url)?;
    // Swift looks here for the place to ask about tokens, and finds no other.
    identities.publish(("identity", "keystone"), plain_url, tls_url)?;
    Ok(vec![identities.make_users(server)?])
}

/// The database with the administrator, and the keys of tokens. The catalogue stays empty: where Keystone will listen
/// is not known yet.
fn set_up(folder: &Path, own: &Path) -> Result<(), Failure> {
    let file = own.join("keystone.conf");
    write_text(&file, &settings(own))?;
    let user = command::output(Command::new("id").arg("-un"))?;
    let group = command::output(Command::new("id").arg("-gn"))?;
    let owner = [
        "--keystone-user",
        user.trim(),
        "--keystone-group",
        group.trim(),
    ];
    let bootstrap = [
        "--bootstrap-password",
        ADMIN_PASSWORD,
        "--bootstrap-region-id",
        REGION,
    ];
    for (verb, options) in [
        ("db_sync", [].as_slice()),
        ("fernet_setup", &owner),
        ("credential_setup", &owner),
        ("bootstrap", &bootstrap),
    ] {
        let mut manage = Command::new(folder.join("bin/keystone-manage"));
        manage
            .arg("--config-file")
            .arg(&file)
            .arg(verb)
            .args(options);
        let output = manage.output().map_err(|source| Failure::Start {
            program: "keystone-manage".to_owned(),
            source,
        })?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let last = text.lines().last().unwrap_or_default();
            return Err(Failure::Refused(format!(
                "`keystone-manage {verb}` ended with {}: {last}",
                output.status
            )));
        }
    }
    Ok(())
}
