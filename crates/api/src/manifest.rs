//! Manifests read from text: YAML with positions, validated by the schema a cluster would have, every problem at
//! once. Reading files is left to the caller.

mod load;
mod object;
mod schema;
mod tree;
mod write;
mod yaml;

pub use load::{LoadOutcome, SourceDocument, load_manifests};
pub use object::{AnyObject, DEFAULT_NAMESPACE, Manifest, ObjectKey, Origin};
pub use write::to_yaml;

pub use crate::problem::{Problem, Severity};
