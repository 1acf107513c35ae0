//! The bucket itself: whether it is there, making it, and what it can do.

use bytes::Bytes;
use http::{HeaderName, Method};

use super::S3Backend;
use super::address::DEFAULT_REGION;
use super::answer::{self, ErrorBody, ObjectLock, Page};
use super::client::Call;
use super::failure;
use crate::http::HttpFailure;
use crate::{BackendError, ErrorKind, Operation};

const NO_LOCK: &str = "ObjectLockConfigurationNotFoundError";

impl S3Backend {
    /// Makes the bucket unless it is there.
    pub(super) async fn make_bucket(&self) -> Result<(), HttpFailure> {
        match self.probe_bucket().await {
            Ok(()) => return Ok(()),
            // Keys that may not list may still be good for a bucket that is there; the first write will show.
            Err(failure) if failure.kind == ErrorKind::PermissionDenied => return Ok(()),
            Err(failure) if failure.kind == ErrorKind::PlaceNotFound => {}
            Err(failure) => return Err(failure),
        }
        let region = self.client.region();
        let is_elsewhere = region != DEFAULT_REGION;
        let failure = match self.put_bucket(is_elsewhere.then_some(&region)).await {
            Ok(()) => return Ok(()),
            // Other stores have names of their own for their places.
            Err((_, Some(code)))
                if !self.client.address.is_amazon()
                    && is_elsewhere
                    && matches!(
                        code.as_str(),
                        "InvalidLocationConstraint" | "InvalidArgument" | "InvalidRegion"
                    ) =>
            {
                match self.put_bucket(None).await {
                    Ok(()) => return Ok(()),
                    Err((failure, _)) => failure,
                }
            }
            Err((_, Some(code))) if code == "BucketAlreadyOwnedByYou" => return Ok(()),
            // Some stores say this of buckets of one's own, too.
            Err((_, Some(code)))
                if code == "BucketAlreadyExists" && self.probe_bucket().await.is_ok() =>
            {
                return Ok(());
            }
            Err((failure, _)) => failure,
        };
        Err(if failure.kind == ErrorKind::PermissionDenied {
            HttpFailure {
                source: Box::new(MayNotCreate(failure.source)),
                ..failure
            }
        } else {
            failure
        })
    }

    /// A listing of nearly nothing: unlike a HEAD request its refusal has words.
    async fn probe_bucket(&self) -> Result<(), HttpFailure> {
        let prefix = self.options.location.key("keys/");
        let query = [
            ("list-type", "2"),
            ("max-keys", "1"),
            ("prefix", prefix.as_str()),
        ];
        let query = if self.options.lists_version_1 {
            &query[1..]
        } else {
            &query[..]
        };
        let call = Call::on_bucket(Operation::Create, Method::GET, query);
        let reply = self.client.call(&call).await.map_err(|failure| {
            if failure.kind == ErrorKind::NotFound {
                HttpFailure {
                    kind: ErrorKind::PlaceNotFound,
                    ..failure
                }
            } else {
                failure
            }
        })?;
        answer::read::<Page>(&reply, &["ListBucketResult"]).map(|_| ())
    }

    /// The failure, and the service's code for it.
    async fn put_bucket(
        &self,
        region: Option<&String>,
    ) -> Result<(), (HttpFailure, Option<String>)> {
        let body = region.map_or_else(Bytes::new, |region| {
            // A region is checked to hold no letter with a meaning in XML.
            Bytes::from(format!(
                r#"<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"#
            ))
        });
        let mut headers = Vec::new();
        if self.options.retention.is_some() {
            headers.push((
                HeaderName::from_static("x-amz-bucket-object-lock-enabled"),
                "true".to_owned(),
            ));
        }
        let call = Call::on_bucket(Operation::Create, Method::PUT, &[]).with(headers, body);
        let (reply, said) = match self.client.exchange(&call).await {
            Ok(answer) => answer,
            Err(failure) => return Err((failure, None)),
        };
        if reply.status.is_success() && said.is_none() {
            return Ok(());
        }
        let failure = failure::refused(&self.client.http, &reply, said.as_ref());
        Err((failure, said.and_then(|said: ErrorBody| said.code)))
    }

    /// Whether objects of the bucket can be protected by a retention.
    pub async fn can_lock_objects(&self) -> Result<bool, BackendError> {
        let fail = |failure: HttpFailure| {
            failure.into_error(Operation::Stat, "object lock", self.options.to_string())
        };
        let call = Call::on_bucket(Operation::Stat, Method::GET, &[("object-lock", "")]);
        let (reply, said) = self.client.exchange(&call).await.map_err(fail)?;
        if reply.status.is_success() && said.is_none() {
            let lock: ObjectLock =
                answer::read(&reply, &["ObjectLockConfiguration"]).map_err(fail)?;
            return Ok(lock.object_lock_enabled.as_deref() == Some("Enabled"));
        }
        let code = said.as_ref().and_then(|said| said.code.as_deref());
        if matches!(code, Some(NO_LOCK | "NotImplemented")) {
            return Ok(false);
        }
        Err(fail(failure::refused(
            &self.client.http,
            &reply,
            said.as_ref(),
        )))
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the bucket does not exist and may not be made with these keys; make it by hand or allow s3:CreateBucket"
)]
struct MayNotCreate(#[source] Box<dyn std::error::Error + Send + Sync>);
