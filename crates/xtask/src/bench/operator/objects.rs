//! The objects that the operator has to look after.

use serde_json::{Value, json};

/// How many BackupConfigurations share a namespace.
const PER_NAMESPACE: usize = 100;
/// Of so many targets one has a Pod that finds no node; the others have none.
const WITH_POD: usize = 5;

/// BackupConfigurations, each with a target, a Repository and a Secret.
pub struct Population {
    count: usize,
    image: String,
}

impl Population {
    pub fn new(count: usize, image: &str) -> Self {
        Self {
            count,
            image: image.to_owned(),
        }
    }

    /// How many BackupConfigurations.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many objects in all.
    pub fn objects(&self) -> usize {
        self.count * 4
    }

    /// The namespaces.
    pub fn namespaces(&self) -> Vec<Value> {
        let all = (0..self.count).step_by(PER_NAMESPACE).map(namespace);
        all.map(
            |name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }),
        )
        .collect()
    }

    /// What BackupConfigurations name, and other programs look after as well.
    pub fn surroundings(&self, number: usize) -> Vec<Value> {
        let (namespace, name) = (namespace(number), name(number));
        let metadata = json!({ "name": name, "namespace": namespace });
        vec![
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": metadata,
                "stringData": { "RESTIC_PASSWORD": "measured" },
            }),
            json!({
                "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository", "metadata": metadata,
                "spec": { "backend": {
                    "storageSecretName": name,
                    "s3": { "endpoint": "https://nowhere.invalid", "bucket": "measured", "prefix": name },
                } },
            }),
            self.target(number, &metadata),
        ]
    }

    fn target(&self, number: usize, metadata: &Value) -> Value {
        let labels = json!({ "app": name(number) });
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {
                "replicas": i32::from(number.is_multiple_of(WITH_POD)),
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "containers": [{
                            "name": "app", "image": self.image, "command": ["sleep", "1000000"],
                            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                        }],
                        "volumes": [{ "name": "data", "emptyDir": {} }],
                        "nodeSelector": { "nowhere": "at-all" },
                    },
                },
            },
        })
    }
}

/// A BackupConfiguration with that schedule.
pub fn configuration(number: usize, schedule: &str) -> Value {
    let name = name(number);
    json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupConfiguration",
        "metadata": { "name": name, "namespace": namespace(number) },
        "spec": {
            "repository": { "name": name },
            "schedule": schedule,
            "target": {
                "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                "paths": ["/data"],
            },
            "retentionPolicy": { "name": "keep", "keepLast": 5, "prune": true },
        },
    })
}

fn namespace(number: usize) -> String {
    format!("measured-{}", number / PER_NAMESPACE)
}

fn name(number: usize) -> String {
    format!("app{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configuration_names_what_is_there() {
        let population = Population::new(250, "busybox");
        assert_eq!(population.namespaces().len(), 3);
        let configuration = configuration(249, "0 * * * *");
        assert_eq!(configuration["metadata"]["namespace"], "measured-2");
        let surroundings = population.surroundings(249);
        assert_eq!(
            configuration["spec"]["repository"]["name"],
            surroundings[1]["metadata"]["name"]
        );
        assert_eq!(
            surroundings[1]["spec"]["backend"]["storageSecretName"],
            surroundings[0]["metadata"]["name"]
        );
    }
}
