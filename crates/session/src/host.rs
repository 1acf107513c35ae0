//! Names of hosts, as snapshots and statuses carry them (reference 3.9).

use api::v1beta1::{BackupTarget, RestoreTarget};

/// The host of everything that is one host: a workload whose Pods share their data, a volume claim, a machine.
/// The alias, or `host-0`.
pub fn single_host(alias: Option<&str>) -> String {
    alias
        .filter(|alias| !alias.is_empty())
        .unwrap_or("host-0")
        .to_owned()
}

/// The host of a target that is backed up as one.
pub fn backup_host(target: Option<&BackupTarget>) -> String {
    single_host(target.and_then(|target| target.alias.as_deref()))
}

/// The host of a target that is restored as one.
pub fn restore_host(target: Option<&RestoreTarget>) -> String {
    single_host(target.and_then(|target| target.alias.as_deref()))
}

/// The host of one replica: `<alias or "host">-<ordinal>`.
pub fn replica_host(alias: Option<&str>, ordinal: u32) -> String {
    let prefix = alias.filter(|alias| !alias.is_empty()).unwrap_or("host");
    format!("{prefix}-{ordinal}")
}

/// The host of the Pod of a DaemonSet: its node, behind the alias if there is one.
pub fn node_host(alias: Option<&str>, node: &str) -> String {
    match alias.filter(|alias| !alias.is_empty()) {
        Some(alias) => format!("{alias}-{node}"),
        None => node.to_owned(),
    }
}

/// The host that a Pod of a workload of this kind works as. A Pod of a StatefulSet whose name ends in no number
/// has no host.
pub fn pod_host(kind: &str, alias: Option<&str>, pod: &str, node: &str) -> Option<String> {
    match kind {
        "StatefulSet" => {
            let (_, ordinal) = pod.rsplit_once('-')?;
            Some(replica_host(alias, ordinal.parse().ok()?))
        }
        "DaemonSet" => Some(node_host(alias, node)),
        _ => Some(single_host(alias)),
    }
}

/// Whether the Pods of a workload of this kind are hosts of their own.
pub fn is_many_hosts(kind: &str) -> bool {
    matches!(kind, "StatefulSet" | "DaemonSet")
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

    #[test]
    fn pods_of_stateful_sets_and_daemon_sets_are_hosts_of_their_own() {
        let host = |kind, alias, pod| pod_host(kind, alias, pod, "node-a");
        assert_eq!(host("StatefulSet", None, "db-2").as_deref(), Some("host-2"));
        assert_eq!(
            host("StatefulSet", Some("pg"), "my-db-0").as_deref(),
            Some("pg-0")
        );
        assert_eq!(host("StatefulSet", None, "db"), None);
        assert_eq!(
            host("DaemonSet", None, "log-x7f").as_deref(),
            Some("node-a")
        );
        assert_eq!(
            host("DaemonSet", Some("logs"), "log-x7f").as_deref(),
            Some("logs-node-a")
        );
        assert_eq!(
            host("Deployment", None, "web-5d-x").as_deref(),
            Some("host-0")
        );
    }
}
