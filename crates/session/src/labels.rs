//! Labels and annotations of the published API and ours (reference 3.3 and 3.6), each text defined once.

use std::collections::BTreeMap;

use api::v1beta1::TargetRef;

/// Kind of a session's invoker.
pub const INVOKER_TYPE: &str = "stash.appscode.com/invoker-type";
/// Name of a session's invoker.
pub const INVOKER_NAME: &str = "stash.appscode.com/invoker-name";
/// Kind of a session's first target.
pub const TARGET_KIND: &str = "stash.appscode.com/target-kind";
/// Name of a session's first target.
pub const TARGET_NAME: &str = "stash.appscode.com/target-name";
/// Namespace of a session's first target.
pub const TARGET_NAMESPACE: &str = "stash.appscode.com/target-namespace";
/// Who made an object, as Kubernetes recommends to say it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub const MANAGER: &str = "stash.appscode.com";
/// What an object is part of.
pub const COMPONENT: &str = "app.kubernetes.io/component";

/// On a BackupConfiguration: the tick of its schedule that was acted on last, as RFC 3339.
pub const LAST_TICK: &str = "stash.appscode.com/last-tick";
/// The value of [`LAST_TICK`] while the configuration is paused, so that ticks of that time are not caught up.
pub const PAUSED: &str = "paused";
/// On a BackupConfiguration: the schedule that [`LAST_TICK`] belongs to.
pub const LAST_SCHEDULE: &str = "stash.appscode.com/last-schedule";
/// On a BackupConfiguration: `true` when files that cannot be read leave the host Succeeded (decision 5).
pub const TOLERATE_UNREADABLE: &str = "stash.appscode.com/tolerate-unreadable-files";
/// On a Role in the namespace of a Repository: the invoker for whose agents it is, as JSON of kind, namespace and name.
pub const INVOKER: &str = "stash.appscode.com/invoker";
/// On a Job: the host that it works as.
pub const HOST: &str = "stash.appscode.com/host";
/// On a volume claim: the uid of the RestoreSession that made it.
pub const MADE_BY_RESTORE: &str = "stash.appscode.com/made-by-restore";
/// On a workload: the invoker whose sidecar it carries, as JSON of kind, namespace and name.
pub const BACKUP_INVOKER: &str = "stash.appscode.com/last-applied-backup-invoker";
/// On a workload: the kind of that invoker.
pub const BACKUP_INVOKER_KIND: &str = "stash.appscode.com/last-applied-backup-invoker-kind";
/// On a Pod template: a digest of everything that the sidecar's injection put there.
pub const BACKUP_INVOKER_HASH: &str = "stash.appscode.com/last-applied-backup-invoker-hash";
/// On a workload: the RestoreSession whose init container it carries, as JSON of kind, namespace and name.
pub const RESTORE_INVOKER: &str = "stash.appscode.com/last-applied-restore-invoker";
/// On a workload: the kind of that invoker.
pub const RESTORE_INVOKER_KIND: &str = "stash.appscode.com/last-applied-restore-invoker-kind";
/// On a Pod template: a digest of everything that the init container's injection put there.
pub const RESTORE_INVOKER_HASH: &str = "stash.appscode.com/last-applied-restore-invoker-hash";
/// On a workload: the Secrets for pulling our image that were added to its Pods, separated by commas.
pub const ADDED_PULL_SECRETS: &str = "stash.appscode.com/added-image-pull-secrets";

/// Labels of everything that belongs to an invoker: the user's own labels, and what says whose it is.
pub fn of_invoker(
    user: Option<&BTreeMap<String, String>>,
    kind: &str,
    name: &str,
    component: Component,
) -> BTreeMap<String, String> {
    let mut labels = user.cloned().unwrap_or_default();
    let ours = [
        (COMPONENT, component.as_str().to_owned()),
        (MANAGED_BY, MANAGER.to_owned()),
        (INVOKER_TYPE, kind.to_owned()),
        (INVOKER_NAME, label_value(name)),
    ];
    labels.extend(ours.map(|(key, value)| (key.to_owned(), value)));
    labels
}

/// Labels that name a session's target.
pub fn of_target(target: &TargetRef, invoker_namespace: &str) -> BTreeMap<String, String> {
    let namespace = target.namespace.as_deref().unwrap_or(invoker_namespace);
    [
        (TARGET_KIND, target.kind.clone()),
        (TARGET_NAME, label_value(&target.name)),
        (TARGET_NAMESPACE, namespace.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// A name as a label's value, which may have 63 characters only.
pub fn label_value(name: &str) -> String {
    crate::names::shortened(name, 63)
}

/// What a group of objects is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// A backup.
    Backup,
    /// A restore.
    Restore,
}

impl Component {
    /// The published text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "stash-backup",
            Self::Restore => "stash-restore",
        }
    }
}
