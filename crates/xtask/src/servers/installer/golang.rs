//! A Go compiler that is new enough for the servers.
//!
//! Go 1.21 and newer fetch the compiler that a module asks for by themselves. Older ones, as in Debian 12
//! and Ubuntu 22.04, can fetch it as the module that it is, checked against Go's checksum database; what
//! is left to do is to make the programs in it executable.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::command;
use crate::failure::Failure;

/// The compiler for machines whose own is too old.
const TOOLCHAIN: &str = "golang.org/toolchain@v0.0.1-go1.26.8.linux";
/// The oldest that fetches newer ones by itself.
const SELF_RENEWING: (u32, u32) = (1, 21);

/// A `go` command, at low priority, that builds what newer compilers are needed for.
pub fn go() -> Result<Command, Failure> {
    let text = command::output(Command::new("go").arg("version"))?;
    let is_self_renewing = version_in(&text) >= SELF_RENEWING;
    let program = if is_self_renewing {
        PathBuf::from("go")
    } else {
        fetched()?
    };
    let mut go = Command::new("nice");
    go.arg(program)
        .env(
            "GOTOOLCHAIN",
            if is_self_renewing { "auto" } else { "local" },
        )
        .env_remove("GOROOT");
    Ok(go)
}

fn fetched() -> Result<PathBuf, Failure> {
    let machine = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => return Err(Failure::Refused(format!("no Go is known for {other}"))),
    };
    let mut download = Command::new("go");
    download
        .args(["mod", "download", "-json"])
        .arg(format!("{TOOLCHAIN}-{machine}"))
        .env("GO111MODULE", "on")
        .current_dir("/");
    let text = command::output(&mut download)?;
    let answer: Value = serde_json::from_str(&text).map_err(|source| Failure::Json {
        command: command::text_of(&download),
        source,
    })?;
    let folder = answer["Dir"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| Failure::Refused("Go fetched no newer Go".to_owned()))?;
    make_executable(&folder.join("bin"))?;
    make_executable(&folder.join(format!("pkg/tool/linux_{machine}")))?;
    Ok(folder.join("bin/go"))
}

/// Files of modules lose their modes on the way.
fn make_executable(folder: &Path) -> Result<(), Failure> {
    let failed = |source| Failure::Write {
        path: folder.to_path_buf(),
        source,
    };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o555)).map_err(failed)?;
    }
    Ok(())
}

/// `go version go1.19.8 linux/amd64`
fn version_in(text: &str) -> (u32, u32) {
    let number = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("go1."))
        .unwrap_or_default();
    let minor: String = number.chars().take_while(char::is_ascii_digit).collect();
    (1, minor.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_go_is_compared_as_numbers() {
        assert!(version_in("go version go1.19.8 linux/amd64") < SELF_RENEWING);
        assert!(version_in("go version go1.9 linux/amd64") < SELF_RENEWING);
        assert!(version_in("go version go1.21rc2 linux/amd64") >= SELF_RENEWING);
        assert!(version_in("go version go1.26.8 linux/amd64") >= SELF_RENEWING);
    }
}
