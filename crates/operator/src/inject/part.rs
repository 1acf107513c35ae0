//! One container of ours with its volumes, checked against the workload it goes into, and the digest of it all.

use kube_core::{Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use session::labels;
use sha2::{Digest, Sha256};

use api::v1alpha1::Repository;

use crate::inject::{InjectError, check};
use crate::pod_parts::{AgentParts, Place};

/// How many bytes of the digest are written: enough to tell settings apart.
const DIGEST_BYTES: usize = 8;

/// The object for which a container is in a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoker {
    /// `BackupConfiguration` or `RestoreSession`.
    pub kind: String,
    /// Its namespace.
    #[serde(default)]
    pub namespace: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
}

impl Invoker {
    /// Names an object.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self {
            kind: K::kind(&()).into_owned(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }
}

/// A container of ours with everything that goes into a workload for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub(super) place: Place,
    pub(super) invoker: Invoker,
    pub(super) container: Value,
    pub(super) volumes: Vec<Value>,
    pub(super) digest: String,
}

impl Place {
    /// The name of our container there.
    pub const fn container_name(self) -> &'static str {
        match self {
            Self::Beside => "stash",
            Self::Before => "stash-init",
        }
    }

    /// The list of a Pod's specification that it stands in.
    pub(super) const fn list(self) -> &'static str {
        match self {
            Self::Beside => "containers",
            Self::Before => "initContainers",
        }
    }

    /// Annotations: on the workload who it is for and of what kind that is, on the template the digest.
    pub(super) const fn annotations(self) -> [&'static str; 3] {
        match self {
            Self::Beside => [
                labels::BACKUP_INVOKER,
                labels::BACKUP_INVOKER_KIND,
                labels::BACKUP_INVOKER_HASH,
            ],
            Self::Before => [
                labels::RESTORE_INVOKER,
                labels::RESTORE_INVOKER_KIND,
                labels::RESTORE_INVOKER_HASH,
            ],
        }
    }
}

/// Puts a part together for a workload, or says why it does not fit in.
pub(super) fn build(
    workload: &Value,
    invoker: Invoker,
    parts: &AgentParts<'_>,
    repository: &Repository,
) -> Result<Part, InjectError> {
    let name = parts.place.container_name();
    check::check(workload, parts, repository)?;
    let encode = |source| InjectError::Encode {
        container: name,
        source,
    };
    let container = serde_json::to_value(parts.container(name)).map_err(encode)?;
    let volumes = parts
        .volumes()
        .map_err(|source| InjectError::Backend {
            repository: repository.name_any(),
            source,
        })?
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<Vec<_>, _>>()
        .map_err(encode)?;
    let digest = digest(&container, &volumes);
    Ok(Part {
        place: parts.place,
        invoker,
        container,
        volumes,
        digest,
    })
}

/// A digest over exactly what goes into the template, so that nothing else ever restarts Pods.
fn digest(container: &Value, volumes: &[Value]) -> String {
    let text = json!({ "container": container, "volumes": volumes }).to_string();
    let digest = Sha256::digest(text.as_bytes());
    hex::encode(&digest[..DIGEST_BYTES])
}
