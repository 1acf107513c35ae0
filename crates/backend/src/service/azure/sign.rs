//! The signature of a request with a key of the account.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use percent_encoding::percent_decode_str;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

/// The value of the header `Authorization`; the key is base64.
pub(super) fn shared_key(account: &str, key: &SecretString, request: &Request<Bytes>) -> String {
    let key = STANDARD.decode(key.expose_secret()).unwrap_or_default();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signature = hmac::sign(&key, text_to_sign(account, request).as_bytes());
    format!("SharedKey {account}:{}", STANDARD.encode(signature))
}

/// Everything the signature vouches for, in the order of the service.
pub(super) fn text_to_sign(account: &str, request: &Request<Bytes>) -> String {
    let headers = request.headers();
    let length = match request.body().len() {
        0 => String::new(),
        length => length.to_string(),
    };
    let lines = [
        request.method().as_str(),
        value(headers, header::CONTENT_ENCODING),
        value(headers, header::CONTENT_LANGUAGE),
        &length,
        value(headers, "content-md5"),
        value(headers, header::CONTENT_TYPE),
        // The date is in `x-ms-date`.
        "",
        value(headers, header::IF_MODIFIED_SINCE),
        value(headers, header::IF_MATCH),
        value(headers, header::IF_NONE_MATCH),
        value(headers, header::IF_UNMODIFIED_SINCE),
        value(headers, header::RANGE),
    ];
    let mut text = lines.join("\n");
    text.push('\n');
    let mut own: Vec<(&str, &str)> = headers
        .keys()
        .map(|name| (name.as_str(), value(headers, name)))
        .filter(|(name, _)| name.starts_with("x-ms-"))
        .collect();
    own.sort_unstable();
    for (name, value) in own {
        text.push_str(&format!("{name}:{value}\n"));
    }
    text.push_str(&format!("/{account}{}", request.uri().path()));
    for (name, value) in parameters(request.uri().query().unwrap_or_default()) {
        text.push_str(&format!("\n{name}:{value}"));
    }
    text
}

fn value<N: header::AsHeaderName>(headers: &HeaderMap, name: N) -> &str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .trim()
}

fn parameters(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut parameters: Vec<(String, String)> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name).to_lowercase(), decode(value)))
        .collect();
    parameters.sort_unstable();
    parameters
}
