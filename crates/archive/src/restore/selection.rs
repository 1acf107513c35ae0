//! Which entries of a snapshot a restore is about.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::filter::PatternList;

/// Which entries are restored, by their paths in the snapshot (below the subfolder, if one was named).
#[derive(Debug, Clone, Default)]
pub enum Selection {
    /// All.
    #[default]
    All,
    /// What one of the lists matches, and everything below it.
    Include(Vec<PatternList>),
    /// All but what one of the lists matches, and everything below it.
    Exclude(Vec<PatternList>),
}

/// What a selection says of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Selected {
    /// It is restored.
    pub(super) is_selected: bool,
    /// Something below it may be.
    pub(super) may_be_below: bool,
}

impl Selection {
    /// Whether every entry is selected.
    pub fn is_all(&self) -> bool {
        match self {
            Self::All => true,
            Self::Include(_) => false,
            Self::Exclude(lists) => lists.iter().all(PatternList::is_empty),
        }
    }

    /// Whether an entry, or something below it, may be restored.
    pub fn may_select(&self, path: &[u8], is_directory: bool) -> bool {
        let selected = self.select(path, is_directory);
        selected.is_selected || selected.may_be_below
    }

    /// Decides about an entry. The first part of the answer does not depend on whether it is a directory.
    pub(super) fn select(&self, path: &[u8], is_directory: bool) -> Selected {
        let path = Path::new(OsStr::from_bytes(path));
        match self {
            Self::All => Selected {
                is_selected: true,
                may_be_below: is_directory,
            },
            Self::Include(lists) => {
                let mut selected = Selected {
                    is_selected: false,
                    may_be_below: false,
                };
                for list in lists {
                    let found = list.matches(path);
                    selected.is_selected |= found.is_match;
                    selected.may_be_below |= is_directory && found.may_match_below;
                }
                selected
            }
            Self::Exclude(lists) => {
                let is_selected = !lists.iter().any(|list| list.is_match(path));
                Selected {
                    is_selected,
                    may_be_below: is_selected && is_directory,
                }
            }
        }
    }
}
