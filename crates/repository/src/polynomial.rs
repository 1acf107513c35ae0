//! Polynomials over GF(2), the parameter of the chunker.
//!
//! Owns the arithmetic that [`Polynomial`] needs, the irreducibility test, drawing a fresh
//! polynomial and its textual form in the config file (`docs/format.md`, section 4). Where a
//! stream is cut with such a polynomial is decided in [`crate::chunker`].

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A polynomial with coefficients 0 and 1: bit `i` is the coefficient of `x^i`.
///
/// Its text is lower-case hexadecimal without leading zeros, as the config file has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Polynomial(pub u64);

/// Why a text is no polynomial.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("polynomial {text:?} is not a hexadecimal number of at most 64 bits")]
pub struct PolynomialParseError {
    /// What was to be read, shortened to 32 characters.
    pub text: String,
}

impl Polynomial {
    /// The degree every chunker polynomial has.
    pub const CHUNKER_DEGREE: u32 = 53;

    /// The degree, or `None` for the zero polynomial.
    pub fn degree(self) -> Option<u32> {
        self.0.checked_ilog2()
    }

    /// The sum, which is the difference too.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }

    /// The remainder of the division by `divisor`.
    ///
    /// # Panics
    /// When `divisor` is zero, as integer division does.
    #[must_use]
    pub fn modulo(self, divisor: Self) -> Self {
        let degree = divisor.degree().expect("division by the zero polynomial");
        let mut rest = self.0;
        while let Some(top) = rest.checked_ilog2().filter(|top| *top >= degree) {
            rest ^= divisor.0 << (top - degree);
        }
        Self(rest)
    }

    /// The product with `other`, reduced by `modulus`, without overflow for any modulus.
    ///
    /// # Panics
    /// When `modulus` is zero.
    #[must_use]
    pub fn multiply_modulo(self, other: Self, modulus: Self) -> Self {
        let degree = modulus.degree().expect("division by the zero polynomial");
        if degree == 0 {
            return Self(0);
        }
        let factor = self.modulo(modulus).0;
        let other = other.modulo(modulus).0;
        let mut product = 0;
        for bit in (0..degree).rev() {
            // Both operands stay below x^degree, so the shift moves at most one bit out.
            let overflows = product >> (degree - 1) & 1 == 1;
            product <<= 1;
            if overflows {
                product ^= modulus.0;
            }
            if other >> bit & 1 == 1 {
                product ^= factor;
            }
        }
        Self(product)
    }

    /// The greatest common divisor.
    #[must_use]
    pub fn gcd(self, other: Self) -> Self {
        let (mut a, mut b) = (self, other);
        while b.0 != 0 {
            (a, b) = (b, a.modulo(b));
        }
        a
    }

    /// Whether the polynomial has no factor but itself and 1 (Ben-Or's test).
    ///
    /// `x^(2^i) - x` is the product of all irreducible polynomials whose degree divides `i`, so a
    /// reducible polynomial shares a factor with it for some `i` up to half its degree.
    pub fn is_irreducible(self) -> bool {
        let Some(degree) = self.degree().filter(|degree| *degree > 0) else {
            return false;
        };
        let x = Self(2).modulo(self);
        let mut power = x;
        for _ in 1..=degree / 2 {
            power = power.multiply_modulo(power, self);
            if self.gcd(power.plus(x)) != Self(1) {
                return false;
            }
        }
        true
    }

    /// Whether a chunker can use it: irreducible and of degree 53.
    pub fn is_chunker_polynomial(self) -> bool {
        self.degree() == Some(Self::CHUNKER_DEGREE) && self.is_irreducible()
    }

    /// Draws a chunker polynomial: about one candidate in 26 is irreducible.
    pub fn random(rng: &mut impl Rng) -> Self {
        let top = 1 << Self::CHUNKER_DEGREE;
        loop {
            let candidate = Self(rng.next_u64() & (top - 1) | top | 1);
            if candidate.is_irreducible() {
                return candidate;
            }
        }
    }
}

impl fmt::Display for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Polynomial({:#x})", self.0)
    }
}

impl FromStr for Polynomial {
    type Err = PolynomialParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits_only = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u64::from_str_radix(text, 16) {
            Ok(bits) if digits_only => Ok(Self(bits)),
            _ => Err(PolynomialParseError {
                text: text.chars().take(32).collect(),
            }),
        }
    }
}

impl Serialize for Polynomial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Polynomial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
