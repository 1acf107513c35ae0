//! The `args` of a target: flags of restic's backup and restore that make sense in a session.

use crate::v1beta1::{BackupTarget, RestoreTarget};

/// What the flags of a backup target ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of its own, as on restic's command line"
)]
pub struct BackupArguments {
    /// `--tag`.
    pub tags: Vec<String>,
    /// `--exclude`.
    pub excludes: Vec<String>,
    /// `--iexclude`.
    pub excludes_any_case: Vec<String>,
    /// `--exclude-if-present`.
    pub exclude_if_present: Vec<String>,
    /// `--exclude-larger-than`.
    pub exclude_larger_than: Option<String>,
    /// `--exclude-caches`.
    pub exclude_caches: bool,
    /// `--one-file-system`.
    pub one_file_system: bool,
    /// `--ignore-inode`.
    pub ignore_inode: bool,
    /// `--ignore-ctime`.
    pub ignore_ctime: bool,
    /// `--with-atime`.
    pub with_atime: bool,
    /// `--force`: read every file.
    pub force: bool,
}

/// What the flags of a restore target ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreArguments {
    /// `--target`: another folder than where the files came from.
    pub target: Option<String>,
    /// `--overwrite`.
    pub overwrite: Overwrite,
    /// `--delete`.
    pub delete: bool,
    /// `--sparse`.
    pub sparse: bool,
    /// `--verify`.
    pub verify: bool,
}

/// Which files of the target a restore writes over, as `--overwrite` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// `always`.
    #[default]
    Always,
    /// `if-changed`.
    IfChanged,
    /// `if-newer`.
    IfNewer,
    /// `never`.
    Never,
}

/// A flag that a session cannot obey.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// The flag is not known here.
    #[error("`{flag}` is not supported; known are {known}")]
    Unknown {
        /// The flag.
        flag: String,
        /// What is known.
        known: &'static str,
    },
    /// The flag does not know the value.
    #[error("`{flag}={value}` is unknown; known are {known}")]
    Value {
        /// The flag.
        flag: String,
        /// What stands behind it.
        value: String,
        /// What is known.
        known: &'static str,
    },
    /// The flag needs a value.
    #[error("`{flag}` needs a value, as `{flag}=VALUE`")]
    NoValue {
        /// The flag.
        flag: String,
    },
}

const BACKUP_FLAGS: &str = "--tag, --exclude, --iexclude, --exclude-if-present, --exclude-larger-than, \
    --exclude-caches, --one-file-system, --ignore-inode, --ignore-ctime, --with-atime, --force";
const RESTORE_FLAGS: &str = "--target, --overwrite, --delete, --sparse, --verify";

/// Reads the flags of a backup target; all mistakes at once.
pub fn backup(target: Option<&BackupTarget>) -> Result<BackupArguments, Vec<ArgumentError>> {
    let mut out = BackupArguments::default();
    let words = target.map_or(&[][..], |target| &target.args);
    read(words, BACKUP_FLAGS, |flag, value| {
        match flag {
            "--tag" => out.tags.extend(value.text()?.split(',').map(str::to_owned)),
            "--exclude" | "-e" => out.excludes.push(value.text()?),
            "--iexclude" => out.excludes_any_case.push(value.text()?),
            "--exclude-if-present" => out.exclude_if_present.push(value.text()?),
            "--exclude-larger-than" => out.exclude_larger_than = Some(value.text()?),
            "--exclude-caches" => out.exclude_caches = value.is_set()?,
            "--one-file-system" | "-x" => out.one_file_system = value.is_set()?,
            "--ignore-inode" => out.ignore_inode = value.is_set()?,
            "--ignore-ctime" => out.ignore_ctime = value.is_set()?,
            "--with-atime" => out.with_atime = value.is_set()?,
            "--force" | "-f" => out.force = value.is_set()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

/// Reads the flags of a restore target; all mistakes at once.
pub fn restore(target: Option<&RestoreTarget>) -> Result<RestoreArguments, Vec<ArgumentError>> {
    let mut out = RestoreArguments::default();
    let words = target.map_or(&[][..], |target| &target.args);
    read(words, RESTORE_FLAGS, |flag, value| {
        match flag {
            "--target" | "-t" => out.target = Some(value.text()?),
            "--overwrite" => out.overwrite = value.overwrite()?,
            "--delete" => out.delete = value.is_set()?,
            "--sparse" => out.sparse = value.is_set()?,
            "--verify" => out.verify = value.is_set()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

/// The value of a flag, taken from behind `=` or from the next word.
struct FlagValue<'a> {
    flag: &'a str,
    inline: Option<&'a str>,
    next: Option<&'a str>,
    took_next: bool,
}

impl FlagValue<'_> {
    /// Of a flag that is set or not; never the next word, as on restic's command line.
    fn is_set(&self) -> Result<bool, ArgumentError> {
        match self.inline {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(value) => Err(self.unknown(value, "true and false")),
        }
    }

    fn overwrite(&mut self) -> Result<Overwrite, ArgumentError> {
        match self.text()?.as_str() {
            "always" => Ok(Overwrite::Always),
            "if-changed" => Ok(Overwrite::IfChanged),
            "if-newer" => Ok(Overwrite::IfNewer),
            "never" => Ok(Overwrite::Never),
            other => Err(self.unknown(other, "always, if-changed, if-newer and never")),
        }
    }

    fn unknown(&self, value: &str, known: &'static str) -> ArgumentError {
        ArgumentError::Value {
            flag: self.flag.to_owned(),
            value: value.to_owned(),
            known,
        }
    }

    fn text(&mut self) -> Result<String, ArgumentError> {
        if let Some(inline) = self.inline {
            return Ok(inline.to_owned());
        }
        self.took_next = true;
        self.next
            .map(str::to_owned)
            .ok_or_else(|| ArgumentError::NoValue {
                flag: self.flag.to_owned(),
            })
    }
}

fn read(
    words: &[String],
    known: &'static str,
    mut take: impl FnMut(&str, &mut FlagValue<'_>) -> Result<bool, ArgumentError>,
) -> Result<(), Vec<ArgumentError>> {
    let mut errors = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        let (flag, inline) = word
            .split_once('=')
            .map_or((word.as_str(), None), |(flag, value)| (flag, Some(value)));
        let next = words.get(at).map(String::as_str);
        let mut value = FlagValue {
            flag,
            inline,
            next,
            took_next: false,
        };
        match take(flag, &mut value) {
            Ok(true) => {}
            Ok(false) => errors.push(ArgumentError::Unknown {
                flag: flag.to_owned(),
                known,
            }),
            Err(error) => errors.push(error),
        }
        at += usize::from(value.took_next && next.is_some());
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(args: &[&str]) -> BackupTarget {
        BackupTarget {
            args: args.iter().map(|&word| word.to_owned()).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn flags_take_their_value_inline_or_from_the_next_word() {
        let read = backup(Some(&target(&[
            "--tag=a,b",
            "--exclude",
            "*.tmp",
            "--one-file-system",
        ])))
        .unwrap();
        assert_eq!(read.tags, ["a", "b"]);
        assert_eq!(read.excludes, ["*.tmp"]);
        assert!(read.one_file_system);
        assert_eq!(backup(None).unwrap(), BackupArguments::default());
    }

    #[test]
    fn a_flag_that_is_switched_off_is_off() {
        let target = RestoreTarget {
            args: vec!["--delete=false".to_owned(), "--sparse=true".to_owned()],
            ..Default::default()
        };
        let read = restore(Some(&target)).unwrap();
        assert!(!read.delete && read.sparse);
    }

    #[test]
    fn what_is_written_over_is_one_of_four_words() {
        let read = |word: &str| {
            restore(Some(&RestoreTarget {
                args: vec!["--overwrite".to_owned(), word.to_owned()],
                ..Default::default()
            }))
        };
        assert_eq!(read("if-newer").unwrap().overwrite, Overwrite::IfNewer);
        let errors = read("maybe").unwrap_err();
        assert_eq!(
            errors[0].to_string(),
            "`--overwrite=maybe` is unknown; known are always, if-changed, if-newer and never"
        );
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let words = ["--repo=/x", "--verbose", "--force=no", "--exclude"];
        let errors = backup(Some(&target(&words))).unwrap_err();
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 4, "{texts:?}");
        assert!(texts[2].contains("`--force=no`"), "{texts:?}");
        assert!(texts[0].contains("`--repo`") && texts[3].contains("needs a value"));
    }
}
