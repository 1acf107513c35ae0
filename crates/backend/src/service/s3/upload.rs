//! Writing an object: once, whole, under its conditions.

use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use md5::{Digest, Md5};
use secrecy::ExposeSecret;

use super::S3Backend;
use super::client::Call;
use super::options::{Retention, ServerEncryption};
use super::{failure, removal};
use crate::http::HttpFailure;
use crate::{ErrorKind, FileKind, Handle, Operation};

impl S3Backend {
    pub(super) async fn put(&self, handle: &Handle, data: Bytes) -> Result<(), HttpFailure> {
        let key = self.key(handle);
        let mut headers = self.encryption_of_writes();
        headers.push((header::CONTENT_TYPE, "application/octet-stream".to_owned()));
        if !handle.is_metadata()
            && let Some(class) = &self.options.storage_class
        {
            headers.push((
                HeaderName::from_static("x-amz-storage-class"),
                class.clone(),
            ));
        }
        // Locks are removed minutes after they were written.
        if handle.kind() != FileKind::Lock
            && let Some(retention) = self.options.retention
        {
            headers.extend(self::retention(retention, Timestamp::now())?);
            headers.push((HeaderName::from_static("content-md5"), md5_of(&data).await?));
        }
        if !self.lacks_conditions.load(Ordering::Relaxed) {
            let mut conditional = headers.clone();
            conditional.push((header::IF_NONE_MATCH, "*".to_owned()));
            match self.put_with(&key, conditional, data.clone()).await? {
                Answer::Written => return Ok(()),
                Answer::NotImplemented => {}
            }
        }
        match self.put_with(&key, headers, data).await? {
            Answer::Written => {
                // Only now it is sure that it was the condition that the store did not know.
                if !self.lacks_conditions.swap(true, Ordering::Relaxed) {
                    tracing::debug!("the store cannot write an object only if it is absent");
                }
                Ok(())
            }
            Answer::NotImplemented => Err(HttpFailure::new(
                ErrorKind::Permanent,
                "the store says that it cannot write objects in this way (NotImplemented)",
            )),
        }
    }

    async fn put_with(
        &self,
        key: &str,
        headers: Vec<(HeaderName, String)>,
        data: Bytes,
    ) -> Result<Answer, HttpFailure> {
        let call = Call::on_object(Operation::Write, Method::PUT, key).with(headers, data);
        let (reply, said) = self.client.exchange(&call).await?;
        if reply.status.is_success() && said.is_none() {
            // Every store tells the new object's tag; without one somebody else has answered.
            return if reply.headers.contains_key(header::ETAG) {
                Ok(Answer::Written)
            } else {
                Err(HttpFailure::new(
                    ErrorKind::Temporary,
                    "the answer to the upload is not one of S3",
                ))
            };
        }
        let code = said.as_ref().and_then(|said| said.code.as_deref());
        if reply.status == StatusCode::NOT_IMPLEMENTED || code == Some("NotImplemented") {
            return Ok(Answer::NotImplemented);
        }
        let mut failure = failure::refused(&self.client.http, &reply, said.as_ref());
        if failure.kind == ErrorKind::NotFound {
            // Only the bucket can be missing when an object is written.
            failure.kind = ErrorKind::PlaceNotFound;
        }
        Err(failure)
    }

    fn encryption_of_writes(&self) -> Vec<(HeaderName, String)> {
        let header = |name, value: &str| (HeaderName::from_static(name), value.to_owned());
        match &self.options.encryption {
            ServerEncryption::BucketDefault => Vec::new(),
            ServerEncryption::StoreKeys => vec![header("x-amz-server-side-encryption", "AES256")],
            ServerEncryption::Kms(key) => {
                let mut headers = vec![header("x-amz-server-side-encryption", "aws:kms")];
                headers.extend(
                    key.iter()
                        .map(|key| header("x-amz-server-side-encryption-aws-kms-key-id", key)),
                );
                headers
            }
            ServerEncryption::CustomerKey(_) => self.customer_key(),
        }
    }

    /// What goes along with every request for an object that is encrypted with a key of ours.
    pub(super) fn customer_key(&self) -> Vec<(HeaderName, String)> {
        let ServerEncryption::CustomerKey(key) = &self.options.encryption else {
            return Vec::new();
        };
        let bytes = STANDARD.decode(key.expose_secret()).unwrap_or_default();
        let header = |name, value: String| (HeaderName::from_static(name), value);
        vec![
            header(
                "x-amz-server-side-encryption-customer-algorithm",
                "AES256".to_owned(),
            ),
            header(
                "x-amz-server-side-encryption-customer-key",
                key.expose_secret().to_owned(),
            ),
            header(
                "x-amz-server-side-encryption-customer-key-md5",
                STANDARD.encode(Md5::digest(&bytes)),
            ),
        ]
    }
}

enum Answer {
    Written,
    NotImplemented,
}

fn retention(
    retention: Retention,
    now: Timestamp,
) -> Result<[(HeaderName, String); 2], HttpFailure> {
    let time = SignedDuration::from_hours(24 * i64::from(retention.days));
    let until = now
        .checked_add(time)
        .map_err(|_| HttpFailure::new(ErrorKind::Permanent, "the retention is too long"))?;
    Ok([
        (
            HeaderName::from_static("x-amz-object-lock-mode"),
            retention.mode.word().to_owned(),
        ),
        (
            HeaderName::from_static("x-amz-object-lock-retain-until-date"),
            until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ),
    ])
}

async fn md5_of(data: &Bytes) -> Result<String, HttpFailure> {
    let data = data.clone();
    tokio::task::spawn_blocking(move || removal::md5(&data))
        .await
        .map_err(|_| {
            HttpFailure::new(
                ErrorKind::Temporary,
                "the program ends while a request is prepared",
            )
        })
}
