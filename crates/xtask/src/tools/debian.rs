//! Programs from packages of Debian's newer suites, unpacked and never installed.
//!
//! The mirror is the one that this machine uses already. apt runs with a configuration, state and cache
//! of its own, so that neither the machine's sources nor its packages change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::workspace::{read_text, write_text};

/// Runs one command of the way.
pub type Runner<'a> = &'a dyn Fn(&mut Command) -> Result<(), Failure>;

/// Downloads a package from the first of the suites that has it and returns the folder with its files:
/// `root` below `folder`.
pub fn from_suites(
    folder: &Path,
    package: &str,
    suites: &[&str],
    run: Runner<'_>,
) -> Result<PathBuf, Failure> {
    if !read_text(Path::new("/etc/os-release"))?
        .lines()
        .any(|line| line == "ID=debian")
    {
        return Err(Failure::Refused("this machine is not Debian".to_owned()));
    }
    let mirror = mirror().ok_or_else(|| {
        Failure::Refused("no Debian mirror in the sources of this machine".to_owned())
    })?;
    let mut last = Failure::Refused("no suite was tried".to_owned());
    for suite in suites {
        let own = folder.join(format!("apt-{suite}"));
        match download(&own, &mirror, suite, package, run)
            .and_then(|()| unpack(&own, &folder.join("root"), run))
        {
            Ok(root) => return Ok(root),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// Downloads a package that the machine's own sources offer and returns the folder with its files.
pub fn from_own_sources(folder: &Path, package: &str, run: Runner<'_>) -> Result<PathBuf, Failure> {
    let own = folder.join("apt-own");
    fs::create_dir_all(&own).map_err(|source| Failure::Write {
        path: own.clone(),
        source,
    })?;
    run(Command::new("apt-get")
        .current_dir(&own)
        .args(["-q", "download", package]))?;
    unpack(&own, &folder.join("root"), run)
}

/// The mirror that this machine's own sources name for Debian itself.
pub fn mirror() -> Option<String> {
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

/// Where Debian keeps the keys that sign its archive.
pub fn keyring() -> Result<String, Failure> {
    ["gpg", "pgp"]
        .map(|extension| format!("/usr/share/keyrings/debian-archive-keyring.{extension}"))
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .ok_or_else(|| Failure::Refused("the package debian-archive-keyring is missing".to_owned()))
}

fn download(
    own: &Path,
    mirror: &str,
    suite: &str,
    package: &str,
    run: Runner<'_>,
) -> Result<(), Failure> {
    let sources = own.join("sources.list");
    write_text(
        &sources,
        &format!("deb [signed-by={}] {mirror} {suite} main\n", keyring()?),
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
    for verbs in [["update", ""], ["download", package]] {
        let mut apt = Command::new("apt-get");
        apt.current_dir(own)
            .arg("-q")
            .args(options.iter().flat_map(|option| ["-o", option]))
            .args(verbs.iter().filter(|verb| !verb.is_empty()));
        run(&mut apt)?;
    }
    Ok(())
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

fn unpack(own: &Path, root: &Path, run: Runner<'_>) -> Result<PathBuf, Failure> {
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
    run(Command::new("dpkg").arg("-x").arg(&package).arg(root))?;
    Ok(root.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_first_that_is_not_for_security_updates() {
        let modern = "Types: deb\n# http://a/debian/1\nURIs: http://mirror/debian-security\nURIs: http://mirror/debian/\n";
        assert_eq!(mirror_in(modern).as_deref(), Some("http://mirror/debian"));
        let old = "deb [signed-by=/k] https://mirror/debian bookworm main\n";
        assert_eq!(mirror_in(old).as_deref(), Some("https://mirror/debian"));
        assert_eq!(mirror_in("deb http://mirror/ubuntu noble main\n"), None);
    }
}
