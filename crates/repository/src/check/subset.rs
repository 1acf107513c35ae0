//! Which packs are read.

use std::str::FromStr;

use rand::seq::SliceRandom;

use crate::check::ReadData;
use crate::check::packs::PresentPack;
use crate::index::Index;

/// A part of the packs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DataSubset {
    /// One part of several, always the same packs: after `1/7` to `7/7` all were read.
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
pub struct ParseSubsetError(pub String);

impl FromStr for DataSubset {
    type Err = ParseSubsetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseSubsetError(text.chars().take(80).collect()))
    }
}

fn parse(text: &str) -> Option<DataSubset> {
    if let Some((part, of)) = text.split_once('/') {
        let (part, of) = (part.parse().ok()?, of.parse().ok()?);
        let is_possible = (1..=256).contains(&of) && (1..=of).contains(&part);
        return is_possible.then_some(DataSubset::Part { part, of });
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent = percent.parse::<f64>().ok()?;
        let is_possible = percent > 0.0 && percent <= 100.0;
        return is_possible.then_some(DataSubset::Percent(percent));
    }
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    let bytes = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (bytes > 0).then_some(DataSubset::Bytes(bytes))
}

/// The packs to read of those that are there, in the order of their ids unless they are random.
pub(super) fn choose(
    packs: Vec<PresentPack>,
    read_data: ReadData,
    index: &Index,
) -> Vec<PresentPack> {
    let first_byte = |pack: &PresentPack| index.packs()[pack.number as usize].as_bytes()[0];
    match read_data {
        ReadData::None => Vec::new(),
        ReadData::All => packs,
        ReadData::Subset(subset) => subset.choose(packs, first_byte),
    }
}

impl DataSubset {
    fn choose(
        self,
        mut packs: Vec<PresentPack>,
        first_byte: impl Fn(&PresentPack) -> u8,
    ) -> Vec<PresentPack> {
        match self {
            Self::Part { part, of } => {
                packs.retain(|pack| u32::from(first_byte(pack)) % of == part - 1);
            }
            Self::Percent(percent) => {
                let count = share(packs.len(), percent);
                packs.shuffle(&mut rand::rng());
                packs.truncate(count);
            }
            Self::Bytes(bytes) => {
                packs.shuffle(&mut rand::rng());
                let mut sum = 0_u64;
                // The pack that reaches the limit is the last one, so there is at least one.
                let count = packs
                    .iter()
                    .take_while(|pack| {
                        let is_below = sum < bytes;
                        sum = sum.saturating_add(pack.bytes);
                        is_below
                    })
                    .count();
                packs.truncate(count);
            }
        }
        packs
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
    fn subsets_are_parsed_as_restic_parses_them() {
        for (text, subset) in [
            ("2/7", DataSubset::Part { part: 2, of: 7 }),
            ("256/256", DataSubset::Part { part: 256, of: 256 }),
            ("2.5%", DataSubset::Percent(2.5)),
            ("500M", DataSubset::Bytes(500 << 20)),
            ("1k", DataSubset::Bytes(1024)),
            ("12", DataSubset::Bytes(12)),
        ] {
            assert_eq!(text.parse(), Ok(subset), "{text}");
        }
        for text in [
            "",
            "0/3",
            "4/3",
            "1/257",
            "1/1/1",
            "0%",
            "101%",
            "NaN%",
            "inf%",
            "-1%",
            "5x",
            "0",
            "-1",
            "1.5M",
            "99999999999T",
            "ü",
            "1ü",
        ] {
            assert!(text.parse::<DataSubset>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_parts_together_are_everything_once() {
        let packs: Vec<_> = (0..256)
            .map(|number| PresentPack { number, bytes: 10 })
            .collect();
        let byte = |pack: &PresentPack| u8::try_from(pack.number).unwrap();
        let choose = |subset: DataSubset| subset.choose(packs.clone(), byte);
        let mut read: Vec<_> = (1..=7)
            .flat_map(|part| choose(DataSubset::Part { part, of: 7 }))
            .collect();
        read.sort_unstable_by_key(|pack| pack.number);
        assert_eq!(read, packs);
        assert_eq!(choose(DataSubset::Percent(10.0)).len(), 25);
        assert_eq!(choose(DataSubset::Percent(0.01)).len(), 1);
        assert_eq!(choose(DataSubset::Bytes(95)).len(), 10);
        assert_eq!(choose(DataSubset::Bytes(1)).len(), 1);
        assert!(
            DataSubset::Percent(50.0)
                .choose(Vec::new(), byte)
                .is_empty()
        );
    }
}
