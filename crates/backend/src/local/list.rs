//! Listings: only finished objects, whatever else lies in the folders.

use std::fs;
use std::io;
use std::path::Path;

use super::failure::is_missing;
use crate::handle::{is_hex, is_object_name};
use crate::{FileInfo, FileKind};

/// All objects of a kind. A missing folder is an error, because what is not there must not look like what is empty:
/// prune would take a repository that lost its snapshots for one that uses nothing. Locks and the folders of
/// single prefixes come and go, and not every copy of a repository keeps them.
pub(super) fn list(root: &Path, kind: FileKind) -> io::Result<Vec<FileInfo>> {
    if is_missing(root) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut found = Vec::new();
    match kind {
        FileKind::Config => found.extend(file_info("config".to_owned(), &root.join("config"))?),
        FileKind::Pack => {
            for folder in fs::read_dir(root.join(kind.folder()))? {
                let folder = folder?;
                let name = folder.file_name();
                let Some(prefix) = name.to_str().filter(|name| name.len() == 2 && is_hex(name))
                else {
                    continue;
                };
                collect(entries(&folder.path())?, Some(prefix), &mut found)?;
            }
        }
        FileKind::Lock => collect(entries(&root.join(kind.folder()))?, None, &mut found)?,
        _ => {
            let entries = fs::read_dir(root.join(kind.folder()))?;
            collect(entries, None, &mut found)?;
        }
    }
    Ok(found)
}

fn collect(
    entries: impl Iterator<Item = io::Result<fs::DirEntry>>,
    prefix: Option<&str>,
    found: &mut Vec<FileInfo>,
) -> io::Result<()> {
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // A pack in the folder of another prefix is out of reach under its name.
        if is_object_name(&name) && prefix.is_none_or(|prefix| name.starts_with(prefix)) {
            found.extend(file_info(name, &entry.path())?);
        } else {
            tracing::trace!(path = %entry.path().display(), "skipped a file that is no object");
        }
    }
    Ok(())
}

/// The entries of a folder; none when it is absent.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

/// Name and size of a regular file; nothing for one that has vanished since it was seen, or is something else.
fn file_info(name: String, path: &Path) -> io::Result<Option<FileInfo>> {
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(Some(FileInfo {
            name,
            size_bytes: metadata.len(),
        })),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
