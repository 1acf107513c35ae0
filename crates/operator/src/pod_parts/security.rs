//! The security settings of our containers.
//!
//! Unless the user says otherwise they satisfy the Pod Security level `restricted`: no root, no capabilities, no way
//! to more rights. A sidecar names no user: it runs as the user of the workload's Pod if that names one, which can
//! read the workload's files, and otherwise as the image's (65534). Files of others need root: one who asks for it by
//! `runAsUser: 0` gets the few capabilities that it takes to pass over permissions, and nothing more.
//!
//! A restore runs as root, because only root can give files their owners back, unless the Pod says `runAsNonRoot`
//! or the user names another user.

use api::k8s_openapi::api::core::v1::{
    Capabilities, PodSecurityContext, SeccompProfile, SecurityContext,
};

use crate::pod_parts::Work;

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

/// The settings of the user, completed. What the user set stays as it is.
pub fn security_context(
    work: Work,
    of_user: Option<SecurityContext>,
    of_pod: Option<&PodSecurityContext>,
) -> SecurityContext {
    let mut context = of_user.unwrap_or_default();
    let refuses_root = context
        .run_as_non_root
        .or_else(|| of_pod.and_then(|pod| pod.run_as_non_root))
        == Some(true);
    if work == Work::Restore && context.run_as_user.is_none() && !refuses_root {
        context.run_as_user = Some(0);
        context.run_as_group.get_or_insert(0);
        // The Pod cannot refuse root here; saying so keeps a later change of the Pod from contradicting it.
        context.run_as_non_root.get_or_insert(false);
    }
    let user = context
        .run_as_user
        .or_else(|| of_pod.and_then(|pod| pod.run_as_user));
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
