//! The upper directories of a snapshot, from the targets.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::path::{child, clean, names};
use crate::source::TargetError;

/// One place of the upper directories.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LayoutNode {
    /// What is saved here with everything below; absent for a directory that is only on the way.
    pub(crate) path: Option<PathBuf>,
    /// Where the metadata of a directory on the way comes from; absent for the top.
    pub(crate) metadata_path: Option<PathBuf>,
    /// By name in the snapshot, in the order of trees.
    pub(crate) children: BTreeMap<Vec<u8>, LayoutNode>,
    /// From where the target was given: equal names of different roots are different places.
    root: PathBuf,
}

impl LayoutNode {
    /// Lays out targets as given.
    pub(crate) fn of_targets(targets: &[PathBuf]) -> Result<Self, TargetError> {
        let mut top = Self::default();
        let mut seen = BTreeSet::new();
        for target in targets.iter().map(|target| clean(target)) {
            for target in with_names(target)? {
                if seen.insert(target.clone()) {
                    top.add(&target)?;
                }
            }
        }
        top.unroll()?;
        Ok(top)
    }

    fn add(&mut self, target: &Path) -> Result<(), TargetError> {
        let anchored = clean(&anchor(target));
        let components = names(&anchored);
        let Some((first, below)) = components.split_first() else {
            return Ok(());
        };
        let root = root_of(target);
        let mut name = first.to_vec();
        let mut number = 0;
        while self
            .children
            .get(&name)
            .is_some_and(|other| other.root != root)
        {
            number += 1;
            name = [first, format!("-{number}").as_bytes()].concat();
        }
        let mut metadata_path = clean(&child(&root, first));
        let mut node = self.children.entry(name).or_default();
        node.root = root;
        for component in below {
            node.metadata_path = Some(metadata_path.clone());
            metadata_path = child(&metadata_path, component);
            node = node.children.entry(component.to_vec()).or_default();
        }
        if node.path.as_deref().is_some_and(|path| path != target) {
            return Err(TargetError::Collision {
                path: target.to_owned(),
            });
        }
        node.path = Some(target.to_owned());
        Ok(())
    }

    /// Makes a target with other targets below it a directory of its entries.
    fn unroll(&mut self) -> Result<(), TargetError> {
        if !self.children.is_empty()
            && let Some(path) = self.path.take()
        {
            for name in entries(&path)? {
                let entry = child(&path, name.as_bytes());
                let node = self.children.entry(name.into_vec()).or_default();
                if node.path.as_ref().is_some_and(|path| *path != entry) {
                    return Err(TargetError::Collision { path: entry });
                }
                node.path = Some(entry);
            }
        }
        self.children.values_mut().try_for_each(Self::unroll)
    }
}

/// The target, or its entries where it has no name of its own: `.`, `..`, `/`.
fn with_names(target: PathBuf) -> Result<Vec<PathBuf>, TargetError> {
    if !names(&clean(&anchor(&target))).is_empty() {
        return Ok(vec![target]);
    }
    let entries = entries(&target)?;
    Ok(entries
        .into_iter()
        .map(|name| clean(&target.join(name)))
        .collect())
}

/// The path seen from `/`, also a relative one.
fn anchor(path: &Path) -> PathBuf {
    let mut anchored = OsString::from("/");
    anchored.push(path);
    PathBuf::from(anchored)
}

/// `/`, `.` or as many `..` as the path begins with.
fn root_of(target: &Path) -> PathBuf {
    if target.is_absolute() {
        return PathBuf::from("/");
    }
    let ups: PathBuf = target
        .components()
        .take_while(|part| part.as_os_str() == "..")
        .collect();
    if ups.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        ups
    }
}

fn entries(path: &Path) -> Result<Vec<OsString>, TargetError> {
    let error = |source| TargetError::List {
        path: path.to_owned(),
        source,
    };
    let entries = std::fs::read_dir(path).map_err(error)?;
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(error)?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All leaves as `place-in-snapshot < path`.
    fn leaves(targets: &[&str]) -> Vec<String> {
        fn collect(node: &LayoutNode, place: &str, found: &mut Vec<String>) {
            if let Some(path) = &node.path {
                found.push(format!("{place} < {}", path.display()));
            }
            for (name, child) in &node.children {
                collect(
                    child,
                    &format!("{place}/{}", String::from_utf8_lossy(name)),
                    found,
                );
            }
        }
        let targets: Vec<PathBuf> = targets.iter().map(PathBuf::from).collect();
        let mut found = Vec::new();
        collect(&LayoutNode::of_targets(&targets).unwrap(), "", &mut found);
        found
    }

    #[test]
    fn absolute_targets_are_rebuilt_from_the_root() {
        assert_eq!(leaves(&["/a/b", "/a/c"]), ["/a/b < /a/b", "/a/c < /a/c"]);
    }

    #[test]
    fn relative_targets_begin_at_their_first_name() {
        assert_eq!(
            leaves(&["a/b/", "./c", "../d"]),
            ["/a/b < a/b", "/c < c", "/d < ../d"]
        );
    }

    #[test]
    fn equal_names_of_different_places_get_a_number() {
        assert_eq!(
            leaves(&["/x/b", "x/c", "../x/d"]),
            ["/x/b < /x/b", "/x-1/c < x/c", "/x-2/d < ../x/d"]
        );
    }

    #[test]
    fn a_repeated_target_counts_once() {
        assert_eq!(leaves(&["/a/b", "/a/./b/"]), ["/a/b < /a/b"]);
    }

    #[test]
    fn a_target_within_a_target_is_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().display().to_string();
        std::fs::create_dir_all(folder.path().join("a/inner")).unwrap();
        std::fs::write(folder.path().join("a/file"), "").unwrap();
        std::fs::write(folder.path().join("a/inner/deep"), "").unwrap();
        let expected = [
            format!("{base}/a/file < {base}/a/file"),
            format!("{base}/a/inner < {base}/a/inner"),
        ];
        assert_eq!(
            leaves(&[&format!("{base}/a"), &format!("{base}/a/inner")]),
            expected
        );
    }
}
