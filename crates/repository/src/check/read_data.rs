//! Which packs are read.

use std::str::FromStr;

use rand::seq::SliceRandom;

use crate::check::structure::Readable;

/// Which packs are read and verified.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum ReadData {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// One part of several, always the same packs: with `--read-data-subset 1/7` to `7/7` all are read.
    Part {
        /// Which part, from 1.
        part: u32,
        /// How many there are, up to 256.
        of: u32,
    },
    /// A random share of the packs, above 0 and up to 100.
    Percent(f64),
    /// Random packs of about so many bytes in total.
    Bytes(u64),
}

/// A text that names no subset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no subset: use a part such as `2/7` (of at most 256), a percentage such as `2.5%`, or a size such as `500M`"
)]
pub struct ParseReadDataError(pub String);

impl FromStr for ReadData {
    type Err = ParseReadDataError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseReadDataError(text.chars().take(80).collect());
        if let Some((part, of)) = text.split_once('/') {
            let (part, of) = (
                part.parse().map_err(|_| wrong())?,
                of.parse().map_err(|_| wrong())?,
            );
            let is_possible = (1..=256).contains(&of) && (1..=of).contains(&part);
            return if is_possible {
                Ok(Self::Part { part, of })
            } else {
                Err(wrong())
            };
        }
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.parse().map_err(|_| wrong())?;
            return if percent > 0.0 && percent <= 100.0 {
                Ok(Self::Percent(percent))
            } else {
                Err(wrong())
            };
        }
        match parse_size(text) {
            Some(bytes) if bytes > 0 => Ok(Self::Bytes(bytes)),
            _ => Err(wrong()),
        }
    }
}

/// A number of bytes with a suffix `k`, `M`, `G` or `T` for powers of 1024.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl ReadData {
    /// The packs to read of those that can be read.
    pub(super) fn choose(
        self,
        mut packs: Vec<Readable>,
        first_byte: impl Fn(u32) -> u8,
    ) -> Vec<Readable> {
        match self {
            Self::None => Vec::new(),
            Self::All => packs,
            Self::Part { part, of } => {
                packs.retain(|(pack, _)| u32::from(first_byte(*pack)) % of == part - 1);
                packs
            }
            Self::Percent(percent) => {
                let count = share(packs.len(), percent);
                packs.shuffle(&mut rand::rng());
                packs.truncate(count);
                packs
            }
            Self::Bytes(bytes) => {
                packs.shuffle(&mut rand::rng());
                let mut sum = 0;
                // At least one, then as long as the limit is not reached.
                let is_within = |(_, size): &Readable| {
                    let is_within = sum < bytes;
                    sum += size;
                    is_within
                };
                packs.into_iter().take_while(is_within).collect()
            }
        }
    }
}

/// A share of a number of packs, at least one.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of packs is exact as a float, and the cast saturates"
)]
fn share(packs: usize, percent: f64) -> usize {
    ((packs as f64 * percent / 100.0) as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_read_as_restic_reads_them() {
        assert_eq!("2/7".parse(), Ok(ReadData::Part { part: 2, of: 7 }));
        assert_eq!("2.5%".parse(), Ok(ReadData::Percent(2.5)));
        assert_eq!("500M".parse(), Ok(ReadData::Bytes(500 << 20)));
        for wrong in [
            "",
            "0/3",
            "4/3",
            "1/257",
            "0%",
            "101%",
            "NaN%",
            "5x",
            "0",
            "-1",
            "99999999999T",
        ] {
            assert!(wrong.parse::<ReadData>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_parts_together_are_everything_once() {
        let packs: Vec<Readable> = (0..256).map(|pack| (pack, 10)).collect();
        let byte = |pack: u32| u8::try_from(pack).unwrap();
        let mut read = Vec::new();
        for part in 1..=7 {
            read.extend(ReadData::Part { part, of: 7 }.choose(packs.clone(), byte));
        }
        read.sort_unstable();
        assert_eq!(read, packs);
        assert_eq!(
            ReadData::Percent(10.0).choose(packs.clone(), byte).len(),
            25
        );
        assert_eq!(ReadData::Bytes(95).choose(packs.clone(), byte).len(), 10);
        assert_eq!(ReadData::Bytes(1).choose(packs, byte).len(), 1);
    }
}
