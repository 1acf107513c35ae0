//! What the emulator lacks: token endpoints that check whom they serve, and the refusal of tokens that they did not
//! give out. Everything else is handed on to the emulator.

use std::collections::HashMap;
use std::sync::Arc;

use backend::HttpOptions;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use parking_lot::Mutex;
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use testkit::certificates::Authority;
use testkit::servers::Server;
use testkit::stub::{StubServer, json};

/// The key of the service account that the front knows; made for tests.
pub const KEY_PEM: &str = include_str!("../../../src/service/gcs/token/test_key.pem");
pub const EMAIL: &str = "robot@project.example";
pub const CLIENT_SECRET: &str = "secret-of-the-client";
pub const REFRESH_TOKEN: &str = "refresh-token-of-the-user";
pub const SUBJECT_TOKEN: &str = "token-of-another-identity";
const METADATA: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// The emulator behind a door.
pub struct Front {
    stub: StubServer,
    /// The same over TLS, under the names of Google's servers.
    secure: StubServer,
    authority_pem: String,
    state: Arc<Mutex<State>>,
}

struct State {
    upstream: String,
    client: reqwest::Client,
    /// Tokens that open the door.
    valid: Vec<String>,
    /// Tokens that only the impersonation takes.
    exchanged: Vec<String>,
    given: Vec<String>,
    lifetime: i64,
    /// What every token endpoint answers instead of a token.
    refusal: Option<Response<Bytes>>,
    is_google: bool,
}

impl Front {
    pub fn before(server: &Server) -> Self {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(
                (*testkit::certificates::client_config(&server.ca_pem(), None)).clone(),
            )
            .no_proxy()
            .build()
            .unwrap();
        let state = Arc::new(Mutex::new(State {
            upstream: server.http().to_owned(),
            client,
            valid: Vec::new(),
            exchanged: Vec::new(),
            given: Vec::new(),
            lifetime: 3600,
            refusal: None,
            is_google: true,
        }));
        let authority = Authority::new();
        let certificate = authority.server(&["storage.googleapis.com", "oauth2.googleapis.com"]);
        let (plain, secure) = (state.clone(), state.clone());
        Self {
            stub: StubServer::start(move |request| answer(plain.clone(), request)),
            secure: StubServer::start_tls(certificate.server_config(), move |request| {
                answer(secure.clone(), request)
            }),
            authority_pem: authority.pem(),
            state,
        }
    }

    /// Google's names lead here.
    pub fn as_google(&self) -> HttpOptions {
        let pin = |name: &str, stub: &StubServer| (name.to_owned(), stub.address());
        HttpOptions {
            ca_certificates: Some(self.authority_pem.clone()),
            pins: vec![
                pin("storage.googleapis.com", &self.secure),
                pin("oauth2.googleapis.com", &self.secure),
                pin("metadata.google.internal", &self.stub),
            ],
            use_proxies: false,
            ..HttpOptions::default()
        }
    }

    pub fn url(&self) -> String {
        self.stub.url()
    }

    pub fn host(&self) -> String {
        self.stub.address().to_string()
    }

    /// From now on no token that was given out is good.
    pub fn expire_all(&self) {
        self.state.lock().valid.clear();
    }

    /// How long tokens are good, as the endpoints say.
    pub fn set_lifetime(&self, seconds: i64) {
        self.state.lock().lifetime = seconds;
    }

    /// From now on token endpoints give this answer.
    pub fn refuse(&self, answer: Response<Bytes>) {
        self.state.lock().refusal = Some(answer);
    }

    /// From now on what answers like a metadata server is not Google's.
    pub fn is_somebody_else(&self) {
        self.state.lock().is_google = false;
    }

    /// All tokens that were given out.
    pub fn given(&self) -> Vec<String> {
        self.state.lock().given.clone()
    }

    /// Requests for tokens of any form.
    pub fn asked(&self) -> usize {
        let paths = ["/token", "/sts", "/impersonate", "/subject", METADATA];
        self.paths()
            .iter()
            .filter(|path| paths.contains(&path.as_str()))
            .count()
    }

    fn requests(&self) -> Vec<Request<Bytes>> {
        let mut requests = self.stub.requests();
        requests.extend(self.secure.requests());
        requests
    }

    /// Paths of all requests.
    pub fn paths(&self) -> Vec<String> {
        self.requests()
            .iter()
            .map(|request| request.uri().path().to_owned())
            .collect()
    }

    /// What must never be shown: tokens and everything that was sent for them.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = self.given();
        secrets.extend([CLIENT_SECRET, REFRESH_TOKEN, SUBJECT_TOKEN].map(str::to_owned));
        secrets.extend(KEY_PEM.lines().skip(1).map(str::to_owned));
        for request in self.requests() {
            if let Some(assertion) = form(request.body()).get("assertion") {
                let (signed, signature) = assertion.rsplit_once('.').unwrap_or((assertion, ""));
                secrets.extend([signed.to_owned(), signature.to_owned()]);
            }
        }
        secrets.retain(|secret| secret.len() > 8);
        secrets
    }

    /// The file of a service account that this front knows.
    pub fn service_account(&self) -> String {
        json!({
            "type": "service_account",
            "project_id": "project",
            "client_email": EMAIL,
            "private_key_id": "key-1",
            "private_key": KEY_PEM,
            "token_uri": format!("{}/token", self.url()),
        })
        .to_string()
    }

    /// The file of a login.
    pub fn authorized_user(&self) -> String {
        json!({
            "type": "authorized_user",
            "client_id": "client",
            "client_secret": CLIENT_SECRET,
            "refresh_token": REFRESH_TOKEN,
            "token_uri": format!("{}/token", self.url()),
        })
        .to_string()
    }

    /// The file of a workload identity.
    pub fn external_account(&self, source: &Value, is_impersonating: bool) -> String {
        let mut text = json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/pool",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("{}/sts", self.url()),
            "credential_source": source,
        });
        if is_impersonating {
            text["service_account_impersonation_url"] =
                format!("{}/impersonate", self.url()).into();
        }
        text.to_string()
    }
}

impl State {
    fn token(&mut self, what: &str) -> String {
        let token = format!("ya29.{what}-{:016x}", rand::random::<u64>());
        self.given.push(token.clone());
        token
    }

    fn grant(&mut self) -> Response<Bytes> {
        let token = self.token("access");
        self.valid.push(token.clone());
        json(
            200,
            &json!({"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"}),
        )
    }

    fn exchange(&mut self, is_for_impersonation: bool) -> Response<Bytes> {
        if !is_for_impersonation {
            return self.grant();
        }
        let token = self.token("exchanged");
        self.exchanged.push(token.clone());
        json(
            200,
            &json!({"access_token": token, "expires_in": self.lifetime}),
        )
    }

    fn impersonate(&mut self, request: &Request<Bytes>) -> Response<Bytes> {
        let wish: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(wish["lifetime"], "3600s");
        if !self
            .exchanged
            .iter()
            .any(|token| Some(token.as_str()) == bearer(request.headers()))
        {
            let denied = json!({"error": {"code": 403, "status": "PERMISSION_DENIED", "message":
                "Permission 'iam.serviceAccounts.getAccessToken' denied"}});
            return json(403, &denied);
        }
        let token = self.token("impersonated");
        self.valid.push(token.clone());
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(self.lifetime);
        json(
            200,
            &json!({"accessToken": token, "expireTime": end.to_string()}),
        )
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Bytes>) -> Response<Bytes> {
    let (upstream, client) = {
        let mut state = state.lock();
        let path = request.uri().path();
        if matches!(
            path,
            "/token" | "/sts" | "/impersonate" | "/subject" | METADATA
        ) && let Some(refusal) = &state.refusal
        {
            return refusal.clone();
        }
        match path {
            "/token" => return of_token(&mut state, &request),
            "/sts" => {
                let form = form(request.body());
                let is_right = form
                    .get("subject_token")
                    .is_some_and(|token| token == SUBJECT_TOKEN)
                    && form["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
                    && form["audience"] == "//iam.googleapis.com/pool";
                let is_wide = form["scope"].ends_with("/cloud-platform");
                return if is_right {
                    state.exchange(is_wide)
                } else {
                    invalid_grant("no")
                };
            }
            "/impersonate" => return state.impersonate(&request),
            "/subject" => {
                let is_right = request
                    .headers()
                    .get("x-subject")
                    .is_some_and(|is| is == "yes");
                let token = if is_right { SUBJECT_TOKEN } else { "" };
                return json(200, &json!({"value": token}));
            }
            METADATA => {
                let is_right = request
                    .headers()
                    .get("metadata-flavor")
                    .is_some_and(|is| is == "Google");
                let mut reply = if is_right {
                    state.grant()
                } else {
                    json(403, &json!({}))
                };
                if state.is_google {
                    let flavor = "Google".parse().unwrap();
                    reply.headers_mut().insert("metadata-flavor", flavor);
                }
                return reply;
            }
            _ => {}
        }
        let bearer = bearer(request.headers());
        if !state
            .valid
            .iter()
            .any(|token| Some(token.as_str()) == bearer)
        {
            let refusal = json!({"error": {"code": 401,
                "message": format!("Invalid Credentials {}", bearer.unwrap_or_default()),
                "errors": [{"reason": "authError"}]}});
            return json(401, &refusal);
        }
        (state.upstream.clone(), state.client.clone())
    };
    forward(&client, &upstream, request).await
}

fn of_token(state: &mut State, request: &Request<Bytes>) -> Response<Bytes> {
    assert_eq!(request.method(), Method::POST);
    let form = form(request.body());
    let is_right = match form.get("grant_type").map(String::as_str) {
        Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => {
            let host = request.headers()[header::HOST].to_str().unwrap();
            is_valid(&form["assertion"], &format!("//{host}/token"))
        }
        Some("refresh_token") => {
            form["client_id"] == "client"
                && form["client_secret"] == CLIENT_SECRET
                && form["refresh_token"] == REFRESH_TOKEN
        }
        _ => false,
    };
    if is_right {
        state.grant()
    } else {
        invalid_grant("Invalid JWT Signature.")
    }
}

/// As Google checks it.
fn is_valid(assertion: &str, audience: &str) -> bool {
    let key = PrivatePkcs8KeyDer::from_pem_slice(KEY_PEM.as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let claims = URL_SAFE_NO_PAD
        .decode(signed.split_once('.').unwrap().1)
        .unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let now = jiff::Timestamp::now().as_second();
    let (issued, end) = (
        claims["iat"].as_i64().unwrap(),
        claims["exp"].as_i64().unwrap(),
    );
    key.verify(signed.as_bytes(), &signature).is_ok()
        && claims["iss"] == EMAIL
        && claims["aud"].as_str().unwrap().ends_with(audience)
        && (now - 60..=now).contains(&issued)
        && end == issued + 3600
}

pub fn invalid_grant(words: &str) -> Response<Bytes> {
    json(
        400,
        &json!({"error": "invalid_grant", "error_description": words}),
    )
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ")
}

fn form(body: &Bytes) -> HashMap<String, String> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

async fn forward(
    client: &reqwest::Client,
    upstream: &str,
    request: Request<Bytes>,
) -> Response<Bytes> {
    let (mut parts, body) = request.into_parts();
    parts.uri = format!("{upstream}{}", parts.uri).parse().unwrap();
    parts.headers.remove(header::HOST);
    let request = Request::from_parts(parts, body).try_into().unwrap();
    let reply = client.execute(request).await.unwrap();
    let mut answer = Response::builder().status(reply.status());
    for (name, value) in reply.headers() {
        if !matches!(
            name.as_str(),
            "content-length" | "transfer-encoding" | "connection"
        ) {
            answer = answer.header(name, value);
        }
    }
    answer.body(reply.bytes().await.unwrap()).unwrap()
}
