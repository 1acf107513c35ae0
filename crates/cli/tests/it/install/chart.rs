//! The chart.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use testkit::cluster::{wait_for, wait_until};

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
    let namespace = site.backs_up_and_restores();

    // Two operators: the second one takes over where the first one goes.
    let two = values(json!({
        "replicas": 2, "operator": { "logLevel": "debug" }, "commonLabels": { "team": "storage" },
        "webhook": { "timeoutSeconds": 7, "excludedNamespaces": ["kube-system", "elsewhere"] },
    }));
    succeed(&helm(&site, program, &install, &two));
    site.wait_for_operator();
    assert_what_was_set_is_true(&site);
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
    site.wait_until_only_definitions_are_left(&namespace);
}

/// The values of the two operators, as they arrive in the cluster.
fn assert_what_was_set_is_true(site: &Site) {
    let resource = "validatingwebhookconfiguration/stash.appscode.com";
    wait_until("the webhooks are as the values say", PATIENCE, || {
        let webhook = site.cluster.get("stash", resource).unwrap()["webhooks"][0].clone();
        webhook["timeoutSeconds"] == 7
    });
    let resource = "mutatingwebhookconfiguration/stash.appscode.com";
    wait_until("the namespaces are as the values say", PATIENCE, || {
        let webhooks = site.cluster.get("stash", resource).unwrap()["webhooks"].to_string();
        webhooks.contains(r#""values":["kube-system","elsewhere","stash"]"#)
    });
    let budget = site
        .cluster
        .get("stash", "poddisruptionbudget/stash-operator")
        .unwrap();
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    assert_eq!(budget["metadata"]["labels"]["team"], "storage");
    let pods = site.cluster.kubectl(&[
        "get",
        "pods",
        "--namespace=stash",
        "--selector=team=storage",
        "--output=name",
    ]);
    assert_eq!(pods.lines().count(), 2, "{pods}");
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
        (
            json!({ "webhook": { "timeoutSeconds": 31 } }),
            "timeoutSeconds",
        ),
        (
            json!({ "fullnameOverride": "My Stash" }),
            "fullnameOverride",
        ),
        (json!({ "commonLabels": { "team": 7 } }), "team"),
        (
            json!({ "podDisruptionBudget": { "maxUnavailable": 0 } }),
            "maxUnavailable",
        ),
        (
            json!({ "metrics": { "serviceMonitor": { "interval": "often" } } }),
            "interval",
        ),
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
        "fullnameOverride": "keeper",
        "commonLabels": { "team": "storage" },
        "podDisruptionBudget": { "maxUnavailable": "50%" },
        "image": { "repository": "registry.example/stash", "digest": format!("sha256:{:064}", 7), "pullSecrets": ["registry"] },
        "operator": {
            "extraArgs": ["--no-leader-election"], "env": [{ "name": "A", "value": "b" }],
            "podAnnotations": { "a": "b" }, "podLabels": { "c": "d" },
            "tolerations": [{ "operator": "Exists" }], "priorityClassName": "system-cluster-critical",
            "hostNetwork": true,
        },
        "webhook": { "enabled": false },
        "metrics": { "serviceMonitor": {
            "enabled": true, "labels": { "release": "prometheus" }, "scrapeTimeout": "9s",
            "relabelings": [{ "action": "labeldrop", "regex": "pod" }],
            "metricRelabelings": [{ "action": "keep", "regex": "stash_.*" }],
        } },
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
        "name: keeper-operator",
        "team: storage",
        "hostNetwork: true",
        "kind: PodDisruptionBudget",
        "maxUnavailable: 50%",
        "scrapeTimeout: 9s",
        "regex: stash_.*",
        "action: labeldrop",
    ] {
        assert!(text.contains(part), "{part}");
    }
    assert!(
        !text.contains("name: keeper-webhook") && !text.contains("name: stash-"),
        "a Service of webhooks that are off"
    );
}
