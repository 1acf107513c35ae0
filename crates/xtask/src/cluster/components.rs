//! The programs of a cluster with their arguments.

use std::path::Path;
use std::process::Command;

use super::layout::{Layout, NODE, NODE_ADDRESS, SERVICES};
use super::namespaces;
use crate::failure::Failure;

pub const CONTAINERD: &str = "containerd";
pub const ETCD: &str = "etcd";
pub const API_SERVER: &str = "kube-apiserver";
pub const CONTROLLERS: &str = "kube-controller-manager";
pub const SCHEDULER: &str = "kube-scheduler";
pub const KUBELET: &str = "kubelet";
pub const PROXY: &str = "kube-proxy";

/// All of them, in the order in which they start.
pub const ALL: &[&str] = &[
    CONTAINERD,
    ETCD,
    API_SERVER,
    CONTROLLERS,
    SCHEDULER,
    KUBELET,
    PROXY,
];

/// Where the API server writes what [`super::settings::AUDITED`] asked it for, in the folder of the cluster.
pub const AUDIT_LOG: &str = "logs/audit.log";

/// Fails for a name that is none of [`ALL`].
pub fn check_name(name: &str) -> Result<(), Failure> {
    if ALL.contains(&name) {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "{name} is no part of a cluster; there are {}",
        ALL.join(", ")
    )))
}

/// How a program is started.
pub fn command(layout: &Layout, programs: &Path, name: &str) -> Result<Command, Failure> {
    check_name(name)?;
    let arguments = match name {
        CONTAINERD => containerd(layout),
        ETCD => etcd(layout),
        API_SERVER => api_server(layout),
        CONTROLLERS => controllers(layout),
        SCHEDULER => scheduler(layout),
        KUBELET => kubelet(layout),
        _ => vec![format!("--config={}", layout.text("etc/proxy.json"))],
    };
    let program = if name == CONTAINERD {
        name.into()
    } else {
        programs.join(name)
    };
    let mut command = namespaces::enter(layout, &program);
    command.args(arguments).env("TMPDIR", layout.path("tmp"));
    Ok(command)
}

fn containerd(layout: &Layout) -> Vec<String> {
    vec![
        "--config".to_owned(),
        layout.text("etc/containerd.toml"),
        "--log-level=info".to_owned(),
    ]
}

/// What is stored does not outlive the cluster, so nothing waits for the disk.
fn etcd(layout: &Layout) -> Vec<String> {
    vec![
        "--unsafe-no-fsync".to_owned(),
        "--name=stash".to_owned(),
        format!("--data-dir={}", layout.text("etcd")),
        "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
        "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        "--initial-advertise-peer-urls=http://127.0.0.1:2380".to_owned(),
        "--initial-cluster=stash=http://127.0.0.1:2380".to_owned(),
    ]
}

/// Nothing resolves the node's name, so its address is what kubelets are reached by.
fn api_server(layout: &Layout) -> Vec<String> {
    let tls = |file: &str| layout.text(&format!("tls/{file}"));
    vec![
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        "--bind-address=0.0.0.0".to_owned(),
        "--secure-port=6443".to_owned(),
        format!("--advertise-address={NODE_ADDRESS}"),
        format!("--service-cluster-ip-range={SERVICES}"),
        format!("--cert-dir={}", layout.text("run/apiserver")),
        format!("--client-ca-file={}", tls("ca.crt")),
        format!("--tls-cert-file={}", tls("apiserver.crt")),
        format!("--tls-private-key-file={}", tls("apiserver.key")),
        format!("--kubelet-client-certificate={}", tls("admin.crt")),
        format!("--kubelet-client-key={}", tls("admin.key")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--api-audiences=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", tls("accounts.crt")),
        format!("--service-account-signing-key-file={}", tls("accounts.key")),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        format!("--audit-policy-file={}", layout.text("etc/audit.json")),
        format!("--audit-log-path={}", layout.text(AUDIT_LOG)),
        "--audit-log-maxsize=1000".to_owned(),
    ]
}

fn controllers(layout: &Layout) -> Vec<String> {
    let tls = |file: &str| layout.text(&format!("tls/{file}"));
    let mut arguments = as_client(layout, "controllers");
    arguments.extend([
        "--use-service-account-credentials=true".to_owned(),
        format!("--service-account-private-key-file={}", tls("accounts.key")),
        format!("--root-ca-file={}", tls("ca.crt")),
        format!("--cluster-signing-cert-file={}", tls("ca.crt")),
        format!("--cluster-signing-key-file={}", tls("ca.key")),
        "--enable-hostpath-provisioner=true".to_owned(),
        "--pvclaimbinder-sync-period=1s".to_owned(),
    ]);
    arguments
}

fn scheduler(layout: &Layout) -> Vec<String> {
    as_client(layout, "scheduler")
}

fn as_client(layout: &Layout, client: &str) -> Vec<String> {
    let kubeconfig = layout.kubeconfig(client);
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--cert-dir={}", layout.text(&format!("run/{client}"))),
    ]
}

fn kubelet(layout: &Layout) -> Vec<String> {
    vec![
        format!("--config={}", layout.text("etc/kubelet.json")),
        format!("--kubeconfig={}", layout.kubeconfig("kubelet")),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={NODE_ADDRESS}"),
        format!("--root-dir={}", layout.text("lib/kubelet")),
        format!("--cert-dir={}", layout.text("run/kubelet")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_starts_within_the_namespaces_and_writes_below_the_state_folder() {
        let layout = Layout::new(Path::new("/state")).unwrap();
        for name in ALL {
            let command = command(&layout, Path::new("/programs"), name).unwrap();
            let text = crate::command::text_of(&command);
            assert!(text.contains("--net=/state/net"), "{text}");
            assert!(text.contains("--mount=/state/mnt"), "{text}");
            for path in text.split(['=', ' ']).filter(|word| word.starts_with('/')) {
                assert!(
                    path.starts_with("/state/") || path.starts_with("/programs/"),
                    "{name}: {path}"
                );
            }
        }
        assert!(command(&layout, Path::new("/programs"), "other").is_err());
    }
}
