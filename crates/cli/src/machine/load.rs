//! Manifests from files, folders and stdin.

use std::io::Read;
use std::path::{Path, PathBuf};

use api::manifest::SourceDocument;

use crate::failure::Failure;

/// A manifest file larger than this is no manifest.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Reads every named file; a folder stands for the `.yaml`, `.yml` and `.json` files in it, `-` for stdin.
pub fn read(paths: &[PathBuf]) -> Result<Vec<SourceDocument>, Failure> {
    let mut documents = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin()
                .take(MAX_FILE_BYTES)
                .read_to_string(&mut text)
                .map_err(|error| {
                    Failure::new(format!("Cannot read manifests from stdin: {error}"))
                })?;
            documents.push(SourceDocument {
                name: "<stdin>".to_owned(),
                text,
            });
        } else if path.is_dir() {
            let files = files_in(path)?;
            if files.is_empty() {
                return Err(Failure::new(format!(
                    "The folder {} holds no manifests",
                    path.display()
                ))
                .with_hint("Manifests end in `.yaml`, `.yml` or `.json`."));
            }
            for file in files {
                documents.push(read_file(&file)?);
            }
        } else {
            documents.push(read_file(path)?);
        }
    }
    Ok(documents)
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(format!("Cannot list {}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_manifest = path.extension().is_some_and(|extension| {
            ["yaml", "yml", "json"]
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        });
        if is_manifest && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<SourceDocument, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(format!("Cannot read {}: {error}", path.display()));
    let size_bytes = std::fs::metadata(path).map_err(failed)?.len();
    if size_bytes > MAX_FILE_BYTES {
        return Err(Failure::new(format!(
            "{} is too large for a manifest ({size_bytes} bytes)",
            path.display()
        )));
    }
    let data = std::fs::read(path).map_err(failed)?;
    let text = String::from_utf8(data).map_err(|error| {
        Failure::new(format!(
            "{} is not UTF-8 (at byte {})",
            path.display(),
            error.utf8_error().valid_up_to()
        ))
    })?;
    Ok(SourceDocument {
        name: path.display().to_string(),
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_its_manifests_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yaml", "c.JSON", "README.md"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let documents = read(&[folder.path().to_owned()]).unwrap();
        let texts: Vec<_> = documents
            .iter()
            .map(|document| document.text.as_str())
            .collect();
        assert_eq!(texts, ["a.yaml", "b.yml", "c.JSON"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent.yaml");
        assert!(
            read(std::slice::from_ref(&absent))
                .unwrap_err()
                .message
                .contains(&absent.display().to_string())
        );
        assert!(
            read(&[folder.path().to_owned()])
                .unwrap_err()
                .message
                .contains("holds no manifests")
        );
        let binary = folder.path().join("x.yaml");
        std::fs::write(&binary, [0xff, 0xfe]).unwrap();
        assert!(read(&[binary]).unwrap_err().message.contains("not UTF-8"));
    }
}
