//! The config file: format version, repository id and chunker polynomial (`docs/format.md`,
//! section 4).
//!
//! Owns the document, its limits and its JSON. Sealing it (never compressed) and storing it belong
//! to [`crate::repository`].

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::polynomial::Polynomial;

/// The versions of the format this crate reads and writes.
pub const SUPPORTED_VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;

/// No config written by any program comes near this size; more is not read.
pub const MAX_CONFIG_BYTES: usize = 64 << 10;

/// Why a config is unusable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Longer than [`MAX_CONFIG_BYTES`].
    #[error("config of {bytes} bytes is longer than the limit of {MAX_CONFIG_BYTES} bytes")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON, a field absent or of a wrong type.
    #[error("config is not the expected JSON document")]
    Format(#[source] serde_json::Error),
    /// A format newer than this program, or no version at all.
    #[error("repository format version {version} is not supported, known are versions 1 and 2")]
    Version {
        /// The version found or asked for.
        version: u32,
    },
    /// A polynomial the chunker cannot use.
    #[error("chunker polynomial {polynomial} is not irreducible of degree 53")]
    Polynomial {
        /// The polynomial.
        polynomial: Polynomial,
    },
}

/// The content of the config file; a value of this type is always valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    version: u32,
    id: Id,
    chunker_polynomial: Polynomial,
}

impl Config {
    /// A config for a new repository: a random id and a fresh polynomial.
    pub fn create(version: u32, rng: &mut impl Rng) -> Result<Self, ConfigError> {
        let polynomial = Polynomial::random(rng);
        Self::create_with_polynomial(version, polynomial, rng)
    }

    /// As [`Self::create`] with the polynomial of another repository, so that both cut alike.
    pub fn create_with_polynomial(
        version: u32,
        chunker_polynomial: Polynomial,
        rng: &mut impl Rng,
    ) -> Result<Self, ConfigError> {
        let mut id = [0; 32];
        rng.fill_bytes(&mut id);
        Self {
            version,
            id: Id::from_bytes(id),
            chunker_polynomial,
        }
        .validated()
    }

    /// Reads and checks the opened (decrypted) config file.
    ///
    /// Fields this program does not know are left out of account, as restic does.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        if json.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLong { bytes: json.len() });
        }
        // The version first: a later format may have other fields, and is to be named as such.
        let VersionDocument { version } =
            serde_json::from_slice(json).map_err(ConfigError::Format)?;
        if !SUPPORTED_VERSIONS.contains(&version) {
            return Err(ConfigError::Version { version });
        }
        let document: ConfigDocument = serde_json::from_slice(json).map_err(ConfigError::Format)?;
        Self {
            version,
            id: document.id,
            chunker_polynomial: document.chunker_polynomial,
        }
        .validated()
    }

    /// The JSON to be sealed, byte for byte as restic writes it.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and strings always serialise")
    }

    /// The same repository in another format version.
    pub fn with_version(&self, version: u32) -> Result<Self, ConfigError> {
        Self {
            version,
            ..self.clone()
        }
        .validated()
    }

    /// The format version, 1 or 2.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether the version knows compression.
    pub fn has_compression(&self) -> bool {
        self.version >= 2
    }

    /// The identity of the repository, which never changes.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The polynomial that decides where files are cut.
    pub fn chunker_polynomial(&self) -> Polynomial {
        self.chunker_polynomial
    }

    fn validated(self) -> Result<Self, ConfigError> {
        if !SUPPORTED_VERSIONS.contains(&self.version) {
            return Err(ConfigError::Version {
                version: self.version,
            });
        }
        if !self.chunker_polynomial.is_chunker_polynomial() {
            return Err(ConfigError::Polynomial {
                polynomial: self.chunker_polynomial,
            });
        }
        Ok(self)
    }
}

#[derive(Deserialize)]
struct VersionDocument {
    version: u32,
}

#[derive(Deserialize)]
struct ConfigDocument {
    id: Id,
    chunker_polynomial: Polynomial,
}

#[cfg(test)]
mod tests;
