//! Unpacked files: listed, loaded with their hash verified, saved under the hash of their stored bytes.

use std::borrow::Cow;

use backend::{BackendError, FileKind, Handle};
use bytes::Bytes;

use crate::compression;
use crate::id::Id;
use crate::repository::{LoadError, Repository, SaveError, blocking, chain};

/// The first byte of a compressed file; a plain one starts with `{` or `[`.
const COMPRESSED: u8 = 2;

/// Work on files from this size on moves off the asynchronous threads.
const BLOCKING_BYTES: usize = 64 << 10;

pub(super) async fn list(
    repository: &Repository,
    kind: FileKind,
) -> Result<Vec<(Id, u64)>, BackendError> {
    let mut files = Vec::new();
    for info in repository.backend().list(kind).await? {
        match info.name.parse() {
            Ok(id) => files.push((id, info.size_bytes)),
            Err(_) => {
                tracing::warn!(%kind, name = info.name, "a file in the repository has a name that is no id");
            }
        }
    }
    Ok(files)
}

pub(super) async fn load_unpacked(
    repository: &Repository,
    kind: FileKind,
    id: &Id,
) -> Result<Vec<u8>, LoadError> {
    let object = || format!("{kind} {}", id.short());
    let handle = Handle::new(kind, id.to_hex());
    let mut is_repeated = false;
    loop {
        let stored =
            repository
                .backend()
                .read(&handle)
                .await
                .map_err(|source| LoadError::Storage {
                    object: object(),
                    source,
                })?;
        let id = *id;
        let decoder = repository.clone();
        let result = if stored.len() < BLOCKING_BYTES {
            decode(&decoder, kind, &id, &stored)
        } else {
            blocking(move || decode(&decoder, kind, &id, &stored)).await
        };
        match result {
            Ok(content) => return Ok(content),
            Err(Undecodable::WrongHash) if !is_repeated => is_repeated = true,
            Err(undecodable) => {
                return Err(LoadError::Damaged {
                    object: object(),
                    reason: undecodable.into_reason(),
                });
            }
        }
    }
}

enum Undecodable {
    WrongHash,
    Reason(String),
}

impl Undecodable {
    fn into_reason(self) -> String {
        match self {
            Self::WrongHash => "its content does not fit its name".to_owned(),
            Self::Reason(reason) => reason,
        }
    }
}

fn decode(
    repository: &Repository,
    kind: FileKind,
    id: &Id,
    stored: &[u8],
) -> Result<Vec<u8>, Undecodable> {
    if Id::of(stored) != *id {
        return Err(Undecodable::WrongHash);
    }
    let plain = repository
        .key()
        .open(stored)
        .map_err(|error| Undecodable::Reason(chain(&error)))?;
    if !repository.config().has_compression() {
        return Ok(plain);
    }
    match plain.first() {
        None | Some(b'{' | b'[') => Ok(plain),
        Some(&COMPRESSED) => compression::decompress_within(&plain[1..], largest_content(kind))
            .map_err(|error| Undecodable::Reason(chain(&error))),
        Some(other) => Err(Undecodable::Reason(format!(
            "its first byte {other:#04x} names an unknown encoding"
        ))),
    }
}

/// The bytes that the content of a file may grow to when it is decompressed.
const fn largest_content(kind: FileKind) -> usize {
    match kind {
        FileKind::Config | FileKind::Key | FileKind::Lock => 1 << 20,
        FileKind::Snapshot => 256 << 20,
        FileKind::Index | FileKind::Pack => 1 << 30,
    }
}

pub(super) async fn save_unpacked(
    repository: &Repository,
    kind: FileKind,
    data: &[u8],
) -> Result<Id, SaveError> {
    let (id, stored) = if data.len() < BLOCKING_BYTES {
        encode(repository, data)
    } else {
        let encoder = repository.clone();
        let data = data.to_vec();
        blocking(move || encode(&encoder, &data)).await
    };
    write(repository, &Handle::new(kind, id.to_hex()), id, stored).await?;
    Ok(id)
}

fn encode(repository: &Repository, data: &[u8]) -> (Id, Bytes) {
    let content = if repository.config().has_compression() {
        let mut content = vec![COMPRESSED];
        compression::compress_to(repository.options().compression, data, &mut content);
        Cow::Owned(content)
    } else {
        Cow::Borrowed(data)
    };
    let stored = repository.key().seal(&content);
    (Id::of(&stored), Bytes::from(stored))
}

/// Stores a file under its hash. Whether one that lies there already is this one is for [`backend::Retry`] to say,
/// which compares every byte; here a taken name is a failure.
pub(crate) async fn write(
    repository: &Repository,
    handle: &Handle,
    id: Id,
    stored: Bytes,
) -> Result<(), SaveError> {
    let written = repository.backend().write(handle, stored).await;
    written.map_err(|source| SaveError {
        object: format!("{} {}", handle.kind(), id.short()),
        source: source.into(),
    })
}
