//! Key files: the master key sealed with a key derived from a password (`docs/format.md`,
//! section 3).
//!
//! Owns the document, the derivation with its limits and the calibration of its cost. Which key
//! file is tried first, and storing and listing them, belong to [`crate::repository`].

mod params;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::crypto::{CryptoError, MasterKey};

pub use params::{ScryptParams, ScryptParamsError};

/// No key file written by any program comes near this size; more is not read.
pub const MAX_KEY_FILE_BYTES: usize = 64 << 10;

/// The bytes of salt written; other lengths from 8 bytes on are read.
const SALT_BYTES: usize = 64;
const MIN_SALT_BYTES: usize = 8;

/// Why a key file gives no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is fine as far as can be told: this is not its password.
    #[error("wrong password")]
    WrongPassword,
    /// Longer than [`MAX_KEY_FILE_BYTES`].
    #[error("key file of {bytes} bytes is longer than the limit of {MAX_KEY_FILE_BYTES} bytes")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON, a field absent or of a wrong type.
    #[error("key file is not the expected JSON document")]
    Format(#[source] serde_json::Error),
    /// A derivation other than scrypt.
    #[error("key derivation {kdf:?} is not supported, only scrypt is")]
    Derivation {
        /// The name in the file, shortened to 32 characters.
        kdf: String,
    },
    /// Cost parameters that are invalid or demand too much.
    #[error("key file has unusable scrypt parameters")]
    Params(#[source] ScryptParamsError),
    /// A salt that protects nothing.
    #[error("salt of {bytes} bytes is shorter than {MIN_SALT_BYTES} bytes")]
    Salt {
        /// Its length.
        bytes: usize,
    },
    /// The sealed part is too short, or opens to something that is no master key.
    #[error("the sealed master key is damaged")]
    Damaged(#[source] CryptoError),
}

impl KeyError {
    /// Whether another password might help, in contrast to a file nobody can use.
    pub fn is_wrong_password(&self) -> bool {
        matches!(self, Self::WrongPassword)
    }
}

/// A key file. The fields for people (`created`, `username`, `hostname`) are not authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFile {
    /// When the key was added, RFC 3339. Kept as text: a damaged date must not lock anyone out.
    #[serde(default)]
    pub created: String,
    /// Who added it.
    #[serde(default)]
    pub username: String,
    /// On which machine.
    #[serde(default)]
    pub hostname: String,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    #[serde(serialize_with = "write_base64", deserialize_with = "read_base64")]
    salt: Vec<u8>,
    #[serde(serialize_with = "write_base64", deserialize_with = "read_base64")]
    data: Vec<u8>,
}

impl KeyFile {
    /// Seals `master` with a password. Takes as long as the parameters cost.
    pub fn create(
        master: &MasterKey,
        password: &SecretString,
        params: ScryptParams,
        owner: (&str, &str),
        created: Timestamp,
    ) -> Result<Self, KeyError> {
        let mut salt = vec![0; SALT_BYTES];
        rand::rng().fill_bytes(&mut salt);
        let user_key = derive(password, &salt, params)?;
        let (username, hostname) = owner;
        Ok(Self {
            created: created.to_string(),
            username: username.to_owned(),
            hostname: hostname.to_owned(),
            kdf: "scrypt".to_owned(),
            n: 1 << params.log_n(),
            r: params.r(),
            p: params.p(),
            salt,
            data: user_key.seal(&master.to_json()),
        })
    }

    /// Reads a key file; its parameters are checked when it is used.
    pub fn parse(json: &[u8]) -> Result<Self, KeyError> {
        if json.len() > MAX_KEY_FILE_BYTES {
            return Err(KeyError::TooLong { bytes: json.len() });
        }
        serde_json::from_slice(json).map_err(KeyError::Format)
    }

    /// The JSON to be stored as it is; its hash is the name of the key.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and strings always serialise")
    }

    /// The master key, if this is the password.
    ///
    /// Takes as long, and for that time as much memory, as [`ScryptParams`] of the file cost,
    /// within its limits.
    pub fn unlock(&self, password: &SecretString) -> Result<MasterKey, KeyError> {
        if self.kdf != "scrypt" {
            return Err(KeyError::Derivation {
                kdf: self.kdf.chars().take(32).collect(),
            });
        }
        let params = self.params()?;
        if self.salt.len() < MIN_SALT_BYTES {
            return Err(KeyError::Salt {
                bytes: self.salt.len(),
            });
        }
        let json = match derive(password, &self.salt, params)?.open(&self.data) {
            Ok(json) => Zeroizing::new(json),
            Err(CryptoError::Unauthenticated) => return Err(KeyError::WrongPassword),
            Err(source) => return Err(KeyError::Damaged(source)),
        };
        MasterKey::from_json(&json).map_err(KeyError::Damaged)
    }

    /// The cost parameters of the file, checked against the limits.
    pub fn params(&self) -> Result<ScryptParams, KeyError> {
        ScryptParams::from_file(self.n, self.r, self.p).map_err(KeyError::Params)
    }
}

/// The key that a password and a salt stand for.
fn derive(
    password: &SecretString,
    salt: &[u8],
    params: ScryptParams,
) -> Result<MasterKey, KeyError> {
    let mut material = Zeroizing::new([0; 64]);
    params.derive(password.expose_secret().as_bytes(), salt, &mut material[..]);
    MasterKey::from_derived(&material).map_err(KeyError::Damaged)
}

fn write_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn read_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD
        .decode(String::deserialize(deserializer)?)
        .map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;
