//! Authenticated encryption of everything a repository stores: AES-256 in counter mode with
//! Poly1305-AES over the ciphertext (`docs/format.md`, section 2).
//!
//! Owns the master key, its JSON form and sealing and opening of byte strings. How the master
//! key is protected by a password belongs to [`crate::key`]; compression happens before sealing
//! and belongs to [`crate::compression`].

mod cipher;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use secrecy::zeroize::{Zeroize, Zeroizing};
use serde::{Deserialize, Serialize};

use cipher::Ciphers;

/// How many bytes sealing adds: the nonce in front and the tag behind.
pub const OVERHEAD: usize = NONCE_BYTES + TAG_BYTES;

const NONCE_BYTES: usize = 16;
const TAG_BYTES: usize = 16;

/// The bits of `r` that Poly1305 uses, byte by byte.
const R_MASK: [u8; 16] = [
    0xff, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f,
];

/// Why sealed bytes could not be opened or a key could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// Fewer bytes than the nonce and the tag alone.
    #[error("sealed data of {bytes} bytes is shorter than the {OVERHEAD} bytes of nonce and tag")]
    TooShort {
        /// How many there were.
        bytes: usize,
    },
    /// Another key, or the bytes were changed.
    #[error("ciphertext verification failed: the data is damaged or sealed with another key")]
    Unauthenticated,
    /// The JSON of a master key has a wrong shape.
    #[error("master key is not the expected JSON document")]
    KeyFormat(#[source] serde_json::Error),
    /// A part of a master key is not base64 or of a wrong length.
    #[error("part {part} of the master key is not {expected_bytes} bytes in base64")]
    KeyPart {
        /// `encrypt`, `mac.k` or `mac.r`.
        part: &'static str,
        /// The length it must have.
        expected_bytes: usize,
    },
    /// A part of a master key is all zeros.
    #[error("part {part} of the master key is all zeros")]
    KeyZero {
        /// `encrypt`, `mac.k` or `mac.r`.
        part: &'static str,
    },
}

/// The key of a repository, or of a user while a key file is opened.
///
/// The expanded ciphers are kept, so one value serves any number of calls from any thread. All
/// of it is overwritten with zeros on drop.
#[derive(Clone)]
pub struct MasterKey {
    encrypt: [u8; 32],
    mac_k: [u8; 16],
    mac_r: [u8; 16],
    ciphers: Ciphers,
}

impl MasterKey {
    /// Puts a key together from its parts, none of which may be all zeros.
    pub fn new(encrypt: [u8; 32], mac_k: [u8; 16], mac_r: [u8; 16]) -> Result<Self, CryptoError> {
        let parts: [(&'static str, &[u8]); 3] =
            [("encrypt", &encrypt), ("mac.k", &mac_k), ("mac.r", &mac_r)];
        for (part, bytes) in parts {
            if bytes.iter().all(|byte| *byte == 0) {
                return Err(CryptoError::KeyZero { part });
            }
        }
        Ok(Self {
            encrypt,
            mac_k,
            mac_r,
            ciphers: Ciphers::new(&encrypt, &mac_k, &mac_r),
        })
    }

    /// Draws a fresh key from the operating system's generator.
    pub fn random() -> Self {
        let mut bytes = Zeroizing::new([0; 64]);
        loop {
            rand::rng().fill_bytes(&mut bytes[..]);
            let (encrypt, mac) = bytes.split_at(32);
            let (k, r) = mac.split_at(16);
            let masked = std::array::from_fn(|i| r[i] & R_MASK[i]);
            // All zeros, which `new` refuses, is drawn about never.
            if let Ok(key) = Self::new(part(encrypt), part(k), masked) {
                return key;
            }
        }
    }

    /// Splits 64 bytes of derived key material: `encrypt`, `mac.k`, `mac.r`.
    pub(crate) fn from_derived(bytes: &[u8; 64]) -> Result<Self, CryptoError> {
        Self::new(part(&bytes[..32]), part(&bytes[32..48]), part(&bytes[48..]))
    }

    /// Reads `{"mac":{"k":…,"r":…},"encrypt":…}`.
    pub fn from_json(json: &[u8]) -> Result<Self, CryptoError> {
        let document: KeyDocument = serde_json::from_slice(json).map_err(CryptoError::KeyFormat)?;
        Self::new(
            decode("encrypt", &document.encrypt)?,
            decode("mac.k", &document.mac.k)?,
            decode("mac.r", &document.mac.r)?,
        )
    }

    /// The JSON that a key file holds sealed, in restic's field order.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let document = KeyDocument {
            mac: MacDocument {
                k: STANDARD.encode(self.mac_k),
                r: STANDARD.encode(self.mac_r),
            },
            encrypt: STANDARD.encode(self.encrypt),
        };
        Zeroizing::new(serde_json::to_vec(&document).expect("strings always serialise"))
    }

    /// Encrypts and authenticates: nonce, ciphertext, tag.
    pub fn seal(&self, plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
        self.seal_into(plaintext, &mut sealed);
        sealed
    }

    /// As [`Self::seal`], appended to `out`: a pack is filled this way without copies.
    pub fn seal_into(&self, plaintext: &[u8], out: &mut Vec<u8>) {
        let mut nonce = [0; NONCE_BYTES];
        // An all-zero nonce is left out because restic refuses it.
        while nonce == [0; NONCE_BYTES] {
            rand::rng().fill_bytes(&mut nonce);
        }
        out.reserve(plaintext.len() + OVERHEAD);
        out.extend_from_slice(&nonce);
        let tag = self.ciphers.encrypt(&nonce, plaintext, out);
        out.extend_from_slice(&tag);
    }

    /// Verifies and decrypts what [`Self::seal`] made.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (nonce, ciphertext) = self.verify(sealed)?;
        let mut plaintext = Vec::with_capacity(ciphertext.len());
        self.ciphers.decrypt(&nonce, ciphertext, &mut plaintext);
        Ok(plaintext)
    }

    /// As [`Self::open`] without a second buffer: `buffer` becomes the plaintext.
    ///
    /// On an error `buffer` is unchanged.
    pub fn open_in_place(&self, buffer: &mut Vec<u8>) -> Result<(), CryptoError> {
        let (nonce, ciphertext) = self.verify(buffer)?;
        let plaintext_bytes = ciphertext.len();
        self.ciphers
            .decrypt_shifted(&nonce, &mut buffer[..NONCE_BYTES + plaintext_bytes]);
        buffer.truncate(plaintext_bytes);
        Ok(())
    }

    /// Checks the tag and returns the nonce and the ciphertext.
    fn verify<'a>(&self, sealed: &'a [u8]) -> Result<([u8; NONCE_BYTES], &'a [u8]), CryptoError> {
        let too_short = CryptoError::TooShort {
            bytes: sealed.len(),
        };
        let Some((nonce, rest)) = sealed.split_first_chunk::<NONCE_BYTES>() else {
            return Err(too_short);
        };
        let Some((ciphertext, tag)) = rest.split_last_chunk::<TAG_BYTES>() else {
            return Err(too_short);
        };
        let computed = self.ciphers.tag(nonce, ciphertext);
        // One comparison of 128 bits takes the same time wherever the first difference is.
        let difference = u128::from_ne_bytes(computed) ^ u128::from_ne_bytes(*tag);
        if std::hint::black_box(difference) != 0 {
            return Err(CryptoError::Unauthenticated);
        }
        Ok((*nonce, ciphertext))
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.encrypt.zeroize();
        self.mac_k.zeroize();
        self.mac_r.zeroize();
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        self.encrypt == other.encrypt && self.mac_k == other.mac_k && self.mac_r == other.mac_r
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}

#[derive(Serialize, Deserialize)]
struct KeyDocument {
    mac: MacDocument,
    encrypt: String,
}

#[derive(Serialize, Deserialize)]
struct MacDocument {
    k: String,
    r: String,
}

impl Drop for KeyDocument {
    fn drop(&mut self) {
        self.mac.k.zeroize();
        self.mac.r.zeroize();
        self.encrypt.zeroize();
    }
}

fn decode<const N: usize>(part: &'static str, text: &str) -> Result<[u8; N], CryptoError> {
    let bytes = STANDARD.decode(text).map(Zeroizing::new).ok();
    bytes
        .and_then(|bytes| <[u8; N]>::try_from(&bytes[..]).ok())
        .ok_or(CryptoError::KeyPart {
            part,
            expected_bytes: N,
        })
}

fn part<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("callers split at fixed lengths")
}

#[cfg(test)]
mod tests;
