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
use crate::workspace::{Workspace, read_text, write_text};
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

/// Takes restic from a newer suite of the mirror that this machine already uses, with an apt
/// configuration of its own, so that neither the machine's sources nor its packages change.
fn from_debian_suites(folder: &Path) -> Result<PathBuf, Failure> {
    if !read_text(Path::new("/etc/os-release"))?
        .lines()
        .any(|line| line == "ID=debian")
    {
        return Err(Failure::Refused("this machine is not Debian".to_owned()));
    }
    let mirror = debian_mirror().ok_or_else(|| {
        Failure::Refused("no Debian mirror in the sources of this machine".to_owned())
    })?;
    let mut last = Failure::Refused("no suite was tried".to_owned());
    for suite in DEBIAN_SUITES {
        match from_suite(folder, &mirror, suite) {
            Ok(program) => return Ok(program),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

fn from_suite(folder: &Path, mirror: &str, suite: &str) -> Result<PathBuf, Failure> {
    let own = folder.join(format!("apt-{suite}"));
    let sources = own.join("sources.list");
    let keyring = ["gpg", "pgp"]
        .map(|extension| format!("/usr/share/keyrings/debian-archive-keyring.{extension}"))
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .ok_or_else(|| {
            Failure::Refused("the package debian-archive-keyring is missing".to_owned())
        })?;
    write_text(
        &sources,
        &format!("deb [signed-by={keyring}] {mirror} {suite} main\n"),
    )?;
    for partial in ["state/lists/partial", "cache/archives/partial"] {
        write_text(&own.join(partial).join(".keep"), "")?;
    }
    let options = [
        format!("Dir::Etc::sourcelist={}", sources.display()),
        "Dir::Etc::sourceparts=-".to_owned(),
        format!("Dir::State={}", own.join("state").display()),
        "Dir::State::status=/var/lib/dpkg/status".to_owned(),
        format!("Dir::Cache={}", own.join("cache").display()),
        "APT::Sandbox::User=".to_owned(),
        "APT::Update::Post-Invoke-Success::=".to_owned(),
        "Acquire::Languages=none".to_owned(),
        "Acquire::Retries=3".to_owned(),
    ];
    let apt = |verbs: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.current_dir(&own)
            .arg("-q")
            .args(options.iter().flat_map(|option| ["-o", option]));
        apt.args(verbs);
        command::run(&mut apt)
    };
    apt(&["update"])?;
    apt(&["download", "restic"])?;
    unpack(&own)
}

/// The first `URIs:` or `deb` address of the machine's sources that serves Debian itself.
fn debian_mirror() -> Option<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(
        fs::read_dir("/etc/apt/sources.list.d")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path()),
    );
    files.sort();
    files
        .iter()
        .filter(|path| {
            path.extension()
                .is_some_and(|end| end == "list" || end == "sources")
        })
        .filter_map(|path| read_text(path).ok())
        .find_map(|text| mirror_in(&text))
}

fn mirror_in(text: &str) -> Option<String> {
    let addresses = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            match words.next()? {
                "URIs:" => words.next(),
                "deb" => words.find(|word| word.contains("://")),
                _ => None,
            }
        });
    addresses
        .map(|address| address.trim_end_matches('/'))
        .find(|address| address.contains("/debian") && !address.contains("security"))
        .map(str::to_owned)
}

/// Downloads the package that the machine's own sources offer.
fn from_own_sources(folder: &Path) -> Result<PathBuf, Failure> {
    let own = folder.join("apt-own");
    fs::create_dir_all(&own).map_err(|source| Failure::Write {
        path: own.clone(),
        source,
    })?;
    command::run(
        Command::new("apt-get")
            .current_dir(&own)
            .args(["-q", "download", "restic"]),
    )?;
    unpack(&own)
}

fn unpack(own: &Path) -> Result<PathBuf, Failure> {
    let read = |source| Failure::Read {
        path: own.to_path_buf(),
        source,
    };
    let mut packages: Vec<PathBuf> = fs::read_dir(own)
        .map_err(read)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    packages.sort();
    let package = packages
        .pop()
        .ok_or_else(|| Failure::Refused("apt-get downloaded no package".to_owned()))?;
    let unpacked = own.join("unpacked");
    command::run(Command::new("dpkg").arg("-x").arg(&package).arg(&unpacked))?;
    Ok(unpacked.join("usr/bin/restic"))
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
    let machine = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => return Err(Failure::Refused(format!("no release is known for {other}"))),
    };
    let own = folder.join("release");
    let archive = format!("restic_{RELEASE}_linux_{machine}.bz2");
    let address = format!("https://github.com/restic/restic/releases/download/v{RELEASE}");
    fs::create_dir_all(&own).map_err(|source| Failure::Write {
        path: own.clone(),
        source,
    })?;
    for name in [archive.as_str(), "SHA256SUMS"] {
        let mut curl = Command::new("curl");
        curl.args(["-fsSL", "--retry", "3", "-o"])
            .arg(own.join(name))
            .arg(format!("{address}/{name}"));
        command::run(&mut curl)?;
    }
    let published = read_text(&own.join("SHA256SUMS"))?;
    let expected = published
        .lines()
        .find(|line| line.ends_with(&archive))
        .unwrap_or_default();
    let actual = command::output(Command::new("sha256sum").arg(&archive).current_dir(&own))?;
    if expected.is_empty() || expected.split_whitespace().next() != actual.split_whitespace().next()
    {
        return Err(Failure::Refused(format!(
            "the checksum of {archive} is not the published one"
        )));
    }
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

    #[test]
    fn the_mirror_is_the_first_that_is_not_for_security_updates() {
        let modern = "Types: deb\n# http://a/debian/1\nURIs: http://mirror/debian-security\nURIs: http://mirror/debian/\n";
        assert_eq!(mirror_in(modern).as_deref(), Some("http://mirror/debian"));
        let old = "deb [signed-by=/k] https://mirror/debian bookworm main\n";
        assert_eq!(mirror_in(old).as_deref(), Some("https://mirror/debian"));
        assert_eq!(mirror_in("deb http://mirror/ubuntu noble main\n"), None);
    }
}
