//! Opening: which key file gives the master key, and what the config says. Creating, which never overwrites.

use std::sync::Arc;

use backend::{Backend, BackendError, ErrorKind, FileKind, Handle};
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::config::{Config, MAX_CONFIG_BYTES};
use crate::crypto::MasterKey;
use crate::id::{Id, KeyId};
use crate::key::{KeyError, KeyFile, MAX_KEY_FILE_BYTES, ScryptParams};
use crate::polynomial::Polynomial;
use crate::repository::{CreateOptions, Inner, OpenError, OpenOptions, Repository, blocking};

/// The limits of the pack size, which are restic's.
const PACK_BYTES: std::ops::RangeInclusive<u32> = 4 << 20..=128 << 20;

/// A config or key file that cannot be what its place says.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it is empty")]
    Empty,
    #[error("its size of {bytes} bytes is beyond the limit of {limit} bytes")]
    TooLong { bytes: u64, limit: usize },
    #[error("its content does not fit its name")]
    WrongHash,
}

pub(super) async fn open(
    backend: Arc<dyn Backend>,
    password: &SecretString,
    options: &OpenOptions,
) -> Result<Repository, OpenError> {
    let location = backend.location();
    let place = Place { backend, location };
    let stored_config = place.read_config().await?;
    let (key, key_id) = place
        .find_key(password, options.key_hint.as_deref())
        .await?;
    let json = key
        .open(&stored_config)
        .map_err(|error| place.damaged_config(error))?;
    let config = Config::parse(&json).map_err(|error| place.damaged_config(error))?;
    Ok(repository(
        place.backend,
        config,
        key,
        key_id,
        options.clone(),
    ))
}

pub(super) async fn create(
    backend: Arc<dyn Backend>,
    password: &SecretString,
    options: &CreateOptions,
) -> Result<Repository, OpenError> {
    let location = backend.location();
    let place = Place { backend, location };
    place.require_empty().await?;
    let config = new_config(options).map_err(|error| place.damaged_config(error))?;
    let key = MasterKey::random();
    let stored_config = key.seal(&config.to_json());
    let key_file = place.new_key_file(&key, password, options.scrypt).await?;

    place
        .backend
        .create()
        .await
        .map_err(|source| place.storage(source))?;
    // Somebody else may have been at the same work while the key was derived.
    place.require_empty().await?;
    let key_json = key_file.to_json();
    let key_id = KeyId(Id::of(&key_json));
    let key_handle = Handle::new(FileKind::Key, key_id.to_hex());
    place
        .backend
        .write(&key_handle, Bytes::from(key_json))
        .await
        .map_err(|source| place.storage(source))?;
    // The config comes last: it alone says that there is a repository.
    match place
        .backend
        .write(&Handle::config(), Bytes::from(stored_config))
        .await
    {
        Ok(()) => {}
        Err(error) if error.kind == ErrorKind::AlreadyExists => {
            // The key just written belongs to nothing.
            place
                .backend
                .remove(&key_handle)
                .await
                .map_err(|source| place.storage(source))?;
            return Err(OpenError::Exists {
                location: place.location,
            });
        }
        Err(source) => return Err(place.storage(source)),
    }
    let opened = OpenOptions {
        compression: options.compression,
        ..OpenOptions::default()
    };
    Ok(repository(place.backend, config, key, key_id, opened))
}

fn repository(
    backend: Arc<dyn Backend>,
    config: Config,
    key: MasterKey,
    key_id: KeyId,
    mut options: OpenOptions,
) -> Repository {
    options.pack_size_bytes = options
        .pack_size_bytes
        .map(|bytes| bytes.clamp(*PACK_BYTES.start(), *PACK_BYTES.end()));
    Repository {
        inner: Arc::new(Inner {
            backend,
            config,
            key,
            key_id,
            options,
        }),
    }
}

fn new_config(options: &CreateOptions) -> Result<Config, crate::config::ConfigError> {
    let version = options.version.unwrap_or(2);
    let mut rng = rand::rng();
    match options.chunker_polynomial {
        Some(polynomial) => {
            Config::create_with_polynomial(version, Polynomial(polynomial), &mut rng)
        }
        None => Config::create(version, &mut rng),
    }
}

struct Place {
    backend: Arc<dyn Backend>,
    location: String,
}

impl Place {
    fn storage(&self, source: BackendError) -> OpenError {
        OpenError::Storage {
            location: self.location.clone(),
            source,
        }
    }

    fn damaged_config(&self, source: impl std::error::Error + Send + Sync + 'static) -> OpenError {
        OpenError::DamagedConfig {
            location: self.location.clone(),
            source: Box::new(source),
        }
    }

    async fn require_empty(&self) -> Result<(), OpenError> {
        let exists = Repository::exists(&*self.backend)
            .await
            .map_err(|source| self.storage(source))?;
        // Keys without a config are what is left of a repository whose config was lost.
        let keys = match self.backend.list(FileKind::Key).await {
            Ok(keys) => keys,
            // The place itself is yet to be made.
            Err(error) if error.is_not_found() => Vec::new(),
            Err(source) => return Err(self.storage(source)),
        };
        if exists || !keys.is_empty() {
            return Err(OpenError::Exists {
                location: self.location.clone(),
            });
        }
        Ok(())
    }

    async fn read_config(&self) -> Result<Bytes, OpenError> {
        let handle = Handle::config();
        let info = match self.backend.stat(&handle).await {
            Ok(info) => info,
            Err(error) if error.is_not_found() => {
                return Err(OpenError::NoRepository {
                    location: self.location.clone(),
                });
            }
            Err(source) => return Err(self.storage(source)),
        };
        check_size(info.size_bytes, MAX_CONFIG_BYTES)
            .map_err(|error| self.damaged_config(error))?;
        self.backend
            .read(&handle)
            .await
            .map_err(|source| self.storage(source))
    }

    /// The master key from the first key file that opens with this password.
    async fn find_key(
        &self,
        password: &SecretString,
        hint: Option<&str>,
    ) -> Result<(MasterKey, KeyId), OpenError> {
        let mut keys = self
            .backend
            .list(FileKind::Key)
            .await
            .map_err(|source| self.storage(source))?;
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(hint) = hint {
            // Stable: the hinted ones move to the front.
            keys.sort_by_key(|info| !info.name.starts_with(hint));
        }
        let mut failure = None;
        for info in keys {
            let Ok(id) = info.name.parse::<KeyId>() else {
                tracing::warn!(name = info.name, "a key file has a name that is no id");
                continue;
            };
            let problem = match self.try_key(id, info.size_bytes, password).await? {
                TriedKey::Opened(key) => return Ok((*key, id)),
                TriedKey::WrongPassword => continue,
                TriedKey::Damaged(problem) => problem,
            };
            tracing::warn!(key = %id.short(), problem = %problem, "a key file cannot be used");
            failure.get_or_insert(OpenError::DamagedKey {
                location: self.location.clone(),
                key: id.short(),
                source: problem,
            });
        }
        Err(failure.unwrap_or_else(|| OpenError::WrongPassword {
            location: self.location.clone(),
        }))
    }

    async fn try_key(
        &self,
        id: KeyId,
        bytes: u64,
        password: &SecretString,
    ) -> Result<TriedKey, OpenError> {
        if let Err(problem) = check_size(bytes, MAX_KEY_FILE_BYTES) {
            return Ok(TriedKey::Damaged(problem.into()));
        }
        let handle = Handle::new(FileKind::Key, id.to_hex());
        let json = match self.backend.read(&handle).await {
            Ok(json) => json,
            // Removed since it was listed.
            Err(error) if error.is_not_found() => return Ok(TriedKey::WrongPassword),
            Err(source) => return Err(self.storage(source)),
        };
        let is_whole = Id::of(&json) == id.0;
        let password = password.clone();
        let unlocked = blocking(move || KeyFile::parse(&json)?.unlock(&password)).await;
        Ok(match unlocked {
            Ok(key) => TriedKey::Opened(Box::new(key)),
            // A changed salt looks like a wrong password, but the file's name gives it away.
            Err(KeyError::WrongPassword) if is_whole => TriedKey::WrongPassword,
            Err(KeyError::WrongPassword) => TriedKey::Damaged(Unusable::WrongHash.into()),
            Err(error) => TriedKey::Damaged(error.into()),
        })
    }

    async fn new_key_file(
        &self,
        key: &MasterKey,
        password: &SecretString,
        params: Option<ScryptParams>,
    ) -> Result<KeyFile, OpenError> {
        let (key, password) = (key.clone(), password.clone());
        let created = blocking(move || {
            let params = params.unwrap_or_else(ScryptParams::calibrate);
            let (username, hostname) = owner();
            KeyFile::create(
                &key,
                &password,
                params,
                (&username, &hostname),
                Timestamp::now(),
            )
        });
        created.await.map_err(|source| OpenError::DamagedKey {
            location: self.location.clone(),
            key: "to be written".to_owned(),
            source: source.into(),
        })
    }
}

enum TriedKey {
    Opened(Box<MasterKey>),
    WrongPassword,
    Damaged(Box<dyn std::error::Error + Send + Sync>),
}

fn check_size(bytes: u64, limit: usize) -> Result<(), Unusable> {
    match bytes {
        0 => Err(Unusable::Empty),
        bytes if bytes > limit as u64 => Err(Unusable::TooLong { bytes, limit }),
        _ => Ok(()),
    }
}

/// Who adds a key: the names of this user and machine, empty where they are unknown.
fn owner() -> (String, String) {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten();
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    (
        user.map(|user| user.name).unwrap_or_default(),
        host.unwrap_or_default(),
    )
}
