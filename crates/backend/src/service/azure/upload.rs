//! Storing an object: in one request, or in blocks when it is larger than one request should be. Never over one that
//! exists, and with a checksum that the service verifies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use md5::{Digest, Md5};
use percent_encoding::utf8_percent_encode;

use crate::http::HttpFailure;
use crate::service::azure::client::{Client, Draft, IN_QUERY};
use crate::{ErrorKind, Operation};

/// From here on a checksum would keep other tasks waiting.
const LARGE_BYTES: usize = 256 * 1024;

/// Sizes in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Larger objects are sent in blocks.
    pub single: usize,
    /// Of each block but the last.
    pub block: usize,
}

impl Sizes {
    /// As restic has them.
    pub const USUAL: Self = Self {
        single: 256 * 1024 * 1024,
        block: 100 * 1024 * 1024,
    };
}

/// Stores an object durably, in this tier or in the account's own.
pub(super) async fn upload(
    client: &Client,
    key: &str,
    tier: Option<&str>,
    (data, sizes): (Bytes, Sizes),
) -> Result<(), HttpFailure> {
    let checksum = checksum(data.clone()).await?;
    let mut draft = Draft::blob(Method::PUT, key).header("if-none-match", "*");
    if let Some(tier) = tier {
        draft = draft.header("x-ms-access-tier", tier);
    }
    draft = if data.len() <= sizes.single {
        draft
            .header("x-ms-blob-type", "BlockBlob")
            .header("content-type", "application/octet-stream")
            .header("content-md5", checksum)
            .body(data)
    } else {
        let list = blocks(client, key, data, sizes.block).await?;
        draft
            .query("comp=blocklist")
            .header("x-ms-blob-content-type", "application/octet-stream")
            .header("x-ms-blob-content-md5", checksum)
            .header("content-type", "application/xml")
            .header("content-md5", self::checksum(list.clone()).await?)
            .body(list)
    };
    client.send(Operation::Write, &draft).await.map(drop)
}

/// Sends the blocks; gives the list that makes an object of them.
async fn blocks(
    client: &Client,
    key: &str,
    mut data: Bytes,
    block_bytes: usize,
) -> Result<Bytes, HttpFailure> {
    // Another task that writes the same object must not mix its blocks with ours.
    let upload = format!("{:032x}", rand::random::<u128>());
    let mut list = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    let mut number = 0;
    while !data.is_empty() {
        let block = data.split_to(block_bytes.min(data.len()));
        let id = STANDARD.encode(format!("{upload}{number:08}"));
        let checksum = checksum(block.clone()).await?;
        let draft = Draft::blob(Method::PUT, key)
            .query(format!(
                "comp=block&blockid={}",
                utf8_percent_encode(&id, IN_QUERY)
            ))
            .header("content-md5", checksum)
            .body(block);
        client.send(Operation::Write, &draft).await?;
        list.push_str(&format!("<Latest>{id}</Latest>"));
        number += 1;
    }
    list.push_str("</BlockList>");
    Ok(list.into())
}

async fn checksum(data: Bytes) -> Result<String, HttpFailure> {
    let digest = |data: Bytes| STANDARD.encode(Md5::digest(&data));
    if data.len() < LARGE_BYTES {
        return Ok(digest(data));
    }
    let task = tokio::task::spawn_blocking(move || digest(data));
    task.await.map_err(|error| {
        HttpFailure::new(
            ErrorKind::Permanent,
            format!("the checksum could not be computed: {error}"),
        )
    })
}
