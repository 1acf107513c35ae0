//! Objects read from manifests, and where they came from.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::problem::Problem;
use crate::v1alpha1::Repository;
use crate::v1beta1::{BackupConfiguration, BackupSession, RestoreSession};

/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// An object of a manifest, with the schema's defaults filled in and its namespace set.
#[derive(Clone, PartialEq)]
pub enum AnyObject {
    /// Passwords and keys.
    Secret(Box<Secret>),
    /// Where snapshots are kept.
    Repository(Box<Repository>),
    /// What is backed up, and when.
    BackupConfiguration(Box<BackupConfiguration>),
    /// One run of a backup.
    BackupSession(Box<BackupSession>),
    /// One restore.
    RestoreSession(Box<RestoreSession>),
}

impl AnyObject {
    /// The kinds of this enum.
    pub const KINDS: [&'static str; 5] = [
        "Secret",
        "Repository",
        "BackupConfiguration",
        "BackupSession",
        "RestoreSession",
    ];

    /// The kind as manifests spell it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Secret(_) => "Secret",
            Self::Repository(_) => "Repository",
            Self::BackupConfiguration(_) => "BackupConfiguration",
            Self::BackupSession(_) => "BackupSession",
            Self::RestoreSession(_) => "RestoreSession",
        }
    }

    /// Name, namespace, labels and so on.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Secret(object) => &object.metadata,
            Self::Repository(object) => &object.metadata,
            Self::BackupConfiguration(object) => &object.metadata,
            Self::BackupSession(object) => &object.metadata,
            Self::RestoreSession(object) => &object.metadata,
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// The namespace; `default` when the manifest names none.
    pub fn namespace(&self) -> &str {
        self.metadata()
            .namespace
            .as_deref()
            .unwrap_or(DEFAULT_NAMESPACE)
    }

    /// What identifies the object in a set.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.kind(), self.namespace(), self.name())
    }

    /// The object as JSON. For a Secret this holds its values.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        match self {
            Self::Secret(object) => serde_json::to_value(object),
            Self::Repository(object) => serde_json::to_value(object),
            Self::BackupConfiguration(object) => serde_json::to_value(object),
            Self::BackupSession(object) => serde_json::to_value(object),
            Self::RestoreSession(object) => serde_json::to_value(object),
        }
    }

    /// The object of that kind that a JSON value holds.
    pub(super) fn from_json(kind: &str, value: Value) -> Option<Result<Self, serde_json::Error>> {
        fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<Box<T>, serde_json::Error> {
            serde_json::from_value(value).map(Box::new)
        }
        Some(match kind {
            "Secret" => read(value).map(Self::Secret),
            "Repository" => read(value).map(Self::Repository),
            "BackupConfiguration" => read(value).map(Self::BackupConfiguration),
            "BackupSession" => read(value).map(Self::BackupSession),
            "RestoreSession" => read(value).map(Self::RestoreSession),
            _ => return None,
        })
    }
}

impl fmt::Debug for AnyObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.key())
    }
}

/// Kind, namespace and name: what identifies an object in a set of manifests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Kind as manifests spell it.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// The key of that object.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ObjectKey {
    /// `Kind/name`, with the namespace when it is not the default one.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace == DEFAULT_NAMESPACE {
            write!(formatter, "{}/{}", self.kind, self.name)
        } else {
            write!(formatter, "{}/{}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Where an object came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Name of the file, as the caller gave it.
    pub file: String,
    /// Which document of the file, from 1.
    pub document: usize,
    /// Line on which the object begins, from 1.
    pub line: usize,
}

/// Line and column, from 1.
pub(super) type Position = (usize, usize);

/// An object with its origin.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The object.
    pub object: AnyObject,
    /// Where it came from.
    pub origin: Origin,
    /// Where each field stands, by its path.
    pub(super) positions: BTreeMap<String, Position>,
}

impl Manifest {
    /// Fills in file, document, line, column and object of a problem that a rule found in this object.
    #[must_use]
    pub fn locate(&self, mut problem: Problem) -> Problem {
        problem.object = self.object.key().to_string();
        place(&mut problem, &self.origin, &self.positions);
        problem
    }
}

/// Fills in the place of a problem: that of its field, or of the nearest field around it.
pub(super) fn place(
    problem: &mut Problem,
    origin: &Origin,
    positions: &BTreeMap<String, Position>,
) {
    problem.file.clone_from(&origin.file);
    problem.document = origin.document;
    (problem.line, problem.column) =
        position_of(&problem.path, positions).unwrap_or((origin.line, 0));
}

fn position_of(path: &str, positions: &BTreeMap<String, Position>) -> Option<Position> {
    let mut path = path;
    loop {
        if let Some(position) = positions.get(path) {
            return Some(*position);
        }
        // `stringData.X` is spoken of as `data.X`, as the cluster stores it.
        if let Some(position) = path
            .strip_prefix("data.")
            .and_then(|key| positions.get(&format!("stringData.{key}")))
        {
            return Some(*position);
        }
        path = &path[..path.rfind(['.', '['])?];
    }
}
