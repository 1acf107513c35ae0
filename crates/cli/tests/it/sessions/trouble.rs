//! Bad input on a real cluster: each time a condition and an event say what is wrong, where, and what to do; nothing
//! storms meanwhile; and when the cause goes, the work goes on by itself.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::cluster::wait_until;

use super::scene::{PASSWORD, Scene, claim};
use crate::controllers::stage::{PATIENCE, Stage, condition};

mod blocked;
mod delays;
mod owners;
mod refusals;
mod restores;
mod targets;
mod waits;

/// What is wrong has to be said within this time.
const NOTICED: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

impl Scene {
    /// A configuration of a name of its own; `changes` replace fields of its specification.
    fn configuration(&self, name: &str, repository: &str, changes: &Value) {
        let mut object = json!({
            "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupConfiguration",
            "metadata": { "name": name },
            "spec": {
                "repository": { "name": repository },
                "target": { "ref": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "files" } },
                "runtimeSettings": { "container": { "securityContext": { "runAsUser": 0 } } },
                "retentionPolicy": { "name": "keep", "keepLast": 5, "prune": true },
            },
        });
        for (field, value) in changes.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        self.stage.apply(&object);
    }

    /// A session of a configuration by hand.
    fn start_of(&self, configuration: &str, name: &str) {
        let invoker = json!({ "kind": "BackupConfiguration", "name": configuration });
        self.start(name, &json!({ "invoker": invoker }));
    }

    /// A session of a configuration that succeeds.
    fn succeed(&self, configuration: &str, name: &str) {
        self.start_of(configuration, name);
        let session = self.end(name);
        assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    }

    /// The condition says this, and so does an event about the object.
    fn says(&self, object: &str, type_: &str, text: &str) {
        let text = text.replace("NAMESPACE", self.stage.name());
        let mut last = Value::Null;
        let said = || {
            last = condition(&self.stage.get(object), type_);
            last["status"] == "False" && last["message"] == text.as_str()
        };
        let is_said = soon(said);
        assert!(is_said, "{object} {type_}: wanted {text:?}, have {last}");
        self.warns(object, &text);
    }

    /// An event about the object says this.
    fn warns(&self, object: &str, text: &str) {
        let text = text.replace("NAMESPACE", self.stage.name());
        let mut all = Vec::new();
        let is_said = soon(|| {
            all = self.warnings(object);
            all.iter().any(|it| it.contains(&text))
        });
        assert!(
            is_said,
            "{object}: wanted the event {text:?}, have {all:#?}"
        );
    }

    /// The messages of the warnings about an object.
    fn warnings(&self, object: &str) -> Vec<String> {
        let (_, name) = object.split_once('/').unwrap();
        let uid = self.stage.get(object)["metadata"]["uid"].clone();
        let selector = format!("involvedObject.name={name},type=Warning");
        let events = self.stage.kubectl(&[
            "get",
            "events",
            "--field-selector",
            &selector,
            "--output",
            "json",
        ]);
        let events: Value = serde_json::from_str(&events).unwrap();
        let events = events["items"].as_array().unwrap();
        let about = events
            .iter()
            .filter(|it| it["involvedObject"]["uid"] == uid);
        about
            .filter_map(|it| it["message"].as_str().map(str::to_owned))
            .collect()
    }

    /// The condition holds.
    fn heals(&self, object: &str, type_: &str) {
        wait_until(&format!("{type_} of {object}"), PATIENCE, || {
            condition(&self.stage.get(object), type_)["status"] == "True"
        });
    }

    /// The session ended in this phase, and events of the session and of its configuration say why.
    fn ends(&self, name: &str, phase: &str, why: &str) -> Value {
        let session = self.end(name);
        assert!(session["status"]["phase"] == phase, "{name}: {session:#}");
        self.warns(&format!("backupsession/{name}"), why);
        let invoker = session["spec"]["invoker"]["name"].as_str().unwrap();
        self.warns(&format!("bc/{invoker}"), why);
        session
    }

    /// The phase of an object is this.
    fn phase(&self, object: &str, phase: &str) {
        wait_until(&format!("{object} is {phase}"), PATIENCE, || {
            self.stage.get(object)["status"]["phase"] == phase
        });
    }
}

/// Whether it is so within the time in which trouble has to be said.
fn soon(mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + NOTICED;
    while !is_so() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

fn repository(name: &str, backend: &Value) -> Value {
    json!({
        "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository",
        "metadata": { "name": name }, "spec": { "backend": backend },
    })
}

fn secret(name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": data })
}
