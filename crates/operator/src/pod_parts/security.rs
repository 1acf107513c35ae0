//! The security settings of our containers.
//!
//! Unless the user says otherwise they satisfy the Pod Security level `restricted`: no root, no capabilities, no way
//! to more rights. A sidecar runs as the user of the workload's container that has the data, or of its Pod, who can
//! read the workload's files, and otherwise as the image's (65534). Files of others need root: one who asks for it by
//! `runAsUser: 0` gets the few capabilities that it takes to pass over permissions, and nothing more.
//!
//! A restore runs as root, because only root can give files their owners back, unless the workload says
//! `runAsNonRoot` or the user names another user.

use api::k8s_openapi::api::core::v1::{
    Capabilities, PodSecurityContext, SeccompProfile, SecurityContext,
};

use serde_json::Value;

use crate::pod_parts::{Place, Work};

/// What it takes to read files of others, and to write into a backend's folder that belongs to another.
const FOR_READING: &[&str] = &["DAC_OVERRIDE"];
/// What it takes to write files of others with their owners, modes, attributes and devices.
const FOR_WRITING: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "MKNOD",
    "SETFCAP",
];

/// The security settings of what is around a container of ours.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Around {
    /// Those of the Pod.
    pub pod: PodSecurityContext,
    /// Whether the Pod is ours: the user it names is the one to work as, whatever the work.
    pub is_ours: bool,
    /// Whether nothing in the Pod may be root.
    pub refuses_root: bool,
    /// User and group of the workload's container that has the data, as far as it names its own.
    pub owner: (Option<i64>, Option<i64>),
}

impl Around {
    /// A Pod of ours.
    pub fn own(pod: Option<PodSecurityContext>) -> Self {
        let pod = pod.unwrap_or_default();
        Self {
            is_ours: true,
            refuses_root: pod.run_as_non_root == Some(true),
            owner: (None, None),
            pod,
        }
    }

    /// The Pods of a workload, whose data is in `volume`. Settings that this program does not understand count as none.
    pub fn workload(workload: &Value, volume: Option<&str>) -> Self {
        let spec = workload.pointer("/spec/template/spec");
        let context = |of: Option<&Value>| of.and_then(|it| it.get("securityContext")).cloned();
        let pod: PodSecurityContext = context(spec)
            .and_then(|it| serde_json::from_value(it).ok())
            .unwrap_or_default();
        let containers = spec.and_then(|it| it.get("containers")?.as_array());
        let containers = containers
            .into_iter()
            .flatten()
            .filter(|it| it["name"] != Place::Beside.container_name());
        let settings_of = |container: &Value| -> SecurityContext {
            context(Some(container))
                .and_then(|it| serde_json::from_value(it).ok())
                .unwrap_or_default()
        };
        let owner = containers
            .clone()
            .find(|container| volume.is_some_and(|volume| mounts(container, volume)))
            .map(settings_of)
            .unwrap_or_default();
        // What admission wants of the Pod may be said by each container instead.
        let mut all = containers.map(settings_of).peekable();
        let each_refuses = all.peek().is_some() && all.all(|it| it.run_as_non_root == Some(true));
        Self {
            refuses_root: pod.run_as_non_root == Some(true) || each_refuses,
            is_ours: false,
            owner: (owner.run_as_user, owner.run_as_group),
            pod,
        }
    }

    /// As whom a container of ours works: the owner of the data, or root. `None` leaves it to the Pod and the image.
    fn user(&self, work: Work, refuses_root: bool) -> (Option<i64>, Option<i64>) {
        let is_chosen = self.is_ours && self.pod.run_as_user.is_some();
        if work == Work::Restore && !refuses_root && !is_chosen {
            return (Some(0), Some(0));
        }
        match self.owner {
            (Some(0), _) if refuses_root => (None, None),
            owner => owner,
        }
    }
}

fn mounts(container: &Value, volume: &str) -> bool {
    let mounts = container.get("volumeMounts").and_then(Value::as_array);
    mounts
        .into_iter()
        .flatten()
        .any(|mount| mount["name"] == volume)
}

/// The settings of the user, completed. What the user set stays as it is.
pub fn security_context(
    work: Work,
    of_user: Option<SecurityContext>,
    around: &Around,
) -> SecurityContext {
    let mut context = of_user.unwrap_or_default();
    let refuses_root = context.run_as_non_root.unwrap_or(around.refuses_root);
    if context.run_as_user.is_none() {
        let (user, group) = around.user(work, refuses_root);
        context.run_as_user = user;
        context.run_as_group = context.run_as_group.or(group);
        if user == Some(0) {
            // The Pod cannot refuse root here; saying so keeps a later change of the Pod from contradicting it.
            context.run_as_non_root.get_or_insert(false);
        }
    }
    let user = context.run_as_user.or(around.pod.run_as_user);
    let is_root = user == Some(0);
    if !is_root {
        context.run_as_non_root.get_or_insert(true);
    }
    if needs_everything(&context) {
        return context;
    }
    context.allow_privilege_escalation.get_or_insert(false);
    context.seccomp_profile.get_or_insert(SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        localhost_profile: None,
    });
    let added = match work {
        _ if !is_root => &[],
        Work::Backup | Work::Upkeep => FOR_READING,
        Work::Restore => FOR_WRITING,
    };
    let capabilities = context.capabilities.get_or_insert_with(|| Capabilities {
        add: Some(added.iter().map(|&name| name.to_owned()).collect())
            .filter(|list: &Vec<String>| !list.is_empty()),
        drop: None,
    });
    capabilities
        .drop
        .get_or_insert_with(|| vec!["ALL".to_owned()]);
    context
}

/// Kubernetes refuses to forbid more rights to a container that is privileged.
fn needs_everything(context: &SecurityContext) -> bool {
    let adds = |name: &str| {
        context
            .capabilities
            .iter()
            .flat_map(|capabilities| capabilities.add.iter().flatten())
            .any(|present| present == name || present.strip_prefix("CAP_") == Some(name))
    };
    context.privileged == Some(true) || adds("SYS_ADMIN")
}
