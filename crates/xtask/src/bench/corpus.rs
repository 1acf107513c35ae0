//! The data that is backed up: generated from a seed, the same on every machine.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::report;

const LARGE_BYTES: u64 = 2 << 30;
const SMALL_FILES: usize = 80_000;
const MEAN_FILE_BYTES: usize = 16 << 10;
const FILES_PER_FOLDER: usize = 40;
const QUICK: usize = 20;

/// Writes so many files of incompressible data, which have so many bytes together.
pub fn write_incompressible(folder: &Path, files: u64, bytes: u64) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    (0..files).try_for_each(|number| {
        let path = folder.join(format!("incompressible{number:02}"));
        write_random(&path, (number + 1) << 32, bytes / files)
    })
}

fn write_random(path: &Path, seed: u64, bytes: u64) -> std::io::Result<()> {
    let mut random = Random(seed);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for _ in 0..bytes / 8 {
        file.write_all(&random.next().to_le_bytes())?;
    }
    file.flush()
}

/// The corpora of one bench folder. The small files have two states, original and changed by 1 %.
pub struct Corpora {
    folder: PathBuf,
    large_bytes: u64,
    small_files: usize,
}

impl Corpora {
    /// Generates what is missing; a finished corpus is used again.
    pub fn prepare(folder: &Path, is_quick: bool) -> Result<Self, Failure> {
        let divisor = if is_quick { QUICK } else { 1 };
        let corpora = Self {
            folder: folder.join(if is_quick { "quick" } else { "full" }),
            large_bytes: LARGE_BYTES / divisor as u64,
            small_files: SMALL_FILES / divisor,
        };
        let finished = corpora.folder.join("finished");
        if !finished.exists() {
            report::line("generating the corpora");
            corpora
                .generate()
                .and_then(|()| fs::write(&finished, ""))
                .map_err(|source| corpora.failed(source))?;
        }
        Ok(corpora)
    }

    /// The folder with one large incompressible file.
    pub fn large(&self) -> PathBuf {
        self.folder.join("large")
    }

    /// The folder with many small text files.
    pub fn small(&self) -> PathBuf {
        self.folder.join("small")
    }

    /// Words for the table: what the corpora hold.
    pub fn description(&self) -> String {
        format!(
            "*Large file*: one incompressible file of {} MiB. *Small files*: {} text files in folders of {}, {} KiB each on average, put together from a seeded vocabulary so that they compress like source code; the changed state has other text in 1 % of them.",
            self.large_bytes >> 20,
            self.small_files,
            FILES_PER_FOLDER,
            MEAN_FILE_BYTES >> 10
        )
    }

    /// Brings the small files into their original state.
    pub fn reset(&self) -> Result<(), Failure> {
        self.write_changed(0)
    }

    /// Gives 1 % of the small files other text.
    pub fn change(&self) -> Result<(), Failure> {
        self.write_changed(1)
    }

    fn write_changed(&self, state: u64) -> Result<(), Failure> {
        let vocabulary = Vocabulary::new();
        (0..self.small_files)
            .step_by(100)
            .try_for_each(|number| self.write_small(&vocabulary, number, state))
            .map_err(|source| self.failed(source))
    }

    fn generate(&self) -> std::io::Result<()> {
        fs::create_dir_all(self.large())?;
        write_random(&self.large().join("incompressible"), 1, self.large_bytes)?;
        let vocabulary = Vocabulary::new();
        (0..self.small_files).try_for_each(|number| self.write_small(&vocabulary, number, 0))
    }

    fn write_small(
        &self,
        vocabulary: &Vocabulary,
        number: usize,
        state: u64,
    ) -> std::io::Result<()> {
        let group = number / FILES_PER_FOLDER;
        let folder = self
            .small()
            .join(format!("part{:02}", group / 50))
            .join(format!("module{group:04}"));
        fs::create_dir_all(&folder)?;
        let mut random = Random(1_000_000 + number as u64 + (state << 40));
        fs::write(
            folder.join(format!("file{number:05}.txt")),
            vocabulary.text(&mut random),
        )
    }

    fn failed(&self, source: std::io::Error) -> Failure {
        Failure::Write {
            path: self.folder.clone(),
            source,
        }
    }
}

/// Words with frequencies like those of a programming language: few very common, many rare.
struct Vocabulary {
    words: Vec<String>,
}

impl Vocabulary {
    fn new() -> Self {
        let mut random = Random(7);
        let letters = b"etaoinsrhldcumfpgwybvkxjqz_";
        let words = (0..6000)
            .map(|_| {
                let length = 2 + random.below(9);
                (0..length)
                    .map(|_| {
                        char::from(
                            letters[random.below(letters.len()).min(random.below(letters.len()))],
                        )
                    })
                    .collect()
            })
            .collect();
        Self { words }
    }

    /// One file: indented lines of words and punctuation; most files are short, some are long.
    fn text(&self, random: &mut Random) -> String {
        // A product of two uniform numbers in 0..2 has the mean 1 and a long tail.
        let unit = MEAN_FILE_BYTES / 1024;
        let length = (random.below(2048) * random.below(2048) / 1024 * unit).max(64);
        let mut text = String::with_capacity(length + 128);
        let mut depth = 0_usize;
        let mut lines: Vec<Range<usize>> = Vec::new();
        while text.len() < length {
            let start = text.len();
            if !lines.is_empty() && random.below(5) < 2 {
                // Source code repeats itself, mostly what stands close by.
                let nearest = lines.len() - 1 - random.below(lines.len().min(40));
                let again = text[lines[nearest].clone()].to_owned();
                text.push_str(&again);
            } else {
                depth = (depth + random.below(3)).saturating_sub(1).min(6);
                self.line(random, depth, &mut text);
            }
            lines.push(start..text.len());
        }
        text
    }

    fn line(&self, random: &mut Random, depth: usize, text: &mut String) {
        text.extend(std::iter::repeat_n("    ", depth));
        for _ in 0..=random.below(8) {
            text.push_str(self.word(random));
            text.push_str([" ", " ", ".", "(", ", ", " = ", "::"][random.below(7)]);
        }
        text.push_str([";\n", ")\n", " {\n", "}\n", "\n\n"][random.below(5)]);
    }

    /// Rank by the cube of a uniform number: a word of rank r is about as frequent as r^(-2/3).
    fn word(&self, random: &mut Random) -> &str {
        let scale = 1 << 16;
        let uniform = random.below(scale);
        let rank = uniform * uniform / scale * uniform / scale * self.words.len() / scale;
        &self.words[rank]
    }
}

/// `SplitMix64`: small, fast and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 32).unwrap_or(0) % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_text_of_the_intended_mean_size() {
        let vocabulary = Vocabulary::new();
        assert_eq!(
            vocabulary.text(&mut Random(3)),
            vocabulary.text(&mut Random(3))
        );
        let total: usize = (0..200)
            .map(|seed| vocabulary.text(&mut Random(seed)).len())
            .sum();
        let mean = total / 200;
        assert!(
            (MEAN_FILE_BYTES / 2..MEAN_FILE_BYTES * 2).contains(&mean),
            "mean {mean}"
        );
    }
}
