//! What a check tells while it goes on.

use crate::check::CheckError;

/// What check is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckStep {
    /// Reading snapshot files.
    Snapshots,
    /// Comparing the index with the packs that are there.
    Packs,
    /// Reading all trees of all snapshots.
    Trees,
    /// Reading packs.
    Data,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckAdvance {
    /// The step.
    pub step: CheckStep,
    /// Snapshots, packs or trees done.
    pub done: u64,
    /// To be done. For trees at most so many: those that no snapshot uses are not read.
    pub total: u64,
    /// Bytes of packs read; 0 in other steps.
    pub bytes_done: u64,
    /// Bytes of packs to be read; 0 in other steps.
    pub bytes_total: u64,
}

impl CheckAdvance {
    pub(super) const fn new(step: CheckStep, done: u64, total: u64) -> Self {
        Self {
            step,
            done,
            total,
            bytes_done: 0,
            bytes_total: 0,
        }
    }
}

/// Receives the progress of a check.
pub trait CheckProgress: Send + Sync {
    /// A step got on.
    fn advanced(&self, _advance: CheckAdvance) {}

    /// Something is wrong. Every error is told, also those that the report only counts.
    fn found(&self, _error: &CheckError) {}
}

/// Nobody is watching.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCheckProgress;

impl CheckProgress for NoCheckProgress {}
