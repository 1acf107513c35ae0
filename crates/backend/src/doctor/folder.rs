//! A folder as the place of a repository: whether it or the folder it will be made in can be written, and how much
//! room there is.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rand::Rng as _;

use crate::doctor::{Findings, step};

/// Less room than this is worth a warning.
const LITTLE_ROOM_BYTES: u64 = 1 << 30;

/// Looks at the folder, or at the nearest one above it that exists.
pub(super) fn examine(folder: &Path, can_write: bool, findings: &mut Findings<'_>) {
    let looking = step("folder");
    let Some(existing) = folder
        .ancestors()
        .find(|path| path.is_dir())
        .map(Path::to_path_buf)
    else {
        findings.add(looking.failed(
            format!(
                "neither {} nor any folder above it exists",
                folder.display()
            ),
            "Check the path, and whether its volume is mounted.",
        ));
        return;
    };
    findings.add(if existing == folder {
        looking.fine(format!("{} exists", folder.display()))
    } else {
        looking.fine(format!(
            "{} will be made in {}",
            folder.display(),
            existing.display()
        ))
    });
    room(&existing, findings);
    if can_write {
        writable(&existing, findings);
    }
}

fn room(folder: &Path, findings: &mut Findings<'_>) {
    let measuring = step("room");
    match rustix::fs::statvfs(folder) {
        Ok(system) => {
            let free = system.f_bavail.saturating_mul(system.f_frsize);
            let message = format!("{} MiB are free", free >> 20);
            findings.add(if free < LITTLE_ROOM_BYTES {
                measuring.warning(
                    message,
                    "Free some space or use a larger volume before it is full.",
                )
            } else {
                measuring.fine(message)
            });
        }
        Err(error) => findings.add(measuring.failed(
            format!("the room in {} cannot be asked: {error}", folder.display()),
            "Check whether the volume is mounted and answers.",
        )),
    }
}

/// A file is made and removed; its name is no repository's.
fn writable(folder: &Path, findings: &mut Findings<'_>) {
    let writing = step("folder");
    let path = folder.join(format!(".stash-doctor-{:016x}", rand::rng().next_u64()));
    findings.add(match make_and_remove(&path) {
        Ok(()) => writing.fine(format!("{} is writable", folder.display())),
        Err(error) => {
            let remedy = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "Run as the user who owns the folder, or give this user (in a Pod: `fsGroup`) access to it."
                }
                io::ErrorKind::ReadOnlyFilesystem => "Mount the volume writable.",
                io::ErrorKind::StorageFull => "Free some space.",
                _ => "Check the volume.",
            };
            writing.failed(format!("{} is not writable: {error}", folder.display()), remedy)
        }
    });
}

fn make_and_remove(path: &PathBuf) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let synced = file.sync_all();
    fs::remove_file(path)?;
    synced
}
