//! Opening: which key file gives the master key, and what the config says. Creating, which never overwrites.

use std::sync::Arc;

use backend::{Backend, BackendError, Cache, ErrorKind, FileKind, Handle};
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::config::{Config, MAX_CONFIG_BYTES};
use crate::crypto::MasterKey;
use crate::id::{Id, KeyId};
use crate::key::{KeyError, KeyFile, MAX_KEY_FILE_BYTES, ScryptParams};
use crate::polynomial::Polynomial;
use crate::repository::{
    CreateOptions, Inner, OpenError, OpenOptions, Repository, blocking, chain,
};

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
        .find_key(password, options.key_hint.as_deref(), Some(&stored_config))
        .await?;
    let json = key
        .open(&stored_config)
        .map_err(|error| place.damaged_config(error))?;
    let config = Config::parse(&json).map_err(|error| place.damaged_config(error))?;
    let cache = cache(&place.backend, options, &config.id().to_hex()).await;
    let mut repository = repository(place.backend, config, key, key_id, options.clone());
    if let (Some(cache), Some(inner)) = (cache, Arc::get_mut(&mut repository.inner)) {
        inner.backend = Arc::clone(&cache) as Arc<dyn Backend>;
        inner.cache = Some(cache);
    }
    Ok(repository)
}

/// The cache that the options name, if it can be used.
async fn cache(
    backend: &Arc<dyn Backend>,
    options: &OpenOptions,
    repository_id: &str,
) -> Option<Arc<Cache>> {
    let options = options.cache.clone()?;
    let warn = options.warn.clone();
    match Cache::open(Arc::clone(backend), options, repository_id).await {
        Ok(cache) => Some(Arc::new(cache)),
        Err(error) => {
            let text = chain(&error);
            tracing::warn!(error = text, "going on without a cache");
            if let Some(warn) = warn {
                warn(&text);
            }
            None
        }
    }
}

pub(super) async fn create(
    backend: Arc<dyn Backend>,
    password: &SecretString,
    options: &CreateOptions,
) -> Result<Repository, OpenError> {
    let location = backend.location();
    let place = Place { backend, location };
    place.require_unused().await?;
    let config = new_config(options).map_err(|error| place.damaged_config(error))?;
    place
        .backend
        .create()
        .await
        .map_err(|source| place.storage(source))?;
    let (key, key_id) = match place.leftover_key(password).await? {
        Some(found) => found,
        None => place.add_key(password, options.scrypt).await?,
    };
    place.add_config(&config, &key, key_id).await?;
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
            cache: None,
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

    /// Refuses a place where a repository is, or where data lies whose config was lost. Keys alone are what a
    /// creation leaves behind that was killed before it wrote the config: nothing can depend on them.
    async fn require_unused(&self) -> Result<(), OpenError> {
        match Repository::exists(&*self.backend).await {
            Ok(false) => {}
            Ok(true) => {
                return Err(OpenError::Exists {
                    location: self.location.clone(),
                });
            }
            // A bucket that is yet to be made holds nothing.
            Err(error) if error.kind == ErrorKind::PlaceNotFound => return Ok(()),
            Err(source) => return Err(self.storage(source)),
        }
        for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
            if !self.names(kind).await?.is_empty() {
                return Err(OpenError::ConfigMissing {
                    location: self.location.clone(),
                });
            }
        }
        Ok(())
    }

    async fn names(&self, kind: FileKind) -> Result<Vec<backend::FileInfo>, OpenError> {
        match self.backend.list(kind).await {
            Ok(files) => Ok(files),
            // The place itself is yet to be made.
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(source) => Err(self.storage(source)),
        }
    }

    /// The key of a creation that did not get as far as the config, if this password opens one. It is taken over
    /// rather than removed: its owner may still be at work.
    async fn leftover_key(
        &self,
        password: &SecretString,
    ) -> Result<Option<(MasterKey, KeyId)>, OpenError> {
        if self.names(FileKind::Key).await?.is_empty() {
            return Ok(None);
        }
        match self.find_key(password, None, None).await {
            Ok(found) => Ok(Some(found)),
            Err(OpenError::WrongPassword { .. } | OpenError::DamagedKey { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn add_key(
        &self,
        password: &SecretString,
        params: Option<ScryptParams>,
    ) -> Result<(MasterKey, KeyId), OpenError> {
        let key = MasterKey::random();
        let key_json = self.new_key_file(&key, password, params).await?.to_json();
        // Somebody else may have been at the same work while the key was derived.
        self.require_unused().await?;
        let key_id = KeyId(Id::of(&key_json));
        self.backend
            .write(
                &Handle::new(FileKind::Key, key_id.to_hex()),
                Bytes::from(key_json),
            )
            .await
            .map_err(|source| self.storage(source))?;
        Ok((key, key_id))
    }

    /// Writes the config, which comes last: it alone says that there is a repository.
    async fn add_config(
        &self,
        config: &Config,
        key: &MasterKey,
        key_id: KeyId,
    ) -> Result<(), OpenError> {
        let stored = Bytes::from(key.seal(&config.to_json()));
        match self.backend.write(&Handle::config(), stored.clone()).await {
            // Some stores let a second writer replace what the first one wrote.
            Ok(()) if self.read_config().await? == stored => Ok(()),
            Ok(()) => Err(self.lost_to_another(key, key_id).await?),
            Err(error) if error.kind == ErrorKind::AlreadyExists => {
                Err(self.lost_to_another(key, key_id).await?)
            }
            Err(source) => Err(self.storage(source)),
        }
    }

    /// Another creation was faster. It may have taken our key over; otherwise the key belongs to nothing.
    async fn lost_to_another(
        &self,
        key: &MasterKey,
        key_id: KeyId,
    ) -> Result<OpenError, OpenError> {
        let theirs = self.read_config().await?;
        if key.open(&theirs).is_err() {
            self.backend
                .remove(&Handle::new(FileKind::Key, key_id.to_hex()))
                .await
                .map_err(|source| self.storage(source))?;
        }
        Ok(OpenError::Exists {
            location: self.location.clone(),
        })
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

    /// The master key from the first key file that opens with this password, and whose master key opens the config
    /// if one is given: a key that strayed in from elsewhere may have the same password. When none opens the config,
    /// the first one that the password opens is returned, so that the damage is told and not the password blamed.
    async fn find_key(
        &self,
        password: &SecretString,
        hint: Option<&str>,
        stored_config: Option<&[u8]>,
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
        let mut stray = None;
        for info in keys {
            let Ok(id) = info.name.parse::<KeyId>() else {
                tracing::warn!(name = info.name, "a key file has a name that is no id");
                continue;
            };
            let problem = match self.try_key(id, info.size_bytes, password).await? {
                TriedKey::Opened(key)
                    if stored_config.is_none_or(|config| key.open(config).is_ok()) =>
                {
                    return Ok((*key, id));
                }
                TriedKey::Opened(key) => {
                    tracing::warn!(key = %id.short(), "a key file does not belong to this repository's config");
                    stray.get_or_insert((*key, id));
                    continue;
                }
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
        if let Some(stray) = stray {
            return Ok(stray);
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
