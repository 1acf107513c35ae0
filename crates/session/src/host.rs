//! Host names in the repository (reference 3.9): they separate the members that share one.

use api::v1beta1::{BackupTarget, RestoreTarget};

/// The host of a target that is not a workload with several members: its alias, else `host-0`.
pub fn single_host(alias: Option<&str>) -> String {
    alias
        .filter(|alias| !alias.is_empty())
        .unwrap_or("host-0")
        .to_owned()
}

/// The host that a backup of this target writes.
pub fn backup_host(target: Option<&BackupTarget>) -> String {
    single_host(target.and_then(|target| target.alias.as_deref()))
}

/// The host that a restore into this target is for.
pub fn restore_host(target: Option<&RestoreTarget>) -> String {
    single_host(target.and_then(|target| target.alias.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_without_alias_is_host_0() {
        assert_eq!(backup_host(None), "host-0");
        assert_eq!(
            backup_host(Some(&BackupTarget {
                alias: Some("db".into()),
                ..Default::default()
            })),
            "db"
        );
        assert_eq!(
            restore_host(Some(&RestoreTarget {
                alias: Some(String::new()),
                ..Default::default()
            })),
            "host-0"
        );
    }
}
