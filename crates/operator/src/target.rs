//! What a session has to know of a workload: its hosts, its volumes, who its Pods run as, and whose sidecar they have.

use api::k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use api::k8s_openapi::api::core::v1::{Pod, PodSpec};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use api::v1beta1::TargetRef;
use serde_json::Value;
use session::{host, labels};

use crate::inject::{self, Invoker};
use crate::pod_parts::Place;

/// The ServiceAccount of Pods that name none.
const DEFAULT_ACCOUNT: &str = "default";

/// A workload, as far as it matters here.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Its API version.
    pub api_version: String,
    /// Such as `StatefulSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// What its Pods are made from.
    pub template: PodSpec,
    /// Names of the volume claims that each Pod of a StatefulSet gets.
    pub claim_templates: Vec<String>,
    /// The number of the first Pod of a StatefulSet.
    pub first_ordinal: u32,
    /// How many Pods there should be.
    pub replicas: i32,
    /// For whom its Pods have a sidecar.
    pub sidecar: Option<Invoker>,
    /// For whom its Pods have an init container.
    pub init: Option<Invoker>,
}

impl Workload {
    /// Reads a workload; `None` when it is being deleted or has no Pods that this program understands.
    pub fn read(live: &Value) -> Option<Self> {
        if live.pointer("/metadata/deletionTimestamp").is_some() {
            return None;
        }
        let text = |pointer: &str| {
            let value = live.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_i64);
        let kind = text("/kind");
        let replicas = if kind == "DaemonSet" {
            number("/status/desiredNumberScheduled").unwrap_or(0)
        } else {
            number("/spec/replicas").unwrap_or(1)
        };
        let carried = |place| {
            let carried = inject::carried(live, place);
            carried.filter(|_| inject::has(live, place))
        };
        Some(Self {
            api_version: text("/apiVersion"),
            name: text("/metadata/name"),
            uid: text("/metadata/uid"),
            template: serde_json::from_value(live.pointer("/spec/template/spec")?.clone()).ok()?,
            claim_templates: names(live, "/spec/volumeClaimTemplates"),
            first_ordinal: number("/spec/ordinals/start")
                .and_then(|start| u32::try_from(start).ok())
                .unwrap_or(0),
            replicas: i32::try_from(replicas).unwrap_or(i32::MAX),
            sidecar: carried(Place::Beside),
            init: carried(Place::Before),
            kind,
        })
    }

    /// `Kind name`, for messages.
    pub fn describe(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    /// The ServiceAccount of its Pods.
    pub fn account(&self) -> String {
        let name = self.template.service_account_name.clone();
        name.filter(|name| !name.is_empty())
            .unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned())
    }

    /// The workload as the owner of what goes with it.
    pub fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            ..OwnerReference::default()
        }
    }

    /// An empty Lease that goes with the workload.
    pub fn lease(&self, name: &str, namespace: &str) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: Some([(labels::MANAGED_BY.to_owned(), labels::MANAGER.to_owned())].into()),
                owner_references: Some(vec![self.owner()]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec::default()),
        }
    }

    /// How many hosts report. Pods of a Deployment share their data and are one.
    pub fn total_hosts(&self) -> i32 {
        if host::is_many_hosts(&self.kind) {
            self.replicas
        } else {
            self.replicas.min(1)
        }
    }

    /// How many hosts report in a session that begins now, and their names as far as they are known.
    pub fn expected_hosts(&self, alias: Option<&str>, pods: &[Pod]) -> (i32, Vec<String>) {
        let stay = pods.iter();
        let stay = stay.filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let hosts = self.hosts(alias, &stay.cloned().collect::<Vec<_>>());
        let known = i32::try_from(hosts.len()).unwrap_or(i32::MAX);
        (self.total_hosts().max(known), hosts)
    }

    /// The numbers of the Pods of a StatefulSet.
    pub fn ordinals(&self) -> std::ops::Range<u32> {
        let count = u32::try_from(self.replicas).unwrap_or(0);
        self.first_ordinal..self.first_ordinal.saturating_add(count)
    }

    /// The name of a Pod of a StatefulSet.
    pub fn pod(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.name)
    }

    /// The names of the hosts, as far as they are known: those of a DaemonSet are its nodes.
    pub fn hosts(&self, alias: Option<&str>, pods: &[Pod]) -> Vec<String> {
        match self.kind.as_str() {
            "StatefulSet" => self
                .ordinals()
                .map(|ordinal| host::replica_host(alias, ordinal))
                .collect(),
            "DaemonSet" => self
                .nodes(pods)
                .iter()
                .map(|node| host::node_host(alias, node))
                .collect(),
            _ => vec![host::single_host(alias)],
        }
    }

    /// The nodes on which Pods of a DaemonSet run, sorted.
    pub fn nodes(&self, pods: &[Pod]) -> Vec<String> {
        let owned = pods.iter().filter(|pod| {
            let owners = pod.metadata.owner_references.iter().flatten();
            owners.into_iter().any(|owner| owner.uid == self.uid)
        });
        let mut nodes: Vec<String> = owned.filter_map(node_of).collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }
}

fn names(live: &Value, list: &str) -> Vec<String> {
    let list = live.pointer(list).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|entry| entry.pointer("/metadata/name")?.as_str())
        .map(str::to_owned)
        .collect()
}

/// The node of a Pod that has not ended.
pub fn node_of(pod: &Pod) -> Option<String> {
    let phase = pod.status.as_ref()?.phase.as_deref();
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return None;
    }
    pod.spec.as_ref()?.node_name.clone()
}

/// Whether the hosts of a target are the nodes of its Pods.
pub fn are_hosts_nodes(reference: &TargetRef) -> bool {
    reference.kind == "DaemonSet"
}

/// `Kind name` of a target, for messages.
pub fn describe(reference: &TargetRef) -> String {
    format!("{} {}", reference.kind, reference.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(kind: &str, spec: &Value, status: &Value) -> Workload {
        let mut spec = spec.clone();
        spec["template"] = json!({ "spec": { "containers": [{ "name": "app" }] } });
        Workload::read(&json!({
            "apiVersion": "apps/v1", "kind": kind,
            "metadata": { "name": "db", "uid": "u" },
            "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn hosts_are_counted_as_the_published_api_says() {
        let nothing = json!({});
        let deployment = workload("Deployment", &json!({ "replicas": 3 }), &nothing);
        assert_eq!(deployment.total_hosts(), 1);
        assert_eq!(deployment.hosts(None, &[]), ["host-0"]);
        let stopped = workload("Deployment", &json!({ "replicas": 0 }), &nothing);
        assert_eq!(stopped.total_hosts(), 0);
        let stateful = json!({ "replicas": 2, "ordinals": { "start": 5 } });
        let stateful = workload("StatefulSet", &stateful, &nothing);
        assert_eq!(stateful.total_hosts(), 2);
        assert_eq!(stateful.hosts(Some("pg"), &[]), ["pg-5", "pg-6"]);
        let status = json!({ "desiredNumberScheduled": 4 });
        let daemons = workload("DaemonSet", &json!({}), &status);
        assert_eq!(daemons.total_hosts(), 4);
        assert_eq!(daemons.account(), "default");
    }

    #[test]
    fn the_hosts_of_a_daemon_set_are_the_nodes_of_its_living_pods() {
        let daemons = workload("DaemonSet", &json!({}), &json!({}));
        let pod = |node: &str, owner: &str, phase: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": { "ownerReferences": [
                    { "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "db", "uid": owner },
                ] },
                "spec": { "nodeName": node, "containers": [] },
                "status": { "phase": phase },
            }))
            .unwrap()
        };
        let pods = [
            pod("b", "u", "Running"),
            pod("a", "u", "Pending"),
            pod("c", "u", "Failed"),
            pod("d", "other", "Running"),
        ];
        assert_eq!(daemons.hosts(Some("logs"), &pods), ["logs-a", "logs-b"]);
    }
}
