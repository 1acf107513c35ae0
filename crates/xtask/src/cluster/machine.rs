//! What clusters change on the machine as a whole, and its way back: kernel values that the kubelet sets, and empty
//! folders with fixed names to mount on.
//!
//! Clusters share them, so a file beside their folders says who runs: the first saves what was, the last restores it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::namespaces::FIXED;
use crate::failure::Failure;
use crate::servers::{load_json, save_json};

/// The kernel values that the kubelet sets, below /proc/sys.
const VALUES: &[&str] = &[
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// The machine before the first cluster.
#[derive(Default, Serialize, Deserialize)]
struct Before {
    clusters: Vec<PathBuf>,
    values: BTreeMap<PathBuf, String>,
    folders: Vec<PathBuf>,
}

/// The file of what was, and what there is to save.
pub struct Machine {
    file: PathBuf,
    values: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Machine {
    /// This machine, as the user's clusters share it.
    pub fn new(testbed: &Path) -> Self {
        Self {
            file: testbed.join("clusters.json"),
            values: VALUES
                .iter()
                .map(|value| Path::new("/proc/sys").join(value))
                .collect(),
            folders: FIXED
                .iter()
                .map(|(fixed, _)| PathBuf::from(fixed))
                .collect(),
        }
    }

    /// Saves what was, unless another cluster has done so, and makes the folders.
    pub fn enter(&self, layout: &Layout) -> Result<(), Failure> {
        let _lock = self.lock()?;
        let mut before: Before = load_json(&self.file)?;
        before
            .clusters
            .retain(|cluster| cluster.is_dir() && cluster != layout.state());
        if before.values.is_empty() {
            for value in &self.values {
                // Not every kernel has all of them.
                if let Ok(text) = fs::read_to_string(value) {
                    before.values.insert(value.clone(), text);
                }
            }
        }
        for folder in self.folders.iter().filter(|folder| !folder.is_dir()) {
            if !before.folders.contains(folder) {
                before.folders.push(folder.clone());
            }
        }
        before.clusters.push(layout.state().to_path_buf());
        // Saved before anything is changed: a kill in between is undone by the next `down`.
        save_json(&self.file, &before)?;
        for folder in &self.folders {
            fs::create_dir_all(folder).map_err(|source| Failure::Write {
                path: folder.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Restores what was, when no other cluster runs.
    pub fn leave(&self, layout: &Layout) -> Result<(), Failure> {
        let _lock = self.lock()?;
        if !self.file.is_file() {
            return Ok(());
        }
        let mut before: Before = load_json(&self.file)?;
        before
            .clusters
            .retain(|cluster| cluster.is_dir() && cluster != layout.state());
        if !before.clusters.is_empty() {
            return save_json(&self.file, &before);
        }
        for (path, value) in &before.values {
            if fs::read_to_string(path).is_ok_and(|now| now != *value) {
                fs::write(path, value).map_err(|source| Failure::Write {
                    path: path.clone(),
                    source,
                })?;
            }
        }
        for folder in &before.folders {
            // Somebody else may use it by now; then it is not empty.
            let _ = fs::remove_dir(folder);
        }
        fs::remove_file(&self.file).map_err(|source| Failure::Write {
            path: self.file.clone(),
            source,
        })
    }

    fn lock(&self) -> Result<File, Failure> {
        let path = self.file.with_extension("lock");
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| File::create(&path))
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|source| Failure::Write { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cluster_restores_what_the_first_one_found() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let machine = Machine {
            file: at("clusters.json"),
            values: vec![at("panic"), at("unknown")],
            folders: vec![at("there"), at("made")],
        };
        fs::write(at("panic"), "1\n").unwrap();
        fs::create_dir(at("there")).unwrap();
        let [one, other] = ["one", "other"].map(|name| {
            fs::create_dir(at(name)).unwrap();
            Layout::new(&at(name)).unwrap()
        });

        machine.enter(&one).unwrap();
        fs::write(at("panic"), "10\n").unwrap();
        machine.enter(&other).unwrap();
        assert!(at("made").is_dir());

        machine.leave(&one).unwrap();
        machine.leave(&one).unwrap();
        assert_eq!(fs::read_to_string(at("panic")).unwrap(), "10\n");
        assert!(at("made").is_dir());

        machine.leave(&other).unwrap();
        machine.leave(&other).unwrap();
        assert_eq!(fs::read_to_string(at("panic")).unwrap(), "1\n");
        assert!(at("there").is_dir());
        assert!(!at("made").exists());
        assert!(!at("clusters.json").exists());
    }

    #[test]
    fn a_cluster_whose_folder_was_removed_by_hand_holds_nobody_up() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let machine = Machine {
            file: at("clusters.json"),
            values: vec![at("panic")],
            folders: Vec::new(),
        };
        fs::write(at("panic"), "1\n").unwrap();
        let [lost, other] = ["lost", "other"].map(|name| {
            fs::create_dir(at(name)).unwrap();
            Layout::new(&at(name)).unwrap()
        });
        machine.enter(&lost).unwrap();
        fs::remove_dir(at("lost")).unwrap();
        fs::write(at("panic"), "10\n").unwrap();
        machine.enter(&other).unwrap();
        machine.leave(&other).unwrap();
        assert_eq!(fs::read_to_string(at("panic")).unwrap(), "1\n");
    }
}
