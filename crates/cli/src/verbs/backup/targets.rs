//! What to back up: the arguments and the lists of `--files-from` and its sisters.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use archive::filter::{Case, PatternList};

use super::BackupArguments;
use crate::Context;
use crate::failure::Failure;

/// All targets, in the order of restic: patterns, verbatim paths, raw paths, arguments.
pub fn collect(context: &Context, arguments: &BackupArguments) -> Result<Vec<PathBuf>, Failure> {
    let mut targets = Vec::new();
    for file in &arguments.files_from {
        for line in lines(&read(file)?) {
            let pattern = line.trim_ascii();
            if pattern.is_empty() || pattern.starts_with(b"#") {
                continue;
            }
            let found = expand(Path::new(OsStr::from_bytes(pattern)))?;
            if found.is_empty() {
                let pattern = String::from_utf8_lossy(pattern);
                context
                    .printer
                    .warning(&format!("The pattern `{pattern}` matches no file"));
            }
            targets.extend(found);
        }
    }
    for file in &arguments.files_from_verbatim {
        let content = read(file)?;
        targets.extend(lines(&content).filter(|line| !line.is_empty()).map(path));
    }
    for file in &arguments.files_from_raw {
        targets.extend(raw(file, &read(file)?)?);
    }
    targets.extend(arguments.targets.iter().map(PathBuf::from));
    if targets.iter().any(|target| target.as_os_str().is_empty()) {
        return Err(Failure::new("An empty name is no file or folder"));
    }
    Ok(targets)
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let result = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut content).map(|_| content)
    } else {
        std::fs::read(file)
    };
    result.map_err(|error| {
        Failure::new(format!(
            "Cannot read the list of targets {}: {error}",
            file.display()
        ))
    })
}

/// Lines without their ends; a byte order mark is no part of the first.
fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    content
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn raw(file: &Path, content: &[u8]) -> Result<Vec<PathBuf>, Failure> {
    let Some(content) = content.strip_suffix(&[0]) else {
        return if content.is_empty() {
            Ok(Vec::new())
        } else {
            Err(Failure::new(format!(
                "The last name in {} is not ended by a NUL: the list is cut off",
                file.display()
            )))
        };
    };
    Ok(content.split(|byte| *byte == 0).map(path).collect())
}

/// The paths that match a pattern, sorted; without wildcards the path itself, if it exists.
fn expand(pattern: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        found = match part {
            Component::Normal(name) if has_wildcards(name) => {
                let matcher = matcher(name)?;
                found
                    .iter()
                    .flat_map(|folder| matching(folder, &matcher))
                    .collect()
            }
            part => {
                let part = unescape(part.as_os_str());
                found
                    .into_iter()
                    .map(|folder| folder.join(&part))
                    .filter(|path| path.symlink_metadata().is_ok())
                    .collect()
            }
        };
    }
    found.retain(|path| !path.as_os_str().is_empty());
    Ok(found)
}

fn has_wildcards(name: &OsStr) -> bool {
    name.as_bytes().iter().any(|byte| b"*?[".contains(byte))
}

fn unescape(name: &OsStr) -> OsString {
    let mut bytes = Vec::with_capacity(name.len());
    let mut letters = name.as_bytes().iter();
    while let Some(letter) = letters.next() {
        bytes.push(if *letter == b'\\' {
            *letters.next().unwrap_or(letter)
        } else {
            *letter
        });
    }
    OsString::from_vec(bytes)
}

/// One component as a pattern of its own.
fn matcher(name: &OsStr) -> Result<PatternList, Failure> {
    let mut pattern = OsString::from("/");
    pattern.push(name);
    Ok(PatternList::compile(&[pattern], Case::Sensitive)?)
}

/// A folder that cannot be listed matches nothing, as with a shell.
fn matching(folder: &Path, matcher: &PatternList) -> Vec<PathBuf> {
    let listed = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let names = std::fs::read_dir(listed)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    let mut names: Vec<OsString> = names
        .filter(|name| matcher.is_match(&Path::new("/").join(name)))
        .collect();
    names.sort();
    names.into_iter().map(|name| folder.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_folder_by_folder_and_plain_paths_must_exist() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a1/x.txt", "a2/x.txt", "a2/y.txt", "b/x.txt"] {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            let found = expand(&folder.path().join(pattern)).unwrap();
            found
                .iter()
                .map(|path| {
                    path.strip_prefix(folder.path())
                        .unwrap()
                        .display()
                        .to_string()
                })
                .collect()
        };
        assert_eq!(names("a*/x*"), ["a1/x.txt", "a2/x.txt"]);
        assert_eq!(names("a2/?.txt"), ["a2/x.txt", "a2/y.txt"]);
        assert_eq!(names("b/x.txt"), ["b/x.txt"]);
        assert!(names("c/x.txt").is_empty());
        assert!(names("*.txt").is_empty());
    }

    #[test]
    fn a_raw_list_that_is_cut_off_is_refused() {
        assert_eq!(
            raw(Path::new("l"), b"a\nb\0c\0").unwrap(),
            [Path::new("a\nb"), Path::new("c")]
        );
        assert!(raw(Path::new("l"), b"a\0b").is_err());
        assert!(raw(Path::new("l"), b"").unwrap().is_empty());
    }
}
