//! Programs from the releases of restic's projects, checked against their published checksums.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::debian::Runner;
use crate::command;
use crate::failure::Failure;
use crate::workspace::read_text;

/// The release's name for the machine this runs on.
pub fn machine() -> Result<&'static str, Failure> {
    match env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => Err(Failure::Refused(format!("no release is known for {other}"))),
    }
}

/// Downloads a file of a release of `github.com/restic/PROJECT` into `own` and refuses it unless its
/// checksum is the published one.
pub fn download(
    own: &Path,
    project: &str,
    version: &str,
    archive: &str,
    run: Runner<'_>,
) -> Result<PathBuf, Failure> {
    let address = format!("https://github.com/restic/{project}/releases/download/v{version}");
    fs::create_dir_all(own).map_err(|source| Failure::Write {
        path: own.to_path_buf(),
        source,
    })?;
    for name in [archive, "SHA256SUMS"] {
        let mut curl = Command::new("curl");
        curl.args(["-fsSL", "--retry", "3", "--max-time", "600", "-o"])
            .arg(own.join(name))
            .arg(format!("{address}/{name}"));
        run(&mut curl)?;
    }
    let published = read_text(&own.join("SHA256SUMS"))?;
    let expected = published
        .lines()
        .find(|line| line.ends_with(archive))
        .unwrap_or_default();
    let actual = command::output(Command::new("sha256sum").arg(archive).current_dir(own))?;
    if expected.is_empty() || expected.split_whitespace().next() != actual.split_whitespace().next()
    {
        return Err(Failure::Refused(format!(
            "the checksum of {archive} is not the published one"
        )));
    }
    Ok(own.join(archive))
}
