//! Stock restic: the oracle of the tests and the rival of the benchmark.
//!
//! Looked for in this order: already installed by us, a package of Debian's newer suites unpacked into
//! the cache, the machine's own package or program, the project's release checked against its checksums.
//! Nothing of the system is changed.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::tools::{debian, release};
use crate::workspace::Workspace;
use crate::{command, report};

/// The oldest version whose behaviour the tests rely on.
const OLDEST: (u32, u32) = (0, 18);
/// The release to download where no package is new enough.
const RELEASE: &str = "0.18.1";
const DEBIAN_SUITES: &[&str] = &["sid", "trixie"];

/// A way to get hold of restic: given the cache folder, where the program was found.
type Way = fn(&Path) -> Result<PathBuf, Failure>;

/// An installed restic of a known version.
pub struct Restic {
    program: PathBuf,
    version: String,
}

impl Restic {
    /// Finds or installs restic below `~/.cache/stash-testbed/restic`.
    pub fn install(_workspace: &Workspace) -> Result<Self, Failure> {
        let home =
            env::var_os("HOME").ok_or_else(|| Failure::Refused("HOME is not set".to_owned()))?;
        let folder = PathBuf::from(home).join(".cache/stash-testbed/restic");
        let program = folder.join("bin/restic");
        if let Some(found) = Self::at(&program) {
            return Ok(found);
        }
        let ways: [(&str, Way); 4] = [
            ("a package of a newer Debian suite", from_debian_suites),
            ("the package of this distribution", from_own_sources),
            ("a restic on PATH", from_path),
            ("the project's release", from_release),
        ];
        for (name, way) in ways {
            report::line(&format!("restic: trying {name}"));
            match way(&folder).and_then(|found| put(&found, &program)) {
                Ok(()) => {
                    if let Some(found) = Self::at(&program) {
                        return Ok(found);
                    }
                    report::warning(&format!("{name} is older than {}.{}", OLDEST.0, OLDEST.1));
                }
                Err(failure) => report::warning(&format!("{name}: {failure}")),
            }
        }
        Err(Failure::Refused(format!(
            "no restic {}.{} or newer could be installed; put one at {}",
            OLDEST.0,
            OLDEST.1,
            program.display()
        )))
    }

    /// Where it is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What it calls itself, for example `restic 0.19.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Puts it first on a command's search path.
    pub fn offer_to(&self, command: &mut Command) {
        let own = self.program.parent().map(Path::to_path_buf);
        let path = env::var_os("PATH").unwrap_or_default();
        if let Ok(joined) = env::join_paths(own.into_iter().chain(env::split_paths(&path))) {
            command.env("PATH", joined);
        }
    }

    fn at(program: &Path) -> Option<Self> {
        if !program.is_file() {
            return None;
        }
        let text = command::output(Command::new(program).arg("version")).ok()?;
        let mut words = text.split_whitespace();
        let version = format!("{} {}", words.next()?, words.next()?);
        is_new_enough(&version).then(|| Self {
            program: program.to_path_buf(),
            version,
        })
    }
}

fn is_new_enough(version: &str) -> bool {
    let numbers = version.split_whitespace().nth(1).unwrap_or_default();
    let mut parts = numbers
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= OLDEST
}

/// Copies a found program to its place.
fn put(found: &Path, program: &Path) -> Result<(), Failure> {
    let write = |source| Failure::Write {
        path: program.to_path_buf(),
        source,
    };
    if let Some(folder) = program.parent() {
        fs::create_dir_all(folder).map_err(write)?;
    }
    let fresh = program.with_extension("new");
    fs::copy(found, &fresh).map_err(write)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).map_err(write)?;
    fs::rename(&fresh, program).map_err(write)
}

/// Takes restic from a newer suite of the mirror that this machine already uses.
fn from_debian_suites(folder: &Path) -> Result<PathBuf, Failure> {
    let root = debian::from_suites(folder, "restic", DEBIAN_SUITES, &command::run)?;
    Ok(root.join("usr/bin/restic"))
}

/// Downloads the package that the machine's own sources offer.
fn from_own_sources(folder: &Path) -> Result<PathBuf, Failure> {
    let root = debian::from_own_sources(folder, "restic", &command::run)?;
    Ok(root.join("usr/bin/restic"))
}

fn from_path(folder: &Path) -> Result<PathBuf, Failure> {
    let own = folder.join("bin");
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .filter(|candidate| *candidate != own)
        .map(|candidate| candidate.join("restic"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Failure::Refused("there is none".to_owned()))
}

/// Downloads the release and refuses it unless its checksum is the published one.
fn from_release(folder: &Path) -> Result<PathBuf, Failure> {
    let own = folder.join("release");
    let archive = format!("restic_{RELEASE}_linux_{}.bz2", release::machine()?);
    release::download(&own, "restic", RELEASE, &archive, &command::run)?;
    command::run(
        Command::new("bzip2")
            .args(["-d", "-k", "-f"])
            .arg(&archive)
            .current_dir(&own),
    )?;
    Ok(own.join(archive.trim_end_matches(".bz2")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_new_enough("restic 0.18.0"));
        assert!(is_new_enough("restic 0.19.1-dev"));
        assert!(is_new_enough("restic 1.0.0"));
        assert!(!is_new_enough("restic 0.9.6"));
        assert!(!is_new_enough("restic"));
    }
}
