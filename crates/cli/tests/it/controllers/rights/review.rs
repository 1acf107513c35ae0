//! What the API server says of somebody's rights: all rules that hold for them, and its answer to every question that
//! can be asked.

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};
use testkit::cluster::Client;

/// Rights that no verb of a resource tells: to act as others, and to grant what one does not have.
const HIDDEN: [(&str, &str, &str); 12] = [
    ("", "users", "impersonate"),
    ("", "groups", "impersonate"),
    ("", "serviceaccounts", "impersonate"),
    ("authentication.k8s.io", "uids", "impersonate"),
    ("rbac.authorization.k8s.io", "roles", "bind"),
    ("rbac.authorization.k8s.io", "roles", "escalate"),
    ("rbac.authorization.k8s.io", "clusterroles", "bind"),
    ("rbac.authorization.k8s.io", "clusterroles", "escalate"),
    ("certificates.k8s.io", "signers", "sign"),
    ("certificates.k8s.io", "signers", "approve"),
    ("", "nodes/proxy", "get"),
    ("*", "*", "*"),
];
/// How many questions are on their way at a time.
const ABREAST: usize = 6;

/// The rules that hold in a namespace, as `resource.group [names]: verbs`, and those about paths, as `path: verbs`.
pub fn rules(client: &Client, namespace: &str) -> BTreeSet<String> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": { "namespace": namespace },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let answer = client.post(path, &review);
    assert_eq!(answer.code, 201, "{answer:?}");
    let status = &answer.body["status"];
    assert_eq!(status["incomplete"], false, "{status:#}");
    let mut lines = BTreeSet::new();
    for rule in list(&status["resourceRules"]) {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                let name = full_name(&group, &resource);
                let names = strings(&rule["resourceNames"]);
                let of = if names.is_empty() {
                    String::new()
                } else {
                    format!(" [{}]", names.join(" "))
                };
                lines.insert(format!("{name}{of}: {}", strings(&rule["verbs"]).join(" ")));
            }
        }
    }
    for rule in list(&status["nonResourceRules"]) {
        for path in strings(&rule["nonResourceURLs"]) {
            lines.insert(format!("{path}: {}", strings(&rule["verbs"]).join(" ")));
        }
    }
    lines
}

/// `resource.group`, and the resource alone where the group has no name.
pub fn full_name(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn strings(value: &Value) -> Vec<String> {
    let texts = list(value).filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// A question to the API server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    group: String,
    resource: String,
    verb: String,
    namespace: String,
}

impl Question {
    /// `verb resource.group in namespace`.
    pub fn line(&self) -> String {
        let name = full_name(&self.group, &self.resource);
        match self.namespace.as_str() {
            "" => format!("{} {name} everywhere", self.verb),
            namespace => format!("{} {name} in {namespace}", self.verb),
        }
    }

    fn attributes(&self) -> Value {
        let (resource, part) = match self.resource.split_once('/') {
            Some((resource, part)) => (resource, part),
            None => (self.resource.as_str(), ""),
        };
        json!({
            "group": self.group, "resource": resource, "subresource": part,
            "verb": self.verb, "namespace": self.namespace,
        })
    }
}

/// Every verb of every resource that this API server has, and the rights that hide behind none; in the namespaces, and
/// in all of them at once.
pub fn questions(client: &Client, namespaces: &[&str]) -> Vec<Question> {
    let mut paths = vec!["/api/v1".to_owned()];
    for group in list(&client.get("/apis").body["groups"]) {
        for version in list(&group["versions"]) {
            paths.push(format!(
                "/apis/{}",
                version["groupVersion"].as_str().unwrap()
            ));
        }
    }
    let mut all = BTreeSet::new();
    let mut add = |(group, resource, verb): (&str, &str, &str), namespaces: &[&str]| {
        for namespace in namespaces.iter().chain([&""]) {
            all.insert(Question {
                group: group.to_owned(),
                resource: resource.to_owned(),
                verb: verb.to_owned(),
                namespace: (*namespace).to_owned(),
            });
        }
    };
    for path in &paths {
        let answer = client.get(path);
        let (group, _) = path
            .strip_prefix("/apis/")
            .and_then(|path| path.split_once('/'))
            .unwrap_or_default();
        for resource in list(&answer.body["resources"]) {
            let namespaces = if resource["namespaced"] == true {
                namespaces
            } else {
                &[]
            };
            let name = resource["name"].as_str().unwrap();
            for verb in strings(&resource["verbs"]) {
                add((group, name, &verb), namespaces);
            }
        }
    }
    for hidden in HIDDEN {
        add(hidden, namespaces);
    }
    all.into_iter().collect()
}

/// The questions that the API server answers with yes.
pub fn allowed<'a>(client: &Client, questions: &'a [Question]) -> Vec<&'a Question> {
    let ask = |part: &'a [Question]| {
        let may = |question: &&Question| may(client, &question.attributes());
        part.iter().filter(may).collect::<Vec<_>>()
    };
    let size = questions.len().div_ceil(ABREAST).max(1);
    thread::scope(|scope| {
        let parts = questions.chunks(size);
        let asking: Vec<_> = parts.map(|part| scope.spawn(move || ask(part))).collect();
        let answers = asking.into_iter().map(|it| it.join().unwrap());
        answers.flatten().collect()
    })
}

fn may(client: &Client, attributes: &Value) -> bool {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": attributes },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = client.post(path, &review);
    assert_eq!(answer.code, 201, "{answer:?}");
    answer.body["status"]["allowed"] == true
}
