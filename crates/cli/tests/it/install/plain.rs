//! Plain manifests: `kubectl apply -k deploy/`.

use serde_json::json;

use super::{Site, objects, root};

#[test]
fn plain_manifests_install_an_operator_that_backs_up_and_restores() {
    let Some(site) = Site::new() else {
        return;
    };
    let (name, tag) = site.image();
    let overlay = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": ["deploy"],
        "images": [{ "name": "stash", "newName": name, "newTag": tag }],
    });
    // An overlay names its base by a relative path.
    std::os::unix::fs::symlink(root().join("deploy"), site.scratch.join("deploy")).unwrap();
    site.write("kustomization.yaml", &overlay);
    let folder = site.scratch.path().display().to_string();
    site.cluster.kubectl(&["apply", "-k", &folder]);
    site.wait_for_operator();
    let namespace = site.backs_up_and_restores();
    // With the overlay the definitions would go, too.
    let plain = root().join("deploy/plain").display().to_string();
    site.cluster
        .kubectl(&["delete", "-k", &plain, "--timeout=120s"]);
    site.wait_until_only_definitions_are_left(&namespace);
}

#[test]
fn plain_manifests_are_what_the_chart_makes_with_its_default_values() {
    let Some(site) = Site::new() else {
        return;
    };
    let Some(helm) = site.cluster.helm() else {
        return;
    };
    let deploy = root().join("deploy");
    let template = site
        .cluster
        .command(helm)
        .args([
            "template",
            "stash",
            "--namespace=stash",
            "--kube-version=1.34.4",
        ])
        .arg(deploy.join("chart"))
        .output()
        .unwrap();
    assert!(
        template.status.success(),
        "{}",
        String::from_utf8_lossy(&template.stderr)
    );
    let of_chart = objects(&site.cluster, &String::from_utf8(template.stdout).unwrap());
    let plain = site
        .cluster
        .kubectl(&["kustomize", &deploy.display().to_string()]);
    let mut plain = objects(&site.cluster, &plain);
    plain.remove(r#""Namespace" "stash""#);
    assert!(plain.len() > 12, "{:?}", plain.keys());
    assert_eq!(
        of_chart.keys().collect::<Vec<_>>(),
        plain.keys().collect::<Vec<_>>()
    );
    for (name, object) in &plain {
        assert_eq!(&of_chart[name], object, "{name}");
    }
}
