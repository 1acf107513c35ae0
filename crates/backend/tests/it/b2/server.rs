//! A bucket and a key of a test's own on the shared server, and the API as a second client sees it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backend::{B2Backend, B2Options, HttpOptions, Meter, Operation, Variables};
use futures::StreamExt;
use secrecy::SecretString;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use testkit::Random;
use testkit::servers::{Server, offered};

const CAPABILITIES: &[&str] = &[
    "listBuckets",
    "writeBuckets",
    "deleteBuckets",
    "listFiles",
    "readFiles",
    "writeFiles",
    "deleteFiles",
    "writeFileRetentions",
];

/// A name as objects have it.
pub fn name_of(number: u64) -> String {
    let digest = <sha2::Sha256 as sha2::Digest>::digest(number.to_le_bytes());
    hex::encode(digest)
}

pub struct Place {
    pub server: Server,
    /// Does not exist yet.
    pub bucket: String,
    pub key_id: String,
    pub key: String,
    pub meter: Arc<Meter>,
    api: Api,
    numbers: AtomicU64,
}

/// The second client.
struct Api {
    client: reqwest::Client,
    base: String,
    token: String,
    account: String,
}

/// A fresh bucket name and a key for it, or a line that says why there is none.
pub async fn place_or_skip() -> Option<Place> {
    let server = offered("b2")?;
    // The client of the tests speaks plain HTTP, but wants to know how TLS would be done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let api = Api::new(&server).await;
    let key = api
        .call(
            "b2_create_key",
            json!({"accountId": api.account, "capabilities": CAPABILITIES, "keyName": "test"}),
        )
        .await;
    let mut random = Random::from_environment();
    // The seed may be given, and servers outlive a run.
    let number = random.next_u64() ^ u64::from(std::process::id()) ^ unique();
    Some(Place {
        bucket: format!("stash-{number:016x}"),
        key_id: key["applicationKeyId"].as_str().unwrap().to_owned(),
        key: key["applicationKey"].as_str().unwrap().to_owned(),
        meter: Arc::default(),
        numbers: AtomicU64::new(1_000_000),
        api,
        server,
    })
}

fn unique() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

impl Api {
    async fn new(server: &Server) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let base = server.http().to_owned();
        let reply = client
            .get(format!("{base}/b2api/v3/b2_authorize_account"))
            .basic_auth(server.value("key_id"), Some(server.value("key")))
            .send()
            .await
            .unwrap();
        let answer: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        Self {
            client,
            base,
            token: answer["authorizationToken"].as_str().unwrap().to_owned(),
            account: answer["accountId"].as_str().unwrap().to_owned(),
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.client.post(format!("{}/{path}", self.base));
        let reply = request
            .header("Authorization", &self.token)
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let status = reply.status();
        let text = reply.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn call(&self, name: &str, body: Value) -> Value {
        self.post(&format!("b2api/v4/{name}"), &body).await
    }
}

impl Place {
    pub fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The repository `r` in the bucket, over plain HTTP.
    pub fn backend(&self) -> B2Backend {
        self.at("r")
    }

    pub fn at(&self, prefix: &str) -> B2Backend {
        self.with(prefix, |_| ())
    }

    pub fn with(&self, prefix: &str, change: impl FnOnce(&mut B2Options)) -> B2Backend {
        let text = format!("{}:{prefix}", self.bucket);
        let endpoint = self.server.http();
        let mut options = options(&text, (&self.key_id, &self.key), endpoint);
        change(&mut options);
        B2Backend::new(options, &self.http()).unwrap()
    }

    /// The same with another key, in any bucket.
    pub fn with_key(&self, text: &str, key: (&str, &str)) -> B2Backend {
        let options = options(text, key, self.server.http());
        B2Backend::new(options, &self.http()).unwrap()
    }

    pub fn over_tls(&self, ca_certificates: Option<String>, insecure_tls: bool) -> B2Backend {
        let text = format!("{}:r", self.bucket);
        let endpoint = self.server.https();
        let options = options(&text, (&self.key_id, &self.key), endpoint);
        let http = HttpOptions {
            ca_certificates,
            insecure_tls,
            ..self.http()
        };
        B2Backend::new(options, &http).unwrap()
    }

    fn http(&self) -> HttpOptions {
        HttpOptions {
            meter: self.meter.clone(),
            use_proxies: false,
            ..HttpOptions::default()
        }
    }

    /// Requests of our client so far.
    pub fn count(&self, operation: Operation) -> u64 {
        let counts = self.meter.counts();
        counts.get(&operation).map_or(0, |count| count.requests)
    }

    /// A key with these capabilities, without limits.
    pub async fn make_key(&self, capabilities: &[&str]) -> (String, String) {
        let wish = json!({
            "accountId": self.api.account, "capabilities": capabilities, "keyName": "test",
        });
        let key = self.api.call("b2_create_key", wish).await;
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        (text("applicationKeyId"), text("applicationKey"))
    }

    /// Orders a failure or an expiry.
    pub async fn admin(&self, what: &str, wish: Value) {
        self.api.post(&format!("admin/{what}"), &wish).await;
    }

    /// The next such call on the bucket fails like this.
    pub async fn fail(&self, operation: &str, mut wish: Value) {
        wish["bucket"] = json!(self.bucket);
        wish["operation"] = json!(operation);
        self.admin("fail", wish).await;
    }

    /// A call as the second client.
    pub async fn call(&self, name: &str, body: Value) -> Value {
        self.api.call(name, body).await
    }

    pub async fn bucket_id(&self) -> String {
        let wish = json!({"accountId": self.api.account, "bucketName": self.bucket});
        let answer = self.api.call("b2_list_buckets", wish).await;
        answer["buckets"][0]["bucketId"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub async fn delete_bucket(&self) {
        let wish = json!({"accountId": self.api.account, "bucketId": self.bucket_id().await});
        self.api.call("b2_delete_bucket", wish).await;
    }

    /// Everything below a prefix as `name action`, markers and unfinished files included.
    pub async fn versions(&self, prefix: &str) -> Vec<String> {
        let bucket = self.bucket_id().await;
        let mut found = Vec::new();
        let mut start = (Value::Null, Value::Null);
        let mut seen = HashSet::new();
        loop {
            let wish = json!({
                "bucketId": bucket, "prefix": prefix, "maxFileCount": 1000,
                "startFileName": start.0, "startFileId": start.1,
            });
            let page = self.api.call("b2_list_file_versions", wish).await;
            for file in page["files"].as_array().unwrap() {
                if seen.insert(file["fileId"].to_string()) {
                    let text = |name: &str| file[name].as_str().unwrap().to_owned();
                    found.push(format!("{} {}", text("fileName"), text("action")));
                }
            }
            start = (page["nextFileName"].clone(), page["nextFileId"].clone());
            if start.0.is_null() {
                return found;
            }
        }
    }

    /// Uploads as the second client, whatever is there already.
    pub async fn upload(&self, name: &str, content: &[u8]) -> Value {
        let address = self.upload_address().await;
        self.upload_to(&address, name, content).await
    }

    /// Uploads four bytes for each name, over a few connections.
    pub async fn upload_many(&self, names: impl Iterator<Item = String>) {
        let names: Vec<String> = names.collect();
        let share = names.len().div_ceil(8);
        futures::stream::iter(names.chunks(share))
            .for_each_concurrent(None, |names| async move {
                let address = self.upload_address().await;
                for name in names {
                    self.upload_to(&address, name, b"many").await;
                }
            })
            .await;
    }

    async fn upload_address(&self) -> Value {
        let wish = json!({"bucketId": self.bucket_id().await});
        self.api.call("b2_get_upload_url", wish).await
    }

    async fn upload_to(&self, address: &Value, name: &str, content: &[u8]) -> Value {
        let encoded: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let request = self.api.client.post(address["uploadUrl"].as_str().unwrap());
        let reply = request
            .header(
                "Authorization",
                address["authorizationToken"].as_str().unwrap(),
            )
            .header("X-Bz-File-Name", encoded.replace('+', "%20"))
            .header("X-Bz-Content-Sha1", hex::encode(Sha1::digest(content)))
            .header("Content-Type", "b2/x-auto")
            .body(content.to_vec())
            .send()
            .await
            .unwrap();
        let status = reply.status();
        let text = reply.text().await.unwrap();
        assert!(status.is_success(), "{name}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}

fn options(text: &str, (key_id, key): (&str, &str), endpoint: &str) -> B2Options {
    let variables = [
        ("B2_ACCOUNT_ID", key_id),
        ("B2_ACCOUNT_KEY", key),
        ("B2_ENDPOINT", endpoint),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), SecretString::from(value)));
    B2Options::parse(text, &Variables::new().or(variables)).unwrap()
}
