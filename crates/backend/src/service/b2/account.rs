//! Authorisation: the token, what the key may do, and calls that renew an expired token once.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, header};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answers::{Allowed, Authorization, Bucket, Buckets, parse};
use super::failure::{self, accept, is_stale_token};
use super::options::B2Options;
use crate::http::{HttpClient, HttpFailure, Reply};
use crate::{ErrorKind, Operation};

/// The first version that knows keys for several buckets.
const API: &str = "b2api/v4";
/// The call that may answer that a file is absent.
pub(super) const DELETION: &str = "b2_delete_file_version";
/// Smaller parts than this are recommended by no real account, only by simulators.
const SMALLEST_REAL_PART: u64 = 5_000_000;
const LARGE_PART: u64 = 100_000_000;

/// What an authorisation gives. Lasts a day.
pub(super) struct Session {
    pub account_id: String,
    pub api_url: String,
    pub download_url: String,
    pub token: SecretString,
    pub part_bytes: u64,
    allowed: Allowed,
}

/// The account as one key sees it.
pub(super) struct Account {
    pub options: B2Options,
    pub http: HttpClient,
    session: parking_lot::RwLock<Option<Arc<Session>>>,
    /// Held while a token is fetched, so that the others wait for it instead of fetching their own.
    renewal: tokio::sync::Mutex<()>,
    bucket_id: parking_lot::RwLock<Option<String>>,
}

impl Account {
    pub fn new(options: B2Options, http: HttpClient) -> Self {
        http.hide(&options.key);
        Self {
            options,
            http,
            session: parking_lot::RwLock::default(),
            renewal: tokio::sync::Mutex::default(),
            bucket_id: parking_lot::RwLock::default(),
        }
    }

    /// The current authorisation, fetched if there is none.
    pub async fn session(&self) -> Result<Arc<Session>, HttpFailure> {
        let current = self.session.read().clone();
        match current {
            Some(session) => Ok(session),
            None => self.renew(None).await,
        }
    }

    /// A newer authorisation than this.
    async fn renew(&self, stale: Option<&Arc<Session>>) -> Result<Arc<Session>, HttpFailure> {
        let _renewal = self.renewal.lock().await;
        let current = self.session.read().clone();
        if let Some(current) = current
            && stale.is_none_or(|stale| !Arc::ptr_eq(stale, &current))
        {
            return Ok(current);
        }
        let session = Arc::new(self.authorize().await?);
        *self.session.write() = Some(session.clone());
        Ok(session)
    }

    async fn authorize(&self) -> Result<Session, HttpFailure> {
        let options = &self.options;
        let credentials = format!("{}:{}", options.key_id, options.key.expose_secret());
        let basic = SecretString::from(format!("Basic {}", STANDARD.encode(credentials)));
        self.http.hide(&basic);
        let endpoint = options.endpoint.as_str().trim_end_matches('/');
        let url = format!("{endpoint}/{API}/b2_authorize_account");
        let request = request(Method::GET, &url, &basic, Bytes::new())?;
        let reply = self.http.send(Operation::Authenticate, request).await?;
        let reply = accept(&self.http, failure::Request::Authorization, reply)?;
        let answer: Authorization = parse(&reply, ErrorKind::Permanent)?;
        let storage = answer.api_info.storage_api;
        self.http.hide(&answer.token);
        let session = Session {
            account_id: answer.account_id,
            api_url: storage.api_url.trim_end_matches('/').to_owned(),
            download_url: storage.download_url.trim_end_matches('/').to_owned(),
            token: answer.token,
            part_bytes: part_bytes(
                storage.recommended_part_size,
                storage.absolute_minimum_part_size,
            ),
            allowed: storage.allowed,
        };
        session.check_root(&options.root())?;
        Ok(session)
    }

    /// Sends what `make` makes with the current token, and once more with a new one when the token is refused.
    pub async fn authorized(
        &self,
        operation: Operation,
        capability: &str,
        make: impl Fn(&Session) -> Result<Request<Bytes>, HttpFailure> + Send + Sync,
    ) -> Result<Reply, HttpFailure> {
        let session = self.session().await?;
        session.check(capability)?;
        let reply = self.http.send(operation, make(&session)?).await?;
        if !is_stale_token(&reply) {
            return Ok(reply);
        }
        tracing::debug!("the token is no longer accepted");
        let session = self.renew(Some(&session)).await?;
        session.check(capability)?;
        self.http.send(operation, make(&session)?).await
    }

    /// One call of the API. Needs what its documentation names as the capability.
    pub async fn call<T: DeserializeOwned>(
        &self,
        operation: Operation,
        (name, capability): (&str, &str),
        parameters: Value,
    ) -> Result<T, HttpFailure> {
        let body = Bytes::from(parameters.to_string());
        let make = |session: &Session| {
            let url = format!("{}/{API}/{name}", session.api_url);
            request(Method::POST, &url, &session.token, body.clone())
        };
        let reply = self.authorized(operation, capability, make).await?;
        let asked = match name {
            DELETION => failure::Request::Deletion,
            _ => failure::Request::Call,
        };
        let reply =
            accept(&self.http, asked, reply).inspect_err(|failure| self.forget_bucket(failure))?;
        parse(&reply, ErrorKind::Temporary)
    }

    /// The id of the bucket. [`ErrorKind::PlaceNotFound`] when there is none of its name.
    pub async fn bucket_id(&self, operation: Operation) -> Result<String, HttpFailure> {
        let known = self.bucket_id.read().clone();
        if let Some(id) = known {
            return Ok(id);
        }
        let session = self.session().await?;
        let name = &self.options.bucket;
        let id = match session.bucket_of_key(name)? {
            Some(id) => Some(id),
            None => self.find_bucket(operation, &session, name).await?,
        };
        let id = id.ok_or_else(|| {
            let words = format!("the account of the key has no bucket {name}");
            HttpFailure::new(ErrorKind::PlaceNotFound, words)
        })?;
        *self.bucket_id.write() = Some(id.clone());
        Ok(id)
    }

    async fn find_bucket(
        &self,
        operation: Operation,
        session: &Session,
        name: &str,
    ) -> Result<Option<String>, HttpFailure> {
        let wish = json!({"accountId": session.account_id, "bucketName": name});
        let call = ("b2_list_buckets", "listBuckets");
        let answer: Buckets = self.call(operation, call, wish).await?;
        let mut found = answer.buckets.into_iter();
        Ok(found
            .find(|bucket| bucket.bucket_name == name)
            .map(|bucket| bucket.bucket_id))
    }

    /// Makes the bucket, for nobody else to read.
    pub async fn create_bucket(&self) -> Result<(), HttpFailure> {
        let session = self.session().await?;
        let name = &self.options.bucket;
        let wish = json!({
            "accountId": session.account_id, "bucketName": name, "bucketType": "allPrivate",
        });
        let call = ("b2_create_bucket", "writeBuckets");
        match self.call::<Bucket>(Operation::Create, call, wish).await {
            Ok(bucket) => {
                *self.bucket_id.write() = Some(bucket.bucket_id);
                Ok(())
            }
            Err(failure) if failure.kind == ErrorKind::AlreadyExists => {
                // Somebody was faster; names are unique over all accounts.
                let mine = self.find_bucket(Operation::Create, &session, name).await?;
                mine.map(drop).ok_or_else(|| {
                    let words = format!("a bucket {name} exists in another account");
                    HttpFailure::new(ErrorKind::PermissionDenied, words)
                })
            }
            Err(failure) => Err(failure),
        }
    }

    /// A bucket that was deleted may be made again with another id.
    pub fn forget_bucket(&self, failure: &HttpFailure) {
        if failure.kind == ErrorKind::PlaceNotFound {
            *self.bucket_id.write() = None;
        }
    }
}

impl Session {
    pub fn can(&self, capability: &str) -> bool {
        self.allowed
            .capabilities
            .iter()
            .any(|one| one == capability)
    }

    /// Whether the key has a capability, without asking the server.
    pub fn check(&self, capability: &str) -> Result<(), HttpFailure> {
        if self.can(capability) {
            return Ok(());
        }
        let words = format!("the key lacks the capability {capability}");
        Err(HttpFailure::new(ErrorKind::PermissionDenied, words))
    }

    /// Whether the key is for all names of a repository.
    fn check_root(&self, root: &str) -> Result<(), HttpFailure> {
        let allowed = self.allowed.name_prefix.as_deref().unwrap_or_default();
        if root.starts_with(allowed) {
            return Ok(());
        }
        let words = format!(
            "the key is limited to names that begin with {allowed:?}, and the repository's begin with {root:?}"
        );
        Err(HttpFailure::new(ErrorKind::PermissionDenied, words))
    }

    /// The bucket's id where the key itself tells it; nothing for a key without limits.
    fn bucket_of_key(&self, name: &str) -> Result<Option<String>, HttpFailure> {
        let Some(buckets) = &self.allowed.buckets else {
            return Ok(None);
        };
        if let Some(bucket) = buckets
            .iter()
            .find(|bucket| bucket.name.as_deref() == Some(name))
        {
            return Ok(Some(bucket.id.clone()));
        }
        let names: Vec<&str> = buckets
            .iter()
            .filter_map(|bucket| bucket.name.as_deref())
            .collect();
        let failure = if names.is_empty() {
            HttpFailure::new(
                ErrorKind::PlaceNotFound,
                "the bucket that the key is limited to does not exist any more",
            )
        } else {
            let words = format!("the key is limited to the bucket {}", names.join(", "));
            HttpFailure::new(ErrorKind::PermissionDenied, words)
        };
        Err(failure)
    }
}

/// The size of parts by what an account recommends and demands.
pub(super) fn part_bytes(recommended: u64, least: u64) -> u64 {
    let recommended = recommended.max(least).max(1);
    if recommended < SMALLEST_REAL_PART {
        recommended
    } else {
        recommended.max(LARGE_PART)
    }
}

/// A request with the header that authorises it.
pub(super) fn request(
    method: Method,
    url: &str,
    authorization: &SecretString,
    body: Bytes,
) -> Result<Request<Bytes>, HttpFailure> {
    // The builder's own words may repeat the value of a header.
    let mut request = Request::builder()
        .method(method)
        .uri(url)
        .header(header::AUTHORIZATION, authorization.expose_secret())
        .body(body)
        .map_err(|_| HttpFailure::new(ErrorKind::Permanent, "the request cannot be made"))?;
    if let Some(value) = request.headers_mut().get_mut(header::AUTHORIZATION) {
        value.set_sensitive(true);
    }
    Ok(request)
}
