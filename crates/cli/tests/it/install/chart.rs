//! The chart.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use testkit::cluster::wait_for;

use super::{Site, root};
use crate::controllers::stage::PATIENCE;

/// Runs Helm with values; what it says is in the output.
fn helm(site: &Site, program: &Path, arguments: &[&str], values: &Value) -> Output {
    let values = site.write("values.yaml", values);
    site.cluster
        .command(program)
        .args(arguments)
        .arg("--values")
        .arg(values)
        .env("HELM_CACHE_HOME", site.scratch.join("helm-cache"))
        .env("HELM_CONFIG_HOME", site.scratch.join("helm-config"))
        .env("HELM_DATA_HOME", site.scratch.join("helm-data"))
        .output()
        .unwrap()
}

fn succeed(output: &Output) {
    let (out, err) = (&output.stdout, &output.stderr);
    let (out, err) = (String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    assert!(output.status.success(), "{out}{err}");
}

#[test]
fn the_chart_is_installed_upgraded_and_removed_without_a_trace_but_the_definitions() {
    let Some(site) = Site::new() else {
        return;
    };
    let Some(program) = site.cluster.helm() else {
        return;
    };
    // Where the rules for Pods are the strictest.
    site.cluster.kubectl(&["create", "namespace", "stash"]);
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    site.cluster
        .kubectl(&["label", "namespace", "stash", restricted]);
    let (name, tag) = site.image();
    let values = |more: Value| {
        let mut values = json!({ "image": { "repository": name, "tag": tag } });
        for (name, value) in more.as_object().unwrap() {
            values[name] = value.clone();
        }
        values
    };
    let chart = root().join("deploy/chart").display().to_string();
    let install = ["upgrade", "--install", "stash", &chart, "--namespace=stash"];
    succeed(&helm(&site, program, &["lint", &chart], &values(json!({}))));
    succeed(&helm(&site, program, &install, &values(json!({}))));
    site.wait_for_operator();
    site.backs_up_and_restores();

    // Two operators: the second one takes over where the first one goes.
    let two = values(json!({ "replicas": 2, "operator": { "logLevel": "debug" } }));
    succeed(&helm(&site, program, &install, &two));
    site.wait_for_operator();
    let leader = || {
        let lease = site.cluster.get("stash", "lease/stash-operator")?;
        let holder = lease["spec"]["holderIdentity"].as_str()?;
        (!holder.is_empty()).then(|| holder.to_owned())
    };
    let first = wait_for("a leader of the two", PATIENCE, || {
        leader().filter(|pod| site.cluster.get("stash", &format!("pod/{pod}")).is_some())
    });
    let arguments = ["delete", "pod", &first, "--namespace=stash", "--wait=false"];
    site.cluster.kubectl(&arguments);
    wait_for("another leader", PATIENCE, || {
        leader().filter(|pod| *pod != first)
    });

    let remove = ["uninstall", "stash", "--namespace=stash", "--wait"];
    let output = site.cluster.command(program).args(remove).output().unwrap();
    succeed(&output);
    assert_eq!(site.definitions().len(), 9);
    for kind in ["clusterroles", "clusterrolebindings"] {
        let names = site.cluster.kubectl(&["get", kind, "--output", "name"]);
        assert!(!names.contains("stash"), "{names}");
    }
}

#[test]
fn values_that_cannot_be_meant_are_refused() {
    let Some(site) = Site::new() else {
        return;
    };
    let Some(program) = site.cluster.helm() else {
        return;
    };
    let chart = root().join("deploy/chart").display().to_string();
    let template = ["template", "stash", &chart, "--kube-version=1.34.4"];
    for (values, named) in [
        (json!({ "replica": 2 }), "replica"),
        (json!({ "replicas": "two" }), "replicas"),
        (json!({ "image": { "repository": "" } }), "repository"),
        (
            json!({ "image": { "repository": "stash", "digest": "sha256:12" } }),
            "digest",
        ),
        (
            json!({ "image": { "pullPolicy": "Sometimes" } }),
            "pullPolicy",
        ),
        (json!({ "operator": { "logLevel": "loud" } }), "logLevel"),
        (json!({ "webhook": { "port": 0 } }), "port"),
    ] {
        let output = helm(&site, program, &template, &values);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(named),
            "{values}: {said}"
        );
    }
    let everything = json!({
        "replicas": 2,
        "image": { "repository": "registry.example/stash", "digest": format!("sha256:{:064}", 7), "pullSecrets": ["registry"] },
        "operator": {
            "extraArgs": ["--no-leader-election"], "env": [{ "name": "A", "value": "b" }],
            "podAnnotations": { "a": "b" }, "podLabels": { "c": "d" },
            "tolerations": [{ "operator": "Exists" }], "priorityClassName": "system-cluster-critical",
        },
        "webhook": { "enabled": false },
        "metrics": { "serviceMonitor": { "enabled": true, "labels": { "release": "prometheus" } } },
    });
    let output = helm(&site, program, &template, &everything);
    succeed(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "kind: ServiceMonitor",
        "release: prometheus",
        "stash@sha256:",
        "- name: registry",
        "--webhook-port=0",
    ] {
        assert!(text.contains(part), "{part}");
    }
    assert!(
        !text.contains("name: stash-webhook"),
        "a Service of webhooks that are off"
    );
}
