//! The two primitives joined: AES-256 in counter mode and Poly1305-AES, run piece by piece so
//! that each piece is encrypted and authenticated while it is in the processor's cache.

use std::fmt;

use aes::cipher::{Block as AesBlock, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use poly1305::universal_hash::UniversalHash;
use poly1305::{Block, Poly1305};

/// Bytes handled at once: small enough for the first-level cache together with its copy.
const PIECE_BYTES: usize = 8 << 10;

/// Counter blocks encrypted at once.
const KEYSTREAM_BLOCKS: usize = 256;

/// Expanded keys, made once per [`super::MasterKey`].
#[derive(Clone)]
pub(super) struct Ciphers {
    encrypt: Aes256,
    mac: Aes128,
    r: [u8; 16],
}

impl Ciphers {
    pub(super) fn new(encrypt: &[u8; 32], mac_k: &[u8; 16], mac_r: &[u8; 16]) -> Self {
        Self {
            encrypt: Aes256::new(encrypt.into()),
            mac: Aes128::new(mac_k.into()),
            r: *mac_r,
        }
    }

    /// Appends the ciphertext of `plaintext` to `out` and returns its tag.
    pub(super) fn encrypt(
        &self,
        nonce: &[u8; 16],
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> [u8; 16] {
        let mut keystream = self.keystream(nonce);
        let mut mac = self.authenticator(nonce);
        let mut pieces = plaintext.chunks_exact(PIECE_BYTES);
        for piece in pieces.by_ref() {
            let start = out.len();
            out.extend_from_slice(piece);
            keystream.apply(&mut out[start..]);
            mac.update(Block::slice_as_chunks(&out[start..]).0);
        }
        let start = out.len();
        out.extend_from_slice(pieces.remainder());
        keystream.apply(&mut out[start..]);
        finish(mac, &out[start..])
    }

    /// Appends the plaintext of `ciphertext`, whose tag was checked before.
    pub(super) fn decrypt(&self, nonce: &[u8; 16], ciphertext: &[u8], out: &mut Vec<u8>) {
        let mut keystream = self.keystream(nonce);
        for piece in ciphertext.chunks(PIECE_BYTES) {
            let start = out.len();
            out.extend_from_slice(piece);
            keystream.apply(&mut out[start..]);
        }
    }

    /// Decrypts `buffer[16..]` and moves it to the front, leaving 16 meaningless bytes behind it.
    pub(super) fn decrypt_shifted(&self, nonce: &[u8; 16], buffer: &mut [u8]) {
        let mut keystream = self.keystream(nonce);
        let mut start = nonce.len();
        while start < buffer.len() {
            let end = (start + PIECE_BYTES).min(buffer.len());
            keystream.apply(&mut buffer[start..end]);
            buffer.copy_within(start..end, start - nonce.len());
            start = end;
        }
    }

    /// The tag of a ciphertext.
    pub(super) fn tag(&self, nonce: &[u8; 16], ciphertext: &[u8]) -> [u8; 16] {
        finish(self.authenticator(nonce), ciphertext)
    }

    fn keystream(&self, nonce: &[u8; 16]) -> Keystream<'_> {
        Keystream {
            cipher: &self.encrypt,
            counter: u128::from_be_bytes(*nonce),
            blocks: [AesBlock::<Aes256>::default(); KEYSTREAM_BLOCKS],
        }
    }

    /// Poly1305 keyed with `r` and the encrypted nonce.
    fn authenticator(&self, nonce: &[u8; 16]) -> Poly1305 {
        let mut key = poly1305::Key::default();
        key[..16].copy_from_slice(&self.r);
        let mut mask = (*nonce).into();
        self.mac.encrypt_block(&mut mask);
        key[16..].copy_from_slice(&mask);
        Poly1305::new(&key)
    }
}

/// Counter mode with a counter of 128 bits. Encrypting counters by the kilobyte lets the cipher use
/// the widest instructions of the machine, which the `ctr` crate does not: it reaches a third of this.
struct Keystream<'a> {
    cipher: &'a Aes256,
    counter: u128,
    blocks: [AesBlock<Aes256>; KEYSTREAM_BLOCKS],
}

impl Keystream<'_> {
    /// Changes `data` by the next bytes of the stream. All calls but the last take whole blocks.
    fn apply(&mut self, data: &mut [u8]) {
        for part in data.chunks_mut(KEYSTREAM_BLOCKS * 16) {
            let blocks = &mut self.blocks[..part.len().div_ceil(16)];
            for block in blocks.iter_mut() {
                *block = self.counter.to_be_bytes().into();
                self.counter = self.counter.wrapping_add(1);
            }
            self.cipher.encrypt_blocks(blocks);
            for (byte, mask) in part
                .iter_mut()
                .zip(AesBlock::<Aes256>::slice_as_flattened(blocks))
            {
                *byte ^= mask;
            }
        }
    }
}

/// Adds the last piece, whose end need not be a whole block.
fn finish(mut mac: Poly1305, rest: &[u8]) -> [u8; 16] {
    let (blocks, partial) = Block::slice_as_chunks(rest);
    mac.update(blocks);
    mac.compute_unpadded(partial).into()
}

impl Drop for Ciphers {
    fn drop(&mut self) {
        // The expanded AES keys clear themselves.
        secrecy::zeroize::Zeroize::zeroize(&mut self.r);
    }
}

impl fmt::Debug for Ciphers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ciphers(redacted)")
    }
}
