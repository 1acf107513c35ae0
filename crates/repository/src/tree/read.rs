//! Reading the JSON of trees. Missing fields have their defaults and unknown ones are skipped, as restic does;
//! negative and overflowing numbers are errors. Fields that are skipped may be nested as deep as they like:
//! `serde_json` skips without recursion.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::quote::unquote_name;
use super::{ExtendedAttribute, Node, NodeKind, Tree, unix_mode};
use crate::id::BlobId;
use crate::time::Time;

/// A blob that is not the JSON of a tree.
#[derive(Debug, thiserror::Error)]
pub enum ParseTreeError {
    /// Not JSON, or of other types than a tree has.
    #[error("not the JSON of a tree")]
    Json(#[source] serde_json::Error),
    /// JSON, but no object; serde would take an array for one.
    #[error("the JSON of a tree is no object")]
    NoObject,
    /// A name that is not quoted as names are.
    #[error("the node name `{0}` is not quoted as names are")]
    Name(String),
    /// Bytes that are not base64.
    #[error("{field} of node `{name}` is not base64")]
    Base64 {
        /// Which field.
        field: &'static str,
        /// The node, for people.
        name: String,
        /// Why.
        #[source]
        source: base64::DecodeError,
    },
}

#[derive(Deserialize)]
struct TreeJson<'a> {
    #[serde(borrow, default)]
    nodes: Option<Vec<NodeJson<'a>>>,
}

#[derive(Deserialize)]
struct NodeJson<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    mode: u32,
    mtime: Option<Time>,
    atime: Option<Time>,
    ctime: Option<Time>,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default)]
    user: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    device_id: u64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    links: u64,
    #[serde(default)]
    linktarget: String,
    #[serde(borrow)]
    linktarget_raw: Option<Cow<'a, str>>,
    #[serde(borrow)]
    extended_attributes: Option<Vec<AttributeJson<'a>>>,
    #[serde(borrow)]
    generic_attributes: Option<&'a RawValue>,
    #[serde(default)]
    device: u64,
    content: Option<Vec<BlobId>>,
    subtree: Option<BlobId>,
}

#[derive(Deserialize)]
struct AttributeJson<'a> {
    #[serde(default)]
    name: String,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
}

/// Reads a tree.
pub(super) fn tree(json: &[u8]) -> Result<Tree, ParseTreeError> {
    if json
        .trim_ascii_start()
        .first()
        .is_some_and(|&byte| byte != b'{')
    {
        return Err(ParseTreeError::NoObject);
    }
    let parsed: TreeJson<'_> = serde_json::from_slice(json).map_err(ParseTreeError::Json)?;
    let nodes = parsed
        .nodes
        .unwrap_or_default()
        .into_iter()
        .map(node)
        .collect::<Result<_, _>>()?;
    Ok(Tree { nodes })
}

fn node(json: NodeJson<'_>) -> Result<Node, ParseTreeError> {
    let name =
        unquote_name(&json.name).ok_or_else(|| ParseTreeError::Name(shortened(&json.name)))?;
    let decode = |field, text: &str| {
        let named = |source| ParseTreeError::Base64 {
            field,
            name: shortened(&json.name),
            source,
        };
        STANDARD.decode(text).map_err(named)
    };
    let link_target = match &json.linktarget_raw {
        Some(raw) => decode("linktarget_raw", raw)?,
        None => json.linktarget.into_bytes(),
    };
    let mut extended_attributes = Vec::new();
    for attribute in json.extended_attributes.unwrap_or_default() {
        let value = decode(
            "extended_attributes",
            attribute.value.as_deref().unwrap_or_default(),
        )?;
        extended_attributes.push(ExtendedAttribute {
            name: attribute.name,
            value,
        });
    }
    Ok(Node {
        name,
        kind: NodeKind::from_word(&json.kind),
        mode: unix_mode(json.mode),
        mtime: known(json.mtime),
        atime: known(json.atime),
        ctime: known(json.ctime),
        uid: json.uid,
        gid: json.gid,
        user: json.user,
        group: json.group,
        inode: json.inode,
        device_id: json.device_id,
        size: json.size,
        links: json.links,
        link_target,
        extended_attributes,
        generic_attributes: json
            .generic_attributes
            .map(RawValue::get)
            .filter(|text| *text != "{}")
            .map(str::to_owned),
        device: json.device,
        content: json.content,
        subtree: json.subtree,
    })
}

/// Go writes its zero time where there is none.
fn known(time: Option<Time>) -> Option<Time> {
    time.filter(|time| *time != Time::ZERO)
}

fn shortened(name: &str) -> String {
    name.chars().take(80).collect()
}
