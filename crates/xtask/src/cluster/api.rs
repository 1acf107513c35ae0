//! Questions to the cluster's API server, by `curl` within its network: small enough to be asked often.

use std::process::Command;

use serde_json::Value;

use super::layout::{Layout, NODE, NODE_ADDRESS};

/// Whether etcd answers.
pub fn etcd_is_healthy(layout: &Layout) -> bool {
    crate::command::succeeds(curl(layout).arg("http://127.0.0.1:2379/health"))
}

/// Whether the API server serves all of its resources.
pub fn is_ready(layout: &Layout) -> bool {
    ask(layout, "/readyz").is_some()
}

/// Whether Pods can be started on the node.
pub fn node_is_ready(layout: &Layout) -> bool {
    object(layout, &format!("/api/v1/nodes/{NODE}"))
        .is_some_and(|node| condition(&node, "Ready").as_deref() == Some("True"))
}

/// Whether Pods of the namespace `default` get their account.
pub fn has_default_account(layout: &Layout) -> bool {
    let path = "/api/v1/namespaces/default/serviceaccounts/default";
    object(layout, path).is_some()
}

/// Whether names are resolved.
pub fn dns_is_ready(layout: &Layout) -> bool {
    let path = "/apis/apps/v1/namespaces/kube-system/deployments/coredns";
    object(layout, path).is_some_and(|deployment| deployment["status"]["readyReplicas"] == 1)
}

fn condition(object: &Value, kind: &str) -> Option<String> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)?["status"]
        .as_str()
        .map(str::to_owned)
}

fn object(layout: &Layout, path: &str) -> Option<Value> {
    serde_json::from_str(&ask(layout, path)?).ok()
}

fn ask(layout: &Layout, path: &str) -> Option<String> {
    let output = curl(layout)
        .arg("--cacert")
        .arg(layout.path("tls/ca.crt"))
        .arg("--cert")
        .arg(layout.path("tls/admin.crt"))
        .arg("--key")
        .arg(layout.path("tls/admin.key"))
        .arg(format!("https://{NODE_ADDRESS}:6443{path}"))
        .output()
        .ok()?;
    let answered = output.status.success();
    answered.then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn curl(layout: &Layout) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", layout.network().display()))
        .args([
            "--",
            "curl",
            "-q",
            "-fsS",
            "--noproxy",
            "*",
            "--max-time",
            "5",
        ]);
    command
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_is_found_by_its_type() {
        let node = json!({"status": {"conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "Ready", "status": "True"},
        ]}});
        assert_eq!(condition(&node, "Ready").as_deref(), Some("True"));
        assert_eq!(condition(&json!({}), "Ready"), None);
    }
}
