//! Managing the passwords of a repository: key files are listed, added, changed and removed.
//!
//! What a key file is belongs to [`crate::key`]. Adding needs a shared lock, changing and removing an
//! exclusive one; taking it is left to callers.

use backend::{BackendError, FileKind, Handle};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use secrecy::SecretString;

use crate::id::{Id, KeyId};
use crate::key::{KeyError, KeyFile, ScryptParams};
use crate::repository::{Repository, blocking};

/// Who adds a key, and at what cost it is to be guessed.
#[derive(Debug, Clone, Default)]
pub struct KeyOptions {
    /// The user's name, for the list of keys.
    pub username: String,
    /// The machine's name, for the list of keys.
    pub hostname: String,
    /// Fixed scrypt parameters instead of calibrated ones.
    pub scrypt: Option<ScryptParams>,
}

/// One key of a repository.
#[derive(Debug)]
pub struct KeyInfo {
    /// Its id.
    pub id: KeyId,
    /// Whether it is the one that opened the repository.
    pub is_current: bool,
    /// Its file; an error when that is damaged.
    pub file: Result<KeyFile, KeyError>,
}

/// Why keys cannot be listed or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The keys cannot be listed.
    #[error("cannot list the keys")]
    List(#[source] BackendError),
    /// A key file cannot be read, written or removed.
    #[error("cannot {action} key {key}")]
    Storage {
        /// `read`, `write` or `remove`.
        action: &'static str,
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: BackendError,
    },
    /// The new key cannot be made.
    #[error("cannot make a new key")]
    Create(#[source] KeyError),
    /// The new key does not open the repository; it has been removed again and nothing else was changed.
    #[error("the new key {key} does not open the repository and was removed again")]
    Unusable {
        /// The key.
        key: String,
        /// Why, where the file says.
        #[source]
        source: Option<KeyError>,
    },
    /// The key that opened the repository.
    #[error("refusing to remove key {key}, which is the one in use to access the repository")]
    InUse {
        /// The key.
        key: String,
    },
    /// No key has an id that begins so.
    #[error("no key matches `{reference}`")]
    NoMatch {
        /// What was looked for.
        reference: String,
    },
    /// Several keys have ids that begin so.
    #[error("`{reference}` is ambiguous: {count} keys match")]
    Ambiguous {
        /// What was looked for.
        reference: String,
        /// How many match.
        count: usize,
    },
}

/// All keys, in the order of their ids. A damaged one is listed with its error.
pub async fn list(repository: &Repository) -> Result<Vec<KeyInfo>, KeysError> {
    let reads = ids(repository).await?.into_iter().map(|id| async move {
        let json = read(repository, id).await?;
        Ok(KeyInfo {
            id,
            is_current: id == repository.key_id(),
            file: KeyFile::parse(&json),
        })
    });
    let connections = repository.backend().connections().max(1);
    stream::iter(reads)
        .buffered(connections)
        .try_collect()
        .await
}

/// Adds a password and returns its key, after it was seen to open the repository.
pub async fn add(
    repository: &Repository,
    password: &SecretString,
    options: &KeyOptions,
    now: Timestamp,
) -> Result<KeyId, KeysError> {
    let (master, secret, options) = (repository.key().clone(), password.clone(), options.clone());
    let file = blocking(move || {
        let params = options.scrypt.unwrap_or_else(ScryptParams::calibrate);
        KeyFile::create(
            &master,
            &secret,
            params,
            (&options.username, &options.hostname),
            now,
        )
    })
    .await
    .map_err(KeysError::Create)?;
    let json = file.to_json();
    let id = KeyId(Id::of(&json));
    repository
        .backend()
        .write(&handle(id), Bytes::from(json))
        .await
        .map_err(|source| KeysError::Storage {
            action: "write",
            key: id.short(),
            source,
        })?;
    if let Err(error) = verify(repository, id, password).await {
        remove_file(repository, id).await?;
        return Err(error);
    }
    Ok(id)
}

/// Replaces the password that opened the repository and returns the new key. The old key goes only after the
/// new one was seen to open the repository.
pub async fn change_password(
    repository: &Repository,
    password: &SecretString,
    options: &KeyOptions,
    now: Timestamp,
) -> Result<KeyId, KeysError> {
    let id = add(repository, password, options, now).await?;
    remove_file(repository, repository.key_id()).await?;
    Ok(id)
}

/// Removes the key whose id is or begins with this, unless it is the one in use.
pub async fn remove(repository: &Repository, reference: &str) -> Result<KeyId, KeysError> {
    let mut matching = ids(repository).await?;
    matching.retain(|id| id.to_hex().starts_with(reference));
    let id = match matching.as_slice() {
        [] => {
            return Err(KeysError::NoMatch {
                reference: reference.to_owned(),
            });
        }
        [id] => *id,
        more => {
            return Err(KeysError::Ambiguous {
                reference: reference.to_owned(),
                count: more.len(),
            });
        }
    };
    if id == repository.key_id() {
        return Err(KeysError::InUse { key: id.short() });
    }
    remove_file(repository, id).await?;
    Ok(id)
}

/// Reads a new key back and opens it.
async fn verify(
    repository: &Repository,
    id: KeyId,
    password: &SecretString,
) -> Result<(), KeysError> {
    let json = read(repository, id).await?;
    let password = password.clone();
    let opened = blocking(move || KeyFile::parse(&json)?.unlock(&password)).await;
    match opened {
        Ok(master) if master == *repository.key() => Ok(()),
        Ok(_) => Err(KeysError::Unusable {
            key: id.short(),
            source: None,
        }),
        Err(error) => Err(KeysError::Unusable {
            key: id.short(),
            source: Some(error),
        }),
    }
}

async fn ids(repository: &Repository) -> Result<Vec<KeyId>, KeysError> {
    let files = repository
        .list(FileKind::Key)
        .await
        .map_err(KeysError::List)?;
    let mut ids: Vec<_> = files.into_iter().map(|(id, _)| KeyId(id)).collect();
    ids.sort_unstable();
    Ok(ids)
}

async fn read(repository: &Repository, id: KeyId) -> Result<Bytes, KeysError> {
    let read = repository.backend().read(&handle(id)).await;
    read.map_err(|source| KeysError::Storage {
        action: "read",
        key: id.short(),
        source,
    })
}

async fn remove_file(repository: &Repository, id: KeyId) -> Result<(), KeysError> {
    let removed = repository.backend().remove(&handle(id)).await;
    removed.map_err(|source| KeysError::Storage {
        action: "remove",
        key: id.short(),
        source,
    })
}

fn handle(id: KeyId) -> Handle {
    Handle::new(FileKind::Key, id.to_hex())
}
