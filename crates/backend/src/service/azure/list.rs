//! Listings, page by page.

use http::Method;
use percent_encoding::utf8_percent_encode;
use quick_xml::de::from_reader;
use serde::Deserialize;

use crate::http::{HttpFailure, Reply};
use crate::service::azure::client::{Client, Draft, IN_QUERY};
use crate::service::azure::failure::without_mark;
use crate::service::keys::name_of;
use crate::{ErrorKind, FileInfo, FileKind, Operation};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Enumeration {
    blobs: Blobs,
    /// Empty on the last page, but never left out.
    next_marker: String,
}

#[derive(Deserialize)]
struct Blobs {
    #[serde(rename = "Blob", default)]
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: String,
    properties: Properties,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Content-Length")]
    content_length: u64,
}

/// All objects of a kind, whose keys begin with `prefix`; so many are asked for at once.
pub(super) async fn list(
    client: &Client,
    kind: FileKind,
    prefix: &str,
    page_size: usize,
) -> Result<Vec<FileInfo>, HttpFailure> {
    let mut infos = Vec::new();
    let mut marker = String::new();
    loop {
        let mut query = format!(
            "&comp=list&maxresults={page_size}&prefix={}",
            utf8_percent_encode(prefix, IN_QUERY)
        );
        if !marker.is_empty() {
            query.push_str(&format!(
                "&marker={}",
                utf8_percent_encode(&marker, IN_QUERY)
            ));
        }
        let draft = Draft::container(Method::GET, &query);
        let reply = client.send(Operation::List, &draft).await?;
        let (found, next) = page(&reply, kind, prefix)?;
        infos.extend(found);
        match next {
            None => return Ok(infos),
            Some(next) if next == marker => {
                return Err(HttpFailure::new(
                    ErrorKind::Temporary,
                    "the listing does not get on: a page is followed by itself",
                ));
            }
            Some(next) => marker = next,
        }
    }
}

/// The objects of this kind below the prefix, and where the next page begins.
pub(super) fn page(
    reply: &Reply,
    kind: FileKind,
    prefix: &str,
) -> Result<(Vec<FileInfo>, Option<String>), HttpFailure> {
    let fail = |reason| {
        HttpFailure::new(
            ErrorKind::Temporary,
            format!("this is not the listing that was asked for: {reason}"),
        )
    };
    let found: Enumeration =
        from_reader(without_mark(&reply.body)).map_err(|error| fail(error.to_string()))?;
    let mut infos = Vec::new();
    for blob in found.blobs.blobs {
        let rest = blob
            .name
            .strip_prefix(prefix)
            .ok_or_else(|| fail(format!("a name does not begin with `{prefix}`")))?;
        infos.extend(name_of(kind, rest).map(|name| FileInfo {
            name: name.to_owned(),
            size_bytes: blob.properties.content_length,
        }));
    }
    let next = Some(found.next_marker).filter(|marker| !marker.is_empty());
    Ok((infos, next))
}
