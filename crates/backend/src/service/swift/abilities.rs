//! What a cluster can do and where its limits are, as it says itself.
//!
//! <https://docs.openstack.org/api-ref/object-store/#list-activated-capabilities>

use bytes::Bytes;
use http::{Request, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::Operation;
use crate::service::swift::SwiftBackend;

/// The largest object of a cluster as it is delivered: 5 GiB and 2 bytes.
const USUAL_MAX_FILE_SIZE: u64 = 5_368_709_122;
/// The most segments of one object, as delivered.
const USUAL_MAX_SEGMENTS: u64 = 1000;
/// The most objects that are removed by one request, as delivered.
const USUAL_MAX_DELETES: usize = 10_000;

/// What a cluster takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Bytes of the largest object that is sent as a whole.
    pub object_bytes: u64,
    /// Most segments of a large object; nothing where there are no such objects.
    pub segments: Option<u64>,
    /// Most objects removed by one request; nothing where each takes one.
    pub deletes: Option<usize>,
}

impl Default for Abilities {
    /// Where a cluster does not tell: what it can as it is delivered. If it cannot, its answer says so.
    fn default() -> Self {
        Self {
            object_bytes: USUAL_MAX_FILE_SIZE,
            segments: Some(USUAL_MAX_SEGMENTS),
            deletes: Some(USUAL_MAX_DELETES),
        }
    }
}

#[derive(Deserialize)]
struct Info {
    swift: Value,
    slo: Option<Value>,
    bulk_delete: Option<Value>,
}

impl Abilities {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let info: Info = serde_json::from_slice(text).ok()?;
        let number = |part: &Value, name: &str, usual: u64| part[name].as_u64().unwrap_or(usual);
        Some(Self {
            object_bytes: number(&info.swift, "max_file_size", USUAL_MAX_FILE_SIZE).max(1),
            segments: info
                .slo
                .map(|slo| number(&slo, "max_manifest_segments", USUAL_MAX_SEGMENTS)),
            deletes: info.bulk_delete.map(|bulk| {
                let most = bulk["max_deletes_per_request"].as_u64();
                most.and_then(|most| usize::try_from(most).ok())
                    .unwrap_or(USUAL_MAX_DELETES)
                    .max(1)
            }),
        })
    }
}

impl SwiftBackend {
    /// Asked once. A cluster may keep it to itself, and one that does not answer is asked again the next time.
    pub(super) async fn abilities(&self, operation: Operation) -> Abilities {
        if let Some(known) = self.abilities.get() {
            return *known;
        }
        let Ok(access) = self.session.access(&self.http, &self.options, None).await else {
            return Abilities::default();
        };
        let request =
            info_url(&access.storage_url).and_then(|url| Request::get(url).body(Bytes::new()).ok());
        let Some(request) = request else {
            return Abilities::default();
        };
        let found = match self.http.send(operation, request).await {
            Ok(reply) if reply.status == StatusCode::OK => {
                Abilities::parse(&reply.body).unwrap_or_default()
            }
            Ok(reply) if reply.status.is_client_error() => Abilities::default(),
            _ => return Abilities::default(),
        };
        *self.abilities.get_or_init(|| found)
    }
}

/// `/info` is beside the version that the path of the account's address has.
fn info_url(storage_url: &str) -> Option<String> {
    let mut url = Url::parse(storage_url).ok()?;
    let kept: Vec<String> = url
        .path_segments()?
        .take_while(|part| !matches!(*part, "v1" | "v1.0"))
        .chain(["info"])
        .map(str::to_owned)
        .collect();
    url.set_path(&kept.join("/"));
    Some(url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_tells_its_limits_and_what_it_lacks() {
        let text = br#"{"swift": {"max_file_size": 10}, "slo": {"max_manifest_segments": 3},
            "bulk_delete": {"max_deletes_per_request": 7}}"#;
        let abilities = Abilities::parse(text).unwrap();
        assert_eq!(abilities.object_bytes, 10);
        assert_eq!(abilities.segments, Some(3));
        assert_eq!(abilities.deletes, Some(7));
        let poor = Abilities::parse(br#"{"swift": {}}"#).unwrap();
        assert_eq!(poor.object_bytes, USUAL_MAX_FILE_SIZE);
        assert_eq!((poor.segments, poor.deletes), (None, None));
        assert_eq!(Abilities::parse(b"<html>"), None);
    }

    #[test]
    fn the_limits_are_asked_for_beside_the_version() {
        for (storage, info) in [
            ("http://h:1/v1/AUTH_x", "http://h:1/info"),
            ("https://v1.h/swift/v1", "https://v1.h/swift/info"),
        ] {
            assert_eq!(info_url(storage).as_deref(), Some(info));
        }
    }
}
