//! The agents, and all that each of them may do.
//!
//! docs/security.md has the same list in words: a right that comes or goes here comes or goes there.

/// An agent's account, and all that it may do: in its own namespace, and in the Repository's.
pub struct Agent {
    pub title: &'static str,
    pub account: &'static str,
    pub own: &'static [&'static str],
    pub far: &'static [&'static str],
    /// Whether it may run commands in Pods that it does not know.
    pub runs_commands: bool,
}

/// Those whose Repository is beside them.
pub const AGENTS: &[Agent] = &[
    Agent {
        title: "a sidecar",
        account: "plain",
        own: &[
            "backupconfigurations.stash.appscode.com [plain]: get",
            "backupsessions.stash.appscode.com: get list watch",
            "backupsessions/status.stash.appscode.com [plain-1]: update",
            "leases.coordination.k8s.io [lock-deployment-plain-backup]: get update",
            "namespaces [OWN]: get",
            "pods: get",
            "repositories.stash.appscode.com [repo]: get",
            "repositories/status.stash.appscode.com [repo]: update",
            "secrets [keys]: get",
        ],
        far: &[],
        runs_commands: false,
    },
    Agent {
        title: "a sidecar of a Deployment with a command as hook",
        account: "web",
        own: &[
            "backupconfigurations.stash.appscode.com [web]: get",
            "backupsessions.stash.appscode.com: get list watch",
            "backupsessions/status.stash.appscode.com [web-1]: update",
            "leases.coordination.k8s.io [lock-deployment-web-backup]: get update",
            "namespaces [OWN]: get",
            "pods: get",
            "pods/exec: get create",
            "repositories.stash.appscode.com [repo]: get",
            "repositories/status.stash.appscode.com [repo]: update",
            "secrets [keys]: get",
        ],
        far: &[],
        runs_commands: true,
    },
    Agent {
        title: "a sidecar of a StatefulSet with a command as hook",
        account: "db",
        own: &[
            "backupconfigurations.stash.appscode.com [db]: get",
            "backupsessions.stash.appscode.com: get list watch",
            "backupsessions/status.stash.appscode.com [db-1]: update",
            "leases.coordination.k8s.io [lock-statefulset-db-backup]: get update",
            "namespaces [OWN]: get",
            "pods: get",
            "pods/exec [db-0 db-1]: get create",
            "repositories.stash.appscode.com [repo]: get",
            "repositories/status.stash.appscode.com [repo]: update",
            "secrets [keys]: get",
        ],
        far: &[],
        runs_commands: false,
    },
    Agent {
        title: "a Job that backs up a claim, with a command as hook",
        account: "stash-backupconfiguration-claim",
        own: &[
            "backupconfigurations.stash.appscode.com [claim]: get",
            "backupsessions.stash.appscode.com [claim-1]: get list watch",
            "backupsessions/status.stash.appscode.com [claim-1]: update",
            "namespaces [OWN]: get",
            "pods: get",
            "repositories.stash.appscode.com [repo]: get",
            "repositories/status.stash.appscode.com [repo]: update",
            "secrets [keys]: get",
        ],
        far: &[],
        runs_commands: false,
    },
    Agent {
        title: "a Job that backs up the claim of a Deployment, with a request as hook",
        account: "stash-backupconfiguration-beside",
        own: &[
            "backupconfigurations.stash.appscode.com [beside]: get",
            "backupsessions.stash.appscode.com [beside-1]: get list watch",
            "backupsessions/status.stash.appscode.com [beside-1]: update",
            "namespaces [OWN]: get",
            "pods: get list",
            "repositories.stash.appscode.com [repo]: get",
            "repositories/status.stash.appscode.com [repo]: update",
            "secrets [keys]: get",
        ],
        far: &[],
        runs_commands: false,
    },
    Agent {
        title: "an init container that restores",
        account: "back",
        own: &[
            "leases.coordination.k8s.io [lock-deployment-back-restore]: get update",
            "namespaces [OWN]: get",
            "pods: get",
            "repositories.stash.appscode.com [repo]: get",
            "restoresessions.stash.appscode.com: get",
            "restoresessions.stash.appscode.com [init]: list watch",
            "restoresessions/status.stash.appscode.com [init]: update",
            "secrets [keys]: get",
        ],
        far: &[],
        runs_commands: false,
    },
    Agent {
        title: "a Job that restores a claim",
        account: "stash-restoresession-job",
        own: &[
            "namespaces [OWN]: get",
            "pods: get",
            "repositories.stash.appscode.com [repo]: get",
            "restoresessions.stash.appscode.com [job]: get list watch",
            "restoresessions/status.stash.appscode.com [job]: update",
            "secrets [keys]: get",
        ],
        far: &[],
        runs_commands: false,
    },
    Agent {
        title: "a Job that wipes out",
        account: "stash-wipe-out-gone",
        own: &[
            "repositories.stash.appscode.com [gone]: get",
            "secrets [keys]: get",
        ],
        far: &[],
        runs_commands: false,
    },
];

/// The one whose Repository is in the other namespace.
pub const FAR: Agent = Agent {
    title: "a Job whose Repository is in another namespace",
    account: "stash-backupconfiguration-far",
    own: &[
        "backupconfigurations.stash.appscode.com [far]: get",
        "backupsessions.stash.appscode.com [far-1]: get list watch",
        "backupsessions/status.stash.appscode.com [far-1]: update",
        "namespaces [OWN]: get",
        "pods: get",
    ],
    far: &[
        "repositories.stash.appscode.com [repo]: get",
        "repositories/status.stash.appscode.com [repo]: update",
        "secrets [keys]: get",
    ],
    runs_commands: false,
};
