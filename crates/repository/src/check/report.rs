//! What a check found.

use std::fmt;

use serde::Serialize;

use crate::id::PackId;

/// More errors than this are only counted: a lost index would otherwise fill the memory.
const MAX_ERRORS: usize = 10_000;

/// The findings of a check.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// What is wrong, at most ten thousand of them.
    pub errors: Vec<CheckError>,
    /// How many errors there are.
    pub error_count: u64,
    /// What is not as it should be but harms nothing, each with what to do.
    pub notes: Vec<String>,
    /// What to do about the errors.
    pub hints: Vec<String>,
    /// Packs whose content is damaged.
    pub damaged_packs: Vec<PackId>,
    /// Whether the index has to be built anew from the packs.
    pub suggests_repair_index: bool,
    /// Whether prune would remove leftovers.
    pub suggests_prune: bool,
    /// Snapshots checked.
    pub snapshots: u64,
    /// Trees read.
    pub trees: u64,
    /// Packs that the index names.
    pub packs: u64,
    /// Packs read.
    pub packs_read: u64,
    /// Bytes of packs read.
    pub bytes_read: u64,
}

/// What an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckSubject {
    /// An index file.
    Index,
    /// A pack, by its presence and size.
    Pack,
    /// A snapshot file.
    Snapshot,
    /// A tree.
    Tree,
    /// The content of a pack.
    Data,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckError {
    /// What it is about.
    pub subject: CheckSubject,
    /// Which file or blob, for people.
    pub object: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for CheckError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.object, self.message)
    }
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.error_count == 0
    }

    pub(super) fn add(
        &mut self,
        subject: CheckSubject,
        object: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.error_count += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(CheckError {
                subject,
                object: object.into(),
                message: message.into(),
            });
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds a hint once.
    pub(super) fn hint(&mut self, hint: &str) {
        if !self.hints.iter().any(|known| known == hint) {
            self.hints.push(hint.to_owned());
        }
    }
}
