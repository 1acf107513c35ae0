//! `--one-file-system`: which device each target lies on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::metadata::FileStat;

/// Devices of the targets.
#[derive(Debug, Default)]
pub(crate) struct Devices(BTreeMap<PathBuf, u64>);

impl Devices {
    /// Of absolute targets; those that cannot be asked allow no device, their own errors are told elsewhere.
    pub(crate) fn of_targets(targets: &[PathBuf]) -> Self {
        let stat = |path: &PathBuf| {
            FileStat::of_path(path)
                .ok()
                .map(|stat| (path.clone(), stat.device_id))
        };
        Self(targets.iter().filter_map(stat).collect())
    }

    /// The device to stay on for this path and what is below it: that of the nearest target.
    pub(crate) fn allowed(&self, path: &Path) -> Option<u64> {
        path.ancestors()
            .find_map(|ancestor| self.0.get(ancestor).copied())
    }
}
