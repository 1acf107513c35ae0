//! A folder as the place of a repository: whether it or the folder it will be made in can be written, and how much
//! room there is.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng as _;

use crate::doctor::{Findings, step};

/// Less room than this is worth a warning.
const LITTLE_ROOM_BYTES: u64 = 1 << 30;

/// A volume that does not answer for so long hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks at the folder, or at the nearest one above it that exists.
pub(super) async fn examine(folder: &Path, can_write: bool, findings: &mut Findings<'_>) {
    let looking = step("folder");
    let path = folder.to_path_buf();
    let found = in_time(move || {
        let mut above = path.ancestors();
        above.find(|path| path.is_dir()).map(Path::to_path_buf)
    });
    let existing = match found.await {
        Ok(Some(existing)) => existing,
        Ok(None) => {
            findings.add(looking.failed(
                format!(
                    "neither {} nor any folder above it exists",
                    folder.display()
                ),
                "Check the path, and whether its volume is mounted.",
            ));
            return;
        }
        Err(silence) => {
            findings.add(looking.failed(format!("{}: {silence}", folder.display()), SILENT));
            return;
        }
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
    room(&existing, findings).await;
    if can_write {
        writable(&existing, findings).await;
    }
}

const SILENT: &str = "Check whether the volume is mounted and its server answers.";

/// Calls of the system on a volume whose server is away may never return: they are left to themselves.
async fn in_time<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, io::Error> {
    match tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(work)).await {
        Ok(result) => result.map_err(io::Error::other),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} seconds", PATIENCE.as_secs()),
        )),
    }
}

async fn room(folder: &Path, findings: &mut Findings<'_>) {
    let measuring = step("room");
    let path = folder.to_path_buf();
    let asked = in_time(move || rustix::fs::statvfs(&path));
    match asked.await.and_then(|system| Ok(system?)) {
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
async fn writable(folder: &Path, findings: &mut Findings<'_>) {
    let writing = step("folder");
    let path = folder.join(format!(".stash-doctor-{:016x}", rand::rng().next_u64()));
    let made = in_time(move || make_and_remove(&path)).await;
    findings.add(match made.and_then(|result| result) {
        Ok(()) => writing.fine(format!("{} is writable", folder.display())),
        Err(error) => {
            let remedy = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "Run as the user who owns the folder, or give this user (in a Pod: `fsGroup`) access to it."
                }
                io::ErrorKind::ReadOnlyFilesystem => "Mount the volume writable.",
                io::ErrorKind::StorageFull => "Free some space.",
                io::ErrorKind::TimedOut => SILENT,
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
