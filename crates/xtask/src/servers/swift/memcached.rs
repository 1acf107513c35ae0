//! memcached, without which Swift forgets every token at once: the machine's own, or Debian's package unpacked.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;
use crate::failure::Failure;
use crate::servers::Installer;
use crate::servers::installer::need;
use crate::tools::debian;

/// Where an unpacked package lies in the folder of the product.
const FOLDER: &str = "memcached";

/// Puts the program below the folder of the product where the machine has none.
pub fn install(installer: &Installer) -> Result<(), Failure> {
    if need(&["memcached"], "memcached").is_ok() {
        return Ok(());
    }
    installer
        .part(FOLDER, |own| unpack(installer, own))
        .map(drop)
}

fn unpack(installer: &Installer, own: &Path) -> Result<(), Failure> {
    let run = |command: &mut Command| installer.run(command);
    let missing = |failure: Failure| {
        Failure::Refused(format!(
            "`memcached` is missing and its package cannot be had ({failure}); install memcached"
        ))
    };
    let root = debian::from_own_sources(own, "memcached", &run).map_err(missing)?;
    let needed = command::output(Command::new("sh").current_dir(own.join("apt-own")).args([
        "-c",
        "dpkg-deb -f \"$(ls memcached_*.deb | tail -n 1)\" Depends",
    ]))?;
    // The one library that other programs of a small machine may not have brought.
    for library in needed
        .split([',', ' '])
        .filter(|word| word.starts_with("libevent-"))
    {
        let from =
            debian::from_own_sources(&own.join("library"), library, &run).map_err(missing)?;
        run(Command::new("cp")
            .arg("-a")
            .arg(from.join("usr"))
            .arg(&root))?;
    }
    Ok(())
}

/// The program, with its libraries where it was unpacked.
pub fn command(folder: &Path) -> Result<Command, Failure> {
    let root = folder.join(FOLDER).join("root");
    let own = root.join("usr/bin/memcached");
    if !own.is_file() {
        return Ok(Command::new("memcached"));
    }
    let mut command = Command::new(own);
    command.env("LD_LIBRARY_PATH", libraries(&root)?);
    Ok(command)
}

/// Every folder of the unpacked package that may hold libraries.
fn libraries(root: &Path) -> Result<String, Failure> {
    let lib = root.join("usr/lib");
    let mut folders: Vec<PathBuf> = vec![lib.clone()];
    if lib.is_dir() {
        let entries = std::fs::read_dir(&lib).map_err(|source| Failure::Read {
            path: lib.clone(),
            source,
        })?;
        folders.extend(entries.flatten().map(|entry| entry.path()));
    }
    let folders: Vec<String> = folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    Ok(folders.join(":"))
}
