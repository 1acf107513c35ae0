//! The store as a second client sees it: signed requests for what our client never asks.

use backend::Variables;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use md5::{Digest, Md5};
use ring::hmac;
use sha2::Sha256;
use testkit::servers::Server;

use super::variables;

/// A request, and the parts of it that are signed.
pub struct Raw<'a> {
    pub service: &'a str,
    pub method: &'a str,
    /// With a slash at its begin.
    pub path: &'a str,
    /// Names with their values, in order.
    pub query: &'a [(&'a str, &'a str)],
    pub body: &'a str,
}

fn hmac_of(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// Sends a request as the owner of the store; gives status and body.
pub async fn send(server: &Server, raw: &Raw<'_>) -> (u16, String) {
    // The client of the tests speaks plain HTTP, but wants to know how TLS would be done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let host = server.http().strip_prefix("http://").unwrap();
    let region = server.has_value("region").unwrap_or("us-east-1");
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = &time[..8];
    let hash = hex::encode(Sha256::digest(raw.body));
    let pairs: Vec<String> = raw
        .query
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let query = pairs.join("&");
    let names = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!(
        "{}\n{}\n{query}\nhost:{host}\nx-amz-content-sha256:{hash}\nx-amz-date:{time}\n\n{names}\n{hash}",
        raw.method, raw.path
    );
    let scope = format!("{day}/{region}/{}/aws4_request", raw.service);
    let digest = hex::encode(Sha256::digest(&canonical));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
    let mut key = format!("AWS4{}", server.value("secret_access_key")).into_bytes();
    for part in [day, region, raw.service, "aws4_request"] {
        key = hmac_of(&key, part);
    }
    let signature = hex::encode(hmac_of(&key, &text));
    let id = server.value("access_key_id");
    let url = format!("{}{}?{query}", server.http(), raw.path);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let reply = client
        .request(raw.method.parse().unwrap(), url)
        .header("x-amz-content-sha256", &hash)
        .header("x-amz-date", &time)
        .header("content-md5", STANDARD.encode(Md5::digest(raw.body)))
        .header("content-type", "application/x-www-form-urlencoded")
        .header(
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
            ),
        )
        .body(raw.body.to_owned())
        .send()
        .await
        .unwrap();
    (reply.status().as_u16(), reply.text().await.unwrap())
}

/// Sends a request that must succeed.
pub async fn succeed(server: &Server, raw: &Raw<'_>) -> String {
    let (status, body) = send(server, raw).await;
    assert!((200..300).contains(&status), "{status}: {body}");
    body
}

/// Everything between the first such tags.
pub fn inner(text: &str, tag: &str) -> String {
    let open = format!("<{tag}>");
    let begin = text
        .find(&open)
        .unwrap_or_else(|| panic!("no {tag}: {text}"))
        + open.len();
    let end = begin + text[begin..].find(&format!("</{tag}>")).unwrap();
    text[begin..end].to_owned()
}

/// Temporary keys of the owner from the server's own token service: id, secret, token.
pub async fn temporary_keys(server: &Server) -> [String; 3] {
    let body = "Action=AssumeRole&Version=2011-06-15&DurationSeconds=900&RoleSessionName=test\
                &RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fbackup";
    let raw = Raw {
        service: "sts",
        method: "POST",
        path: "/",
        query: &[],
        body,
    };
    let answer = succeed(server, &raw).await;
    ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|tag| inner(&answer, tag))
}

/// Keys with a session token, as the environment has them.
pub fn with_token([id, secret, token]: &[String; 3]) -> Variables {
    variables(&[
        ("AWS_ACCESS_KEY_ID", id),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_SESSION_TOKEN", token),
    ])
}
