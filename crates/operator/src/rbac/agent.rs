//! Role, RoleBinding and ServiceAccount of an invoker's agents, and their Role where the Repository lies if that is
//! another namespace.

use std::collections::BTreeMap;

use api::k8s_openapi::api::core::v1::ServiceAccount;
use api::k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use api::v1alpha1::Repository;
use api::v1beta1::RuntimeSettings;
use kube_client::{Resource, ResourceExt};
use session::labels::{self, Component};
use session::names;

use crate::inject::Invoker;
use crate::rbac::{FOREIGN, GROUP, Reach, WITHIN, named_rule, rule};

const READ: &[&str] = &["get", "list", "watch"];

/// What agents are there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mission {
    /// To work on all BackupSessions of an invoker, beside the container whose data it is.
    Sidecar,
    /// To work on one BackupSession.
    Job,
    /// To work on one RestoreSession, before a workload starts.
    InitContainer,
    /// To work on one RestoreSession by a Job.
    Restore,
}

/// Who agents run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// A ServiceAccount of others: the workload's, or one that the user names.
    Existing(String),
    /// One of our own, with these annotations.
    Own(BTreeMap<String, String>),
}

impl Account {
    /// Whose account Jobs run as, by what the user set for their Pods.
    pub fn of_jobs(settings: Option<&RuntimeSettings>) -> Self {
        let pod = settings.and_then(|settings| settings.pod.clone());
        let pod = pod.unwrap_or_default();
        match pod.service_account_name.filter(|name| !name.is_empty()) {
            Some(name) => Self::Existing(name),
            None => Self::Own(pod.service_account_annotations),
        }
    }

    /// Its name, for the agents of an invoker.
    pub fn name(&self, invoker: &Invoker) -> String {
        match self {
            Self::Existing(name) => name.clone(),
            Self::Own(_) => names::agent_role(&invoker.kind, &invoker.name),
        }
    }
}

/// Whom rights are given, and on what.
#[derive(Debug, Clone)]
pub struct Access<'a> {
    /// What for.
    pub mission: Mission,
    /// Whose agents they are.
    pub invoker: &'a Invoker,
    /// With what the rights go: the invoker, or the workload that has the container and the invoker, whichever lasts.
    pub owners: Vec<OwnerReference>,
    /// Names of the sessions whose status they write.
    pub sessions: Vec<String>,
    /// Their Repository.
    pub repository: &'a Repository,
    /// The Lease by which they take turns.
    pub lease: Option<String>,
    /// Pods that their hooks reach.
    pub reach: Reach,
    /// Who they run as.
    pub account: Account,
}

/// The objects that give the rights.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessObjects {
    /// The account, if it is ours to make.
    pub account: Option<ServiceAccount>,
    /// Rights in the invoker's namespace.
    pub role: Role,
    /// To whom they belong.
    pub binding: RoleBinding,
    /// The same where the Repository lies, if that is elsewhere.
    pub foreign: Option<(Role, RoleBinding)>,
}

impl Access<'_> {
    /// The name of the account.
    pub fn account_name(&self) -> String {
        self.account.name(self.invoker)
    }

    fn is_foreign(&self) -> bool {
        self.repository.namespace().as_deref() != Some(self.invoker.namespace.as_str())
    }

    fn metadata(&self) -> ObjectMeta {
        let component = match self.mission {
            Mission::Sidecar | Mission::Job => Component::Backup,
            Mission::InitContainer | Mission::Restore => Component::Restore,
        };
        let Invoker {
            kind,
            namespace,
            name,
        } = self.invoker;
        let mut own = labels::of_invoker(None, kind, name, component);
        // The garbage collector does not see when the invoker is gone: [`crate::rbac::workload_sweeper`] does.
        let is_within = self.owners.iter().any(|owner| owner.kind != *kind);
        let annotations = is_within.then(|| {
            own.insert(labels::COMPONENT.to_owned(), WITHIN.to_owned());
            let invoker = serde_json::to_string(self.invoker).unwrap_or_default();
            BTreeMap::from([(labels::INVOKER.to_owned(), invoker)])
        });
        ObjectMeta {
            name: Some(names::agent_role(kind, name)),
            namespace: Some(namespace.clone()),
            labels: Some(own),
            annotations,
            owner_references: (!self.owners.is_empty()).then(|| self.owners.clone()),
            ..ObjectMeta::default()
        }
    }

    /// An owner cannot lie in another namespace: the Repository is one, and [`crate::rbac::sweeper`] looks after the
    /// rest.
    fn foreign_metadata(&self) -> ObjectMeta {
        let Invoker {
            kind,
            namespace,
            name,
        } = self.invoker;
        let mut labels = labels::of_invoker(None, kind, name, Component::Backup);
        labels.insert(labels::COMPONENT.to_owned(), FOREIGN.to_owned());
        let invoker = serde_json::to_string(self.invoker).unwrap_or_default();
        ObjectMeta {
            name: Some(names::foreign_role(namespace, kind, name)),
            namespace: self.repository.namespace(),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([(labels::INVOKER.to_owned(), invoker)])),
            owner_references: self.repository.controller_owner_ref(&()).map(|mut owner| {
                owner.controller = None;
                owner.block_owner_deletion = None;
                vec![owner]
            }),
            ..ObjectMeta::default()
        }
    }

    fn binding(&self, metadata: ObjectMeta) -> RoleBinding {
        RoleBinding {
            role_ref: RoleRef {
                api_group: Role::group(&()).into_owned(),
                kind: Role::kind(&()).into_owned(),
                name: metadata.name.clone().unwrap_or_default(),
            },
            subjects: Some(vec![Subject {
                kind: ServiceAccount::kind(&()).into_owned(),
                name: self.account_name(),
                namespace: Some(self.invoker.namespace.clone()),
                api_group: None,
            }]),
            metadata,
        }
    }

    /// Rights on what lies in the invoker's namespace in any case.
    fn own_rules(&self) -> Vec<PolicyRule> {
        let invoker = [self.invoker.name.clone()];
        let lease: Vec<String> = self.lease.iter().cloned().collect();
        let namespace = [self.invoker.namespace.clone()];
        let (sessions, configuration) = match self.mission {
            Mission::Sidecar | Mission::Job => (
                "backupsessions",
                named_rule(GROUP, "backupconfigurations", &invoker, &["get"]),
            ),
            Mission::InitContainer | Mission::Restore => ("restoresessions", None),
        };
        let mut rules = match self.mission {
            // It finds sessions by their labels before their names are known, and to list is to read.
            Mission::Sidecar => vec![rule(GROUP, &[sessions], READ)],
            // It stays in the template while another restore has the workload, and lets Pods pass when its own is gone:
            // only who may ask for any name is told that.
            Mission::InitContainer => vec![rule(GROUP, &[sessions], &["get"])],
            Mission::Job | Mission::Restore => Vec::new(),
        };
        let watched = match self.mission {
            Mission::Sidecar => None,
            Mission::InitContainer => Some(&["list", "watch"][..]),
            Mission::Job | Mission::Restore => Some(READ),
        };
        rules.extend(watched.and_then(|verbs| named_rule(GROUP, sessions, &self.sessions, verbs)));
        let status = format!("{sessions}/status");
        rules.extend(named_rule(GROUP, &status, &self.sessions, &["update"]));
        rules.extend(configuration);
        let turn = &["get", "update"];
        rules.extend(named_rule("coordination.k8s.io", "leases", &lease, turn));
        rules.extend(self.reach.rules());
        // The namespace's uid tells clusters apart.
        rules.extend(named_rule("", "namespaces", &namespace, &["get"]));
        rules
    }

    /// Rights on the Repository and its Secret, wherever they lie.
    fn repository_rules(&self) -> Vec<PolicyRule> {
        let repository = [self.repository.name_any()];
        let secret: Vec<String> = self
            .repository
            .spec
            .backend
            .storage_secret_name
            .iter()
            .filter(|name| !name.is_empty())
            .cloned()
            .collect();
        let status = match self.mission {
            Mission::Sidecar | Mission::Job => {
                named_rule(GROUP, "repositories/status", &repository, &["update"])
            }
            Mission::InitContainer | Mission::Restore => None,
        };
        named_rule(GROUP, "repositories", &repository, &["get"])
            .into_iter()
            .chain(status)
            .chain(named_rule("", "secrets", &secret, &["get"]))
            .collect()
    }
}

/// Builds the objects.
pub fn access(access: &Access<'_>) -> AccessObjects {
    let metadata = access.metadata();
    let mut rules = access.own_rules();
    let foreign = if access.is_foreign() {
        let metadata = access.foreign_metadata();
        let role = Role {
            metadata: metadata.clone(),
            rules: Some(access.repository_rules()),
        };
        Some((role, access.binding(metadata)))
    } else {
        rules.extend(access.repository_rules());
        None
    };
    let account = match &access.account {
        Account::Existing(_) => None,
        Account::Own(annotations) => Some(ServiceAccount {
            metadata: ObjectMeta {
                annotations: Some(annotations.clone()).filter(|all| !all.is_empty()),
                ..metadata.clone()
            },
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        }),
    };
    AccessObjects {
        account,
        role: Role {
            metadata: metadata.clone(),
            rules: Some(rules),
        },
        binding: access.binding(metadata),
        foreign,
    }
}
