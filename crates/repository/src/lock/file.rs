//! The content of lock files, and restic's rule of when one is stale.

use std::time::Duration;

use backend::FileKind;
use jiff::Timestamp;
use jiff::tz::Offset;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, getgid, gethostname, getuid};
use serde::{Deserialize, Serialize};

use super::{LockError, LockKind, LockOptions};
use crate::id::LockId;
use crate::repository::{LoadError, Repository, SaveError};
use crate::time::Time;

/// A lock that was not refreshed for so long has no holder any more, whatever its host.
pub(super) const STALE_AFTER: Duration = Duration::from_mins(30);

/// What a lock file says, as restic writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockFile {
    /// When the lock was taken or last refreshed.
    pub time: Time,
    /// Whether it is exclusive.
    pub exclusive: bool,
    /// The machine of the holder.
    pub hostname: String,
    /// The user of the holder.
    pub username: String,
    /// The process of the holder.
    pub pid: i64,
    /// The number of the user; left out when 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// The number of the group; left out when 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub gid: u32,
}

impl Default for LockFile {
    fn default() -> Self {
        Self {
            time: Time::ZERO,
            exclusive: false,
            hostname: String::new(),
            username: String::new(),
            pid: 0,
            uid: 0,
            gid: 0,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl LockFile {
    /// The lock file of this process; its time is set when it is written.
    pub(super) fn of_this_process(kind: LockKind, options: &LockOptions) -> Self {
        let hostname = if options.hostname.is_empty() {
            machine_name().unwrap_or_default()
        } else {
            options.hostname.clone()
        };
        Self {
            time: Time::ZERO,
            exclusive: kind == LockKind::Exclusive,
            hostname,
            username: options.username.clone(),
            pid: i64::from(std::process::id()),
            uid: getuid().as_raw(),
            gid: getgid().as_raw(),
        }
    }

    /// Stores it with this time as a new file.
    pub(super) async fn save(
        &self,
        repository: &Repository,
        now: Timestamp,
    ) -> Result<LockId, SaveError> {
        let stamped = Self {
            time: Time::new(now, Offset::UTC),
            ..self.clone()
        };
        let text = serde_json::to_vec(&stamped).map_err(|error| SaveError {
            object: "lock".to_owned(),
            source: error.into(),
        })?;
        repository
            .save_unpacked(FileKind::Lock, &text)
            .await
            .map(LockId)
    }

    /// Whether both can be held at once by two holders.
    pub(super) fn conflicts_with(&self, other: &Self) -> bool {
        self.exclusive || other.exclusive
    }

    /// restic's rule: not refreshed for 30 minutes, or written on the machine called `hostname` by a process
    /// that is not there any more.
    pub fn is_stale(
        &self,
        now: Timestamp,
        hostname: Option<&str>,
        process_exists: impl FnOnce(i64) -> bool,
    ) -> bool {
        let age = now.duration_since(self.time.timestamp());
        if Duration::try_from(age).is_ok_and(|age| age > STALE_AFTER) {
            return true;
        }
        hostname == Some(self.hostname.as_str()) && !process_exists(self.pid)
    }

    /// [`LockFile::is_stale`] with the processes of this machine.
    pub(super) fn is_stale_here(&self, now: Timestamp) -> bool {
        self.is_stale(now, machine_name().as_deref(), process_exists)
    }

    /// That this lock keeps others out.
    pub(super) fn into_conflict(self, lock: LockId) -> LockError {
        LockError::Locked {
            exclusive: self.exclusive,
            hostname: self.hostname,
            username: self.username,
            pid: self.pid,
            since: self.time,
            lock,
        }
    }
}

/// Reads a lock file.
pub(super) async fn load(repository: &Repository, id: LockId) -> Result<LockFile, LoadError> {
    let text = repository.load_unpacked(FileKind::Lock, &id.0).await?;
    serde_json::from_slice(&text).map_err(|error| LoadError::Damaged {
        object: format!("lock {id}"),
        reason: error.to_string(),
    })
}

/// Whether there is no such file.
pub(super) fn is_absent(error: &LoadError) -> bool {
    matches!(error, LoadError::Storage { source, .. } if source.is_not_found())
}

/// The name that the system has; locks of this machine are recognised by it, whatever name ours carry.
fn machine_name() -> Option<String> {
    gethostname().ok()?.into_string().ok()
}

/// Only a clear "no such process" counts: one of another user exists too.
fn process_exists(pid: i64) -> bool {
    match i32::try_from(pid) {
        Ok(pid) if pid > 0 => kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH),
        _ => false,
    }
}
