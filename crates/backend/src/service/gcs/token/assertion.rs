//! The signed statement by which a service account asks for a token. <https://google.aip.dev/auth/4112>

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::credentials::ServiceAccount;

/// The longest that the service accepts.
const LIFETIME_SECONDS: i64 = 3600;
/// Dated back, so that a clock that is a little fast does no harm.
const EARLIER_SECONDS: i64 = 10;

/// A JSON web token with RS256. `now` is in seconds since 1970.
pub(super) fn assertion(
    account: &ServiceAccount,
    scope: &str,
    now: i64,
) -> Result<SecretString, &'static str> {
    let issued = now - EARLIER_SECONDS;
    let mut header = json!({"alg": "RS256", "typ": "JWT"});
    if let Some(key_id) = &account.key_id {
        header["kid"] = key_id.as_str().into();
    }
    let claims = json!({
        "iss": account.email,
        "scope": scope,
        "aud": account.token_uri.as_str(),
        "iat": issued,
        "exp": issued + LIFETIME_SECONDS,
    });
    let mut text = URL_SAFE_NO_PAD.encode(header.to_string());
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut text);
    let key = key_pair(&account.private_key)?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .map_err(|_| "the private key cannot sign")?;
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    Ok(SecretString::from(text))
}

/// The reasons are left out: they could show a part of the key.
fn key_pair(pem: &SecretString) -> Result<RsaKeyPair, &'static str> {
    let key = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes())
        .map_err(|_| "the private key is not readable as PEM")?;
    match &key {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        _ => return Err("the private key is not one of RSA"),
    }
    .map_err(|_| "the private key is not a usable one of RSA")
}
