//! Signatures of version 4, made by `reqsign`.

use bytes::Bytes;
use http::Request;
use reqsign_aws_v4::{Credential, RequestSigner};
use reqsign_core::{Context, SignRequest};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::credentials::Keys;
use crate::ErrorKind;
use crate::http::HttpFailure;

/// The hash that a signature covers, in hex.
pub(super) fn sha256(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}

/// Signs for a service in a region; the body is covered by its hash.
pub(super) async fn sign(
    request: Request<Bytes>,
    keys: &Keys,
    (service, region): (&str, &str),
    body_sha256: &str,
) -> Result<Request<Bytes>, HttpFailure> {
    let cannot_be_signed = |reason: String| {
        HttpFailure::new(
            ErrorKind::Permanent,
            format!("the request cannot be signed: {reason}"),
        )
    };
    let (mut parts, body) = request.into_parts();
    let hash = body_sha256
        .parse()
        .map_err(|_| cannot_be_signed("the hash of the body is malformed".to_owned()))?;
    parts.headers.insert("x-amz-content-sha256", hash);
    let credential = Credential {
        access_key_id: keys.id.clone(),
        secret_access_key: keys.secret.expose_secret().to_owned(),
        session_token: keys
            .token
            .as_ref()
            .map(|token| token.expose_secret().to_owned()),
        // Whether keys are still good is decided by their owner, and at last by the store.
        expires_in: None,
    };
    RequestSigner::new(service, region)
        .with_standard_session_token()
        .sign_request(&Context::new(), &mut parts, Some(&credential), None)
        .await
        // Only the kind is shown: a longer text might hold parts of the keys.
        .map_err(|error| cannot_be_signed(format!("{:?}", error.kind())))?;
    Ok(Request::from_parts(parts, body))
}
