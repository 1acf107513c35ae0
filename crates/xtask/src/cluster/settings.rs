//! The configuration files of containerd, its network, the kubelet and kube-proxy.
//!
//! Files for Kubernetes are JSON, which all readers of its YAML accept.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::images::PAUSE;
use super::layout::{DNS, Layout, NODE, NODE_ADDRESS, PODS};
use crate::failure::Failure;
use crate::workspace::write_text;

/// The operator that `bench operator` measures: the only one whose requests the API server writes down.
pub const AUDITED: &str = "system:serviceaccount:stash:measured-operator";

/// Writes all of them.
pub fn write(layout: &Layout, runc: &Path, plugins: &Path) -> Result<(), Failure> {
    let put = |name: &str, text: &str| write_text(&layout.path(name), text);
    put("etc/containerd.toml", &containerd(layout, runc, plugins))?;
    put("etc/cni/10-pods.conflist", &network(layout).to_string())?;
    put("etc/kubelet.json", &kubelet(layout).to_string())?;
    put("etc/proxy.json", &proxy(layout).to_string())?;
    put("etc/audit.json", &audit().to_string())?;
    // There is no name server outside; Pods that want the node's get one that does not answer.
    put("etc/resolv.conf", "nameserver 127.0.0.1\n")
}

fn audit() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [{ "level": "Metadata", "users": [AUDITED] }, { "level": "None" }],
    })
}

/// Without CAP_SYS_RESOURCE the score of containers cannot be lowered, hence `restrict_oom_score_adj`.
fn containerd(layout: &Layout, runc: &Path, plugins: &Path) -> String {
    let quote = |path: PathBuf| format!("\"{}\"", path.display());
    let at = |below: &str| quote(layout.path(below));
    format!(
        r#"version = 2
root = {root}
state = {state}
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing"]

[grpc]
  address = {socket}

[plugins."io.containerd.internal.v1.opt"]
  path = {opt}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_tcp_service = true
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {plugins}
    conf_dir = {networks}

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = {runc}
        SystemdCgroup = false
"#,
        root = at("lib/containerd"),
        state = at("run/containerd"),
        socket = at("run/containerd.sock"),
        opt = at("lib/opt"),
        plugins = quote(plugins.to_path_buf()),
        networks = at("etc/cni"),
        runc = quote(runc.to_path_buf()),
    )
}

fn network(layout: &Layout) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "isDefaultGateway": true,
                "ipMasq": false,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": PODS}]],
                    "dataDir": layout.text("run/addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

/// An image that was collected could not be pulled again, so images are never collected, and the machine's disk may be
/// nearly full before Pods are evicted for it.
fn kubelet(layout: &Layout) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": layout.text("tls/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "address": NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1",
        "containerRuntimeEndpoint": format!("unix://{}", layout.containerd()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", layout.name()),
        "failCgroupV1": false,
        "failSwapOn": false,
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS],
        "resolvConf": layout.text("etc/resolv.conf"),
        "volumePluginDir": layout.text("lib/plugins"),
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "200Mi",
            "imagefs.available": "200Mi",
            "nodefs.inodesFree": "1%",
        },
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
    })
}

/// Limits of connection tracking belong to the whole machine and stay as they are.
fn proxy(layout: &Layout) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": PODS,
        "hostnameOverride": NODE,
        "clientConnection": {"kubeconfig": layout.kubeconfig("proxy")},
        "conntrack": {"maxPerCore": 0, "min": 0},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::new(Path::new("/state")).unwrap()
    }

    #[test]
    fn nothing_of_containerd_lies_outside_the_state_folder() {
        let text = containerd(
            &layout(),
            Path::new("/usr/sbin/runc"),
            Path::new("/usr/lib/cni"),
        );
        for line in text.lines() {
            if let Some((key, value)) = line.split_once(" = \"/") {
                let is_program = ["bin_dir", "BinaryName"].contains(&key.trim());
                assert!(is_program || value.starts_with("state/"), "{line}");
            }
        }
        assert!(
            text.contains(r#"sandbox_image = "registry.local/pause:1""#),
            "{text}"
        );
    }

    #[test]
    fn the_kubelet_keeps_to_the_control_group_and_socket_of_its_cluster() {
        let kubelet = kubelet(&layout());
        assert_eq!(kubelet["cgroupRoot"], format!("/{}", layout().name()));
        assert_eq!(
            kubelet["containerRuntimeEndpoint"],
            "unix:///state/run/containerd.sock"
        );
        assert_eq!(kubelet["clusterDNS"], json!([DNS]));
    }

    #[test]
    fn pods_get_addresses_of_the_range_that_the_proxy_knows() {
        let network = network(&layout());
        let range = &network["plugins"][0]["ipam"]["ranges"][0][0]["subnet"];
        assert_eq!(*range, proxy(&layout())["clusterCIDR"]);
    }
}
