//! Randomness that can be repeated: every test prints the seed it used.

use std::hash::{BuildHasher, Hasher, RandomState};

/// The `SplitMix64` generator: tiny, and the same everywhere and for ever.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A fresh seed, or that of `STASH_TEST_SEED`; prints the line that repeats the run.
    pub fn from_environment() -> Self {
        let seed = std::env::var("STASH_TEST_SEED").map_or_else(
            |_| RandomState::new().build_hasher().finish() >> 16,
            |text| text.parse().expect("STASH_TEST_SEED is a number"),
        );
        println!("STASH_TEST_SEED={seed}");
        Self::new(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is above 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next_u64() % limit
    }

    /// An index into something of this length, which is above 0.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }

    /// True `percent` times in a hundred.
    pub fn is_chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Incompressible bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut data = Vec::with_capacity(length + 8);
        while data.len() < length {
            data.extend_from_slice(&self.next_u64().to_le_bytes());
        }
        data.truncate(length);
        data
    }

    /// Compressible bytes: lines of words.
    pub fn text(&mut self, length: usize) -> Vec<u8> {
        const WORDS: [&str; 8] = [
            "lorem",
            "ipsum",
            "dolor",
            "sit",
            "amet",
            "consetetur",
            "sadipscing",
            "elitr",
        ];
        let mut data = Vec::with_capacity(length + 16);
        while data.len() < length {
            data.extend_from_slice(self.pick(&WORDS).as_bytes());
            data.push(if self.is_chance(10) { b'\n' } else { b' ' });
        }
        data.truncate(length);
        data
    }
}
