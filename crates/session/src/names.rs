//! Names of sessions and of what is made for them (reference 3.3, 3.6, 3.7).

use api::v1beta1::TargetRef;
use jiff::Timestamp;

/// Longest name of an object whose name also becomes a label.
const MAX_BYTES: usize = 63;
/// What keeps shortened names apart.
const DIGEST_BYTES: usize = 8;

/// The name of a session: `<invoker>-<unix seconds>`; a long invoker name keeps its head and tail.
pub fn session_name(invoker: &str, moment: Timestamp) -> String {
    let suffix = format!("-{}", moment.as_second());
    let room = MAX_BYTES - suffix.len();
    if invoker.len() <= room {
        return format!("{invoker}{suffix}");
    }
    // Kubernetes names are ASCII, so every byte is a character; other names never pass validation.
    let (head, tail) = (room.div_ceil(2), room / 2);
    let head = invoker.get(..head).unwrap_or_default();
    let tail = invoker.get(invoker.len() - tail..).unwrap_or_default();
    format!("{head}{tail}{suffix}")
}

/// A name of at most `limit` bytes: a longer one keeps its head, and a digest of the whole keeps it apart from others.
pub fn shortened(name: &str, limit: usize) -> String {
    if name.len() <= limit {
        return name.to_owned();
    }
    let digest = fnv1a(name);
    let head = name.get(..limit - DIGEST_BYTES - 1).unwrap_or_default();
    format!(
        "{}-{:08x}",
        head.trim_end_matches(['-', '.']),
        digest & 0xffff_ffff
    )
}

/// FNV-1a of 64 bits: enough to keep names apart; nothing secret depends on it.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The Job that backs up one host of a session: `stash-backup-<session>-<number>`.
pub fn backup_job(session: &str, number: usize) -> String {
    shortened(
        &format!("stash-backup-{}-{number}", dashed(session)),
        MAX_BYTES,
    )
}

/// The Job that restores one host of a restore: `stash-restore-<restore>-<number>`.
pub fn restore_job(restore: &str, number: usize) -> String {
    shortened(
        &format!("stash-restore-{}-{number}", dashed(restore)),
        MAX_BYTES,
    )
}

/// The Job that removes the data of a Repository that is being deleted.
pub fn wipe_out_job(repository: &str) -> String {
    shortened(&format!("stash-wipe-out-{}", dashed(repository)), MAX_BYTES)
}

/// Role, RoleBinding and ServiceAccount of an invoker's agents: `stash-<kind>-<name>`.
pub fn agent_role(invoker_kind: &str, invoker_name: &str) -> String {
    shortened(
        &format!(
            "stash-{}-{}",
            invoker_kind.to_lowercase(),
            dashed(invoker_name)
        ),
        MAX_BYTES,
    )
}

/// Role and RoleBinding in the namespace of a Repository for agents of another one: `<namespace>-<kind>-<name>`.
pub fn foreign_role(namespace: &str, invoker_kind: &str, invoker_name: &str) -> String {
    let name = format!(
        "{namespace}-{}-{}",
        invoker_kind.to_lowercase(),
        dashed(invoker_name)
    );
    shortened(&name, MAX_BYTES)
}

/// The Lease by which the Pods of a workload take turns with backups: `lock-<kind>-<name>-backup`.
pub fn backup_lease(target: &TargetRef) -> String {
    lease(target, "backup")
}

/// The Lease by which the Pods of a workload take turns with restores: `lock-<kind>-<name>-restore`.
pub fn restore_lease(target: &TargetRef) -> String {
    lease(target, "restore")
}

/// The Lease by which the Jobs of one restore take turns: `lock-restoresession-<name>-restore`.
pub fn restore_jobs_lease(restore: &str) -> String {
    lease(
        &TargetRef {
            kind: "RestoreSession".to_owned(),
            name: restore.to_owned(),
            ..TargetRef::default()
        },
        "restore",
    )
}

fn lease(target: &TargetRef, what: &str) -> String {
    let name = format!(
        "lock-{}-{}-{what}",
        target.kind.to_lowercase(),
        dashed(&target.name)
    );
    shortened(&name.to_lowercase(), MAX_BYTES)
}

fn dashed(name: &str) -> String {
    name.replace('.', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_invoker_name_is_shortened_in_the_middle() {
        let moment = Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(session_name("home", moment), "home-1700000000");
        let name = session_name(&format!("a{}z", "b".repeat(80)), moment);
        assert_eq!(name.len(), 63);
        assert!(
            name.starts_with("ab") && name.ends_with("bz-1700000000"),
            "{name}"
        );
    }

    #[test]
    fn long_names_of_children_stay_apart() {
        let session = "s".repeat(63);
        let (first, second) = (backup_job(&session, 0), backup_job(&session, 1));
        assert_ne!(first, second);
        assert!(first.len() <= 63 && second.len() <= 63, "{first} {second}");
        assert_eq!(
            backup_job("home-1700000000", 0),
            "stash-backup-home-1700000000-0"
        );
        assert_eq!(restore_job("my.restore", 2), "stash-restore-my-restore-2");
        assert_eq!(
            agent_role("BackupConfiguration", "home"),
            "stash-backupconfiguration-home"
        );
    }
}
