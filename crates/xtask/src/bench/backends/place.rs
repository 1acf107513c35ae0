//! Where a repository of each backend is, in the words of both programs, and what they need to reach it.

use std::net::SocketAddr;

use crate::bench::backends::relay::Manner;
use crate::failure::Failure;
use crate::servers::{Server, Servers};

/// A backend and the server it is measured with.
pub struct Backend {
    /// The name in commands and tables.
    pub name: &'static str,
    /// The entry of `cargo xtask servers`; none for a folder.
    pub server: Option<&'static str>,
    /// The name of that server in the table.
    product: Option<&'static str>,
    /// How a relay stands in front of the server.
    pub manner: Manner,
    /// What must be known to read its rows.
    pub note: Option<&'static str>,
    place: fn(&Road<'_>) -> Result<Place, Failure>,
}

/// All backends, in the order of the table.
pub const BACKENDS: &[Backend] = &[
    backend("folder", None, None, folder),
    backend("s3", Some("minio"), Some("MinIO"), s3),
    backend("gcs", Some("fake-gcs"), Some("fake-gcs-server"), gcs),
    Backend {
        note: Some(
            "azure: this build of restic has no Azure, so it goes through rclone, as its users would",
        ),
        ..backend("azure", Some("azurite"), Some("Azurite"), azure)
    },
    backend("swift", Some("swift"), Some("OpenStack Swift"), swift),
    Backend {
        manner: Manner::Proxy,
        note: Some(
            "b2: restic knows only Backblaze's own address, so both programs reach the simulator over TLS through a proxy on this machine, also without a delay",
        ),
        ..backend("b2", Some("b2"), Some("Backblaze simulator"), b2)
    },
    backend("rest", Some("rest-server"), Some("rest-server"), rest),
];

const fn backend(
    name: &'static str,
    server: Option<&'static str>,
    product: Option<&'static str>,
    place: fn(&Road<'_>) -> Result<Place, Failure>,
) -> Backend {
    Backend {
        name,
        server,
        product,
        manner: Manner::Server,
        note: None,
        place,
    }
}

impl Backend {
    /// Other programs of `cargo xtask servers` it needs.
    pub fn needs(&self) -> &'static [&'static str] {
        if self.name == "azure" {
            &["rclone"]
        } else {
            &[]
        }
    }

    /// What it is called in the table.
    pub fn title(&self) -> String {
        self.product.map_or(self.name.to_owned(), |product| {
            format!("{} ({product})", self.name)
        })
    }

    /// The repository as seen along a road.
    pub fn place(&self, road: &Road<'_>) -> Result<Place, Failure> {
        (self.place)(road)
    }
}

/// How a program gets to the server.
pub struct Road<'a> {
    pub servers: &'a Servers,
    /// The server itself, or the relay in front of it.
    pub address: Option<SocketAddr>,
    /// The folder a repository would have, for the backend that is one.
    pub folder: &'a str,
}

/// A repository as two programs name it.
#[derive(Default)]
pub struct Place {
    pub stash: Naming,
    pub restic: Naming,
    pub variables: Vec<(&'static str, String)>,
    /// For both programs.
    pub arguments: Vec<String>,
}

/// How one program names a repository.
#[derive(Default)]
pub struct Naming {
    pub repository: String,
    /// The prefix of its `-o` options.
    pub scheme: &'static str,
    pub arguments: Vec<String>,
}

impl Place {
    /// A place with the same name for both programs.
    fn new(scheme: &'static str, repository: &str) -> Self {
        let naming = || Naming {
            repository: repository.to_owned(),
            scheme,
            arguments: Vec::new(),
        };
        Self {
            stash: naming(),
            restic: naming(),
            ..Self::default()
        }
    }

    fn with(mut self, variables: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        self.variables.extend(variables);
        self
    }
}

impl Road<'_> {
    fn server(&self, name: &str) -> Result<&Server, Failure> {
        self.servers.get(name)
    }

    fn http(&self) -> Result<String, Failure> {
        self.address
            .map(|address| format!("http://{address}"))
            .ok_or_else(|| Failure::Refused("a server has no address".to_owned()))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "all others can fail")]
fn folder(road: &Road<'_>) -> Result<Place, Failure> {
    Ok(Place::new("local", road.folder))
}

fn s3(road: &Road<'_>) -> Result<Place, Failure> {
    let server = road.server("minio")?;
    Ok(
        Place::new("s3", &format!("s3:{}/stash-bench/data", road.http()?)).with([
            ("AWS_ACCESS_KEY_ID", value(server, "access_key_id")),
            ("AWS_SECRET_ACCESS_KEY", value(server, "secret_access_key")),
            ("AWS_DEFAULT_REGION", value(server, "region")),
        ]),
    )
}

fn gcs(road: &Road<'_>) -> Result<Place, Failure> {
    let server = road.server("fake-gcs")?;
    Ok(Place::new("gs", "gs:stash-bench:/data").with([
        ("STORAGE_EMULATOR_HOST", road.http()?),
        ("GOOGLE_ACCESS_TOKEN", "bench".to_owned()),
        ("GOOGLE_PROJECT_ID", value(server, "project")),
    ]))
}

fn azure(road: &Road<'_>) -> Result<Place, Failure> {
    let server = road.server("azurite")?;
    let (account, key) = (value(server, "account"), value(server, "key"));
    let endpoint = format!("{}/{account}", road.http()?);
    let mut place = Place::new("azure", "azure:stash-bench:/data");
    let program = value(road.server("rclone")?, "program");
    place.restic = Naming {
        repository: format!(
            "rclone::azureblob,account={account},key='{key}',endpoint='{endpoint}':stash-bench/data"
        ),
        scheme: "rclone",
        arguments: vec!["-o".to_owned(), format!("rclone.program={program}")],
    };
    Ok(place.with([
        ("RCLONE_CONFIG", "/dev/null".to_owned()),
        ("AZURE_ENDPOINT", endpoint),
        ("AZURE_ACCOUNT_NAME", account),
        ("AZURE_ACCOUNT_KEY", key),
    ]))
}

fn swift(road: &Road<'_>) -> Result<Place, Failure> {
    let server = road.server("swift")?;
    let auth = format!("{}{}", road.http()?, value(server, "auth_path"));
    Ok(Place::new("swift", "swift:stash-bench:/data").with([
        ("ST_AUTH", auth),
        ("ST_USER", value(server, "user")),
        ("ST_KEY", value(server, "key")),
    ]))
}

fn b2(road: &Road<'_>) -> Result<Place, Failure> {
    let server = road.server("b2")?;
    let mut place = Place::new("b2", "b2:stash-bench:/data");
    place.arguments = vec![
        "--cacert".to_owned(),
        road.servers.ca().display().to_string(),
    ];
    Ok(place.with([
        ("HTTPS_PROXY", road.http()?),
        ("NO_PROXY", String::new()),
        ("B2_ACCOUNT_ID", value(server, "key_id")),
        ("B2_ACCOUNT_KEY", value(server, "key")),
    ]))
}

fn rest(road: &Road<'_>) -> Result<Place, Failure> {
    Ok(Place::new(
        "rest",
        &format!("rest:{}/stash-bench/", road.http()?),
    ))
}

fn value(server: &Server, key: &str) -> String {
    server.values.get(key).cloned().unwrap_or_default()
}
