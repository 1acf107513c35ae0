//! Where the repository is, which files it has, and what cargo knows about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::command;
use crate::failure::Failure;

/// The checkout the task runner was built from.
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the root: two folders above this crate.
    pub fn locate() -> Result<Self, Failure> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        match manifest.ancestors().nth(2) {
            Some(root) if root.join("Cargo.toml").is_file() => Ok(Self {
                root: root.to_path_buf(),
            }),
            _ => Err(Failure::Refused(format!(
                "{} is not inside the workspace",
                manifest.display()
            ))),
        }
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the root.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// A cargo command that runs in the root.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).current_dir(&self.root);
        command
    }

    /// The parsed answer of `cargo metadata`.
    pub fn metadata(&self) -> Result<Value, Failure> {
        let mut metadata = self.cargo(&["metadata", "--format-version", "1"]);
        let text = command::output(&mut metadata)?;
        serde_json::from_str(&text).map_err(|source| Failure::Json {
            command: command::text_of(&metadata),
            source,
        })
    }

    /// The folder cargo builds into.
    pub fn target_folder(&self) -> Result<PathBuf, Failure> {
        let metadata = self.metadata()?;
        Ok(metadata["target_directory"]
            .as_str()
            .map_or_else(|| self.path("target"), PathBuf::from))
    }

    /// All regular files below the given folders of the root, sorted; hidden folders and build results
    /// are left out.
    pub fn files(&self, folders: &[&str]) -> Result<Vec<PathBuf>, Failure> {
        let mut found = Vec::new();
        for folder in folders {
            let folder = self.path(folder);
            if folder.is_dir() {
                collect(&folder, &mut found)?;
            }
        }
        found.sort();
        Ok(found)
    }

    /// A path as it is named inside the repository.
    pub fn name_of<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

/// The text of a file; bytes that are not UTF-8 are replaced.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(source) => Err(Failure::Read {
            path: path.to_path_buf(),
            source,
        }),
    }
}

/// Writes a file and the folders above it.
pub fn write_text(path: &Path, text: &str) -> Result<(), Failure> {
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, text));
    written.map_err(|source| Failure::Write {
        path: path.to_path_buf(),
        source,
    })
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let read_error = |source| Failure::Read {
        path: folder.to_path_buf(),
        source,
    };
    for entry in fs::read_dir(folder).map_err(read_error)? {
        let entry = entry.map_err(read_error)?;
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.') || name == "target";
        let kind = entry.file_type().map_err(read_error)?;
        if kind.is_dir() && !hidden {
            collect(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}
