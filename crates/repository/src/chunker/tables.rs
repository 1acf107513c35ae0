//! The tables that make one step of the fingerprint two lookups.

use std::fmt;
use std::sync::Arc;

use crate::chunker::WINDOW_BYTES;
use crate::polynomial::Polynomial;

/// The digest has 53 bits; the eight on top select the reduction of the next step.
const TOP_SHIFT: u32 = Polynomial::CHUNKER_DEGREE - 8;

/// A position is a candidate when these bits of its fingerprint are zero: one in 2^20.
const SPLIT_MASK: u64 = (1 << 20) - 1;

/// Everything derived from a polynomial; 4 KiB, shared by all clones.
#[derive(Clone)]
pub struct ChunkerTables(Arc<Tables>);

pub(super) struct Tables {
    polynomial: Polynomial,
    /// What a byte that leaves the window still contributes one step later.
    leaving: [u64; 256],
    /// Takes the eight bits above the degree away and adds their remainder.
    reduction: [u64; 256],
}

impl ChunkerTables {
    /// Computes the tables, or `None` when the polynomial is not irreducible of degree 53.
    pub fn new(polynomial: Polynomial) -> Option<Self> {
        polynomial
            .is_chunker_polynomial()
            .then(|| Self(Arc::new(Tables::new(polynomial))))
    }

    /// The polynomial they were computed from.
    pub fn polynomial(&self) -> Polynomial {
        self.0.polynomial
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.0
    }
}

impl fmt::Debug for ChunkerTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChunkerTables")
            .field(&self.0.polynomial)
            .finish()
    }
}

impl Tables {
    fn new(polynomial: Polynomial) -> Self {
        let byte = |index: usize| Polynomial(u64::try_from(index).expect("an index below 256"));
        let reduction = std::array::from_fn(|index| {
            let top = byte(index).0 << Polynomial::CHUNKER_DEGREE;
            Polynomial(top).modulo(polynomial).0 | top
        });
        let mut shift = Polynomial(1);
        for _ in 0..WINDOW_BYTES {
            shift = shift.multiply_modulo(Polynomial(1 << 8), polynomial);
        }
        let leaving = std::array::from_fn(|index| byte(index).multiply_modulo(shift, polynomial).0);
        Self {
            polynomial,
            leaving,
            reduction,
        }
    }

    /// Whether a digest marks a candidate.
    #[inline]
    pub(super) fn is_candidate(digest: u64) -> bool {
        digest & SPLIT_MASK == 0
    }

    /// Moves a full window by one byte. The leaving byte is taken out after the shift instead of
    /// before it, which is the same sum but keeps its lookup out of the chain of dependent steps.
    #[inline]
    pub(super) fn roll(&self, digest: u64, entering: u8, leaving: u8) -> u64 {
        self.append(digest, entering) ^ self.leaving[usize::from(leaving)]
    }

    /// The digest of a window of 64 bytes.
    pub(super) fn digest(&self, window: &[u8; WINDOW_BYTES]) -> u64 {
        window
            .iter()
            .fold(0, |digest, byte| self.append(digest, *byte))
    }

    #[inline]
    fn append(&self, digest: u64, byte: u8) -> u64 {
        let top = (digest >> TOP_SHIFT) & 0xff;
        let reduction = self.reduction[usize::from(top as u8)];
        (digest << 8 | u64::from(byte)) ^ reduction
    }
}
