//! Names of sessions and of what is made for them (reference 3.3, 3.6, 3.7).

use api::v1beta1::TargetRef;
use jiff::Timestamp;

/// Longest name of an object whose name also becomes a label.
const MAX_BYTES: usize = 63;
/// What keeps shortened names apart.
const DIGEST_BYTES: usize = 8;

/// The name of a session: `<invoker>-<unix seconds>`; a long invoker name is shortened with a digest.
pub fn session_name(invoker: &str, moment: Timestamp) -> String {
    let suffix = format!("-{}", moment.as_second());
    format!("{}{suffix}", shortened(invoker, MAX_BYTES - suffix.len()))
}

/// A name of at most `limit` bytes: a longer one keeps its head, and a digest of the whole keeps it apart from others.
pub fn shortened(name: &str, limit: usize) -> String {
    if name.len() <= limit {
        return name.to_owned();
    }
    marked(name, name, limit)
}

/// A name without dots of at most 63 bytes, as it is if it is so already. One that has to change gets a digest, because
/// `a.b` and `a-b` are two names.
fn dashed(name: &str) -> String {
    if name.contains('.') {
        marked(&name.replace('.', "-"), name, MAX_BYTES)
    } else {
        shortened(name, MAX_BYTES)
    }
}

/// A name with a digest of the original at its end.
fn marked(name: &str, original: &str, limit: usize) -> String {
    let digest = fnv1a(original) & 0xffff_ffff;
    let room = name.len().min(limit - DIGEST_BYTES - 1);
    let head = name.get(..room).unwrap_or_default();
    format!("{}-{digest:08x}", head.trim_end_matches(['-', '.']))
}

/// FNV-1a of 64 bits: enough to keep names apart; nothing secret depends on it.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The Job that backs up one host of a session: `stash-backup-<session>-<number>`.
pub fn backup_job(session: &str, number: usize) -> String {
    dashed(&format!("stash-backup-{session}-{number}"))
}

/// The Job that restores one host of a restore: `stash-restore-<restore>-<number>`.
pub fn restore_job(restore: &str, number: usize) -> String {
    dashed(&format!("stash-restore-{restore}-{number}"))
}

/// The Job that removes the data of a Repository that is being deleted.
pub fn wipe_out_job(repository: &str) -> String {
    dashed(&format!("stash-wipe-out-{repository}"))
}

/// Role, RoleBinding and ServiceAccount of an invoker's agents: `stash-<kind>-<name>`.
pub fn agent_role(invoker_kind: &str, invoker_name: &str) -> String {
    dashed(&format!(
        "stash-{}-{invoker_name}",
        invoker_kind.to_lowercase()
    ))
}

/// Role and RoleBinding in the namespace of a Repository for agents of another one: `<namespace>-<kind>-<name>`.
///
/// A name that could be split in two ways gets a digest.
pub fn foreign_role(namespace: &str, invoker_kind: &str, invoker_name: &str) -> String {
    let kind = invoker_kind.to_lowercase();
    let name = format!("{namespace}-{kind}-{invoker_name}");
    if namespace.contains(&kind) || invoker_name.contains(&kind) {
        let original = format!("{namespace}/{kind}/{invoker_name}");
        return marked(&name.replace('.', "-"), &original, MAX_BYTES);
    }
    dashed(&name)
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
    let kind = target.kind.to_lowercase();
    dashed(&format!("lock-{kind}-{}-{what}", target.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_invoker_names_with_the_same_beginning_and_end_have_sessions_of_their_own() {
        let moment = Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(session_name("home", moment), "home-1700000000");
        let as_it_is = "a".repeat(52);
        assert_eq!(
            session_name(&as_it_is, moment),
            format!("{as_it_is}-1700000000")
        );
        let long = |middle: &str| format!("{}{middle}{}", "a".repeat(40), "z".repeat(40));
        let (one, two) = (
            session_name(&long("1"), moment),
            session_name(&long("2"), moment),
        );
        assert_ne!(one, two);
        for name in [one, two] {
            assert_eq!(name.len(), 63);
            assert!(name.starts_with("aaa") && name.ends_with("-1700000000"));
        }
    }

    #[test]
    fn names_that_differ_only_in_dots_have_children_of_their_own() {
        let target = |name: &str| TargetRef {
            kind: "Deployment".to_owned(),
            name: name.to_owned(),
            ..TargetRef::default()
        };
        let all = |name: &str| {
            [
                backup_job(name, 0),
                restore_job(name, 0),
                wipe_out_job(name),
                agent_role("RestoreSession", name),
                foreign_role("shop", "RestoreSession", name),
                backup_lease(&target(name)),
            ]
        };
        for (dotted, dashed) in all("a.b").iter().zip(all("a-b")) {
            assert!(dotted.starts_with(&dashed) && *dotted != dashed, "{dotted}");
            assert!(!dotted.contains('.'), "{dotted}");
        }
    }

    #[test]
    fn roles_in_foreign_namespaces_stay_apart() {
        let kind = "BackupConfiguration";
        assert_eq!(
            foreign_role("shop", kind, "home"),
            "shop-backupconfiguration-home"
        );
        assert_ne!(
            foreign_role("a", kind, "b-backupconfiguration-c"),
            foreign_role("a-backupconfiguration-b", kind, "c")
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
        assert_eq!(restore_job("my-restore", 2), "stash-restore-my-restore-2");
        assert_eq!(
            agent_role("BackupConfiguration", "home"),
            "stash-backupconfiguration-home"
        );
    }
}
