//! A container of a test's own on a shared server, and the servers as a second client sees them.

use std::sync::Arc;

use backend::{BackendError, HttpOptions, Meter, SwiftBackend, SwiftOptions, Variables};
use bytes::Bytes;
use http::{Method, Request};
use secrecy::SecretString;
use serde_json::{Value, json};
use testkit::servers::Server;

/// A name as objects have it.
pub fn name_of(number: u64) -> String {
    let digest = <sha2::Sha256 as sha2::Digest>::digest(number.to_le_bytes());
    hex::encode(digest)
}

/// A name that no other test uses.
pub fn fresh(word: &str) -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("stash-{word}-{:016x}", RandomState::new().hash_one(0))
}

pub type Settings = Vec<(&'static str, String)>;

/// A container, the way in, and what was asked there.
pub struct Place {
    pub container: String,
    pub settings: Settings,
    pub meter: Arc<Meter>,
    pub authority: Option<String>,
}

impl Place {
    pub fn new(settings: Settings) -> Self {
        Self {
            container: fresh("test"),
            settings,
            meter: Arc::default(),
            authority: None,
        }
    }

    pub fn trusting(settings: Settings, server: &Server) -> Self {
        Self {
            authority: Some(server.ca_pem()),
            ..Self::new(settings)
        }
    }

    pub fn at(&self, prefix: &str) -> SwiftBackend {
        let variables = self
            .settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), SecretString::from(value.as_str())));
        let text = format!("{}:/{prefix}", self.container);
        let options = SwiftOptions::parse(&text, &Variables::new().or(variables)).unwrap();
        let http = HttpOptions {
            ca_certificates: self.authority.clone(),
            meter: self.meter.clone(),
            use_proxies: false,
            ..HttpOptions::default()
        };
        SwiftBackend::new(options, &http).unwrap()
    }

    pub fn backend(&self) -> SwiftBackend {
        self.at("r")
    }

    /// The same container with another value of a setting, or with a new setting.
    pub fn with(&self, name: &'static str, value: &str) -> Self {
        let kept = self.settings.iter().filter(|(known, _)| *known != name);
        Self {
            container: self.container.clone(),
            settings: kept.cloned().chain([(name, value.to_owned())]).collect(),
            meter: Arc::default(),
            authority: self.authority.clone(),
        }
    }

    /// The requests of this kind so far.
    pub fn count(&self, operation: backend::Operation) -> u64 {
        let counts = self.meter.counts();
        counts.get(&operation).map_or(0, |count| count.requests)
    }

    /// Nothing of an error may show what is secret.
    pub fn assert_hidden(&self, error: &BackendError) {
        let text = format!("{error} {error:?}");
        for (name, value) in &self.settings {
            if ["ST_KEY", "OS_PASSWORD", "OS_AUTH_TOKEN"].contains(name) || name.ends_with("SECRET")
            {
                assert!(!text.contains(value.as_str()), "{name} is in {text}");
            }
        }
    }
}

/// The way in by version 1 for one of the server's users.
pub fn version_1(server: &Server, user: &str) -> Settings {
    let prefix = if user == "user" { "" } else { user };
    let value = |name: &str| server.value(&format!("{prefix}{name}")).to_owned();
    vec![
        (
            "ST_AUTH",
            format!("{}{}", server.http(), server.value("auth_path")),
        ),
        ("ST_USER", value("user")),
        ("ST_KEY", value("key")),
    ]
}

/// The way in by password for one of Keystone's users, without a region.
pub fn version_3(keystone: &Server, user: &str) -> Settings {
    let value = |name: &str| keystone.value(name).to_owned();
    let (name, password) = match user {
        "" => (value("user"), value("password")),
        other => (
            value(&format!("{other}_user")),
            value(&format!("{other}_password")),
        ),
    };
    vec![
        ("OS_AUTH_URL", format!("{}/v3", keystone.http())),
        ("OS_USERNAME", name),
        ("OS_PASSWORD", password),
        ("OS_USER_DOMAIN_NAME", value("user_domain")),
        ("OS_PROJECT_NAME", value("project")),
        ("OS_PROJECT_DOMAIN_NAME", value("project_domain")),
        ("OS_REGION_NAME", value("region")),
    ]
}

/// A request past our client.
pub async fn send(request: Request<Bytes>) -> reqwest::Response {
    // The client of the tests speaks plain HTTP, but wants to know how TLS would be done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (parts, body) = request.into_parts();
    client
        .request(parts.method, parts.uri.to_string())
        .headers(parts.headers)
        .body(body)
        .send()
        .await
        .unwrap()
}

fn header(reply: &reqwest::Response, name: &str) -> String {
    let value = reply.headers().get(name);
    value.unwrap().to_str().unwrap().to_owned()
}

/// A token of the user whom the tests are in Keystone.
pub async fn token_of(keystone: &Server) -> String {
    let user = json!({"id": keystone.value("user_id"), "password": keystone.value("password")});
    let body = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"id": keystone.value("project_id")}},
    }});
    let request = Request::post(format!("{}/v3/auth/tokens", keystone.http()))
        .header("content-type", "application/json")
        .body(Bytes::from(body.to_string()))
        .unwrap();
    header(&send(request).await, "x-subject-token")
}

/// Takes a token of Keystone back.
pub async fn revoke(keystone: &Server, token: &str) {
    let request = Request::delete(format!("{}/v3/auth/tokens", keystone.http()))
        .header("x-auth-token", token)
        .header("x-subject-token", token)
        .body(Bytes::new())
        .unwrap();
    assert_eq!(send(request).await.status(), 204);
}

/// The account as a second client sees it, by version 1.
pub struct Account {
    pub url: String,
    pub token: String,
}

impl Account {
    pub async fn enter(settings: &Settings) -> Self {
        let value = |name: &str| &settings.iter().find(|(known, _)| *known == name).unwrap().1;
        let request = Request::get(value("ST_AUTH"))
            .header("x-auth-user", value("ST_USER"))
            .header("x-auth-key", value("ST_KEY"))
            .body(Bytes::new())
            .unwrap();
        let reply = send(request).await;
        Self {
            url: header(&reply, "x-storage-url"),
            token: header(&reply, "x-auth-token"),
        }
    }

    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &'static [u8],
    ) -> reqwest::Response {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.url))
            .header("x-auth-token", &self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request.body(Bytes::from_static(body)).unwrap()).await
    }

    /// The names of the objects in a container.
    pub async fn names(&self, container: &str) -> Vec<String> {
        let path = format!("{container}?format=json");
        let reply = self.ask(Method::GET, &path, &[], b"").await;
        if reply.status() == 404 {
            return Vec::new();
        }
        let entries: Vec<Value> = serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap();
        let name = |entry: &Value| entry["name"].as_str().unwrap().to_owned();
        entries.iter().map(name).collect()
    }
}
