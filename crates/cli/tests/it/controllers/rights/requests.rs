//! Requests that no agent may make, whichever it is, with the objects that they are about.

use serde_json::{Value, json};
use testkit::cluster::{Answer, Client};

const STASH: &str = "/apis/stash.appscode.com/v1beta1";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

/// What to ask, and how.
#[derive(Debug)]
pub struct Forbidden {
    method: &'static str,
    path: String,
    header: &'static str,
    body: Value,
}

/// Of what is asked.
pub struct Places<'a> {
    /// Where the invokers are.
    pub own: &'a str,
    /// Where another invoker is.
    pub other: &'a str,
    /// A Pod of nobody's.
    pub pod: &'a str,
}

impl Forbidden {
    fn read(path: String) -> Self {
        let (method, header, body) = ("GET", JSON, Value::Null);
        Self {
            method,
            path,
            header,
            body,
        }
    }

    fn patch(path: String, body: Value) -> Self {
        let (method, header) = ("PATCH", MERGE);
        Self {
            method,
            path,
            header,
            body,
        }
    }

    fn create(path: String, body: Value) -> Self {
        let (method, header) = ("POST", JSON);
        Self {
            method,
            path,
            header,
            body,
        }
    }

    fn delete(path: String) -> Self {
        let (method, header, body) = ("DELETE", JSON, Value::Null);
        Self {
            method,
            path,
            header,
            body,
        }
    }

    fn send(&self, client: &Client, query: &str) -> Answer {
        let mark = if self.path.contains('?') { '&' } else { '?' };
        let path = format!(
            "{}{}",
            self.path,
            if query.is_empty() {
                String::new()
            } else {
                format!("{mark}{query}")
            }
        );
        client.request(
            self.method,
            &path,
            &[&format!("Content-Type: {}", self.header)],
            &self.body,
        )
    }

    /// The API server refuses it, because of who asks.
    pub fn assert_refused(&self, client: &Client, who: &str) {
        let answer = self.send(client, "");
        let reason = &answer.body["reason"];
        assert!(
            answer.code == 403 && reason == "Forbidden",
            "{who} {} {}: {answer:?}",
            self.method,
            self.path
        );
    }

    /// It would do something if it were allowed: an administrator tries it without effect.
    pub fn assert_is_meant(&self, admin: &Client) {
        // Where a command or a port would be reached the request has to become another connection.
        let codes = if self.path.contains("/exec?") || self.path.ends_with("/portforward") {
            400..=400
        } else {
            200..=299
        };
        let query = if self.method == "GET" {
            "timeoutSeconds=1"
        } else {
            "dryRun=All"
        };
        let answer = self.send(admin, query);
        assert!(
            codes.contains(&answer.code),
            "{} {}: {answer:?}",
            self.method,
            self.path
        );
    }
}

/// All of them.
pub fn all(places: &Places<'_>) -> Vec<Forbidden> {
    let mut all = secrets(places);
    all.extend(ours(places));
    all.extend(pods(places));
    all.extend(roles(places));
    all.extend(others(places));
    all
}

fn secrets(places: &Places<'_>) -> Vec<Forbidden> {
    let here = format!("/api/v1/namespaces/{}/secrets", places.own);
    let there = format!("/api/v1/namespaces/{}/secrets", places.other);
    let data = json!({ "stringData": { "RESTIC_PASSWORD": "mine" } });
    vec![
        Forbidden::read(format!("{here}/other")),
        Forbidden::read(here.clone()),
        Forbidden::read(format!("{here}?watch=true")),
        Forbidden::read(there.clone()),
        Forbidden::read(format!("{there}/other")),
        Forbidden::read("/api/v1/secrets".to_owned()),
        Forbidden::patch(format!("{here}/keys"), data.clone()),
        Forbidden::delete(format!("{here}/keys")),
        Forbidden::create(
            here,
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "new" } }),
        ),
    ]
}

/// Our own kinds.
fn ours(places: &Places<'_>) -> Vec<Forbidden> {
    let here = format!("{STASH}/namespaces/{}", places.own);
    let there = format!("{STASH}/namespaces/{}", places.other);
    let repositories = format!(
        "/apis/stash.appscode.com/v1alpha1/namespaces/{}/repositories",
        places.own
    );
    let status = || json!({ "status": { "snapshotCount": 7 } });
    let phase = || json!({ "status": { "phase": "Succeeded" } });
    let session = json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupSession", "metadata": { "name": "new" },
        "spec": { "invoker": { "kind": "BackupConfiguration", "name": "plain" } },
    });
    let mut all = vec![
        Forbidden::create(format!("{here}/backupsessions"), session),
        Forbidden::patch(format!("{here}/backupsessions/other-1/status"), phase()),
        Forbidden::patch(format!("{there}/backupsessions/far-1/status"), phase()),
        Forbidden::patch(
            format!("{repositories}/repo"),
            json!({ "spec": { "wipeOut": true } }),
        ),
        Forbidden::patch(format!("{repositories}/repo/status"), status()),
        Forbidden::patch(format!("{repositories}/other/status"), status()),
        Forbidden::read(format!("{repositories}/other")),
        Forbidden::read(repositories.clone()),
        Forbidden::delete(format!("{repositories}/other")),
        Forbidden::read(format!("{here}/backupconfigurations")),
        Forbidden::read(format!("{here}/backupconfigurations/other")),
        Forbidden::patch(
            format!("{here}/backupconfigurations/plain"),
            json!({ "spec": { "paused": true } }),
        ),
        Forbidden::read(format!("{here}/restoresessions")),
        Forbidden::read(format!("{STASH}/backupsessions")),
        Forbidden::read(format!("{STASH}/functions")),
    ];
    for session in ["plain-1", "web-1", "claim-1", "other-1"] {
        let path = format!("{here}/backupsessions/{session}");
        all.push(Forbidden::patch(
            path.clone(),
            json!({ "spec": { "retryLeft": 9 } }),
        ));
        all.push(Forbidden::delete(path));
    }
    all
}

fn pods(places: &Places<'_>) -> Vec<Forbidden> {
    let pods = format!("/api/v1/namespaces/{}/pods", places.own);
    let pod = format!("{pods}/{}", places.pod);
    let container = json!([{ "name": "new", "image": "busybox" }]);
    let template = json!({ "spec": { "containers": container, "restartPolicy": "Never" } });
    let metadata = json!({ "name": "new" });
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": places.pod } });
    let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": { "template": template } });
    let new = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] });
    vec![
        Forbidden::delete(pod.clone()),
        Forbidden::delete(pods.clone()),
        Forbidden::read(format!("{pods}?watch=true")),
        Forbidden::read("/api/v1/pods".to_owned()),
        Forbidden::read(format!("/api/v1/namespaces/{}/pods", places.other)),
        Forbidden::patch(
            pod.clone(),
            json!({ "metadata": { "labels": { "a": "b" } } }),
        ),
        Forbidden::create(format!("{pod}/eviction"), eviction),
        Forbidden::create(pods, new),
        Forbidden::create(
            format!("/apis/batch/v1/namespaces/{}/jobs", places.own),
            job,
        ),
        Forbidden::read(format!("{pod}/portforward")),
    ]
}

/// Commands in a Pod, which some agents may start.
pub fn commands(places: &Places<'_>) -> Vec<Forbidden> {
    let path = |namespace, pod| {
        format!("/api/v1/namespaces/{namespace}/pods/{pod}/exec?command=true&stdout=true")
    };
    let own = path(places.own, places.pod);
    vec![
        Forbidden::read(own.clone()),
        Forbidden::create(own, Value::Null),
    ]
}

fn roles(places: &Places<'_>) -> Vec<Forbidden> {
    let here = format!("{RBAC}/namespaces/{}", places.own);
    let everything = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    let admin = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" });
    let everybody = json!([{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts" }]);
    let object = |kind: &str, field: &str, value: &Value, subjects: &Value| {
        let mut object = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": "new" }, field: value,
        });
        if !subjects.is_null() {
            object["subjects"] = subjects.clone();
        }
        object
    };
    let role = |kind| object(kind, "rules", &everything, &Value::Null);
    let binding = |kind| object(kind, "roleRef", &admin, &everybody);
    let token =
        json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
    let accounts = format!("/api/v1/namespaces/{}/serviceaccounts", places.own);
    let mut all = vec![
        Forbidden::create(format!("{here}/roles"), role("Role")),
        Forbidden::create(format!("{here}/rolebindings"), binding("RoleBinding")),
        Forbidden::create(format!("{RBAC}/clusterroles"), role("ClusterRole")),
        Forbidden::create(
            format!("{RBAC}/clusterrolebindings"),
            binding("ClusterRoleBinding"),
        ),
        Forbidden::create(format!("{accounts}/default/token"), token),
        Forbidden::read(accounts),
    ];
    for name in [
        "backupconfiguration-web",
        "backupconfiguration-claim",
        "restoresession-init",
    ] {
        let rules = json!({ "rules": everything });
        all.push(Forbidden::patch(
            format!("{here}/roles/stash-{name}"),
            rules,
        ));
        let subjects = json!({ "subjects": everybody });
        all.push(Forbidden::patch(
            format!("{here}/rolebindings/stash-{name}"),
            subjects,
        ));
    }
    all
}

/// What an agent has nothing to do with.
fn others(places: &Places<'_>) -> Vec<Forbidden> {
    let here = places.own;
    let deployment = format!("/apis/apps/v1/namespaces/{here}/deployments/plain");
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{here}/leases");
    let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "new" } });
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": "new" },
        "involvedObject": { "kind": "Pod", "name": "a", "namespace": here },
    });
    vec![
        Forbidden::read(format!("/api/v1/namespaces/{here}/configmaps")),
        Forbidden::read(format!("/api/v1/namespaces/{here}/persistentvolumeclaims")),
        Forbidden::patch(
            deployment.clone(),
            json!({ "metadata": { "labels": { "a": "b" } } }),
        ),
        Forbidden::patch(
            format!("{deployment}/scale"),
            json!({ "spec": { "replicas": 0 } }),
        ),
        Forbidden::read(deployment),
        Forbidden::create(leases.clone(), lease),
        Forbidden::patch(
            format!("{leases}/other"),
            json!({ "spec": { "holderIdentity": "me" } }),
        ),
        Forbidden::read(leases),
        Forbidden::create(format!("/api/v1/namespaces/{here}/events"), event),
        Forbidden::read("/api/v1/namespaces".to_owned()),
        Forbidden::patch(
            format!("/api/v1/namespaces/{here}"),
            json!({ "metadata": { "labels": { "a": "b" } } }),
        ),
        Forbidden::read("/api/v1/nodes".to_owned()),
        Forbidden::read("/metrics".to_owned()),
    ]
}

/// Nobody acts as somebody else.
pub fn assert_is_nobody_else(client: &Client, who: &str) {
    for header in ["Impersonate-User: system:admin", "Impersonate-User: nobody"] {
        let answer = client.request("GET", "/api/v1/namespaces", &[header], &Value::Null);
        assert_eq!(answer.code, 403, "{who}: {answer:?}");
        let message = answer.body["message"].as_str().unwrap_or_default();
        assert!(message.contains("impersonate"), "{who}: {message}");
    }
}
