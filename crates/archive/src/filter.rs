//! Which files belong to a snapshot or a restore: restic's patterns and the other exclude rules.
//!
//! Owns the rules and their syntax. Walking directories and asking for sizes and devices is left to callers.

mod component;
mod pattern;
mod pattern_file;
mod size;
mod tag_file;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use self::pattern::{Case, PatternError, PatternList, PatternMatch};
pub use self::pattern_file::{Environment, PatternFileError, read_patterns};
pub use self::size::{SizeError, parse_size};
pub use self::tag_file::{TagFile, TagFileError};

/// What to leave out of a snapshot, as written by the user.
#[derive(Debug, Clone, Default)]
pub struct ExcludeOptions {
    /// `--exclude`
    pub patterns: Vec<OsString>,
    /// `--exclude-file`
    pub pattern_files: Vec<PathBuf>,
    /// `--iexclude`
    pub insensitive_patterns: Vec<OsString>,
    /// `--iexclude-file`
    pub insensitive_pattern_files: Vec<PathBuf>,
    /// `--exclude-caches`
    pub caches: bool,
    /// `--exclude-if-present`
    pub if_present: Vec<OsString>,
    /// `--exclude-larger-than`, in bytes.
    pub larger_than: Option<u64>,
}

/// An exclude rule that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExcludeError {
    /// A pattern given directly.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A pattern in a file.
    #[error("{} has an unusable line", path.display())]
    PatternInFile {
        /// The file.
        path: PathBuf,
        /// Which line.
        #[source]
        source: PatternError,
    },
    /// A pattern file that cannot be read.
    #[error(transparent)]
    File(#[from] PatternFileError),
    /// A tag file without a name.
    #[error(transparent)]
    TagFile(#[from] TagFileError),
}

/// Compiled exclude rules; by default nothing is left out.
#[derive(Debug, Clone, Default)]
pub struct Excludes {
    sensitive: PatternList,
    insensitive: PatternList,
    tag_files: Vec<TagFile>,
    larger_than: Option<u64>,
    recorded: Vec<String>,
}

impl Excludes {
    /// Reads the pattern files and compiles everything.
    pub fn compile(
        options: &ExcludeOptions,
        environment: Environment<'_>,
    ) -> Result<Self, ExcludeError> {
        let list =
            |patterns: &[OsString], files: &[PathBuf], case| -> Result<PatternList, ExcludeError> {
                let mut all = patterns.to_vec();
                PatternList::compile(patterns, case)?;
                for path in files {
                    let patterns = read_patterns(path, environment)?;
                    PatternList::compile(&patterns, case).map_err(|source| {
                        ExcludeError::PatternInFile {
                            path: path.clone(),
                            source,
                        }
                    })?;
                    all.extend(patterns);
                }
                Ok(PatternList::compile(&all, case)?)
            };
        let mut tag_files = options
            .if_present
            .iter()
            .map(|text| TagFile::parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        if options.caches {
            tag_files.push(TagFile::cache());
        }
        Ok(Self {
            sensitive: list(&options.patterns, &options.pattern_files, Case::Sensitive)?,
            insensitive: list(
                &options.insensitive_patterns,
                &options.insensitive_pattern_files,
                Case::Insensitive,
            )?,
            tag_files,
            larger_than: options.larger_than,
            recorded: options
                .patterns
                .iter()
                .map(|pattern| pattern.to_string_lossy().into_owned())
                .collect(),
        })
    }

    /// Whether the patterns leave out a cleaned absolute path.
    pub fn is_excluded(&self, path: &Path) -> bool {
        self.sensitive.is_match(path) || self.insensitive.is_match(path)
    }

    /// Whether any pattern was given, that is, whether [`Self::is_excluded`] needs to be asked.
    pub fn has_patterns(&self) -> bool {
        !self.sensitive.is_empty() || !self.insensitive.is_empty()
    }

    /// Whether a file of this size is left out; directories never are.
    pub fn is_too_large(&self, bytes: u64) -> bool {
        self.larger_than.is_some_and(|limit| bytes > limit)
    }

    /// The tag files to look for in each directory.
    pub fn tag_files(&self) -> &[TagFile] {
        &self.tag_files
    }

    /// What restic records in the snapshot: the patterns of the command line, not those of files.
    pub fn recorded(&self) -> &[String] {
        &self.recorded
    }
}
