//! Paths as texts: cleaning, joining and taking apart without asking the file system.
//!
//! The rules are those of Go's `filepath`, because restic's patterns and snapshot layouts are defined by them.
//! Symbolic links are not resolved: `a/../b` is `b` even when `a` is a link.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The shortest text that names the same place: no empty and no `.` components, `..` taken up where possible.
/// Nothing becomes `.`.
pub fn clean(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let is_absolute = bytes.first() == Some(&b'/');
    let mut kept: Vec<&[u8]> = Vec::new();
    for component in bytes.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => match kept.last() {
                Some(last) if *last != b".." => {
                    kept.pop();
                }
                _ if is_absolute => {}
                _ => kept.push(component),
            },
            _ => kept.push(component),
        }
    }
    let mut cleaned = Vec::with_capacity(bytes.len());
    if is_absolute {
        cleaned.push(b'/');
    }
    for (position, component) in kept.iter().enumerate() {
        if position > 0 {
            cleaned.push(b'/');
        }
        cleaned.extend_from_slice(component);
    }
    if cleaned.is_empty() {
        cleaned.push(b'.');
    }
    PathBuf::from(std::ffi::OsString::from_vec(cleaned))
}

/// The cleaned absolute form of a path, seen from `directory`.
pub fn absolute(directory: &Path, path: &Path) -> PathBuf {
    clean(&directory.join(path))
}

/// The names of a cleaned path, without its root.
pub(crate) fn names(path: &Path) -> Vec<&[u8]> {
    let bytes = path.as_os_str().as_bytes();
    bytes
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .collect()
}

/// A name within a directory.
pub(crate) fn child(directory: &Path, name: &[u8]) -> PathBuf {
    directory.join(OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_follows_the_rules_of_go() {
        let cases = [
            ("", "."),
            (".", "."),
            ("/", "/"),
            ("//a//b/", "/a/b"),
            ("a/./b/../c", "a/c"),
            ("../../a", "../../a"),
            ("a/../..", ".."),
            ("/../a", "/a"),
            ("a/..", "."),
        ];
        for (given, expected) in cases {
            assert_eq!(clean(Path::new(given)), Path::new(expected), "{given:?}");
        }
    }

    #[test]
    fn an_absolute_path_ignores_the_directory() {
        assert_eq!(
            absolute(Path::new("/x"), Path::new("/a/../b")),
            Path::new("/b")
        );
        assert_eq!(
            absolute(Path::new("/x/y"), Path::new("../b")),
            Path::new("/x/b")
        );
    }
}
